/*
 * scrub.c - `ckpt scrub`: read what is committed again, slowly if need be, and
 * remember what was found.
 *
 * Every stored byte of every checkpoint, in the local store here and in the
 * remote tier, is read and checked against its digests. Bad ones are named by
 * file, tensor and range, and go on record (damaged/, damaged_remote/), where
 * ls, show and doctor see them and retention heeds them; a checkpoint that is
 * found good is taken off that record. What was read goes on
 * record too (scrubbed/), checkpoint by checkpoint, so that --resume goes on
 * with a pass that was cut short. A home that may not be written is scrubbed
 * all the same; then nothing is remembered, which is said.
 */
#include "tools/ckpt/check.h"
#include "tools/ckpt/each.h"
#include "tools/ckpt/lease.h"
#include "tools/ckpt/marks.h"
#include "tools/ckpt/remote.h"
#include "tools/ckpt/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct scrub {
    struct store *marks; /* the home for writing; NULL: not to be written */
    uint64_t pass;       /* when it began, in ms since 1970 */
    uint32_t passed_over, not_remote;
    uint64_t bytes;
};

/* One checkpoint. */
struct reading {
    struct tool *tool;
    const struct scrub *scrub;
    const char *run;
    const struct catalog_save *save;
    struct manifest m;
    struct remote_shares remote;
    struct check_finding *found; /* of each of those */
    bool *good;                  /* per chunk: some copy is */
    uint64_t bytes;
    bool is_told; /* there is a line */
    int failed;   /* what was found cannot be told, or remembered */
};

/* Line by line, however long the pass takes. */
static void print(struct reading *r, enum check_tier tier, int code,
                  const struct check_result *result)
{
    const char *words[] = {[CHECK_NVME] = "nvme", [CHECK_REMOTE] = "remote"};
    const struct save_id *id = &r->save->id;
    char size[32];
    bool ok = true;

    if (r->tool->options.json)
        ok = json_line(json_pack(
            "{s:i, s:s, s:s, s:I, s:i, s:I, s:s, s:s, s:I, s:I, s:I, s:o}",
            "schema", 1, "kind", "scrub", "run", r->run, "step",
            (json_int_t)id->step, "generation", (int)id->generation, "pass",
            (json_int_t)r->scrub->pass, "tier", words[tier], "result",
            each_word(code), "bytes_read", (json_int_t)result->bytes, "corrupt",
            (json_int_t)result->corrupt, "missing", (json_int_t)result->missing,
            "first_failure", json_words(result->first)));
    else
        (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%" PRIu64
                     " chunks\t%s read\t%s\n",
                     r->run, id->step, id->generation, each_word(code),
                     result->chunks, size_text(result->bytes, size),
                     words[tier]);
    r->is_told = true;
    if (!ok || fflush(stdout) != 0)
        r->failed = complain(r->tool, EXIT_ERROR, "cannot print");
}

/* Whether that could be noted says nothing of the bytes. */
static void remembered(struct reading *r, int rc, const char *what)
{
    if (rc)
        r->failed = complain(r->tool, EXIT_ERROR,
                             "%s@%" PRIu64 ": %s, which cannot be noted in the "
                             "home: %s",
                             r->run, r->save->id.step, what, err_text(rc));
}

static void remember(struct reading *r, enum check_tier tier,
                     const struct id128 *of, bool is_damaged, const char *words)
{
    struct store *marks = r->scrub->marks;
    const struct save_id *id = &r->save->id;

    if (marks && is_damaged)
        remembered(r, marks_put_damaged(marks, tier, r->run, id, of, words),
                   "bad bytes were found");
    else if (marks)
        remembered(r, marks_drop_damaged(marks, tier, r->run, id, of),
                   "what was read is good");
}

/* Has it been looked at, whatever was found? */
static bool is_known(int code)
{
    return code == EXIT_FINE || code == EXIT_CORRUPT || code == EXIT_PARTIAL;
}

static int check_tier(struct reading *r, const struct check_wish *wish,
                      struct check_result *result)
{
    struct progress progress = {
        .what = wish->tier == CHECK_NVME ? "scrub" : "scrub remote",
        .total = r->m.info.stored_bytes};
    int code = check_save(r->tool, r->run, &r->m, wish, &progress, result);

    progress_end(&progress);
    r->bytes += result->bytes;
    return code && each_is_gone(r->tool, r->run, &r->save->id) ? EXIT_ABSENT
                                                               : code;
}

static int check_remote(struct reading *r)
{
    struct check_wish wish = {.level = CHECK_STORED,
                              .tier = CHECK_REMOTE,
                              .remote = &r->remote,
                              .found = r->found,
                              .rate_bytes_s = r->tool->options.rate_bytes_s,
                              .good = r->good};
    struct check_result result = {0};
    int code = check_tier(r, &wish, &result);

    for (uint32_t i = 0; is_known(code) && i < r->remote.count; i++)
        if (r->found[i].bad || !r->found[i].unread)
            remember(r, CHECK_REMOTE, &r->remote.share[i].daemon,
                     r->found[i].bad > 0, r->found[i].first);
    print(r, CHECK_REMOTE, code, &result);
    if (code == EXIT_CORRUPT || code == EXIT_PARTIAL)
        mend_say(r->tool, r->run, &r->save->id, true);
    return check_without_lack(code, &result, r->good, r->m.chunk_count);
}

/* What is REMOTE may have been let go here: that is no damage of this store.
 * Other stores' is for others to read. */
