/*
 * rados_double_calls.c - the double's table of functions: clients, pools,
 * operations as lists of steps, what is submitted, and iterators.
 */
#include "tests/lib/rados_double_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void handle_count(int by)
{
    double_lock();
    double_cluster.handles += (uint32_t)by;
    double_unlock();
}

/*
 * Clients and pools.
 */

static void double_version(int *major, int *minor, int *extra)
{
    *major = 0;
    *minor = 0;
    *extra = 0;
}

static int double_create2(rados_handle *out, const char *name, const char *user,
                          uint64_t flags)
{
    struct client *client = calloc(1, sizeof *client);

    assert(client && strcmp(name, "ceph") == 0 && flags == 0);
    assert(strncmp(user, "client.", 7) == 0);
    *out = client;
    return 0;
}

static int double_conf_read_file(rados_handle handle, const char *path)
{
    (void)handle;
    return path && strstr(path, "absent") ? -ENOENT : 0;
}

static int double_conf_set(rados_handle handle, const char *option,
                           const char *value)
{
    static const char *const timeouts[] = {
        "rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"};
    struct client *client = handle;
    uint64_t number = strtoull(value, NULL, 10);

    assert(!client->is_connected);
    for (uint32_t i = 0; i < ARRAY_LEN(timeouts); i++) {
        if (strcmp(option, timeouts[i]) == 0 && number > 0)
            client->timeouts_set |= 1U << i;
    }
    if (strcmp(option, "rados_osd_op_timeout") == 0)
        client->op_timeout_s = number;
    if (strcmp(option, "objecter_timeout") == 0)
        client->laggy_s = number;
    if (strcmp(option, "objecter_inflight_ops") == 0)
        client->limit_ops = number;
    if (strcmp(option, "objecter_inflight_op_bytes") == 0)
        client->limit_bytes = number;
    return 0;
}

static int double_conf_get(rados_handle handle, const char *option, char *value,
                           size_t capacity)
{
    static const char *const options[][2] = {
        {"mon_host", "v2:192.0.2.1:3300"},
        {"rados_mon_op_timeout", "0.000000"},
        {"rados_osd_op_timeout", "2.000000"},
    };

    (void)handle;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (strcmp(option, options[i][0]) == 0)
            return snprintf(value, capacity, "%s", options[i][1]) <
                           (int)capacity
                       ? 0
                       : -ENAMETOOLONG;
    }
    assert(!"an option that is not in the double");
    return -ENOENT;
}

static int double_connect(rados_handle handle)
{
    struct client *client = handle;
    int rc = 0;

    assert(client->timeouts_set == 7); /* else it might wait for ever */
    /* Else it never hears that the OSD which it asks is down. */
    assert(client->laggy_s > 0 &&
           (client->laggy_s < client->op_timeout_s || client->laggy_s == 1));
    double_lock();
    if (double_cluster.weather.is_shut)
        rc = -ETIMEDOUT;
    else if (double_cluster.weather.is_forbidden)
        rc = -EACCES;
    double_unlock();
    client->is_connected = rc == 0;
    return rc;
}

static void double_shutdown(rados_handle handle)
{
    struct client *client = handle;

    double_lock();
    assert(client->ops == 0 && client->ios == 0);
    double_unlock();
    free(client);
}

static int double_ioctx_create(rados_handle handle, const char *pool,
                               rados_handle *out)
{
    struct client *client = handle;
    struct io *io;

    assert(client->is_connected);
    if (strcmp(pool, "meta") != 0 && strcmp(pool, "data") != 0)
        return -ENOENT;
    io = calloc(1, sizeof *io);
    assert(io);
    io->client = client;
    io->pool = strdup(pool);
    io->space = strdup("");
    assert(io->pool && io->space);
    client->ios++;
    *out = io;
    return 0;
}

static void double_ioctx_set_namespace(rados_handle handle, const char *name)
{
    struct io *io = handle;

    free(io->space);
    io->space = strdup(name);
    assert(io->space);
}

