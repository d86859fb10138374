/*
 * catalog_folders.c - what the folders of a run say, in the order in which they
 * are read.
 *
 * Generations must be readable, or nothing can be said at all. A decision that
 * cannot be read becomes SAVE_UNREADABLE with the reason; a lease that cannot
 * be read is noted in the catalog, for those who remove saves. So is the
 * outcome of a load: without it a branch goes on from its parent, which is at
 * worst one that this load had to pass over.
 */
#include "ckptd/engine/catalog_load_internal.h"

#include "common/plant.h"

#include <errno.h>
#include <stdlib.h>

static void load_fail_with(struct catalog_load *l, int code, const char *folder,
                           const char *name, const char *why,
                           const char *advice)
{
    if (l->result == 0)
        l->result = err_set(&l->err, code, "runs/%s/%s%s%s: %s%s", l->run,
                            folder, name[0] ? "/" : "", name, why, advice);
}

void catalog_load_fail(struct catalog_load *l, int code, const char *folder,
                       const char *name, const char *why)
{
    load_fail_with(l, code, folder, name, why, "");
}

/* A record that everything depends on. */
void catalog_load_stop(struct catalog_load *l, int code, const char *folder,
                       const char *name, const char *why)
{
    bool is_lost = code == -CKPT_ECORRUPT || code == -EIO;

    load_fail_with(l, code, folder, name, why,
                   is_lost ? "; put it back from a backup" : "");
}

/* "00000012" and what follows it. */
static bool number_parse(const char *text, uint32_t *number, const char **rest)
{
    uint64_t n = 0;
    size_t i = 0;

    for (; text[i] >= '0' && text[i] <= '9' && i < 10; i++)
        n = n * 10 + (uint64_t)(text[i] - '0');
    *number = (uint32_t)n;
    *rest = text + i;
    return i > 0 && n <= UINT32_MAX;
}

/*
 * gen, closed
 */

static bool gen_name(struct catalog_load *l, const char *name)
{
    const char *rest;
    uint32_t g;

    return number_parse(name, &g, &rest) && *rest == '\0' &&
           !catalog_generation_at(l->c, g);
}

static void gen_record(struct catalog_load *l, const char *name, int64_t result,
                       const void *data)
{
    struct record_generation g;
    struct err err;
    const char *rest;
    uint32_t number;
    int rc;

    if (result < 0) {
        catalog_load_stop(l, (int)result, "gen", name, err_text((int)result));
        return;
    }
    rc = record_generation_decode(data, (size_t)result, &g, &err);
    if (rc < 0) {
        catalog_load_stop(l, rc, "gen", name, err.text);
        return;
    }
    if (!number_parse(name, &number, &rest) || number != g.generation) {
        catalog_load_stop(l, -CKPT_ECORRUPT, "gen", name,
                          "it speaks of another generation");
        return;
    }
    rc = catalog_note_generation(l->c, &g);
    if (rc < 0)
        catalog_load_fail(l, rc, "gen", name, err_text(rc));
}

static bool closed_name(struct catalog_load *l, const char *name)
{
    const char *rest;
    uint32_t g;

    if (number_parse(name, &g, &rest) && *rest == '\0')
        catalog_note_closed(l->c, g);
    return false;
}

/*
 * intent, decision
 */

static void note(struct catalog_load *l, const struct catalog_save *save,
                 const char *reason)
{
    int rc = catalog_note_save(l->c, save, reason);

    if (rc < 0)
        catalog_load_fail(l, rc, "decision", "", err_text(rc));
}

static bool intent_name(struct catalog_load *l, const char *name)
{
    struct catalog_save save = {.status = SAVE_UNDECIDED};

    if (save_id_parse(name, &save.id, NULL) == 0 &&
        catalog_status(l->c, &save.id) == 0)
        note(l, &save, "");
    return false;
}

static bool decision_name(struct catalog_load *l, const char *name)
{
    enum save_status status;
    struct save_id id;
    const char *rest;

    if (save_id_parse(name, &id, &rest) < 0 || *rest != '\0')
        return false;
    status = catalog_status(l->c, &id);
    return status == 0 || status == SAVE_UNDECIDED || status == SAVE_UNREADABLE;
}

static void decision_unreadable(struct catalog_load *l, const char *name,
                                const struct save_id *id, int code,
                                const char *why)
{
    struct catalog_save save = {
        .id = *id, .status = SAVE_UNREADABLE, .code = code};
    struct err err;

    (void)err_set(&err, code, "runs/%s/decision/%s: %s", l->run, name, why);
    note(l, &save, err.text);
}

