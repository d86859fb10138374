/*
 * store_rados_op.c - one operation on one object, from its steps to its result.
 *
 * An operation waits until what is under way leaves room for it: a bounded
 * number of operations, and of bytes, both well below what librados itself
 * allows, since there it would keep the calling thread. A small one, of a
 * record, a catalogue or a seal, does not wait for room among the bytes: others
 * go on by what it comes to. librados takes it,
 * calls rados_op_called() on one of its threads, and rados_op_poll(), on the
 * owner's thread, hands it over. Poll also goes on with jobs whose pause is
 * over; the one descriptor, a timer, tells of both.
 *
 * What librados does not take at once goes the same way with its error, so
 * that `done` is only ever called from poll. Every operation ends, because
 * every timeout of librados is set (store_rados_open.c).
 */
#include "storage/store_rados.h"

#include "common/bytes.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define OPS_MAX      256
#define OP_BYTES_MAX ((uint64_t)64 << 20) /* of those that are not small */
#define SMALL_BYTES  ((uint64_t)64 << 10)
/* Copied while there is no room: what comes to an end comes in bursts. */
#define READY_BYTES_MAX OP_BYTES_MAX

uint64_t rados_now_ms(void)
{
    struct timespec now = {0};
    int rc = clock_gettime(CLOCK_MONOTONIC, &now);

    assert(rc == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int rados_op_begin(struct rados_op *op, struct rados_store *rados,
                   enum rados_pool pool, const char *object, bool is_read)
{
    const struct rados_api *api = rados->api;

    *op = (struct rados_op){
        .rados = rados, .pool = pool, .object = object, .is_read = is_read};
    op->steps = is_read ? api->create_read_op() : api->create_write_op();
    return op->steps ? 0 : -ENOMEM;
}

void rados_op_ask_seal(struct rados_op *op)
{
    const struct rados_api *api = op->rados->api;

    api->read_op_stat(op->steps, &op->size, &op->mtime, &op->step_result[0]);
    api->read_op_getxattrs(op->steps, &op->attributes, &op->step_result[1]);
}

int rados_op_seal(struct rados_op *op, struct seal *seal)
{
    const char *name, *value;
    size_t bytes;

    while (op->attributes &&
           op->rados->api->getxattrs_next(op->attributes, &name, &value,
                                          &bytes) == 0 &&
           name) {
        if (strcmp(name, SEAL_ATTRIBUTE) != 0)
            continue;
        if (seal_decode(value, bytes, op->object, seal) < 0)
            return -CKPT_ECORRUPT;
        return seal->bytes == op->size ? 0 : -CKPT_ECORRUPT;
    }
    return -CKPT_ECORRUPT;
}

/*
 * From librados' threads.
 */

/* With the lock: the descriptor is to be readable so soon. */
static void wake_in(struct rados_store *rados, uint64_t ms)
{
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(ms / 1000),
                     .tv_nsec = (long)(ms % 1000) * 1000000 + 1}};
    int rc = timerfd_settime(rados->event_fd, 0, &when, NULL);

    assert(rc == 0);
}

void rados_op_wake(struct rados_store *rados)
{
    (void)pthread_mutex_lock(&rados->lock);
    wake_in(rados, 0);
    (void)pthread_mutex_unlock(&rados->lock);
}

static void arrive(struct rados_op *op)
{
    struct rados_store *rados = op->rados;

    (void)pthread_mutex_lock(&rados->lock);
    if (list_is_empty(&rados->arrived))
        wake_in(rados, 0);
    list_append(&rados->arrived, &op->link);
    (void)pthread_mutex_unlock(&rados->lock);
}

static void rados_op_called(rados_handle completion, void *arg)
{
    (void)completion;
    arrive(arg);
}

/*
 * The owner's thread.
 */

static bool is_small(const struct rados_op *op)
{
    return op->bytes <= SMALL_BYTES;
}

static void hand_to_librados(struct rados_op *op)
{
    struct rados_store *rados = op->rados;
    const struct rados_api *api = rados->api;
    rados_handle io = rados->io[op->pool];
    int rc = api->aio_create_completion2(op, rados_op_called, &op->completion);

    rados->ops++;
    rados->op_bytes += is_small(op) ? 0 : op->bytes;
    if (rc < 0)
        op->completion = NULL;
    else if (op->is_read)
        rc = api->aio_read_op_operate(op->steps, io, op->completion, op->object,
                                      0);
    else
        rc = api->aio_write_op_operate(op->steps, io, op->completion,
                                       op->object, NULL, RADOS_FULL_TRY);
    if (rc < 0) {
        op->refused = rc;
        arrive(op);
    }
}

static struct rados_op *first_with_room(const struct rados_store *rados,
                                        const struct list *waiting)
{
    struct rados_op *op = container_of(waiting->next, struct rados_op, link);

    if (list_is_empty(waiting) || rados->ops >= OPS_MAX)
        return NULL;
    return is_small(op) || rados->op_bytes + op->bytes <= OP_BYTES_MAX ? op
                                                                       : NULL;
}