static void double_ioctx_destroy(rados_handle handle)
{
    struct io *io = handle;

    io->client->ios--;
    free(io->pool);
    free(io->space);
    free(io);
}

/*
 * Completions and operations.
 */

static int double_aio_create_completion2(void *arg, rados_callback *complete,
                                         rados_handle *out)
{
    struct completion *c = calloc(1, sizeof *c);

    assert(c);
    c->complete = complete;
    c->arg = arg;
    *out = c;
    handle_count(1);
    return 0;
}

static int double_aio_get_return_value(rados_handle handle)
{
    struct completion *c = handle;

    assert(c->is_called);
    return c->result;
}

static void double_aio_release(rados_handle handle)
{
    struct completion *c = handle;

    assert(!c->is_used || c->is_called);
    free(c);
    handle_count(-1);
}

static struct steps *steps_new(bool is_read)
{
    struct steps *steps = calloc(1, sizeof *steps);

    assert(steps);
    list_init(&steps->list);
    steps->is_read = is_read;
    return steps;
}

static rados_handle double_create_write_op(void)
{
    handle_count(1);
    return steps_new(false);
}

static rados_handle double_create_read_op(void)
{
    handle_count(1);
    return steps_new(true);
}

static uint64_t bytes_of(const struct steps *steps)
{
    uint64_t bytes = 0;

    LIST_FOR_EACH (node, &steps->list) {
        const struct step *step = container_of(node, struct step, link);

        bytes += step->kind == STEP_READ ? step->bytes : 0;
        bytes += step->kind == STEP_WRITE_FULL ? step->pair.value_bytes : 0;
    }
    return bytes;
}

/* Data in operations that have not been handed over. */
static void count_copied(uint64_t more, uint64_t less)
{
    struct rados_double_counts *counts = &double_cluster.counts;

    double_lock();
    counts->copied += more - less;
    counts->most_copied = max_u64(counts->most_copied, counts->copied);
    double_unlock();
}

static void double_release_op(rados_handle handle)
{
    const struct steps *steps = handle;

    handle_count(-1);
    if (!steps->is_read)
        count_copied(0, bytes_of(steps));
    steps_free(handle);
}

/* What is submitted is moved out of the caller's: it may release its own. */
static struct steps *take_steps(struct steps *from)
{
    struct steps *to = steps_new(from->is_read);
    struct list *node;

    while ((node = list_pop(&from->list)))
        list_append(&to->list, node);
    return to;
}

static int operate(struct steps *steps, struct io *io, struct completion *c,
                   const char *object)
{
    struct client *client = io->client;
    struct operation *o;

    double_lock();
    if (double_random() % 1000 < double_cluster.weather.refused) {
        double_unlock();
        return -ENOMEM;
    }
    o = calloc(1, sizeof *o);
    assert(o);
    o->client = client;
    o->completion = c;
    o->steps = take_steps(steps);
    o->bytes = bytes_of(o->steps);
    o->pool = strdup(io->pool);
    o->space = strdup(io->space);
    o->object = strdup(object);
    assert(o->pool && o->space && o->object && !c->is_used);
    c->is_used = true;
    client->ops++;
    client->bytes += o->bytes;
    /* librados would keep the calling thread. */
    assert(client->ops <= client->limit_ops &&
           client->bytes <= client->limit_bytes);
    double_cluster.counts.operations++;
    double_cluster.counts.copied -= o->steps->is_read ? 0 : o->bytes;
    double_cluster.counts.most_ops =
        max_u64(double_cluster.counts.most_ops, client->ops);
    double_cluster.counts.most_bytes =
        max_u64(double_cluster.counts.most_bytes, client->bytes);
    list_append(&double_cluster.queue, &o->link);
    (void)pthread_cond_broadcast(&double_cluster.changed);
    double_unlock();
    return 0;
}

