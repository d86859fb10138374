/*
 * disk_files.c - open files of a disk, what holds their locks, and the end of
 * processes (disk.h).
 *
 * A descriptor leads to an open file, which holds the lock; a write that is on
 * its way when its process is killed keeps the open file, and so the lock, as
 * the kernel does. What a killed process still calls on its descriptors (the
 * test has to free its memory) answers as if all were well and does nothing.
 */
#include "tests/crash/disk_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

struct late_write {
    struct list link;
    struct disk_file *file;
    uint64_t off, len;
    uint8_t data[];
};

struct disk *disk_now;

struct disk_file *disk_file_of(int fd)
{
    assert(disk_fd_is_ours(fd) &&
           (uint32_t)(fd - DISK_FD) < disk_now->fd_count &&
           disk_now->fd[fd - DISK_FD]);
    return disk_now->fd[fd - DISK_FD];
}

static void file_put(struct disk_file *file)
{
    if (--file->users == 0)
        free(file);
}

int disk_fd_new(struct disk_file *file)
{
    struct disk *d = disk_now;
    uint32_t i = 0;

    while (i < d->fd_count && d->fd[i])
        i++;
    if (i == d->fd_count) {
        d->fd_count = d->fd_count ? d->fd_count * 2 : 64;
        d->fd = realloc((void *)d->fd, d->fd_count * sizeof *d->fd);
        assert(d->fd);
        memset((void *)(d->fd + i), 0, (d->fd_count - i) * sizeof *d->fd);
    }
    d->fd[i] = file;
    file->users++;
    return DISK_FD + (int)i;
}

int disk_fd_open(uint32_t node)
{
    struct disk_file *file = calloc(1, sizeof *file);

    assert(file);
    file->node = node;
    file->process = disk_now->process;
    file->lock = LOCK_UN;
    return disk_fd_new(file);
}

void disk_fd_drop(int fd)
{
    file_put(disk_file_of(fd));
    disk_now->fd[fd - DISK_FD] = NULL;
}

/*
 * Locks.
 */

/* Does another open file hold what `how` cannot go with? */
static bool is_locked_out(const struct disk_file *file, int how)
{
    for (uint32_t i = 0; i < disk_now->fd_count; i++) {
        const struct disk_file *o = disk_now->fd[i];

        if (o && o != file && !o->is_dead && o->node == file->node &&
            (o->lock == LOCK_EX || (o->lock == LOCK_SH && how == LOCK_EX)))
            return true;
    }
    LIST_FOR_EACH (link, &disk_now->late) {
        const struct disk_file *o =
            container_of(link, struct late_write, link)->file;

        if (o->node == file->node && o->lock != LOCK_UN)
            return true;
    }
    return false;
}

bool disk_lock(struct disk_file *file, int how)
{
    if (file->is_dead)
        return true;
    if (how != LOCK_UN && is_locked_out(file, how))
        return false;
    file->lock = how;
    return true;
}

/*
 * Processes.
 */

void disk_process_kill(struct disk *disk, uint32_t process)
{
    for (uint32_t i = 0; i < disk->fd_count; i++) {
        struct disk_file *dead = disk->fd[i], *mark;

        if (!dead || dead->process != process || dead->is_dead)
            continue;
        mark = calloc(1, sizeof *mark); /* until the memory is freed */
        assert(mark);
        *mark = (struct disk_file){
            .users = 1, .node = dead->node, .is_dead = true, .lock = LOCK_UN};
        file_put(dead);
        disk->fd[i] = mark;
    }
}

void disk_late_add(struct disk *disk, const struct fileio_op *op)
{
    struct late_write *late = malloc(sizeof *late + op->len);

    assert(late);
    *late = (struct late_write){
        .file = disk_file_of(op->fd), .off = op->off, .len = op->len};
    late->file->users++;
    memcpy(late->data, op->buf, op->len);
    list_append(&disk->late, &late->link);
}

static void late_free(struct late_write *late)
{
    list_remove(&late->link);
    file_put(late->file);
    free(late);
}

bool disk_late_land(struct disk *disk)
{
    struct late_write *late;

    if (list_is_empty(&disk->late))
        return false;
    late = container_of(disk->late.next, struct late_write, link);
    disk_write(disk, late->file->node, late->off, late->data, late->len);
    late_free(late);
    return true;
}

struct disk *disk_the(struct disk *disk)
{
    struct disk *before = disk_now;

    disk_now = disk;
    return before;
}

void disk_free(struct disk *disk)
{
    while (!list_is_empty(&disk->late))
        late_free(container_of(disk->late.next, struct late_write, link));
    for (uint32_t i = 0; i < disk->fd_count; i++)
        assert(!disk->fd[i]);
    free((void *)disk->fd);
    for (uint32_t i = 0; i < disk->op_count; i++)
        free(disk->op[i].data);
    free(disk->op);
    image_free(&disk->live);
    image_free(&disk->base);
    if (disk_now == disk)
        disk_now = NULL;
    free(disk);
}
