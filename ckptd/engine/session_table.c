/*
 * session_table.c - a rank's tables: gathered from frames, decoded and checked
 * as a whole, kept by number.
 *
 * A table that is no table (-EBADMSG), or larger than WIRE_TABLE_MAX, is a
 * breach; one that does not fit (shape, names, memory) fails its request. Of
 * SESSION_TABLES the oldest goes; saves and loads hold references, so a table
 * that is replaced lives on under them.
 */
#include "ckptd/engine/session.h"

#include <errno.h>
#include <stdlib.h>

struct rank_table *session_table(struct session *s, uint32_t number)
{
    LIST_FOR_EACH (node, &s->tables) {
        struct rank_table *t = container_of(node, struct rank_table, link);

        if (t->number == number)
            return t;
    }
    return NULL;
}

void rank_table_put(struct rank_table *t)
{
    if (!t || --t->references > 0)
        return;
    table_free(&t->table);
    writelist_free(&t->list);
    free(t->local_bytes);
    free(t);
}

void session_tables_free(struct session *s)
{
    struct list *node;

    while ((node = list_pop(&s->tables)) != NULL)
        rank_table_put(container_of(node, struct rank_table, link));
}

static int measure(struct rank_table *t, uint32_t chunk_bytes, struct err *err)
{
    int rc;

    t->local_bytes = calloc(t->table.count + 1, sizeof *t->local_bytes);
    if (!t->local_bytes)
        return err_set(err, -ENOMEM, "no memory for %zu entries",
                       t->table.count);
    for (size_t i = 0; i < t->table.count; i++) {
        const struct entry *e = &t->table.entry[i];

        t->local_bytes[i] = region_local_bytes(&e->geometry, &e->region, NULL);
    }
    rc = writelist_build(t->table.entry, t->table.count, chunk_bytes, &t->list);
    if (rc)
        return err_set(err, rc, "cannot cut it into chunks: %s", err_text(rc));
    return 0;
}

static int build(struct session *s, struct rank_table **out, struct err *err)
{
    const struct wr *w = &s->partial_bytes;
    struct rank_table *t = calloc(1, sizeof *t);
    int rc;

    if (!t)
        return err_set(err, -ENOMEM, "no memory");
    t->references = 1;
    t->number = s->partial_number;
    rc = table_decode(w->data, w->bytes, &t->table, err);
    if (rc)
        goto err_after_alloc;
    t->digest = table_digest(w->data, w->bytes);
    rc = measure(t, s->engine->chunk_bytes, err);
    if (rc)
        goto err_after_decode;
    *out = t;
    return 0;

err_after_decode:
    free(t->local_bytes);
    table_free(&t->table);
err_after_alloc:
    free(t);
    return rc;
}

/* In place of one of the same number, or else of the oldest. */
static void keep(struct session *s, struct rank_table *t)
{
    struct list others, *node;
    uint32_t count = 1;

    list_init(&others);
    while ((node = list_pop(&s->tables)) != NULL) {
        struct rank_table *o = container_of(node, struct rank_table, link);

        if (o->number == t->number) {
            rank_table_put(o);
            continue;
        }
        list_append(&others, node);
        count++;
    }
    while ((node = list_pop(&others)) != NULL) {
        if (count-- > SESSION_TABLES)
            rank_table_put(container_of(node, struct rank_table, link));
        else
            list_append(&s->tables, node);
    }
    list_append(&s->tables, &t->link);
}

static void finish(struct session *s, const struct wire_header *h)
{
    struct rank_table *t = NULL;
    struct err err = {0};
    int rc = build(s, &t, &err);

    wr_free(&s->partial_bytes);
    s->partial_bytes = (struct wr){0};
    s->has_partial = false;
    if (rc == -EBADMSG) {
        session_breach(s, "table %u does not decode: %s", s->partial_number,
                       err.text);
        return;
    }
    if (!t) {
        session_error(s, h->id, rc, "rank %u: table %u: %s", s->open.rank,
                      s->partial_number, err.text);
        return;
    }
    keep(s, t);
    session_send(s, WIRE_TABLE_OK, h->id, NULL);
}

void session_table_frame(struct session *s, const struct wire_header *h,
                         const void *payload)
{
    struct wire_table v;

    if (wire_table_decode(payload, h->length, &v)) {
        session_breach(s, "a TABLE of %u bytes does not decode", h->length);
        return;
    }
    if (s->has_partial && v.number != s->partial_number) {
        session_breach(s, "table %u in the middle of table %u", v.number,
                       s->partial_number);
        return;
    }
    if (s->partial_bytes.bytes + v.bytes > WIRE_TABLE_MAX) {
        session_breach(s, "table %u is larger than %llu bytes", v.number,
                       (unsigned long long)WIRE_TABLE_MAX);
        return;
    }
    s->has_partial = true;
    s->partial_number = v.number;
    wr_bytes(&s->partial_bytes, v.data, v.bytes);
    if (s->partial_bytes.failed) {
        session_breach(s, "no memory for the bytes of table %u", v.number);
        return;
    }
    if (!(h->flags & WIRE_FLAG_MORE))
        finish(s, h);
}
