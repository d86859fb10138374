/*
 * weights.h - every tensor of the model, and what this rank holds of each.
 *
 *   model.embed.weight                     BF16 [257, width]   rows over tp
 *   model.layers.L.norm.weight             F32  [width]
 *   model.layers.L.mlp.gate_up.weight      BF16 [2 ffn, width] rows of both
 *   model.layers.L.mlp.down.weight         BF16 [width, ffn]   columns
 *   model.layers.L.mlp.act_ema             F32  [ffn]          over tp
 *   model.layers.L.router.weight           BF16 [experts, width]
 *   model.layers.L.router.load_ema         F32  [experts]
 *   model.layers.L.experts.gate_up.weight  BF16 [experts, 2 ffn, width]
 *   model.layers.L.experts.down.weight     BF16 [experts, width, ffn]
 *   model.norm.weight                      F32  [width]
 *   model.head.weight                      BF16 [257, width]   rows over tp
 *
 * ffn = 2 width. With experts every second layer (1, 3, ...) has router and
 * experts in place of mlp. When tp does not divide 257 the vocabulary is padded
 * locally; the padding stays zero. A tied head has no tensor of its own: the
 * embedding is then held by the first and by the last stage.
 *
 * Parameters live in buckets: one of those that all of dp replicates, one of
 * the experts', replicated by the dp / ep ranks that hold the same ones. A
 * bucket is the rank's parameters end to end, padded to a multiple of its
 * group's size; rank r of the group keeps the optimizer's state of the r-th
 * equal piece (ZeRO-1). The forward pass reads `work`, which is the stored
 * value in fp32.
 */
#ifndef TRAIN_LM_WEIGHTS_H
#define TRAIN_LM_WEIGHTS_H

#include "trainer/ckpt.h"
#include "trainer/examples/train_lm/mesh.h"

#define SPEC_NAME_BYTES 64

enum role {
    ROLE_EMBED,
    ROLE_NORM,
    ROLE_GATE_UP,
    ROLE_DOWN,
    ROLE_ACT_EMA,
    ROLE_ROUTER,
    ROLE_LOAD_EMA,
    ROLE_EXPERT_GATE_UP,
    ROLE_EXPERT_DOWN,
    ROLE_FINAL_NORM,
    ROLE_HEAD,
    ROLE_COUNT,
};

/* A tensor of the whole model. */
struct spec {
    char name[SPEC_NAME_BYTES];
    enum role role;
    uint64_t layer; /* 0 where there is none */
    enum ckpt_dtype dtype;
    uint32_t ndim;
    uint64_t shape[3];
    float deviation; /* of the initial weights; 0: they are all equal */
};

struct bucket {
    struct group *group; /* the ranks that replicate these parameters */
    size_t count, piece; /* elements in use; elements per rank of the group */
    float *work, *grad;  /* piece * group size */
    float *master, *exp_avg, *exp_avg_sq; /* piece */
};

/* This rank's shard of one tensor. */
struct param {
    struct spec spec;
    struct ckpt_box *boxes;
    uint32_t box_count;
    size_t count; /* local elements, with padding */
    uint32_t replica_index, replica_count;
    /* The optimizer's pieces of it; replicas of their own. Not saved by the
     * second holder of a tied embedding, whose pieces are cut otherwise. */
    uint32_t optim_replica_index, optim_replica_count;
    bool optim_saved;
    struct bucket *bucket; /* NULL: a running statistic, not trained */
    size_t at;             /* in the bucket */
    void *value;           /* what is saved: bf16 or fp32 */
    float *work, *grad;    /* in the bucket; of a statistic, work == value */
};

struct weights {
    struct param *params; /* in the order of the model */
    size_t count;
    struct bucket dense, expert;
};

static inline uint64_t weights_ffn(const struct options *options)
{
    return 2 * options->width;
}

/* Whether a layer is a mixture of experts. */
static inline bool weights_is_moe(const struct options *options, uint64_t layer)
{
    return options->experts > 0 && layer % 2 == 1;
}

/* The first layer of a stage; that of stage pp is the number of layers. */
static inline uint64_t weights_stage_begin(const struct options *options,
                                           uint64_t stage)
{
    return stage * options->layers / options->pp;
}

/* All tensors of the model, in every layout the same; freed with free(). */
struct spec *weights_specs(const struct options *options, size_t *count);

/* This rank's shards with initial values. `mesh` must outlive it. */
void weights_init(struct weights *weights, const struct options *options,
                  struct mesh *mesh);
void weights_fini(struct weights *weights);

/* NULL when this rank holds none. */
struct param *weights_find(struct weights *weights, enum role role,
                           uint64_t layer);

/* A descriptor of a parameter or statistic. */
struct ckpt_tensor weights_tensor(const struct param *param);

/* value -> work, after a load; work -> value, after an update (work must hold
 * values that the type can express). */
void weights_unpack(struct weights *weights);
void weights_pack(struct weights *weights);

#endif
