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
 * extents. Its id follows from its number, since it is written once and never
 * recycled: one that turns out bad stays, and another is written beside it.
 *
 * What the first tier has raw may be encoded here (tier_pack.c): that tier is
 * the slower one. Nobody can tell beforehand what whoever wrote a file found
 * worth it, so the rows of a table are those of the extents that were read back
 * (tier_adopt), and it is made twice: planned, which says what goes to which
 * file, and rebuilt once the files are there. What comes back from the tier is
 * turned into the extent that the manifest describes (tier_unpack), so that
 * nothing else knows of this.
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

/* That table with other rows, one for each of its chunks: payloads, codecs and
 * digests; `file` is as it was, chunks lie end to end. `again` is by file:
 * under which of its names it is (name_tier_file); NULL: all under their first.
 * -EFBIG, -ENOMEM. */
int tier_rebuild(const struct manifest *tier, const struct mf_location *rows,
                 const uint8_t *again, void **data, size_t *bytes,
                 struct err *err) MUST_USE;

/* Is `tier` a table of the checkpoint `m`: all chunks of a daemon's ranks, with
 * the same bytes in each extent, or the same content where what is raw in `m`
 * is encoded? -CKPT_ECORRUPT with words. To be asked once, before tier_chunk().
 */
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

/*
 * Encoding and decoding (tier_pack.c).
 */

/* Memory that each of these takes, of any alignment. */
#define TIER_SPARE_BYTES (2 * (size_t)CHUNK_RAW_MAX + 64)

/* By chunk, the bytes of a unit of most of what it holds: what its planes are
 * made of. -ENOMEM. */
int tier_units(const struct manifest *m, uint8_t *unit) MUST_USE;

/* The extent of chunk `chunk`, as `m` says it is, encoded to `to`, which may be
 * the same place or one before it; returns its new length. 0: it is not raw, or
 * does not get smaller by a page; nothing was done. */
uint64_t tier_pack(const struct manifest *m, uint64_t chunk, uint32_t unit,
                   const void *extent, void *to, void *spare) MUST_USE;

/* The row, but for file and offset, of chunk `chunk` of `m` where its header
 * page is this: as in `m`, or as the page says if that is raw and this is not.
 * Only the page itself is checked. -CKPT_ECORRUPT, -CKPT_EVERSION. */
int tier_row(const struct manifest *m, uint64_t chunk, const void *page,
             struct mf_location *row, struct err *err) MUST_USE;

/*
 * What stands at the beginning of these bytes of a file, which should be chunk
 * `chunk` of `m`: its row but for file and offset. Everything is checked, down
 * to the content digest of what was encoded. Returns the extent's length;
 * -ENODATA: it goes on behind these bytes; -CKPT_ECORRUPT, -CKPT_EVERSION.
 */
int64_t tier_adopt(const struct manifest *m, uint64_t chunk, const void *bytes,
                   uint64_t byte_count, void *spare, struct mf_location *row,
                   struct err *err) MUST_USE;

/* The extent of `tier`'s chunk `at`, as it was read, becomes that of chunk
 * `chunk` of `m`, for which there has to be room. Checked as by chunk_check().
 * -CKPT_ECORRUPT, -CKPT_EVERSION. */
int tier_unpack(const struct manifest *tier, uint64_t at,
                const struct manifest *m, uint64_t chunk, void *extent,
                void *spare, struct err *err) MUST_USE;

/* Is it encoded there, and raw in `m`? */
static inline bool tier_is_packed(const struct manifest *tier, uint64_t at,
                                  const struct manifest *m, uint64_t chunk)
{
    return tier->location[at].codec != m->location[chunk].codec;
}

#endif
