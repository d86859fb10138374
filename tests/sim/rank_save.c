/*
 * rank_save.c - a rank saves: it hands over chunk by chunk as slots come, and
 * remembers what it is told.
 */
#include "tests/sim/rank.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ASK_NS (200 * SIM_MS)

static struct rank_save *by_number(const struct sim_rank *r, uint64_t number)
{
    LIST_FOR_EACH (node, &r->saves) {
        struct rank_save *v = container_of(node, struct rank_save, link);

        if (v->number == number && v->epoch == r->epoch)
            return v;
    }
    return NULL;
}

static struct rank_save *by_request(const struct sim_rank *r, uint64_t request)
{
    LIST_FOR_EACH (node, &r->saves) {
        struct rank_save *v = container_of(node, struct rank_save, link);

        if (v->request == request || v->watch_request == request)
            return v;
    }
    return NULL;
}

void rank_save(struct sim_rank *r, uint64_t step)
{
    struct wire_save v = {.step = step,
                          .table = 1,
                          .overload = r->sim->plan.overload,
                          .max_uncommitted = 3};
    struct rank_save *s = calloc(1, sizeof *s);
    struct wr values = {0}, w = {0};

    assert(s);
    s->request = r->next_request++;
    s->step = step;
    s->chunk_count = (uint32_t)r->list.chunk_count;
    s->began_ns = sim_now(r->sim);
    s->epoch = r->epoch;
    list_append(&r->saves, &s->link);
    values_encode(NULL, 0, &values);
    v.values = values.data;
    v.values_bytes = (uint32_t)values.bytes;
    wire_save_encode(&v, &w);
    wr_free(&values);
    sim_trace(r->sim, "job %u rank %u: saves step %" PRIu64, r->job->number,
              r->rank, step);
    rank_send(r, WIRE_SAVE, s->request, &w);
}

bool rank_is_free(const struct sim_rank *r)
{
    const struct rank_save *v;

    if (r->is_hung || r->phase != RANK_READY ||
        (r->load.is_wanted && !r->load.is_done))
        return false;
    if (list_is_empty(&r->saves))
        return true;
    v = container_of(r->saves.prev, struct rank_save, link);
    return v->is_over || (v->is_answered && v->given == v->chunk_count);
}

/* No frame about it counts any more. */
static void give_up(struct sim_rank *r, struct rank_save *v, const char *why)
{
    if (v->is_over)
        return;
    v->is_over = true;
    sim_trace(r->sim,
              "job %u rank %u: gives up its save of step %" PRIu64 ": %s",
              r->job->number, r->rank, v->step, why);
}

static void cancel(struct sim_rank *r, struct rank_save *v)
{
    struct wire_cancel c = {.save = v->number, .code = -ECANCELED};
    struct wr w = {0};

    (void)snprintf(c.text, sizeof c.text, "the caller gave up");
    wire_cancel_encode(&c, &w);
    rank_send(r, WIRE_CANCEL, 0, &w);
    give_up(r, v, "cancelled");
}

static void on_ok(struct sim_rank *r, uint64_t request,
                  const struct wire_save_ok *ok)
{
    struct rank_save *v = by_request(r, request);

    assert(v && !v->is_answered);
    v->is_answered = true;
    v->number = ok->save;
    v->id = ok->id;
    if (!r->sim->is_calm && sim_random(r->sim, 150) == 0)
        cancel(r, v);
}

static void on_slots(struct sim_rank *r, const struct wire_slots *slots)
{
    struct rank_save *v = by_number(r, slots->owner);
    struct wire_chunks reply = {.save = slots->owner};
    struct wr pairs = {0}, w = {0};

    if (!v || v->is_over)
        return;
    for (uint32_t i = 0; i < slots->count; i++) {
        uint32_t slot = get_u32(slots->slots + (size_t)i * 4);
        uint8_t *to = rank_slot(r, slot);

        if (!to || v->given == v->chunk_count)
            break;
        state_chunk(r, &v->id, v->given, to);
        wr_u32(&pairs, v->given++);
        wr_u32(&pairs, slot);
        reply.count++;
    }
    if (v->given == v->chunk_count)
        oracle_handed(r->sim, r, &v->id);
    reply.pairs = pairs.data;
    wire_chunks_encode(&reply, &w);
    if (reply.count > 0)
        rank_send(r, WIRE_CHUNKS, 0, &w);
    else
        wr_free(&w);
    wr_free(&pairs);
}

