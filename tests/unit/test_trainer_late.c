/*
 * A daemon is lost while a thread of the library is in the midst of a copy,
 * and the next one is there before that copy ends: what the first lent is no
 * business of the second. The copy is held by a page of the target that
 * nobody supplies (userfaultfd).
 */
#include "tests/lib/trainer_world.h"
#include "trainer/context.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES ((size_t)64 << 10) /* one chunk of the fake daemon */

/* Memory in which whoever first writes waits. */
struct gate {
    uint8_t *memory;
    int fd;
};

static bool gate_init(struct gate *g)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};

    g->fd = (int)syscall(SYS_userfaultfd,
                         O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (g->fd < 0)
        return false;
    g->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g->memory, MAP_FAILED);
    range.range.start = (uintptr_t)g->memory;
    range.range.len = BYTES;
    assert_int_equal(ioctl(g->fd, UFFDIO_API, &api), 0);
    assert_int_equal(ioctl(g->fd, UFFDIO_REGISTER, &range), 0);
    return true;
}

static void gate_until_somebody_waits(const struct gate *g)
{
    struct pollfd fd = {g->fd, POLLIN, 0};

    assert_int_equal(poll(&fd, 1, 20000), 1);
}

static void gate_let_in(const struct gate *g)
{
    struct uffdio_zeropage zero = {
        .range = {(uintptr_t)g->memory, BYTES},
    };

    assert_int_equal(ioctl(g->fd, UFFDIO_ZEROPAGE, &zero), 0);
}

static void gate_fini(struct gate *g)
{
    assert_int_equal(munmap(g->memory, BYTES), 0);
    assert_int_equal(close(g->fd), 0);
}

struct reading {
    struct ckpt *ctx;
    struct ckpt_tensor target;
    struct ckpt_id id;
    struct ckpt_error error;
    int rc;
};

static void *read_main(void *arg)
{
    struct reading *r = arg;

    r->rc = ckpt_read(r->ctx, &r->id, &r->target, 1, NULL, NULL, &r->error);
    return NULL;
}

static void until_the_next_daemon_is_there(struct ckpt *ctx)
{
    uint64_t deadline = clock_ms() + 20000;

    sync_lock(ctx->sync);
    while (ctx->epoch < 2 || ctx->link != LINK_UP)
        assert_true(sync_wait(ctx->sync, deadline));
    sync_unlock(ctx->sync);
}

static void save_and_read(struct ckpt *ctx, struct ckpt_tensor *t,
                          uint64_t step, struct ckpt_id *id)
{
    struct ckpt_error error = {0};
    struct ckpt_save *save;

    memset(t->data, (int)step, BYTES);
    if (ckpt_save(ctx, step, t, 1, NULL, 0, &save, &error) ||
        ckpt_wait(save, CKPT_COMMITTED, 20000, &error))
        fail_msg("%s", error.message);
    ckpt_save_id(save, id);
    ckpt_save_free(save);
    memset(t->data, 0, BYTES);
    if (ckpt_read(ctx, id, t, 1, NULL, NULL, &error))
        fail_msg("%s", error.message);
    for (size_t i = 0; i < BYTES; i++)
        assert_int_equal(((uint8_t *)t->data)[i], step);
}

static void what_one_daemon_lent_is_not_given_to_the_next(void **unused)
{
    const struct fake_options o = {.slot_count = 4};
    static uint8_t plain[BYTES];
    struct ckpt_tensor t = {.name = "w",
                            .dtype = CKPT_U8,
                            .ndim = 1,
                            .shape = {BYTES},
                            .data = plain};
    struct reading r = {.target = t};
    struct trainer_world w;
    struct gate gate = {0};
    pthread_t thread;

    (void)unused;
    if (!gate_init(&gate)) {
        print_message("userfaultfd is refused here: %s\n", strerror(errno));
        skip();
    }
    trainer_world_init(&w, &o);
    r.ctx = trainer_world_open(&w);
    save_and_read(r.ctx, &t, 1, &r.id);
    r.target.data = gate.memory;
    assert_int_equal(pthread_create(&thread, NULL, read_main, &r), 0);
    gate_until_somebody_waits(&gate);
    fake_hang_up(w.fake);
    until_the_next_daemon_is_there(r.ctx);
    gate_let_in(&gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.rc, -ECONNRESET);
    assert_non_null(strstr(r.error.message, "read of step 1"));
    save_and_read(r.ctx, &t, 2, &r.id);
    assert_int_equal(fake_count(w.fake, WIRE_LOAD), 3);
    assert_int_equal(fake_count(w.fake, WIRE_LOAD_VOTE), 2);
    ckpt_close(r.ctx);
    trainer_world_fini(&w);
    gate_fini(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_daemon_lent_is_not_given_to_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
