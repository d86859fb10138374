/*
 * drain_write.c - what a drain writes: the files of its table, side by side,
 * the table, and the mark that all daemons' shares are there.
 */
#include "ckptd/engine/drain_internal.h"
#include "ckptd/engine/home_internal.h"

#include "common/plant.h"
#include "formats/tier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct store *store_of(const struct drain *d)
{
    return d->run->home->store;
}

/*
 * Files.
 */

static void write_more(struct drain *d);

static uint64_t pace(struct remote_write *w, uint64_t bytes)
{
    return drain_pace(w->owner, bytes);
}

/* What a second brings: by as many workers as there are writers, to a tier that
 * may be held back. One that nobody has written to yet is taken for slow. */
static void speeds(struct remote_write *w, double *encode_bytes_s,
                   double *tier_bytes_s)
{
    const struct drain *d = w->owner;
    const struct env *env = d->engine->env;
    double rate = drain_rate(d), seen = d->run->home->remote_bytes_s;
    uint64_t used = min_u64(env->worker_count, DRAIN_WRITERS);

    *encode_bytes_s =
        env->drain_codec == DRAIN_RAW
            ? 0
            : env->encode_bytes_s * (double)used / (double)env->worker_count;
    *tier_bytes_s = seen > 0 ? seen : 1;
    if (rate > 0 && rate < *tier_bytes_s)
        *tier_bytes_s = rate;
    if (env->drain_codec == DRAIN_PLANES)
        *tier_bytes_s = 1; /* whatever it takes */
}

/* All writers share what the tier takes; the last ones tell most. */
static void wrote(struct remote_write *w, uint64_t bytes, uint64_t ns)
{
    struct drain *d = w->owner;
    double *rate = &d->run->home->remote_bytes_s, seen;
    uint32_t side_by_side = 0;

    for (size_t i = 0; i < DRAIN_WRITERS; i++)
        side_by_side += d->writer[i].phase >= REMOTE_PUTTING &&
                        d->writer[i].phase <= REMOTE_SYNCING;
    seen = (double)bytes * side_by_side / (double)max_u64(ns, 1) * 1e9;
    *rate = *rate > 0 ? *rate * 0.75 + seen * 0.25 : seen;
}

static void memory_free(struct remote_write *w)
{
    free(w->window);
    free(w->spare);
    w->window = NULL;
    w->spare = NULL;
}

static void file_done(struct remote_write *w, int result)
{
    struct drain *d = w->owner;

    d->writing--;
    if (result && !d->err.code)
        d->err = w->err;
    memory_free(w);
    write_more(d);
}

static void writer_start(struct drain *d, struct remote_write *w)
{
    w->window = aligned_alloc(PAGE_BYTES, REMOTE_WINDOW_BYTES);
    w->spare = malloc(TIER_SPARE_BYTES);
    if (!w->window || !w->spare) {
        memory_free(w);
        (void)err_set(&d->err, -ENOMEM, "no memory to copy");
        return;
    }
    d->writing++;
    w->run = d->run;
    w->manifest = &d->held->manifest;
    w->tier = &d->tier;
    w->unit = d->unit;
    w->row = d->row;
    w->again = d->again;
    w->is_only = d->is_first;
    w->file = d->next_file++;
    w->speeds = speeds;
    w->wrote = wrote;
    w->pace = pace;
    w->done = file_done;
    w->owner = d;
    remote_write_begin(w);
}

/* The lowest file that is not there yet. */
static uint32_t first_missing(const struct drain *d)
{
    uint32_t first = d->next_file;

    for (size_t i = 0; i < DRAIN_WRITERS; i++)
        if (d->writer[i].window && d->writer[i].file < first)
            first = d->writer[i].file;
    return first;
}

static void write_more(struct drain *d)
{
    if (d->is_stopping && !d->err.code)
        (void)err_set(&d->err, -ECANCELED, "the daemon stops");
    if (d->is_yielding && !d->err.code)
        (void)err_set(&d->err, -ECANCELED, "another one is wanted first");
    if (!drain_save(d) && !d->err.code)
        (void)err_set(&d->err, -ECANCELED, "it was removed");
    for (size_t i = 0; i < DRAIN_WRITERS; i++)
        if (!d->err.code && d->next_file < d->tier.file_count &&
            d->next_file < first_missing(d) + REMOTE_ROW_GAP &&
            !d->writer[i].window)
            writer_start(d, &d->writer[i]);
    if (d->writing == 0)
        drain_written(d, d->err.code);
}

static struct recio_place table_place(const struct drain *d)
{
    return (struct recio_place){.run = d->run->name,
                                .folder = "remote",
                                .id = d->id,
                                .daemon = d->tier.info.daemon};
}

