/*
 * restore.c - ckpt_load(), ckpt_read(), ckpt_load_extra(): load.c runs the
 * load, values.c brings the extra state, this file puts them together.
 */
#include "trainer/load.h"
#include "trainer/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define TABLE_OF_LOADS 2

static uint64_t target_bytes(const struct descriptors *d)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < d->count; i++)
        sum += region_packed_bytes(&d->entry[i].geometry, &d->entry[i].region);
    return sum;
}

static void fill_report(struct ckpt_report *report, const struct load_wish *w,
                        const struct wire_load_done *done, const char *note,
                        uint64_t began_ms)
{
    const char *words = done->text[0] ? done->text : note;

    *report = (struct ckpt_report){
        .id = {done->id.generation, done->id.step, done->id.attempt},
        .bytes = target_bytes(w->target),
        .read_bytes = done->read_bytes,
        .seconds = (double)(clock_ms() - began_ms) / 1000,
        .attempt_count = done->attempts,
    };
    (void)snprintf(report->note, sizeof report->note, "%.*s",
                   (int)sizeof report->note - 1, words);
}

/* What the caller of a load or read has given. */
struct restoring {
    struct load_wish wish;
    const struct ckpt_tensor *target;
    size_t count;
    struct ckpt_values **values; /* NULL: not wanted, like report */
    struct ckpt_report *report;
};

/* One load and, if wanted, the extra state of what was loaded. */
static int restore(struct ckpt *ctx, const struct restoring *r, struct err *err)
{
    uint64_t began_ms = clock_ms();
    struct load_wish wish = r->wish;
    struct wire_load_done done;
    struct descriptors d;
    char note[512];
    int rc = descriptors_of_load(&d, r->target, r->count, err);

    if (r->values)
        *r->values = NULL;
    if (rc)
        return rc;
    wish.target = &d;
    wish.table = TABLE_OF_LOADS;
    rc = load_run(ctx, &wish, &done, note, err);
    if (rc == 0 && wish.is_collective)
        ctx->resumed_step = done.id.step;
    if (rc == 0 && r->report)
        fill_report(r->report, &wish, &done, note, began_ms);
    if (rc == 0 && r->values)
        rc = values_fetch(ctx, &done.id, r->values, err);
    descriptors_fini(&d);
    return rc;
}

int ckpt_load(struct ckpt *ctx, const struct ckpt_tensor *targets, size_t count,
              struct ckpt_values **values, struct ckpt_report *report,
              struct ckpt_error *error)
{
    struct restoring r = {{.is_collective = true, .id = ctx->parent},
                          targets,
                          count,
                          values,
                          report};
    struct err err = {0};

    if (restore(ctx, &r, &err) == 0)
        return 0;
    (void)err_prefix(&err, "load");
    (void)context_prefix(ctx, &err);
    return give_error(error, &err);
}

/* NOLINTNEXTLINE(readability-function-size): the public signature */
int ckpt_read(struct ckpt *ctx, const struct ckpt_id *id,
              const struct ckpt_tensor *targets, size_t count,
              struct ckpt_values **values, struct ckpt_report *report,
              struct ckpt_error *error)
{
    struct restoring r = {{.id = {id->generation, id->attempt, id->step}},
                          targets,
                          count,
                          values,
                          report};
    struct err err = {0};

    if (restore(ctx, &r, &err) == 0)
        return 0;
    (void)err_prefix(&err, "read of step %" PRIu64 " of generation %u",
                     id->step, id->generation);
    (void)context_prefix(ctx, &err);
    return give_error(error, &err);
}

int ckpt_load_extra(struct ckpt *ctx, struct ckpt_values **values,
                    struct ckpt_error *error)
{
    const struct save_id parent = {0};
    struct err err = {0};

    *values = NULL;
    if (values_fetch(ctx, &parent, values, &err) == 0)
        return 0;
    (void)context_prefix(ctx, &err);
    return give_error(error, &err);
}
