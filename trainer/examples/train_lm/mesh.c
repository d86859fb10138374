/*
 * mesh.c - see mesh.h. An ordered sum gathers every rank's values and adds them
 * up one rank after the other; groups are small, so this costs little more than
 * a tree and is the same on every run.
 */
#include "trainer/examples/train_lm/mesh.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOKS_BEFORE_PAUSE 20
#define PAUSE_NS           20000

void fatal(const char *format, ...)
{
    char text[1400];
    va_list args;
    int rank = 0;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)fprintf(stderr, "train_lm: rank %d: %s\n", rank, text);
    (void)fflush(stderr);
    (void)MPI_Abort(MPI_COMM_WORLD, 1);
    _exit(1);
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);

    if (!memory)
        fatal("no memory for %zu values of %zu bytes", count, size);
    return memory;
}

/* The ranks with an equal `color`, in the order of `key`. */
static void group_init(struct group *group, int color, int key)
{
    MPI_Comm_split(MPI_COMM_WORLD, color, key, &group->comm);
    MPI_Comm_rank(group->comm, &group->rank);
    MPI_Comm_size(group->comm, &group->size);
    group->scratch = NULL;
    group->scratch_count = 0;
}

static void group_fini(struct group *group)
{
    MPI_Comm_free(&group->comm);
    free(group->scratch);
    group->scratch = NULL;
}

void mesh_init(struct mesh *mesh, const struct options *options)
{
    int dp_degree = (int)options->dp, tp_degree = (int)options->tp;
    int ep_degree = (int)options->ep, rank, tp, dp, pp, stage;

    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    tp = rank % tp_degree;
    dp = rank / tp_degree % dp_degree;
    pp = rank / (tp_degree * dp_degree);
    stage = pp * tp_degree;
    group_init(&mesh->world, 0, rank);
    group_init(&mesh->tp, pp * dp_degree + dp, tp);
    group_init(&mesh->dp, stage + tp, dp);
    group_init(&mesh->pp, dp * tp_degree + tp, pp);
    group_init(&mesh->ep, (stage + tp) * dp_degree + dp / ep_degree, dp);
    group_init(&mesh->edp, (stage + tp) * dp_degree + dp % ep_degree, dp);
}

void mesh_fini(struct mesh *mesh)
{
    group_fini(&mesh->edp);
    group_fini(&mesh->ep);
    group_fini(&mesh->pp);
    group_fini(&mesh->dp);
    group_fini(&mesh->tp);
    group_fini(&mesh->world);
}

static int mpi_count(size_t count)
{
    assert(count <= INT_MAX);
    return (int)count;
}

/* Room for `count` values of each rank. */
static float *scratch(struct group *group, size_t count)
{
    size_t total = count * (size_t)group->size;

    if (group->scratch_count < total) {
        free(group->scratch);
        group->scratch = allocate(total, sizeof(float));
        group->scratch_count = total;
    }
    return group->scratch;
}

/* Rest until a message is through; MPI_Wait() then does not block. Ranks often
 * outnumber cores, so after a few looks this sleeps instead of spinning:
 * whoever has work gets the core. */
static void rest(MPI_Request request)
{
    const struct timespec pause = {0, PAUSE_NS};
    int done = 0;

    for (int looks = 0; !done; looks++) {
        MPI_Request_get_status(request, &done, MPI_STATUS_IGNORE);
        if (!done && looks >= LOOKS_BEFORE_PAUSE)
            (void)nanosleep(&pause, NULL);
    }
}

static void add(float *restrict to, const float *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

void mesh_sum(struct group *group, float *values, size_t count)
{
    MPI_Request request;
    float *all;

    if (group->size == 1)
        return;
    all = scratch(group, count);
    MPI_Iallgather(values, mpi_count(count), MPI_FLOAT, all, mpi_count(count),
                   MPI_FLOAT, group->comm, &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    memcpy(values, all, count * sizeof *values);
    for (int r = 1; r < group->size; r++)
        add(values, all + (size_t)r * count, count);
}

double mesh_sum_double(const struct group *group, double value)
{
    double *all = allocate((size_t)group->size, sizeof *all), sum = 0;
    MPI_Request request;

    MPI_Iallgather(&value, 1, MPI_DOUBLE, all, 1, MPI_DOUBLE, group->comm,
                   &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    for (int r = 0; r < group->size; r++)
        sum += all[r];
    free(all);
    return sum;
}

void mesh_reduce_scatter(struct group *group, const float *all, float *piece,
                         size_t count)
{
    float *mine = scratch(group, count);
    MPI_Request request;

    MPI_Ialltoall(all, mpi_count(count), MPI_FLOAT, mine, mpi_count(count),
                  MPI_FLOAT, group->comm, &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    memcpy(piece, mine, count * sizeof *piece);
    for (int r = 1; r < group->size; r++)
        add(piece, mine + (size_t)r * count, count);
}

void mesh_all_gather(const struct group *group, float *all, size_t count)
{
    MPI_Request request;

    if (group->size == 1)
        return;
    MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, mpi_count(count),
                   MPI_FLOAT, group->comm, &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void mesh_max(struct group *group, float *values, size_t count)
{
    MPI_Request request;

    if (group->size == 1)
        return;
    MPI_Iallreduce(MPI_IN_PLACE, values, mpi_count(count), MPI_FLOAT, MPI_MAX,
                   group->comm, &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void mesh_send(const struct group *group, int to, const float *values,
               size_t count)
{
    MPI_Request request;

    MPI_Isend(values, mpi_count(count), MPI_FLOAT, to, 0, group->comm,
              &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void mesh_receive(const struct group *group, int from, float *values,
                  size_t count)
{
    MPI_Request request;

    MPI_Irecv(values, mpi_count(count), MPI_FLOAT, from, 0, group->comm,
              &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void mesh_swap(const struct group *group, int peer, const float *mine,
               float *other, size_t count)
{
    MPI_Request request;

    MPI_Irecv(other, mpi_count(count), MPI_FLOAT, peer, 1, group->comm,
              &request);
    MPI_Send(mine, mpi_count(count), MPI_FLOAT, peer, 1, group->comm);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void mesh_exchange_counts(const struct group *group, const int *from, int *to,
                          size_t count)
{
    MPI_Request request;

    MPI_Ialltoall(from, mpi_count(count), MPI_INT, to, mpi_count(count),
                  MPI_INT, group->comm, &request);
    rest(request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

void mesh_exchange(const struct group *group, const float *from,
                   struct spread from_spread, float *to,
                   struct spread to_spread)
{
    MPI_Request request;

    MPI_Ialltoallv(from, from_spread.sizes, from_spread.starts, MPI_FLOAT, to,
                   to_spread.sizes, to_spread.starts, MPI_FLOAT, group->comm,
                   &request);
    rest(request);
    // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): knows no Ialltoallv
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}
