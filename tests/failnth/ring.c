/*
 * ring.c - see failnth.h: the sites of io_uring.
 *
 * An operation is failed on its way into the ring: its entry is made one that
 * the kernel refuses, which is told at once, and the refusal is made an EIO.
 * The functions of liburing answer -errno.
 */
#include "tests/failnth/failnth.h"

#include <errno.h>
#include <liburing.h>

int failnth_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                       struct io_uring_params *params);
struct io_uring_probe *failnth_io_uring_get_probe_ring(struct io_uring *ring);
int failnth_io_uring_enter(unsigned fd, unsigned submit, unsigned wait,
                           unsigned flags, sigset_t *set);
int failnth_io_uring_register_eventfd(struct io_uring *ring, int fd);
int failnth_io_uring_register_buffers_sparse(struct io_uring *ring,
                                             unsigned count);
int failnth_io_uring_register_files_sparse(struct io_uring *ring,
                                           unsigned count);
int failnth_io_uring_register_buffers_update_tag(struct io_uring *ring,
                                                 unsigned at,
                                                 const struct iovec *vector,
                                                 const __u64 *tags,
                                                 unsigned count);
int failnth_io_uring_register_files_update(struct io_uring *ring, unsigned at,
                                           const int *files, unsigned count);
int failnth_io_uring_submit(struct io_uring *ring);
int failnth_io_uring_submit_and_get_events(struct io_uring *ring);

int failnth_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                       struct io_uring_params *params)
{
    if (failnth->has_no_ring || failnth_hit(FAILNTH_RING))
        return -EPERM;
    return io_uring_queue_init_params(entries, ring, params);
}

struct io_uring_probe *failnth_io_uring_get_probe_ring(struct io_uring *ring)
{
    if (!failnth_hit(FAILNTH_RING))
        return io_uring_get_probe_ring(ring);
    errno = ENOMEM;
    return NULL;
}

int failnth_io_uring_enter(unsigned fd, unsigned submit, unsigned wait,
                           unsigned flags, sigset_t *set)
{
    return failnth_hit(FAILNTH_RING)
               ? -EPERM
               : io_uring_enter(fd, submit, wait, flags, set);
}

int failnth_io_uring_register_eventfd(struct io_uring *ring, int fd)
{
    return failnth_hit(FAILNTH_RING) ? -ENOMEM
                                     : io_uring_register_eventfd(ring, fd);
}

int failnth_io_uring_register_buffers_sparse(struct io_uring *ring,
                                             unsigned count)
{
    return failnth_hit(FAILNTH_RING)
               ? -ENOMEM
               : io_uring_register_buffers_sparse(ring, count);
}

int failnth_io_uring_register_files_sparse(struct io_uring *ring,
                                           unsigned count)
{
    return failnth_hit(FAILNTH_RING)
               ? -EMFILE
               : io_uring_register_files_sparse(ring, count);
}

/* What was registered can always be let go. */
int failnth_io_uring_register_buffers_update_tag(struct io_uring *ring,
                                                 unsigned at,
                                                 const struct iovec *vector,
                                                 const __u64 *tags,
                                                 unsigned count)
{
    if (vector->iov_base && failnth_hit(FAILNTH_RING))
        return -ENOMEM;
    return io_uring_register_buffers_update_tag(ring, at, vector, tags, count);
}

int failnth_io_uring_register_files_update(struct io_uring *ring, unsigned at,
                                           const int *files, unsigned count)
{
    if (files[0] >= 0 && failnth_hit(FAILNTH_RING))
        return -ENOMEM;
    return io_uring_register_files_update(ring, at, files, count);
}

/*
 * Operations.
 */

#define SPOILT_MAX 256

struct spoilt {
    __u64 operation[SPOILT_MAX];
    unsigned count;
};

/* No operation has this number. */
#define NO_OPCODE 255

static void spoil(const struct io_uring *ring, struct spoilt *spoilt)
{
    const struct io_uring_sq *sq = &ring->sq;

    for (unsigned at = sq->sqe_head; at != sq->sqe_tail; at++) {
        struct io_uring_sqe *sqe = &sq->sqes[at & sq->ring_mask];

        /* Without data: the helper's pipe. Seen before, but not taken yet. */
        if (!sqe->user_data || sqe->opcode == NO_OPCODE ||
            spoilt->count == SPOILT_MAX || !failnth_hit(FAILNTH_RING_OP))
            continue;
        sqe->opcode = NO_OPCODE;
        spoilt->operation[spoilt->count++] = sqe->user_data;
    }
}

static void tell(const struct io_uring *ring, const struct spoilt *spoilt)
{
    const struct io_uring_cq *cq = &ring->cq;
    unsigned tail = io_uring_smp_load_acquire(cq->ktail);

    for (unsigned at = *cq->khead; at != tail; at++) {
        struct io_uring_cqe *cqe = &cq->cqes[at & cq->ring_mask];

        for (unsigned i = 0; i < spoilt->count; i++)
            if (cqe->user_data == spoilt->operation[i])
                cqe->res = -EIO;
    }
}

int failnth_io_uring_submit(struct io_uring *ring)
{
    struct spoilt spoilt = {.count = 0};
    int rc;

    spoil(ring, &spoilt);
    rc = io_uring_submit(ring);
    tell(ring, &spoilt);
    return rc;
}

int failnth_io_uring_submit_and_get_events(struct io_uring *ring)
{
    struct spoilt spoilt = {.count = 0};
    int rc;

    spoil(ring, &spoilt);
    rc = io_uring_submit_and_get_events(ring);
    tell(ring, &spoilt);
    return rc;
}
