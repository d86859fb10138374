/*
 * store.c - the only file that calls through struct store_ops.
 *
 * It checks the contract of every request before a back end sees it, keeps
 * what is beyond max_inflight waiting in order, keeps the rule that a poisoned
 * segment answers -EIO for ever (store_spoilt.c), and runs callbacks from
 * store_poll() alone.
 *
 * Happy path: store_submit() checks and starts the request; the back end calls
 * store_complete(), which puts it on `finished`; store_poll() refills the back
 * end from `waiting` and then runs the callbacks. A request that breaks the
 * contract goes to `finished` directly.
 *
 * Wake-ups: the first store_poll_fd() makes an epoll descriptor over the back
 * end's own and an eventfd, which is readable exactly while `finished` is not
 * empty or the back end says wants_poll. A store that nobody watches costs no
 * descriptor.
 */
#include "storage/store_internal.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

void store_init(struct store *store, const struct store_ops *ops,
                const struct store_limits *limits)
{
    *store = (struct store){
        .ops = ops, .limits = *limits, .epoll_fd = -1, .ready_fd = -1};
    list_init(&store->waiting);
    list_init(&store->finished);
    list_init(&store->spoilt);
}

/*
 * The contract.
 */

static int check_segment_io(const struct store_limits *limits,
                            const struct store_req *req)
{
    const struct store_seg *seg = req->seg;
    uint64_t align = limits->align_bytes, end;

    if (!req->buf || req->len == 0 || req->len > limits->max_io_bytes)
        return -EINVAL;
    if (req->len % align || req->off % align || (uintptr_t)req->buf % align)
        return -EINVAL;
    if (!add_u64(req->off, req->len, &end))
        return -EINVAL;
    if (req->op == STORE_READ)
        return end <= seg->size ? 0 : -EIO;
    if (!seg->is_writable)
        return -EBADF;
    if (seg->trims > 0)
        return -EBUSY;
    return end <= seg->size ? 0 : -EINVAL;
}

static int check_trim(const struct store_limits *limits,
                      const struct store_req *req)
{
    if (!req->seg->is_writable)
        return -EBADF;
    if (req->len == 0 || req->len % limits->align_bytes ||
        req->len > req->seg->size)
        return -EINVAL;
    return req->seg->users == req->seg->trims ? 0 : -EBUSY;
}

static int check_segment(const struct store_limits *limits,
                         const struct store_req *req)
{
    if (!req->seg)
        return -EINVAL;
    if (req->op == STORE_SEG_CLOSE)
        return req->seg->users == 0 ? 0 : -EBUSY;
    if (req->seg->is_poisoned)
        return -EIO;
    if (req->op == STORE_SYNC && req->seg->is_spoilt)
        return -EIO;
    if (req->op == STORE_SEG_TRIM)
        return check_trim(limits, req);
    if (req->op == STORE_READ || req->op == STORE_WRITE)
        return check_segment_io(limits, req);
    return 0;
}

/* SEG_OPEN and SEG_REMOVE. */
static int check_open(const struct store_limits *limits,
                      const struct store_req *req)
{
    const unsigned known =
        STORE_SEG_WRITE | STORE_SEG_CREATE | STORE_SEG_NOLOCK;

    if (limits->max_io_bytes == 0)
        return -EOPNOTSUPP;
    if (req->op == STORE_SEG_REMOVE)
        return 0;
    if (req->flags & ~known)
        return -EINVAL;
    if ((req->flags & STORE_SEG_CREATE) && !(req->flags & STORE_SEG_WRITE))
        return -EINVAL;
    if ((req->flags & STORE_SEG_NOLOCK) && (req->flags & STORE_SEG_WRITE))
        return -EINVAL;
    if (!(req->flags & STORE_SEG_CREATE))
        return 0;
    if (req->len == 0 || req->len % limits->align_bytes || req->len > INT64_MAX)
        return -EINVAL;
    return 0;
}

static int check_record(const struct store_limits *limits,
                        const struct store_req *req)
{
    if (req->op == STORE_REMOVE || req->op == STORE_STAT)
        return 0;
    if (req->len > 0 && !req->buf)
        return -EINVAL;
    if (req->op == STORE_PUT && req->len > limits->max_record_bytes)
        return -EINVAL;
    return 0;
}

