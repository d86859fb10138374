/*
 * gc.c - `ckpt gc`: remove what is no longer needed.
 *
 * Four things, each only listed without --yes:
 *   checkpoints that a policy given here (--keep-last, --keep-every) lets go:
 *     the newest one is read back first and marked verified, then each gets
 *     its tomb;
 *   files of the remote tier of saves that were removed or aborted, or that
 *     nobody decides any more (gc_remote.c);
 *   records that nobody will read again: intents, votes and manifest parts of
 *     decided saves, everything but the tomb of removed ones, leases that
 *     their readers left behind (gc_leases.c);
 *   segments of the local store that nothing references: only when no daemon
 *     serves it (else that daemon frees them by itself), see gc_segments.c.
 *
 * A record that cannot be read stops it before anything is removed.
 *
 * A policy needs a little room for its marks and tombs. So that a full disk can
 * be emptied, litter and segments go first, then the policy is applied, and
 * what it let go is swept in a second turn.
 */
#include "tools/ckpt/gc.h"
#include "ckptd/engine/retain.h"
#include "tools/ckpt/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void gc_say(struct gc *g, const char *what, const char *name, uint64_t bytes)
{
    char size[32];

    g->count++;
    g->bytes += bytes;
    if (g->tool->options.json)
        g->failed = !json_line(json_pack("{s:i, s:s, s:s, s:I, s:b}", "schema",
                                         1, "kind", what, "name", name, "bytes",
                                         (json_int_t)bytes, "removed",
                                         (int)g->is_for_real)) ||
                    g->failed;
    else if (bytes)
        (void)printf("%s\t%s\t%s\n", what, name, size_text(bytes, size));
    else
        (void)printf("%s\t%s\n", what, name);
}

int gc_drop(struct gc *g, const char *name)
{
    struct store_req req = {.op = STORE_REMOVE, .name = name};
    int64_t rc;

    gc_say(g, "record", name, 0);
    if (!g->is_for_real)
        return EXIT_FINE;
    rc = store_run(g->tool->home, &req);
    return rc < 0 && rc != -ENOENT ? complain(g->tool, EXIT_ERROR, "%s: %s",
                                              name, err_text((int)rc))
                                   : EXIT_FINE;
}

/* Neither begun nor decided, as far as anybody knows, in a generation that is
 * over: nobody will decide it any more. */
static bool is_left_over(const struct catalog *c, const struct save_id *id,
                         const struct catalog_save *s)
{
    const struct catalog_generation *newest = catalog_newest(c);

    return (!s || s->status == SAVE_UNDECIDED) && newest &&
           id->generation < newest->record.generation;
}

bool gc_is_litter(struct gc *g, const struct catalog *c,
                  const struct save_id *id, const char *folder)
{
    const struct catalog_save *s = catalog_find(c, id);
    bool is_remote =
        strcmp(folder, "remote") == 0 || strcmp(folder, "data") == 0;

    if (is_remote && is_left_over(c, id, s)) /* unless `ckpt cp` is at it */
        return !gc_is_leased(g, c, id);
    if (!s)
        return false;
    if (s->status == SAVE_REMOVED)
        return true;
    if (strcmp(folder, "vote") == 0 || strcmp(folder, "intent") == 0)
        return s->status == SAVE_COMMITTED || s->status == SAVE_ABORTED;
    return (is_remote || strcmp(folder, "manifest") == 0) &&
           s->status == SAVE_ABORTED;
}

static int sweep_folder(struct gc *g, const struct catalog *c,
                        const char *folder)
{
    char name[RECORD_NAME_BYTES], path[320];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, c->run, folder)};
    int64_t rc = store_run(g->tool->home, &list);
    int code = rc < 0 ? complain(g->tool, EXIT_ERROR, "%s: %s", name,
                                 err_text((int)rc))
                      : EXIT_FINE;

    for (size_t i = 0; !code && i < list.names.count; i++) {
        struct save_id id;

        if (save_id_parse(list.names.name[i], &id, NULL) ||
            !gc_is_litter(g, c, &id, folder))
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, list.names.name[i]);
        code = gc_drop(g, name_run(name, c->run, path));
    }
    store_names_free(&list.names);
    return code;
}

