/*
 * by_verify.c - `ckpt verify` in this process and as a command; see reading.h.
 *
 * The linker's --wrap gives the tool's code, where it opens the home and the
 * local store of an image, stores in memory filled from that image.
 */
#include "tests/rot/reading.h"
#include "tools/ckpt/tool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOME "/image"

static const struct image *the_image;

/* The names that ld --wrap gives to what was and to what stands before it. */
int real_open(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__real_store_file_open");
int wrap_open(const char *path, unsigned flags, enum store_engine engine,
              struct store **out,
              struct err *err) __asm__("__wrap_store_file_open");

int wrap_open(const char *path, unsigned flags, enum store_engine engine,
              struct store **out, struct err *err)
{
    if (strncmp(path, HOME, strlen(HOME)) != 0)
        return real_open(path, flags, engine, out, err);
    if (flags & STORE_OPEN_WRITE) /* no lease: looking needs none */
        return err_set(err, -EROFS, "an image");
    *out = image_store(the_image, path[strlen(HOME)] != '\0');
    return 0;
}

/* Standard output and errors go into a file in memory meanwhile. */
struct capture {
    int file, saved[2];
};

static void capture_begin(struct capture *c)
{
    (void)fflush(NULL);
    if (c->file == 0)
        c->file = memfd_create("captured", MFD_CLOEXEC);
    assert(c->file > 0);
    for (int i = 0; i < 2; i++) {
        c->saved[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
        assert(c->saved[i] >= 0 && dup2(c->file, i + 1) == i + 1);
    }
}

static void capture_end(struct capture *c, char *text, size_t capacity)
{
    off_t end = lseek(c->file, 0, SEEK_CUR);
    ssize_t n;
    int rc;

    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        rc = dup2(c->saved[i], i + 1);
        assert(rc == i + 1);
        (void)close(c->saved[i]);
    }
    n = pread(c->file, text, capacity - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    end = lseek(c->file, 0, SEEK_SET);
    rc = ftruncate(c->file, 0);
    assert(end == 0 && rc == 0);
}

static void judge(struct reading *out, int code)
{
    out->code = code;
    out->outcome = code == EXIT_FINE      ? OUTCOME_NEWEST
                   : code == EXIT_CORRUPT ? OUTCOME_ERROR
                                          : OUTCOME_WRONG;
}

void read_by_verify(const struct subject *s, const struct image *i,
                    struct reading *out)
{
    static struct capture capture;
    struct tool t = {.verb = "verify",
                     .target = "run@50",
                     .options = {.home = HOME, .deep = true}};
    int code;

    (void)s;
    the_image = i;
    capture_begin(&capture);
    code = verb_verify(&t);
    store_close(t.home);
    capture_end(&capture, out->text, sizeof out->text);
    judge(out, code);
}

void read_by_command(const char *tool, const char *dir, struct reading *out)
{
    char program[1024], home[1024], log[1100];
    char verb[] = "verify", deep[] = "--deep", option[] = "--home";
    char target[] = "run@50";
    char *argv[] = {program, verb, deep, option, home, target, NULL};
    posix_spawn_file_actions_t actions;
    int rc, status, fd;
    ssize_t n;
    pid_t pid;

    (void)snprintf(program, sizeof program, "%s", tool);
    (void)snprintf(home, sizeof home, "%s", dir);
    (void)snprintf(log, sizeof log, "%s.log", dir);
    rc = posix_spawn_file_actions_init(&actions);
    assert(rc == 0);
    rc = posix_spawn_file_actions_addopen(
        &actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    assert(rc == 0);
    rc = posix_spawn_file_actions_adddup2(&actions, 1, 2);
    assert(rc == 0);
    rc = posix_spawn(&pid, tool, &actions, NULL, argv, environ);
    assert(rc == 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    rc = waitpid(pid, &status, 0);
    assert(rc == pid);
    fd = open(log, O_RDONLY | O_CLOEXEC);
    n = read(fd, out->text, sizeof out->text - 1);
    out->text[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    judge(out, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}
