/*
 * store_file_judge.c - who won, when the answer to link() does not tell.
 *
 * On a network the answer to a link() that was carried out may get lost; the
 * client then repeats it and is told EEXIST, of its own name, or gives up with
 * EIO or ETIMEDOUT. So any answer but success is judged by what is there.
 *
 * First by the link count of our own file: a temporary of ours has no other
 * names than the one it was written under and the one it was to get, so that
 * one more link than at first says that we have won, whatever was answered.
 *
 * The count may be one that this machine remembers from before. On a shared
 * file system "no more links" is therefore no answer yet: the name is opened,
 * which does ask the server, and it is ours if it leads to the file that we
 * hold open. The inode number tells: it cannot be given anew while we have it.
 * The bytes would not tell as much, as two writers may want the same ones; that
 * the two names of one file show the same number was tried out at open
 * (store_file_trial.c).
 *
 * When the name is absent, the folder is looked at by force, and it is opened
 * once more (store_file_fresh.c). If it stays absent, after EEXIST somebody has
 * removed it again, and one may start anew; after any other answer the link
 * has not been carried out yet. It still may be, late, which is why the outcome
 * of a PUT that failed is unknown.
 */
#include "storage/store_file.h"

#include "common/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void name_look(struct file_job *job);

static void judge_end(struct file_job *job, int64_t result)
{
    if (job->walk_fd >= 0)
        (void)close(job->walk_fd);
    job->walk_fd = -1;
    job->after_judge(job, result);
}

static bool is_same_device(const struct statx *stat, const struct file_job *job)
{
    return stat->stx_dev_major == job->dev_major &&
           stat->stx_dev_minor == job->dev_minor;
}

static void name_judged(struct file_job *job, int64_t result)
{
    if (result == -ESTALE)
        name_look(job);
    else if (result < 0)
        judge_end(job, result);
    else if (job->stat.stx_ino == job->ino && is_same_device(&job->stat, job))
        judge_end(job, 0);
    else
        judge_end(job, -EEXIST);
}

static void name_opened(struct file_job *job, int64_t result)
{
    if (result == -ENOENT || result == -ESTALE) {
        name_look(job);
    } else if (result < 0) {
        judge_end(job, result);
    } else {
        job->walk_fd = (int)result;
        job->op.stat = &job->stat;
        file_job_on_fd(job, FILEIO_STAT, job->walk_fd, name_judged);
    }
}

static void name_open(struct file_job *job, int64_t result)
{
    if (result < 0)
        judge_end(job, result);
    else
        file_job_open(job, job->dir_fd, job->leaf,
                      O_RDONLY | O_NONBLOCK | O_NOCTTY, name_opened);
}

/* It was not there: once more, with nothing remembered. */
static void name_look(struct file_job *job)
{
    if (job->walk_fd >= 0)
        (void)close(job->walk_fd);
    job->walk_fd = -1;
    if (job->walk_tries++ >= 2) {
        judge_end(job, job->answer == -EEXIST ? -ESTALE : job->answer);
        return;
    }
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->dir_fd, name_open);
}

static void counted(struct file_job *job, int64_t result)
{
    unsigned before = job->tmp[0] ? 1 : 0;

    if (result == 0 && job->stat.stx_nlink > before &&
        !is_left_out("count of links")) {
        judge_end(job, 0);
    } else if (!job->file->is_shared || is_left_out("look whose a name is")) {
        judge_end(job, result < 0 ? result : job->answer);
    } else if (result < 0 && result != -ESTALE) {
        judge_end(job, result);
    } else {
        job->ino = result == 0 ? job->stat.stx_ino : 0;
        job->dev_major = job->stat.stx_dev_major;
        job->dev_minor = job->stat.stx_dev_minor;
        job->walk_tries = 0;
        name_open(job, 0);
    }
}

void file_judge(struct file_job *job, int64_t answer, file_step *after)
{
    job->after_judge = after;
    job->answer = answer == -ENOENT ? -ESTALE : answer;
    job->op.stat = &job->stat;
    file_job_on_fd(job, FILEIO_STAT, job->fd, counted);
}
