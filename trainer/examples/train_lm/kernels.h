/*
 * kernels.h - the arithmetic: three matrix products, bf16, norm and gate.
 *
 * Matrices are dense and row-major. Every result depends on its inputs and
 * sizes only: sums run in a fixed order, and the wide and the plain build of
 * the kernel give the same bits. One thread; the packing buffers are static.
 */
#ifndef TRAIN_LM_KERNELS_H
#define TRAIN_LM_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A linear layer of `out` by `in` weights over `count` rows. */
struct linear {
    size_t count, out, in;
};

/* y[count,out] += x[count,in] w[out,in]^T */
void linear_forward(struct linear size, const float *x, const float *w,
                    float *y);
/* dx[count,in] += dy[count,out] w[out,in] */
void linear_backward(struct linear size, const float *dy, const float *w,
                     float *dx);
/* dw[out,in] += dy[count,out]^T x[count,in] */
void linear_gradient(struct linear size, const float *dy, const float *x,
                     float *dw);

/* Round to the nearest bf16, ties to even; NaN stays NaN. */
static inline uint16_t bf16_from_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float float_from_bf16(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float out;

    memcpy(&out, &bits, sizeof out);
    return out;
}

/* Rows of `width`: z = x / rms(x) * w; rinv[count] keeps 1 / rms(x). */
void rms_norm_forward(size_t count, size_t width, const float *x,
                      const float *w, float *z, float *rinv);

/* What rms_norm_forward() was given, for its backward. */
struct rms_norm {
    size_t count, width;
    const float *x, *w, *rinv;
};

/* dx += , dw +=, from dz. */
void rms_norm_backward(const struct rms_norm *norm, const float *dz, float *dx,
                       float *dw);

/* act = silu(gate) * up * scale[column] (scale NULL: 1), where a row of
 * `gate_up` is `width` gates and then `width` ups; sig keeps sigmoid(gate). */
struct swiglu {
    size_t count, width;
    const float *gate_up, *scale;
    float *sig, *act;
};

void swiglu_forward(const struct swiglu *s);
/* d(gate_up) from d(act). */
void swiglu_backward(const struct swiglu *s, const float *dact,
                     float *dgate_up);

#endif
