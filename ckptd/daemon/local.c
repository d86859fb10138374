/*
 * local.c - the local store: one daemon at a time, by a lock on LOCAL/lock.
 *
 * The folder must be ours alone. The lock is taken before anything else is
 * looked at in it, so that of daemons
 * started at the same moment one goes on and the rest end with -EBUSY. STORE
 * holds the uuid that is this daemon's id; it is made at the first start, and
 * only then: checkpoints name their store by it, so that a new one beside
 * segments would lose every checkpoint in them. There it is -CKPT_ECORRUPT.
 */
#include "ckptd/daemon/reactor.h"
#include "common/own_folder.h"
#include "common/plant.h"
#include "formats/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int local_lock(struct reactor *r, struct err *err)
{
    const char *local = r->options->local;
    int rc;

    if (mkdir(local, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno,
                       "cannot make the local store's folder %s: %s", local,
                       err_text(-errno));
    r->local_dir_fd = open(local, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->local_dir_fd < 0)
        return err_set(err, -errno, "cannot open the local store %s: %s", local,
                       err_text(-errno));
    if (own_folder_check(r->local_dir_fd, local, err))
        return err_prefix(err, "local store (CKPT_LOCAL)");
    r->lock_fd = openat(r->local_dir_fd, "lock",
                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->lock_fd < 0)
        return err_set(err, -errno, "cannot open %s/lock: %s", local,
                       err_text(-errno));
    if (is_left_out("lock of the local store") ||
        flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
    return err_set(err, rc, "local store %s: %s", local,
                   rc == -EBUSY ? "another ckptd serves it" : err_text(rc));
}

static int make_uuid(struct reactor *r, struct err *err)
{
    struct record_store record = {0};
    struct store_req put = {.op = STORE_PUT, .name = "STORE"};
    struct wr w = {0};
    int64_t rc;

    r->env.ops->random(&r->env, &record.uuid, sizeof record.uuid);
    record_store_encode(&record, &w);
    put.buf = w.data;
    put.len = w.bytes;
    rc = w.failed ? -ENOMEM : store_run(r->env.local, &put);
    wr_free(&w);
    if (rc < 0)
        return err_set(err, (int)rc, "cannot write %s/STORE: %s",
                       r->options->local, err_text((int)rc));
    r->env.local_uuid = record.uuid;
    return 0;
}

/* Is this the first start? 0 if it is. */
static int check_fresh(struct reactor *r, struct err *err)
{
    struct store_req list = {.op = STORE_LIST, .name = "seg"};
    int64_t rc = store_run(r->env.local, &list);
    size_t count = list.names.count;

    store_names_free(&list.names);
    if (rc < 0)
        return err_set(err, (int)rc, "cannot list %s/seg: %s",
                       r->options->local, err_text((int)rc));
    if (count == 0)
        return 0;
    return err_set(err, -CKPT_ECORRUPT,
                   "local store %s: its STORE record is gone, but seg/ holds "
                   "%zu segments that name it: put STORE back from a backup, "
                   "or use another folder (CKPT_LOCAL)",
                   r->options->local, count);
}

static int read_uuid(struct reactor *r, struct err *err)
{
    struct record_store record;
    _Alignas(8) uint8_t data[4096];
    struct store_req get = {
        .op = STORE_GET, .name = "STORE", .buf = data, .len = sizeof data};
    int64_t n = store_run(r->env.local, &get);
    int rc;

    if (n == -ENOENT) {
        rc = check_fresh(r, err);
        return rc ? rc : make_uuid(r, err);
    }
    if (n < 0)
        return err_set(err, (int)n, "cannot read %s/STORE: %s",
                       r->options->local, err_text((int)n));
    rc = record_store_decode(data, (size_t)n, &record, err);
    if (rc)
        return err_prefix(err, "%s/STORE", r->options->local);
    r->env.local_uuid = record.uuid;
    return 0;
}

int local_open(struct reactor *r, struct err *err)
{
    char path[sizeof r->env.local_path], *real;
    int rc = local_lock(r, err);

    if (rc)
        return rc;
    real = realpath(r->options->local, NULL);
    if (!real || strlen(real) >= sizeof path) {
        free(real);
        return err_set(err, -ENAMETOOLONG, "local store %s: path too long",
                       r->options->local);
    }
    memcpy(r->env.local_path, real, strlen(real) + 1);
    free(real);
    rc = store_file_open(r->env.local_path, STORE_OPEN_WRITE | STORE_OPEN_LOCAL,
                         STORE_ENGINE_AUTO, &r->env.local, err);
    if (rc == -EREMOTE)
        return err_prefix(err, "set CKPT_LOCAL to a folder on a local drive");
    if (rc)
        return rc;
    return read_uuid(r, err);
}

void local_close(struct reactor *r)
{
    store_close(r->env.local);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    if (r->local_dir_fd >= 0)
        close(r->local_dir_fd);
}
