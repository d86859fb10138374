/*
 * rank.c - see rank.h.
 *
 * The contents of a save follow from its step, and the versions of its tensors
 * travel along as extra state, so that whoever loads it knows every byte.
 */
#include "tests/storm/rank.h"

#include "tests/storm/proc.h"
#include "tests/storm/rank_places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A rank that dies before it has joined is waited for until the deadline. */
#define DISTURBED_MS 1500
#define DEADLINE_MS  40000
#define INFOS_MOST   16

struct rank {
    struct job *job;
    uint32_t number;
    struct rank_report *report;
    struct ckpt *ctx;
    struct job_state state;
    struct ckpt_error error;
};

static void __attribute__((format(printf, 2, 3)))
violation(struct rank *r, const char *format, ...)
{
    va_list args;

    if (r->report->violation[0])
        return;
    va_start(args, format);
    (void)vsnprintf(r->report->violation, sizeof r->report->violation, format,
                    args);
    va_end(args);
}

/* An error has a type and words (I4); without a death there is none. */
static void failed(struct rank *r, const char *what, int code)
{
    r->report->errors++;
    if ((code > -1 || code < -4095) &&
        (code > -CKPT_ECORRUPT || code < -CKPT_EABORTED))
        violation(r, "%s: code %d has no type", what, code);
    else if (strlen(r->error.message) < 10)
        violation(r, "%s: code %d without words", what, code);
    else if (!atomic_load(&r->job->is_disturbed))
        violation(r, "%s: %s", what, r->error.message);
}

static int open_run(struct rank *r)
{
    const struct job *job = r->job;
    bool is_disturbed = atomic_load(&job->is_disturbed);
    uint32_t deadline_ms = is_disturbed ? DISTURBED_MS : DEADLINE_MS / 2;
    struct ckpt_options o;
    int rc;

    ckpt_options_init(&o);
    o.home = job->home;
    o.run = "storm";
    o.local = job->local[r->number];
    o.token = job->token;
    o.rank = r->number;
    o.world_size = job->world;
    o.axis_count = 1;
    o.axes[0] = (struct ckpt_axis){"dp", job->world, r->number};
    o.codec = CKPT_CODEC_RAW;
    o.keep_last = job->keep_last;
    o.max_uncommitted = 1000;
    o.open_timeout_ms = DEADLINE_MS / 2;
    o.decide_timeout_ms = deadline_ms;
    o.load_timeout_ms = deadline_ms;
    rc = ckpt_open(&o, &r->ctx, &r->error);
    if (rc) {
        failed(r, "open", rc);
        return rc;
    }
    (void)atomic_fetch_add(&r->job->joined, 1);
    return 0;
}

/* What was loaded is what was saved. */
static void check_bytes(struct rank *r, const struct ckpt_values *values,
                        const struct ckpt_id *id)
{
    const struct ckpt_value *v = ckpt_values_find(values, "versions");
    char text[256];

    if (!v || v->bytes != sizeof r->state.version) {
        violation(r, "step %" PRIu64 ": its extra state lacks the versions",
                  id->step);
        return;
    }
    memcpy(r->state.version, v->data, v->bytes);
    if (!job_state_check(&r->state, text, sizeof text))
        violation(r, "WRONG BYTES of step %" PRIu64 ": %s", id->step, text);
}

static void load(struct rank *r)
{
    struct ckpt_values *values = NULL;
    struct ckpt_report report;
    int rc;

    job_state_set(&r->state, 0x5a5a5a5a);
    rc = ckpt_load(r->ctx, r->state.piece, r->state.count, &values, &report,
                   &r->error);
    if (rc == 0) {
        check_bytes(r, values, &report.id);
        r->report->loaded = report.id;
        r->report->attempts = report.attempt_count;
        (void)atomic_fetch_add(&r->job->loaded, 1);
    } else {
        failed(r, "load", rc);
    }
    r->report->load_code = rc;
    ckpt_values_free(values);
}

/* The newest checkpoint that there is, by this rank alone. */
static void read_newest(struct rank *r)
{
    struct ckpt_values *values = NULL;
    struct ckpt_info info[INFOS_MOST];
    struct ckpt_report report;
    int rc = ckpt_list(r->ctx, info, INFOS_MOST, &r->error);

    if (rc < 0) {
        failed(r, "list", rc);
        return;
    }
    if (rc == 0)
        return;
    job_state_set(&r->state, 0x5a5a5a5a);
    rc = ckpt_read(r->ctx, &info[0].id, r->state.piece, r->state.count, &values,
                   &report, &r->error);
    if (rc == 0) {
        check_bytes(r, values, &info[0].id);
        r->report->reads++;
    } else {
        failed(r, "read", rc);
    }
    ckpt_values_free(values);
}

