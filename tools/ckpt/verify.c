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
#include "tools/ckpt/lease.h"
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

static const char *word_of(int code)
{
    switch (code) {
    case EXIT_FINE:
        return "ok";
    case EXIT_PARTIAL:
        return "partial";
    case EXIT_CORRUPT:
        return "corrupt";
    case EXIT_ABSENT:
        return "removed";
    case EXIT_LOCKED:
        return "busy";
    default:
        return "error";
    }
}

static bool print_json(const char *run, const struct save_id *id, int code,
                       const struct check_result *r)
{
    return json_line(json_pack(
        "{s:i, s:s, s:I, s:i, s:s, s:I, s:I, s:I, s:I, s:o}", "schema", 1,
        "run", run, "step", (json_int_t)id->step, "generation",
        (int)id->generation, "result", word_of(code), "chunks_read",
        (json_int_t)r->chunks, "bytes_read", (json_int_t)r->bytes, "corrupt",
        (json_int_t)r->corrupt, "missing", (json_int_t)r->missing,
        "first_failure", json_words(r->first)));
}

static void print_line(const char *run, const struct save_id *id, int code,
                       const struct check_result *r)
{
    char size[32];

    (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%" PRIu64
                 " chunks\t%s read\n",
                 run, id->step, id->generation, word_of(code), r->chunks,
                 size_text(r->bytes, size));
}

static bool is_gone(struct tool *t, const char *run, const struct save_id *id)
{
    char name[RECORD_NAME_BYTES];
    struct store_req stat = {.op = STORE_STAT,
                             .name = name_save(name, run, "tomb", id)};

    return store_run(t->home, &stat) >= 0;
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

static int verify_save(struct tool *t, const char *run,
                       const struct save_id *id)
{
    struct check_result result = {0};
    struct lease lease = {0};
    struct manifest m;
    void *data = NULL;
    int code;

    lease_take(&lease, t, run, id);
    code = tool_manifest(t, run, id, &data, &m);
    if (code == 0)
        code = check_and_heal(t, run, &m, &result);
    if (code && is_gone(t, run, id))
        code = EXIT_ABSENT;
    lease_drop(&lease);
    if (!t->options.json)
        print_line(run, id, code, &result);
    else if (!print_json(run, id, code, &result))
        code = complain(t, EXIT_ERROR, "cannot print");
    free(data);
    return code;
}

static int worse(int a, int b)
{
    return a == EXIT_CORRUPT || (b != EXIT_CORRUPT && a > b) ? a : b;
}

static int verify_run(struct tool *t, const char *run, uint32_t *count)
{
    struct catalog c;
    int worst = tool_catalog(t, run, &c);

    for (size_t i = 0; i < c.save_count; i++) {
        const struct catalog_save *s = &c.save[i];

        if (s->status == SAVE_UNREADABLE)
            worst =
                worse(complain(t, EXIT_CORRUPT, "%s@%" PRIu64 "/%u: %s", run,
                               s->id.step, s->id.generation, catalog_reason(s)),
                      worst);
        if (s->status != SAVE_COMMITTED)
            continue;
        (*count)++;
        worst = worse(verify_save(t, run, &s->id), worst);
    }
    catalog_free(&c);
    return worst;
}

static int verify_all(struct tool *t, uint32_t *count)
{
    struct store_names runs;
    int worst = tool_runs(t, &runs);

    for (size_t i = 0; i < runs.count; i++)
        worst = worse(verify_run(t, runs.name[i], count), worst);
    store_names_free(&runs);
    return worst;
}

static int verify_target(struct tool *t, uint32_t *count)
{
    struct target target;
    struct catalog c = {0};
    struct save_id id;
    int code = target_parse(t, t->target, &target);

    if (code)
        return code;
    if (!target.has_step)
        return verify_run(t, target.run, count);
    code = tool_catalog(t, target.run, &c);
    if (code == 0)
        code = tool_find_save(t, &c, &target, &id);
    if (code == 0)
        code = verify_save(t, target.run, &id);
    *count = 1;
    catalog_free(&c);
    return code;
}

int verb_verify(struct tool *t)
{
    uint32_t count = 0;
    int code;

    if (t->options.repair && t->options.quick)
        return complain(t, EXIT_USAGE,
                        "--repair reads everything: it goes with --deep or "
                        "alone, not with --quick");
    if (t->options.dry_run && !t->options.repair)
        return complain(t, EXIT_USAGE, "--dry-run goes with --repair");
    code = tool_open_home(t, false);

    if (code == 0)
        code = t->target ? verify_target(t, &count) : verify_all(t, &count);
    if (code == 0 && count == 0)
        return complain(t, EXIT_ABSENT, "there is no checkpoint to verify");
    return code;
}
