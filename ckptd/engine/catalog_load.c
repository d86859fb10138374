/*
 * catalog_load.c - reading a run's folder into a catalog.
 *
 * One folder after the other, in an order that makes the picture consistent
 * without any lock: intents before decisions (a save that is decided meanwhile
 * is seen decided), decisions before tombs (a decision that is gone when it is
 * to be read has a tomb by then). Of each folder the names are listed, and the
 * records whose content matters are read, a few at a time.
 *
 * Generations and RUN must be readable, or nothing can be said at all. A
 * decision that cannot be read becomes SAVE_UNREADABLE with the reason; a lease
 * that cannot be read is noted in the catalog, for those who remove saves. So
 * is the outcome of a load: without it a branch goes on from its parent, which
 * is at worst one that this load had to pass over.
 */
#include "ckptd/engine/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define READS_AT_ONCE 16

struct load;

struct fetch {
    struct load *load;
    const char *name; /* in load.names; NULL: not in use */
};

struct load {
    struct store *store;
    struct catalog *c;
    catalog_fn done;
    void *arg;
    size_t stage;
    struct store_names names;
    size_t next;
    uint32_t pending; /* reads under way, and 1 while more are started */
    struct fetch fetch[READS_AT_ONCE];
    struct save_id *leased;
    size_t leased_count;
    int result;
    struct err err;
    char run[RUN_NAME_MAX + 1];
};

/* A folder. name() notes what the name alone says and tells whether the record
 * is to be read; record() gets it, or the failure. end() runs once all are
 * there. Any may be NULL. */
struct stage {
    const char *folder;
    bool (*name)(struct load *l, const char *name);
    void (*record)(struct load *l, const char *name, int64_t result,
                   const void *data);
    void (*end)(struct load *l);
};

static void load_fail_with(struct load *l, int code, const char *folder,
                           const char *name, const char *why,
                           const char *advice)
{
    if (l->result == 0)
        l->result = err_set(&l->err, code, "runs/%s/%s%s%s: %s%s", l->run,
                            folder, name[0] ? "/" : "", name, why, advice);
}

static void load_fail(struct load *l, int code, const char *folder,
                      const char *name, const char *why)
{
    load_fail_with(l, code, folder, name, why, "");
}

