/*
 * kernels.c - see kernels.h. Matrix products in the usual three steps: blocks
 * of both operands are packed into panels, and a small kernel forms tiles of
 * TILE_M by TILE_N in registers with the compiler's vector types. The same body
 * is compiled twice on x86-64, for any machine and for AVX2, and chosen at run
 * time; without contraction to fused operations both give the same bits.
 */
#include "trainer/examples/train_lm/kernels.h"

#include <math.h>
#include <stdbool.h>

#define TILE_M  4
#define TILE_N  16
#define BLOCK_M 64
#define BLOCK_N 512
#define BLOCK_K 256

#define INLINE static inline __attribute__((always_inline))

typedef float vector __attribute__((vector_size(32), aligned(4), may_alias));

struct strided {
    const float *at;
    size_t row, column;
};

/* c[m,n] += a[m,k] b[k,n], c with rows `c_row` apart. */
struct product {
    size_t m, n, k;
    struct strided a, b;
    float *c;
    size_t c_row;
};

static float packed_a[BLOCK_M * BLOCK_K];
static float packed_b[BLOCK_K * BLOCK_N];

INLINE size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Lines of one operand: rows of A or columns of B. */
struct lines {
    const float *at;
    size_t count, step; /* from line to line */
    size_t along;       /* from k to k + 1 */
};

/* Panels of `tile` lines, each panel k-major; lines past the last are zero. */
INLINE void pack(float *to, struct lines from, size_t depth, size_t tile)
{
    for (size_t i = 0; i < from.count; i += tile) {
        size_t live = smaller(tile, from.count - i);

        for (size_t k = 0; k < depth; k++) {
            const float *at = from.at + i * from.step + k * from.along;

            for (size_t j = 0; j < live; j++)
                to[j] = at[j * from.step];
            for (size_t j = live; j < tile; j++)
                to[j] = 0;
            to += tile;
        }
    }
}

/* One tile from a panel of each side. */
INLINE void tile_product(const float *a, const float *b, size_t depth,
                         vector out[TILE_M][2])
{
    vector sum[TILE_M][2] = {{{0}, {0}}, {{0}, {0}}, {{0}, {0}}, {{0}, {0}}};

    for (size_t k = 0; k < depth; k++) {
        const vector *line = (const vector *)(const void *)(b + k * TILE_N);
        vector b0 = line[0], b1 = line[1];

        for (size_t i = 0; i < TILE_M; i++) {
            float x = a[k * TILE_M + i];

            sum[i][0] += x * b0;
            sum[i][1] += x * b1;
        }
    }
    for (size_t i = 0; i < TILE_M; i++) {
        out[i][0] = sum[i][0];
        out[i][1] = sum[i][1];
    }
}

/* Add a tile to its place; `rows` and `columns` of it exist. */
INLINE void tile_add(vector tile[TILE_M][2], float *c, size_t c_row,
                     size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows; i++) {
        const float *from = (const float *)(const void *)tile[i];

        for (size_t j = 0; j < columns; j++)
            c[i * c_row + j] += from[j];
    }
}

INLINE void block_product(size_t m, size_t n, size_t depth, float *c,
                          size_t c_row)
{
    vector tile[TILE_M][2];

    for (size_t j = 0; j < n; j += TILE_N) {
        for (size_t i = 0; i < m; i += TILE_M) {
            tile_product(packed_a + i * depth, packed_b + j * depth, depth,
                         tile);
            tile_add(tile, c + i * c_row + j, c_row, smaller(TILE_M, m - i),
                     smaller(TILE_N, n - j));
        }
    }
}

INLINE void product_body(const struct product *p)
{
    for (size_t j = 0; j < p->n; j += BLOCK_N) {
        size_t n = smaller(BLOCK_N, p->n - j);

        for (size_t k = 0; k < p->k; k += BLOCK_K) {
            size_t depth = smaller(BLOCK_K, p->k - k);

            pack(packed_b,
                 (struct lines){p->b.at + k * p->b.row + j * p->b.column, n,
                                p->b.column, p->b.row},
                 depth, TILE_N);
            for (size_t i = 0; i < p->m; i += BLOCK_M) {
                size_t m = smaller(BLOCK_M, p->m - i);

                pack(packed_a,
                     (struct lines){p->a.at + i * p->a.row + k * p->a.column, m,
                                    p->a.row, p->a.column},
                     depth, TILE_M);
                block_product(m, n, depth, p->c + i * p->c_row + j, p->c_row);
            }
        }
    }
}

