/*
 * rados_api.h - librados as a table of functions, found at run time.
 *
 * Nothing is linked against librados and none of its headers is needed: what
 * is used of it is declared here, and tests/unit/test_rados_api.c compares each
 * member with the real header where there is one. A test puts a table of its
 * own in the place of the library's (tests/lib/rados_double.h).
 *
 * Handles are what librados calls rados_t, rados_ioctx_t and so on: all of them
 * are void * there too. Everything returns 0 or a count, or -errno.
 *
 * Threads. The functions may be called from any thread. A callback runs on a
 * thread of librados.
 */
#ifndef STORAGE_RADOS_API_H
#define STORAGE_RADOS_API_H

#include "common/err.h"

#include <time.h>

typedef void *rados_handle; /* a cluster, pool, operation, iterator, ... */
typedef void rados_callback(rados_handle completion, void *arg);
typedef const char *const *rados_texts;

/* The values of LIBRADOS_... that are used. */
enum rados_constant {
    RADOS_CREATE_EXCLUSIVE = 1,
    RADOS_CMPXATTR_EQ = 1,
    RADOS_CHECKSUM_CRC32C = 2,
    /* A full cluster or pool answers -ENOSPC or -EDQUOT instead of keeping the
     * operation until there is room. */
    RADOS_FULL_TRY = 64,
};

struct rados_api {
    void (*version)(int *major, int *minor, int *extra);

    int (*create2)(rados_handle *cluster, const char *cluster_name,
                   const char *user, uint64_t flags);
    int (*conf_read_file)(rados_handle cluster, const char *path);
    int (*conf_set)(rados_handle cluster, const char *option,
                    const char *value);
    int (*conf_get)(rados_handle cluster, const char *option, char *value,
                    size_t capacity);
    int (*connect)(rados_handle cluster);
    void (*shutdown)(rados_handle cluster);

    int (*ioctx_create)(rados_handle cluster, const char *pool,
                        rados_handle *io);
    void (*ioctx_set_namespace)(rados_handle io, const char *name);
    void (*ioctx_destroy)(rados_handle io);

    int (*aio_create_completion2)(void *arg, rados_callback *complete,
                                  rados_handle *completion);
    int (*aio_get_return_value)(rados_handle completion);
    void (*aio_release)(rados_handle completion);

    rados_handle (*create_write_op)(void);
    void (*release_write_op)(rados_handle op);
    void (*write_op_create)(rados_handle op, int exclusive,
                            const char *category);
    void (*write_op_write_full)(rados_handle op, const char *data,
                                size_t bytes);
    void (*write_op_setxattr)(rados_handle op, const char *name,
                              const char *value, size_t bytes);
    void (*write_op_cmpxattr)(rados_handle op, const char *name,
                              uint8_t comparison, const char *value,
                              size_t bytes);
    void (*write_op_remove)(rados_handle op);
    void (*write_op_omap_set2)(rados_handle op, rados_texts keys,
                               rados_texts values, const size_t *key_bytes,
                               const size_t *value_bytes, size_t count);
    void (*write_op_omap_rm_keys2)(rados_handle op, rados_texts keys,
                                   const size_t *key_bytes, size_t count);
    int (*aio_write_op_operate)(rados_handle op, rados_handle io,
                                rados_handle completion, const char *object,
                                time_t *mtime, int flags);

    rados_handle (*create_read_op)(void);
    void (*release_read_op)(rados_handle op);
    void (*read_op_stat)(rados_handle op, uint64_t *bytes, time_t *mtime,
                         int *result);
    void (*read_op_read)(rados_handle op, uint64_t off, size_t bytes,
                         char *data, size_t *bytes_read, int *result);
    void (*read_op_checksum)(rados_handle op, unsigned type, const char *first,
                             size_t first_bytes, uint64_t off, size_t bytes,
                             size_t chunk_bytes, char *checksum,
                             size_t checksum_bytes, int *result);
    void (*read_op_getxattrs)(rados_handle op, rados_handle *iterator,
                              int *result);
    void (*read_op_omap_get_vals2)(rados_handle op, const char *after,
                                   const char *prefix, uint64_t most,
                                   rados_handle *iterator, unsigned char *more,
                                   int *result);
    int (*aio_read_op_operate)(rados_handle op, rados_handle io,
                               rados_handle completion, const char *object,
                               int flags);

    int (*getxattrs_next)(rados_handle iterator, const char **name,
                          const char **value, size_t *bytes);
    void (*getxattrs_end)(rados_handle iterator);
    int (*omap_get_next2)(rados_handle iterator, char **key, char **value,
                          size_t *key_bytes, size_t *value_bytes);
    void (*omap_get_end)(rados_handle iterator);
};

/* The functions of this machine's librados.so.2, which stays loaded; the same
 * table each time. -ENOSYS with words: there is no librados, or it lacks a
 * function (which one). Any thread. */
int rados_api_load(const struct rados_api **out, struct err *err) MUST_USE;

/* The same from another file, for tests. `api` is the caller's. */
int rados_api_load_from(const char *file, struct rados_api *api,
                        struct err *err) MUST_USE;

#endif
