/*
 * data.c - see data.h. The whole text is held in memory by every rank; it is
 * read once, before the first step.
 */
#include "trainer/examples/train_lm/data.h"

#include "trainer/examples/train_lm/rng.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Append what `fd` holds. */
static int append_fd(struct corpus *corpus, int fd, size_t size)
{
    uint8_t *text = realloc(corpus->text, corpus->bytes + size + 1);
    ssize_t got;

    if (!text)
        return -ENOMEM;
    corpus->text = text;
    while (size > 0) {
        got = read(fd, corpus->text + corpus->bytes, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        corpus->bytes += (size_t)got;
        size -= (size_t)got;
    }
    return 0;
}

static int append_file(struct corpus *corpus, int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int rc;

    if (fd < 0)
        return -errno;
    rc = fstat(fd, &st) ? -errno : append_fd(corpus, fd, (size_t)st.st_size);
    (void)close(fd);
    return rc;
}

/* Symbolic links are left out: here they name texts that are there already. */
static int is_regular(const struct dirent *entry)
{
    return entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int append_directory(struct corpus *corpus, const char *path,
                            char culprit[256])
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent **entries = NULL;
    struct stat st;
    int count, rc = 0;

    if (dir < 0)
        return -errno;
    count = scandir(path, &entries, is_regular, by_bytes);
    if (count < 0)
        rc = -errno;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;

        if (rc == 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode)) {
            rc = append_file(corpus, dir, name);
            if (rc)
                (void)snprintf(culprit, 256, "%s", name);
        }
        free(entries[i]);
    }
    free(entries);
    (void)close(dir);
    return rc;
}

int corpus_init(struct corpus *corpus, const char *path, char culprit[256])
{
    struct stat st;
    int rc;

    *corpus = (struct corpus){NULL, 0};
    (void)snprintf(culprit, 256, "%s", path);
    if (stat(path, &st))
        return -errno;
    if (S_ISDIR(st.st_mode))
        rc = append_directory(corpus, path, culprit);
    else
        rc = append_file(corpus, AT_FDCWD, path);
    if (rc == 0 && corpus->bytes < CONTEXT) {
        rc = -ENODATA;
        (void)snprintf(culprit, 256,
                       corpus->text ? "shorter than one sample of %d bytes"
                                    : "no regular files in this folder",
                       CONTEXT);
    }
    if (rc)
        corpus_fini(corpus);
    return rc;
}

void corpus_fini(struct corpus *corpus)
{
    free(corpus->text);
    *corpus = (struct corpus){NULL, 0};
}

void corpus_sample(const struct corpus *corpus, uint64_t seed, uint64_t index,
                   uint16_t *inputs, uint16_t *targets)
{
    uint64_t random = rng_at(rng_key(seed, "sample order"), index);
    const uint8_t *at = corpus->text + random % (corpus->bytes - CONTEXT + 1);

    inputs[0] = TOKEN_BOS;
    for (size_t t = 0; t < CONTEXT; t++)
        targets[t] = at[t];
    for (size_t t = 1; t < CONTEXT; t++)
        inputs[t] = at[t - 1];
}
