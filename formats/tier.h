/*
 * tier.h - where a checkpoint's chunks lie in the remote tier.
 *
 * The manifest says where chunks are in the first tier, the local stores. What
 * a daemon has copied to the remote tier stands in a container of its own
 * (kind TIER): the ranks and chunks of that daemon as in the manifest, with
 * other files and locations. It is opened by manifest_open() and read with the
 * same accessors; names of its files are below the run's folder.
 *
 * A file of the remote tier has the shape of a segment: a header page, then
 * extents. Its id follows from its name, since it is written once and never
 * recycled, so that whoever writes it again writes the same bytes.
 *
 * Pure: no I/O, nothing is kept.
 */
#ifndef FORMATS_TIER_H
#define FORMATS_TIER_H

#include "formats/manifest.h"

/* The table of what `daemon`'s ranks have in `m`, in files of at most
 * file_bytes each (at least one extent of m's chunk_bytes and a page). *data is
 * malloc'd. -ENOENT: it has no rank there; -EFBIG, -ENOMEM. */
int tier_build(const struct manifest *m, const struct id128 *daemon,
               uint64_t file_bytes, void **data, size_t *bytes,
               struct err *err) MUST_USE;

/* Is `tier` a table of the checkpoint `m`: all chunks of a daemon's ranks, with
 * the same bytes in each extent? -CKPT_ECORRUPT with words. To be asked once,
 * before tier_chunk(). */
int tier_check(const struct manifest *tier, const struct manifest *m,
               struct err *err) MUST_USE;

/* Chunk `chunk` of `m` as a chunk of `tier`; -ENOENT: of no rank there. */
int64_t tier_chunk(const struct manifest *tier, const struct manifest *m,
                   uint64_t chunk) MUST_USE;

/* The other way round; `tier` is a table of `m`. */
uint64_t tier_source(const struct manifest *tier, const struct manifest *m,
                     uint64_t chunk);

/* Chunks of a file are consecutive: [*first, + count returned). */
uint64_t tier_file_chunks(const struct manifest *tier, uint32_t file,
                          uint64_t *first);
/* Its length. */
uint64_t tier_file_bytes(const struct manifest *tier, uint32_t file);

/* How many daemons have ranks in `m`, and the i-th of them in the order of
 * their first rank. Quadratic in daemons per rank at worst. */
uint32_t tier_daemons(const struct manifest *m, struct id128 *out,
                      uint32_t capacity);

#endif
