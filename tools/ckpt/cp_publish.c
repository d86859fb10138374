/*
 * cp_publish.c - what makes a checkpoint of the files in the destination: its
 * tables, manifest, generation, mark and decision; see cp.h.
 *
 * Whatever is put may be there already, from an earlier cp or by another one at
 * the same time: then it has to be the same, byte for byte. A name that is
 * there is put all the same, since only the answer to that says that it stays.
 */
#include "ckptd/engine/remote_write.h"
#include "formats/tier.h"
#include "tools/ckpt/cp.h"
#include "tools/ckpt/marks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Tables.
 */

struct container {
    bool is_done;
    int64_t result;
    void *data;
};

static void got(void *arg, int64_t result, void *data)
{
    struct container *c = arg;

    *c = (struct container){.is_done = true, .result = result, .data = data};
}

static void was_put(void *arg, int result)
{
    struct container *c = arg;

    c->is_done = true;
    c->result = result;
}

static struct recio_place place_of(const struct cp *cp, const char *folder,
                                   const struct id128 *daemon)
{
    return (struct recio_place){
        .run = cp->run, .folder = folder, .id = cp->id, .daemon = *daemon};
}

/* End to end in each file, none too large for what the store writes? */
static bool is_dense(const struct cp *cp, const struct manifest *table)
{
    const struct mf_location *l = table->location;
    uint64_t next = 0, most = UINT64_MAX;

    if (cp->to.home->limits.max_io_bytes == 0)
        most = files_bytes_max(cp->to.home);
    for (uint64_t i = 0; i < table->chunk_count; i++) {
        if (i == 0 || l[i].file != l[i - 1].file)
            next = PAGE_BYTES;
        if (l[i].offset != next || (i > 0 && l[i].file < l[i - 1].file))
            return false;
        next += chunk_extent_bytes(l[i].payload_bytes);
        if (next > most)
            return false;
    }
    return true;
}

/* What is there: 0; -ENOENT: nothing, or nothing that can be read, which is
 * taken away then. */
static int table_there(struct cp *cp, const struct id128 *daemon, void **data,
                       struct manifest *table, struct err *err)
{
    struct recio_place place = place_of(cp, "remote", daemon);
    struct container c = {0};
    int rc;

    recio_get_container(cp->to.home, &place, got, &c);
    rc = tool_wait(cp->to.home, &c.is_done);
    if (rc == 0)
        rc = c.result < 0 ? (int)c.result : 0;
    *data = c.data;
    if (rc)
        return err_set(err, rc, "%s", err_text(rc));
    rc = manifest_open(c.data, (size_t)c.result, table, err);
    if (rc == 0)
        rc = tier_check(table, &cp->m, err);
    if (rc == 0 &&
        (!id_equal(&table->info.daemon, daemon) || !is_dense(cp, table)))
        rc = err_set(err, -CKPT_ECORRUPT, "it is not as tables are written");
    return rc;
}

static int container_settled(struct cp *cp, const struct recio_place *place,
                             const struct container *c)
{
    char name[RECORD_NAME_BYTES];
    int rc = tool_wait(cp->to.home, &c->is_done);

    if (rc == 0)
        rc = (int)c->result;
    (void)name_save_daemon(name, place->run, place->folder, &place->id,
                           &place->daemon);
    return rc ? dest_said(cp, rc, name) : EXIT_FINE;
}

/* One that is damaged, with its parts. */
static int table_remove(struct cp *cp, const struct id128 *daemon)
{
    struct recio_place place = place_of(cp, "remote", daemon);
    struct container c = {0};

    recio_remove_container(cp->to.home, &place, was_put, &c);
    return container_settled(cp, &place, &c);
}

static int table_build(struct cp *cp, const struct id128 *daemon, void **data,
                       struct manifest *table)
{
    uint64_t most =
        cp->to.home ? files_bytes_max(cp->to.home) : REMOTE_WINDOW_BYTES;
    struct err err;
    size_t bytes;
    int rc = tier_build(&cp->m, daemon, most, data, &bytes, &err);

    if (rc == 0)
        rc = manifest_open(*data, bytes, table, &err);
    return rc ? complain(&cp->to, exit_code_of(rc), "%s", err.text) : EXIT_FINE;
}

int dest_table(struct cp *cp, uint32_t k, void **data, struct manifest *table,
               bool *is_there)
{
    const struct id128 *daemon = &cp->source.remote.share[k].daemon;
    char name[RECORD_NAME_BYTES];
    struct err err;
    int rc = -ENOENT, code = EXIT_FINE;

    *data = NULL;
    if (cp->to.home)
        rc = table_there(cp, daemon, data, table, &err);
    *is_there = rc == 0;
    if (*is_there)
        return EXIT_FINE;
    free(*data);
    *data = NULL;
    (void)name_save_daemon(name, cp->run, "remote", &cp->id, daemon);
    if (rc != -ENOENT && rc != -CKPT_ECORRUPT)
        return complain(&cp->to, exit_code_of(rc), "%s: %s: %s",
                        cp->to.options.home, name, err.text);
    if (rc == -CKPT_ECORRUPT) {
        (void)complain(&cp->to, 0, "%s: %s: %s; it is written anew",
                       cp->to.options.home, name, err.text);
        code = cp->is_dry ? EXIT_FINE : table_remove(cp, daemon);
    }
    return code ? code : table_build(cp, daemon, data, table);
}

