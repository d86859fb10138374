/*
 * segpool_scan.c - finding out, at start, what is in the local store.
 *
 * Every seg/NNNNNN is opened for reading, which takes a shared lock: while a
 * write of a dead process is in flight its descriptor still holds the exclusive
 * one, so nothing is read that may yet change. Such a segment stays UNKNOWN and
 * is tried again every 100 ms. A page of zeros was never used (FREE); a header
 * that does not decode is HELD for good, since somebody may need what is
 * behind it (the log and `ckpt doctor` tell). One that cannot be read for now
 * is tried again a few times, later and later, and then stays UNKNOWN until
 * somebody wants what is in it. Without memory for all of them opening fails:
 * who does not know a segment would use its name again.
 */
#include "ckptd/engine/segpool_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define SCAN_DEPTH    16
#define SCAN_RETRY_NS ((uint64_t)100 * 1000 * 1000)
#define READ_TRIES    5 /* each after twice the time */

struct scan {
    struct segpool *pool;
    struct store_req list;
    size_t next, running;
    segpool_fn done;
    void *arg;
    int result;
};

/* One segment on its way from UNKNOWN. */
struct look {
    struct list link; /* pool.looks */
    struct segment *segment;
    struct scan *scan; /* NULL once the scan has gone on without it */
    struct store_req req;
    struct store_seg *seg;
    struct env_timer timer;
    bool is_waiting; /* for the timer */
    uint32_t failed_count;
    int failure; /* of the last read */
    void *page;
};

static void look_open(struct look *l);

static void scan_step(struct scan *scan);

static void look_end(struct look *l)
{
    struct segpool *pool = l->segment->pool;
    struct scan *scan = l->scan;

    list_remove(&l->link);
    free(l->page);
    free(l);
    pool->pending--;
    if (scan) {
        scan->running--;
        scan_step(scan);
    }
}

