/*
 * query.c - the functions that only look: what the run holds, what this
 * generation resumes from, whether a save is due.
 */
#include "formats/table.h"
#include "trainer/io.h"

#include <errno.h>
#include <limits.h>

#define QUERY_MS 60000

void ckpt_parent(const struct ckpt *ctx, struct ckpt_id *id)
{
    *id = (struct ckpt_id){ctx->parent.generation, ctx->parent.step,
                           ctx->parent.attempt};
}

const char *ckpt_mode(const struct ckpt *ctx)
{
    return ctx->mode;
}

bool ckpt_should_save(const struct ckpt *ctx, uint64_t step, uint64_t every)
{
    if (every == 0 || step == 0 || step % every)
        return false;
    return ctx->parent.generation == 0 || step != ctx->resumed_step;
}

static int tell(const struct ckpt *ctx, const char *what, struct err *err,
                struct ckpt_error *error)
{
    (void)err_prefix(err, "%s", what);
    (void)context_prefix(ctx, err);
    return give_error(error, err);
}

static int read_infos(const struct request *r, struct ckpt_info *infos,
                      size_t capacity, struct err *err)
{
    struct wire_list_ok v;
    struct rd rd, states;

    if (wire_list_ok_decode(r->payload, r->bytes, &v) || v.count > INT_MAX)
        return err_set(err, -EBADMSG, "the daemon's answer is damaged");
    rd = rd_init(v.infos, (size_t)v.count * WIRE_INFO_BYTES);
    states = rd_init(v.states,
                     v.states ? (size_t)v.count * WIRE_INFO_STATE_BYTES : 0);
    for (uint32_t i = 0; i < v.count && i < capacity; i++) {
        struct wire_info info;

        if (wire_info_decode(&rd, &info))
            return err_set(err, -EBADMSG, "the daemon's answer is damaged");
        infos[i] = (struct ckpt_info){
            .id = {info.id.generation, info.id.step, info.id.attempt},
            .logical_bytes = info.logical_bytes,
            .stored_bytes = info.stored_bytes,
            .tensor_count = info.tensor_count,
            .rank_count = info.rank_count,
            .created_unix_ms = info.created_unix_ms,
            .state = CKPT_COMMITTED, /* by a daemon that knows no other */
        };
        if (v.states) {
            infos[i].state = (enum ckpt_state)rd_u32(&states);
            infos[i].node_count = rd_u32(&states);
        }
    }
    return (int)v.count;
}

int ckpt_list(struct ckpt *ctx, struct ckpt_info *infos, size_t capacity,
              struct ckpt_error *error)
{
    struct err err = {0};
    struct request r;
    int rc;

    request_init(ctx, &r, WIRE_LIST_OK);
    rc = request_ask(ctx, &r, request_frame(&r, WIRE_LIST), QUERY_MS, &err);
    if (rc == 0)
        rc = read_infos(&r, infos, capacity, &err);
    request_fini(&r);
    return rc < 0 ? tell(ctx, "list of checkpoints", &err, error) : rc;
}

static int read_tensor(struct ckpt *ctx, const struct request *r,
                       struct ckpt_tensor *out, struct err *err)
{
    struct table t;
    const struct entry *e;
    int rc = table_decode(r->payload, r->bytes, &t, err);

    if (rc)
        return rc;
    if (t.count != 1) {
        table_free(&t);
        return err_set(err, -EBADMSG, "the daemon's answer is damaged");
    }
    e = &t.entry[0];
    memcpy(ctx->described, e->name, strlen(e->name) + 1);
    *out = (struct ckpt_tensor){
        .name = ctx->described,
        .dtype = (enum ckpt_dtype)e->geometry.dtype,
        .ndim = e->geometry.ndim,
    };
    memcpy(out->shape, e->geometry.shape, sizeof out->shape);
    table_free(&t);
    return 0;
}

int ckpt_describe(struct ckpt *ctx, const struct ckpt_id *id, uint64_t index,
                  struct ckpt_tensor *out, struct ckpt_error *error)
{
    struct wire_describe v = {{id->generation, id->attempt, id->step}, index};
    struct err err = {0};
    struct request r;
    size_t begin;
    int rc;

    request_init(ctx, &r, WIRE_DESCRIBE_OK);
    begin = request_frame(&r, WIRE_DESCRIBE);
    wire_describe_encode(&v, &r.frames);
    rc = request_ask(ctx, &r, begin, QUERY_MS, &err);
    if (rc == 0)
        rc = read_tensor(ctx, &r, out, &err);
    request_fini(&r);
    return rc ? tell(ctx, "description of a tensor", &err, error) : 0;
}
