/*
 * retain_verify.c - the newest checkpoint is read back before any other goes.
 *
 *   verified/ (who has said so) -> manifest -> read our share back ->
 *   verified/SAVE.DAEMON -> all daemons have? -> verified/SAVE
 *
 * With one daemon its share is all there is, and the first mark is left out.
 * What the marks say is never taken back: media that rot later are found by
 * whoever reads them.
 */
#include "ckptd/engine/retain_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Reading back takes at most this share of what the drive was seen to do. */
#define READ_BACK_SHARE 0.25
#define READ_BACK_DEPTH 2

static struct store *store_of(const struct retention *t)
{
    return t->run->home->store;
}

static bool has_mark(const struct retention *t, const struct id128 *daemon)
{
    char want[SAVE_ID_TEXT_BYTES + ID_TEXT_BYTES + 1], save[SAVE_ID_TEXT_BYTES];
    char id[ID_TEXT_BYTES];

    (void)save_id_format(&t->newest, save);
    if (daemon)
        (void)snprintf(want, sizeof want, "%s.%s", save, id_format(daemon, id));
    else
        (void)snprintf(want, sizeof want, "%s", save);
    for (size_t i = 0; i < t->names.count; i++)
        if (strcmp(t->names.name[i], want) == 0)
            return true;
    return false;
}

/* Whether all the chunks are in our own store. */
static bool is_ours_alone(const struct retention *t)
{
    const struct manifest *m = &t->held->manifest;

    for (uint64_t i = 0; i < m->file_count; i++)
        if (!id_equal(&m->file[i].store, &t->env->local_uuid))
            return false;
    return true;
}

static bool others_have(const struct retention *t)
{
    const struct manifest *m = &t->held->manifest;

    for (uint64_t i = 0; i < m->file_count; i++)
        if (!id_equal(&m->file[i].store, &t->env->local_uuid) &&
            !has_mark(t, &m->file[i].store))
            return false;
    return true;
}

static void end(struct retention *t, int result, const char *what)
{
    store_names_free(&t->names);
    retain_verified(t, result, what);
}

static void put_mark(struct retention *t, const struct id128 *daemon,
                     recio_put_fn done)
{
    struct record_mark mark = {.id = t->newest, .daemon = t->env->local_uuid};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    mark.created_unix_ms = t->env->ops->unix_ms(t->env);
    (void)snprintf(mark.note, sizeof mark.note, "read back on %.200s",
                   t->env->host);
    record_mark_encode(RECORD_VERIFIED, &mark, &w);
    if (daemon)
        (void)name_save_daemon(name, t->run->name, "verified", &t->newest,
                               daemon);
    else
        (void)name_save(name, t->run->name, "verified", &t->newest);
    recio_put(store_of(t), name, &w, done, t);
}

static void all_put(void *arg, int result)
{
    end(arg, result == -EEXIST ? 0 : result,
        "cannot write that a save was read back");
}

/* Our own share is good, and on record if there are others. */
static void conclude(struct retention *t)
{
    if (others_have(t))
        put_mark(t, NULL, all_put);
    else
        end(t, -EAGAIN, "other daemons have yet to read back");
}

static void own_put(void *arg, int result)
{
    if (result && result != -EEXIST)
        end(arg, result, "cannot write that a save was read back");
    else
        conclude(arg);
}

static void was_read_back(void *arg, int result, const struct err *err)
{
    struct retention *t = arg;

    t->back = NULL;
    if (result)
        end(t, result, err->text);
    else if (is_ours_alone(t))
        conclude(t);
    else
        put_mark(t, &t->env->local_uuid, own_put);
}

static void newest_here(void *arg, int result, struct held_manifest *held,
                        const struct err *err)
{
    struct retention *t = arg;
    struct read_back_plan plan;

    t->held = held;
    if (result || t->is_stopping) {
        end(t, result ? result : -ECANCELED, err->text);
        return;
    }
    if (has_mark(t, &t->env->local_uuid)) {
        conclude(t);
        return;
    }
    plan = (struct read_back_plan){
        .manifest = &held->manifest,
        .depth = READ_BACK_DEPTH,
        .rate_bytes_s = t->env->tier_bytes_s * READ_BACK_SHARE,
        .done = was_read_back,
        .arg = t,
    };
    t->back = read_back_begin(t->run->home->engine, &plan);
    if (!t->back)
        end(t, -ENOMEM, "reading back");
}

static void marks_listed(void *arg, int result, struct store_names *names)
{
    struct retention *t = arg;

    if (result < 0) {
        end(t, result, "cannot list verified/");
        return;
    }
    t->names = *names;
    *names = (struct store_names){0};
    if (has_mark(t, NULL))
        end(t, 0, "");
    else
        manifest_fetch(t->run, &t->newest, newest_here, t);
}

void retain_verify(struct retention *t)
{
    char name[RECORD_NAME_BYTES];

    assert(!t->held && t->names.count == 0);
    recio_list(store_of(t), name_run(name, t->run->name, "verified"),
               marks_listed, t);
}
