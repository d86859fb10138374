/*
 * load_job.c - see load_job.h.
 */
#include "tests/lib/load_job.h"
#include "tests/lib/media.h"

#include "ckptd/engine/load.h"
#include "ckptd/engine/manifest_hold.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Saving.
 */

struct fetching {
    struct held_manifest *held;
    bool is_done;
};

static void on_fetched(void *arg, int result, struct held_manifest *held,
                       const struct err *err)
{
    struct fetching *f = arg;

    (void)err;
    assert(result == 0);
    f->held = held;
    f->is_done = true;
}

static bool is_fetched(void *arg)
{
    return ((struct fetching *)arg)->is_done;
}

static void note_file(struct load_job *j, int i)
{
    struct fetching f = {0};
    const struct manifest *m;

    manifest_fetch(rig_the_run(j->saver), &j->id[i], on_fetched, &f);
    (void)rig_run(j->saver, JOB_LIMIT_MS, is_fetched, &f);
    assert(f.is_done && f.held->manifest.file_count > 0);
    m = &f.held->manifest;
    assert(m->file[0].name_bytes < sizeof j->file[i]);
    memcpy(j->file[i], m->blob + m->file[0].name, m->file[0].name_bytes);
    held_manifest_put(f.held);
}

void load_job_save(struct load_job *j, uint64_t seed, uint32_t savers,
                   uint32_t codec)
{
    struct rig_shape shape = {.world_size = savers,
                              .slots = 6,
                              .tensors = JOB_TENSORS,
                              .tensor_bytes = JOB_TENSOR_BYTES,
                              .codec = codec == JOB_DULL ? 1 : codec,
                              .entropy = codec == 1};
    struct rig_rank *r[RIG_RANKS_MAX];

    *j = (struct load_job){.world = test_world_new(seed), .savers = savers};
    j->saver = rig_new_in(j->world, "a");
    j->saver->has_shared_world = true;
    rig_start(j->saver, "saves", &shape, r);
    for (int i = 0; i < JOB_STEPS; i++) {
        struct rig_save *v = NULL;

        for (uint32_t k = 0; k < savers; k++)
            v = rig_save(r[k], 10 * ((uint64_t)i + 1), (uint64_t)i + 1, 0);
        (void)rig_run(j->saver, JOB_LIMIT_MS, rig_all_decided, j->saver);
        assert(v && v->state == WIRE_STATE_COMMITTED);
        j->id[i] = v->id;
        note_file(j, i);
    }
    rig_end(j->saver);
}

/*
 * Loading.
 */

/* Rank `rank` of `count` wishes for every count-th tensor, or for its slice of
 * every tensor. */
static size_t wishes(const struct load_job *j, uint32_t rank, bool is_cut,
                     struct rig_want *want)
{
    uint64_t elements = JOB_TENSOR_BYTES / 2;
    uint64_t start = elements * rank / j->loaders;
    uint64_t stop = elements * (rank + 1) / j->loaders;
    size_t count = 0;

    for (uint32_t i = 0; i < j->savers * JOB_TENSORS; i++) {
        struct rig_want w = {.owner = i / JOB_TENSORS,
                             .tensor = i % JOB_TENSORS};

        if (is_cut) {
            w.start = start;
            w.count = stop - start;
        } else if (i % j->loaders != rank) {
            continue;
        }
        want[count++] = w;
    }
    return count;
}

void load_job_wish(struct load_job *j, bool is_cut)
{
    struct rig_want want[RIG_WANTS_MAX];

    for (uint32_t i = 0; i < j->loaders; i++)
        rig_wish(j->r[i], 7, want, wishes(j, i, is_cut, want),
                 JOB_TENSOR_BYTES);
}