/* The first `change` tensors get the step's contents, or all. */
static void fill(struct rank *r, uint64_t step)
{
    uint32_t count = r->job->change ? r->job->change : r->job->tensors;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t tensor = (uint32_t)(step + i) % r->job->tensors;

        r->state.version[tensor] = (uint32_t)step;
    }
    job_state_fill(&r->state);
}

/* A save that must fail carries values that contradict each other. */
static bool must_fail(const struct rank *r, uint64_t step)
{
    return r->job->fail_every && r->job->world > 1 &&
           step % r->job->fail_every == 0;
}

static int save_once(struct rank *r, uint64_t step)
{
    struct ckpt_value value[2] = {
        {.name = "versions",
         .axes = "",
         .type = CKPT_VALUE_BYTES,
         .data = r->state.version,
         .bytes = sizeof r->state.version},
        {.name = "agreed",
         .axes = "",
         .type = CKPT_VALUE_U64,
         .scalar.u = must_fail(r, step) ? r->number : step},
    };
    struct ckpt_save *save;
    int rc;

    fill(r, step);
    rc = ckpt_save(r->ctx, step, r->state.piece, r->state.count, value, 2,
                   &save, &r->error);
    if (rc)
        return rc;
    rc = ckpt_fence(save, NULL, &r->error);
    if (rc == 0)
        rc = ckpt_wait(save, CKPT_COMMITTED, DEADLINE_MS, &r->error);
    ckpt_save_free(save);
    if (rc == -ETIMEDOUT)
        violation(r, "step %" PRIu64 ": still undecided after %d s", step,
                  DEADLINE_MS / 1000);
    return rc;
}

static void save(struct rank *r, uint64_t step)
{
    bool is_bad = must_fail(r, step);
    int rc = save_once(r, step);

    r->report->saves++;
    if (rc == 0) {
        r->report->commits++;
        atomic_store(&r->report->promised, step);
        if (is_bad)
            violation(r,
                      "step %" PRIu64 ": committed in spite of values that "
                      "contradict each other",
                      step);
    } else if (!is_bad) {
        failed(r, "save", rc);
    } else if (rc != -CKPT_EABORTED && rc != -CKPT_ECONFLICT &&
               !atomic_load(&r->job->is_disturbed)) {
        violation(r, "a save that must fail: %s", r->error.message);
    }
    (void)atomic_fetch_add(&r->job->saved, 1);
}

static bool is_over(const struct job *job)
{
    return atomic_load(&job->stop) || atomic_load(&job->has_lost);
}

/* Whether there is another save to do, once the quota allows it and all ranks
 * are here. */
static bool may_save(struct job *job, uint64_t done)
{
    uint32_t all = (uint32_t)(done + 1) * job->world;

    while (job->has_quota && done >= atomic_load(&job->quota) && !is_over(job))
        proc_sleep_us(500);
    if (done < job->saves)
        (void)atomic_fetch_add(&job->met, 1);
    while (done < job->saves && atomic_load(&job->met) < all && !is_over(job))
        proc_sleep_us(50);
    return done < job->saves && !atomic_load(&job->stop);
}

static void work(struct rank *r)
{
    struct job *job = r->job;
    struct proc_descriptors d;

    if (job->loads)
        load(r);
    for (uint64_t i = 0; may_save(job, i); i++)
        save(r, job->first_step + i);
    if (r->report->errors)
        read_newest(r);
    proc_descriptors(0, &d);
    r->report->descriptors = d.all;
}

/* A closed context leaves nothing in this process. */
static void check_clean(struct rank *r, const struct proc_descriptors *before)
{
    uint32_t memory = proc_mapped_memfds(0);
    struct proc_descriptors after;

    proc_descriptors(0, &after);
    if (after.all != before->all)
        violation(r, "%u descriptors before open, %u after close", before->all,
                  after.all);
    if (memory)
        violation(r, "%u memfds are still mapped after close", memory);
}

int rank_main(struct job *job, uint32_t number)
{
    struct rank r = {
        .job = job, .number = number, .report = &job->report[number]};
    const struct job_shape shape = {.rank = number,
                                    .world = job->world,
                                    .tensor_count = job->tensors,
                                    .rows = job->rows,
                                    .columns = job->columns,
                                    .layout = job->layout};
    struct proc_descriptors before;

    proc_descriptors(0, &before);
    rank_places_arm(job, number);
    r.report->load_code = 1;
    if (job_state_init(&r.state, &shape)) {
        violation(&r, "no memory");
        return RANK_VIOLATION;
    }
    if (open_run(&r) == 0)
        work(&r);
    ckpt_close(r.ctx);
    check_clean(&r, &before);
    job_state_fini(&r.state);
    return r.report->violation[0] ? RANK_VIOLATION : RANK_FINE;
}
