/*
 * wait_each.c - `ckpt wait --each`: a command for every checkpoint from now on.
 *
 * What is in the state at the first look has been before; what is not is taken
 * up once it is, in the order of generations and steps, one command at a time.
 * The run need not be there yet, and its jobs may come and go. A home that
 * cannot be read for a while is told once and looked at again.
 *
 * The command runs by sh -c, with CKPT_RUN, CKPT_STEP, CKPT_GENERATION,
 * CKPT_STATE and CKPT_HOME, and nothing to read on stdin. While it runs its
 * checkpoint is leased, so that retention leaves it alone (where the home may
 * be written). That one fails is told, and the next one comes. A signal is
 * passed on to it, and waited for.
 */
#include "tools/ckpt/lease.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/state.h"
#include "tools/ckpt/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define END_LOOK_MS 50

extern char **environ;

struct each_wait {
    struct tool *tool;
    const char *run;
    struct catalog catalog;
    struct save_id *seen;
    size_t seen_count, seen_capacity;
    bool is_begun;   /* what was there before is known */
    struct err said; /* the last trouble with the home */
    uint64_t deadline_ms;
};

static bool is_there(const struct each_wait *w, const struct catalog_save *s)
{
    return s->status == SAVE_COMMITTED &&
           (!w->tool->options.remote || catalog_is_remote(s));
}

static bool is_seen(const struct each_wait *w, const struct save_id *id)
{
    for (size_t i = w->seen_count; i-- > 0;)
        if (save_id_compare(&w->seen[i], id) == 0)
            return true;
    return false;
}

static int note_seen(struct each_wait *w, const struct save_id *id)
{
    size_t capacity = w->seen_capacity ? 2 * w->seen_capacity : 64;
    struct save_id *grown;

    if (w->seen_count == w->seen_capacity) {
        grown = realloc(w->seen, capacity * sizeof *grown);
        if (!grown)
            return complain(w->tool, EXIT_ERROR, "out of memory");
        w->seen = grown;
        w->seen_capacity = capacity;
    }
    w->seen[w->seen_count++] = *id;
    return 0;
}

/*
 * The command.
 */

static int set(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);

static int set(const char *name, const char *format, ...)
{
    char text[1200];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no lease is taken yet */
    return setenv(name, text, 1);
}

static int tell_it(const struct each_wait *w, const struct catalog_save *s)
{
    return set("CKPT_RUN", "%s", w->run) ||
           set("CKPT_STEP", "%" PRIu64, s->id.step) ||
           set("CKPT_GENERATION", "%u", s->id.generation) ||
           set("CKPT_STATE", "%s", state_text(s)) ||
           set("CKPT_HOME", "%s", w->tool->options.home);
}

static int start(const char *command, pid_t *pid)
{
    char shell[] = "sh", option[] = "-c";
    char *copy = strdup(command);
    char *const argv[] = {shell, option, copy, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t defaults;
    int rc = copy ? 0 : ENOMEM;

    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE); /* which we ignore */
    (void)sigaddset(&defaults, SIGXFSZ);
    (void)posix_spawnattr_setsigdefault(&attr, &defaults);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO,
                                              "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&actions);
    free(copy);
    return rc;
}

/* Its end; a signal to us goes on to it, once. It is looked at time and again:
 * a signal may have come before we wait, or to the lease's thread. */
static int await_end(pid_t pid)
{
    const struct timespec nap = {0, (long)END_LOOK_MS * 1000000};
    bool is_told = false;
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (wait_signal() && !is_told) {
            (void)kill(pid, wait_signal());
            is_told = true;
        }
        (void)nanosleep(&nap, NULL);
    }
    return status;
}

static void run_command(struct each_wait *w, const struct catalog_save *s)
{
    const char *command = w->tool->options.exec;
    struct lease lease;
    pid_t pid;
    int status, rc;

    if (tell_it(w, s)) {
        (void)complain(w->tool, 0, "out of memory for the environment");
        return;
    }
    lease_take(&lease, w->tool, w->run, &s->id);
    rc = start(command, &pid);
    status = rc ? 0 : await_end(pid);
    lease_drop(&lease);
    if (rc)
        (void)complain(w->tool, 0, "%s@%" PRIu64 ": cannot run sh: %s", w->run,
                       s->id.step, err_text(rc));
    else if (WIFSIGNALED(status))
        (void)complain(w->tool, 0, "%s@%" PRIu64 ": killed by signal %d: %s",
                       w->run, s->id.step, WTERMSIG(status), command);
    else if (WEXITSTATUS(status))
        (void)complain(w->tool, 0, "%s@%" PRIu64 ": ended with %d: %s", w->run,
                       s->id.step, WEXITSTATUS(status), command);
}

/*
 * Looking.
 */

/* 0 or an exit code. */
static int take(struct each_wait *w, const struct catalog_save *s)
{
    int code = note_seen(w, &s->id);

    if (code || !w->is_begun)
        return code;
    if (w->tool->options.exec)
        run_command(w, s);
    else
        code = wait_print(w->tool, w->run, s);
    w->deadline_ms = wait_deadline(w->tool);
    return code;
}

static int look(struct each_wait *w)
{
    struct err err = {0};
    int rc = tool_catalog_again(w->tool, w->run, &w->catalog, &err);
    int code = 0;

    if (rc) {
        if (w->said.code != rc)
            (void)complain(w->tool, 0, "%s; waiting", err.text);
        w->said = err;
        w->said.code = rc;
        w->is_begun |= rc == -ENOENT; /* the run: there was nothing before */
        wait_forget(&w->catalog);
        return 0;
    }
    w->said.code = 0;
    for (size_t i = 0; !code && i < w->catalog.save_count; i++) {
        const struct catalog_save *s = &w->catalog.save[i];

        if (wait_signal())
            return EXIT_INTERRUPTED;
        if (is_there(w, s) && !is_seen(w, &s->id))
            code = take(w, s);
    }
    w->is_begun = true;
    return code;
}

int wait_each(struct tool *t, const char *run)
{
    struct each_wait w = {
        .tool = t, .run = run, .deadline_ms = wait_deadline(t)};
    int code = look(&w);

    while (code == 0) {
        wait_nap(w.deadline_ms);
        code = wait_signal() ? EXIT_INTERRUPTED : look(&w);
        if (code == 0 && now_ms() >= w.deadline_ms)
            code = complain(t, EXIT_LOCKED, "no further checkpoint in time");
    }
    catalog_free(&w.catalog);
    free(w.seen);
    return code;
}
