/*
 * extra.c - see extra.h.
 */
#include "trainer/examples/train_lm/extra.h"

#include "trainer/examples/train_lm/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void config_text(const struct options *options, char text[128])
{
    (void)snprintf(
        text, 128, "layers=%llu width=%llu experts=%llu %s seed=%llu",
        (unsigned long long)options->layers, (unsigned long long)options->width,
        (unsigned long long)options->experts, options->tied ? "tied" : "untied",
        (unsigned long long)options->seed);
}

void progress_init(struct progress *progress, const struct options *options)
{
    progress->step = 0;
    progress->next_sample = 0;
    progress->loss = NAN;
    progress->dropout_key = rng_key(options->seed, "dropout");
}

uint64_t progress_first_sample(const struct progress *progress,
                               const struct options *options,
                               const struct mesh *mesh)
{
    return progress->next_sample +
           options->batch / options->dp * (uint64_t)mesh->dp.rank;
}

void progress_advance(struct progress *progress, const struct options *options,
                      double loss)
{
    progress->step++;
    progress->next_sample += options->batch;
    progress->loss = loss;
    progress->dropout_key = rng_at(progress->dropout_key, progress->step);
}

void extra_fill(struct extra *extra, const struct progress *progress,
                const struct options *options, const struct mesh *mesh)
{
    config_text(options, extra->config);
    extra->values[0] = (struct ckpt_value){
        .name = "config",
        .axes = "",
        .type = CKPT_VALUE_STRING,
        .data = extra->config,
        .bytes = strlen(extra->config),
    };
    extra->values[1] = (struct ckpt_value){
        .name = "step",
        .axes = "",
        .type = CKPT_VALUE_U64,
        .scalar.u = progress->step,
    };
    extra->values[2] = (struct ckpt_value){
        .name = "loss",
        .axes = "",
        .type = CKPT_VALUE_F64,
        .scalar.f = progress->loss,
    };
    extra->values[3] = (struct ckpt_value){
        .name = "loader.next_sample",
        .axes = "dp",
        .type = CKPT_VALUE_U64,
        .scalar.u = progress_first_sample(progress, options, mesh),
    };
    extra->values[4] = (struct ckpt_value){
        .name = "rng.dropout",
        .axes = "",
        .type = CKPT_VALUE_U64,
        .scalar.u = progress->dropout_key,
    };
}

static const struct ckpt_value *need(const struct ckpt_values *values,
                                     const char *name,
                                     enum ckpt_value_type type)
{
    const struct ckpt_value *value = ckpt_values_find(values, name);

    if (!value || value->type != type)
        fatal("the checkpoint has no value `%s' of train_lm: was this run "
              "saved by another program?",
              name);
    return value;
}

void extra_check_config(const struct ckpt_values *values,
                        const struct options *options)
{
    const struct ckpt_value *value = need(values, "config", CKPT_VALUE_STRING);
    char wanted[128];

    config_text(options, wanted);
    if (value->bytes != strlen(wanted) ||
        memcmp(value->data, wanted, value->bytes) != 0)
        fatal("run `%s' is of another model: the checkpoint has %.*s, the "
              "flags say %s; give the same flags, another --run, or --fresh",
              options->run, (int)value->bytes, (const char *)value->data,
              wanted);
}

/* The job goes on at the smallest position that any dp rank had. */
static uint64_t next_sample(const struct ckpt_values *values,
                            const struct mesh *mesh)
{
    uint64_t position = UINT64_MAX;

    for (size_t i = 0; i < ckpt_values_count(values); i++) {
        const struct ckpt_value *value = ckpt_values_at(values, i);

        if (strcmp(value->name, "loader.next_sample") == 0 &&
            value->type == CKPT_VALUE_U64 && value->scalar.u < position)
            position = value->scalar.u;
    }
    MPI_Allreduce(MPI_IN_PLACE, &position, 1, MPI_UINT64_T, MPI_MIN,
                  mesh->world.comm);
    if (position == UINT64_MAX)
        fatal("the checkpoint has no value `loader.next_sample'");
    return position;
}

void extra_read(const struct ckpt_values *values, const struct mesh *mesh,
                struct progress *progress)
{
    progress->step = need(values, "step", CKPT_VALUE_U64)->scalar.u;
    progress->loss = need(values, "loss", CKPT_VALUE_F64)->scalar.f;
    progress->dropout_key =
        need(values, "rng.dropout", CKPT_VALUE_U64)->scalar.u;
    progress->next_sample = next_sample(values, mesh);
}
