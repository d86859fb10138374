/*
 * scrub_read.c - one place of one checkpoint is read again, and what was found
 * put on record; see scrub.h.
 *
 *   manifest -> whose bytes are ours to read there -> of each of those: read
 *   back, resting while others work -> on record, or off it -> what is on
 *   record now
 *
 * Whatever goes wrong but bad bytes is logged, and says nothing of the
 * checkpoint.
 */
#include "ckptd/engine/scrub_internal.h"
#include "formats/tier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const struct scrub_place scrub_here = {"damaged", RECORD_DAMAGED,
                                       catalog_set_damaged, ""};
const struct scrub_place scrub_remote_tier = {
    "damaged_remote", RECORD_DAMAGED_REMOTE, catalog_set_damaged_remote,
    ", its remote copy"};

struct catalog_save *scrub_save(const struct scrub *s)
{
    struct catalog_save *save = catalog_find(&s->run->catalog, &s->id);

    return save && save->status == SAVE_COMMITTED ? save : NULL;
}

/*
 * What was found.
 */

static void read_next(struct scrub *s);

static void note_failed(const struct scrub *s, int result)
{
    scrub_env(s)->ops->log(scrub_env(s), LOG_LEVEL_ERROR,
                           "scrub of run %s step %" PRIu64
                           ": what was found cannot be noted: %s",
                           s->run->name, s->id.step, err_text(result));
}

static void marks_listed(void *arg, int result, struct store_names *names)
{
    struct scrub *s = arg;

    if (result == 0)
        s->place->set(&s->run->catalog, names);
    else
        note_failed(s, result);
    scrub_end(s);
}

/* What others have on record counts as well. */
static void conclude(struct scrub *s)
{
    recio_list(s->run->home->store,
               name_run(s->name, s->run->name, s->place->folder), marks_listed,
               s);
}

static void noted(void *arg, int result)
{
    struct scrub *s = arg;

    if (result && result != -EEXIST && result != -ENOENT)
        note_failed(s, result);
    read_next(s);
}

static const char *mark_name(struct scrub *s)
{
    return name_save_daemon(s->name, s->run->name, s->place->folder, &s->id,
                            &s->whose[s->next - 1]);
}

static void put_mark(struct scrub *s)
{
    struct record_mark mark;
    struct wr w = {0};

    mark_fill(scrub_env(s), &mark, &s->id);
    mark.daemon = s->whose[s->next - 1];
    (void)snprintf(mark.note, sizeof mark.note, "%.*s",
                   (int)sizeof mark.note - 1, s->err.text);
    record_mark_encode(s->place->kind, &mark, &w);
    recio_put(s->run->home->store, mark_name(s), &w, noted, s);
}

/* Whoever removes a checkpoint takes its files first, once its tomb is there:
 * another daemon may have, and this one has yet to hear of it. */
static void tomb_looked(struct store_req *req, int64_t result)
{
    struct scrub *s = req->owner;

    if (result == -ENOENT)
        put_mark(s);
    else
        scrub_end(s);
}

static void look_for_tomb(struct scrub *s)
{
    s->req = (struct store_req){
        .op = STORE_STAT,
        .name = name_save(s->name, s->run->name, "tomb", &s->id),
        .done = tomb_looked,
        .owner = s};
    store_submit(s->run->home->store, &s->req);
}

static bool is_damage(int result)
{
    return result == -CKPT_ECORRUPT || result == -EIO || result == -ENOENT;
}

