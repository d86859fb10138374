/*
 * load_query.c - what a rank may ask about checkpoints without loading them:
 * extra state, the list, a tensor's description.
 */
#include "ckptd/engine/load_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* A question that waits for a manifest. The session may go meanwhile: it is
 * looked up again by its peer number. */
struct query {
    struct engine *engine;
    env_peer peer;
    uint64_t request_id;
    uint64_t index; /* DESCRIBE */
    void (*answer)(struct query *q, struct session *s,
                   const struct manifest *m);
};

static struct session *session_of(const struct query *q)
{
    LIST_FOR_EACH (node, &q->engine->sessions) {
        struct session *s = container_of(node, struct session, link);

        if (s->peer == q->peer)
            return s;
    }
    return NULL;
}

static void query_manifest(void *arg, int result, struct held_manifest *held,
                           const struct err *err)
{
    struct query *q = arg;
    struct session *s = session_of(q);

    if (s && result)
        session_error(s, q->request_id, result, "%s", err->text);
    else if (s)
        q->answer(q, s, &held->manifest);
    held_manifest_put(held);
    free(q);
}

static void query_begin(struct session *s, uint64_t request_id,
                        const struct save_id *id, uint64_t index,
                        void (*answer)(struct query *q, struct session *s,
                                       const struct manifest *m))
{
    struct query *q = calloc(1, sizeof *q);

    if (!q) {
        session_error(s, request_id, -ENOMEM, "no memory to look");
        return;
    }
    *q = (struct query){.engine = s->engine,
                        .peer = s->peer,
                        .request_id = request_id,
                        .index = index,
                        .answer = answer};
    manifest_fetch(s->run, id, query_manifest, q);
}

/*
 * VALUES.
 */

static struct value inline_value(const struct manifest *m, uint64_t i)
{
    const struct mf_value *v = &m->value[i];
    struct value out = {.name = m->blob + v->name,
                        .name_bytes = v->name_bytes,
                        .type = v->type,
                        .axes = v->axes,
                        .data = m->blob + v->data,
                        .bytes = v->bytes};

    memcpy(out.coordinate, v->coordinate, sizeof out.coordinate);
    return out;
}

static void encode_inline(const struct manifest *m, struct wr *w)
{
    struct value *values = calloc(m->value_count + 1, sizeof *values);

    if (!values) {
        w->failed = true;
        return;
    }
    for (uint64_t i = 0; i < m->value_count; i++)
        values[i] = inline_value(m, i);
    values_encode(values, m->value_count, w);
    free(values);
}

/* Values in reserved tensors: their lengths stand for their data. */
static void encode_large(const struct manifest *m, struct wr *w)
{
    struct value *values = calloc(m->tensor_count + 1, sizeof *values);
    uint8_t(*length)[8] = calloc(m->tensor_count + 1, sizeof *length);
    size_t count = 0;

    w->failed = !values || !length;
    for (uint64_t i = 0; !w->failed && i < m->tensor_count; i++) {
        const struct mf_tensor *t = &m->tensor[i];

        if (!(t->flags & 1) ||
            value_reserved_parse(&m->layout, m->blob + t->name, t->name_bytes,
                                 &values[count]))
            continue;
        put_u64(length[count], t->logical_bytes);
        values[count].type = t->dtype == DTYPE_I8 ? VALUE_STRING : VALUE_BYTES;
        values[count].data = length[count];
        values[count].bytes = sizeof length[count];
        count++;
    }
    if (!w->failed)
        values_encode(values, count, w);
    free(values);
    free(length);
}

static void answer_values(struct query *q, struct session *s,
                          const struct manifest *m)
{
    struct wr small = {0}, large = {0}, w = {0};
    struct wire_values_ok v = {.id = m->info.id, .layout = m->layout};

    encode_inline(m, &small);
    encode_large(m, &large);
    v.values = small.data;
    v.values_bytes = (uint32_t)small.bytes;
    v.large = large.data;
    v.large_bytes = (uint32_t)large.bytes;
    wire_values_ok_encode(&v, &w);
    if (small.failed || large.failed || w.failed)
        session_error(s, q->request_id, -ENOMEM, "no memory for extra state");
    else if (w.bytes > WIRE_PAYLOAD_MAX)
        session_error(s, q->request_id, -EFBIG,
                      "step %" PRIu64 ": extra state of %zu bytes does not fit "
                      "one message; give large values as tensors",
                      m->info.id.step, w.bytes);
    else
        session_send(s, WIRE_VALUES_OK, q->request_id, &w);
    wr_free(&w);
    wr_free(&small);
    wr_free(&large);
}

