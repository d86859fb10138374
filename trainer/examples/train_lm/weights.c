/*
 * weights.c - see weights.h. Sharding is decided here and nowhere else: which
 * stage holds a tensor, which boxes of it this rank has, and who has the same.
 * Initial weights are a pure function of seed, name and global element.
 */
#include "trainer/examples/train_lm/weights.h"

#include "trainer/examples/train_lm/data.h"
#include "trainer/examples/train_lm/kernels.h"
#include "trainer/examples/train_lm/region.h"
#include "trainer/examples/train_lm/rng.h"

#include <stdlib.h>
#include <string.h>

static bool is_expert(enum role role)
{
    return role == ROLE_EXPERT_GATE_UP || role == ROLE_EXPERT_DOWN;
}

static bool is_statistic(enum role role)
{
    return role == ROLE_ACT_EMA || role == ROLE_LOAD_EMA;
}

static bool is_whole(enum role role)
{
    return role == ROLE_NORM || role == ROLE_FINAL_NORM ||
           role == ROLE_ROUTER || role == ROLE_LOAD_EMA;
}

static bool is_held(const struct spec *spec, const struct options *options,
                    const struct mesh *mesh)
{
    uint64_t stage = (uint64_t)mesh->pp.rank;
    bool is_last = stage + 1 == options->pp;

    if (spec->role == ROLE_EMBED)
        return stage == 0 || (options->tied && is_last);
    if (spec->role == ROLE_FINAL_NORM || spec->role == ROLE_HEAD)
        return is_last;
    return spec->layer >= weights_stage_begin(options, stage) &&
           spec->layer < weights_stage_begin(options, stage + 1);
}

/* `size` of the `d`-th dimension from the tp coordinate's share of `total`. */
static void cut_box(struct ckpt_box *box, uint32_t d, const struct mesh *mesh,
                    uint64_t total)
{
    uint64_t degree = (uint64_t)mesh->tp.size;

    box->size[d] = (total + degree - 1) / degree;
    box->offset[d] += (uint64_t)mesh->tp.rank * box->size[d];
}

/* A gate box and an up box, of expert `first + i` where there are experts. */
static void fused_boxes(struct param *param, const struct mesh *mesh,
                        uint64_t first, uint64_t expert_count)
{
    uint32_t rows = param->spec.ndim - 2;
    uint64_t ffn = param->spec.shape[rows] / 2;

    param->box_count = (uint32_t)(2 * expert_count);
    param->boxes = allocate(param->box_count, sizeof *param->boxes);
    for (uint32_t b = 0; b < param->box_count; b++) {
        struct ckpt_box *box = &param->boxes[b];

        if (rows > 0) {
            box->offset[0] = first + b / 2;
            box->size[0] = 1;
        }
        box->offset[rows] = b % 2 * ffn;
        cut_box(box, rows, mesh, ffn);
        box->size[rows + 1] = param->spec.shape[rows + 1];
    }
}

static void set_boxes(struct param *param, const struct mesh *mesh)
{
    const struct spec *spec = &param->spec;
    bool expert = is_expert(spec->role);
    uint64_t share = expert ? spec->shape[0] / (uint64_t)mesh->ep.size : 1;
    uint64_t first = expert ? share * (uint64_t)mesh->ep.rank : 0;
    struct ckpt_box *box;

    if (spec->role == ROLE_GATE_UP || spec->role == ROLE_EXPERT_GATE_UP) {
        fused_boxes(param, mesh, first, share);
        return;
    }
    param->box_count = 1;
    param->boxes = box = allocate(1, sizeof *box);
    for (uint32_t d = 0; d < spec->ndim; d++)
        box->size[d] = spec->shape[d];
    if (expert) {
        box->offset[0] = first;
        box->size[0] = share;
    }
    if (spec->role == ROLE_DOWN || expert)
        cut_box(box, spec->ndim - 1, mesh, spec->shape[spec->ndim - 1]);
    else if (!is_whole(spec->role))
        cut_box(box, 0, mesh, spec->shape[0]);
}

/* Who holds equal bytes: the bucket's group, tp where nothing is cut, and the
 * last stage for a tied embedding. */
static void set_replicas(struct param *param, const struct options *options,
                         const struct mesh *mesh)
{
    const struct group *group =
        is_expert(param->spec.role) ? &mesh->edp : &mesh->dp;
    bool twice =
        param->spec.role == ROLE_EMBED && options->tied && mesh->pp.size > 1;

    param->optim_replica_count = 1;
    if (is_whole(param->spec.role)) {
        param->optim_replica_index = (uint32_t)mesh->tp.rank;
        param->optim_replica_count = (uint32_t)mesh->tp.size;
    }
    param->replica_count = param->optim_replica_count * (uint32_t)group->size;
    param->replica_index = param->optim_replica_index * (uint32_t)group->size +
                           (uint32_t)group->rank;
    param->optim_saved = true;
    if (twice) {
        param->optim_saved = mesh->pp.rank == 0;
        if (mesh->pp.rank > 0)
            param->replica_index += param->replica_count;
        param->replica_count *= 2;
    }
}

struct ckpt_tensor weights_tensor(const struct param *param)
{
    struct ckpt_tensor tensor = {
        .name = param->spec.name,
        .dtype = param->spec.dtype,
        .ndim = param->spec.ndim,
        .boxes = param->boxes,
        .box_count = param->box_count,
        .data = param->value,
        .capture = param->bucket ? CKPT_UNTIL_FENCE : CKPT_CAPTURE_NOW,
        .replica_index = param->replica_index,
        .replica_count = param->replica_count,
    };

