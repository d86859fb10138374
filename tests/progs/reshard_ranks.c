/*
 * reshard_ranks.c - random layouts through a real daemon.
 *
 *   reshard_ranks HOME SEED COUNT
 *
 * For each of COUNT seeds: random tensors are dealt out to a random number of
 * ranks in a random layout (see tests/lib/reshard.h), saved by as many
 * processes, and loaded by another number of them into another layout, which
 * may leave parts out. What is loaded is compared with the slow reference,
 * byte by byte, padding included. Exit status 0, or 1 with the seed named.
 */
#include "tests/lib/reshard.h"
#include "trainer/ckpt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS 60000

struct job {
    const char *home;
    char run[32], token[64];
    uint64_t seed;
    struct tensor tensor[RESHARD_TENSORS_MAX];
    uint32_t tensor_count;
};

static void to_piece(const struct share *s, size_t i, const struct tensor *t,
                     struct ckpt_tensor *out, struct ckpt_box **boxes)
{
    const struct region *r = &s->entry[i].region;

    *boxes = calloc(r->box_count ? r->box_count : 1, sizeof **boxes);
    if (!*boxes)
        abort();
    for (uint32_t b = 0; b < r->box_count; b++) {
        memcpy((*boxes)[b].offset, r->boxes[b].offset,
               sizeof r->boxes[b].offset);
        memcpy((*boxes)[b].size, r->boxes[b].size, sizeof r->boxes[b].size);
    }
    *out = (struct ckpt_tensor){
        .name = t->name,
        .dtype = (enum ckpt_dtype)t->geometry.dtype,
        .ndim = t->geometry.ndim,
        .boxes = *boxes,
        .box_count = r->box_count,
        .is_cut = r->is_cut,
        .cut_start = r->cut_start,
        .cut_count = r->cut_count,
        .strides = s->strides[i],
        .data = s->local[i],
        .capture = i % 2 ? CKPT_UNTIL_FENCE : CKPT_CAPTURE_NOW,
        .replica_index = s->entry[i].replica_index,
        .replica_count = s->entry[i].replica_count,
    };
    memcpy(out->shape, t->geometry.shape, sizeof out->shape);
}

static int save(struct ckpt *ctx, const struct ckpt_tensor *piece, size_t count,
                struct ckpt_error *error)
{
    struct ckpt_save *handle;
    int rc = ckpt_save(ctx, 1, piece, count, NULL, 0, &handle, error);

    if (rc)
        return rc;
    rc = ckpt_fence(handle, NULL, error);
    if (rc == 0)
        rc = ckpt_wait(handle, CKPT_COMMITTED, TIMEOUT_MS, error);
    ckpt_save_free(handle);
    return rc;
}

static int load(struct ckpt *ctx, const struct share *s,
                const struct ckpt_tensor *piece, struct ckpt_error *error)
{
    uint8_t **wanted = calloc(s->count + 1, sizeof *wanted);
    int rc;

    if (!wanted)
        abort();
    for (size_t i = 0; i < s->count; i++) {
        wanted[i] = malloc(s->local_bytes[i] + 1);
        if (!wanted[i])
            abort();
        memcpy(wanted[i], s->local[i], s->local_bytes[i]);
        /* Gaps between strided elements keep what is there. */
        if (!s->strides[i])
            memset(s->local[i], 0xa5, s->local_bytes[i]);
    }
    rc = ckpt_load(ctx, piece, s->count, NULL, NULL, error);
    for (size_t i = 0; i < s->count && rc == 0; i++) {
        if (memcmp(wanted[i], s->local[i], s->local_bytes[i]) == 0)
            continue;
        (void)snprintf(error->message, sizeof error->message,
                       "descriptor %zu of %s is not what was saved", i,
                       piece[i].name);
        rc = -1;
    }
    for (size_t i = 0; i < s->count; i++)
        free(wanted[i]);
    free(wanted);
    return rc;
}