static bool is_zero_page(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

static void look_judge(const struct look *l)
{
    struct segment *s = l->segment;
    struct env *env = s->pool->env;
    struct segment_header header;
    struct err err;
    bool is_free = false;

    if (is_zero_page(l->page))
        is_free = s->ref_count == 0; /* else it was not always empty */
    else if (segment_header_decode(l->page, &header, &err))
        env->ops->log(env, LOG_LEVEL_ERROR, "%s/%s: %s; it is left alone",
                      env->local_path, s->file, err.text);
    else if (!id_equal(&header.store, &env->local_uuid))
        env->ops->log(env, LOG_LEVEL_ERROR,
                      "%s/%s belongs to another store; it is left alone",
                      env->local_path, s->file);
    else {
        s->id = header.segment;
        s->run = header.run;
        segment_refs_judge(s);
    }
    segment_move(s, is_free ? SEGMENT_FREE : SEGMENT_HELD);
}

static void look_again(struct env_timer *timer);

/* Later; the scan goes on without it. */
static void look_wait(struct look *l, uint64_t ns)
{
    struct env *env = l->segment->pool->env;
    struct scan *scan = l->scan;

    l->scan = NULL;
    l->is_waiting = true;
    l->timer.fire = look_again;
    env->ops->timer_set(env, &l->timer, env->ops->now_ns(env) + ns);
    if (scan) {
        scan->running--;
        scan_step(scan);
    }
}

static void look_failed(struct look *l, int code)
{
    struct segment *s = l->segment;
    struct env *env = s->pool->env;
    bool is_last = ++l->failed_count >= READ_TRIES || s->pool->is_stopping;

    env->ops->log(env, is_last ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
                  "%s/%s: cannot read its header: %s%s", env->local_path,
                  s->file, err_text(code),
                  is_last ? "; it is left alone" : "; trying again");
    if (!is_last) {
        look_wait(l, SCAN_RETRY_NS << (l->failed_count - 1));
        return;
    }
    s->unread = code;
    segment_known(s);
    look_end(l);
}

static void look_closed(struct store_req *req, int64_t result)
{
    struct look *l = req->owner;

    (void)result;
    if (l->failure) {
        look_failed(l, l->failure);
        return;
    }
    segment_known(l->segment);
    segment_settle(l->segment);
    look_end(l);
}

static void look_read(struct store_req *req, int64_t result)
{
    struct look *l = req->owner;

    l->failure = result < 0 ? (int)result : 0;
    if (!l->failure)
        look_judge(l);
    l->req = (struct store_req){
        .op = STORE_SEG_CLOSE, .seg = l->seg, .done = look_closed, .owner = l};
    store_submit(l->segment->pool->env->local, &l->req);
}

static void look_again(struct env_timer *timer)
{
    struct look *l = container_of(timer, struct look, timer);
    struct segment *s = l->segment;
    struct env *env = s->pool->env;

    l->is_waiting = false;
    if (!list_is_empty(&s->waiting) &&
        env->ops->now_ns(env) - s->waiting_since_ns > SEGPOOL_LOCK_WAIT_NS)
        segment_known(s); /* it still is not: they are told so */
    look_open(l);
}

static void look_locked_out(struct look *l)
{
    struct env *env = l->segment->pool->env;

    if (l->scan)
        env->ops->log(env, LOG_LEVEL_WARN,
                      "%s/%s: a write of a dead process is in flight; waiting",
                      env->local_path, l->segment->file);
    look_wait(l, SCAN_RETRY_NS);
}

static void look_opened(struct store_req *req, int64_t result)
{
    struct look *l = req->owner;
    struct segment *s = l->segment;

    if (result == -EAGAIN && !s->pool->is_stopping) {
        look_locked_out(l);
        return;
    }
    if (result == -EAGAIN) {
        segment_known(s);
        look_end(l);
        return;
    }
    if (result < 0) {
        look_failed(l, (int)result);
        return;
    }
    l->seg = req->seg;
    s->size_bytes = s->used_bytes = (uint64_t)result;
    l->req = (struct store_req){.op = STORE_READ,
                                .seg = l->seg,
                                .buf = l->page,
                                .len = PAGE_BYTES,
                                .done = look_read,
                                .owner = l};
    store_submit(s->pool->env->local, &l->req);
}

static void look_open(struct look *l)
{
    l->req = (struct store_req){.op = STORE_SEG_OPEN,
                                .name = l->segment->file,
                                .done = look_opened,
                                .owner = l};
    store_submit(l->segment->pool->env->local, &l->req);
}

void segpool_scan_stop(struct segpool *pool)
{
    LIST_FOR_EACH_SAFE (node, after, &pool->looks) {
        struct look *l = container_of(node, struct look, link);

        if (!l->is_waiting)
            continue;
        pool->env->ops->timer_stop(pool->env, &l->timer);
        segment_known(l->segment);
        look_end(l);
    }
}

static struct look *look_new(struct segpool *pool)
{
    struct look *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    if (!l->page) {
        free(l);
        return NULL;
    }
    list_append(&pool->looks, &l->link);
    pool->pending++;
    return l;
}

static int look_begin(struct scan *scan, uint32_t number)
{
    struct segment *s = segment_new(scan->pool, number);
    struct look *l = s ? look_new(scan->pool) : NULL;

    if (!l)
        return -ENOMEM;
    l->segment = s;
    l->scan = scan;
    scan->running++;
    look_open(l);
    return 0;
}

void segment_look(struct segment *s)
{
    struct look *l = look_new(s->pool);

    if (!l) {
        segment_known(s);
        return;
    }
    s->unread = 0;
    l->segment = s;
    l->failed_count = READ_TRIES - 1;
    look_open(l);
}

static void scan_end(struct scan *scan)
{
    struct err err = {0};

    if (scan->result)
        (void)err_set(&err, scan->result,
                      "local store %s: cannot look through seg/: %s",
                      scan->pool->env->local_path, err_text(scan->result));
    scan->done(scan->arg, scan->result, &err);
    store_names_free(&scan->list.names);
    free(scan);
}

/* "NNNNNN" -> number; other names are not ours and are left alone. */
static bool segment_number(const char *name, uint32_t *number)
{
    char file[SEGMENT_FILE_BYTES];
    unsigned long value = strtoul(name, NULL, 10);

    *number = (uint32_t)value;
    if (value >= UINT32_MAX)
        return false;
    segment_file(file, *number);
    return strcmp(file + strlen("seg/"), name) == 0;
}

static void scan_step(struct scan *scan)
{
    const struct store_names *names = &scan->list.names;

    while (scan->next < names->count && scan->running < SCAN_DEPTH &&
           !scan->result) {
        uint32_t number;

        if (segment_number(names->name[scan->next++], &number))
            scan->result = look_begin(scan, number);
    }
    if ((scan->next == names->count || scan->result) && scan->running == 0)
        scan_end(scan);
}

static void scan_listed(struct store_req *req, int64_t result)
{
    struct scan *scan = req->owner;

    scan->pool->pending--;
    if (result < 0)
        scan->result = (int)result;
    scan_step(scan);
}

void segpool_open(struct env *env, struct segpool **out, segpool_fn done,
                  void *arg)
{
    struct segpool *pool = calloc(1, sizeof *pool);
    struct scan *scan = calloc(1, sizeof *scan);
    struct err err;

    *out = NULL;
    if (!pool || !scan) {
        free(pool);
        free(scan);
        done(arg, err_set(&err, -ENOMEM, "no memory for the segment pool"),
             &err);
        return;
    }
    pool->env = env;
    pool->next_number = 1;
    pool->spare_bytes = UINT64_MAX; /* until the first save tells its size */
    list_init(&pool->segments);
    list_init(&pool->looks);
    list_init(&pool->idle);
    list_init(&pool->squeezers);
    *out = pool;
    *scan = (struct scan){.pool = pool, .done = done, .arg = arg};
    scan->list = (struct store_req){
        .op = STORE_LIST, .name = "seg", .done = scan_listed, .owner = scan};
    pool->pending++;
    store_submit(env->local, &scan->list);
}
