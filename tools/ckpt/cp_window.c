/*
 * cp_window.c - a stretch of a remote file in memory; see cp_files.h.
 */
#include "ckptd/engine/remote_write.h"
#include "formats/tier.h"
#include "tools/ckpt/cp_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t extent_of(const struct filer *f, uint64_t chunk)
{
    return chunk_extent_bytes(f->table->location[chunk].payload_bytes);
}

static uint8_t *place(const struct filer *f, const struct window *w,
                      uint64_t chunk)
{
    return w->bytes + (f->table->location[chunk].offset - w->at);
}

static bool has_header(const struct window *w)
{
    return w->at == 0;
}

static uint64_t window_most(const struct filer *f)
{
    return filer_in_place(f)
               ? min_u64(f->store->limits.max_io_bytes, REMOTE_WINDOW_BYTES)
               : REMOTE_WINDOW_BYTES;
}

void window_set(const struct filer *f, struct window *w, uint64_t chunk,
                uint64_t end)
{
    w->first = w->end = chunk;
    w->at = chunk == f->first ? 0 : f->table->location[chunk].offset;
    w->len = chunk == f->first ? PAGE_BYTES : 0;
    while (w->end < end && w->len + extent_of(f, w->end) <= window_most(f))
        w->len += extent_of(f, w->end++);
}

static void put_header(const struct filer *f, uint8_t *page)
{
    const struct cp *cp = f->cp;
    struct segment_header h = {
        .segment = f->table->file[f->file].segment,
        .store = f->table->info.daemon,
        .home = cp->home,
        .run = f->table->info.run,
        .size_bytes = f->bytes,
        .save = f->table->info.id,
    };

    (void)snprintf(h.home_path, sizeof h.home_path, "%s", cp->to.options.home);
    (void)snprintf(h.run_name, sizeof h.run_name, "%s", cp->run);
    segment_header_encode(&h, page);
}

void filer_mark_bad(struct filer *f, uint64_t chunk)
{
    f->bad_count += !f->is_bad[chunk - f->first];
    f->is_bad[chunk - f->first] = true;
}

/* A bad header page goes with the first chunk. */
void window_check(struct filer *f, const struct window *w)
{
    struct segment_header h;
    struct err err;

    if (has_header(w) &&
        (segment_header_decode(w->bytes, &h, &err) ||
         !id_equal(&h.segment, &f->table->file[f->file].segment)))
        filer_mark_bad(f, f->first);
    for (uint64_t i = w->first; i < w->end; i++) {
        struct chunk_header want;

        manifest_chunk_header(f->table, i, &want);
        if (chunk_check(place(f, w, i), extent_of(f, i), &want, &err))
            filer_mark_bad(f, i);
    }
}

/* As it was encoded when the table was made: its digests are of those bytes. */
static int fill_packed(struct filer *f, const struct window *w, uint64_t i)
{
    struct cp *cp = f->cp;
    uint8_t *extent =
        aligned_alloc(PAGE_BYTES, chunk_extent_bytes(CHUNK_RAW_MAX));
    struct source_want want = {.chunk = tier_source(f->table, &cp->m, i),
                               .share = f->share,
                               .extent = extent};
    struct chunk_header is;
    struct err err;
    int code = EXIT_FINE;

    if (!extent)
        return complain(&cp->to, EXIT_ERROR, "out of memory");
    source_read(&cp->source, &want, 1);
    manifest_chunk_header(f->table, i, &is);
    if (want.err.code)
        code = source_complain(&cp->source, &want);
    else if (tier_pack(&cp->m, want.chunk, is.codec_param, extent, extent,
                       cp->source.spare) != extent_of(f, i) ||
             chunk_check(extent, extent_of(f, i), &is, &err))
        code = complain(&cp->to, EXIT_ERROR,
                        "%s: %s at %" PRIu64 ": this version of lz4 does not "
                        "encode it as it was; copy it with that version",
                        cp->to.options.home, f->name,
                        f->table->location[i].offset);
    else
        memcpy(place(f, w, i), extent, extent_of(f, i));
    free(extent);
    return code;
}

int window_fill(struct filer *f, struct window *w)
{
    struct cp *cp = f->cp;
    struct source_want *want = calloc(w->end - w->first + 1, sizeof *want);
    size_t count = 0;
    uint64_t bytes = 0;
    int code = EXIT_FINE;

    if (!want)
        return complain(&cp->to, EXIT_ERROR, "out of memory");
    if (has_header(w))
        put_header(f, w->bytes);
    for (uint64_t i = w->first; i < w->end; i++) {
        uint64_t chunk = tier_source(f->table, &cp->m, i);
        int rc = EXIT_FINE;

        if (!f->is_bad[i - f->first])
            continue;
        bytes += extent_of(f, i);
        if (tier_is_packed(f->table, i, &cp->m, chunk))
            rc = fill_packed(f, w, i);
        else
            want[count++] = (struct source_want){
                .chunk = chunk, .share = f->share, .extent = place(f, w, i)};
        code = rc ? rc : code;
    }
    pace_hold(&cp->pace, bytes);
    source_read(&cp->source, want, count);
    for (size_t i = 0; i < count; i++)
        if (want[i].err.code)
            code = source_complain(&cp->source, &want[i]);
    free(want);
    return code;
}

static void window_done(struct store_req *req, int64_t result)
{
    struct window *w = req->owner;

    w->is_done = true;
    w->result = result;
}

void window_hand_over(struct filer *f, struct window *w, enum store_op op)
{
    w->req = (struct store_req){.op = op,
                                .name = f->name,
                                .seg = f->seg,
                                .buf = w->bytes,
                                .len = w->len,
                                .off = w->at,
                                .done = window_done,
                                .owner = w};
    w->is_out = true;
    w->is_done = false;
    store_submit(f->store, &w->req);
}

int window_settle(struct filer *f, struct window *w)
{
    int rc;

    if (!w->is_out)
        return 0;
    rc = tool_wait(f->store, &w->is_done);
    w->is_out = false;
    if (rc == 0 && w->result < 0)
        rc = (int)w->result;
    return rc;
}