/* One rank, in a process of its own. */
static int run_rank(const struct job *job, const struct shares *shares,
                    uint32_t rank, bool is_save)
{
    const struct share *s = &shares->rank[rank];
    struct ckpt_tensor *piece = calloc(s->count + 1, sizeof *piece);
    struct ckpt_box **boxes = calloc(s->count + 1, sizeof *boxes);
    struct ckpt_options o;
    struct ckpt_error error;
    struct ckpt *ctx;
    int rc;

    if (!piece || !boxes)
        abort();
    for (size_t i = 0; i < s->count; i++)
        to_piece(s, i, &job->tensor[s->tensor[i]], &piece[i], &boxes[i]);
    ckpt_options_init(&o);
    o.home = job->home;
    o.run = job->run;
    o.token = job->token;
    o.rank = rank;
    o.world_size = shares->rank_count;
    /* Replicas are equal, whatever padding and gaps lie around them. */
    o.replica_check = CKPT_REPLICAS_ALL;
    o.on_divergence = CKPT_FAIL;
    rc = ckpt_open(&o, &ctx, &error);
    if (rc == 0)
        rc = is_save ? save(ctx, piece, s->count, &error)
                     : load(ctx, s, piece, &error);
    if (rc)
        (void)printf("seed %" PRIu64 ", %s, rank %u of %u: %d %s\n", job->seed,
                     is_save ? "save" : "load", rank, shares->rank_count, rc,
                     error.message);
    (void)fflush(stdout);
    ckpt_close(ctx);
    for (size_t i = 0; i < s->count; i++)
        free(boxes[i]);
    free(boxes);
    free(piece);
    return rc ? 1 : 0;
}

static int run_ranks(struct job *job, const struct shares *shares, bool is_save)
{
    pid_t pid[RESHARD_RANKS_MAX];
    int status, result = 0;

    (void)snprintf(job->token, sizeof job->token, "%s-%s-%d", job->run,
                   is_save ? "save" : "load", (int)getpid());
    for (uint32_t i = 0; i < shares->rank_count; i++) {
        pid[i] = fork();
        if (pid[i] < 0)
            abort();
        if (pid[i] == 0)
            _exit(run_rank(job, shares, i, is_save));
    }
    for (uint32_t i = 0; i < shares->rank_count; i++)
        if (waitpid(pid[i], &status, 0) != pid[i] || status)
            result = 1;
    return result;
}

static int run_seed(const char *home, uint64_t seed)
{
    struct job job = {.home = home, .seed = seed};
    struct random random = {seed * 0x9e3779b97f4a7c15 + 1};
    struct shares from = {0}, to = {0};
    int rc;

    (void)snprintf(job.run, sizeof job.run, "seed-%" PRIu64, seed);
    job.tensor_count = 1 + (uint32_t)random_below(&random, RESHARD_TENSORS_MAX);
    for (uint32_t i = 0; i < job.tensor_count; i++)
        tensor_random(&random, i, &job.tensor[i]);
    shares_cover(&random, job.tensor, job.tensor_count, &from);
    shares_want(&random, job.tensor, job.tensor_count, &to);
    shares_fill(&from, job.tensor, 0xee);
    shares_fill(&to, job.tensor, 0);
    rc = run_ranks(&job, &from, true);
    if (rc == 0)
        rc = run_ranks(&job, &to, false);
    shares_free(&from);
    shares_free(&to);
    for (uint32_t i = 0; i < job.tensor_count; i++)
        tensor_free(&job.tensor[i]);
    return rc;
}

int main(int argc, char **argv)
{
    uint64_t seed, count;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: reshard_ranks HOME SEED COUNT\n");
        return 2;
    }
    seed = strtoull(argv[2], NULL, 10);
    count = strtoull(argv[3], NULL, 10);
    for (uint64_t i = 0; i < count; i++)
        if (run_seed(argv[1], seed + i))
            return 1;
    (void)printf("%" PRIu64 " pairs of layouts are bit-exact\n", count);
    return 0;
}