static void event_ask(struct sim *s, void *arg, uint64_t epoch)
{
    struct sim_rank *r = arg;

    (void)s;
    if (r->epoch == epoch && r->phase == RANK_READY)
        saves_ask(r);
}

static void on_state(struct sim_rank *r, const struct wire_state *state)
{
    struct rank_save *v = NULL;
    char id[SIM_ID_BYTES];

    LIST_FOR_EACH (node, &r->saves) {
        struct rank_save *each = container_of(node, struct rank_save, link);

        if (save_id_compare(&each->id, &state->id) == 0 && each->is_answered)
            v = each;
    }
    sim_trace(r->sim, "job %u rank %u: told of save %s: %u %d %s",
              r->job->number, r->rank, sim_id(&state->id, id), state->state,
              state->code, state->text);
    if (!v)
        return;
    v->is_asked = false;
    v->state = state->state;
    if (state->state >= WIRE_STATE_STAGED &&
        state->state <= WIRE_STATE_COMMITTED)
        faults_moment(r->sim, MOMENT_STAGED + state->state - WIRE_STATE_STAGED);
    if (state->state == WIRE_STATE_ABORTED)
        oracle_aborted(r->sim, r, &v->id, state->code, state->text);
    if (state->state == WIRE_STATE_COMMITTED)
        oracle_committed(r->sim, r, &v->id);
    if (state->state >= WIRE_STATE_COMMITTED)
        v->is_over = true;
    else if (v->epoch != r->epoch) /* a daemon that did not take it */
        sim_after(r->sim, ASK_NS, event_ask, r, r->epoch);
}

int save_frame(struct sim_rank *r, const struct wire_header *h,
               const uint8_t *payload)
{
    struct wire_save_ok ok;
    struct wire_slots slots;
    struct wire_state state;
    int rc;

    switch (h->type) {
    case WIRE_SAVE_OK:
        rc = wire_save_ok_decode(payload, h->length, &ok);
        if (rc == 0)
            on_ok(r, h->id, &ok);
        return rc;
    case WIRE_SLOTS:
        rc = wire_slots_decode(payload, h->length, &slots);
        if (rc == 0)
            on_slots(r, &slots);
        return rc;
    case WIRE_STATE:
        rc = wire_state_decode(payload, h->length, &state);
        if (rc == 0)
            on_state(r, &state);
        return rc;
    default:
        return -ENOENT;
    }
}

static void watch_refused(struct sim_rank *r, struct rank_save *v,
                          const struct wire_error *e)
{
    v->is_asked = false;
    if (e->code == -ENOENT && !oracle_is_removed(r->sim, &v->id))
        oracle_aborted(r->sim, r, &v->id, e->code, e->text);
    give_up(r, v, e->text);
}

void save_refused(struct sim_rank *r, uint64_t request,
                  const struct wire_error *e)
{
    struct rank_save *v = by_request(r, request);
    char step[48];

    assert(v);
    if (v->watch_request == request) {
        watch_refused(r, v, e);
        return;
    }
    (void)snprintf(step, sizeof step, "step %" PRIu64, v->step);
    if (e->code >= 0 || !strstr(e->text, step))
        sim_violation(r->sim, "I4: the save of %s fails with %d '%s'", step,
                      e->code, e->text);
    v->is_answered = true;
    give_up(r, v, e->text);
    if (e->code == -ESTALE)
        rank_fail(r, "rank %u: %s", r->rank, e->text);
}

void saves_lost(struct sim_rank *r)
{
    LIST_FOR_EACH (node, &r->saves) {
        struct rank_save *v = container_of(node, struct rank_save, link);

        v->is_asked = false;
        if (!v->is_answered || v->given < v->chunk_count)
            give_up(r, v, "its daemon was lost");
    }
}

void saves_ask(struct sim_rank *r)
{
    LIST_FOR_EACH (node, &r->saves) {
        struct rank_save *v = container_of(node, struct rank_save, link);
        struct wire_watch watch = {v->id};
        struct wr w = {0};

        if (v->is_over || v->epoch == r->epoch || v->is_asked)
            continue;
        v->is_asked = true;
        v->watch_request = r->next_request++;
        wire_watch_encode(&watch, &w);
        rank_send(r, WIRE_WATCH, v->watch_request, &w);
    }
}

void saves_touch(struct sim_rank *r)
{
    LIST_FOR_EACH (node, &r->saves)
        container_of(node, struct rank_save, link)->began_ns = sim_now(r->sim);
}
