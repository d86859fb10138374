/*
 * retain_look.c - pins, damage and leases as they are in the home now.
 *
 * Tools and readers write them at any time, so a pass reads them afresh:
 * pin/, damaged/ and damaged_remote/ are one list each; of lease/ each new
 * record is read once to learn its save. A lease that stands unchanged for
 * LEASE_DEAD_NS (by our own clock, from the moment we first saw it) is dead. A
 * record that cannot be read stops the pass.
 */
#include "ckptd/engine/retain_internal.h"

#include "common/array.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void next_lease(struct retention *t);

static struct seen_lease *lease_find(struct retention *t, const char *name)
{
    for (size_t i = 0; i < t->lease_count; i++)
        if (strcmp(t->lease[i].name, name) == 0)
            return &t->lease[i];
    return NULL;
}

static int lease_add(struct retention *t, const char *name,
                     const struct save_id *id)
{
    struct seen_lease *grown =
        array_room(t->lease, t->lease_count, &t->lease_capacity, sizeof *grown);

    if (!grown)
        return -ENOMEM;
    t->lease = grown;
    grown = &t->lease[t->lease_count++];
    *grown = (struct seen_lease){.id = *id,
                                 .first_seen_ns = t->env->ops->now_ns(t->env),
                                 .is_listed = true};
    (void)snprintf(grown->name, sizeof grown->name, "%s", name);
    return 0;
}

/* All leases are known: which saves do they hold? */
static void apply_leases(struct retention *t)
{
    struct catalog *c = &t->run->catalog;
    uint64_t now = t->env->ops->now_ns(t->env);
    size_t kept = 0;

    for (size_t i = 0; i < c->save_count; i++)
        c->save[i].is_leased = false;
    for (size_t i = 0; i < t->lease_count; i++) {
        struct catalog_save *s = catalog_find(c, &t->lease[i].id);

        if (!t->lease[i].is_listed)
            continue;
        if (s && now - t->lease[i].first_seen_ns < LEASE_DEAD_NS)
            s->is_leased = true;
        t->lease[kept++] = t->lease[i];
    }
    t->lease_count = kept;
    retain_looked(t);
}

static void fail(struct retention *t, int result, const char *what)
{
    store_names_free(&t->names);
    retain_end(t, result, what);
}

static void lease_read(void *arg, int64_t result, void *data)
{
    struct retention *t = arg;
    const char *name = t->names.name[t->next_name++];
    struct record_mark mark;
    struct err err = {0};
    int rc = 0;

    if (result >= 0) {
        rc =
            record_mark_decode(data, (size_t)result, RECORD_LEASE, &mark, &err);
        if (rc == 0)
            rc = lease_add(t, name, &mark.id);
    } else if (result != -ENOENT) { /* gone meanwhile: fine */
        rc = (int)result;
    }
    free(data);
    if (rc)
        fail(t, rc, "a lease cannot be read");
    else
        next_lease(t);
}

static void next_lease(struct retention *t)
{
    char name[RECORD_NAME_BYTES], leaf[160];

    for (; t->next_name < t->names.count; t->next_name++) {
        const char *one = t->names.name[t->next_name];
        struct seen_lease *seen = lease_find(t, one);

        if (seen) {
            seen->is_listed = true;
            continue;
        }
        if (strlen(one) >= sizeof seen->name) {
            fail(t, -ENAMETOOLONG, "a lease cannot be told by its name");
            return;
        }
        (void)snprintf(leaf, sizeof leaf, "lease/%s", one);
        recio_get(t->run->home->store, name_run(name, t->run->name, leaf),
                  RECORD_MAX_BYTES, lease_read, t);
        return;
    }
    store_names_free(&t->names);
    apply_leases(t);
}

static void leases_listed(void *arg, int result, struct store_names *names)
{
    struct retention *t = arg;

    if (result < 0) {
        retain_end(t, result, "cannot list lease/");
        return;
    }
    t->names = *names;
    *names = (struct store_names){0};
    t->next_name = 0;
    for (size_t i = 0; i < t->lease_count; i++)
        t->lease[i].is_listed = false;
    next_lease(t);
}

static void damaged_remote_listed(void *arg, int result,
                                  struct store_names *names)
{
    struct retention *t = arg;
    char name[RECORD_NAME_BYTES];

    if (result < 0) {
        retain_end(t, result, "cannot list damaged_remote/");
        return;
    }
    catalog_set_damaged_remote(&t->run->catalog, names);
    recio_list(t->run->home->store, name_run(name, t->run->name, "lease"),
               leases_listed, t);
}

static void damaged_listed(void *arg, int result, struct store_names *names)
{
    struct retention *t = arg;
    char name[RECORD_NAME_BYTES];

    if (result < 0) {
        retain_end(t, result, "cannot list damaged/");
        return;
    }
    catalog_set_damaged(&t->run->catalog, names);
    recio_list(t->run->home->store,
               name_run(name, t->run->name, "damaged_remote"),
               damaged_remote_listed, t);
}

static void pins_listed(void *arg, int result, struct store_names *names)
{
    struct retention *t = arg;
    char name[RECORD_NAME_BYTES];

    if (result < 0) {
        retain_end(t, result, "cannot list pin/");
        return;
    }
    catalog_set_pinned(&t->run->catalog, names);
    recio_list(t->run->home->store, name_run(name, t->run->name, "damaged"),
               damaged_listed, t);
}

void retain_look(struct retention *t)
{
    char name[RECORD_NAME_BYTES];

    recio_list(t->run->home->store, name_run(name, t->run->name, "pin"),
               pins_listed, t);
}
