/*
 * state.c - see state.h.
 */
#include "trainer/examples/train_lm/state.h"

#include <stdio.h>
#include <stdlib.h>

const char *state_optim_prefix(size_t i)
{
    static const char *const prefixes[3] = {"optim.master.", "optim.exp_avg.",
                                            "optim.exp_avg_sq."};

    return prefixes[i];
}

/* This rank's piece of the optimizer state of one parameter: the part of the
 * parameter's local order that lies in this rank's piece of the bucket. */
static void add_optim(struct state *state, const struct param *param)
{
    const struct bucket *bucket = param->bucket;
    float *const pieces[3] = {bucket->master, bucket->exp_avg,
                              bucket->exp_avg_sq};
    size_t begin = (size_t)bucket->group->rank * bucket->piece;
    size_t end = begin + bucket->piece;
    size_t from = param->at > begin ? param->at : begin;
    size_t to = param->at + param->count < end ? param->at + param->count : end;

    for (size_t i = 0; from < to && i < 3; i++) {
        struct ckpt_tensor *tensor = &state->tensors[state->count];
        char *name = state->names[state->count++];

        (void)snprintf(name, STATE_NAME_BYTES, "%s%s", state_optim_prefix(i),
                       param->spec.name);
        *tensor = weights_tensor(param);
        tensor->name = name;
        tensor->dtype = CKPT_F32;
        tensor->is_cut = true;
        tensor->cut_start = from - param->at;
        tensor->cut_count = to - from;
        tensor->data = pieces[i] + (from - begin);
        tensor->replica_index = param->optim_replica_index;
        tensor->replica_count = param->optim_replica_count;
    }
}

void state_init(struct state *state, const struct weights *weights)
{
    size_t capacity = 4 * weights->count;

    state->tensors = allocate(capacity, sizeof *state->tensors);
    state->names = allocate(capacity, sizeof *state->names);
    state->count = 0;
    for (size_t i = 0; i < weights->count; i++) {
        const struct param *param = &weights->params[i];

        state->tensors[state->count++] = weights_tensor(param);
        if (param->bucket && param->optim_saved)
            add_optim(state, param);
    }
    state->saved_count = state->count;
    for (size_t i = 0; i < weights->count; i++) {
        const struct param *param = &weights->params[i];

        if (param->bucket && !param->optim_saved)
            add_optim(state, param);
    }
}

void state_fini(struct state *state)
{
    free(state->tensors);
    free(state->names);
}