    memcpy(tensor.shape, param->spec.shape, sizeof param->spec.shape);
    return tensor;
}

struct filling {
    float *to;
    uint64_t key;
    float deviation;
};

static void fill_run(void *context, uint64_t local, uint64_t global,
                     uint64_t count)
{
    const struct filling *filling = context;

    for (uint64_t i = 0; i < count; i++)
        filling->to[local + i] =
            filling->deviation * rng_normal(filling->key, global + i);
}

static void fill(struct param *param, uint64_t seed)
{
    struct ckpt_tensor tensor = weights_tensor(param);
    struct filling filling = {param->work, rng_key(seed, param->spec.name),
                              param->spec.deviation};
    float even = 1;

    if (param->spec.role == ROLE_LOAD_EMA)
        even = 1 / (float)param->spec.shape[0];
    if (param->spec.deviation > 0) {
        region_walk(&tensor, fill_run, &filling);
    } else {
        for (size_t i = 0; i < param->count; i++)
            param->work[i] = even;
    }
    for (size_t i = 0; i < param->count && param->spec.dtype == CKPT_BF16; i++)
        param->work[i] = float_from_bf16(bf16_from_float(param->work[i]));
}

static void bucket_init(struct bucket *bucket, struct group *group)
{
    size_t size = (size_t)group->size;

    bucket->group = group;
    bucket->piece = (bucket->count + size - 1) / size;
    bucket->work = allocate(bucket->piece * size, sizeof(float));
    bucket->grad = allocate(bucket->piece * size, sizeof(float));
    bucket->master = allocate(bucket->piece, sizeof(float));
    bucket->exp_avg = allocate(bucket->piece, sizeof(float));
    bucket->exp_avg_sq = allocate(bucket->piece, sizeof(float));
}

/* The master weights start as the rounded ones. */
static void bucket_start(struct bucket *bucket)
{
    memcpy(bucket->master,
           bucket->work + (size_t)bucket->group->rank * bucket->piece,
           bucket->piece * sizeof(float));
}

static void bucket_fini(struct bucket *bucket)
{
    free(bucket->work);
    free(bucket->grad);
    free(bucket->master);
    free(bucket->exp_avg);
    free(bucket->exp_avg_sq);
}

/* Shape, region and place of one tensor that this rank holds. */
static void plan_param(struct weights *weights, const struct spec *spec,
                       const struct options *options, const struct mesh *mesh)
{
    struct param *param = &weights->params[weights->count++];
    struct ckpt_tensor tensor;

    param->spec = *spec;
    set_boxes(param, mesh);
    set_replicas(param, options, mesh);
    if (!is_statistic(spec->role))
        param->bucket =
            is_expert(spec->role) ? &weights->expert : &weights->dense;
    tensor = weights_tensor(param);
    param->count = region_local_count(&tensor);
    if (param->bucket) {
        param->at = param->bucket->count;
        param->bucket->count += param->count;
    }
}

static void place_param(struct param *param, uint64_t seed)
{
    size_t width = param->spec.dtype == CKPT_BF16 ? 2 : 4;

    param->value = allocate(param->count, width);
    if (param->bucket) {
        param->work = param->bucket->work + param->at;
        param->grad = param->bucket->grad + param->at;
    } else {
        param->work = param->value;
    }
    fill(param, seed);
}

void weights_init(struct weights *weights, const struct options *options,
                  struct mesh *mesh)
{
    size_t spec_count;
    struct spec *specs = weights_specs(options, &spec_count);

    memset(weights, 0, sizeof *weights);
    weights->params = allocate(spec_count, sizeof *weights->params);
    for (size_t i = 0; i < spec_count; i++) {
        if (is_held(&specs[i], options, mesh))
            plan_param(weights, &specs[i], options, mesh);
    }
    free(specs);
    bucket_init(&weights->dense, &mesh->dp);
    bucket_init(&weights->expert, &mesh->edp);
    for (size_t i = 0; i < weights->count; i++)
        place_param(&weights->params[i], options->seed);
    bucket_start(&weights->dense);
    bucket_start(&weights->expert);
    weights_pack(weights);
}

void weights_fini(struct weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        free(weights->params[i].boxes);
        free(weights->params[i].value);
    }
    free(weights->params);
    bucket_fini(&weights->dense);
    bucket_fini(&weights->expert);
}

struct param *weights_find(struct weights *weights, enum role role,
                           uint64_t layer)
{
    for (size_t i = 0; i < weights->count; i++) {
        struct param *param = &weights->params[i];

        if (param->spec.role == role && param->spec.layer == layer)
            return param;
    }
    return NULL;
}

void weights_unpack(struct weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        struct param *param = &weights->params[i];
        const uint16_t *half = param->value;

        if (param->bucket && param->spec.dtype == CKPT_F32)
            memcpy(param->work, param->value, param->count * sizeof(float));
        for (size_t j = 0; j < param->count && param->spec.dtype == CKPT_BF16;
             j++)
            param->work[j] = float_from_bf16(half[j]);
    }
}

void weights_pack(struct weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        struct param *param = &weights->params[i];
        uint16_t *half = param->value;

        if (param->bucket && param->spec.dtype == CKPT_F32)
            memcpy(param->value, param->work, param->count * sizeof(float));
        for (size_t j = 0; j < param->count && param->spec.dtype == CKPT_BF16;
             j++)
            half[j] = bf16_from_float(param->work[j]);
    }
}