static int put_container(struct cp *cp, const struct recio_place *place,
                         bool is_parts, const struct manifest *m)
{
    struct container c = {0};

    if (is_parts)
        recio_put_parts(cp->to.home, place, m->data, m->bytes, was_put, &c);
    else
        recio_put_container(cp->to.home, place, m->data, m->bytes, was_put, &c);
    return container_settled(cp, place, &c);
}

int dest_put_table(struct cp *cp, const struct manifest *table)
{
    struct recio_place place = place_of(cp, "remote", &table->info.daemon);

    return put_container(cp, &place, false, table);
}

int dest_is_good(struct cp *cp, const struct id128 *daemon)
{
    int rc =
        marks_drop_damaged(cp->to.home, CHECK_REMOTE, cp->run, &cp->id, daemon);

    return rc ? dest_said(cp, rc, "damaged_remote") : EXIT_FINE;
}

/*
 * The checkpoint.
 */

static int put_mark(struct cp *cp, enum record_kind kind, const char *name,
                    const struct save_id *id)
{
    struct record_mark mark = {.created_unix_ms = (uint64_t)time(NULL) * 1000,
                               .note = "copied and read back by ckpt cp"};
    struct record_bytes r;
    struct wr w = {0};
    int rc;

    if (id)
        mark.id = *id;
    record_mark_encode(kind, &mark, &w);
    r = (struct record_bytes){.data = w.data, .bytes = w.bytes};
    rc = w.failed ? -ENOMEM : record_put(cp->to.home, name, &r);
    wr_free(&w);
    return rc == -EEXIST || rc == 0 ? EXIT_FINE : dest_said(cp, rc, name);
}

static int put_same(struct cp *cp, const char *name,
                    const struct record_bytes *r)
{
    int rc = record_put(cp->to.home, name, r);

    if (rc == -EEXIST)
        rc = record_compare(cp->to.home, name, r);
    if (rc == 1)
        return dest_two_histories(cp, cp->id.generation);
    return rc ? dest_said(cp, rc, name) : EXIT_FINE;
}

/* As it lies in the source. */
static int copy_record(struct cp *cp, const char *name)
{
    struct record_bytes r;
    int rc = record_get(cp->from->home, name, &r);
    int code =
        rc ? complain(cp->from, exit_code_of(rc), "%s: %s", name, err_text(rc))
           : put_same(cp, name, &r);

    free(r.data);
    return code;
}

/* Who was in it: a process that comes there with its token, as if that start
 * still went on, is told that its rank has joined already. */
static int put_members(struct cp *cp)
{
    char name[RECORD_NAME_BYTES], leaf[RECORD_NAME_BYTES], generation[16];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, cp->run, "member")};
    int64_t rc = store_run(cp->from->home, &list);
    int code = rc < 0 ? complain(cp->from, exit_code_of((int)rc), "%s: %s",
                                 name, err_text((int)rc))
                      : EXIT_FINE;

    (void)snprintf(generation, sizeof generation, "%08u.", cp->id.generation);
    for (size_t i = 0; !code && i < list.names.count; i++) {
        if (strncmp(list.names.name[i], generation, strlen(generation)) != 0)
            continue;
        (void)snprintf(leaf, sizeof leaf, "member/%.400s", list.names.name[i]);
        code = copy_record(cp, name_run(name, cp->run, leaf));
    }
    store_names_free(&list.names);
    return code;
}

/* Where it comes from, and that nobody saves in it there. Whoever opens that
 * home meanwhile begins a generation of his own behind this one. */
static int put_generation(struct cp *cp)
{
    const struct catalog_generation *g =
        catalog_generation_at(cp->catalog, cp->id.generation);
    char name[RECORD_NAME_BYTES];
    int code = dest_check_history(cp);

    if (code == EXIT_FINE)
        code =
            copy_record(cp, name_gen(name, cp->run, "gen", cp->id.generation));
    if (code == EXIT_FINE)
        code = put_members(cp);
    if (code == EXIT_FINE && g->origin_load)
        code = copy_record(cp, name_load(name, cp->run, cp->id.generation,
                                         g->origin_load, NULL));
    if (code == EXIT_FINE)
        code = put_mark(cp, RECORD_CLOSED,
                        name_gen(name, cp->run, "closed", cp->id.generation),
                        NULL);
    return code;
}

static int put_decision(struct cp *cp, const struct record_decision *d)
{
    struct recio_place place = place_of(cp, "manifest", &d->committer);
    char name[RECORD_NAME_BYTES];
    int code = EXIT_FINE;

    if (d->part_count)
        code = put_container(cp, &place, true, &cp->m);
    if (code == EXIT_FINE)
        code = put_generation(cp);
    if (code == EXIT_FINE)
        code = put_mark(cp, RECORD_REMOTE,
                        name_save(name, cp->run, "remote", &cp->id), &cp->id);
    if (code == EXIT_FINE)
        code = dest_check_tomb(cp);
    if (code == EXIT_FINE)
        code = put_same(cp, name_save(name, cp->run, "decision", &cp->id),
                        &cp->decision);
    return code;
}

int dest_publish(struct cp *cp)
{
    char name[RECORD_NAME_BYTES];
    struct record_decision d;
    struct err err;
    int rc;

    if (cp->is_decided) /* its own home, or it is there */
        return put_mark(cp, RECORD_REMOTE,
                        name_save(name, cp->run, "remote", &cp->id), &cp->id);
    rc = record_decision_of(&cp->id, cp->decision.data, cp->decision.bytes, &d,
                            &err);
    return rc ? complain(cp->from, exit_code_of(rc), "%s", err.text)
              : put_decision(cp, &d);
}
