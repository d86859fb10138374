/*
 * planted.c - each safeguard is left out in turn, and that must be noticed.
 *
 * The objects that ask common/plant.h are built once more for this program, so
 * that is_left_out() below can say yes (part.mk). For each safeguard a child
 * explores recordings of a scenario (explore.h), or plays a scene (directed.h),
 * until something fails. The table says what that was, and after how many
 * states or scenes. Before that, with nothing left out, every scene must hold.
 *
 * Usage: planted [NAME]
 *
 * Exits 1 when an absence was not noticed, or a scene fails without any.
 */
#include "tests/crash/directed.h"
#include "tests/crash/explore.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATES_MAX 200000 /* of one safeguard */
#define SCENES_MAX 64

bool is_left_out(const char *safeguard);

struct safeguard {
    const char *name;
    const char *by;   /* a scenario or a scene */
    const char *also; /* left out as well: it notices the same */
    uint32_t from;    /* the recording to begin with: it was quick once */
};

static const struct safeguard safeguards[] = {
    /* storage/ */
    {"sync of a record", "save", NULL, 1},
    {"sync of a new name", "save", NULL, 1},
    {"sync of another's name", "names", NULL, 1},
    {"sync of a new folder", "save", NULL, 1},
    {"sync of the store's folder", "save", NULL, 1},
    {"sync of a removal", "names", NULL, 1},
    {"sync of a new segment", "segments", NULL, 1},
    {"sync of a segment", "save", NULL, 1},
    {"full sync after a trim", "segments", NULL, 1},
    {"sync of a name that was there", "adopted", NULL, 1},
    {"exclusive creation", "names", NULL, 1},
    {"count of links", "lost-answer", NULL, 1},
    {"look whose a name is", "lost-answer-nfs", NULL, 1},
    {"lock", "killed", NULL, 17},
    {"look for a name under the lock", "removed", NULL, 1},
    {"poison after a failed sync", "failed-sync", NULL, 1},
    {"memory of a failed sync", "failed-sync-reopened", NULL, 1},
    {"one sync at a time", "syncs-at-once", NULL, 1},
    {"rest of a short write", "save-short", NULL, 1},
    /* The segments of a save. */
    {"sync of a header", "header-first", NULL, 1},
    {"failure of a header's sync", "failing", "poison after a failed sync", 7},
    {"failure of a segment's sync", "failing", NULL, 11},
    {"failure of a folder's sync", "failed-folder", NULL, 1},
    {"one sync of a folder at a time", "failed-folder", NULL, 1},
    {"doubt after a failed folder sync", "retention-failing", NULL, 1},
    {"sync of a name anew", "failed-name", NULL, 1},
    {"new names for what is in doubt", "failed-for-all", NULL, 1},
    {"folders made anew", "failed-name", NULL, 1},
    {"no word of what is gone", "failed-removal", NULL, 1},
    {"undoing what may not last", "failed-segment", NULL, 1},
    {"failure of a write", "failing", "poison after a failed sync", 6},
    {"references of a commit", "compaction", NULL, 1},
    {"decoding what was encoded", "bad-codec", NULL, 1},
    {"incarnation", "other-incarnation", NULL, 1},
    {"look for the segments of a vote", "lost", NULL, 1},
    {"voted segments until the decision", "voted", NULL, 1},
    /* The remote tier. */
    {"sync of a remote file", "drain", NULL, 1},
    {"sync of a remote file that was there", "drain-killed", NULL, 8},
    {"check of what was read back", "drain-killed", NULL, 6},
    {"shares of other daemons", "drain-two", NULL, 1},
    {"release of what is remote only", "drain-local", NULL, 1},
    {"hold of the last remote one", "drain-some", NULL, 5},
    /* One of each. */
    {"lock of the local store", "two-daemons", NULL, 1},
    {"owner of a folder", "owner", NULL, 1},
    {"folder closed to others", "closed-to-others", NULL, 1},
    {"owner of a segment", "segment-owner", NULL, 1},
    {"one name of a segment", "second-name", NULL, 1},
    {"one process for a rank", "second-process", NULL, 1},
    {"token of its own", "old-token", NULL, 1},
    /* One decision. */
    {"look for a closed generation", "closed", NULL, 1},
    {"decisions before a new generation", "unresolved", NULL, 1},
    {"votes of all members", "save-two", "check of coverage", 1},
    {"manifest before its decision", "parts", NULL, 1},
    {"check of coverage", "hole", NULL, 1},
    {"answer that others have decided", "decided", NULL, 1},
    {"confirmation of a decision", "foreign", NULL, 4},
    {"tomb of what is undecided", "removed-unseen", NULL, 1},
    {"tomb over an abort", "removed-late", NULL, 1},
    {"word of all ranks", "one-bad-word", NULL, 1},
    /* Digests. */
    {"digest of a chunk", "rot", NULL, 1},
    {"digest of what was decoded", "rot-packed", "digest of a chunk", 1},
    {"digest of what is in memory", "memory", NULL, 1},
    {"digest of a record", "record", NULL, 1},
    {"digests of a manifest", "manifest", "digest of a record", 1},
    /* Repair. */
    {"sync of a repaired segment", "repair", NULL, 1},
    {"sync of a repaired segment's name", "repair", NULL, 1},
    /* Retention. */
    {"reading back", "read-back", NULL, 1},
    {"stop at the unreadable", "unreadable", NULL, 1},
    {"hold while one is unreadable", "held", NULL, 1},
    {"pin", "pin", NULL, 1},
    {"lease", "lease", NULL, 1},
    {"hold of a parent", "parent", NULL, 1},
    {"hold of a load", "reading", NULL, 1},
    {"hold of a base", "base", NULL, 1},
    {"hold behind the damaged", "damaged-newest", NULL, 1},
    {"damaged ones stand for nothing", "damaged", NULL, 1},
    {"lost ones stand for nothing", "lost-one", NULL, 1},
    {"tomb over a decision", "buried", NULL, 1},
    {"tomb behind a manifest", "buried-unseen", NULL, 1},
    {"tomb before reuse", "slow-tomb", NULL, 1},
    {"tombs of an earlier life", "killed", NULL, 42},
    {"tomb of others made durable", "gc", NULL, 1},
};

