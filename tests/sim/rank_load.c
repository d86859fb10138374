/*
 * rank_load.c - a rank loads, with its job or alone: it scatters what it is
 * given, compares it with what that save holds, and votes.
 */
#include "tests/sim/rank.h"

#include "formats/plan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void load_begin(struct sim_rank *r, const struct save_id *id)
{
    struct wire_load v = {.table = 1, .is_collective = id == NULL};
    struct wr w = {0};

    if (id)
        v.id = *id;
    r->load = (struct rank_load){.request = r->next_request++,
                                 .id = v.id,
                                 .is_wanted = true,
                                 .began_ns = sim_now(r->sim),
                                 .progress_ns = sim_now(r->sim)};
    if (!id)
        r->phase = RANK_LOADING;
    wire_load_encode(&v, &w);
    rank_send(r, WIRE_LOAD, r->load.request, &w);
}

void rank_read(struct sim_rank *r, const struct save_id *id)
{
    load_begin(r, id);
}

static void give_back(struct sim_rank *r, uint64_t owner, uint32_t slot)
{
    uint8_t one[4];
    struct wire_slots v = {.owner = owner, .count = 1, .slots = one};
    struct wr w = {0};

    put_u32(one, slot);
    wire_slots_encode(&v, &w);
    rank_send(r, WIRE_CONSUMED, 0, &w);
}

static void scatter(struct sim_rank *r, const struct wire_deliver *v)
{
    const uint8_t *payload = rank_slot(r, v->slot);
    struct plan_op *ops = calloc(v->op_count + 1, sizeof *ops);
    struct rd rd = rd_init(v->ops, v->ops_bytes);
    int rc;

    assert(ops);
    if (v->is_in_place)
        rc = plan_ops_decode_in_place(&rd, v->op_count, r->sim->plan.tensors,
                                      r->bytes, v->payload_bytes, ops);
    else
        rc = plan_ops_decode(&rd, v->op_count, r->sim->plan.tensors, r->bytes,
                             v->payload_bytes, ops);
    if (rc)
        sim_violation(r->sim, "I2: operations of a delivery do not fit: %d",
                      rc);
    for (uint32_t i = 0; payload && rc == 0 && i < v->op_count; i++)
        copy_run(&ops[i].copy, payload, r->data[ops[i].entry]);
    free(ops);
}

static void vote(struct sim_rank *r)
{
    struct wire_load_vote v = {.load = r->load.number,
                               .attempt = r->load.attempt};
    struct wr w = {0};

    if (!r->sim->is_calm && sim_random(r->sim, 100) == 0) {
        v.code = -ENOMEM;
        (void)snprintf(v.text, sizeof v.text, "no memory, so the seed has it");
    } else {
        r->load.approved = v.attempt;
    }
    wire_load_vote_encode(&v, &w);
    rank_send(r, WIRE_LOAD_VOTE, 0, &w);
}

static void on_begin(struct sim_rank *r, const struct wire_load_begin *v)
{
    struct rank_load *l = &r->load;
    char id[SIM_ID_BYTES];

    sim_trace(r->sim, "job %u rank %u: is to load %s, attempt %u %s",
              r->job->number, r->rank, sim_id(&v->id, id), v->attempt, v->note);
    if (v->attempt > 1)
        oracle_passed_over(r->sim, l->got.generation ? &l->got : &r->parent,
                           v->note);
    faults_moment(r->sim, MOMENT_LOADING);
    l->attempt = v->attempt;
    l->got = v->id;
    for (uint32_t t = 0; t < r->sim->plan.tensors; t++)
        memset(r->data[t], 0xa5, r->bytes[t]);
}

static void on_done(struct sim_rank *r, const struct wire_load_done *v)
{
    struct rank_load *l = &r->load;
    char id[SIM_ID_BYTES], text[512];

    l->is_done = true;
    l->code = v->code;
    faults_moment(r->sim, MOMENT_LOADED);
    sim_trace(r->sim, "job %u rank %u: load of %s ends: %d %s", r->job->number,
              r->rank, sim_id(&v->id, id), v->code, v->text);
    if (v->code == 0 && !state_check(r, &v->id, text, sizeof text))
        sim_violation(r->sim, "I2: job %u rank %u was given save %s, but %s",
                      r->job->number, r->rank, id, text);
    if (v->code == 0 && l->approved != l->attempt)
        sim_violation(r->sim,
                      "I5: job %u rank %u is told that all have loaded %s, "
                      "and has not said so itself",
                      r->job->number, r->rank, id);
    oracle_loaded(r->sim, r, v);
    if (l->id.generation)
        return; /* a read of its own */
    if (v->code) {
        rank_fail(r, "rank %u: %d %s", r->rank, v->code, v->text);
        return;
    }
    r->phase = RANK_READY;
    job_rank_ready(r->job);
}

void load_refused(struct sim_rank *r, const struct wire_error *v)
{
    r->load.is_done = true;
    r->load.code = v->code;
    if (r->phase == RANK_LOADING)
        rank_fail(r, "rank %u: %d %s", r->rank, v->code, v->text);
}

int load_frame(struct sim_rank *r, const struct wire_header *h,
               const uint8_t *payload)
{
    struct wire_load_ok ok;
    struct wire_load_begin begin;
    struct wire_deliver deliver;
    struct wire_load_done done;
    int rc = 0;

    r->load.progress_ns = sim_now(r->sim);
    switch (h->type) {
    case WIRE_LOAD_OK:
        rc = wire_load_ok_decode(payload, h->length, &ok);
        r->load.number = ok.load;
        return rc;
    case WIRE_LOAD_BEGIN:
        rc = wire_load_begin_decode(payload, h->length, &begin);
        if (rc == 0)
            on_begin(r, &begin);
        return rc;
    case WIRE_DELIVER:
        rc = wire_deliver_decode(payload, h->length, &deliver);
        if (rc)
            return rc;
        scatter(r, &deliver);
        give_back(r, deliver.load, deliver.slot);
        return 0;
    case WIRE_DELIVERED:
        faults_moment(r->sim, MOMENT_DELIVERED);
        vote(r);
        return 0;
    case WIRE_LOAD_DONE:
        rc = wire_load_done_decode(payload, h->length, &done);
        if (rc == 0)
            on_done(r, &done);
        return rc;
    default:
        return -EPROTO;
    }
}
