/*
 * cp.c - `ckpt cp`: which checkpoints, and the way of one; see cp.h.
 *
 *   lease, manifest -> is it welcome there? -> lease there -> of each daemon
 *   files, then its table -> the records
 *
 * One that was named is read in the destination though it is there whole, and
 * mended where it is bad; of a run, what is there is passed over. With --all
 * one that cannot be copied does not keep the others from it, unless it is the
 * destination that fails.
 */
#include "tools/ckpt/cp.h"
#include "common/text.h"
#include "tools/ckpt/each.h"
#include "tools/ckpt/lease.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What is printed.
 */

static const char *result_word(const struct cp *cp, int code, bool was_whole)
{
    if (code)
        return each_word(code);
    if (cp->is_dry)
        return was_whole ? "there" : "to copy";
    if (!was_whole)
        return "copied";
    return cp->sums.files_written ? "mended" : "there";
}

static bool print_json(const struct cp *cp, const char *result)
{
    return json_line(json_pack(
        "{s:i, s:s, s:I, s:i, s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "schema", 1,
        "run", cp->run, "step", (json_int_t)cp->id.step, "generation",
        (int)cp->id.generation, "result", result, "to",
        json_words(cp->to.options.home), "files", (json_int_t)cp->sums.files,
        "bytes", (json_int_t)cp->sums.bytes, "files_written",
        (json_int_t)cp->sums.files_written, "bytes_written",
        (json_int_t)cp->sums.bytes_written, "chunks_from_remote",
        (json_int_t)cp->source.from_remote));
}

static void print_line(const struct cp *cp, const char *result)
{
    char bytes[32], written[32];

    (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%" PRIu64
                 " files\t%s\t%s %s\t",
                 cp->run, cp->id.step, cp->id.generation, result,
                 cp->sums.files, size_text(cp->sums.bytes, bytes),
                 size_text(cp->sums.bytes_written, written),
                 cp->is_dry ? "to write" : "written");
    out_words("%s", cp->to.options.home);
    (void)putchar('\n');
}

static int print(struct cp *cp, int code, bool was_whole)
{
    const char *result = result_word(cp, code, was_whole);

    if (!cp->from->options.json)
        print_line(cp, result);
    else if (!print_json(cp, result))
        return complain(cp->from, EXIT_ERROR, "cannot print");
    return code;
}

/*
 * One checkpoint.
 */

/* Does it make no sense to go on with others? */
static bool is_final(int code)
{
    return code == EXIT_ERROR || code == EXIT_LOCKED;
}

/* An early look, before much was written for nothing. */
static int check_room(struct cp *cp, const struct manifest *table)
{
    struct cp_sums sums = {0};
    struct store_req room = {.op = STORE_ROOM, .name = ""};
    char size[32];
    int64_t rc;

    if (cp->to.home->limits.max_io_bytes == 0)
        return EXIT_FINE;
    files_count(cp, table, &sums);
    room.len = sums.bytes_written;
    rc = sums.bytes_written ? store_run(cp->to.home, &room) : 0;
    if (rc != -ENOSPC && rc != -EDQUOT)
        return EXIT_FINE;
    return complain(&cp->to, EXIT_ERROR,
                    "%s: no room for the %s that are to come: %s",
                    cp->to.options.home, size_text(sums.bytes_written, size),
                    err_text((int)rc));
}

/* Its files and its table, or only what is missing of them. A share that is
 * there already needs no source, if it is good. */
static int one_share(struct cp *cp, uint32_t k, bool copies)
{
    struct manifest table;
    bool is_there;
    void *data;
    int code = dest_table(cp, k, &data, &table, &is_there);

    if (code == EXIT_FINE && !is_there && cp->is_decided)
        code = dest_adopt(cp, &data, &table);
    if (code == EXIT_FINE && !is_there)
        code = source_reach(&cp->source, k);
    if (code == EXIT_FINE && !copies)
        files_count(cp, &table, &cp->sums);
    if (code == EXIT_FINE && copies)
        code = check_room(cp, &table);
    if (code == EXIT_FINE && copies)
        code = files_copy(cp, k, &table);
    if (code == EXIT_FINE && copies)
        code = dest_put_table(cp, &table);
    if (code == EXIT_FINE && copies)
        code = dest_is_good(cp, &table.info.daemon);
    free(data);
    return code;
}

/* What cannot be had of one does not keep the others from being copied: then
 * another node, where it can, has the less to do. */
static int each_share(struct cp *cp, bool copies)
{
    int worst = EXIT_FINE;

    for (uint32_t k = 0; k < cp->source.remote.count; k++) {
        int code = one_share(cp, k, copies);

        if (is_final(code))
            return code;
        worst = each_worse(code, worst);
    }
    return worst;
}

/* Nobody has taken for litter what no decision names yet. */
static int check_kept(struct cp *cp)
{
    struct cp_sums done = cp->sums, now;
    int code;

    cp->sums = (struct cp_sums){0};
    code = each_share(cp, false);
    now = cp->sums;
    cp->sums = done;
    if (code == EXIT_FINE && now.files_written)
        code = complain(&cp->to, EXIT_ERROR,
                        "%s: %" PRIu64
                        " files were removed meanwhile; repeat this",
                        cp->to.options.home, now.files_written);
    return code;
}

