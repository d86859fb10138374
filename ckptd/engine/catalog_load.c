/*
 * catalog_load.c - reading a run's folder into a catalog.
 *
 * One folder after the other, in an order that makes the picture consistent
 * without any lock: intents before decisions (a save that is decided meanwhile
 * is seen decided), decisions before tombs (a decision that is gone when it is
 * to be read has a tomb by then). Of each folder the names are listed, and the
 * records whose content matters are read, a few at a time; catalog_folders.c
 * says which, and what they mean. RUN must be readable, or nothing can be said.
 */
#include "ckptd/engine/catalog_load_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void load_end(struct catalog_load *l)
{
    catalog_fn done = l->done;
    void *arg = l->arg;
    struct err err = l->err;
    int result = l->result;

    store_names_free(&l->names);
    free(l->leased);
    free(l);
    done(arg, result, &err);
}

static void folder_list(struct catalog_load *l);

static const struct catalog_folder *folder_of(const struct catalog_load *l)
{
    return l->is_asking ? &catalog_tombs_asked : &catalog_folders[l->folder];
}

static struct catalog_fetch *fetch_free(struct catalog_load *l)
{
    for (size_t i = 0; i < CATALOG_READS_AT_ONCE; i++) {
        if (!l->fetch[i].name)
            return &l->fetch[i];
    }
    return NULL;
}

static void fetch_done(void *arg, int64_t result, void *data);

/* A batch of names; the next follows when all its reads are done. */
static void batch_start(struct catalog_load *l)
{
    const struct catalog_folder *in = folder_of(l);
    struct catalog_fetch *f;

    while (l->next < l->names.count && l->result == 0 && (f = fetch_free(l))) {
        const char *name = l->names.name[l->next++];
        char leaf[RECORD_NAME_BYTES], full[RECORD_NAME_BYTES];

        if (!in->name || !in->name(l, name) || strlen(name) > 128)
            continue;
        (void)snprintf(leaf, sizeof leaf, "%s/%s", in->folder, name);
        f->load = l;
        f->name = name;
        l->pending++;
        recio_get(l->store, name_run(full, l->run, leaf), RECORD_MAX_BYTES,
                  fetch_done, f);
    }
}

/* No read is under way: start more, or go on to the next folder. */
static void folder_go(struct catalog_load *l)
{
    const struct catalog_folder *in = folder_of(l);

    while (l->result == 0 && l->next < l->names.count) {
        l->pending = 1; /* while the batch is started */
        batch_start(l);
        if (--l->pending > 0)
            return;
    }
    if (l->result < 0) {
        load_end(l);
        return;
    }
    if (in->end)
        in->end(l);
    l->folder++;
    folder_list(l);
}

static void fetch_done(void *arg, int64_t result, void *data)
{
    struct catalog_fetch *f = arg;
    struct catalog_load *l = f->load;
    const char *name = f->name;

    f->name = NULL;
    folder_of(l)->record(l, name, result, data);
    free(data);
    if (--l->pending == 0)
        folder_go(l);
}

static void listed(void *arg, int result, struct store_names *names)
{
    struct catalog_load *l = arg;

    if (result < 0) {
        catalog_load_fail(l, result, catalog_folders[l->folder].folder, "",
                          err_text(result));
        load_end(l);
        return;
    }
    store_names_free(&l->names);
    l->names = *names;
    *names = (struct store_names){0};
    l->next = 0;
    folder_go(l);
}

static void ask_for_tombs(struct catalog_load *l)
{
    int rc;

    l->is_asking = true;
    l->next = 0;
    store_names_free(&l->names);
    rc = catalog_tomb_names(l->c, &l->names);
    if (rc < 0)
        catalog_load_fail(l, rc, "tomb", "", err_text(rc));
    folder_go(l);
}

static void folder_list(struct catalog_load *l)
{
    char name[RECORD_NAME_BYTES];

    if (l->folder == CATALOG_FOLDERS) {
        load_end(l);
        return;
    }
    if (l->folder == CATALOG_TOMBS && catalog_asks_tombs(l->c)) {
        ask_for_tombs(l);
        return;
    }
    recio_list(l->store,
               name_run(name, l->run, catalog_folders[l->folder].folder),
               listed, l);
}

static void run_done(void *arg, int64_t result, void *data)
{
    struct catalog_load *l = arg;
    struct record_run r = {0};
    struct err err;
    int rc = 0;

    if (result < 0)
        rc = err_set(&err, (int)result, "%s",
                     result == -ENOENT ? "there is no such run"
                                       : err_text((int)result));
    else
        rc = record_run_decode(data, (size_t)result, &r, &err);
    free(data);
    if (rc < 0) {
        catalog_load_stop(l, rc, "RUN", "", err.text);
        load_end(l);
        return;
    }
    l->c->uuid = r.uuid;
    folder_list(l);
}

void catalog_load(struct store *s, const char *run, struct catalog *c,
                  catalog_fn done, void *arg)
{
    struct catalog_load *l = calloc(1, sizeof *l);
    char name[RECORD_NAME_BYTES];
    struct err err;

    if (!l) {
        (void)err_set(&err, -ENOMEM, "run %s: no memory to read it", run);
        done(arg, -ENOMEM, &err);
        return;
    }
    l->store = s;
    l->c = c;
    l->done = done;
    l->arg = arg;
    (void)snprintf(l->run, sizeof l->run, "%s", run);
    (void)snprintf(c->run, sizeof c->run, "%s", run);
    c->bad_lease = c->bad_load = (struct err){0};
    recio_get(s, name_run(name, run, "RUN"), RECORD_MAX_BYTES, run_done, l);
}
