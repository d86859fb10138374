/*
 * scrub.c - `ckpt scrub`: read what is committed again, slowly if need be, and
 * remember what was found.
 *
 * Every stored byte of every checkpoint is read and checked against its
 * digests. Bad ones are named by file, tensor and range, and go on record
 * (damaged/), where ls, show and doctor see them and retention heeds them; a
 * checkpoint that is found good is taken off that record. What was read goes on
 * record too (scrubbed/), checkpoint by checkpoint, so that --resume goes on
 * with a pass that was cut short. A home that may not be written is scrubbed
 * all the same; then nothing is remembered, which is said.
 */
#include "tools/ckpt/check.h"
#include "tools/ckpt/each.h"
#include "tools/ckpt/lease.h"
#include "tools/ckpt/marks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct scrub {
    struct store *marks; /* the home for writing; NULL: not to be written */
    uint64_t pass;       /* when it began, in ms since 1970 */
    uint32_t passed_over;
    uint64_t bytes;
};

/* Line by line, however long the pass takes. */
static int print(struct tool *t, const char *run, const struct save_id *id,
                 const struct scrub *s, int code, const struct check_result *r)
{
    char size[32];
    bool ok = true;

    if (t->options.json)
        ok = json_line(json_pack(
            "{s:i, s:s, s:s, s:I, s:i, s:I, s:s, s:I, s:I, s:I, s:o}", "schema",
            1, "kind", "scrub", "run", run, "step", (json_int_t)id->step,
            "generation", (int)id->generation, "pass", (json_int_t)s->pass,
            "result", each_word(code), "bytes_read", (json_int_t)r->bytes,
            "corrupt", (json_int_t)r->corrupt, "missing",
            (json_int_t)r->missing, "first_failure", json_words(r->first)));
    else
        (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%" PRIu64
                     " chunks\t%s read\n",
                     run, id->step, id->generation, each_word(code), r->chunks,
                     size_text(r->bytes, size));
    return ok && fflush(stdout) == 0 ? code
                                     : complain(t, EXIT_ERROR, "cannot print");
}

/* 0, or an exit code when what was found cannot be remembered. */
static int remember(struct tool *t, const struct scrub *s, const char *run,
                    const struct save_id *id, const struct check_result *r,
                    int code)
{
    static const struct id128 none;
    bool is_damaged =
        r->corrupt || r->missing > max_u64(r->elsewhere, r->replaced);
    int rc = 0;

    if (!s->marks || (code && code != EXIT_CORRUPT && code != EXIT_PARTIAL))
        return EXIT_FINE;
    if (id_equal(&r->store, &none)) /* no local store was there to read */
        return EXIT_FINE;
    if (is_damaged)
        rc = marks_put_damaged(s->marks, run, id, &r->store, r->first);
    else
        rc = marks_drop_damaged(s->marks, run, id, &r->store);
    if (rc == 0)
        rc = marks_put_scrubbed(s->marks, run, id, s->pass);
    return rc ? complain(t, EXIT_ERROR,
                         "%s@%" PRIu64 ": what was found cannot be noted in "
                         "the home: %s",
                         run, id->step, err_text(rc))
              : EXIT_FINE;
}

/* What is REMOTE may have been let go here: that is no damage. Other stores' is
 * for others to read. */
static int without_lack(const struct catalog_save *save, int code,
                        const struct check_result *r)
{
    return code == EXIT_PARTIAL && save->is_remote &&
                   r->missing == r->replaced && r->elsewhere == 0
               ? EXIT_FINE
               : code;
}

static int check_here(struct tool *t, const char *run,
                      const struct catalog_save *save, const struct manifest *m,
                      struct check_result *result)
{
    struct check_wish wish = {.level = CHECK_STORED,
                              .rate_bytes_s = t->options.rate_bytes_s};
    struct progress progress = {.what = "scrub", .total = m->info.stored_bytes};
    int code;

    if (save->is_remote)
        wish.good = calloc(m->chunk_count + 1, sizeof *wish.good);
    if (save->is_remote && !wish.good)
        return complain(t, EXIT_ERROR, "out of memory");
    for (uint64_t i = 0; wish.good && i < m->chunk_count; i++)
        wish.good[i] = true;
    code = check_save(t, run, m, &wish, &progress, result);
    progress_end(&progress);
    free(wish.good);
    return without_lack(save, code, result);
}

static int read_save(struct tool *t, const char *run,
                     const struct catalog_save *save,
                     struct check_result *result)
{
    struct lease lease;
    struct manifest m;
    void *data = NULL;
    int code;

    lease_take(&lease, t, run, &save->id);
    code = tool_manifest(t, run, &save->id, &data, &m);
    if (code == 0)
        code = check_here(t, run, save, &m, result);
    if (code && each_is_gone(t, run, &save->id))
        code = EXIT_ABSENT;
    lease_drop(&lease);
    free(data);
    return code;
}

static int scrub_one(struct each *e, const char *run,
                     const struct catalog_save *save)
{
    struct scrub *s = e->arg;
    struct check_result result = {0};
    uint64_t of_run, of_save;
    int code, failed, rc;

    if (e->tool->options.resume) {
        rc = marks_last_pass(e->tool->home, run, &save->id, &of_run, &of_save);
        if (rc)
            return complain(e->tool, EXIT_ERROR, "runs/%s/scrubbed: %s", run,
                            err_text(rc));
        if (of_save == s->pass) {
            s->passed_over++;
            return save->is_damaged ? EXIT_CORRUPT : EXIT_FINE;
        }
    }
    code = read_save(e->tool, run, save, &result);
    s->bytes += result.bytes;
    failed = remember(e->tool, s, run, &save->id, &result, code);
    code = print(e->tool, run, &save->id, s, code, &result);
    return failed ? failed : code;
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
    int code = tool_open_home(t, false);

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
        (void)fprintf(stderr, "%u of %u were read by this pass before\n",
                      s.passed_over, each.count);
    store_close(s.marks);
    return code;
}