static void decision_record(struct catalog_load *l, const char *name,
                            int64_t result, const void *data)
{
    struct record_decision d;
    struct catalog_save save;
    struct save_id id;
    struct err err;
    int rc;

    if (save_id_parse(name, &id, NULL) < 0 || result == -ENOENT)
        return; /* gone: its tomb will be seen */
    if (result == -ENOMEM || result == -ECANCELED) {
        catalog_load_fail(l, (int)result, "decision", name,
                          err_text((int)result));
        return;
    }
    if (result < 0) {
        decision_unreadable(l, name, &id, (int)result, err_text((int)result));
        return;
    }
    rc = record_decision_of(&id, data, (size_t)result, &d, &err);
    if (rc < 0) {
        decision_unreadable(l, name, &id, rc, err.text);
        return;
    }
    catalog_save_of(&d, &save);
    note(l, &save, d.reason);
}

/*
 * load: outcomes "GEN.K"; votes on them "GEN.K.DAEMON" are passed over.
 */

static bool load_number(const char *name, uint32_t *generation, uint32_t *k)
{
    const char *rest;

    return number_parse(name, generation, &rest) && *rest == '.' &&
           number_parse(rest + 1, k, &rest) && *rest == '\0';
}

static bool load_name(struct catalog_load *l, const char *name)
{
    uint32_t generation, k;
    const struct catalog_generation *g;

    if (!load_number(name, &generation, &k))
        return false;
    g = catalog_generation_at(l->c, generation);
    return g && k >= g->origin_load;
}

/* A record that only some who read the catalog need: `bad` keeps the first of
 * its folder, and they look at it. err says what is wrong with this one. */
static void record_unreadable(struct catalog_load *l, const char *folder,
                              const char *name, const struct err *err,
                              struct err *bad)
{
    if (err->code == -ENOMEM || err->code == -ECANCELED)
        catalog_load_fail(l, err->code, folder, name, err->text);
    else if (bad->code == 0)
        (void)err_set(bad, err->code, "runs/%s/%s/%s: %s", l->run, folder, name,
                      err->text);
}

static void load_record(struct catalog_load *l, const char *name,
                        int64_t result, const void *data)
{
    struct record_load r;
    struct err err;
    uint32_t generation, k;
    int rc = result < 0 ? (int)result : 0;

    if (rc < 0)
        (void)err_set(&err, rc, "%s", err_text(rc));
    else
        rc = record_load_decode(data, (size_t)result, &r, &err);
    if (rc < 0) {
        record_unreadable(l, "load", name, &err, &l->c->bad_load);
        return;
    }
    if (r.outcome != LOAD_VERIFIED || !load_number(name, &generation, &k) ||
        r.id.generation == 0 || r.id.generation >= generation)
        return;
    for (size_t i = 0; i < l->c->generation_count; i++) {
        struct catalog_generation *g = &l->c->generation[i];

        if (g->record.generation != generation || k < g->origin_load)
            continue;
        g->origin_load = k;
        catalog_note_load(l->c, generation, &r.id);
    }
}

/*
 * verified, pin, damaged, damaged_remote, lease, tomb
 */

struct catalog_save *catalog_named(const struct catalog *c, const char *name,
                                   char then)
{
    struct save_id id;
    const char *rest;

    if (save_id_parse(name, &id, &rest) < 0 || *rest != then)
        return NULL;
    return catalog_find(c, &id);
}

void catalog_set_pinned(struct catalog *c, const struct store_names *pins)
{
    for (size_t i = 0; i < c->save_count; i++)
        c->save[i].is_pinned = false;
    for (size_t i = 0; i < pins->count; i++) {
        struct catalog_save *s = catalog_named(c, pins->name[i], '\0');

        if (s) /* "SAVE.bak" pins nothing */
            s->is_pinned = true;
    }
}

void catalog_set_damaged(struct catalog *c, const struct store_names *marks)
{
    for (size_t i = 0; i < c->save_count; i++)
        c->save[i].is_damaged = false;
    for (size_t i = 0; i < marks->count; i++) {
        struct catalog_save *s = catalog_named(c, marks->name[i], '.');

        if (s)
            s->is_damaged = true;
    }
}

void catalog_set_damaged_remote(struct catalog *c,
                                const struct store_names *marks)
{
    for (size_t i = 0; i < c->save_count; i++)
        c->save[i].is_remote_damaged = false;
    for (size_t i = 0; i < marks->count; i++) {
        struct catalog_save *s = catalog_named(c, marks->name[i], '.');

        if (s)
            s->is_remote_damaged = true;
    }
}

/* "SAVE"; a daemon's "SAVE.DAEMON" is about its share only. */
static bool verified_name(struct catalog_load *l, const char *name)
{
    struct catalog_save *s = catalog_named(l->c, name, '\0');

    if (s)
        s->is_verified = true;
    return false;
}