static int sweep(struct gc *g, const struct catalog *c)
{
    static const char *const folders[] = {
        "remote",  "manifest",       "vote",     "intent",  "verified",
        "damaged", "damaged_remote", "scrubbed", "decision"};
    int code = gc_remote(g, c); /* files before the tables that name them */

    for (size_t i = 0; !code && i < ARRAY_LEN(folders); i++)
        code = sweep_folder(g, c, folders[i]);
    return code;
}

/*
 * Policy.
 */

static int put_record(struct gc *g, const char *name, struct wr *w)
{
    struct store_req put = {
        .op = STORE_PUT, .name = name, .buf = w->data, .len = w->bytes};
    int64_t rc = w->failed ? -ENOMEM : store_run(g->tool->home, &put);

    wr_free(w);
    return rc < 0 && rc != -EEXIST ? (int)rc : 0;
}

static bool is_full(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

/* The mark is for others: this process knows by itself that the newest is
 * good, and a full disk is what it is here to empty. */
static int mark_verified(struct gc *g, const struct catalog *c,
                         const struct save_id *id)
{
    struct record_mark mark = {.id = *id,
                               .created_unix_ms = (uint64_t)time(NULL) * 1000,
                               .note = "read back by ckpt gc"};
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};
    int rc;

    record_mark_encode(RECORD_VERIFIED, &mark, &w);
    rc = put_record(g, name_save(name, c->run, "verified", id), &w);
    if (is_full(rc))
        return complain(g->tool, EXIT_FINE,
                        "%s@%" PRIu64 "/%u is good, but there is no room to "
                        "note that (%s): going on without the mark",
                        c->run, id->step, id->generation, err_text(rc));
    return rc ? complain(g->tool, EXIT_ERROR, "%s: %s", name, err_text(rc))
              : EXIT_FINE;
}

static int not_good(const struct gc *g, const struct catalog *c,
                    const struct save_id *id, int code)
{
    return complain(g->tool, code,
                    "%s@%" PRIu64 "/%u, the newest checkpoint, is not good, so "
                    "nothing older is removed",
                    c->run, id->step, id->generation);
}

/* Nothing goes before the newest checkpoint was read back; without --yes it is
 * only looked for, and what is on record of it counts. */
static int read_newest_back(struct gc *g, const struct catalog *c)
{
    struct save_id latest = catalog_latest(c);
    const struct catalog_save *s = catalog_find(c, &latest);
    struct progress progress = {.what = "read back",
                                .is_quiet = !g->is_for_real};
    const struct check_wish wish = {.level = g->is_for_real ? CHECK_DEEP
                                                            : CHECK_QUICK};
    struct check_result result;
    struct manifest m;
    void *data = NULL;
    int code;

    if (s && s->is_verified && !s->is_damaged)
        return EXIT_FINE;
    if (s && s->is_damaged && !g->is_for_real)
        return not_good(g, c, &latest, EXIT_CORRUPT);
    code = tool_manifest(g->tool, c->run, &latest, &data, &m);
    if (code == 0) {
        progress.total = m.info.stored_bytes;
        code = check_save(g->tool, c->run, &m, &wish, &progress, &result);
        progress_end(&progress);
    }
    free(data);
    if (code)
        return not_good(g, c, &latest, code);
    return g->is_for_real ? mark_verified(g, c, &latest) : EXIT_FINE;
}

