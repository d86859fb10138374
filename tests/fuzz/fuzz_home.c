/*
 * fuzz_home.c - the records of a run as others may have left them: names and
 * contents, read as the daemon and the tools read them (catalog_load.c):
 *
 *     entries: u8 folder, u8 length of the name, name, u8 kind (0: the bytes
 *     are the whole record; else a body, the envelope is forged),
 *     u16 length, bytes
 *
 * The folder is one of a run's; names that no store takes are left out. What
 * the catalog then says holds together: saves and generations ascend, and
 * `latest` and all that is older are checkpoints that it knows. Names of saves
 * and ids that parse are formatted to the same text.
 */
#include "tests/fuzz/fuzz.h"

#include "ckptd/engine/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES_MAX 64

struct answer {
    bool is_done;
    int result;
};

static void put(struct store *s, const char *name, const void *data,
                size_t bytes)
{
    struct store_req req = {.op = STORE_PUT, .name = name, .len = bytes};

    memcpy(&req.buf, &data, sizeof data);
    fuzz_check(store_run(s, &req) >= -EEXIST); /* there already, or a folder */
}

/* Text of names that parse. */
static void names(const char *name)
{
    char text[SAVE_ID_TEXT_BYTES], id_text[ID_TEXT_BYTES];
    const char *rest;
    struct save_id id;
    struct id128 daemon;

    (void)run_name_is_good(name);
    if (id_parse(name, strlen(name), &daemon) == 0)
        fuzz_check(strcmp(id_format(&daemon, id_text), name) == 0);
    if (save_id_parse(name, &id, &rest))
        return;
    (void)save_id_format(&id, text);
    fuzz_check(strlen(text) == (size_t)(rest - name));
    fuzz_check(memcmp(text, name, strlen(text)) == 0);
}

static void entry(struct store *s, struct rd *in)
{
    static const char *const folder[] = {
        "gen",      "closed", "member", "intent",   "vote", "manifest",
        "decision", "tomb",   "load",   "verified", "pin",  "lease"};
    const char *in_folder = folder[rd_u8(in) % ARRAY_LEN(folder)];
    char name[256] = {0}, path[512];
    size_t name_bytes = rd_u8(in), given_bytes, bytes;
    uint8_t *given = fuzz_exact(in, name_bytes, &name_bytes), *record, kind;

    if (name_bytes)
        memcpy(name, given, name_bytes);
    free(given);
    names(name);
    kind = rd_u8(in);
    bytes = rd_u16(in);
    record = given = fuzz_exact(in, bytes, &given_bytes);
    bytes = given_bytes;
    if (kind)
        record = forge_record(kind, given, given_bytes, &bytes);
    (void)snprintf(path, sizeof path, "runs/run/%s/%s", in_folder, name);
    if (store_name_is_good(path) && strlen(name) == name_bytes &&
        !strchr(name, '/'))
        put(s, path, record, bytes);
    if (record != given)
        free(record);
    free(given);
}

static void loaded(void *arg, int result, const struct err *err)
{
    struct answer *a = arg;

    fuzz_check((result == 0) == (err->code == 0));
    a->is_done = true;
    a->result = result;
}

static void is_checkpoint(const struct catalog *c, const struct save_id *id)
{
    const struct catalog_save *s = catalog_find(c, id);

    fuzz_check(s && s->status == SAVE_COMMITTED);
}

static void look(const struct catalog *c)
{
    struct save_id id = catalog_latest(c);
    char nearby[256];

    for (size_t i = 1; i < c->save_count; i++)
        fuzz_check(save_id_compare(&c->save[i - 1].id, &c->save[i].id) < 0);
    for (size_t i = 1; i < c->generation_count; i++)
        fuzz_check(c->generation[i - 1].record.generation <
                   c->generation[i].record.generation);
    /* A branch that goes round in circles would never end. */
    for (size_t i = 0; id.generation; i++, id = catalog_older(c, &id)) {
        fuzz_check(i <= c->save_count);
        is_checkpoint(c, &id);
    }
    for (size_t i = 0; i < c->save_count; i++) {
        struct save_id at = catalog_at_step(c, c->save[i].id.step, 0);

        fuzz_check(at.generation || c->save[i].status != SAVE_COMMITTED);
        (void)catalog_next_attempt(c, c->save[i].id.generation,
                                   c->save[i].id.step);
        catalog_nearby(c, c->save[i].id.step, nearby, sizeof nearby);
    }
}

static int load(struct store *s, struct catalog *c)
{
    struct answer a = {0};

    catalog_load(s, "run", c, loaded, &a);
    while (!a.is_done)
        fuzz_check(store_poll(s, 0) >= 0);
    return a.result;
}

void fuzz_one(struct rd *in, size_t bytes)
{
    struct record_run run = {.uuid = {{1}}};
    struct catalog c = {0};
    struct wr w = {0};
    struct store *s;
    struct err err;
    int rc;

    (void)bytes;
    fuzz_allocations(64);
    fuzz_check(store_memory_open(0, &s, &err) == 0);
    record_run_encode(&run, &w);
    put(s, "runs/run/RUN", w.data, w.bytes);
    wr_free(&w);
    for (uint32_t i = 0; i < ENTRIES_MAX && rd_left(in); i++)
        entry(s, in);
    rc = load(s, &c);
    if (rc == 0) {
        size_t saves = c.save_count;

        look(&c);
        /* Nothing was added: the same again. */
        fuzz_check(load(s, &c) == 0 && c.save_count == saves);
        look(&c);
    }
    catalog_free(&c);
    store_close(s);
}
