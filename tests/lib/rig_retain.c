/*
 * rig_retain.c - see rig_retain.h.
 */
#include "tests/lib/rig_retain.h"
#include "tests/lib/media.h"

#include <assert.h>

#define LIMIT_MS      900000
#define ATTEMPTS_MOST 10

static bool is_retained(void *arg)
{
    return !retain_is_busy(rig_the_run(arg));
}

void rig_settle(struct rig *g)
{
    bool is_over;

    (void)rig_run(g, RIG_PASS_MS, NULL, NULL);
    is_over = rig_run(g, LIMIT_MS, is_retained, g);
    assert(is_over);
    (void)rig_run(g, 100, NULL, NULL);
}

enum save_status rig_status(const struct rig *g, uint64_t step)
{
    const struct catalog *c = &rig_the_run(g)->catalog;

    for (size_t i = c->save_count; i-- > 0;)
        if (c->save[i].id.step == step)
            return c->save[i].status;
    for (size_t i = c->generation_count; i-- > 0;) {
        struct save_id id = {.generation = c->generation[i].record.generation,
                             .step = step};

        while (++id.attempt < ATTEMPTS_MOST)
            if (catalog_status(c, &id))
                return catalog_status(c, &id);
    }
    return 0;
}

struct store *rig_home(const struct rig *g)
{
    return test_world_store(g->world, RIG_HOME);
}

bool rig_home_has(const struct rig *g, const char *folder,
                  const struct save_id *id)
{
    char name[RECORD_NAME_BYTES];

    return media_has(rig_home(g), name_save(name, RIG_RUN, folder, id));
}

static void put(const struct rig *g, const char *name, struct wr *w)
{
    int64_t rc = media_put(rig_home(g), name, w->data, w->bytes);

    assert(!w->failed && rc == 0);
    wr_free(w);
}

void rig_put_mark(const struct rig *g, enum record_kind kind, const char *name,
                  const struct save_id *id)
{
    struct record_mark mark = {.id = *id, .created_unix_ms = 1};
    struct wr w = {0};

    record_mark_encode(kind, &mark, &w);
    put(g, name, &w);
}

void rig_bury(const struct rig *g, const struct save_id *id)
{
    struct record_tomb tomb = {.id = *id, .reason = "ckpt gc"};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    record_tomb_encode(&tomb, &w);
    put(g, name_save(name, RIG_RUN, "tomb", id), &w);
}
