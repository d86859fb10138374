/*
 * divergence.h - do replicas differ, and did the optimizer's state stand still?
 *
 * A daemon compares the blocks of its own ranks while it has their bytes
 * (replica_rows_*), to name the first element; the committer compares all that
 * the votes say (judge_*), before it decides.
 *
 * Rows of one block (equal key, start and bytes) form a group. Of a group whose
 * digests differ the most common content is taken for right, that of the
 * lowest rank where two are equally common; the other ranks are named.
 */
#ifndef FORMATS_DIVERGENCE_H
#define FORMATS_DIVERGENCE_H

#include "formats/manifest.h"

/* A block as one rank has it. */
struct replica_row {
    struct digest key; /* of tensor and region, replica_key() */
    struct digest content;
    uint64_t start;
    uint32_t bytes, rank;
    uint32_t source, index; /* the caller's */
};

/* Equal for replicas of one region and for nothing else. w is scratch, emptied
 * first; w->failed on no memory. */
struct digest replica_key(const char *name, size_t name_bytes,
                          const struct geometry *g, const struct region *r,
                          struct wr *w);
/* Groups together, each by rank. */
void replica_rows_sort(struct replica_row *rows, size_t count);
/* The end of the group that begins at `from`. */
size_t replica_group_end(const struct replica_row *rows, size_t count,
                         size_t from);
bool replica_group_differs(const struct replica_row *rows, size_t count);
/* The first row, in a group, of what is taken for right. */
size_t replica_group_right(const struct replica_row *rows, size_t count);

/* The first unit in which `bytes` of two copies differ; `bytes`: in none. */
uint64_t replica_first_difference(const void *a, const void *b, uint64_t bytes,
                                  uint32_t unit_bytes);

/* What the votes on one save say; texts are "" where there is nothing. */
#define JUDGE_TEXT_BYTES 8192
struct judgement {
    uint64_t compared_blocks, compared_bytes; /* of which there were others */
    uint64_t alone_blocks; /* digested by one rank only: nothing to compare */
    uint64_t diverged_blocks, diverged_regions;
    bool is_stale, must_fail_divergence, must_fail_stale;
    char divergence[JUDGE_TEXT_BYTES]; /* tensor, ranks, element of each */
    char stale[512];
};

/* Opened votes of one save. -ENOMEM with words. */
int judge(const struct manifest *votes, uint32_t count, struct judgement *out,
          struct err *err) MUST_USE;

#endif
