/*
 * region.h - what a rank holds of a tensor, and how its bytes move.
 *
 * Region: an ordered list of boxes laid end to end (each row-major) in the
 * local buffer, optionally cut by [cut_start, cut_start + cut_count) of that
 * local order. Boxes may exceed the tensor's logical shape; what lies outside
 * is padding: it counts in local order (and in cuts), and is never stored.
 *
 * Two orders of the same elements:
 *   local   as they lie in the rank's buffer (cut, but padding included; with
 *           strides if the caller gave some); position 0 is the first byte of
 *           the buffer.
 *   packed  the same order with the padding left out, dense: what is stored.
 *
 * Slab: one plain dense box inside the logical shape, with the position of its
 * first element and the strides of its dimensions in one of the two orders.
 * region_slabs() turns any region into an ordered list of slabs, after which
 * there are no cuts, no padding and no special cases: a cut of a row-major box
 * is at most 2 * ndim - 1 boxes.
 *
 * Units. Elements of whole bytes are units of that size. Of sub-byte types the
 * unit is one byte and the innermost dimension is counted in bytes; a row,
 * offset, stride or cut that is not whole bytes is -CKPT_ESHAPE. struct
 * geometry hides that.
 */
#ifndef FORMATS_REGION_H
#define FORMATS_REGION_H

#include "common/err.h"
#include "formats/dtype.h"

#define MAX_DIMS 8

struct box {
    uint64_t offset[MAX_DIMS], size[MAX_DIMS];
};

struct region {
    const struct box *boxes; /* the owner's; NULL when box_count is 0 */
    uint32_t box_count;      /* 0: the whole tensor */
    bool is_cut;
    uint64_t cut_start, cut_count;
};

/* dtype and logical shape, in elements. */
struct geometry {
    uint32_t dtype;
    uint32_t ndim;
    uint64_t shape[MAX_DIMS];
};

/* In units (see above), except where a name says bytes. */
struct slab {
    uint64_t offset[MAX_DIMS], size[MAX_DIMS]; /* in the global tensor */
    uint64_t base;                             /* of its first unit */
    uint64_t stride[MAX_DIMS];
};

enum region_order {
    REGION_LOCAL,
    REGION_PACKED,
};

struct slabs {
    struct slab *slab; /* malloc'd; freed by slabs_free() */
    size_t count;
    uint32_t ndim;
    uint32_t unit_bytes;
    uint64_t bytes; /* of all slabs together = packed bytes of the region */
};

/* Products without overflow, dtype known, ndim <= MAX_DIMS, whole bytes.
 * -CKPT_ESHAPE with words (without a name: the caller prefixes it). */
int geometry_check(const struct geometry *g, struct err *err) MUST_USE;
/* Bytes of the logical tensor; the geometry was checked. */
uint64_t geometry_bytes(const struct geometry *g);
/* Bytes of one unit: 1 for sub-byte types. */
uint32_t geometry_unit_bytes(const struct geometry *g);
/* For messages: "BF16 [4, 8]", and an index in units as elements "[3, 17]". */
#define INDEX_TEXT_BYTES    (MAX_DIMS * 22 + 3)
#define GEOMETRY_TEXT_BYTES (INDEX_TEXT_BYTES + 16)
void geometry_text(const struct geometry *g, char *text, size_t capacity);
void geometry_index_text(const struct geometry *g, const uint64_t *index,
                         char *text, size_t capacity);

/* Does the region make sense for the geometry: no overflow, cut inside the
 * local order, whole bytes? strides (elements, ndim of them) or NULL: only
 * with at most one box, uncut. */
int region_check(const struct geometry *g, const struct region *r,
                 const uint64_t *strides, struct err *err) MUST_USE;

/* Bytes of the local buffer that the region spans (padding included, dense
 * order; with strides: up to and including the last element). */
uint64_t region_local_bytes(const struct geometry *g, const struct region *r,
                            const uint64_t *strides);

/* Bytes of the region in packed order; geometry and region were checked. */
uint64_t region_packed_bytes(const struct geometry *g, const struct region *r);

/* The slabs in the given order; geometry and region were checked. strides only
 * matter for REGION_LOCAL. Empty slabs are left out. The lists of both orders
 * are parallel: slab i is the same set of elements in each. -ENOMEM. */
int region_slabs(const struct geometry *g, const struct region *r,
                 enum region_order order, const uint64_t *strides,
                 struct slabs *out) MUST_USE;
void slabs_free(struct slabs *slabs);

/* Units of a slab: the product of its sizes. */
uint64_t slab_units(const struct slab *s, uint32_t ndim);

/* Units [start, start + count) of a slab's row-major order as slabs, in order;
 * base and stride carried over. Returns how many (at most 2 * MAX_DIMS - 1).
 * With ndim 0 a slab is one unit. */
#define SLAB_CUT_MAX (2 * MAX_DIMS - 1)
size_t slab_cut(const struct slab *s, uint32_t ndim, uint64_t start,
                uint64_t count, struct slab out[SLAB_CUT_MAX]);

/* An N-dimensional strided copy in bytes: for all index vectors i below
 * count[], run_bytes from src + sum(i*src_step) to dst + sum(i*dst_step).
 * Loops run with the last dimension fastest. */
#define COPY_DIMS (MAX_DIMS)
struct copy_op {
    uint64_t src, dst;
    uint64_t run_bytes;
    uint32_t ndim; /* loops around the run, 0: one run */
    uint64_t count[COPY_DIMS], src_step[COPY_DIMS], dst_step[COPY_DIMS];
};

/* What a and b share, as a copy from a's positions to b's; contiguous inner
 * dimensions are merged into the run. False when they share nothing. */
bool slab_intersect(const struct slab *a, const struct slab *b, uint32_t ndim,
                    uint32_t unit_bytes, struct copy_op *out);

uint64_t copy_bytes(const struct copy_op *op);
/* Bounds: the end (exclusive) of what op touches on either side. These and
 * copy_bytes() answer UINT64_MAX where the sum does not fit. */
uint64_t copy_src_end(const struct copy_op *op);
uint64_t copy_dst_end(const struct copy_op *op);
/* src and dst are the bases that op's offsets count from. No overlap. */
void copy_run(const struct copy_op *op, const void *src, void *dst);
/* Gives op a source that lies end to end in loop order from `at` on. */
void copy_pack_src(struct copy_op *op, uint64_t at);
/* The source side only: runs in loop order laid end to end at `packed`. */
void copy_gather(const struct copy_op *op, const void *src, void *packed);
/* The destination side only: from such packed bytes. */
void copy_scatter(const struct copy_op *op, const void *packed, void *dst);

/* Copy packed bytes [start, start + bytes) of a region out of its local
 * buffer to `packed` (which points at byte `start`). `local_slabs` and
 * `packed_slabs` are the region's, as region_slabs() made them; start and
 * bytes are whole units. */
void region_gather(const struct slabs *local_slabs,
                   const struct slabs *packed_slabs, uint64_t start,
                   uint64_t bytes, const void *local, void *packed);

#endif
