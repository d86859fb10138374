/*
 * main.c - train_lm, the example trainer: parse, join, resume, train, save.
 *
 * A step is: read samples, forward and backward, fence, update, and perhaps
 * save. The running statistics change in the forward pass, parameters and
 * optimizer state in the update, so a save that starts after the update has one
 * forward and backward pass to be captured in.
 *
 * Ends with 0; 1 after an error, which takes the whole job down; 2 for bad
 * flags, which rank 0 names.
 */
#include "trainer/examples/train_lm/data.h"
#include "trainer/examples/train_lm/digest.h"
#include "trainer/examples/train_lm/gradcheck.h"
#include "trainer/examples/train_lm/model.h"
#include "trainer/examples/train_lm/optim.h"
#include "trainer/examples/train_lm/saver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GRADIENT_TOLERANCE 0.02

struct job {
    struct options options;
    struct mesh mesh;
    struct corpus corpus;
    struct weights weights;
    struct model model;
    struct state state;
    struct saver saver;
    struct progress progress;
    uint16_t *inputs, *targets;
    FILE *log;
    double started; /* seconds */
    uint64_t first_step;
};

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void read_corpus(struct job *job)
{
    char culprit[256];
    int rc = corpus_init(&job->corpus, job->options.data, culprit);

    if (rc == -ENODATA)
        fatal("--data %s: %s", job->options.data, culprit);
    if (rc)
        fatal("--data %s: %s: %s", job->options.data, culprit,
              ckpt_strerror(rc));
}

static void job_init(struct job *job)
{
    size_t tokens = job->options.batch / job->options.dp * CONTEXT;

    progress_init(&job->progress, &job->options);
    weights_init(&job->weights, &job->options, &job->mesh);
    model_init(&job->model, &job->weights, &job->options, &job->mesh,
               &job->progress.dropout_key);
    job->model.is_training = true;
    state_init(&job->state, &job->weights);
    job->inputs = allocate(tokens, sizeof *job->inputs);
    job->targets = allocate(tokens, sizeof *job->targets);
    if (job->options.log && job->mesh.world.rank == 0) {
        job->log = fopen(job->options.log, "ae");
        if (!job->log)
            fatal("--log %s: %s", job->options.log, ckpt_strerror(-errno));
    }
}

static void job_fini(struct job *job)
{
    if (job->log && fclose(job->log))
        fatal("--log %s: %s", job->options.log, ckpt_strerror(-errno));
    free(job->inputs);
    free(job->targets);
    state_fini(&job->state);
    model_fini(&job->model);
    weights_fini(&job->weights);
    corpus_fini(&job->corpus);
}

/* This dp rank's part of the next batch. */
static void read_batch(struct job *job)
{
    uint64_t share = job->options.batch / job->options.dp;
    uint64_t first =
        progress_first_sample(&job->progress, &job->options, &job->mesh);

    job->model.first_sample = first;
    for (uint64_t i = 0; i < share; i++)
        corpus_sample(&job->corpus, job->options.seed, first + i,
                      job->inputs + i * CONTEXT, job->targets + i * CONTEXT);
}

static void report(struct job *job)
{
    uint64_t step = job->progress.step, steps = job->options.steps;
    uint64_t every = steps / 20 ? steps / 20 : 1;
    double took = seconds() - job->started;

    if (job->log && (fprintf(job->log, "%llu\t%.6f\n", (unsigned long long)step,
                             job->progress.loss) < 0 ||
                     fflush(job->log)))
        fatal("--log %s: %s", job->options.log, ckpt_strerror(-errno));
    if (job->mesh.world.rank == 0 && (step % every == 0 || step == steps))
        (void)fprintf(stderr, "step %llu of %llu: loss %.4f, %.1f steps/s\n",
                      (unsigned long long)step, (unsigned long long)steps,
                      job->progress.loss,
                      (double)(step - job->first_step) / took);
}