static void fill_now(struct rados_op *op)
{
    if (op->fill)
        op->fill(op);
    op->fill = NULL;
}

/* The data of the next is copied. */
static bool make_ready(struct rados_store *rados)
{
    struct rados_op *op =
        container_of(rados->waiting_data.next, struct rados_op, link);

    if (list_is_empty(&rados->waiting_data) ||
        rados->ready_bytes + op->bytes > READY_BYTES_MAX)
        return false;
    list_remove(&op->link);
    fill_now(op);
    list_append(&rados->ready, &op->link);
    rados->ready_bytes += op->bytes;
    return true;
}

/* One copy at a time, so that what has arrived meanwhile, and the caller, do
 * not wait for all. True: it has been made, and there may be more. */
static bool hand_over(struct rados_store *rados)
{
    bool has_copied = make_ready(rados);
    struct rados_op *op;

    while ((op = first_with_room(rados, &rados->waiting)) ||
           (op = first_with_room(rados, &rados->ready))) {
        list_remove(&op->link);
        rados->ready_bytes -= is_small(op) ? 0 : op->bytes;
        fill_now(op);
        hand_to_librados(op);
    }
    return has_copied;
}

void rados_op_submit_later(struct rados_op *op,
                           void (*fill)(struct rados_op *op),
                           void (*done)(struct rados_op *op))
{
    struct rados_store *rados = op->rados;

    op->fill = fill;
    op->done = done;
    list_append(is_small(op) ? &rados->waiting : &rados->waiting_data,
                &op->link);
    rados_op_wake(rados);
}

void rados_op_submit(struct rados_op *op, void (*done)(struct rados_op *op))
{
    rados_op_submit_later(op, NULL, done);
}

void rados_op_fini(struct rados_op *op)
{
    const struct rados_api *api;

    if (!op->rados)
        return;
    api = op->rados->api;
    if (op->attributes)
        api->getxattrs_end(op->attributes);
    if (op->keys)
        api->omap_get_end(op->keys);
    if (op->completion)
        api->aio_release(op->completion);
    if (op->steps && op->is_read)
        api->release_read_op(op->steps);
    else if (op->steps)
        api->release_write_op(op->steps);
    *op = (struct rados_op){0};
}

static void end(struct rados_op *op)
{
    struct rados_store *rados = op->rados;

    rados->ops--;
    rados->op_bytes -= is_small(op) ? 0 : op->bytes;
    op->result = op->refused ? op->refused
                             : rados->api->aio_get_return_value(op->completion);
    op->done(op);
}

/* Those whose pause is over; *next_ms: until the next one's is, or
 * UINT64_MAX. */
static void resume_paused(struct rados_store *rados, uint64_t *next_ms)
{
    uint64_t now_ms = rados_now_ms();
    struct list paused, *node;

    *next_ms = UINT64_MAX;
    list_init(&paused);
    while ((node = list_pop(&rados->paused)))
        list_append(&paused, node);
    while ((node = list_pop(&paused))) {
        struct rados_job *job = container_of(node, struct rados_job, link);

        if (job->resume_ms <= now_ms) {
            job->resume(job);
            continue;
        }
        list_append(&rados->paused, node);
        *next_ms = min_u64(*next_ms, job->resume_ms - now_ms);
    }
}

/* What has arrived meanwhile has set the timer already. */
static void wake_for_paused(struct rados_store *rados, uint64_t next_ms)
{
    (void)pthread_mutex_lock(&rados->lock);
    if (next_ms < UINT64_MAX && list_is_empty(&rados->arrived))
        wake_in(rados, next_ms);
    (void)pthread_mutex_unlock(&rados->lock);
}

int rados_op_poll(struct rados_store *rados, int timeout_ms)
{
    struct pollfd event = {.fd = rados->event_fd, .events = POLLIN};
    struct list arrived, *node;
    uint64_t count, next_ms;

    if (timeout_ms != 0 && poll(&event, 1, timeout_ms) < 0)
        return -EINTR; /* nothing else can go wrong with one descriptor */
    /* Before the list is taken: what comes in between wakes us again. */
    (void)!read(rados->event_fd, &count, sizeof count);
    list_init(&arrived);
    (void)pthread_mutex_lock(&rados->lock);
    while ((node = list_pop(&rados->arrived)))
        list_append(&arrived, node);
    (void)pthread_mutex_unlock(&rados->lock);
    while ((node = list_pop(&arrived)))
        end(container_of(node, struct rados_op, link));
    resume_paused(rados, &next_ms);
    rados_catalog_go(rados);
    if (hand_over(rados))
        next_ms = 0;
    wake_for_paused(rados, next_ms);
    return 0;
}

static void run_done(struct rados_op *op)
{
    op->owner = op;
}

int rados_op_run(struct rados_op *op)
{
    op->owner = NULL;
    rados_op_submit(op, run_done);
    while (!op->owner) {
        int rc = rados_op_poll(op->rados, -1);

        assert(rc == 0 || rc == -EINTR);
    }
    return op->result;
}
