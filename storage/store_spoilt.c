/*
 * store_spoilt.c - segments that cannot be synced any more.
 *
 * A sync tells of a failure once, and the next one may succeed though what was
 * written is lost. So it must not be believed through another handle either,
 * for as long as the store is open: the names are kept here. A segment that is
 * created under such a name is another one, and one that is gone is none.
 */
#include "storage/store_internal.h"

#include "common/plant.h"

#include <stdlib.h>
#include <string.h>

struct spoilt {
    struct list link; /* store.spoilt */
    char name[];
};

static struct spoilt *find(const struct store *store, const char *name)
{
    LIST_FOR_EACH (node, &store->spoilt) {
        struct spoilt *s = container_of(node, struct spoilt, link);

        if (strcmp(s->name, name) == 0)
            return s;
    }
    return NULL;
}

bool store_spoilt_has(const struct store *store, const char *name)
{
    if (is_left_out("memory of a failed sync"))
        return false;
    return store->is_spoilt || find(store, name);
}

void store_spoilt_add(struct store *store, const char *name)
{
    size_t bytes = strlen(name) + 1;
    struct spoilt *s;

    if (store_spoilt_has(store, name))
        return;
    s = malloc(sizeof *s + bytes);
    if (!s) {
        store->is_spoilt = true;
        return;
    }
    memcpy(s->name, name, bytes);
    list_append(&store->spoilt, &s->link);
}

void store_spoilt_forget(struct store *store, const char *name)
{
    struct spoilt *s = find(store, name);

    if (!s)
        return;
    list_remove(&s->link);
    free(s);
}

void store_spoilt_free(struct store *store)
{
    struct list *node;

    while ((node = list_pop(&store->spoilt)))
        free(container_of(node, struct spoilt, link));
}
