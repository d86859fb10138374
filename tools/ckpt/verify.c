/*
 * verify.c - `ckpt verify`: read checkpoints back and check every digest.
 *
 * Every tier that can be reached is read, the remote one first: what is not in
 * the local store here, but good there, is no failure then. Each tier has a
 * line of its own; --tier reads one alone. A copy that is bad is a failure,
 * wherever another one is good.
 *
 * With --repair, what was found bad in the local store is then healed from
 * healthy copies (repair.h) and checked once more.
 *
 * While it reads, a lease in the home keeps retention away from the save, if
 * the home may be written; otherwise a save that vanishes meanwhile is said to
 * have been removed.
 */
#include "tools/ckpt/check.h"
#include "tools/ckpt/each.h"
#include "tools/ckpt/lease.h"
#include "tools/ckpt/marks.h"
#include "tools/ckpt/remote.h"
#include "tools/ckpt/repair.h"
#include "tools/ckpt/state.h"

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

/* One checkpoint. */
struct verifying {
    struct tool *tool;
    const char *run;
    const struct save_id *id;
    bool is_marked; /* REMOTE: the remote tier is to have all of it */
    struct manifest m;
    struct remote_shares remote;
    bool *good; /* per chunk: some copy is */
    struct turn {
        bool is_read; /* and something of it was to be read */
        int code;
        struct check_result result;
    } turn[2]; /* by enum check_tier */
};

static bool print_json(const struct verifying *v, const char *tier,
                       const char *word, const struct check_result *r)
{
    return json_line(json_pack(
        "{s:i, s:s, s:I, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}",
        "schema", 1, "run", v->run, "step", (json_int_t)v->id->step,
        "generation", (int)v->id->generation, "tier", tier, "result", word,
        "chunks_read", (json_int_t)r->chunks, "bytes_read",
        (json_int_t)r->bytes, "corrupt", (json_int_t)r->corrupt, "missing",
        (json_int_t)r->missing, "unread", (json_int_t)r->unread,
        "first_failure", json_words(r->first)));
}

static void print_line(const struct verifying *v, const char *tier,
                       const char *word, const struct check_result *r)
{
    char size[32];

    (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%" PRIu64
                 " chunks\t%s read\t%s\n",
                 v->run, v->id->step, v->id->generation, word, r->chunks,
                 size_text(r->bytes, size), tier);
}

/* What is in the remote tier instead, let go or lost, is no part of anything.
 */
static const char *word_of(const struct verifying *v, size_t tier, int code)
{
    const struct check_result *r = &v->turn[tier].result;

    if (tier == CHECK_NVME && code == EXIT_PARTIAL && !r->unread &&
        r->missing == r->replaced && r->missing > r->elsewhere)
        return "remote";
    return each_word(code);
}

/* A line for each tier that was read, or one that none was. */
static int print(const struct verifying *v, int code)
{
    static const char *const words[] = {"nvme", "remote", "none"};
    const struct turn none = {.is_read = true};
    bool is_any = v->turn[0].is_read || v->turn[1].is_read, ok = true;

    for (size_t i = is_any ? 0 : 2; i < (is_any ? 2 : 3); i++) {
        const struct turn *turn = is_any ? &v->turn[i] : &none;
        int its = is_any && code != EXIT_ABSENT ? turn->code : code;

        const char *word = is_any ? word_of(v, i, its) : each_word(its);

        if (!turn->is_read)
            continue;
        if (!v->tool->options.json)
            print_line(v, words[i], word, &turn->result);
        else
            ok = ok && print_json(v, words[i], word, &turn->result);
    }
    return ok ? code : complain(v->tool, EXIT_ERROR, "cannot print");
}

static int check_tier(struct verifying *v, const struct check_wish *wish,
                      const char *what)
{
    struct turn *turn = &v->turn[wish->tier];
    struct progress progress = {.what = what,
                                .total = v->m.info.stored_bytes,
                                .is_quiet = v->tool->options.quick};

    turn->code =
        check_save(v->tool, v->run, &v->m, wish, &progress, &turn->result);
    turn->is_read = true;
    progress_end(&progress);
    return turn->code;
}

/* The local store; heals if that is wanted and something is bad, and checks
 * again. */
static void check_and_heal(struct verifying *v)
{
    struct tool *t = v->tool;
    struct chunk_list bad = {0};
    struct check_wish wish = {.level = level_of(t),
                              .bad = &bad,
                              .may_lack = v->is_marked,
                              .good = v->good};
    struct repair repair = {.tool = t,
                            .run = v->run,
                            .m = &v->m,
                            .bad = &bad,
                            .remote = &v->remote,
                            .is_dry = t->options.dry_run};
    int failed = EXIT_FINE;

    (void)check_tier(v, &wish, "verify");
    if (t->options.repair && bad.count)
        failed = repair_save(&repair);
    if (repair.healed && !repair.is_dry) {
        wish.bad = NULL;
        (void)check_tier(v, &wish, "verify again");
    }
    free(bad.chunk);
    if (failed)
        v->turn[CHECK_NVME].code = failed;
}

