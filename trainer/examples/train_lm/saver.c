/*
 * saver.c - see saver.h.
 */
#include "trainer/examples/train_lm/saver.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TOKEN_BYTES 33

static void say(const struct saver *saver, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A line on rank 0's stderr. */
static void say(const struct saver *saver, const char *format, ...)
{
    va_list args;

    if (saver->mesh->world.rank > 0)
        return;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

/* Equal on all ranks, and never seen before. */
static void make_token(const struct mesh *mesh, char token[TOKEN_BYTES])
{
    unsigned char random[(TOKEN_BYTES - 1) / 2];

    if (mesh->world.rank == 0) {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            fatal("no random bytes for the token: %s", ckpt_strerror(-errno));
        for (size_t i = 0; i < sizeof random; i++)
            (void)snprintf(token + 2 * i, 3, "%02x", random[i]);
    }
    MPI_Bcast(token, TOKEN_BYTES, MPI_CHAR, 0, mesh->world.comm);
}

static void add_axis(struct ckpt_options *options, const char *name,
                     const struct group *group)
{
    options->axes[options->axis_count++] = (struct ckpt_axis){
        .name = name,
        .degree = (uint32_t)group->size,
        .coordinate = (uint32_t)group->rank,
    };
}

void saver_open(struct saver *saver, const struct options *options,
                struct mesh *mesh)
{
    struct ckpt_options open;
    struct ckpt_error error;
    char token[TOKEN_BYTES] = "";

    make_token(mesh, token);
    ckpt_options_init(&open);
    open.home = options->home;
    open.run = options->run;
    open.token = token;
    open.rank = mesh->world.rank;
    open.world_size = (uint64_t)mesh->world.size;
    add_axis(&open, "dp", &mesh->dp);
    add_axis(&open, "tp", &mesh->tp);
    add_axis(&open, "pp", &mesh->pp);
    if (options->ep > 1)
        add_axis(&open, "ep", &mesh->ep);
    open.arena_bytes = options->arena_bytes;
    open.replica_check = (enum ckpt_replica_check)options->replica_check;
    open.on_divergence = (enum ckpt_verdict)options->on_divergence;
    open.on_stale = (enum ckpt_verdict)options->on_stale;
    open.replica_allow = options->replica_allow;
    open.optimizer_names = options->optimizer_names;
    if (options->fresh)
        open.resume = CKPT_RESUME_NONE;
    if (options->has_resume_step) {
        open.resume = CKPT_RESUME_STEP;
        open.resume_step = options->resume_step;
    }
    *saver = (struct saver){.options = options, .mesh = mesh};
    if (ckpt_open(&open, &saver->ctx, &error))
        fatal("%s", error.message);
    say(saver, "%s", ckpt_mode(saver->ctx));
}

void saver_close(struct saver *saver)
{
    ckpt_save_free(saver->save);
    ckpt_close(saver->ctx);
}

bool saver_has_parent(struct saver *saver)
{
    struct ckpt_values *values;
    struct ckpt_error error;
    struct ckpt_id parent;

    ckpt_parent(saver->ctx, &parent);
    if (parent.generation == 0)
        return false;
    if (ckpt_load_extra(saver->ctx, &values, &error))
        fatal("%s", error.message);
    extra_check_config(values, saver->options);
    ckpt_values_free(values);
    return true;
}

void saver_load(struct saver *saver, const struct state *state,
                struct progress *progress)
{
    struct ckpt_values *values;
    struct ckpt_report report;
    struct ckpt_error error;

    if (ckpt_load(saver->ctx, state->tensors, state->count, &values, &report,
                  &error))
        fatal("%s", error.message);
    extra_read(values, saver->mesh, progress);
    ckpt_values_free(values);
    saver->saved_step = progress->step;
    say(saver, "resumed from step %llu, saved by generation %u, in %.2f s",
        (unsigned long long)report.id.step, report.id.generation,
        report.seconds);
    if (report.note[0])
        say(saver, "passed over: %s", report.note);
    else if (report.attempt_count > 1)
        say(saver, "passed over: %u newer candidates that could not be loaded",
            report.attempt_count - 1);
}

bool saver_is_due(const struct saver *saver, uint64_t step)
{
    return saver->options->save_every > 0 &&
           ckpt_should_save(saver->ctx, step, saver->options->save_every);
}

void saver_save(struct saver *saver, const struct state *state,
                const struct progress *progress)
{
    struct ckpt_error error;
    struct extra extra;

    saver_poll(saver);
    ckpt_save_free(saver->save);
    saver->save = NULL;
    extra_fill(&extra, progress, saver->options, saver->mesh);
    if (ckpt_save(saver->ctx, progress->step, state->tensors,
                  state->saved_count, extra.values, EXTRA_COUNT, &saver->save,
                  &error))
        fatal("%s", error.message);
    saver->is_fenced = false;
    saver->is_reported = false;
    saver->saved_step = progress->step;
    if (saver->options->wait_commit)
        saver_finish(saver);
}

void saver_fence(struct saver *saver)
{
    struct ckpt_error error;
    int rc;

    if (!saver->save || saver->is_fenced)
        return;
    saver->is_fenced = true;
    rc = ckpt_fence(saver->save, NULL, &error);
    if (rc == -ECANCELED)
        (void)fprintf(stderr, "train_lm: rank %d: warning: %s\n",
                      saver->mesh->world.rank, error.message);
    else if (rc)
        fatal("%s", error.message);
}

void saver_poll(struct saver *saver)
{
    struct ckpt_save_status status;
    struct ckpt_error warning;

    while (ckpt_warning(saver->ctx, &warning))
        say(saver, "train_lm: warning: %s", warning.message);
    if (!saver->save || saver->is_reported)
        return;
    ckpt_save_status(saver->save, &status);
    if (status.failed_count > saver->failed_count)
        say(saver, "train_lm: warning: %s",
            status.aborted ? status.error.message
                           : "an earlier save was not committed");
    saver->failed_count = status.failed_count;
    if (!status.aborted && status.state >= CKPT_COMMITTED)
        say(saver, "step %llu is committed",
            (unsigned long long)saver->saved_step);
    saver->is_reported = status.aborted || status.state >= CKPT_COMMITTED;
}

void saver_finish(struct saver *saver)
{
    struct ckpt_error error;

    if (!saver->save)
        return;
    saver_fence(saver);
    if (ckpt_wait(saver->save, CKPT_COMMITTED, -1, &error))
        fatal("%s", error.message);
    saver_poll(saver);
}
