/*
 * wire_internal.h - what the files of the wire codec share: how a save's name
 * and a counted run of bytes lie in a payload.
 */
#ifndef FORMATS_WIRE_INTERNAL_H
#define FORMATS_WIRE_INTERNAL_H

#include "formats/wire.h"

#include <errno.h>

/* {u32 generation, u32 attempt, u64 step} */
static inline void wire_put_save_id(struct wr *w, const struct save_id *id)
{
    wr_u32(w, id->generation);
    wr_u32(w, id->attempt);
    wr_u64(w, id->step);
}

static inline struct save_id wire_get_save_id(struct rd *r)
{
    struct save_id id = {0};

    id.generation = rd_u32(r);
    id.attempt = rd_u32(r);
    id.step = rd_u64(r);
    return id;
}

/* {u32 bytes, then so many}. Never NULL unless the reader is bad. */
static inline const void *wire_get_blob(struct rd *r, uint32_t *bytes)
{
    *bytes = rd_u32(r);
    return rd_bytes(r, *bytes);
}

static inline void wire_put_blob(struct wr *w, const void *data, uint32_t bytes)
{
    wr_u32(w, bytes);
    wr_bytes(w, data, bytes);
}

/* Everything that is left in place. */
static inline const void *wire_get_rest(struct rd *r, uint32_t *bytes)
{
    *bytes = (uint32_t)rd_left(r);
    return rd_bytes(r, *bytes);
}

/* `count` items of `item_bytes` in place, and nothing after them. */
static inline const void *wire_get_items(struct rd *r, uint32_t count,
                                         uint32_t item_bytes)
{
    return rd_bytes(r, (uint64_t)count * item_bytes);
}

/* Codes of errors are negative, those of results 0 or negative. */
static inline int32_t wire_get_code(struct rd *r)
{
    return (int32_t)rd_u32(r);
}

/* The last step of every decoder. */
static inline int wire_end(const struct rd *r, bool is_valid)
{
    return rd_done(r) && is_valid ? 0 : -EBADMSG;
}

#endif