/* A record that everything depends on. */
static void load_stop(struct load *l, int code, const char *folder,
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

static bool gen_name(struct load *l, const char *name)
{
    const char *rest;
    uint32_t g;

    return number_parse(name, &g, &rest) && *rest == '\0' &&
           !catalog_generation_at(l->c, g);
}

static void gen_record(struct load *l, const char *name, int64_t result,
                       const void *data)
{
    struct record_generation g;
    struct err err;
    const char *rest;
    uint32_t number;
    int rc;

    if (result < 0) {
        load_stop(l, (int)result, "gen", name, err_text((int)result));
        return;
    }
    rc = record_generation_decode(data, (size_t)result, &g, &err);
    if (rc < 0) {
        load_stop(l, rc, "gen", name, err.text);
        return;
    }
    if (!number_parse(name, &number, &rest) || number != g.generation) {
        load_stop(l, -CKPT_ECORRUPT, "gen", name,
                  "it speaks of another generation");
        return;
    }
    rc = catalog_note_generation(l->c, &g);
    if (rc < 0)
        load_fail(l, rc, "gen", name, err_text(rc));
}

static bool closed_name(struct load *l, const char *name)
{
    const char *rest;
    uint32_t g;

    if (number_parse(name, &g, &rest) && *rest == '\0') {
        for (size_t i = 0; i < l->c->generation_count; i++) {
            if (l->c->generation[i].record.generation == g)
                l->c->generation[i].is_closed = true;
        }
    }
    return false;
}

/*
 * intent, decision
 */

static void note(struct load *l, const struct catalog_save *save,
                 const char *reason)
{
    int rc = catalog_note_save(l->c, save, reason);

    if (rc < 0)
        load_fail(l, rc, "decision", "", err_text(rc));
}

static bool intent_name(struct load *l, const char *name)
{
    struct catalog_save save = {.status = SAVE_UNDECIDED};

    if (save_id_parse(name, &save.id, NULL) == 0 &&
        !catalog_find(l->c, &save.id))
        note(l, &save, "");
    return false;
}

static bool decision_name(struct load *l, const char *name)
{
    const struct catalog_save *known;
    struct save_id id;
    const char *rest;

    if (save_id_parse(name, &id, &rest) < 0 || *rest != '\0')
        return false;
    known = catalog_find(l->c, &id);
    return !known || known->status == SAVE_UNDECIDED ||
           known->status == SAVE_UNREADABLE;
}

static void decision_unreadable(struct load *l, const struct save_id *id,
                                int code, const char *why)
{
    struct catalog_save save = {
        .id = *id, .status = SAVE_UNREADABLE, .code = code};

    note(l, &save, why);
}

static void decision_record(struct load *l, const char *name, int64_t result,
                            const void *data)
{
    struct record_decision d;
    struct catalog_save save;
    struct save_id id;
    struct err err;
    int rc;

    if (save_id_parse(name, &id, NULL) < 0 || result == -ENOENT)
        return; /* gone: its tomb will be seen */
    if (result == -ENOMEM || result == -ECANCELED) {
        load_fail(l, (int)result, "decision", name, err_text((int)result));
        return;
    }
    if (result < 0) {
        decision_unreadable(l, &id, (int)result, err_text((int)result));
        return;
    }
    rc = record_decision_decode(data, (size_t)result, &d, &err);
    if (rc == 0 && save_id_compare(&d.id, &id) != 0)
        rc = err_set(&err, -CKPT_ECORRUPT, "it speaks of another save");
    if (rc < 0) {
        decision_unreadable(l, &id, rc, err.text);
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

static bool load_name(struct load *l, const char *name)
{
    uint32_t generation, k;
    const struct catalog_generation *g;

    if (!load_number(name, &generation, &k))
        return false;
    g = catalog_generation_at(l->c, generation);
    return g && k >= g->origin_load;
}

static void load_unreadable(struct load *l, const char *name, int code,
                            const char *why)
{
    if (code == -ENOMEM || code == -ECANCELED)
        load_fail(l, code, "load", name, why);
    else if (l->c->bad_load.code == 0)
        (void)err_set(&l->c->bad_load, code, "runs/%s/load/%s: %s", l->run,
                      name, why);
}

static void load_record(struct load *l, const char *name, int64_t result,
                        const void *data)
{
    struct record_load r;
    struct err err;
    uint32_t generation, k;
    int rc;

    if (result < 0) {
        load_unreadable(l, name, (int)result, err_text((int)result));
        return;
    }
    rc = record_load_decode(data, (size_t)result, &r, &err);
    if (rc < 0) {
        load_unreadable(l, name, rc, err.text);
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
 * verified, pin, damaged, lease, tomb
 */

/* "SAVE"; a daemon's "SAVE.DAEMON" is about its share only. */
static bool verified_name(struct load *l, const char *name)
{
    struct catalog_save *s;
    struct save_id id;
    const char *rest;

    if (save_id_parse(name, &id, &rest) == 0 && *rest == '\0' &&
        (s = catalog_find(l->c, &id)))
        s->is_verified = true;
    return false;
}

/* What is pinned is exactly what is listed: pins are taken away as well. */
static void pin_end(struct load *l)
{
    for (size_t i = 0; i < l->c->save_count; i++)
        l->c->save[i].is_pinned = false;
    for (size_t i = 0; i < l->names.count; i++) {
        struct catalog_save *s;
        struct save_id id;
        const char *rest;

        if (save_id_parse(l->names.name[i], &id, &rest) == 0 && *rest == '\0' &&
            (s = catalog_find(l->c, &id)))
            s->is_pinned = true;
    }
}

/* "SAVE.DAEMON"; as of pins, exactly what is listed. */
static void damaged_end(struct load *l)
{
    for (size_t i = 0; i < l->c->save_count; i++)
        l->c->save[i].is_damaged = false;
    for (size_t i = 0; i < l->names.count; i++) {
        struct catalog_save *s;
        struct save_id id;
        const char *rest;

        if (save_id_parse(l->names.name[i], &id, &rest) == 0 && *rest == '.' &&
            (s = catalog_find(l->c, &id)))
            s->is_damaged = true;
    }
}

static bool lease_name(struct load *l, const char *name)
{
    (void)l;
    (void)name;
    return true;
}

/* It says which save is in use: of no matter to those who only look or join,
 * all that matters to those who remove. */
static void lease_unreadable(struct load *l, const char *name, int code,
                             const char *why)
{
    if (code == -ENOMEM || code == -ECANCELED)
        load_fail(l, code, "lease", name, why);
    else if (l->c->bad_lease.code == 0)
        (void)err_set(&l->c->bad_lease, code, "runs/%s/lease/%s: %s", l->run,
                      name, why);
}

static void lease_record(struct load *l, const char *name, int64_t result,
                         const void *data)
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
        lease_unreadable(l, name, rc, err.text);
        return;
    }
    grown = realloc(l->leased, (l->leased_count + 1) * sizeof *grown);
    if (!grown) {
        load_fail(l, -ENOMEM, "lease", name, err_text(-ENOMEM));
        return;
    }
    l->leased = grown;
    l->leased[l->leased_count++] = mark.id;
}

static void lease_end(struct load *l)
{
    for (size_t i = 0; i < l->c->save_count; i++)
        l->c->save[i].is_leased = false;
    for (size_t i = 0; i < l->leased_count; i++) {
        struct catalog_save *s = catalog_find(l->c, &l->leased[i]);

        if (s)
            s->is_leased = true;
    }
}

static bool tomb_name(struct load *l, const char *name)
{
    struct catalog_save save = {.status = SAVE_REMOVED};
    const struct catalog_save *known;
    const char *rest;

    /* "SAVE.bak" is nobody's end. */
    if (save_id_parse(name, &save.id, &rest) < 0 || *rest != '\0')
        return false;
    known = catalog_find(l->c, &save.id);
    if (!known || known->status != SAVE_REMOVED)
        note(l, &save, "");
    return false;
}

static const struct stage stages[] = {
    {"gen", gen_name, gen_record, NULL},
    {"closed", closed_name, NULL, NULL},
    {"intent", intent_name, NULL, NULL},
    {"decision", decision_name, decision_record, NULL},
    {"load", load_name, load_record, NULL},
    {"verified", verified_name, NULL, NULL},
    {"lease", lease_name, lease_record, lease_end},
    {"pin", NULL, NULL, pin_end},
    {"damaged", NULL, NULL, damaged_end},
    {"tomb", tomb_name, NULL, NULL},
};

/*
 * The flow.
 */

static void load_end(struct load *l)
{
    catalog_fn done = l->done;
    void *arg = l->arg;
    struct err err = l->err;
    int result = l->result;

    store_names_free(&l->names);
    free(l->leased);
    free(l);
    done(arg, result, &err);
}

static void stage_list(struct load *l);

static struct fetch *fetch_free(struct load *l)
{
    for (size_t i = 0; i < READS_AT_ONCE; i++) {
        if (!l->fetch[i].name)
            return &l->fetch[i];
    }
    return NULL;
}

static void fetch_done(void *arg, int64_t result, void *data);

/* A batch of names; the next follows when all its reads are done. */
static void batch_start(struct load *l)
{
    const struct stage *st = &stages[l->stage];
    struct fetch *f;

    while (l->next < l->names.count && l->result == 0 && (f = fetch_free(l))) {
        const char *name = l->names.name[l->next++];
        char leaf[RECORD_NAME_BYTES], full[RECORD_NAME_BYTES];

        if (!st->name || !st->name(l, name) || strlen(name) > 128)
            continue;
        (void)snprintf(leaf, sizeof leaf, "%s/%s", st->folder, name);
        f->load = l;
        f->name = name;
        l->pending++;
        recio_get(l->store, name_run(full, l->run, leaf), RECORD_MAX_BYTES,
                  fetch_done, f);
    }
}

/* No read is under way: start more, or go on to the next folder. */
static void stage_go(struct load *l)
{
    const struct stage *st = &stages[l->stage];

    while (l->result == 0 && l->next < l->names.count) {
        l->pending = 1; /* while the batch is started */
        batch_start(l);
        if (--l->pending > 0)
            return;
    }
    if (l->result < 0) {
        load_end(l);
        return;
    }
    if (st->end)
        st->end(l);
    l->stage++;
    stage_list(l);
}

static void fetch_done(void *arg, int64_t result, void *data)
{
    struct fetch *f = arg;
    struct load *l = f->load;
    const char *name = f->name;

    f->name = NULL;
    stages[l->stage].record(l, name, result, data);
    free(data);
    if (--l->pending == 0)
        stage_go(l);
}

static void listed(void *arg, int result, struct store_names *names)
{
    struct load *l = arg;

    if (result < 0) {
        load_fail(l, result, stages[l->stage].folder, "", err_text(result));
        load_end(l);
        return;
    }
    store_names_free(&l->names);
    l->names = *names;
    *names = (struct store_names){0};
    l->next = 0;
    stage_go(l);
}

static void stage_list(struct load *l)
{
    char name[RECORD_NAME_BYTES];

    if (l->stage == ARRAY_LEN(stages)) {
        load_end(l);
        return;
    }
    recio_list(l->store, name_run(name, l->run, stages[l->stage].folder),
               listed, l);
}

static void run_done(void *arg, int64_t result, void *data)
{
    struct load *l = arg;
    struct record_run r = {0};
    struct err err;
    int rc = 0;

    if (result < 0)
        rc = err_set(&err, (int)result, "%s",
                     result == -ENOENT ? "there is no such run"
                                       : err_text((int)result));
    else
        rc = record_run_decode(data, (size_t)result, &r, &err);
    free(data);
    if (rc < 0) {
        load_stop(l, rc, "RUN", "", err.text);
        load_end(l);
        return;
    }
    l->c->uuid = r.uuid;
    stage_list(l);
}

void catalog_load(struct store *s, const char *run, struct catalog *c,
                  catalog_fn done, void *arg)
{
    struct load *l = calloc(1, sizeof *l);
    char name[RECORD_NAME_BYTES];
    struct err err;

    if (!l) {
        (void)err_set(&err, -ENOMEM, "run %s: no memory to read it", run);
        done(arg, -ENOMEM, &err);
        return;
    }
    l->store = s;
    l->c = c;
    l->done = done;
    l->arg = arg;
    (void)snprintf(l->run, sizeof l->run, "%s", run);
    (void)snprintf(c->run, sizeof c->run, "%s", run);
    c->bad_lease = c->bad_load = (struct err){0};
    recio_get(s, name_run(name, run, "RUN"), RECORD_MAX_BYTES, run_done, l);
}
