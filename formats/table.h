/*
 * table.h - a rank's descriptors: what it saves or wants, without addresses.
 *
 * The same table serves save and load, on the wire (table_encode/decode) and
 * in memory. A decoded table has been checked entirely: names (1 to 1,024
 * bytes, UTF-8 without control characters), geometry, regions, replicas
 * (index < count <= 65,536), and counts against what is left to read before
 * anything is allocated.
 */
#ifndef FORMATS_TABLE_H
#define FORMATS_TABLE_H

#include "common/bytes.h"
#include "common/hash.h"
#include "formats/region.h"

#define TABLE_NAME_MAX 1024
/* Of the tensors that carry extra state (extra.h): the one control character
 * that a name may have. The trainer takes no such name from its user. */
#define TABLE_RESERVED_PREFIX "\001extra/"

struct entry {
    const char *name;
    struct geometry geometry;
    struct region region;
    uint32_t replica_index, replica_count; /* count >= 1 */
};

struct table {
    struct entry *entry;
    size_t count;
    void *memory; /* what the pointers above lead into; table_free() */
};

/* 1 to TABLE_NAME_MAX bytes of UTF-8 without control characters (C0, DEL and
 * C1), but for the reserved prefix. */
bool table_name_ok(const char *name, size_t bytes);

/* -CKPT_ESHAPE / -EINVAL with words that begin with "tensor NAME: ". */
int entry_check(const struct entry *e, struct err *err) MUST_USE;

/* Writes a table of checked entries; w->failed on no memory. */
void table_encode(const struct entry *entries, size_t count, struct wr *w);

/* A region's part of an entry, as in there: the same bytes, the same region. */
void region_encode(const struct region *r, uint32_t ndim, struct wr *w);

/* What table_decode() would allocate for these bytes; -EBADMSG. Allocates
 * nothing. */
int table_decoded_bytes(const void *data, size_t bytes, uint64_t *out) MUST_USE;
/* Reads and checks; -EBADMSG (not a table), -CKPT_ESHAPE, -EINVAL, -ENOMEM. */
int table_decode(const void *data, size_t bytes, struct table *out,
                 struct err *err) MUST_USE;
void table_free(struct table *t);

/* Of the encoded bytes: equal for equal descriptors in equal order. */
struct digest table_digest(const void *data, size_t bytes);

#endif
