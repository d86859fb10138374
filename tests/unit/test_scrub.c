/*
 * test_scrub.c - the daemon reads checkpoints again when all is quiet, rests
 * while a save is under way, each again after its time, and ends in order in
 * the midst of it.
 */
#include "ckptd/engine/scrub.h"
#include "tests/lib/rig_drain.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LIMIT_MS     900000
#define TENSOR_BYTES (5 * (uint64_t)RIG_CHUNK_BYTES - 100)
#define NS_PER_S     ((uint64_t)1000 * 1000 * 1000)

static uint32_t scrubbed(const struct rig_job *f, uint64_t step)
{
    const struct catalog *c = &rig_the_run(f->g)->catalog;

    for (size_t i = 0; i < c->save_count; i++)
        if (c->save[i].id.step == step)
            return c->save[i].scrub_at_s;
    return 0;
}

static void begin_scrub(struct rig_job *f, double rate)
{
    f->g->engine->env->scrub_every_ns = 60 * NS_PER_S;
    f->g->engine->env->scrub_bytes_s = rate;
    assert_int_equal(scrub_open(f->g->engine), 0);
}

/* Two ranks, step 10 committed, and a scrub of each checkpoint every minute. */
static void begin(struct rig_job *f, double rate)
{
    struct rig_shape shape = {.world_size = 2,
                              .slots = 12,
                              .tensors = 2,
                              .tensor_bytes = TENSOR_BYTES,
                              .codec = 1,
                              .entropy = 1};

    rig_job_begin(f, 5, &shape);
    rig_job_commit(f, 10, 10);
    begin_scrub(f, rate);
}

static void it_reads_when_all_is_quiet_and_again_after_its_time(void **state)
{
    struct rig_job f;
    uint32_t first;

    (void)state;
    begin(&f, 0);
    assert_int_equal(scrubbed(&f, 10), 0);
    (void)rig_run(f.g, 6000, NULL, NULL);
    first = scrubbed(&f, 10);
    assert_true(first > 0);
    (void)rig_run(f.g, 30000, NULL, NULL);
    assert_int_equal(scrubbed(&f, 10), first);
    (void)rig_run(f.g, 40000, NULL, NULL);
    assert_true(scrubbed(&f, 10) >= first + 60);
    rig_free(f.g);
}

static void it_rests_while_a_save_is_under_way(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 50000); /* that takes half a minute */
    (void)rig_run(f.g, 6000, NULL, NULL);
    assert_true(scrub_is_busy(f.g->engine));
    (void)rig_save(f.r[0], 20, 20, 0); /* the other rank lets it wait */
    (void)rig_run(f.g, 50000, NULL, NULL);
    assert_true(scrub_is_busy(f.g->engine));
    assert_int_equal(scrubbed(&f, 10), 0);
    (void)rig_save(f.r[1], 20, 20, 0);
    assert_true(rig_run(f.g, LIMIT_MS, rig_all_decided, f.g));
    (void)rig_run(f.g, 60000, NULL, NULL);
    assert_true(scrubbed(&f, 10) > 0);
    rig_free(f.g);
}

/* Its local copy is let go while it is read: that is no damage. */
static void what_is_let_go_meanwhile_is_not_damaged(void **state)
{
    struct rig_shape shape = rig_drain_shape(10, 0);
    const struct catalog_save *s;
    struct rig_job f;

    (void)state;
    shape.local_last = 1;
    rig_job_begin(&f, 6, &shape);
    rig_job_commit(&f, 10, 10);
    rig_drain_settle(f.g);
    begin_scrub(&f, 50000); /* that takes half a minute */
    (void)rig_run(f.g, 6000, NULL, NULL);
    assert_true(scrub_is_busy(f.g->engine));
    for (uint64_t step = 20; step <= 40; step += 10) {
        rig_job_commit(&f, step, step);
        rig_drain_settle(f.g);
        rig_settle(f.g);
    }
    s = rig_save_at(f.g, 10);
    assert_true(s->is_released);
    for (int i = 0; i < 120 && !s->scrub_at_s; i++) {
        (void)rig_run(f.g, 1000, NULL, NULL);
        s = rig_save_at(f.g, 10);
    }
    assert_true(s->scrub_at_s > 0);
    assert_false(s->is_damaged);
    assert_false(test_env_logged(f.g->daemon, "scrub of run"));
    rig_free(f.g);
}

static void it_ends_in_the_midst_of_reading(void **state)
{
    struct rig_job f;

    (void)state;
    begin(&f, 20000);
    (void)rig_run(f.g, 6000, NULL, NULL);
    assert_true(scrub_is_busy(f.g->engine));
    rig_free(f.g); /* which waits until it is quiet */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_when_all_is_quiet_and_again_after_its_time),
        cmocka_unit_test(it_rests_while_a_save_is_under_way),
        cmocka_unit_test(what_is_let_go_meanwhile_is_not_damaged),
        cmocka_unit_test(it_ends_in_the_midst_of_reading),
    };

    return cmocka_run_group_tests_name("scrub", tests, NULL, NULL);
}
