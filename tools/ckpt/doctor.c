/*
 * doctor.c - `ckpt doctor`: is everything in place, and if not, what to do.
 *
 * Each check prints one line: what was looked at, ok / warn / FAIL, what was
 * seen, and for all but ok the fix. Exit 1 when a check failed.
 */
#include "common/text.h"
#include "formats/record.h"
#include "tools/ckpt/doctor.h"
#include "tools/ckpt/marks.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/state.h"
#include "tools/ckpt/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

void found(struct doctor *d, const char *what, enum finding finding,
           const char *seen, const char *fix)
{
    static const char *const word[] = {"ok", "warn", "FAIL"};

    d->has_failed = d->has_failed || finding == FINDING_FAIL;
    if (d->tool->options.json) {
        if (!json_line(json_pack("{s:i, s:s, s:s, s:o, s:s}", "schema", 1,
                                 "check", what, "result", word[finding], "seen",
                                 json_words(seen), "fix", fix)))
            d->has_failed = true;
        return;
    }
    out_words("%-12s %-4s  %s", what, word[finding], seen);
    (void)putchar('\n');
    if (finding != FINDING_OK)
        (void)printf("%-18s fix: %s\n", "", fix);
}

static void check_space(struct doctor *d, const char *what, const char *path,
                        const char *fix)
{
    struct statvfs vfs;
    char seen[1200], size[32];
    uint64_t left;

    if (statvfs(path, &vfs) < 0)
        return; /* the check before has said why */
    left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    (void)snprintf(seen, sizeof seen, "%s: %s free", path,
                   size_text(left, size));
    found(d, what, left < ((uint64_t)1 << 30) ? FINDING_WARN : FINDING_OK, seen,
          fix);
}

static const char *home_fix(int rc)
{
    switch (-rc) {
    case EROFS:
        return "mount it writable, or name another home to train with (ls, "
               "show and verify need read access only)";
    case EACCES:
    case EPERM:
        return "let the user that trains write there (chown, chmod), or name "
               "another home";
    case ENOENT:
        return "create the directory as the user that trains, or name another";
    default:
        return "name a directory that the user that trains can write";
    }
}

/* The last part of the local store's path if it lies straight in the home, as
 * HOME/local does; else "". */
static const char *local_name(const struct doctor *d, const char *home,
                              char local[1024])
{
    char above[PATH_MAX], root[PATH_MAX];
    char *slash;

    (void)tool_local_path(d->tool, local, 1024);
    slash = strrchr(local, '/');
    if (!slash || !slash[1] || !realpath(home, root))
        return "";
    *slash = '\0';
    return realpath(local[0] ? local : "/", above) && strcmp(above, root) == 0
               ? slash + 1
               : "";
}

static size_t names_in(struct store *s, const char *folder, const char *local)
{
    struct store_req list = {.op = STORE_LIST, .name = folder};
    size_t count = 0;

    if (store_run(s, &list) >= 0)
        for (size_t i = 0; i < list.names.count; i++)
            count += strcmp(list.names.name[i], "local") != 0 &&
                     strcmp(list.names.name[i], local) != 0 &&
                     strcmp(list.names.name[i], "lost+found") != 0;
    store_names_free(&list.names);
    return count;
}

void check_identity(struct doctor *d, struct store *s, const char *path)
{
    struct record_store record;
    struct err err;
    int rc = tool_identity(s, &record, &err);
    char seen[1400], local[1024];

    if (rc == 0)
        return;
    if (rc == -ENOENT && names_in(s, "runs", "") == 0) {
        (void)snprintf(seen, sizeof seen,
                       "%s is no home yet, and is not empty either", path);
        if (names_in(s, "", local_name(d, path, local)))
            found(d, "home", FINDING_FAIL, seen,
                  "check the name: a home is an empty directory at first, and "
                  "a trainer is refused here");
        return;
    }
    if (rc == -ENOENT)
        (void)err_set(&err, rc, "is gone, but there are runs");
    else
        (void)err_prefix(&err, exit_code_of(rc) == EXIT_CORRUPT
                                   ? "is damaged"
                                   : "cannot be read");
    (void)snprintf(seen, sizeof seen, "%s: its STORE record %s", path,
                   err.text);
    found(d, "home", FINDING_FAIL, seen,
          "put STORE back from a backup of this home; do not let a trainer "
          "use it before");
}

