/*
 * ls.c - `ckpt ls`: one line per checkpoint, newest last.
 *
 * Without --all, the checkpoints of each run's newest branch. With it also
 * those of other branches and what was aborted, removed, or is undecided, with
 * the reason.
 */
#include "tools/ckpt/out.h"
#include "tools/ckpt/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const char *const headings[] = {
    "RUN",     "STEP",  "GEN",    "STATE",   "LOGICAL", "STORED",
    "TENSORS", "RANKS", "LAYOUT", "CREATED", "NOTES",   "FAILURE DOMAIN",
};

static const char *notes_text(const struct catalog_save *s, bool is_latest,
                              char *text, size_t capacity)
{
    const char *const note[] = {is_latest ? "latest" : "",
                                s->is_pinned ? "pinned" : "",
                                s->is_verified ? "verified" : "",
                                s->is_leased ? "leased" : "",
                                s->is_damaged ? "damaged" : "",
                                s->is_remote_damaged ? "damaged-remote" : "",
                                catalog_reason(s)};
    size_t used = 0;

    (void)snprintf(text, capacity, "-");
    for (size_t i = 0; i < ARRAY_LEN(note) && used < capacity; i++)
        if (note[i][0])
            used += (size_t)snprintf(text + used, capacity - used, "%s%s",
                                     used ? " " : "", note[i]);
    return text;
}

static json_t *as_json(const struct tool *t, const struct catalog *c,
                       const struct catalog_save *s, bool is_latest)
{
    char layout[256], domain[1200], created[32];

    layout_text(&s->layout, layout, sizeof layout);
    return json_pack(
        "{s:i, s:s, s:I, s:i, s:i, s:s, s:o, s:I, s:I, s:I, s:i, s:s, s:s, "
        "s:b, s:b, s:b, s:b, s:b, s:o, s:o}",
        "schema", 1, "run", c->run, "step", (json_int_t)s->id.step,
        "generation", (int)s->id.generation, "attempt", (int)s->id.attempt,
        "state", state_text(s), "failure_domain",
        json_words(domain_text(t, s, domain, sizeof domain)), "logical_bytes",
        (json_int_t)s->logical_bytes, "stored_bytes",
        (json_int_t)s->stored_bytes, "tensors", (json_int_t)s->tensor_count,
        "ranks", (int)s->rank_count, "layout", layout, "created",
        time_text(s->created_unix_ms, created), "latest", (int)is_latest,
        "pinned", (int)s->is_pinned, "verified", (int)s->is_verified, "damaged",
        (int)s->is_damaged, "damaged_remote", (int)s->is_remote_damaged,
        "reason",
        json_words(s->status == SAVE_COMMITTED ? "" : catalog_reason(s)),
        "warning",
        json_words(s->status == SAVE_COMMITTED ? catalog_reason(s) : ""));
}

static void as_row(const struct tool *t, struct out_table *table,
                   const struct catalog *c, const struct catalog_save *s,
                   bool is_latest)
{
    char layout[256], text[1200];

    layout_text(&s->layout, layout, sizeof layout);
    table_cell(table, "%s", c->run);
    table_cell(table, "%" PRIu64, s->id.step);
    table_cell(table, "%u", s->id.generation);
    table_cell(table, "%s", state_text(s));
    table_cell(table, "%s", size_text(s->logical_bytes, text));
    table_cell(table, "%s", size_text(s->stored_bytes, text));
    table_cell(table, "%" PRIu64, s->tensor_count);
    table_cell(table, "%u", s->rank_count);
    table_cell(table, "%s", layout);
    table_cell(table, "%s", time_text(s->created_unix_ms, text));
    table_cell(table, "%s", notes_text(s, is_latest, text, sizeof text));
    table_cell(table, "%s", domain_text(t, s, text, sizeof text));
}

static int list_run(struct tool *t, const char *run, struct out_table *table)
{
    struct catalog c;
    struct save_id latest;
    int code = tool_catalog(t, run, &c), bad;
    int worst = code;

    latest = catalog_latest(&c);
    for (size_t i = 0; !code && i < c.save_count; i++) {
        const struct catalog_save *s = &c.save[i];
        bool is_latest = save_id_compare(&s->id, &latest) == 0;

        bad = s->status == SAVE_UNREADABLE ? tool_unreadable(t, &c, s) : 0;
        worst = bad > worst ? bad : worst;
        if (!bad && !t->options.all &&
            (s->status != SAVE_COMMITTED ||
             !catalog_on_branch(&c, &latest, &s->id)))
            continue;
        if (!t->options.json)
            as_row(t, table, &c, s, is_latest);
        else if (!json_line(as_json(t, &c, s, is_latest)))
            worst = complain(t, EXIT_ERROR, "cannot print run %s", run);
    }
    catalog_free(&c);
    return worst;
}

static int list_all(struct tool *t, struct out_table *table)
{
    struct store_names runs;
    int worst = tool_runs(t, &runs);

    for (size_t i = 0; i < runs.count; i++) {
        int code = list_run(t, runs.name[i], table);

        worst = code > worst ? code : worst;
    }
    store_names_free(&runs);
    return worst;
}

int verb_ls(struct tool *t)
{
    struct out_table table = {.heading = headings,
                              .column_count = ARRAY_LEN(headings)};
    struct target target;
    int code = tool_open_home(t, false);

    for (uint32_t i = 1; i < 8; i++)
        table.is_right[i] = i != 3;
    if (code)
        return code;
    if (t->target) {
        code = target_parse(t, t->target, &target);
        if (code == 0 && target.has_step)
            code = complain(t, EXIT_USAGE, "ls takes a run, not a step");
        if (code)
            return code;
        code = list_run(t, target.run, &table);
    } else {
        code = list_all(t, &table);
    }
    if (table.cell_count == 0 && !t->options.json && code == 0)
        (void)fprintf(stderr, "no checkpoints in %s%s\n", t->options.home,
                      t->options.all ? "" : " (ckpt ls --all shows the rest)");
    if (table.cell_count && table_end(&table))
        return complain(t, EXIT_ERROR, "out of memory");
    return code;
}