static int check_blob(const struct store_limits *limits,
                      const struct store_req *req)
{
    uint64_t end;

    if (limits->max_blob_bytes == 0)
        return -EOPNOTSUPP;
    if (req->op == STORE_BLOB_REMOVE || req->op == STORE_BLOB_STAT)
        return 0;
    if (req->len == 0 || !req->buf || !add_u64(req->off, req->len, &end))
        return -EINVAL;
    if (req->op == STORE_BLOB_PUT &&
        (req->off != 0 || req->len > limits->max_blob_bytes))
        return -EINVAL;
    return end <= limits->max_blob_bytes ? 0 : -EIO;
}

static int check(const struct store *store, const struct store_req *req)
{
    switch (req->op) {
    case STORE_SEG_CLOSE:
    case STORE_SEG_SHARE:
    case STORE_SEG_TRIM:
    case STORE_READ:
    case STORE_WRITE:
    case STORE_SYNC:
        return check_segment(&store->limits, req);
    case STORE_ROOM:
        if (store->limits.max_io_bytes == 0)
            return -EOPNOTSUPP;
        /* fall through */
    case STORE_LIST:
        if (req->name && req->name[0] == '\0')
            return 0;
        return store_name_is_good(req->name) ? 0 : -EINVAL;
    case STORE_PUT:
    case STORE_GET:
    case STORE_REMOVE:
    case STORE_STAT:
        return store_name_is_good(req->name) ? check_record(&store->limits, req)
                                             : -EINVAL;
    case STORE_SEG_OPEN:
    case STORE_SEG_REMOVE:
        return store_name_is_good(req->name) ? check_open(&store->limits, req)
                                             : -EINVAL;
    case STORE_BLOB_PUT:
    case STORE_BLOB_GET:
    case STORE_BLOB_REMOVE:
    case STORE_BLOB_STAT:
        return store_name_is_good(req->name) ? check_blob(&store->limits, req)
                                             : -EINVAL;
    }
    return -EINVAL;
}

/* Requests on a segment that must end before it may be closed. */
static bool uses_segment(const struct store_req *req)
{
    return req->op == STORE_READ || req->op == STORE_WRITE ||
           req->op == STORE_SYNC || req->op == STORE_SEG_SHARE ||
           req->op == STORE_SEG_TRIM;
}

/*
 * The life of a request.
 */

static void signal_update(struct store *store)
{
    bool ready = !list_is_empty(&store->finished) || store->wants_poll;
    eventfd_t count;
    int rc;

    if (store->ready_fd < 0 || ready == store->is_signalled)
        return;
    rc = ready ? eventfd_write(store->ready_fd, 1)
               : eventfd_read(store->ready_fd, &count);
    assert(rc == 0);
    store->is_signalled = ready;
}

/* Ends a request that the back end has never seen. */
static void refuse(struct store_req *req, int64_t result)
{
    req->result = result;
    list_append(&req->store->finished, &req->link);
}

static void start(struct store *store, struct store_req *req)
{
    if (uses_segment(req) && req->seg->is_poisoned) {
        refuse(req, -EIO);
        return;
    }
    store->inflight++;
    store->ops->submit(store, req);
}

static void hold_segment(const struct store_req *req, int by)
{
    if (!uses_segment(req) || !req->seg)
        return;
    req->seg->users += (uint32_t)by;
    if (req->op == STORE_SEG_TRIM)
        req->seg->trims += (uint32_t)by;
}

void store_submit(struct store *store, struct store_req *req)
{
    int rc;

    assert(req->done);
    req->store = store;
    list_init(&req->link);
    rc = check(store, req);
    hold_segment(req, 1);
    if (rc == 0 && store->closing)
        rc = -ECANCELED;
    if (rc != 0)
        refuse(req, rc);
    else if (store->inflight >= store->limits.max_inflight)
        list_append(&store->waiting, &req->link);
    else
        start(store, req);
    signal_update(store);
}

static void poison(struct store *store, struct store_seg *seg)
{
    seg->is_poisoned = !is_left_out("poison after a failed sync");
    if (seg->is_poisoned)
        store_spoilt_add(store, seg->name);
}

static void opened(struct store *store, const struct store_req *req)
{
    if (req->flags & STORE_SEG_CREATE)
        store_spoilt_forget(store, req->name);
    else
        req->seg->is_spoilt |= store_spoilt_has(store, req->name);
}

