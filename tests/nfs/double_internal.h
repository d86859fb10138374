/*
 * double_internal.h - inside the double: files that the kernel knows, what is
 * remembered of folders, and what goes wrong (double_memory.c).
 */
#ifndef TESTS_NFS_DOUBLE_INTERNAL_H
#define TESTS_NFS_DOUBLE_INTERNAL_H

#include "tests/nfs/double.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct listing {
    uint32_t holders;
    size_t count, capacity;
    char **name;
    ino_t *ino;
    int64_t seen_ms;
};

/* Of a name in a folder. */
struct memory {
    struct memory *next;
    struct node *node; /* NULL: it was not there */
    int64_t seen_ms;
    char name[256];
};

/* A file or folder that the kernel knows. */
struct node {
    struct node *next; /* of its bucket */
    int fd;            /* O_PATH */
    dev_t dev;
    ino_t ino;
    ino_t shown_ino; /* 0: the true one */
    bool is_folder;
    uint64_t lookups;
    uint32_t opens, remembered;
    uint64_t last_name, opened_as;
    char silly[32];
    int silly_dir_fd;
    enum nfs_knob fails_at; /* ..._SYNC, ..._CLOSE, or 0 */
    uint32_t links;         /* as remembered */
    int64_t seen_ms;
    struct memory *memories;
    struct listing *listing;
};

extern struct node nodes_root;

/* The node of what `fd`, an O_PATH that it takes, leads to. */
struct node *node_get(int fd);
/* Freed if nobody knows it any more. */
void node_put(struct node *n);
/* A number for a name in a folder. */
uint64_t name_of(const struct node *dir, const char *name);

/* What is remembered of a folder's contents is void. */
void names_forget(struct node *dir);
/* Is a name's absence (*n NULL) or its file remembered? */
bool names_remember(struct node *dir, const char *name, struct node **n);
void names_add(struct node *dir, const char *name, struct node *n);
void names_forget_one(struct node *dir, const char *name);
/* What it holds, perhaps as remembered, for listing_drop(); NULL when that
 * cannot be read. */
struct listing *names_list(struct node *dir);
void listing_drop(struct listing *l);

/* links that were answered ETIMEDOUT, and come to pass later. */
void late_link_add(int fd, int dir_fd, const char *name, int64_t due_ms);
void late_links(void);

bool control_open(const char *path, char **settings);
void control_print(void);
uint32_t knob(enum nfs_knob k);
void count(enum nfs_knob k);
/* Of 1,000 times, as often as the knob says; counted. */
bool happens(enum nfs_knob k);
/* 0, or what is answered in place of success. */
int lost_answer(enum nfs_knob k, int repetition);
int64_t now_ms(void);

#endif