static int double_aio_write_op_operate(rados_handle op, rados_handle io,
                                       rados_handle completion,
                                       const char *object, time_t *mtime,
                                       int flags)
{
    assert(!mtime && flags == RADOS_FULL_TRY); /* else a full cluster hangs */
    return operate(op, io, completion, object);
}

static int double_aio_read_op_operate(rados_handle op, rados_handle io,
                                      rados_handle completion,
                                      const char *object, int flags)
{
    assert(flags == 0);
    return operate(op, io, completion, object);
}

/*
 * Steps.
 */

static struct step *step_add(rados_handle op, enum step_kind kind)
{
    struct steps *steps = op;
    struct step *step = calloc(1, sizeof *step);

    assert(step);
    step->kind = kind;
    list_append(&steps->list, &step->link);
    return step;
}

static void step_pair(struct step *step, const char *key, size_t key_bytes,
                      const void *value, size_t value_bytes)
{
    struct pairs one = {0};

    pair_set(&one,
             &(struct pair){(char *)(uintptr_t)key, (char *)(uintptr_t)value,
                            key_bytes, value_bytes});
    step->pair = one.pair[0];
    free(one.pair);
}

static void double_write_op_create(rados_handle op, int exclusive,
                                   const char *category)
{
    assert(!category);
    step_add(op, STEP_CREATE)->flag = exclusive == RADOS_CREATE_EXCLUSIVE;
}

static void double_write_op_write_full(rados_handle op, const char *data,
                                       size_t bytes)
{
    step_pair(step_add(op, STEP_WRITE_FULL), "", 0, data, bytes);
    count_copied(bytes, 0);
}

static void double_write_op_setxattr(rados_handle op, const char *name,
                                     const char *value, size_t bytes)
{
    step_pair(step_add(op, STEP_SETXATTR), name, strlen(name), value, bytes);
}

static void double_write_op_cmpxattr(rados_handle op, const char *name,
                                     uint8_t comparison, const char *value,
                                     size_t bytes)
{
    assert(comparison == RADOS_CMPXATTR_EQ);
    step_pair(step_add(op, STEP_CMPXATTR), name, strlen(name), value, bytes);
}

static void double_write_op_remove(rados_handle op)
{
    (void)step_add(op, STEP_REMOVE);
}

static void double_write_op_omap_set2(rados_handle op, rados_texts keys,
                                      rados_texts values,
                                      const size_t *key_bytes,
                                      const size_t *value_bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        step_pair(step_add(op, STEP_OMAP_SET), keys[i], key_bytes[i], values[i],
                  value_bytes[i]);
}

static void double_write_op_omap_rm_keys2(rados_handle op, rados_texts keys,
                                          const size_t *key_bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        step_pair(step_add(op, STEP_OMAP_RM), keys[i], key_bytes[i], "", 0);
}

static void double_read_op_stat(rados_handle op, uint64_t *bytes, time_t *mtime,
                                int *result)
{
    struct step *step = step_add(op, STEP_STAT);

    step->size = bytes;
    step->mtime = mtime;
    step->result = result;
}

static void double_read_op_read(rados_handle op, uint64_t off, size_t bytes,
                                char *data, size_t *got, int *result)
{
    struct step *step = step_add(op, STEP_READ);

    step->off = off;
    step->bytes = bytes;
    step->data = data;
    step->got = got;
    step->result = result;
}

/* NOLINTNEXTLINE(readability-function-size): the shape of librados' function */
static void double_read_op_checksum(rados_handle op, unsigned type,
                                    const char *first, size_t first_bytes,
                                    uint64_t off, size_t bytes,
                                    size_t chunk_bytes, char *checksum,
                                    size_t checksum_bytes, int *result)
{
    struct step *step = step_add(op, STEP_CHECKSUM);

    assert(type == RADOS_CHECKSUM_CRC32C && first_bytes == 4);
    assert(chunk_bytes == 0 && bytes > 0);
    memcpy(&step->first, first, sizeof step->first);
    step->off = off;
    step->bytes = bytes;
    step->data = checksum;
    step->data_bytes = checksum_bytes;
    step->result = result;
}

