/*
 * session_table.c - a rank's tables: gathered from frames, decoded and checked
 * as a whole, kept by number.
 *
 * A table that is no table (-EBADMSG), or larger than WIRE_TABLE_MAX, is a
 * breach; one that does not fit (shape, names, memory, SESSION_TABLE_BYTES)
 * fails its request. Of SESSION_TABLES the oldest goes; saves and loads hold
 * references, so a table that is replaced lives on under them, and counts.
 */
#include "ckptd/engine/session.h"

#include <errno.h>
#include <inttypes.h>
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
    list_remove(&t->link);
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
    while (list_pop(&s->old_tables)) /* their holders free them */
        ;
}

/* Out of the table of numbers: it may live on under saves and loads. */
static void retire(struct session *s, struct rank_table *t)
{
    if (t->references > 1)
        list_append(&s->old_tables, &t->link);
    rank_table_put(t);
}

/*
 * Making one.
 */

/* What stays when table `number` is replaced. */
static uint64_t bytes_beside(const struct session *s, uint32_t number)
{
    uint64_t bytes = 0;

    LIST_FOR_EACH (node, &s->tables) {
        const struct rank_table *t =
            container_of(node, struct rank_table, link);

        if (t->number != number || t->references > 1)
            bytes += t->bytes;
    }
    LIST_FOR_EACH (node, &s->old_tables)
        bytes += container_of(node, struct rank_table, link)->bytes;
    return bytes;
}

/* Count `bytes` more that `t` is about to take. */
static int charge(const struct session *s, struct rank_table *t, uint64_t bytes,
                  struct err *err)
{
    t->bytes += bytes;
    if (t->bytes + bytes_beside(s, t->number) <= SESSION_TABLE_BYTES)
        return 0;
    return err_set(err, -E2BIG,
                   "decoded it takes more than %" PRIu64
                   " MiB together with other tables in use, which is the limit",
                   SESSION_TABLE_BYTES >> 20);
}

static int measure(const struct session *s, struct rank_table *t,
                   struct err *err)
{
    uint32_t chunk_bytes = s->engine->chunk_bytes;
    uint64_t bytes;
    int rc;

    rc = writelist_bytes(t->table.entry, t->table.count, chunk_bytes, &bytes);
    if (rc)
        return err_set(err, rc, "cannot cut it into chunks: %s", err_text(rc));
    bytes += (t->table.count + 1) * sizeof *t->local_bytes;
    rc = charge(s, t, bytes, err);
    if (rc)
        return rc;

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
    uint64_t bytes;
    int rc;

    if (!t)
        return err_set(err, -ENOMEM, "no memory");
    t->references = 1;
    t->number = s->partial_number;
    rc = table_decoded_bytes(w->data, w->bytes, &bytes);
    if (rc)
        (void)err_set(err, rc, "%zu bytes that are no table", w->bytes);
    else
        rc = charge(s, t, sizeof *t + bytes, err);
    if (rc == 0)
        rc = table_decode(w->data, w->bytes, &t->table, err);
    if (rc)
        goto err_after_alloc;
    t->digest = table_digest(w->data, w->bytes);
    rc = measure(s, t, err);
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
            retire(s, o);
            continue;
        }
        list_append(&others, node);
        count++;
    }
    while ((node = list_pop(&others)) != NULL) {
        if (count-- > SESSION_TABLES)
            retire(s, container_of(node, struct rank_table, link));
        else
            list_append(&s->tables, node);
    }
    list_append(&s->tables, &t->link);
}

static void finish(struct session *s, const struct wire_header *h)
{
    struct rank_table *t = NULL;
    struct err err = {0};
    int rc = s->partial_bytes.failed
                 ? err_set(&err, -ENOMEM, "no memory for its bytes")
                 : build(s, &t, &err);

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
    if (!(h->flags & WIRE_FLAG_MORE))
        finish(s, h);
}
