/*
 * verify.c - `ckpt verify`: read checkpoints back and check every digest.
 *
 * With --repair, what was found bad is then healed from healthy copies
 * (repair.h) and checked once more.
 *
 * While it reads, a lease in the home keeps retention away from the save, if
 * the home may be written; otherwise a save that vanishes meanwhile is said to
 * have been removed.
 */
#include "tools/ckpt/check.h"
#include "tools/ckpt/each.h"
#include "tools/ckpt/lease.h"
#include "tools/ckpt/marks.h"
#include "tools/ckpt/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum check_level level_of(const struct tool *t)
{
    if (t->options.quick)
        return CHECK_QUICK;
    return t->options.deep ? CHECK_DEEP : CHECK_STORED;
}

static bool print_json(const char *run, const struct save_id *id, int code,
                       const struct check_result *r)
{
    return json_line(json_pack(
        "{s:i, s:s, s:I, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "schema", 1,
        "run", run, "step", (json_int_t)id->step, "generation",
        (int)id->generation, "result", each_word(code), "chunks_read",
        (json_int_t)r->chunks, "bytes_read", (json_int_t)r->bytes, "corrupt",
        (json_int_t)r->corrupt, "missing", (json_int_t)r->missing, "unread",
        (json_int_t)r->unread, "first_failure", json_words(r->first)));
}

static void print_line(const char *run, const struct save_id *id, int code,
                       const struct check_result *r)
{
    char size[32];

    (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%" PRIu64
                 " chunks\t%s read\n",
                 run, id->step, id->generation, each_word(code), r->chunks,
                 size_text(r->bytes, size));
}

/* Checks; heals if that is wanted and something is bad; and checks again. */
static int check_and_heal(struct tool *t, const char *run,
                          const struct manifest *m, struct check_result *result)
{
    struct progress progress = {.what = "verify",
                                .total = m->info.stored_bytes,
                                .is_quiet = t->options.quick};
    struct chunk_list bad = {0};
    struct check_wish wish = {.level = level_of(t), .bad = &bad};
    struct repair repair = {.tool = t,
                            .run = run,
                            .m = m,
                            .bad = &bad,
                            .is_dry = t->options.dry_run};
    int code = check_save(t, run, m, &wish, &progress, result);
    int failed = EXIT_FINE;

    progress_end(&progress);
    if (t->options.repair && bad.count)
        failed = repair_save(&repair);
    if (repair.healed && !repair.is_dry) {
        progress = (struct progress){.what = "verify again",
                                     .total = m->info.stored_bytes};
        wish.bad = NULL;
        code = check_save(t, run, m, &wish, &progress, result);
        progress_end(&progress);
    }
    free(bad.chunk);
    return failed ? failed : code;
}

/* Healed, or found good again: it is not on record as damaged any more. */
static void drop_damaged(struct tool *t, const char *run,
                         const struct save_id *id, const struct check_result *r)
{
    struct store *marks;
    struct err err = {0};
    int rc = marks_open(t, &marks, &err);

    if (rc == 0) {
        rc = marks_drop_damaged(marks, run, id, &r->store);
        (void)err_set(&err, rc, "%s", err_text(rc));
    }
    if (rc)
        (void)complain(t, 0,
                       "%s@%" PRIu64 " is good, but stays on record as "
                       "damaged: %s",
                       run, id->step, err.text);
    store_close(marks);
}

static int verify_one(struct each *e, const char *run,
                      const struct catalog_save *save)
{
    const struct save_id *id = &save->id;
    struct tool *t = e->tool;
    struct check_result result = {0};
    struct lease lease = {0};
    struct manifest m;
    void *data = NULL;
    int code;

    lease_take(&lease, t, run, id);
    code = tool_manifest(t, run, id, &data, &m);
    if (code == 0)
        code = check_and_heal(t, run, &m, &result);
    if (code && each_is_gone(t, run, id))
        code = EXIT_ABSENT;
    lease_drop(&lease);
    if (code == 0 && t->options.repair && save->is_damaged &&
        !t->options.dry_run)
        drop_damaged(t, run, id, &result);
    if (!t->options.json)
        print_line(run, id, code, &result);
    else if (!print_json(run, id, code, &result))
        code = complain(t, EXIT_ERROR, "cannot print");
    free(data);
    return code;
}

int verb_verify(struct tool *t)
{
    struct each each = {.tool = t, .one = verify_one};
    int code;

    if (t->options.repair && t->options.quick)
        return complain(t, EXIT_USAGE,
                        "--repair reads everything: it goes with --deep or "
                        "alone, not with --quick");
    if (t->options.dry_run && !t->options.repair)
        return complain(t, EXIT_USAGE, "--dry-run goes with --repair");
    code = tool_open_home(t, false);
    return code ? code : each_save(&each);
}