static void train_step(struct job *job)
{
    double loss;

    read_batch(job);
    loss = model_pass(&job->model, job->inputs, job->targets, true);
    progress_advance(&job->progress, &job->options, loss);
    saver_fence(&job->saver);
    optim_step(&job->weights, &job->options, job->progress.step);
    report(job);
    if (saver_is_due(&job->saver, job->progress.step))
        saver_save(&job->saver, &job->state, &job->progress);
    else
        saver_poll(&job->saver);
}

/* One line on stdout; a loss only if a step was ever taken. */
static void print_result(const struct job *job, const char *digest)
{
    const struct progress *p = &job->progress;
    char loss[32] = "none";

    if (job->mesh.world.rank > 0)
        return;
    if (p->step == job->first_step)
        (void)fprintf(stderr,
                      "nothing was trained: the run is at step %llu, --steps "
                      "is %llu\n",
                      (unsigned long long)p->step,
                      (unsigned long long)job->options.steps);
    if (p->step > 0)
        (void)snprintf(loss, sizeof loss, "%.6f", p->loss);
    printf("final step=%llu loss=%s state_sha256=%s\n",
           (unsigned long long)p->step, loss, digest);
}

static void train(struct job *job)
{
    char text[DIGEST_TEXT_BYTES] = "";

    read_corpus(job);
    saver_open(&job->saver, &job->options, &job->mesh);
    if (saver_has_parent(&job->saver)) {
        job_init(job);
        saver_load(&job->saver, &job->state, &job->progress);
        weights_unpack(&job->weights);
    } else {
        job_init(job);
    }
    job->first_step = job->progress.step;
    job->started = seconds();
    while (job->progress.step < job->options.steps)
        train_step(job);
    if (job->saver.saved_step != job->progress.step)
        saver_save(&job->saver, &job->state, &job->progress);
    saver_finish(&job->saver);
    digest_state(&job->state, &job->options, &job->mesh, text);
    print_result(job, text);
    saver_close(&job->saver);
    job_fini(job);
}

static int check_gradients(struct job *job)
{
    double worst;

    read_corpus(job);
    job_init(job);
    read_batch(job);
    worst = gradcheck(&job->model, job->inputs, job->targets);
    if (job->mesh.world.rank == 0)
        printf("gradients %s: greatest relative error %.5f, allowed %.5f\n",
               worst <= GRADIENT_TOLERANCE ? "agree" : "DISAGREE", worst,
               GRADIENT_TOLERANCE);
    job_fini(job);
    return worst <= GRADIENT_TOLERANCE ? 0 : 1;
}

/* Before MPI is up, only its environment tells who speaks for the job. */
static bool is_speaker(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread yet */
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");

    return !rank || strcmp(rank, "0") == 0;
}

static int run(struct job *job)
{
    char error[OPTIONS_ERROR_BYTES];
    int world, rank, rc = 0;

    MPI_Comm_size(MPI_COMM_WORLD, &world);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (options_check(&job->options, (uint64_t)world, error)) {
        if (rank == 0)
            (void)fprintf(stderr, "train_lm: %s\n", error);
        return 2;
    }
    mesh_init(&job->mesh, &job->options);
    if (job->options.check_grad)
        rc = check_gradients(job);
    else
        train(job);
    mesh_fini(&job->mesh);
    return rc;
}

int main(int argc, char **argv)
{
    static struct job job;
    char error[OPTIONS_ERROR_BYTES];
    int rc;

    if (options_parse(argc, argv, &job.options, error)) {
        if (is_speaker())
            (void)fprintf(stderr, "train_lm: %s; see train_lm --help\n", error);
        return 2;
    }
    if (job.options.help) {
        if (is_speaker())
            (void)fputs(options_help(), stdout);
        return 0;
    }
    MPI_Init(&argc, &argv);
    rc = run(&job);
    MPI_Finalize();
    return rc;
}