static int transfer(struct cp *cp)
{
    struct lease lease = {0};
    int code = dest_make(cp);

    if (code)
        return code;
    lease_take(&lease, &cp->to, cp->run, &cp->id);
    cp->progress =
        (struct progress){.what = "copy", .total = 2 * cp->m.info.stored_bytes};
    if (!lease_is_held(&lease)) /* `ckpt gc` could take it for litter */
        code = complain(&cp->to, EXIT_ERROR, "%s: no lease could be taken",
                        cp->to.options.home);
    else
        code = each_share(cp, true);
    progress_end(&cp->progress);
    if (code == EXIT_FINE)
        code = check_kept(cp);
    if (code == EXIT_FINE)
        code = dest_publish(cp);
    lease_drop(&lease);
    return code;
}

/* --dry-run reads no chunk: what a scrub has found is all that it knows. */
static void say_damaged(const struct cp *cp)
{
    const struct catalog_save *s = catalog_find(cp->catalog, &cp->id);

    if (s->is_damaged || s->is_remote_damaged)
        (void)complain(cp->from, 0,
                       "%s@%" PRIu64 "/%u: a scrub found bad bytes %s; ckpt "
                       "verify tells whether each chunk has a good copy",
                       cp->run, cp->id.step, cp->id.generation,
                       !s->is_damaged          ? "in the remote tier"
                       : !s->is_remote_damaged ? "in a local store"
                                               : "in both tiers");
}

static int copy_it(struct cp *cp, bool *was_whole)
{
    int code = source_open(&cp->source, cp->from, cp->run, &cp->m);

    if (code == EXIT_FINE)
        code = dest_look(cp);
    *was_whole = cp->is_decided && cp->is_marked;
    if (code || (*was_whole && !cp->is_thorough))
        return code;
    if (!cp->is_dry)
        return transfer(cp);
    say_damaged(cp);
    return each_share(cp, false);
}

static int read_decision(struct cp *cp)
{
    char name[RECORD_NAME_BYTES];
    int rc = record_get(cp->from->home,
                        name_save(name, cp->run, "decision", &cp->id),
                        &cp->decision);

    return rc ? complain(cp->from, exit_code_of(rc), "%s: %s", name,
                         err_text(rc))
              : EXIT_FINE;
}

static int copy_one(struct cp *cp, const struct save_id *id)
{
    struct lease lease = {0};
    void *data = NULL;
    bool was_whole = false;
    int code;

    cp->id = *id;
    cp->sums = (struct cp_sums){0};
    lease_take(&lease, cp->from, cp->run, id);
    code = tool_manifest(cp->from, cp->run, id, &data, &cp->m);
    if (code == EXIT_FINE)
        code = read_decision(cp);
    if (code == EXIT_FINE)
        code = copy_it(cp, &was_whole);
    if (code && each_is_gone(cp->from, cp->run, id))
        code = EXIT_ABSENT;
    lease_drop(&lease);
    code = print(cp, code, was_whole);
    source_close(&cp->source);
    free(cp->decision.data);
    cp->decision = (struct record_bytes){0};
    free(data);
    return code;
}

/*
 * The verb.
 */

static int copy_all(struct cp *cp)
{
    const struct catalog *c = cp->catalog;
    int worst = EXIT_FINE;
    bool is_any = false;

    for (size_t i = 0; i < c->save_count; i++) {
        int code = EXIT_FINE;

        if (c->save[i].status == SAVE_UNREADABLE)
            code = tool_unreadable(cp->from, c, &c->save[i]);
        else if (c->save[i].status == SAVE_COMMITTED)
            code = copy_one(cp, &c->save[i].id);
        else
            continue;
        is_any = true;
        if (is_final(code))
            return code;
        worst = each_worse(code, worst);
    }
    return is_any ? worst
                  : complain(cp->from, EXIT_ABSENT, "run %s has no checkpoint",
                             cp->run);
}

static int copy_target(struct cp *cp, struct target *target)
{
    char name[RECORD_NAME_BYTES];
    struct save_id id;
    int rc = record_get(cp->from->home, name_run(name, cp->run, "RUN"),
                        &cp->run_record);
    bool is_all = !target->has_step && cp->from->options.all;
    int code = EXIT_FINE;

    if (rc)
        return complain(cp->from, exit_code_of(rc), "%s: %s", name,
                        err_text(rc));
    cp->is_thorough = target->has_step;
    target->is_latest = target->is_latest || !target->has_step;
    target->has_step = true;
    if (!is_all)
        code = tool_find_save(cp->from, cp->catalog, target, &id);
    if (code == EXIT_FINE)
        code = dest_open(cp);
    if (code)
        return code;
    return is_all ? copy_all(cp) : copy_one(cp, &id);
}

int verb_cp(struct tool *t)
{
    struct cp cp = {.from = t,
                    .is_dry = t->options.dry_run,
                    .pace = {.bytes_s = t->options.rate_bytes_s}};
    const char *to = t->options.to;
    struct target target;
    struct catalog c = {0};
    int code;

    if (!to || !*to)
        return complain(t, EXIT_USAGE, "where to? --to HOME");
    cp.to = (struct tool){.verb = t->verb, .options = {.home = to}};
    if (text_home_path(to))
        cp.to.options.home = text_home_path(to);
    code = target_parse(t, t->target, &target);
    if (code == EXIT_FINE && target.has_step && t->options.all)
        code =
            complain(t, EXIT_USAGE, "--all goes with a run, not with a step");
    if (code == EXIT_FINE)
        code = tool_open_home(t, false);
    if (code == EXIT_FINE)
        code = tool_catalog(t, target.run, &c);
    cp.run = target.run;
    cp.catalog = &c;
    if (code == EXIT_FINE)
        code = copy_target(&cp, &target);
    free(cp.run_record.data);
    catalog_free(&c);
    store_close(cp.to.home);
    return code;
}