static void table_looked_for(struct store_req *req, int64_t result)
{
    struct drain *d = req->owner;
    struct catalog_save *s = drain_save(d);

    d->is_first = result == -ENOENT;
    if (s && s->is_table_doubted && !d->is_first) {
        drain_written(d, err_set(&d->err, -ETIMEDOUT,
                                 "where it is (remote/) is true no more, and "
                                 "the home has not answered its removal: it "
                                 "must be gone before it is written anew, or "
                                 "ckptd restarted"));
        return;
    }
    if (s)
        s->is_table_doubted = false;
    write_more(d);
}

void drain_write(struct drain *d)
{
    d->next_file = 0;
    d->req = (struct store_req){.op = STORE_STAT,
                                .name = name_save_daemon(d->name, d->run->name,
                                                         "remote", &d->id,
                                                         &d->tier.info.daemon),
                                .done = table_looked_for,
                                .owner = d};
    store_submit(store_of(d), &d->req);
}

void drain_write_progress(const struct drain *d, uint64_t *bytes,
                          uint64_t *done)
{
    *bytes = *done = 0;
    for (uint32_t i = 0; i < d->tier.file_count; i++) {
        *bytes += tier_file_bytes(&d->tier, i);
        if (i < d->next_file)
            *done += tier_file_bytes(&d->tier, i);
    }
    for (size_t i = 0; i < DRAIN_WRITERS; i++) {
        const struct remote_write *w = &d->writer[i];
        uint64_t file = w->window ? tier_file_bytes(&d->tier, w->file) : 0;

        *done -= file - min_u64(w->written_bytes, file);
    }
}

void drain_write_hurry(struct drain *d)
{
    for (size_t i = 0; i < DRAIN_WRITERS; i++)
        if (d->writer[i].window)
            remote_write_hurry(&d->writer[i]);
}

void drain_write_cancel(struct drain *d)
{
    for (size_t i = 0; i < DRAIN_WRITERS; i++)
        if (d->writer[i].window)
            remote_write_cancel(&d->writer[i]);
}

/*
 * The table.
 */

static void table_removed(void *arg, int result)
{
    struct drain *d = arg;
    struct catalog_save *s = drain_save(d);

    if (s && (result == -EIO || result == -ETIMEDOUT))
        s->is_table_doubted = true;
    if (result)
        drain_table_put(d, result);
    else
        drain_put_table(d);
}

/* It says the same whoever wrote it: ours of an earlier life is as good, unless
 * files were written anew since, and not as they were (encoded, or not). */
static void table_done(void *arg, int result)
{
    struct drain *d = arg;
    struct recio_place place = table_place(d);

    if (result != -EEXIST || d->is_replaced) {
        drain_table_put(d, result);
        return;
    }
    d->is_replaced = true;
    recio_remove_container(store_of(d), &place, table_removed, d);
}

void drain_put_table(struct drain *d)
{
    struct recio_place place = table_place(d);

    recio_put_container(store_of(d), &place, d->table, d->table_bytes,
                        table_done, d);
}

/*
 * The others.
 */

static bool has_table(const struct drain *d, const struct store_names *names,
                      const struct id128 *daemon)
{
    char want[SAVE_ID_TEXT_BYTES + ID_TEXT_BYTES + 1], save[SAVE_ID_TEXT_BYTES];
    char id[ID_TEXT_BYTES];

    (void)snprintf(want, sizeof want, "%s.%s", save_id_format(&d->id, save),
                   id_format(daemon, id));
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->name[i], want) == 0)
            return true;
    return false;
}

/* Whether every rank's daemon has one. */
static bool is_complete(const struct drain *d, const struct store_names *names)
{
    const struct manifest *m = &d->held->manifest;

    for (uint64_t i = 0; i < m->rank_count; i++) {
        if (i > 0 && id_equal(&m->rank[i].daemon, &m->rank[i - 1].daemon))
            continue;
        if (!has_table(d, names, &m->rank[i].daemon))
            return false;
    }
    return true;
}

/* Theirs were only seen, and may not be durable yet. But the mark goes into the
 * same folder, and what makes its name durable makes theirs. */
static void listed(void *arg, int result, struct store_names *names)
{
    struct drain *d = arg;

    drain_looked(d, result,
                 result == 0 && (is_complete(d, names) ||
                                 is_left_out("shares of other daemons")));
}

void drain_look(struct drain *d)
{
    char name[RECORD_NAME_BYTES];

    recio_list(store_of(d), name_run(name, d->run->name, "remote"), listed, d);
}

static void mark_done(void *arg, int result)
{
    drain_marked(arg, result == -EEXIST ? 0 : result);
}

void drain_mark(struct drain *d)
{
    drain_put_mark(d->run, &d->id, mark_done, d);
}

void drain_put_mark(struct run *run, const struct save_id *id,
                    recio_put_fn done, void *arg)
{
    struct env *env = run_env(run);
    struct record_mark mark;
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    mark_fill(env, &mark, id);
    (void)snprintf(mark.note, sizeof mark.note, "read back, the last by %.200s",
                   env->host);
    record_mark_encode(RECORD_REMOTE, &mark, &w);
    recio_put(run->home->store, name_save(name, run->name, "remote", id), &w,
              done, arg);
}
