/*
 * mesh.h - who is who: the ranks as a mesh, and the few collectives needed.
 *
 * world = dp * tp * pp, rank = (pp coordinate * dp + dp coordinate) * tp + tp
 * coordinate. Experts are shared out over ep neighbouring ranks of dp, so ep
 * divides dp: ep coordinate = dp coordinate % ep, and the dp / ep ranks with an
 * equal one ("edp") hold the same experts.
 *
 * Every sum is formed in the order of the ranks of its group, on each rank
 * alike: the result depends on the layout only, never on who came first, and
 * is equal on all ranks to the bit. Waiting gives the core away. Failures of
 * MPI end the job (its default).
 */
#ifndef TRAIN_LM_MESH_H
#define TRAIN_LM_MESH_H

#include "trainer/examples/train_lm/options.h"

#include <mpi.h>

/* Ranks that work together; zero-initialised, then group_init(). */
struct group {
    MPI_Comm comm;
    int rank, size;
    float *scratch;
    size_t scratch_count;
};

struct mesh {
    struct group world, dp, tp, pp, ep, edp;
};

void mesh_init(struct mesh *mesh, const struct options *options);
void mesh_fini(struct mesh *mesh);

/* Sum `count` values over the group, in place. */
void mesh_sum(struct group *group, float *values, size_t count);
double mesh_sum_double(const struct group *group, double value);

/* From `size * count` values of each rank, the sum of this rank's `count`. */
void mesh_reduce_scatter(struct group *group, const float *all, float *piece,
                         size_t count);

/* `all` holds this rank's `count` values in its place; fill in the others. */
void mesh_all_gather(const struct group *group, float *all, size_t count);

/* The greatest over the group, value by value, in place. */
void mesh_max(struct group *group, float *values, size_t count);

/* A point-to-point message to or from a rank of the group. */
void mesh_send(const struct group *group, int to, const float *values,
               size_t count);
void mesh_receive(const struct group *group, int from, float *values,
                  size_t count);

/* Send `count` values to the peer, which sends as many. */
void mesh_swap(const struct group *group, int peer, const float *mine,
               float *other, size_t count);

/* `count` numbers from each rank to each rank. */
void mesh_exchange_counts(const struct group *group, const int *from, int *to,
                          size_t count);

/* Where the values for each rank, or from each rank, lie. */
struct spread {
    const int *sizes, *starts;
};

/* From each rank to each rank, as many values as both sides say. */
void mesh_exchange(const struct group *group, const float *from,
                   struct spread from_spread, float *to,
                   struct spread to_spread);

/* Print "train_lm: rank R: ..." on stderr and end the whole job with 1. */
void fatal(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* Zeroed memory, or fatal(). Freed with free(). */
void *allocate(size_t count, size_t size);

#endif
