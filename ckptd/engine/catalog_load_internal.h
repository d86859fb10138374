/*
 * catalog_load_internal.h - between catalog_load.c (which reads a run's folders
 * one after the other) and catalog_folders.c (what the names and records of
 * each say).
 */
#ifndef CKPTD_CATALOG_LOAD_INTERNAL_H
#define CKPTD_CATALOG_LOAD_INTERNAL_H

#include "ckptd/engine/catalog.h"

#define CATALOG_READS_AT_ONCE 16

struct catalog_load;

struct catalog_fetch {
    struct catalog_load *load;
    const char *name; /* in load.names; NULL: not in use */
};

struct catalog_load {
    struct store *store;
    struct catalog *c;
    catalog_fn done;
    void *arg;
    size_t folder; /* in catalog_folders */
    struct store_names names;
    bool is_asking; /* the names are those of saves, not of a list */
    size_t next;
    uint32_t pending; /* reads under way, and 1 while more are started */
    struct catalog_fetch fetch[CATALOG_READS_AT_ONCE];
    struct save_id *leased;
    size_t leased_count;
    int result;
    struct err err;
    char run[RUN_NAME_MAX + 1];
};

/* A folder. name() notes what the name alone says and tells whether the record
 * is to be read; record() gets it, or the failure. end() runs once all are
 * there. Any may be NULL. */
struct catalog_folder {
    const char *folder; /* below runs/NAME */
    bool (*name)(struct catalog_load *l, const char *name);
    void (*record)(struct catalog_load *l, const char *name, int64_t result,
                   const void *data);
    void (*end)(struct catalog_load *l);
};

#define CATALOG_FOLDERS 12
#define CATALOG_TOMBS   (CATALOG_FOLDERS - 1) /* the last one */
extern const struct catalog_folder catalog_folders[CATALOG_FOLDERS];
/* In place of the last one, where each save is asked for its tomb. */
extern const struct catalog_folder catalog_tombs_asked;
/* The names of the tombs of these saves. */
int catalog_tomb_names(const struct catalog *c, struct store_names *out);

/* The whole cannot be told because of runs/RUN/FOLDER/NAME (name may be ""):
 * the first failure counts. */
void catalog_load_fail(struct catalog_load *l, int code, const char *folder,
                       const char *name, const char *why);
/* The same of a record that everything depends on, with advice. */
void catalog_load_stop(struct catalog_load *l, int code, const char *folder,
                       const char *name, const char *why);

#endif