void load_values(struct session *s, uint64_t request_id,
                 const struct wire_values *v)
{
    struct save_id id = v->id.generation ? v->id : s->parent;

    if (id.generation == 0)
        session_error(s, request_id, -ENODATA,
                      "run %s, generation %u: a fresh start, there is no extra "
                      "state",
                      s->open.run, s->generation);
    else
        query_begin(s, request_id, &id, 0, answer_values);
}

/*
 * LIST and DESCRIBE.
 */

struct list_answer {
    struct wire_list_ok ok;
    struct wr infos, states;
};

static void list_one(const struct catalog_save *save, struct list_answer *a)
{
    const struct wire_info info = {.id = save->id,
                                   .logical_bytes = save->logical_bytes,
                                   .stored_bytes = save->stored_bytes,
                                   .tensor_count = save->tensor_count,
                                   .rank_count = save->rank_count,
                                   .created_unix_ms = save->created_unix_ms};

    a->ok.count++;
    wire_info_encode(&info, &a->infos);
    wr_u32(&a->states,
           catalog_is_remote(save) ? WIRE_STATE_REMOTE : WIRE_STATE_COMMITTED);
    wr_u32(&a->states, save->node_count);
}

void load_list(struct session *s, uint64_t request_id)
{
    const struct catalog *c = &s->run->catalog;
    struct list_answer a = {0};
    struct wr w = {0};

    for (size_t i = c->save_count; i-- > 0;)
        if (c->save[i].status == SAVE_COMMITTED &&
            a.infos.bytes + WIRE_INFO_BYTES <= WIRE_PAYLOAD_MAX / 2)
            list_one(&c->save[i], &a);
    a.ok.infos = a.infos.data;
    if (s->features & WIRE_FEATURE_REMOTE)
        a.ok.states = a.states.data;
    if (!a.infos.failed && !a.states.failed) /* else there are fewer of them */
        wire_list_ok_encode(&a.ok, &w);
    if (a.infos.failed || a.states.failed || w.failed)
        session_error(s, request_id, -ENOMEM, "no memory for the list");
    else
        session_send(s, WIRE_LIST_OK, request_id, &w);
    wr_free(&w);
    wr_free(&a.infos);
    wr_free(&a.states);
}

/* The index-th tensor that users see; tensor_count when there is none. */
static uint64_t visible_tensor(const struct manifest *m, uint64_t index)
{
    uint64_t i = 0;

    for (; i < m->tensor_count; i++)
        if (!(m->tensor[i].flags & 1) && index-- == 0)
            break;
    return i;
}

static void answer_describe(struct query *q, struct session *s,
                            const struct manifest *m)
{
    uint64_t tensor = visible_tensor(m, q->index);
    char name[TABLE_NAME_MAX + 1];
    struct entry e = {.name = name, .replica_count = 1};
    struct wire_describe_ok v;
    struct wr table = {0}, w = {0};

    if (tensor == m->tensor_count) {
        session_error(s, q->request_id, -ERANGE,
                      "step %" PRIu64 " has no tensor %" PRIu64,
                      m->info.id.step, q->index);
        return;
    }
    memcpy(name, m->blob + m->tensor[tensor].name,
           m->tensor[tensor].name_bytes);
    name[m->tensor[tensor].name_bytes] = '\0';
    manifest_geometry(m, tensor, &e.geometry);
    table_encode(&e, 1, &table);
    v = (struct wire_describe_ok){table.data, (uint32_t)table.bytes};
    wire_describe_ok_encode(&v, &w);
    if (table.failed || w.failed)
        session_error(s, q->request_id, -ENOMEM, "no memory to describe");
    else
        session_send(s, WIRE_DESCRIBE_OK, q->request_id, &w);
    wr_free(&w);
    wr_free(&table);
}

void load_describe(struct session *s, uint64_t request_id,
                   const struct wire_describe *v)
{
    query_begin(s, request_id, &v->id, v->index, answer_describe);
}