static void product_plain(const struct product *p)
{
    product_body(p);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
product_wide(const struct product *p)
{
    product_body(p);
}

static bool has_wide(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}
#else
static void product_wide(const struct product *p)
{
    product_body(p);
}

static bool has_wide(void)
{
    return false;
}
#endif

static void product(const struct product *p)
{
    if (has_wide())
        product_wide(p);
    else
        product_plain(p);
}

void linear_forward(struct linear size, const float *x, const float *w,
                    float *y)
{
    product(&(struct product){
        .m = size.count,
        .n = size.out,
        .k = size.in,
        .a = {x, size.in, 1},
        .b = {w, 1, size.in},
        .c = y,
        .c_row = size.out,
    });
}

void linear_backward(struct linear size, const float *dy, const float *w,
                     float *dx)
{
    product(&(struct product){
        .m = size.count,
        .n = size.in,
        .k = size.out,
        .a = {dy, size.out, 1},
        .b = {w, size.in, 1},
        .c = dx,
        .c_row = size.in,
    });
}

void linear_gradient(struct linear size, const float *dy, const float *x,
                     float *dw)
{
    product(&(struct product){
        .m = size.out,
        .n = size.in,
        .k = size.count,
        .a = {dy, 1, size.out},
        .b = {x, size.in, 1},
        .c = dw,
        .c_row = size.in,
    });
}

void rms_norm_forward(size_t count, size_t width, const float *x,
                      const float *w, float *z, float *rinv)
{
    for (size_t n = 0; n < count; n++, x += width, z += width) {
        float sum = 0;

        for (size_t c = 0; c < width; c++)
            sum += x[c] * x[c];
        rinv[n] = 1 / sqrtf(sum / (float)width + 1e-5F);
        for (size_t c = 0; c < width; c++)
            z[c] = x[c] * rinv[n] * w[c];
    }
}

void rms_norm_backward(const struct rms_norm *norm, const float *dz, float *dx,
                       float *dw)
{
    const float *x = norm->x, *w = norm->w;
    size_t width = norm->width;

    for (size_t n = 0; n < norm->count; n++) {
        float r = norm->rinv[n], dot = 0;

        for (size_t c = 0; c < width; c++) {
            dw[c] += dz[c] * x[c] * r;
            dot += dz[c] * w[c] * x[c];
        }
        dot *= r * r * r / (float)width;
        for (size_t c = 0; c < width; c++)
            dx[c] += dz[c] * w[c] * r - dot * x[c];
        x += width;
        dz += width;
        dx += width;
    }
}

void swiglu_forward(const struct swiglu *s)
{
    for (size_t n = 0; n < s->count; n++) {
        const float *gate = s->gate_up + n * 2 * s->width;
        const float *up = gate + s->width;
        float *sig = s->sig + n * s->width, *act = s->act + n * s->width;

        for (size_t c = 0; c < s->width; c++) {
            sig[c] = 1 / (1 + expf(-gate[c]));
            act[c] = gate[c] * sig[c] * up[c];
        }
        for (size_t c = 0; s->scale && c < s->width; c++)
            act[c] *= s->scale[c];
    }
}

void swiglu_backward(const struct swiglu *s, const float *dact, float *dgate_up)
{
    for (size_t n = 0; n < s->count; n++) {
        const float *gate = s->gate_up + n * 2 * s->width;
        const float *up = gate + s->width, *sig = s->sig + n * s->width;
        float *dgate = dgate_up + n * 2 * s->width, *dup = dgate + s->width;

        for (size_t c = 0; c < s->width; c++) {
            float d = dact[n * s->width + c] * (s->scale ? s->scale[c] : 1);
            float silu = gate[c] * sig[c];

            dup[c] = d * silu;
            dgate[c] = d * up[c] * (sig[c] + silu * (1 - sig[c]));
        }
    }
}
