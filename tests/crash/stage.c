/*
 * stage.c - what the scenes share. See scenes.h.
 */
#include "tests/crash/scenes.h"

#include "ckptd/engine/retain.h"
#include "formats/record.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool stage_fails(struct stage *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(s->why, WHY_BYTES, format, args);
    va_end(args);
    return false;
}

bool stage_next(struct stage *s)
{
    char token[32];

    (void)snprintf(token, sizeof token, "start %u", (unsigned)++s->lives);
    life_begin(&s->life, s->disk, &s->p, s->seed * 100 + s->lives);
    if (life_join(&s->life, token))
        return true;
    return stage_fails(s, "ranks cannot join: %s", s->life.r[0]->error_text);
}

void stage_begin(struct stage *s, uint64_t seed, const struct life_shape *shape,
                 char why[WHY_BYTES])
{
    bool joined;

    *s = (struct stage){.disk = disk_new(seed, NULL),
                        .p = {.shape = *shape},
                        .seed = seed,
                        .why = why};
    (void)disk_the(s->disk);
    disk_record(s->disk);
    joined = stage_next(s);
    assert(joined);
}

void stage_stop(struct stage *s)
{
    life_end(&s->life);
    s->life.world = NULL;
}

void stage_kill(struct stage *s)
{
    life_kill(&s->life);
    s->life.world = NULL;
}

bool stage_end(struct stage *s, bool ok)
{
    if (s->life.world)
        life_end(&s->life);
    (void)disk_the(NULL);
    disk_free(s->disk);
    return ok;
}

struct promise *stage_commit(struct stage *s, uint64_t step, uint64_t seed)
{
    struct promise *v = life_save(&s->life, step, seed);

    (void)life_wait(&s->life);
    if (v->committed == DISK_NEVER)
        (void)fprintf(stderr, "step %u: %s\n", (unsigned)step, v->v[0]->text);
    assert(v->committed != DISK_NEVER);
    return v;
}

struct run *stage_run(const struct stage *s)
{
    struct engine *e = s->life.g[0]->engine;
    struct home *home = container_of(e->homes.next, struct home, link);

    return container_of(home->runs.next, struct run, link);
}

static bool is_quiet(void *arg)
{
    return !retain_is_busy(stage_run(arg));
}

void stage_retain(struct stage *s)
{
    (void)life_until(&s->life, is_quiet, s);
    life_turn(&s->life, 3000); /* what is put off is tried again */
    (void)life_until(&s->life, is_quiet, s);
}

bool stage_loads(struct stage *s, const struct promise *v)
{
    struct rig_load *l[LIFE_RANKS_MAX];

    life_load(&s->life, &v->id, l);
    return life_load_is_right(&s->life, l, v, s->why, WHY_BYTES);
}

uint32_t stage_file(const struct stage *s, const char *path)
{
    char text[512], *at = text, *part;
    uint32_t node = 0;

    (void)snprintf(text, sizeof text, "%s", path);
    while ((part = strsep(&at, "/")) && node != DISK_NEVER)
        node = image_find(&s->disk->live, node, part);
    return node;
}

void stage_flip(struct stage *s, uint32_t file, uint64_t at)
{
    struct disk_node *n = &s->disk->live.node[file];
    uint8_t byte;

    assert(file != DISK_NEVER && at < content_size(n->content));
    content_read(n->content, at, &byte, 1);
    byte ^= 1;
    content_write(&n->content, at, &byte, 1, NULL);
}

uint32_t stage_record(const struct stage *s, const char *folder,
                      const struct save_id *id)
{
    char name[RECORD_NAME_BYTES], path[RECORD_NAME_BYTES + 8];

    (void)snprintf(path, sizeof path, "home/%s",
                   name_save(name, RIG_RUN, folder, id));
    return stage_file(s, path);
}

static void nothing(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
}

static void put(struct stage *s, const char *name, struct wr *w)
{
    struct store_req req = {.op = STORE_PUT,
                            .name = name,
                            .buf = w->data,
                            .len = w->bytes,
                            .done = nothing};
    int64_t rc = store_run(test_world_store(s->life.world, RIG_HOME), &req);

    assert(rc == 0);
    wr_free(w);
}

void stage_put(struct stage *s, const char *folder, const struct save_id *id,
               struct wr *w)
{
    char name[RECORD_NAME_BYTES];

    put(s, name_save(name, RIG_RUN, folder, id), w);
}

void stage_note_damage(struct stage *s, const struct promise *v)
{
    const struct id128 *daemon = &s->life.g[0]->daemon->env.local_uuid;
    struct record_mark mark = {
        .id = v->id, .daemon = *daemon, .note = "the test wants it"};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    record_mark_encode(RECORD_DAMAGED, &mark, &w);
    put(s, name_save_daemon(name, RIG_RUN, "damaged", &v->id, daemon), &w);
}

static void take_away(struct stage *s, const char *name)
{
    struct store_req req = {.op = STORE_REMOVE, .name = name, .done = nothing};
    int64_t rc = store_run(test_world_store(s->life.world, RIG_HOME), &req);

    assert(rc == 0);
}

void stage_bury(struct stage *s, const struct promise *v, bool with_records)
{
    struct record_tomb tomb = {.id = v->id, .reason = "the test wants it"};
    static const char *const of_each[] = {"vote", "intent"};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    record_tomb_encode(&tomb, &w);
    stage_put(s, "tomb", &v->id, &w);
    for (uint32_t i = 0; with_records && i < s->p.shape.daemons; i++)
        for (uint32_t k = 0; k < ARRAY_LEN(of_each); k++)
            take_away(s,
                      name_save_daemon(name, RIG_RUN, of_each[k], &v->id,
                                       &s->life.g[i]->daemon->env.local_uuid));
    if (with_records)
        take_away(s, name_save(name, RIG_RUN, "decision", &v->id));
}
