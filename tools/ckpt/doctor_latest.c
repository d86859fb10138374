/*
 * doctor_latest.c - is what the next trainer will load really there?
 *
 * Each chunk in any tier will do, as it does for a load.
 */
#include "tools/ckpt/check.h"
#include "tools/ckpt/doctor.h"
#include "tools/ckpt/remote.h"
#include "tools/ckpt/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* By enum check_tier: what was found there. */
struct found_there {
    int code;
    struct check_result result;
};

static const char *latest_fix(int code)
{
    switch (code) {
    case EXIT_PARTIAL:
        return "give the local store that it was saved to (--local, "
               "CKPT_LOCAL), or put its folder back from a copy; else a load "
               "falls back to an older checkpoint";
    case EXIT_ERROR:
        return "run as the user that trains, or let this one read there "
               "(chmod u+rX, a+rX)";
    default:
        return "a load falls back to an older checkpoint: ckpt verify says "
               "which are good";
    }
}

/* The remote tier first: what is good there may be missing here. EXIT_FINE if
 * every chunk is there somewhere, else what the local store says. */
static int look(struct doctor *d, const char *run, const struct manifest *m,
                const struct remote_shares *remote, bool is_marked,
                struct found_there *there)
{
    bool *good = calloc(m->chunk_count + 1, sizeof *good);
    struct check_wish wish = {
        .level = CHECK_QUICK, .may_lack = is_marked, .good = good};
    bool is_good;

    if (!good)
        return complain(d->tool, EXIT_ERROR, "out of memory");
    for (int tier = CHECK_REMOTE; tier >= CHECK_NVME; tier--) {
        struct progress progress = {.what = "check", .is_quiet = true};

        if (tier == CHECK_REMOTE && !remote->present && !is_marked)
            continue;
        wish.tier = (enum check_tier)tier;
        wish.remote = remote;
        there[tier].code =
            check_save(d->tool, run, m, &wish, &progress, &there[tier].result);
    }
    is_good = check_is_all_good(good, m->chunk_count);
    free(good);
    return is_good ? EXIT_FINE : there[CHECK_NVME].code;
}

static int check_tiers(struct doctor *d, const char *run,
                       const struct manifest *m, bool is_marked,
                       struct found_there *there)
{
    struct remote_shares remote;
    int code = remote_shares_get(d->tool, run, m, &remote);

    if (code == 0)
        code = look(d, run, m, &remote, is_marked, there);
    remote_shares_free(&remote);
    return code;
}

void check_latest(struct doctor *d, const struct catalog *c)
{
    struct save_id latest = catalog_latest(c);
    struct found_there there[2] = {0};
    const char *first = there[CHECK_NVME].result.first;
    struct manifest m;
    void *data = NULL;
    char seen[1400], unread[512], fix[1600];
    int code;

    if (latest.generation == 0)
        return;
    code = tool_manifest(d->tool, c->run, &latest, &data, &m);
    if (code) {
        (void)snprintf(unread, sizeof unread,
                       "%s@%" PRIu64 ": its manifest cannot be read", c->run,
                       latest.step);
        first = unread;
    } else {
        code = check_tiers(d, c->run, &m,
                           catalog_find(c, &latest)->is_marked_remote, there);
    }
    free(data);
    if (code) {
        (void)snprintf(seen, sizeof seen,
                       "newest checkpoint (generation %u) %s",
                       latest.generation, first);
        found(d, "latest", FINDING_FAIL, seen, latest_fix(code));
    } else if (there[CHECK_REMOTE].code) {
        (void)snprintf(seen, sizeof seen,
                       "newest checkpoint (generation %u) in the remote tier: "
                       "%s",
                       latest.generation, there[CHECK_REMOTE].result.first);
        found(d, "latest", FINDING_WARN, seen,
              mend_text(d->tool, c->run, &latest, fix, sizeof fix));
    }
}
