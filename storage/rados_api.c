/*
 * rados_api.c - finds librados at run time and fills the table.
 *
 * The table is a struct of function pointers; `symbols` says which name goes to
 * which member. Loading happens once per process: the library keeps threads
 * and static data, so it is never unloaded.
 */
#include "storage/rados_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define SYMBOL(member)                                                         \
    {                                                                          \
        "rados_" #member, offsetof(struct rados_api, member)                   \
    }

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    SYMBOL(version),
    SYMBOL(create2),
    SYMBOL(conf_read_file),
    SYMBOL(conf_set),
    SYMBOL(conf_get),
    SYMBOL(connect),
    SYMBOL(shutdown),
    SYMBOL(ioctx_create),
    SYMBOL(ioctx_set_namespace),
    SYMBOL(ioctx_destroy),
    SYMBOL(aio_create_completion2),
    SYMBOL(aio_get_return_value),
    SYMBOL(aio_release),
    SYMBOL(create_write_op),
    SYMBOL(release_write_op),
    SYMBOL(write_op_create),
    SYMBOL(write_op_write_full),
    SYMBOL(write_op_setxattr),
    SYMBOL(write_op_cmpxattr),
    SYMBOL(write_op_remove),
    SYMBOL(write_op_omap_set2),
    SYMBOL(write_op_omap_rm_keys2),
    SYMBOL(aio_write_op_operate),
    SYMBOL(create_read_op),
    SYMBOL(release_read_op),
    SYMBOL(read_op_stat),
    SYMBOL(read_op_read),
    SYMBOL(read_op_checksum),
    SYMBOL(read_op_getxattrs),
    SYMBOL(read_op_omap_get_vals2),
    SYMBOL(aio_read_op_operate),
    SYMBOL(getxattrs_next),
    SYMBOL(getxattrs_end),
    SYMBOL(omap_get_next2),
    SYMBOL(omap_get_end),
};

_Static_assert(ARRAY_LEN(symbols) * sizeof(void (*)(void)) ==
                   sizeof(struct rados_api),
               "each member of the table has its name");

int rados_api_load_from(const char *file, struct rados_api *api,
                        struct err *err)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        const char *why =
            dlerror(); // NOLINT(concurrency-mt-unsafe): glibc's is per thread

        return err_set(err, -ENOSYS,
                       "RADOS needs librados, which is missing here (Debian: "
                       "apt-get install librados2): %s",
                       why ? why : file);
    }
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        void *symbol = dlsym(library, symbols[i].name);

        if (!symbol) {
            (void)dlclose(library);
            return err_set(err, -ENOSYS,
                           "%s has no %s: a librados of Ceph 15 or newer is "
                           "needed",
                           file, symbols[i].name);
        }
        memcpy((char *)api + symbols[i].offset, &symbol, sizeof symbol);
    }
    return 0;
}

static struct {
    pthread_mutex_t lock;
    bool is_loaded;
    struct rados_api api; /* constant once loaded */
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What is written is copied by librados into memory of its own. By default that
 * is given back to the kernel with each object and asked for anew, page by
 * page, which was seen to cost twice what the copying does. So it is kept: of
 * allocations up to 32 MiB (an object has 16 at most), 128 MiB (twice what is
 * under way at once). Where that is refused, it costs what it did. */
static void keep_freed_memory(void)
{
    /* glibc's takes the lock of what it changes. */
    (void)mallopt(M_MMAP_THRESHOLD, // NOLINT(concurrency-mt-unsafe): see above
                  32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, // NOLINT(concurrency-mt-unsafe): see above
                  128 << 20);
}

int rados_api_load(const struct rados_api **out, struct err *err)
{
    int rc = 0;

    (void)pthread_mutex_lock(&library.lock);
    if (!library.is_loaded)
        rc = rados_api_load_from("librados.so.2", &library.api, err);
    if (rc == 0 && !library.is_loaded)
        keep_freed_memory();
    library.is_loaded = rc == 0;
    (void)pthread_mutex_unlock(&library.lock);
    *out = rc == 0 ? &library.api : NULL;
    return rc;
}