static int check_local(struct reading *r)
{
    static const struct id128 none;
    struct check_wish wish = {.level = CHECK_STORED,
                              .rate_bytes_s = r->tool->options.rate_bytes_s,
                              .may_lack = r->save->is_marked_remote,
                              .good = r->good};
    struct check_result result = {0};
    int code = check_tier(r, &wish, &result);
    bool is_lacking = !wish.may_lack && result.missing > result.elsewhere;

    if (is_known(code) && !result.unread && !id_equal(&result.store, &none))
        remember(r, CHECK_NVME, &result.store, result.corrupt || is_lacking,
                 result.first);
    code = check_without_lack(code, &result, r->good, r->m.chunk_count);
    if (code || result.elsewhere < r->m.chunk_count || !r->is_told)
        print(r, CHECK_NVME, code, &result);
    if (code == EXIT_CORRUPT)
        mend_say(r->tool, r->run, &r->save->id, false);
    return code;
}

static int check_tiers(struct reading *r)
{
    enum tier_option tier = r->tool->options.tier;
    bool is_remote = r->save->is_marked_remote;
    int code = EXIT_FINE;

    if (is_remote && tier != TIER_NVME)
        code = check_remote(r);
    else
        memset(r->good, catalog_is_remote(r->save), r->m.chunk_count);
    return tier == TIER_REMOTE ? code : each_worse(code, check_local(r));
}

static int read_save(struct reading *r)
{
    struct lease lease;
    void *data = NULL;
    int code;

    lease_take(&lease, r->tool, r->run, &r->save->id);
    code = tool_manifest(r->tool, r->run, &r->save->id, &data, &r->m);
    if (code == 0)
        code = remote_shares_get(r->tool, r->run, &r->m, &r->remote);
    if (code == 0) {
        r->good = calloc(r->m.chunk_count + 1, sizeof *r->good);
        r->found = calloc(r->remote.count + 1, sizeof *r->found);
        code = r->good && r->found
                   ? check_tiers(r)
                   : complain(r->tool, EXIT_ERROR, "out of memory");
    }
    if (code && each_is_gone(r->tool, r->run, &r->save->id))
        code = EXIT_ABSENT;
    lease_drop(&lease);
    if (r->scrub->marks && is_known(code) && r->tool->options.tier == TIER_ALL)
        remembered(r,
                   marks_put_scrubbed(r->scrub->marks, r->run, &r->save->id,
                                      r->scrub->pass),
                   code ? "it was read" : "it was read and is good");
    remote_shares_free(&r->remote);
    free(r->found);
    free(r->good);
    free(data);
    return each_worse(code, r->failed);
}

static int scrub_one(struct each *e, const char *run,
                     const struct catalog_save *save)
{
    struct scrub *s = e->arg;
    struct reading reading = {
        .tool = e->tool, .scrub = s, .run = run, .save = save};
    uint64_t of_run, of_save;
    int code, rc;

    if (e->tool->options.resume) {
        rc = marks_last_pass(e->tool->home, run, &save->id, &of_run, &of_save);
        if (rc)
            return complain(e->tool, EXIT_ERROR, "runs/%s/scrubbed: %s", run,
                            err_text(rc));
        if (of_save == s->pass) {
            s->passed_over++;
            return save->is_damaged || save->is_remote_damaged ? EXIT_CORRUPT
                                                               : EXIT_FINE;
        }
    }
    if (e->tool->options.tier == TIER_REMOTE && !save->is_marked_remote) {
        s->not_remote++;
        return EXIT_FINE;
    }
    code = read_save(&reading);
    s->bytes += reading.bytes;
    return code;
}

/* The pass to go on with: the last that any run has on record. */
static int find_pass(struct tool *t, uint64_t *pass)
{
    struct store_names runs;
    int code = tool_runs(t, &runs);

    *pass = 0;
    for (size_t i = 0; !code && i < runs.count; i++) {
        uint64_t of_run, of_save;
        int rc =
            marks_last_pass(t->home, runs.name[i], NULL, &of_run, &of_save);

        if (rc)
            code = complain(t, EXIT_ERROR, "runs/%s/scrubbed: %s", runs.name[i],
                            err_text(rc));
        *pass = max_u64(*pass, of_run);
    }
    store_names_free(&runs);
    return code;
}

static uint64_t unix_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int verb_scrub(struct tool *t)
{
    struct scrub s = {0};
    struct each each = {.tool = t, .one = scrub_one, .arg = &s};
    struct err err = {0};
    int code;

    if (t->options.resume && t->options.tier != TIER_ALL)
        return complain(t, EXIT_USAGE,
                        "--resume goes on with a pass over every tier: without "
                        "--tier");
    code = tool_open_home(t, false);
    if (code == 0 && t->options.resume)
        code = find_pass(t, &s.pass);
    if (code)
        return code;
    if (s.pass == 0)
        s.pass = unix_ms();
    if (marks_open(t, &s.marks, &err))
        (void)complain(t, 0, "what is found will not be remembered: %s",
                       err.text);
    code = each_save(&each);
    if (s.passed_over)
        (void)fprintf(stderr, "%u of %u were read by this pass before%s\n",
                      s.passed_over, each.count,
                      s.passed_over == each.count
                          ? ": it is complete, ckpt scrub begins another"
                          : "");
    if (s.not_remote)
        (void)fprintf(stderr, "%u of %u are not in the remote tier\n",
                      s.not_remote, each.count);
    store_close(s.marks);
    return code;
}