static void double_read_op_getxattrs(rados_handle op, rados_handle *iterator,
                                     int *result)
{
    struct step *step = step_add(op, STEP_GETXATTRS);

    step->iterator = iterator;
    step->result = result;
}

/* NOLINTNEXTLINE(readability-function-size): the shape of librados' function */
static void double_read_op_omap_get_vals2(rados_handle op, const char *after,
                                          const char *prefix, uint64_t most,
                                          rados_handle *iterator,
                                          unsigned char *more, int *result)
{
    struct step *step = step_add(op, STEP_OMAP_VALS);

    assert(most > 0 && !prefix[0]);
    step_pair(step, after, strlen(after), "", 0);
    step->iterator = iterator;
    step->more = more;
    step->result = result;
}

/*
 * Iterators.
 */

static int iterator_next(rados_handle handle, struct pair *pair)
{
    struct iterator *iterator = handle;

    *pair = (struct pair){0};
    if (iterator->next < iterator->pairs.count)
        *pair = iterator->pairs.pair[iterator->next++];
    return 0;
}

static void double_iterator_end(rados_handle handle)
{
    struct iterator *iterator = handle;

    pairs_free(&iterator->pairs);
    free(iterator);
}

static int double_getxattrs_next(rados_handle iterator, const char **name,
                                 const char **value, size_t *bytes)
{
    struct pair pair;
    int rc = iterator_next(iterator, &pair);

    *name = pair.key;
    *value = pair.value;
    *bytes = pair.value_bytes;
    return rc;
}

static int double_omap_get_next2(rados_handle iterator, char **key,
                                 char **value, size_t *key_bytes,
                                 size_t *value_bytes)
{
    struct pair pair;
    int rc = iterator_next(iterator, &pair);

    *key = pair.key;
    *value = pair.value;
    *key_bytes = pair.key_bytes;
    *value_bytes = pair.value_bytes;
    return rc;
}

const struct rados_api *rados_double_api(void)
{
    static const struct rados_api api = {
        .version = double_version,
        .create2 = double_create2,
        .conf_read_file = double_conf_read_file,
        .conf_set = double_conf_set,
        .conf_get = double_conf_get,
        .connect = double_connect,
        .shutdown = double_shutdown,
        .ioctx_create = double_ioctx_create,
        .ioctx_set_namespace = double_ioctx_set_namespace,
        .ioctx_destroy = double_ioctx_destroy,
        .aio_create_completion2 = double_aio_create_completion2,
        .aio_get_return_value = double_aio_get_return_value,
        .aio_release = double_aio_release,
        .create_write_op = double_create_write_op,
        .release_write_op = double_release_op,
        .write_op_create = double_write_op_create,
        .write_op_write_full = double_write_op_write_full,
        .write_op_setxattr = double_write_op_setxattr,
        .write_op_cmpxattr = double_write_op_cmpxattr,
        .write_op_remove = double_write_op_remove,
        .write_op_omap_set2 = double_write_op_omap_set2,
        .write_op_omap_rm_keys2 = double_write_op_omap_rm_keys2,
        .aio_write_op_operate = double_aio_write_op_operate,
        .create_read_op = double_create_read_op,
        .release_read_op = double_release_op,
        .read_op_stat = double_read_op_stat,
        .read_op_read = double_read_op_read,
        .read_op_checksum = double_read_op_checksum,
        .read_op_getxattrs = double_read_op_getxattrs,
        .read_op_omap_get_vals2 = double_read_op_omap_get_vals2,
        .aio_read_op_operate = double_aio_read_op_operate,
        .getxattrs_next = double_getxattrs_next,
        .getxattrs_end = double_iterator_end,
        .omap_get_next2 = double_omap_get_next2,
        .omap_get_end = double_iterator_end,
    };

    return &api;
}
