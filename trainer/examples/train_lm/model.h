/*
 * model.h - the network: forward, backward, and the pipeline around both.
 *
 * A sample is CONTEXT bytes, each predicted from those before it. Every block
 * adds to the residual stream: norm, a causal shift, and a gated MLP or a
 * mixture of experts. The shift is the only thing that mixes positions: in
 * block l channel c is taken from (c mod 4) * 4^(l mod 3) positions earlier, so
 * that three blocks see the whole sample.
 *
 * A step runs all micro-batches forward and then, in reverse order, backward;
 * stages hand activations on by MPI. With one stage there is one micro-batch.
 *
 * Two running statistics change in the forward pass and belong to the state:
 * mlp.act_ema, the mean square of each hidden channel, by whose root the
 * channel is divided; and router.load_ema, the share of tokens per expert,
 * which biases the choice of experts towards an even load. Both take in the
 * samples of all of dp at the end of a forward pass, and are constants in the
 * backward pass.
 */
#ifndef TRAIN_LM_MODEL_H
#define TRAIN_LM_MODEL_H

#include "trainer/examples/train_lm/weights.h"

/* A micro-batch: tokens of the local batch; always whole samples. */
struct range {
    size_t begin, count, index;
};

/* How the tokens of one micro-batch went to experts, kept for backward. */
struct route {
    uint32_t *choice;               /* per token: its expert */
    uint32_t *order;                /* tokens sorted by expert */
    float *share;                   /* per token and expert: softmax */
    float *out;                     /* per token: its expert's output */
    int *sent_counts, *here_counts; /* tokens per rank of ep and expert */
    size_t here;                    /* tokens that came to this rank */
    float *x, *gate_up, *sig, *act; /* of those */
};

struct layer {
    uint64_t index;
    bool is_moe;
    struct param *norm;
    struct param *gate_up, *down, *act_ema; /* dense */
    struct param *router, *load_ema, *expert_gate_up, *expert_down;
    float *input, *rinv, *z; /* per token: before the norm; after the shift */
    uint8_t *keep;           /* per token and channel: not dropped */
    float *hidden, *sig, *act, *act_scale; /* dense */
    struct route *routes;                  /* per micro-batch */
    float *seen; /* sums for the statistic, of this rank's tokens */
};

struct model {
    const struct options *options;
    struct mesh *mesh;
    struct weights *weights;
    const uint64_t *dropout_key;
    uint64_t first_sample; /* of this rank's part of the batch */
    size_t width, ffn;     /* ffn: this rank's share */
    size_t tokens;         /* of this rank's part of the batch */
    size_t micro_count;
    struct layer *layers;
    size_t layer_count;
    struct param *embed, *final_norm, *head;
    bool is_first, is_last;
    bool is_training;   /* drop out and update statistics */
    bool routes_frozen; /* keep every token's expert from the pass before */
    float *stream, *gradient; /* per token: the residual stream, its gradient */
    float *final_rinv, *final_z, *logits; /* last stage */
    float *small;                         /* per token: 2 */
    float *y, *dz, *dhidden, *dgate_up;   /* per token: scratch */
};

/* `weights` are read and changed by passes, the key of dropout is read; both
 * must outlive the model. */
void model_init(struct model *model, struct weights *weights,
                const struct options *options, struct mesh *mesh,
                const uint64_t *dropout_key);
void model_fini(struct model *model);

/*
 * One pass over this dp rank's part of the batch, `tokens` inputs and targets.
 * Returns the mean loss of the whole batch in nats per byte, equal on all
 * ranks. With `backward` the gradients of that mean are left in the buckets,
 * not yet summed over the buckets' groups. Collective.
 */
double model_pass(struct model *model, const uint16_t *inputs,
                  const uint16_t *targets, bool backward);

/* block.c: one residual block over a micro-batch, in place. */
void block_init(struct model *model, struct layer *layer, uint64_t index);
void block_fini(struct model *model, struct layer *layer);
void block_forward(struct model *model, struct layer *layer,
                   struct range range);
void block_backward(struct model *model, struct layer *layer,
                    struct range range);
/* Take what a whole forward pass has seen into the statistics. */
void block_update_statistics(struct model *model);

/* mlp.c: y = MLP(z), and dz from dy; summed over tp. */
void mlp_init(struct model *model, struct layer *layer);
void mlp_fini(struct layer *layer);
void mlp_forward(struct model *model, struct layer *layer, struct range range,
                 float *y);
void mlp_backward(struct model *model, struct layer *layer, struct range range,
                  const float *dy, float *dz);

/* moe.c: the same for a mixture of experts. */
void moe_init(struct model *model, struct layer *layer);
void moe_fini(struct model *model, struct layer *layer);
void moe_forward(struct model *model, struct layer *layer, struct range range,
                 float *y);
void moe_backward(struct model *model, struct layer *layer, struct range range,
                  const float *dy, float *dz);

/* head.c: both ends, sharded over tp by vocabulary. */
void embed_forward(struct model *model, struct range range,
                   const uint16_t *inputs);
void embed_backward(struct model *model, struct range range,
                    const uint16_t *inputs);
/* The sum of the losses in nats; leaves the gradient of the mean in logits. */
double head_forward(struct model *model, struct range range,
                    const uint16_t *targets);
void head_backward(struct model *model, struct range range);

#endif
