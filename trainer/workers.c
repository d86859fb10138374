/*
 * workers.c - the library's threads: copy threads take whatever chunk of a save
 * or delivery of a load is there, and sleep on `work`; the I/O thread is
 * io.c's.
 */
#include "trainer/workers.h"
#include "trainer/load.h"
#include "trainer/save.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static void *copy_main(void *arg)
{
    struct ckpt *ctx = arg;

    sync_lock(ctx->sync);
    while (!ctx->is_closing) {
        struct ckpt_save *save;

        if (load_scatter_one(ctx))
            continue;
        save = save_with_work(ctx);
        if (save && save_copy_one(ctx, save, save->chunk_count))
            continue;
        (void)pthread_cond_wait(&ctx->sync->work, &ctx->sync->lock);
    }
    sync_unlock(ctx->sync);
    return NULL;
}

static int start(pthread_t *thread, void *(*entry)(void *), struct ckpt *ctx)
{
    pthread_attr_t attr;
    sigset_t all;
    int rc = pthread_attr_init(&attr);

    if (rc)
        return rc;
    (void)sigfillset(&all);
    rc = pthread_attr_setsigmask_np(&attr, &all);
    if (rc == 0)
        rc = pthread_create(thread, &attr, entry, ctx);
    (void)pthread_attr_destroy(&attr);
    return rc;
}

int threads_start(struct ckpt *ctx, struct err *err)
{
    int rc = start(&ctx->io_thread, io_main, ctx);

    if (rc)
        return err_set(err, -rc, "no thread: %s", err_text(-rc));
    while (ctx->copier_count < ctx->copy_threads) {
        rc = start(&ctx->copier[ctx->copier_count], copy_main, ctx);
        if (rc) {
            threads_stop(ctx);
            return err_set(err, -rc, "no thread: %s", err_text(-rc));
        }
        ctx->copier_count++;
    }
    return 0;
}

void threads_stop(struct ckpt *ctx)
{
    uint64_t one = 1;

    sync_lock(ctx->sync);
    ctx->is_closing = true;
    (void)pthread_cond_broadcast(&ctx->sync->work);
    (void)pthread_cond_broadcast(&ctx->sync->changed);
    sync_unlock(ctx->sync);
    /* A fresh eventfd takes a write; were it full, it would be readable. */
    if (write(ctx->quit_fd, &one, sizeof one) < 0)
        io_wake(ctx);
    (void)pthread_join(ctx->io_thread, NULL);
    for (uint32_t i = 0; i < ctx->copier_count; i++)
        (void)pthread_join(ctx->copier[i], NULL);
    ctx->copier_count = 0;
}
