/*
 * each.c - see each.h.
 */
#include "tools/ckpt/each.h"

const char *each_word(int code)
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

bool each_is_gone(struct tool *t, const char *run, const struct save_id *id)
{
    char name[RECORD_NAME_BYTES];
    struct store_req stat = {.op = STORE_STAT,
                             .name = name_save(name, run, "tomb", id)};

    return store_run(t->home, &stat) >= 0;
}

int each_worse(int a, int b)
{
    return a == EXIT_CORRUPT || (b != EXIT_CORRUPT && a > b) ? a : b;
}

static int each_of_run(struct each *e, const char *run)
{
    struct catalog c;
    int worst = tool_catalog(e->tool, run, &c);

    for (size_t i = 0; i < c.save_count; i++) {
        const struct catalog_save *s = &c.save[i];

        if (s->status == SAVE_UNREADABLE)
            worst = each_worse(tool_unreadable(e->tool, &c, s), worst);
        if (s->status != SAVE_COMMITTED)
            continue;
        e->count++;
        worst = each_worse(e->one(e, run, s), worst);
    }
    catalog_free(&c);
    return worst;
}

static int each_of_all(struct each *e)
{
    struct store_names runs;
    int worst = tool_runs(e->tool, &runs);

    for (size_t i = 0; i < runs.count; i++)
        worst = each_worse(each_of_run(e, runs.name[i]), worst);
    store_names_free(&runs);
    return worst;
}

static int each_of_target(struct each *e)
{
    struct target target;
    struct catalog c = {0};
    struct save_id id;
    int code = target_parse(e->tool, e->tool->target, &target);

    if (code)
        return code;
    if (!target.has_step)
        return each_of_run(e, target.run);
    code = tool_catalog(e->tool, target.run, &c);
    if (code == 0)
        code = tool_find_save(e->tool, &c, &target, &id);
    if (code == 0)
        code = e->one(e, target.run, catalog_find(&c, &id));
    e->count = 1;
    catalog_free(&c);
    return code;
}

int each_save(struct each *e)
{
    int code = e->tool->target ? each_of_target(e) : each_of_all(e);

    if (code == 0 && e->count == 0)
        return complain(e->tool, EXIT_ABSENT,
                        "there is no checkpoint to look at");
    return code;
}