void store_complete(struct store_req *req, int64_t result)
{
    struct store_seg *seg = uses_segment(req) ? req->seg : NULL;

    assert(req->store->inflight > 0 && !list_is_linked(&req->link));
    req->store->inflight--;
    if (seg) {
        /* Nothing that ends after the failure may claim success: a second
         * sync can answer 0 after the data was lost. */
        if (seg->is_poisoned && result >= 0)
            result = -EIO;
        if ((req->op == STORE_SYNC && result < 0 && result != -ECANCELED) ||
            (req->op == STORE_WRITE && result == -EIO))
            poison(req->store, seg);
    }
    if (req->op == STORE_SEG_OPEN && result >= 0)
        opened(req->store, req);
    if (req->op == STORE_SEG_REMOVE && (result == 0 || result == -ENOENT))
        store_spoilt_forget(req->store, req->name);
    req->result = result;
    list_append(&req->store->finished, &req->link);
}

/* Runs the callbacks of what has ended by now, not of what ends meanwhile, so
 * that a callback that submits again cannot keep the caller here. */
static void deliver(struct store *store)
{
    size_t count = 0;
    struct list *node;

    LIST_FOR_EACH (each, &store->finished)
        count++;
    for (; count > 0 && (node = list_pop(&store->finished)); count--) {
        struct store_req *req = container_of(node, struct store_req, link);

        hold_segment(req, -1);
        req->done(req, req->result);
    }
}

static void refill(struct store *store)
{
    struct list *node;

    while (store->inflight < store->limits.max_inflight &&
           (node = list_pop(&store->waiting)))
        start(store, container_of(node, struct store_req, link));
}

int store_poll(struct store *store, int timeout_ms)
{
    int rc = 0;

    if (!list_is_empty(&store->finished))
        timeout_ms = 0;
    if (store->inflight == 0)
        timeout_ms = 0;
    /* A descriptor that is watched may tell once too often: only the back end
     * can silence it. */
    if (store->inflight > 0 || store->epoll_fd >= 0)
        rc = store->ops->poll(store, timeout_ms);
    refill(store);
    deliver(store);
    signal_update(store);
    return rc;
}

int store_poll_fd(struct store *store)
{
    struct epoll_event event = {.events = EPOLLIN};
    int rc, below;

    if (store->epoll_fd >= 0)
        return store->epoll_fd;
    store->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    store->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->epoll_fd < 0 || store->ready_fd < 0)
        goto err_after_open;
    if (epoll_ctl(store->epoll_fd, EPOLL_CTL_ADD, store->ready_fd, &event) < 0)
        goto err_after_open;
    below = store->ops->poll_fd(store);
    if (below >= 0 &&
        epoll_ctl(store->epoll_fd, EPOLL_CTL_ADD, below, &event) < 0)
        goto err_after_open;
    signal_update(store);
    return store->epoll_fd;

err_after_open:
    rc = -errno;
    if (store->ready_fd >= 0)
        (void)close(store->ready_fd);
    if (store->epoll_fd >= 0)
        (void)close(store->epoll_fd);
    store->ready_fd = store->epoll_fd = -1;
    return rc;
}

int store_buffer_add(struct store *store, void *base, size_t bytes)
{
    return store->ops->buffer_add(store, base, bytes);
}

void store_buffer_remove(struct store *store, void *base)
{
    store->ops->buffer_remove(store, base);
}

void store_describe(struct store *store, char *text, size_t capacity)
{
    store->ops->describe(store, text, capacity);
}

void store_close(struct store *store)
{
    struct list *node;
    int epoll_fd, ready_fd;

    if (!store)
        return;
    store->closing = true;
    while ((node = list_pop(&store->waiting)))
        refuse(container_of(node, struct store_req, link), -ECANCELED);
    while (store->inflight > 0 || !list_is_empty(&store->finished)) {
        int rc = store_poll(store, -1);

        assert(rc == 0 || rc == -EINTR);
    }
    epoll_fd = store->epoll_fd;
    ready_fd = store->ready_fd;
    store_spoilt_free(store);
    store->ops->close(store);
    if (epoll_fd >= 0) {
        (void)close(epoll_fd);
        (void)close(ready_fd);
    }
}

/* Only the callback of store_run() looks at this. */
static void run_done(struct store_req *req, int64_t result)
{
    bool *is_done = req->owner;

    (void)result;
    *is_done = true;
}

int64_t store_run(struct store *store, struct store_req *req)
{
    void (*done)(struct store_req *, int64_t) = req->done;
    void *owner = req->owner;
    bool is_done = false;

    req->done = run_done;
    req->owner = &is_done;
    store_submit(store, req);
    while (!is_done) {
        int rc = store_poll(store, -1);

        assert(rc == 0 || rc == -EINTR);
    }
    req->done = done;
    req->owner = owner;
    return req->result;
}