/* Looked at before it is opened for writing, which leaves a mark. */
static void check_home(struct doctor *d)
{
    const char *path = d->tool->options.home;
    struct store *s;
    struct err err;
    char seen[1200];
    int rc;

    if (!path || !*path) {
        found(d, "home", FINDING_FAIL, "no home given",
              "use --home DIR or set CKPT_HOME");
        return;
    }
    if (text_home_is_rados(path)) {
        check_ceph(d);
        return;
    }
    rc = store_home_open(path, 0, STORE_ENGINE_AUTO, &s, &err);
    if (rc) {
        found(d, "home", FINDING_FAIL, err.text, home_fix(rc));
        return;
    }
    d->is_open = true;
    check_identity(d, s, path);
    store_close(s);
    rc = store_home_open(path, STORE_OPEN_WRITE, STORE_ENGINE_AUTO, &s, &err);
    if (rc) {
        found(d, "home", FINDING_FAIL, err.text, home_fix(rc));
        return;
    }
    store_describe(s, seen, sizeof seen);
    found(d, "home", FINDING_OK, seen, "");
    store_close(s);
    check_space(d, "home space", path,
                "give it room for what keep-last keeps in the remote tier and "
                "2 checkpoints, or make some (ckpt gc)");
}

static void check_local(struct doctor *d)
{
    char path[1024], seen[1200];
    struct store *s;
    struct err err;

    if (!tool_local_path(d->tool, path, sizeof path)) {
        found(d, "local store", FINDING_WARN, NO_LOCAL,
              "a trainer is refused without one, as segments cannot lie in "
              "RADOS: set CKPT_LOCAL to a folder on a local drive");
        return;
    }
    if (access(path, F_OK) < 0) {
        (void)snprintf(seen, sizeof seen, "%s is not there yet", path);
        found(d, "local store", FINDING_OK, seen, "");
        return;
    }
    if (store_file_open(path, STORE_OPEN_WRITE | STORE_OPEN_LOCAL,
                        STORE_ENGINE_AUTO, &s, &err)) {
        found(d, "local store", FINDING_FAIL, err.text,
              "name a directory of your own on a local drive (CKPT_LOCAL)");
        return;
    }
    store_describe(s, seen, sizeof seen);
    found(d, "local store", FINDING_OK, seen, "");
    store_close(s);
    check_space(d, "local space", path,
                "give it room for keep-last + 2 checkpoints, or move it "
                "(CKPT_LOCAL)");
}

/* io_uring: refused by sysctl, by seccomp, or there. */
static void check_uring(struct doctor *d)
{
    FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    struct store *s = NULL;
    struct err err;
    int disabled = 0;
    char path[1024];

    if (f && fscanf(f, "%d", &disabled) != 1)
        disabled = 0;
    if (f)
        (void)fclose(f);
    if (!tool_local_path(d->tool, path, sizeof path))
        (void)snprintf(path, sizeof path, "/");
    if (disabled) {
        found(d, "io_uring", FINDING_WARN,
              "switched off by sysctl kernel.io_uring_disabled",
              "sysctl kernel.io_uring_disabled=0; until then threads do the "
              "I/O, slower");
        return;
    }
    if (access(path, F_OK) < 0)
        (void)snprintf(path, sizeof path, "/");
    if (store_file_open(path, 0, STORE_ENGINE_URING, &s, &err)) {
        found(d, "io_uring", FINDING_WARN, err.text,
              "most often a container's seccomp profile: allow "
              "io_uring_setup, io_uring_enter and io_uring_register; until "
              "then threads do the I/O, slower");
        return;
    }
    store_close(s);
    found(d, "io_uring", FINDING_OK, "works", "");
}