static int bury(struct gc *g, struct catalog *c, const struct save_id *id)
{
    struct record_tomb tomb = {.id = *id,
                               .created_unix_ms = (uint64_t)time(NULL) * 1000,
                               .reason = "ckpt gc"};
    struct catalog_save *s = catalog_find(c, id);
    char name[RECORD_NAME_BYTES], title[RUN_NAME_MAX + 64];
    struct wr w = {0};
    int rc = 0;

    (void)snprintf(title, sizeof title, "%s@%" PRIu64 "/%u", c->run, id->step,
                   id->generation);
    gc_say(g, "checkpoint", title, s->stored_bytes);
    if (g->is_for_real) {
        record_tomb_encode(&tomb, &w);
        rc = put_record(g, name_save(name, c->run, "tomb", id), &w);
    }
    if (rc)
        return complain(g->tool, EXIT_ERROR, "%s: its tomb %s: %s%s", title,
                        name, err_text(rc),
                        is_full(rc) ? "; make a little room in the home (a "
                                      "MiB is enough), then repeat this"
                                    : "");
    s->status = SAVE_REMOVED;
    return EXIT_FINE;
}

static int apply_policy(struct gc *g, struct catalog *c)
{
    const struct options *o = &g->tool->options;
    struct save_id *victims = calloc(c->save_count + 1, sizeof *victims);
    size_t count;
    int code = EXIT_FINE;

    if (!victims)
        return complain(g->tool, EXIT_ERROR, "out of memory");
    count = retain_choose(c, o->keep_last, o->keep_every, victims);
    if (count)
        code = read_newest_back(g, c);
    for (size_t i = 0; !code && i < count; i++)
        code = bury(g, c, &victims[i]);
    free(victims);
    return code;
}

/* May anything go? 0 or an exit code. */
static int check_readable(const struct gc *g, const struct catalog *c)
{
    for (size_t i = 0; i < c->save_count; i++)
        if (c->save[i].status == SAVE_UNREADABLE)
            return complain(g->tool, exit_code_of(c->save[i].code),
                            "%s@%" PRIu64 "/%u: %s; nothing is removed", c->run,
                            c->save[i].id.step, c->save[i].id.generation,
                            catalog_reason(&c->save[i]));
    if (c->bad_lease.code)
        return complain(g->tool, exit_code_of(c->bad_lease.code),
                        "%s; nothing is removed while it is not known which "
                        "checkpoint is in use",
                        c->bad_lease.text);
    return EXIT_FINE;
}

static int gc_run(struct gc *g, const char *run, bool with_policy)
{
    struct catalog c;
    int code = tool_catalog(g->tool, run, &c);

    if (code == 0)
        code = check_readable(g, &c);
    if (code == 0)
        code = gc_leases(g, &c);
    if (code == 0 && with_policy)
        code = apply_policy(g, &c);
    if (code == 0)
        code = sweep(g, &c);
    catalog_free(&c);
    return code;
}

static int gc_all(struct gc *g, bool with_policy)
{
    struct store_names runs;
    int code = tool_runs(g->tool, &runs);

    for (size_t i = 0; !code && i < runs.count; i++)
        code = gc_run(g, runs.name[i], with_policy);
    store_names_free(&runs);
    return code;
}

static int gc_turn(struct gc *g, const struct target *target, bool with_policy)
{
    int code =
        target ? gc_run(g, target->run, with_policy) : gc_all(g, with_policy);

    return code ? code : gc_segments(g);
}

int verb_gc(struct tool *t)
{
    struct gc g = {.tool = t,
                   .is_for_real = t->options.yes && !t->options.dry_run};
    bool has_policy = t->options.keep_last || t->options.keep_every;
    struct target target = {0}, *one = t->target ? &target : NULL;
    int code = tool_open_home(t, g.is_for_real);

    if (code == 0 && one)
        code = target_parse(t, t->target, one);
    if (code == 0 && one && one->has_step)
        code = complain(t, EXIT_USAGE, "gc takes a run, not a step");
    if (code == 0 && (g.is_for_real || !has_policy))
        code = gc_turn(&g, one, false);
    if (code == 0 && has_policy)
        code = gc_turn(&g, one, true);
    if (code == 0 && g.failed)
        code = complain(t, EXIT_ERROR, "cannot print");
    if (code == 0 && g.count && !g.is_for_real)
        (void)fprintf(stderr, "nothing was removed: add --yes to do it\n");
    return code;
}
