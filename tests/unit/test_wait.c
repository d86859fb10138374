/*
 * test_wait.c - ckpt wait over a store in memory: a home that does not answer
 * for a while is waited for, one that says no is believed; with --each, a
 * signal that comes when a checkpoint has been found and its command has not
 * begun yet.
 *
 * The linker's --wrap gives the tool's code the world's home, and the lease
 * that is taken for the command is the moment of the signal.
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
void wrap_close(struct store *store) __asm__("__wrap_store_close");
void real_close(struct store *store) __asm__("__real_store_close");
int real_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__real_store_file_open");
int wrap_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_file_open");
int wrap_home(const char *home, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_home_open");

static struct store *the_home; /* of the world */
static bool is_lease;          /* what is opened next is the lease's */

void wrap_close(struct store *store)
{
    real_close(store);
}

int wrap_file(const char *path, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    return real_file(path, flags, engine, out, err);
}

int wrap_home(const char *home, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    (void)home;
    (void)flags;
    (void)engine;
    if (is_lease) {
        assert_int_equal(raise(SIGTERM), 0);
        return store_memory_open(0, out, err);
    }
    *out = the_home;
    return 0;
}

/* A home with step 10. */
static struct test_world *begin(void)
{
    const struct rig_shape shape = {.world_size = 1,
                                    .slots = 4,
                                    .tensors = 1,
                                    .tensor_bytes = RIG_CHUNK_BYTES,
                                    .codec = 1,
                                    .entropy = 1};
    struct test_world *world = test_world_new(1);
    struct rig_job f = {0};
    struct store *memory;
    struct err err;

    assert_int_equal(store_memory_open(1, &memory, &err), 0);
    assert_int_equal(store_fault_open(memory, &the_home, &err), 0);
    test_world_add(world, RIG_HOME, the_home);
    f.g = rig_new_in(world, "a");
    f.g->has_shared_world = true;
    rig_job_enter(&f, "one", &shape);
    rig_job_commit(&f, 10, 10);
    rig_free(f.g);
    return world;
}

static int wait_for(const char *target, const struct store_fault *fault,
                    uint64_t timeout_ms)
{
    char text[64];
    struct tool t = {.verb = "wait", .target = text};

    (void)snprintf(text, sizeof text, "%s", target);
    t.options.home = "/home";
    t.options.has_timeout = true;
    t.options.timeout_ms = timeout_ms;
    assert_int_equal(store_fault_add(the_home, fault), 0);
    return verb_wait(&t);
}

static void a_home_that_comes_back_is_waited_for(void **state)
{
    static const int errors[] = {-ETIMEDOUT, -EIO, -ESTALE};
    static const char *const parts[] = {"/RUN", "/decision", "/tomb"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct store_fault away = {
            .op = -1, .name_part = parts[i], .nth = 1, .error = errors[i]};
        struct test_world *world = begin();

        assert_int_equal(wait_for(RIG_RUN "@10", &away, 30000), EXIT_FINE);
        assert_int_equal(store_fault_count(the_home), 1);
        test_world_free(world);
    }
}

static void one_that_does_not_is_told_at_the_end(void **state)
{
    const struct store_fault away = {.op = STORE_GET,
                                     .name_part = "/RUN",
                                     .nth = 1,
                                     .persistent = true,
                                     .error = -ETIMEDOUT};
    struct test_world *world = begin();

    (void)state;
    assert_int_equal(wait_for(RIG_RUN "@10", &away, 200), EXIT_LOCKED);
    assert_true(store_fault_count(the_home) >= 2);
    test_world_free(world);
}

static void what_does_not_pass_is_not_waited_for(void **state)
{
    static const struct {
        int error, code;
    } cases[] = {{-EACCES, EXIT_ERROR}, {-ENOENT, EXIT_ABSENT}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct store_fault no = {.op = STORE_GET,
                                       .name_part = "/RUN",
                                       .nth = 1,
                                       .persistent = true,
                                       .error = cases[i].error};
        struct test_world *world = begin();

        assert_int_equal(wait_for(RIG_RUN "@10", &no, 30000), cases[i].code);
        assert_int_equal(store_fault_count(the_home), 1);
        test_world_free(world);
    }
}

static void a_signal_before_the_command_ends_it_too(void **state)
{
    /* At the first look the run is not there: so all that comes is new. */
    const struct store_fault none = {
        .op = STORE_GET, .name_part = "/RUN", .nth = 1, .error = -ENOENT};
    struct tool t = {.verb = "wait",
                     .options = {.home = "/home", .exec = "exec sleep 20"}};
    struct test_world *world = begin();
    uint64_t began;

    (void)state;
    t.home = the_home;
    assert_int_equal(store_fault_add(t.home, &none), 0);
    wait_catch_signals();
    is_lease = true;
    began = now_ms();
    assert_int_equal(wait_each(&t, RIG_RUN), EXIT_INTERRUPTED);
    assert_int_equal(store_fault_count(t.home), 1);
    assert_true(now_ms() - began < SLEEP_MS / 2);
    test_world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_home_that_comes_back_is_waited_for),
        cmocka_unit_test(one_that_does_not_is_told_at_the_end),
        cmocka_unit_test(what_does_not_pass_is_not_waited_for),
        cmocka_unit_test(a_signal_before_the_command_ends_it_too),
    };

    return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