/* "SAVE"; what is behind that is about a daemon's share. */
static bool remote_name(struct catalog_load *l, const char *name)
{
    struct catalog_save *s = catalog_named(l->c, name, '\0');

    if (s)
        s->is_marked_remote = true;
    return false;
}

static void pin_end(struct catalog_load *l)
{
    catalog_set_pinned(l->c, &l->names);
}

static void damaged_end(struct catalog_load *l)
{
    catalog_set_damaged(l->c, &l->names);
}

static void damaged_remote_end(struct catalog_load *l)
{
    catalog_set_damaged_remote(l->c, &l->names);
}

static bool lease_name(struct catalog_load *l, const char *name)
{
    (void)l;
    (void)name;
    return true;
}

/* It says which save is in use: of no matter to those who only look or join,
 * all that matters to those who remove. */
static void lease_record(struct catalog_load *l, const char *name,
                         int64_t result, const void *data)
{
    struct record_mark mark;
    struct save_id *grown;
    struct err err;
    int rc = 0;

    if (result == -ENOENT)
        return; /* the reader has ended */
    if (result >= 0)
        rc =
            record_mark_decode(data, (size_t)result, RECORD_LEASE, &mark, &err);
    else
        rc = err_set(&err, (int)result, "%s", err_text((int)result));
    if (rc < 0) {
        record_unreadable(l, "lease", name, &err, &l->c->bad_lease);
        return;
    }
    grown = realloc(l->leased, (l->leased_count + 1) * sizeof *grown);
    if (!grown) {
        catalog_load_fail(l, -ENOMEM, "lease", name, err_text(-ENOMEM));
        return;
    }
    l->leased = grown;
    l->leased[l->leased_count++] = mark.id;
}

static void lease_end(struct catalog_load *l)
{
    for (size_t i = 0; i < l->c->save_count; i++)
        l->c->save[i].is_leased = false;
    for (size_t i = 0; i < l->leased_count; i++) {
        struct catalog_save *s = catalog_find(l->c, &l->leased[i]);

        if (s)
            s->is_leased = true;
    }
}

static bool tomb_name(struct catalog_load *l, const char *name)
{
    struct save_id id;
    const char *rest;
    int rc;

    /* "SAVE.bak" is nobody's end. */
    if (save_id_parse(name, &id, &rest) < 0 || *rest != '\0')
        return false;
    if (catalog_find(l->c, &id) && is_left_out("tomb over a decision"))
        return false;
    rc = catalog_note_tomb(l->c, &id);
    if (rc < 0)
        catalog_load_fail(l, rc, "tomb", name, err_text(rc));
    return false;
}

/* Who cannot be asked may be a checkpoint, or none. */
static void tomb_asked(struct catalog_load *l, const char *name, int64_t result,
                       const void *data)
{
    (void)data;
    if (result >= 0)
        (void)tomb_name(l, name);
    else if (result != -ENOENT)
        catalog_load_fail(l, (int)result, "tomb", name, err_text((int)result));
}

static bool tomb_is_asked(struct catalog_load *l, const char *name)
{
    (void)l;
    (void)name;
    return true;
}

int catalog_tomb_names(const struct catalog *c, struct store_names *out)
{
    size_t room = c->save_count + 1;

    *out = (struct store_names){.block = malloc(room * SAVE_ID_TEXT_BYTES),
                                .name = malloc(room * sizeof *out->name)};
    if (!out->block || !out->name) {
        store_names_free(out);
        return -ENOMEM;
    }
    for (size_t i = 0; i < c->save_count; i++) {
        char *text = out->block + out->count * SAVE_ID_TEXT_BYTES;

        if (catalog_asks_tomb_of(&c->save[i]))
            out->name[out->count++] = save_id_format(&c->save[i].id, text);
    }
    return 0;
}

const struct catalog_folder catalog_tombs_asked = {"tomb", tomb_is_asked,
                                                   tomb_asked, NULL};

const struct catalog_folder catalog_folders[CATALOG_FOLDERS] = {
    {"gen", gen_name, gen_record, NULL},
    {"closed", closed_name, NULL, NULL},
    {"intent", intent_name, NULL, NULL},
    {"decision", decision_name, decision_record, NULL},
    {"load", load_name, load_record, NULL},
    {"verified", verified_name, NULL, NULL},
    {"remote", remote_name, NULL, NULL},
    {"lease", lease_name, lease_record, lease_end},
    {"pin", NULL, NULL, pin_end},
    {"damaged", NULL, NULL, damaged_end},
    {"damaged_remote", NULL, NULL, damaged_remote_end},
    {"tomb", tomb_name, NULL, NULL},
};