void load_job_join(struct load_job *j, const char *token, uint32_t loaders,
                   uint32_t slots, bool is_cut)
{
    struct rig_shape shape = {.world_size = loaders,
                              .slots = slots,
                              .tensors = 1,
                              .tensor_bytes = RIG_CHUNK_BYTES,
                              .codec = 1,
                              .entropy = 1};

    rig_start(j->g, token, &shape, j->r);
    j->loaders = loaders;
    for (uint32_t i = 0; i < loaders; i++) {
        if (!rig_joined(j->r[i]))
            (void)fprintf(stderr, "rank %u: %s\n", i, j->r[i]->error_text);
        assert(rig_joined(j->r[i]));
    }
    load_job_wish(j, is_cut);
}

void load_job_start(struct load_job *j, uint32_t loaders, uint32_t slots,
                    bool is_cut)
{
    char token[32];

    (void)snprintf(token, sizeof token, "loads%u", ++j->lives);
    j->g = rig_new_in(j->world, "a");
    j->g->has_shared_world = true;
    load_job_join(j, token, loaders, slots, is_cut);
}

void load_job_load(struct load_job *j)
{
    for (uint32_t i = 0; i < j->loaders; i++)
        j->l[i] = j->r[i]->is_gone ? NULL : rig_load(j->r[i], NULL);
}

bool load_job_wait(struct load_job *j)
{
    return rig_run(j->g, JOB_LIMIT_MS, rig_loads_done, j->g);
}

void load_job_check(struct load_job *j, int i)
{
    for (uint32_t k = 0; k < j->loaders; k++) {
        struct rig_load *l = j->l[k];

        if (l->code)
            (void)fprintf(stderr, "rank %u: %d: %s\n", k, l->code, l->text);
        assert(l->is_done && l->code == 0);
        assert(save_id_compare(&l->id, &j->id[i]) == 0);
        rig_load_check(l, j->saver, &j->id[i]);
    }
}

void load_job_check_failed(struct load_job *j, int code, const char *words)
{
    for (uint32_t k = 0; k < j->loaders; k++) {
        struct rig_load *l = j->l[k];

        if (!l || l->rank->is_gone)
            continue;
        if (l->code != code || !strstr(l->text, words))
            (void)fprintf(stderr, "rank %u: %d: %s\n", k, l->code, l->text);
        assert(l->is_done && l->code == code && strstr(l->text, words));
    }
}

void load_job_check_quiet(struct load_job *j)
{
    assert(!loads_pending(rig_the_run(j->g)));
    assert(rig_slots(j->g, SLOT_LOADING) == 0);
    assert(rig_slots(j->g, SLOT_DELIVERED) == 0);
    assert(j->g->daemon->buffers == 0);
}

void load_job_finish(struct load_job *j)
{
    bool is_over = load_job_wait(j);

    assert(is_over);
    load_job_check_quiet(j);
}

/*
 * Damage.
 */

void load_job_damage(struct load_job *j, int i)
{
    struct store *s = test_world_store(j->world, "local/a");
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    uint64_t size;
    struct store_seg *seg = media_open(s, j->file[i], STORE_SEG_WRITE, &size);

    assert(page);
    /* Every page but the segment's own header. */
    for (uint64_t at = PAGE_BYTES; at < size; at += PAGE_BYTES) {
        media_read(s, seg, at, page);
        page[test_random(j->world) % 64] ^= 1;
        media_write(s, seg, at, page);
    }
    media_close(s, seg);
    free(page);
}

void load_job_cut_short(struct load_job *j, uint64_t turns, bool is_killed)
{
    load_job_load(j);
    for (uint64_t i = 0; i < turns; i++)
        (void)rig_run(j->g, 0, NULL, NULL);
    if (is_killed)
        rig_kill(j->g);
    rig_free(j->g); /* asserts that all ends and nothing is left */
    load_job_start(j, 2, 4, true);
    load_job_load(j);
    load_job_finish(j);
}

void load_job_end(struct load_job *j)
{
    if (j->g)
        rig_free(j->g);
    rig_free(j->saver);
    test_world_free(j->world);
}