/* Without --tier the remote one is read where a daemon, or the mark, says that
 * it is. What it lacks is a failure when the mark says that all is there. */
static int check_all(struct verifying *v)
{
    enum tier_option tier = v->tool->options.tier;
    struct check_wish remote = {.level = level_of(v->tool),
                                .tier = CHECK_REMOTE,
                                .remote = &v->remote,
                                .good = v->good};
    struct turn *nvme = &v->turn[CHECK_NVME], *far = &v->turn[CHECK_REMOTE];
    int code;

    if (tier == TIER_REMOTE ||
        (tier == TIER_ALL && (v->remote.present || v->is_marked)))
        (void)check_tier(v, &remote, "verify remote");
    if (tier == TIER_REMOTE)
        return far->code;
    check_and_heal(v);
    if (!far->is_read)
        return nvme->code;
    if (nvme->result.replaced)
        (void)complain(v->tool, 0,
                       "%s@%" PRIu64 "/%u: %" PRIu64
                       " chunks are not in the local store; their copies in "
                       "the remote tier are %s",
                       v->run, v->id->step, v->id->generation,
                       nvme->result.replaced,
                       v->tool->options.quick ? "there" : "good");
    /* Of a checkpoint that is none of this machine's there is one line. */
    nvme->is_read = nvme->result.elsewhere < v->m.chunk_count;
    code = far->code;
    if (!v->is_marked)
        code =
            check_without_lack(code, &far->result, v->good, v->m.chunk_count);
    return each_worse(check_without_lack(nvme->code, &nvme->result, v->good,
                                         v->m.chunk_count),
                      code);
}

static int check(struct verifying *v, void **data)
{
    int code = tool_manifest(v->tool, v->run, v->id, data, &v->m);

    if (code == 0)
        code = remote_shares_get(v->tool, v->run, &v->m, &v->remote);
    if (code)
        return code;
    v->good = calloc(v->m.chunk_count + 1, sizeof *v->good);
    return v->good ? check_all(v)
                   : complain(v->tool, EXIT_ERROR, "out of memory");
}

/* Healed, or found good again: it is not on record as damaged any more. */
static void drop_damaged(struct tool *t, const char *run,
                         const struct save_id *id, const struct check_result *r)
{
    struct store *marks;
    struct err err = {0};
    int rc = marks_open(t, &marks, &err);

    if (rc == 0) {
        rc = marks_drop_damaged(marks, CHECK_NVME, run, id, &r->store);
        (void)err_set(&err, rc, "%s", err_text(rc));
    }
    if (rc)
        (void)complain(t, 0,
                       "%s@%" PRIu64 " is good, but stays on record as "
                       "damaged: %s",
                       run, id->step, err.text);
    store_close(marks);
}

static void say_what_to_do(const struct verifying *v)
{
    int nvme = v->turn[CHECK_NVME].code, far = v->turn[CHECK_REMOTE].code;

    if (far == EXIT_CORRUPT || (far == EXIT_PARTIAL && v->is_marked))
        mend_say(v->tool, v->run, v->id, true);
    if (nvme == EXIT_CORRUPT && !v->tool->options.repair)
        mend_say(v->tool, v->run, v->id, false);
}

static int verify_one(struct each *e, const char *run,
                      const struct catalog_save *save)
{
    struct tool *t = e->tool;
    struct verifying v = {.tool = t,
                          .run = run,
                          .id = &save->id,
                          .is_marked = save->is_marked_remote};
    struct lease lease = {0};
    void *data = NULL;
    int code;

    lease_take(&lease, t, run, v.id);
    code = check(&v, &data);
    if (code && each_is_gone(t, run, v.id))
        code = EXIT_ABSENT;
    lease_drop(&lease);
    if (code == 0 && t->options.repair && save->is_damaged &&
        !t->options.dry_run)
        drop_damaged(t, run, v.id, &v.turn[CHECK_NVME].result);
    code = print(&v, code);
    if (code != EXIT_ABSENT)
        say_what_to_do(&v);
    remote_shares_free(&v.remote);
    free(v.good);
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
    if (t->options.repair && t->options.tier == TIER_REMOTE)
        return complain(t, EXIT_USAGE,
                        "--repair heals the local store: it goes without "
                        "--tier remote");
    if (t->options.dry_run && !t->options.repair)
        return complain(t, EXIT_USAGE, "--dry-run goes with --repair");
    code = tool_open_home(t, false);
    return code ? code : each_save(&each);
}
