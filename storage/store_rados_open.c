/*
 * store_rados_open.c - opens a home in RADOS, and closes it.
 *
 * librados is found, configured (the cluster's own file first, then what must
 * not wait for ever and must not print), connected, and the pool of records
 * opened (rados_connect). Then the home's anchor is read, an object that says
 * which pool has the blobs; with STORE_OPEN_CREATE it is created if it is not
 * there, in one operation together with a key of a catalogue, which a pool that
 * cannot hold catalogues (an erasure-coded one) refuses.
 *
 * On failure everything is undone in reverse order.
 */
#include "storage/store_rados.h"

#include "storage/crc32c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TIMEOUT_MS 10000

/*
 * The cluster.
 */

static int set_number(const struct rados_store *rados, const char *option,
                      uint64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return rados->api->conf_set(rados->cluster, option, text);
}

/* In whole seconds, at least one. */
static uint64_t seconds(uint32_t ms)
{
    return ((uint64_t)ms + 999) / 1000;
}

/* Of the cluster's own configuration, if it says (0: it does not). */
static uint32_t timeout_of(const struct rados_store *rados, const char *option)
{
    char text[32];
    double value;

    if (rados->api->conf_get(rados->cluster, option, text, sizeof text) < 0)
        return TIMEOUT_MS;
    value = strtod(text, NULL);
    return value > 0 && value < 3600 ? (uint32_t)(value * 1000) : TIMEOUT_MS;
}

static void find_timeouts(struct rados_store *rados)
{
    if (rados->connect_timeout_ms == 0)
        rados->connect_timeout_ms = timeout_of(rados, "rados_mon_op_timeout");
    if (rados->op_timeout_ms == 0)
        rados->op_timeout_ms = timeout_of(rados, "rados_osd_op_timeout");
    if (rados->give_up_ms == 0)
        rados->give_up_ms = rados->op_timeout_ms * 9 / 2;
}

/* By default librados waits for ever, and an operation that exceeds what may
 * be in flight waits in the caller's thread: store_rados_op.c stays below. */