static void check_memlock(struct doctor *d)
{
    struct rlimit limit;
    char seen[128], size[32];

    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY || geteuid() == 0) {
        found(d, "memlock", FINDING_OK, "arenas can be registered", "");
        return;
    }
    (void)snprintf(seen, sizeof seen, "at most %s may be locked",
                   size_text(limit.rlim_max, size));
    found(d, "memlock",
          limit.rlim_max < ((uint64_t)1 << 30) ? FINDING_WARN : FINDING_OK,
          seen,
          "raise it (ulimit -l, LimitMEMLOCK=) to the arenas' size; until "
          "then I/O goes on unregistered, a little slower");
}

/* What scrubs have put on record. */
static void check_damage(struct doctor *d, const char *run,
                         const struct catalog_save *s)
{
    char damage[1024], seen[1400], fix[1600];

    if (s->is_damaged) {
        marks_damage_words(d->tool->home, CHECK_NVME, run, &s->id, damage,
                           sizeof damage);
        (void)snprintf(seen, sizeof seen, "a scrub found: %s", damage);
        found(d, "damaged", FINDING_FAIL, seen,
              "ckpt verify --repair, while no daemon serves the store; else a "
              "load falls back to an older checkpoint");
    }
    if (s->is_remote_damaged) {
        marks_damage_words(d->tool->home, CHECK_REMOTE, run, &s->id, damage,
                           sizeof damage);
        (void)snprintf(seen, sizeof seen, "a scrub found, remote: %s", damage);
        found(d, "damaged", FINDING_FAIL, seen,
              mend_text(d->tool, run, &s->id, fix, sizeof fix));
    }
}

static void check_run(struct doctor *d, const char *run)
{
    struct catalog c;
    char seen[1400];
    size_t committed = 0;

    if (tool_catalog(d->tool, run, &c)) {
        (void)snprintf(seen, sizeof seen, "run %s cannot be read", run);
        found(d, "run", FINDING_FAIL, seen, "see the message above");
        catalog_free(&c);
        return;
    }
    for (size_t i = 0; i < c.save_count; i++) {
        committed += c.save[i].status == SAVE_COMMITTED;
        if (c.save[i].status != SAVE_UNREADABLE)
            continue;
        (void)snprintf(seen, sizeof seen, "%s@%" PRIu64 ": %s", run,
                       c.save[i].id.step, catalog_reason(&c.save[i]));
        found(d, "run", FINDING_FAIL, seen,
              "its record is damaged: older checkpoints still load; nothing "
              "is collected until it is removed by hand");
    }
    for (size_t i = 0; i < c.save_count; i++)
        if (c.save[i].status == SAVE_COMMITTED)
            check_damage(d, run, &c.save[i]);
    if (c.bad_load.code)
        found(d, "run", FINDING_WARN, c.bad_load.text,
              "what came of that load does not count any more; move the file "
              "away");
    if (c.bad_lease.code)
        found(d, "run", FINDING_WARN, c.bad_lease.text,
              "nothing is collected while it is there: move it away when no "
              "load or ckpt verify is under way");
    (void)snprintf(seen, sizeof seen, "%s: %zu checkpoints", run, committed);
    found(d, "run", FINDING_OK, seen, "");
    check_latest(d, &c);
    check_remote(d, &c);
    check_mark(d, &c);
    catalog_free(&c);
}

static void check_runs(struct doctor *d)
{
    struct store_names runs = {0};

    if (tool_open_home(d->tool, false) || tool_runs(d->tool, &runs))
        found(d, "runs", FINDING_FAIL, "the home's runs cannot be listed",
              "see the message above; run as the user that trains, or let "
              "this one read there (chmod u+rX, a+rX)");
    for (size_t i = 0; i < runs.count; i++)
        check_run(d, runs.name[i]);
    store_names_free(&runs);
}

int verb_doctor(struct tool *t)
{
    struct doctor d = {.tool = t};

    check_home(&d);
    if (!d.is_open && d.has_failed)
        return EXIT_ERROR;
    check_local(&d);
    check_segments(&d);
    check_uring(&d);
    check_memlock(&d);
    check_daemon(&d);
    if (d.is_open)
        check_runs(&d);
    return d.has_failed ? EXIT_ERROR : EXIT_FINE;
}
