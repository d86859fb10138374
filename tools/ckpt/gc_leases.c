/*
 * gc_leases.c - leases of readers that are no more.
 *
 * A reader puts its next lease record every 20 s (lease.c); one that is killed
 * leaves the last behind. A record that is LEASE_DEAD_NS old is removed and
 * holds nothing. How old it is the home's clock tells, which stamps files: what
 * it is now shows a record that is put for that and taken away again. Where
 * none can be put (without --yes nothing is written) leases hold as they are
 * on record.
 */
#include "ckptd/engine/retain.h"
#include "tools/ckpt/gc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define LEASE_DEAD_MS ((int64_t)(LEASE_DEAD_NS / 1000000))

struct seen_lease {
    struct save_id save;
    bool is_dead;
};

struct leases {
    struct store_names names;
    struct seen_lease *seen; /* parallel */
    int64_t now_ms;
    bool is_moving; /* one ended, or was renewed, while we looked */
};

static char *path_of(const struct catalog *c, const char *leaf,
                     char path[RECORD_NAME_BYTES])
{
    char below[RECORD_NAME_BYTES];

    (void)snprintf(below, sizeof below, "lease/%s", leaf);
    return name_run(path, c->run, below);
}

/* When the file was made, by the home's clock; -errno. */
static int stamp(struct gc *g, const char *name, int64_t *ms)
{
    struct store_req req = {.op = STORE_STAT, .name = name};
    int64_t rc = store_run(g->tool->home, &req);

    *ms = req.stat_mtime_ms;
    return rc < 0 ? (int)rc : 0;
}

static int ask_clock(struct gc *g, const struct catalog *c, int64_t *now_ms)
{
    const struct record_mark mark = {.note = "ckpt gc asks for the time"};
    char name[RECORD_NAME_BYTES], leaf[ID_TEXT_BYTES + 2],
        id_text[ID_TEXT_BYTES];
    struct store_req put = {.op = STORE_PUT, .name = name};
    struct store_req drop = {.op = STORE_REMOVE, .name = name};
    struct id128 id;
    struct wr w = {0};
    int64_t rc;

    if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        return -EIO;
    (void)snprintf(leaf, sizeof leaf, "%s.0", id_format(&id, id_text));
    (void)path_of(c, leaf, name);
    record_mark_encode(RECORD_LEASE, &mark, &w);
    put.buf = w.data;
    put.len = w.bytes;
    rc = w.failed ? -ENOMEM : store_run(g->tool->home, &put);
    wr_free(&w);
    if (rc < 0)
        return (int)rc;
    rc = stamp(g, name, now_ms);
    if (rc == 0)
        rc = store_run(g->tool->home, &drop);
    return rc == -ENOENT ? 0 : (int)rc;
}

static int look_at(struct gc *g, const struct catalog *c, struct leases *l,
                   size_t i)
{
    _Alignas(8) uint8_t data[4096];
    char name[RECORD_NAME_BYTES];
    struct store_req get = {.op = STORE_GET,
                            .name = path_of(c, l->names.name[i], name),
                            .buf = data,
                            .len = sizeof data};
    int64_t n = store_run(g->tool->home, &get), made_ms = 0;
    struct record_mark mark;
    struct err err;
    int rc = n < 0 ? (int)n : stamp(g, name, &made_ms);

    if (rc == -ENOENT) {
        l->is_moving = true;
        return 0;
    }
    if (rc == 0)
        rc = record_mark_decode(data, (size_t)n, RECORD_LEASE, &mark, &err);
    if (rc)
        return rc;
    l->seen[i].save = mark.id;
    l->seen[i].is_dead = l->now_ms - made_ms >= LEASE_DEAD_MS;
    return 0;
}

/* What is held now, and what nobody holds any more. */
static int apply(struct gc *g, struct catalog *c, const struct leases *l)
{
    char name[RECORD_NAME_BYTES];
    int code = EXIT_FINE;

    for (size_t i = 0; !l->is_moving && i < c->save_count; i++)
        c->save[i].is_leased = false;
    for (size_t i = 0; i < l->names.count; i++) {
        struct catalog_save *s = catalog_find(c, &l->seen[i].save);

        if (s && !l->seen[i].is_dead)
            s->is_leased = true;
    }
    for (size_t i = 0; !code && i < l->names.count; i++)
        if (l->seen[i].is_dead)
            code = gc_drop(g, path_of(c, l->names.name[i], name));
    return code;
}

static int look(struct gc *g, struct catalog *c, struct leases *l)
{
    int rc = ask_clock(g, c, &l->now_ms);

    l->seen = calloc(l->names.count, sizeof *l->seen);
    if (!l->seen)
        rc = -ENOMEM;
    for (size_t i = 0; rc == 0 && i < l->names.count; i++)
        rc = look_at(g, c, l, i);
    if (rc) /* a full disk is what gc is here to empty */
        return complain(g->tool, EXIT_FINE,
                        "run %s: how old its leases are cannot be told (%s): "
                        "all of them hold their checkpoints",
                        c->run, err_text(rc));
    return apply(g, c, l);
}

int gc_leases(struct gc *g, struct catalog *c)
{
    char name[RECORD_NAME_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, c->run, "lease")};
    int64_t rc = g->is_for_real ? store_run(g->tool->home, &list) : 0;
    struct leases l = {.names = list.names};
    int code = EXIT_FINE;

    if (rc < 0)
        code = complain(g->tool, EXIT_ERROR, "%s: %s", name, err_text((int)rc));
    else if (l.names.count)
        code = look(g, c, &l);
    free(l.seen);
    store_names_free(&l.names);
    return code;
}

/* Looked up anew for each file that would go: `ckpt cp` takes its lease before
 * it looks at what is there. */
bool gc_is_leased(struct gc *g, const struct catalog *c,
                  const struct save_id *id)
{
    _Alignas(8) uint8_t data[4096];
    char name[RECORD_NAME_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, c->run, "lease")};
    bool is_leased = store_run(g->tool->home, &list) < 0;

    for (size_t i = 0; !is_leased && i < list.names.count; i++) {
        struct store_req get = {.op = STORE_GET,
                                .name = path_of(c, list.names.name[i], name),
                                .buf = data,
                                .len = sizeof data};
        int64_t n = store_run(g->tool->home, &get);
        struct record_mark mark;
        struct err err;

        if (n == -ENOENT) /* it ended, or the next number is there */
            continue;
        is_leased =
            n < 0 ||
            record_mark_decode(data, (size_t)n, RECORD_LEASE, &mark, &err) ||
            save_id_compare(&mark.id, id) == 0;
    }
    store_names_free(&list.names);
    return is_leased;
}
