/*
 * nfs_mount.c - see nfs_mount.h. The double is the program beside this one; it
 * says "mounted" when it is, and ends by SIGTERM.
 */
#include "tests/lib/nfs_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool program(char *path, size_t capacity)
{
    char self[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);

    if (bytes < 0)
        return false;
    self[bytes] = '\0';
    return snprintf(path, capacity, "%s/nfs_double", dirname(self)) <
           (int)capacity;
}

bool nfs_is_possible(char *why, size_t capacity)
{
    char path[PATH_MAX];

    if (access("/dev/fuse", R_OK | W_OK) < 0) {
        (void)snprintf(why, capacity, "no FUSE: /dev/fuse: %s",
                       strerror(errno));
        return false;
    }
    if (!program(path, sizeof path) || access(path, X_OK) < 0) {
        (void)snprintf(why, capacity,
                       "the double of NFS is not built: libfuse3-dev is "
                       "missing");
        return false;
    }
    return true;
}

static int spawn(struct nfs_mount *m, const char *server, const char *control,
                 int output)
{
    char path[PATH_MAX];
    char *argv[] = {path, (char *)(uintptr_t)server, m->at,
                    (char *)(uintptr_t)control, NULL};
    posix_spawn_file_actions_t actions;
    int rc;

    if (!program(path, sizeof path))
        return -ENOENT;
    rc = posix_spawn_file_actions_init(&actions);
    if (rc)
        return -rc;
    rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn(&m->pid, path, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* Its first words, or its end. */
static int wait_mounted(const struct nfs_mount *m, int input)
{
    char word[16] = "";

    if (read(input, word, sizeof word - 1) > 0 &&
        strncmp(word, "mounted", 7) == 0)
        return 0;
    (void)waitpid(m->pid, NULL, 0);
    return -EIO;
}

static int map_control(struct nfs_mount *m, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, sizeof *m->control) == 0)
        m->control = mmap(NULL, sizeof *m->control, PROT_READ | PROT_WRITE,
                          MAP_SHARED, fd, 0);
    else
        m->control = MAP_FAILED;
    (void)close(fd);
    return m->control == MAP_FAILED ? -errno : 0;
}

int nfs_mount(struct nfs_mount *m, const char *dir, const char *name)
{
    char server[600], control[600];
    int rc, pipe_fd[2];

    (void)snprintf(server, sizeof server, "%s/server", dir);
    (void)snprintf(control, sizeof control, "%s/%s.control", dir, name);
    (void)snprintf(m->at, sizeof m->at, "%s/%s", dir, name);
    if ((mkdir(server, 0700) < 0 && errno != EEXIST) ||
        (mkdir(m->at, 0700) < 0 && errno != EEXIST))
        return -errno;
    rc = map_control(m, control);
    if (rc < 0)
        return rc;
    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return -errno;
    rc = spawn(m, server, control, pipe_fd[1]);
    (void)close(pipe_fd[1]);
    if (rc == 0)
        rc = wait_mounted(m, pipe_fd[0]);
    (void)close(pipe_fd[0]);
    return rc;
}

void nfs_unmount(struct nfs_mount *m)
{
    (void)umount2(m->at, MNT_DETACH);
    (void)kill(m->pid, SIGTERM);
    (void)waitpid(m->pid, NULL, 0);
    (void)munmap(m->control, sizeof *m->control);
}
