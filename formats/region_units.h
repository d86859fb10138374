/*
 * region_units.h - elements in units, and boxes as slabs. Private to
 * geometry.c, region.c and manifest_check_region.c.
 */
#ifndef FORMATS_REGION_UNITS_H
#define FORMATS_REGION_UNITS_H

#include "formats/region.h"

/* Elements of the innermost dimension (or of a cut) in units. */
uint64_t region_units(uint32_t dtype, uint64_t elements);
/* An offset or a size of ndim dimensions in units. */
void region_to_units(const struct geometry *g, const uint64_t *elements,
                     uint64_t *units);
/* Strides in units: those of sub-byte types count bytes along all but the
 * innermost dimension, which must be dense. */
void region_stride_units(const struct geometry *g, const uint64_t *strides,
                         uint64_t *units);

/* Boxes, the whole tensor counted as one. */
uint32_t region_box_total(const struct region *r);
/* Box k (the whole tensor's when there are none) as a slab of the local order,
 * dense, base 0. */
void region_box_slab(const struct geometry *g, const struct region *r,
                     uint32_t k, struct slab *out);
/* Units of the uncut local order. */
uint64_t region_uncut_units(const struct geometry *g, const struct region *r);
/* Units from the first to the last one; false on overflow. */
bool region_strided_span(const struct geometry *g, const struct region *r,
                         const uint64_t *strides, uint64_t *span);

#endif
