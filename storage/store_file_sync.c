/*
 * store_file_sync.c - syncing a folder, and what is left of it when that fails.
 *
 * One sync of a folder at a time: of two at once one may take the error of
 * both, and the other be answered first. Who asks meanwhile waits for the next,
 * which all of them share.
 *
 * A sync that fails may have lost every name that was given or taken away in
 * the folder before it, and a later one does not bring them back, though it
 * succeeds (a journal that has failed lets none succeed; not every file system
 * has one). So the folder is in *doubt* from then on, for as long as the store
 * is open:
 *
 *   - all that had begun by then fails;
 *   - a name that is given or taken away later is as good as ever;
 *   - a name that was there is durable only when this store knows that from
 *     before (store_file_path.c), or when it is given anew. Of a record that is
 *     done on the way to -EEXIST (store_file_mend.c), of a folder if it is
 *     empty, and one that is not had its name for good before anything came
 *     into it; whoever wants anything else of that kind is told -EIO;
 *   - a name that is gone may come back: -EIO instead of -ENOENT for a REMOVE.
 *
 * Another process does not know of it: until the name was given anew by who
 * saw the failure (as who tries again does), it can only rely on that all later
 * syncs fail as well.
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct doubt {
    struct list link; /* of store_file.doubts */
    char folder[];    /* "" is the root */
};

static bool is_folder(const struct doubt *d, const char *name, size_t bytes)
{
    return strncmp(d->folder, name, bytes) == 0 && d->folder[bytes] == '\0';
}

bool file_is_in_doubt(const struct store_file *file, const char *name,
                      size_t bytes)
{
    if (is_left_out("doubt after a failed folder sync"))
        return false;
    LIST_FOR_EACH (node, &file->doubts)
        if (is_folder(container_of(node, struct doubt, link), name, bytes))
            return true;
    return file->doubts_all;
}

static void doubt(struct store_file *file, const char *name, size_t bytes)
{
    struct doubt *d;

    if (file_is_in_doubt(file, name, bytes))
        return;
    d = malloc(sizeof *d + bytes + 1);
    if (!d) {
        file->doubts_all = true;
        return;
    }
    memcpy(d->folder, name, bytes);
    d->folder[bytes] = '\0';
    list_append(&file->doubts, &d->link);
}

void file_doubts_free(struct store_file *file)
{
    struct list *node;

    while ((node = list_pop(&file->doubts)))
        free(container_of(node, struct doubt, link));
}

/*
 * One at a time.
 */

static void sync_begin(struct file_job *job);

static bool is_same_folder(const struct file_job *a, const struct file_job *b)
{
    return a->sync_bytes == b->sync_bytes &&
           memcmp(a->req->name, b->req->name, a->sync_bytes) == 0;
}

static struct file_job *under_way(const struct file_job *job)
{
    LIST_FOR_EACH (node, &job->file->syncing) {
        struct file_job *o = container_of(node, struct file_job, link);

        if (is_same_folder(o, job))
            return o;
    }
    return NULL;
}

static void tell(struct file_job *job, int64_t result)
{
    if (result >= 0 && job->folder_failures != job->file->folder_failures &&
        !is_left_out("failure of a folder's sync"))
        result = -EIO;
    job->after_sync(job, result);
}

/* Those that waited for this folder share the next one. */
static void next_begin(struct file_job *ended)
{
    struct file_job *first = NULL;

    LIST_FOR_EACH_SAFE (node, after, &ended->file->to_sync) {
        struct file_job *job = container_of(node, struct file_job, link);

        if (!is_same_folder(job, ended))
            continue;
        list_remove(&job->link);
        if (first)
            list_append(&first->sharers, &job->link);
        else
            first = job;
    }
    if (first)
        sync_begin(first);
}

static void synced(struct file_job *job, int64_t result)
{
    struct store_file *file = job->file;
    struct list sharers, *node;

    list_remove(&job->link);
    list_init(&sharers);
    while ((node = list_pop(&job->sharers)))
        list_append(&sharers, node);
    if (result < 0) {
        file->folder_failures++;
        doubt(file, job->req->name, job->sync_bytes);
    }
    next_begin(job);
    tell(job, result);
    while ((node = list_pop(&sharers)))
        tell(container_of(node, struct file_job, link), result);
}

static void sync_begin(struct file_job *job)
{
    list_append(&job->file->syncing, &job->link);
    file_job_on_fd(job, FILEIO_FSYNC, job->dir_fd, synced);
}

void file_job_sync_folder(struct file_job *job, size_t bytes, const char *what,
                          file_step *next)
{
    job->after_sync = next;
    job->sync_bytes = bytes;
    list_init(&job->sharers);
    if (is_left_out(what))
        tell(job, 0);
    else if (under_way(job) && !is_left_out("one sync of a folder at a time"))
        list_append(&job->file->to_sync, &job->link);
    else
        sync_begin(job);
}
