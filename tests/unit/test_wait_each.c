/*
 * test_wait_each.c - ckpt wait --each over a store in memory: a signal that
 * comes when a checkpoint has been found and its command has not begun yet.
 *
 * The linker's --wrap gives the tool's code the world's home, and the lease
 * that is taken for the command is the moment.
 */
#include "tests/lib/rig_job.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/wait.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SLEEP_MS 20000

/* The names that ld --wrap gives to what was and to what stands before it. */
void real_close(struct store *store) __asm__("__real_store_close");
void wrap_close(struct store *store) __asm__("__wrap_store_close");
int real_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__real_store_file_open");
int wrap_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_file_open");
int wrap_home(const char *home, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_home_open");

void wrap_close(struct store *store)
{
    real_close(store);
}

int wrap_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    return real_file(path, flags, engine, out, err);
}

/* The lease's. */
int wrap_home(const char *home, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    (void)home;
    (void)flags;
    (void)engine;
    assert_int_equal(raise(SIGTERM), 0);
    return store_memory_open(0, out, err);
}

static void a_signal_before_the_command_ends_it_too(void **state)
{
    /* At the first look the run is not there: so all that comes is new. */
    const struct store_fault none = {
        .op = STORE_GET, .name_part = "/RUN", .nth = 1, .error = -ENOENT};
    const struct rig_shape shape = {.world_size = 1,
                                    .slots = 4,
                                    .tensors = 1,
                                    .tensor_bytes = RIG_CHUNK_BYTES,
                                    .codec = 1,
                                    .entropy = 1};
    struct tool t = {.verb = "wait",
                     .options = {.home = "/home", .exec = "exec sleep 20"}};
    struct test_world *world = test_world_new(1);
    struct rig_job f = {0};
    struct store *memory;
    struct err err;
    uint64_t began;

    (void)state;
    assert_int_equal(store_memory_open(1, &memory, &err), 0);
    assert_int_equal(store_fault_open(memory, &t.home, &err), 0);
    test_world_add(world, RIG_HOME, t.home);
    f.g = rig_new_in(world, "a");
    f.g->has_shared_world = true;
    rig_job_enter(&f, "one", &shape);
    rig_job_commit(&f, 10, 10);
    rig_free(f.g);
    assert_int_equal(store_fault_add(t.home, &none), 0);
    wait_catch_signals();
    began = now_ms();
    assert_int_equal(wait_each(&t, RIG_RUN), EXIT_INTERRUPTED);
    assert_int_equal(store_fault_count(t.home), 1);
    assert_true(now_ms() - began < SLEEP_MS / 2);
    test_world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_before_the_command_ends_it_too),
    };

    return cmocka_run_group_tests_name("wait_each", tests, NULL, NULL);
}