static const struct safeguard *left_out; /* NULL: nothing */
static bool was_asked;

static bool is_in_table(const char *safeguard)
{
    for (size_t i = 0; i < ARRAY_LEN(safeguards); i++)
        if (strcmp(safeguards[i].name, safeguard) == 0)
            return true;
    return false;
}

bool is_left_out(const char *safeguard)
{
    assert(is_in_table(safeguard));
    if (!left_out)
        return false;
    if (strcmp(left_out->name, safeguard) == 0)
        was_asked = true;
    else if (!left_out->also || strcmp(left_out->also, safeguard) != 0)
        return false;
    return true;
}

/*
 * In a child.
 */

/* A few states of each recording, then all of each. */
static void explore_until(const struct safeguard *by, const struct scenario *s,
                          struct progress *g)
{
    for (uint32_t part = 16; part >= 1; part -= 15) {
        for (uint32_t i = 0; i < s->seeds && g->states < STATES_MAX; i++) {
            struct exploring e = {.progress = g, .part = part, .stops = true};

            if (!explore(s, (by->from - 1 + i) % s->seeds + 1, &e))
                return;
        }
        if (part == 1)
            return;
    }
}

static void play_until(const struct scene *s, struct progress *g)
{
    for (uint64_t seed = 1; seed <= SCENES_MAX && !g->violations; seed++) {
        (void)snprintf(g->name, sizeof g->name, "%s/%" PRIu64, s->name, seed);
        g->states++;
        if (!s->run(seed, g->why))
            g->violations++;
    }
}

static void child(const struct safeguard *s, struct progress *g, int error_fd)
{
    const struct scenario *scenario = scenario_by_name(s->by, strlen(s->by));
    const struct scene *scene = scene_by_name(s->by);

    (void)dup2(error_fd, STDERR_FILENO);
    left_out = s;
    if (scenario)
        explore_until(s, scenario, g);
    else if (scene)
        play_until(scene, g);
    if (!was_asked)
        (void)snprintf(g->why, sizeof g->why, "nobody asks for it");
    _exit(was_asked ? 0 : 1);
}

/*
 * The table.
 */

/* An assertion of the engine is as good as a failed check. */
static void died_by(struct progress *g, int status, int error_fd)
{
    char text[512] = "";
    ssize_t got = pread(error_fd, text, sizeof text - 1, 0);

    if (got > 0)
        text[strcspn(text, "\n")] = '\0';
    g->violations++;
    (void)snprintf(g->why, sizeof g->why, "%s (status 0x%x)", text,
                   (unsigned)status);
}

static bool is_noticed(const struct safeguard *s, struct progress *g)
{
    int error_fd = memfd_create("errors", MFD_CLOEXEC), status;
    pid_t pid, ended;

    assert(error_fd >= 0);
    memset(g, 0, sizeof *g);
    (void)fflush(stdout);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0)
        child(s, g, error_fd);
    ended = waitpid(pid, &status, 0);
    assert(ended == pid);
    if (WIFSIGNALED(status))
        died_by(g, status, error_fd);
    (void)close(error_fd);
    return g->violations > 0 &&
           !(WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

static void tell(const struct safeguard *s, const struct progress *g,
                 bool noticed)
{
    (void)printf("%-6s %-38s %6" PRIu64 "  %s: %.140s\n",
                 noticed ? "ok" : "MISSED", s->name, g->states, g->name,
                 g->why);
}

static uint32_t all_scenes(void)
{
    uint32_t failed = 0;
    char why[WHY_BYTES] = "";

    for (uint32_t i = 0; i < scene_count; i++) {
        for (uint64_t seed = 1; seed <= SCENES_MAX / 8; seed++) {
            if (scenes[i].run(seed, why))
                continue;
            (void)printf("FAIL   %s/%" PRIu64 ": %s\n", scenes[i].name, seed,
                         why);
            failed++;
            break;
        }
    }
    (void)printf("%" PRIu32 " scenes with nothing left out: %" PRIu32
                 " failed\n",
                 scene_count, failed);
    return failed;
}

int main(int argc, char **argv)
{
    struct progress *g = mmap(NULL, sizeof *g, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t tried = 0, missed = 0, failed = all_scenes();

    assert(g != MAP_FAILED);
    (void)printf(
        "       safeguard that is left out              after  noticed "
        "by\n");
    for (size_t i = 0; i < ARRAY_LEN(safeguards); i++) {
        bool noticed;

        if (argc > 1 && strcmp(argv[1], safeguards[i].name) != 0)
            continue;
        noticed = is_noticed(&safeguards[i], g);
        tell(&safeguards[i], g, noticed);
        tried++;
        missed += !noticed;
    }
    (void)printf("%" PRIu32 " safeguards left out in turn, %" PRIu32
                 " not noticed\n",
                 tried, missed);
    return missed > 0 || failed > 0 || tried == 0;
}