static int set_limits(struct rados_store *rados, struct err *err)
{
    const struct {
        const char *option;
        uint64_t value;
    } numbers[] = {
        {"rados_osd_op_timeout", seconds(rados->op_timeout_ms)},
        {"rados_mon_op_timeout", seconds(rados->connect_timeout_ms)},
        {"client_mount_timeout", seconds(rados->connect_timeout_ms)},
        /* A client asks which OSDs there are when an operation has taken so
         * long: 10 s unless told, when ours have ended and the next one goes to
         * the same OSD, which hangs, or whose host has lost its power. */
        {"objecter_timeout", seconds(rados->op_timeout_ms / 4)},
        {"objecter_tick_interval", 1},
        {"objecter_inflight_ops", 8192},
        {"objecter_inflight_op_bytes", UINT64_C(1) << 30},
        {"log_to_stderr", 0},
        {"err_to_stderr", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int rc = set_number(rados, numbers[i].option, numbers[i].value);

        if (rc < 0)
            return rados_refused(rados, err, rc, RADOS_STEP_CONFIGURE,
                                 numbers[i].option);
    }
    return 0;
}

static int configure(struct rados_store *rados, struct err *err)
{
    /* Never what the environment or the working directory offers. */
    const char *conf =
        rados->url.conf[0] ? rados->url.conf : "/etc/ceph/ceph.conf";
    int rc = rados->api->conf_read_file(rados->cluster, conf);

    if (rc < 0)
        return rados_refused(rados, err, rc, RADOS_STEP_CONFIGURE, conf);
    find_timeouts(rados);
    return set_limits(rados, err);
}

int rados_open_pool(struct rados_store *rados, enum rados_pool which,
                    const char *name, struct err *err)
{
    int rc = rados->api->ioctx_create(rados->cluster, name, &rados->io[which]);

    if (rc < 0) {
        rados->io[which] = NULL;
        return rados_refused(rados, err, rc, RADOS_STEP_POOL, name);
    }
    rados->api->ioctx_set_namespace(rados->io[which], rados->url.space);
    return 0;
}

static int connect_cluster(struct rados_store *rados, struct err *err)
{
    char user[16 + RADOS_WORD_MAX];
    int rc;

    (void)snprintf(user, sizeof user, "client.%s",
                   rados->url.user[0] ? rados->url.user : "admin");
    rc = rados->api->create2(&rados->cluster, "ceph", user, 0);
    if (rc < 0) {
        rados->cluster = NULL;
        return rados_refused(rados, err, rc, RADOS_STEP_CONFIGURE, user);
    }
    rc = configure(rados, err);
    if (rc < 0)
        return rc;
    rc = rados->api->connect(rados->cluster);
    if (rc < 0)
        return rados_refused(rados, err, rc, RADOS_STEP_CONNECT, user);
    return rados_open_pool(rados, RADOS_RECORDS, rados->url.pool, err);
}

/*
 * The anchor.
 */

int rados_anchor_read(struct rados_store *rados, char pool[RADOS_WORD_MAX + 1])
{
    struct rados_op op;
    struct seal seal;
    char text[RADOS_ANCHOR_BYTES];
    int rc = rados_op_begin(&op, rados, RADOS_RECORDS, RADOS_ANCHOR, true);

    if (rc < 0)
        return rc;
    rados_op_ask_seal(&op);
    rados->api->read_op_read(op.steps, 0, sizeof text, text, &op.got,
                             &op.step_result[2]);
    rc = rados_op_run(&op);
    if (rc == 0)
        rc = rados_op_seal(&op, &seal);
    if (rc == 0 && (op.got != op.size || crc32c(0, text, op.got) != seal.crc))
        rc = -CKPT_ECORRUPT;
    if (rc == 0)
        rc = rados_anchor_parse(text, op.got, pool);
    rados_op_fini(&op);
    return rc;
}

static int anchor_create(struct rados_store *rados, const char *pool)
{
    static const char *const key = "probe", *const value = "";
    static const size_t key_bytes = 5, value_bytes = 0;
    const struct rados_api *api = rados->api;
    struct seal seal = {.nonce = rados->nonce};
    uint8_t sealed[SEAL_BYTES];
    char text[RADOS_ANCHOR_BYTES];
    struct rados_op op;
    int rc = rados_op_begin(&op, rados, RADOS_RECORDS, RADOS_ANCHOR, false);

    if (rc < 0)
        return rc;
    seal.bytes = rados_anchor_format(pool, text);
    seal.crc = crc32c(0, text, seal.bytes);
    seal_encode(&seal, RADOS_ANCHOR, sealed);
    api->write_op_create(op.steps, RADOS_CREATE_EXCLUSIVE, NULL);
    api->write_op_write_full(op.steps, text, seal.bytes);
    api->write_op_setxattr(op.steps, SEAL_ATTRIBUTE, (const char *)sealed,
                           sizeof sealed);
    api->write_op_omap_set2(op.steps, &key, &value, &key_bytes, &value_bytes,
                            1);
    rc = rados_op_run(&op);
    rados_op_fini(&op);
    return rc;
}

/* Whatever creating answers, reading tells what is there. */
static int anchor(struct rados_store *rados, struct err *err)
{
    const struct rados_url *url = &rados->url;
    char pool[RADOS_WORD_MAX + 1];
    int rc = rados_anchor_read(rados, pool), made;

    if (rc == -ENOENT && (rados->flags & STORE_OPEN_CREATE)) {
        made = anchor_create(rados,
                             url->data_pool[0] ? url->data_pool : url->pool);
        rc = rados_anchor_read(rados, pool);
        if (rc == -ENOENT && made < 0)
            rc = made;
    }
    if (rc == -ENOENT)
        return err_set(err, rc, "there is no home at rados://%s/%s", url->pool,
                       url->space);
    if (rc < 0)
        return rados_refused(rados, err, rc, RADOS_STEP_RECORDS,
                             "the home's first object");
    if (url->data_pool[0] && strcmp(url->data_pool, pool) != 0)
        return err_set(err, -EINVAL,
                       "the home rados://%s/%s has its data in pool %s, not "
                       "in %s",
                       url->pool, url->space, pool, url->data_pool);
    memcpy(rados->url.data_pool, pool, sizeof pool);
    return 0;
}

/*
 * The store.
 */

void rados_op_close(struct rados_store *rados)
{
    for (size_t i = 0; i < RADOS_POOLS; i++) {
        if (rados->io[i])
            rados->api->ioctx_destroy(rados->io[i]);
    }
    if (rados->cluster)
        rados->api->shutdown(rados->cluster);
    for (size_t i = 0; i < RADOS_FOLDERS; i++)
        free(rados->folder[i]);
    if (rados->event_fd >= 0)
        (void)close(rados->event_fd);
    (void)pthread_mutex_destroy(&rados->lock);
    free(rados);
}

struct rados_store *rados_new(const struct store_rados_options *options,
                              unsigned flags)
{
    static const struct store_limits limits = {
        .align_bytes = PAGE_BYTES,
        .max_inflight = 64,
        .max_record_bytes = (uint64_t)16 << 20,
        .max_blob_bytes = (uint64_t)16 << 20};
    struct rados_store *rados = calloc(1, sizeof *rados);

    if (!rados)
        return NULL;
    store_init(&rados->store, &rados_ops, &limits);
    list_init(&rados->waiting);
    list_init(&rados->waiting_data);
    list_init(&rados->ready);
    list_init(&rados->arrived);
    list_init(&rados->paused);
    list_init(&rados->leaders);
    (void)pthread_mutex_init(&rados->lock, NULL);
    rados->flags = flags;
    rados->connect_timeout_ms = options->connect_timeout_ms;
    rados->op_timeout_ms = options->op_timeout_ms;
    rados->give_up_ms = options->give_up_ms;
    rados->puts_unread = options->puts_unread;
    rados->event_fd = -1;
    return rados;
}

int rados_connect(struct rados_store *rados,
                  const struct store_rados_options *options, const char *url,
                  struct err *err)
{
    int rc = rados_url_parse(url, &rados->url, err);

    if (rc < 0)
        return rc;
    rados->event_fd =
        timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (rados->event_fd < 0)
        return err_set(err, -errno, "no descriptor for a store in RADOS");
    if (getrandom(rados->nonce.b, 8, 0) != 8)
        return err_set(err, -EIO, "no random bytes for a store in RADOS");
    rados->api = options->api;
    if (!rados->api)
        rc = rados_api_load(&rados->api, err);
    if (rc == 0)
        rc = connect_cluster(rados, err);
    if (rc == 0 && rados->url.data_pool[0])
        rc = rados_open_pool(rados, RADOS_BLOBS, rados->url.data_pool, err);
    return rc;
}

int store_rados_open(const char *url, unsigned flags,
                     const struct store_rados_options *options,
                     struct store **out, struct err *err)
{
    static const struct store_rados_options usual;
    struct rados_store *rados;
    int rc;

    if (flags & STORE_OPEN_LOCAL)
        return err_set(err, -EREMOTE, "RADOS is no local store");
    if (!options)
        options = &usual;
    rados = rados_new(options, flags);
    if (!rados)
        return err_set(err, -ENOMEM, "no memory for a store in RADOS");
    rc = rados_connect(rados, options, url, err);
    if (rc == 0)
        rc = anchor(rados, err);
    if (rc == 0 && !rados->io[RADOS_BLOBS])
        rc = rados_open_pool(rados, RADOS_BLOBS, rados->url.data_pool, err);
    if (rc < 0) {
        rados_op_close(rados);
        return rc;
    }
    *out = &rados->store;
    return 0;
}