static void was_read(void *arg, int result, const struct err *err)
{
    struct scrub *s = arg;
    struct catalog_save *save = scrub_save(s);

    s->back = NULL;
    s->err = *err;
    /* Stopping; or it was removed, or let go here, while it was read. */
    if (result == -ECANCELED || !save ||
        (!scrub_is_remote(s) && save->is_released)) {
        scrub_end(s);
        return;
    }
    s->is_bad |= result != 0;
    if (result)
        scrub_env(s)->ops->log(scrub_env(s), LOG_LEVEL_ERROR,
                               "scrub of run %s step %" PRIu64
                               " (generation %" PRIu32 ")%s: %s",
                               s->run->name, s->id.step, s->id.generation,
                               s->place->words, err->text);
    if (is_damage(result))
        look_for_tomb(s);
    else if (result == 0 &&
             (scrub_is_remote(s) ? save->is_remote_damaged : save->is_damaged))
        recio_remove(s->run->home->store, mark_name(s), noted, s);
    else
        read_next(s);
}

/*
 * Reading.
 */

static void read_next(struct scrub *s)
{
    struct read_back_plan plan = {.manifest = &s->held->manifest,
                                  .remote = s->remote,
                                  .depth = 1,
                                  .rate_bytes_s = scrub_env(s)->scrub_bytes_s,
                                  .done = was_read,
                                  .arg = s};

    if (s->is_stopping) {
        scrub_end(s);
        return;
    }
    if (s->next == s->whose_count) {
        conclude(s);
        return;
    }
    plan.share = s->whose[s->next++];
    s->back = read_back_begin(s->engine, &plan);
    if (!s->back)
        scrub_end(s);
}

/* Of a daemon that has left, one of those that are there reads its share. */
static bool is_ours(const struct scrub *s, const struct id128 *daemon)
{
    const struct id128 *own = &scrub_env(s)->local_uuid;
    const struct members *m = &s->run->members;
    struct {
        struct id128 daemon;
        struct save_id id;
    } of = {.daemon = *daemon, .id = s->id};

    if (id_equal(daemon, own))
        return true;
    if (!members_complete(s->run) || members_daemon(m, daemon))
        return false;
    return id_equal(
        &m->daemon[hash_64(&of, sizeof of) % m->daemon_count].daemon, own);
}

/* Whose shares this daemon reads. */
static int choose_shares(struct scrub *s)
{
    const struct manifest *m = &s->held->manifest;
    uint32_t count;

    s->remote = remote_new(s->run, m);
    s->whose = calloc(m->rank_count + 1, sizeof *s->whose);
    if (!s->remote || !s->whose)
        return -ENOMEM;
    count = tier_daemons(m, s->whose, (uint32_t)m->rank_count);
    s->whose_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (is_ours(s, &s->whose[i]))
            s->whose[s->whose_count++] = s->whose[i];
    return 0;
}

static int choose_own(struct scrub *s)
{
    s->whose = calloc(1, sizeof *s->whose);
    if (!s->whose)
        return -ENOMEM;
    s->whose[0] = scrub_env(s)->local_uuid;
    s->whose_count = 1;
    return 0;
}

static void choose_and_read(struct scrub *s)
{
    if (s->is_stopping ||
        (scrub_is_remote(s) ? choose_shares(s) : choose_own(s)))
        scrub_end(s);
    else
        read_next(s);
}

/* Or they cannot be told now: then it is the own share alone. */
static void members_known(void *arg, int result)
{
    struct scrub *s = arg;

    s->is_bad |= result != 0;
    choose_and_read(s);
}

static void manifest_here(void *arg, int result, struct held_manifest *held,
                          const struct err *err)
{
    struct scrub *s = arg;

    s->held = held;
    s->is_bad = result != 0;
    if (result && result != -ENOENT)
        scrub_env(s)->ops->log(scrub_env(s), LOG_LEVEL_ERROR, "scrub: %s",
                               err->text);
    if (result)
        scrub_end(s);
    else if (scrub_is_remote(s) && s->run->generation &&
             !members_complete(s->run))
        members_refresh(s->run, members_known, s);
    else
        choose_and_read(s);
}

void scrub_read(struct scrub *s)
{
    s->whose_count = s->next = 0;
    manifest_fetch(s->run, &s->id, manifest_here, s);
}
