/*
 * list.h - an intrusive doubly linked list. A node belongs to at most one list;
 * list_remove() leaves it unlinked (list_is_linked() is then false). The owner
 * of the list owns the nodes; nothing here allocates or locks.
 */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include "common/util.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

/* For a node that was list_init()ed or removed; a zeroed node is unlinked. */
static inline bool list_is_linked(const struct list *node)
{
    return node->next && node->next != node;
}

static inline void list_append(struct list *list, struct list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static inline void list_prepend(struct list *list, struct list *node)
{
    list_append(list->next, node);
}

static inline void list_remove(struct list *node)
{
    if (!list_is_linked(node))
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, unlinked; NULL if there is none. */
static inline struct list *list_pop(struct list *list)
{
    struct list *node = list->next;

    if (node == list)
        return NULL;
    list->next = node->next;
    node->next->prev = list;
    list_init(node);
    return node;
}

/* NOLINTBEGIN(bugprone-macro-parentheses): they name variables. */
#define LIST_FOR_EACH(node, head)                                              \
    for (struct list *node = (head)->next; node != (head); node = node->next)

/* Safe against removal (and freeing) of `node` inside the body. */
#define LIST_FOR_EACH_SAFE(node, after, head)                                  \
    for (struct list *node = (head)->next, *after = node->next;                \
         node != (head); node = after, after = node->next)
/* NOLINTEND(bugprone-macro-parentheses) */

#endif
