/*
 * repair_copy.c - copies of bad chunks: where they may be, and whether they
 * are good; see repair.h.
 */
#include "common/array.h"
#include "formats/codec.h"
#include "tools/ckpt/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Where.
 */

static int add_place(struct copies *c, const struct copy_place *place)
{
    struct copy_place *grown =
        array_room(c->place, c->count, &c->capacity, sizeof *grown);

    if (!grown)
        return -ENOMEM;
    c->place = grown;
    c->place[c->count++] = *place;
    return 0;
}

/* Is chunk `i` of `m` the very place that is bad? */
static bool is_same_place(const struct manifest *m, uint64_t i,
                          const struct manifest *bad_of, uint64_t bad)
{
    const struct mf_location *a = &m->location[i], *b = &bad_of->location[bad];

    return id_equal(&m->file[a->file].segment,
                    &bad_of->file[b->file].segment) &&
           a->offset == b->offset;
}

static int note_copy(const struct manifest *m, const char *run, uint64_t i,
                     uint64_t bad, struct copies *out)
{
    const struct mf_file *f = &m->file[m->location[i].file];
    struct copy_place place = {
        .chunk = bad, .segment = f->segment, .offset = m->location[i].offset};

    (void)snprintf(place.file, sizeof place.file, "%.*s", (int)f->name_bytes,
                   m->blob + f->name);
    (void)snprintf(place.save, sizeof place.save, "%s@%" PRIu64 "/%u", run,
                   m->info.id.step, m->info.id.generation);
    manifest_chunk_header(m, i, &place.header);
    return add_place(out, &place);
}

/* Copies in one checkpoint. The bad ones are few, the chunks many. */
static int look_in(const struct repair *r, const struct manifest *m,
                   const char *run, const struct id128 *store,
                   struct copies *out)
{
    for (uint64_t i = 0; i < m->chunk_count; i++) {
        const struct mf_chunk *c = &m->chunk[i];

        if (!id_equal(&m->file[m->location[i].file].store, store))
            continue;
        for (size_t k = 0; k < r->bad->count; k++) {
            const struct mf_chunk *b = &r->m->chunk[r->bad->chunk[k]];

            if (c->raw_bytes == b->raw_bytes &&
                digest_equal(&c->content, &b->content) &&
                !is_same_place(m, i, r->m, r->bad->chunk[k]) &&
                note_copy(m, run, i, r->bad->chunk[k], out))
                return -ENOMEM;
        }
    }
    return 0;
}

static int look_in_run(const struct repair *r, const char *run,
                       const struct id128 *store, struct copies *out)
{
    struct catalog c;
    int code = tool_catalog(r->tool, run, &c);

    for (size_t i = 0; !code && i < c.save_count; i++) {
        struct manifest m;
        void *data = NULL;

        if (c.save[i].status != SAVE_COMMITTED)
            continue;
        /* One that cannot be read is said, and is no help. */
        if (tool_manifest(r->tool, run, &c.save[i].id, &data, &m) == 0 &&
            look_in(r, &m, run, store, out))
            code = complain(r->tool, EXIT_ERROR, "out of memory");
        free(data);
    }
    catalog_free(&c);
    return code == EXIT_ERROR ? code : EXIT_FINE;
}

static int by_chunk(const void *a, const void *b)
{
    const struct copy_place *x = a, *y = b;

    return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

int copies_find(const struct repair *r, const struct id128 *store,
                struct copies *out)
{
    struct store_names runs;
    int code = tool_runs(r->tool, &runs);

    *out = (struct copies){0};
    for (size_t i = 0; !code && i < runs.count; i++)
        code = look_in_run(r, runs.name[i], store, out);
    store_names_free(&runs);
    if (out->count)
        qsort(out->place, out->count, sizeof out->place[0], by_chunk);
    return code;
}

/*
 * Healing.
 */

int healer_init(struct healer *h, struct store *local)
{
    size_t extent = chunk_extent_bytes(CHUNK_RAW_MAX);

    *h = (struct healer){.local = local};
    h->extent = aligned_alloc(PAGE_BYTES, extent);
    h->other = aligned_alloc(PAGE_BYTES, extent);
    h->raw = malloc(CHUNK_RAW_MAX);
    h->scratch = malloc(codec_scratch_bytes(CHUNK_RAW_MAX));
    return h->extent && h->other && h->raw && h->scratch ? 0 : -ENOMEM;
}

void healer_fini(struct healer *h)
{
    free(h->extent);
    free(h->other);
    free(h->raw);
    free(h->scratch);
}

static bool read_extent(struct healer *h, struct store_seg *seg, uint64_t size,
                        uint64_t offset, uint64_t bytes, void *to)
{
    struct store_req read = {
        .op = STORE_READ, .seg = seg, .buf = to, .len = bytes, .off = offset};

    return seg && bytes <= size && offset <= size - bytes &&
           store_run(h->local, &read) == (int64_t)bytes;
}

/* Header page and padding around the payload that lies in h->extent. */
static bool finish_extent(struct healer *h, const struct chunk_header *want)
{
    uint64_t bytes = chunk_extent_bytes(want->payload_bytes);
    struct digest payload =
        hash_128(h->extent + PAGE_BYTES, want->payload_bytes);
    struct err err;

    if (chunk_stored_digest(&want->segment, want->number, want->payload_bytes,
                            &payload) != want->stored_digest)
        return false;
    chunk_header_encode(want, h->extent);
    memset(h->extent + PAGE_BYTES + want->payload_bytes, 0,
           bytes - PAGE_BYTES - want->payload_bytes);
    return chunk_check(h->extent, bytes, want, &err) == 0;
}

/* The extent of a copy, good in every byte, to raw bytes in h->raw. */
static bool read_copy(struct healer *h, const struct copy_place *place)
{
    const struct chunk_header *is = &place->header;
    uint64_t bytes = chunk_extent_bytes(is->payload_bytes);
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = place->file};
    int64_t size = store_run(h->local, &open);
    struct store_req close = {.op = STORE_SEG_CLOSE, .seg = open.seg};
    struct digest content;
    struct err err;
    bool ok;

    if (size < 0)
        return false;
    ok = read_extent(h, open.seg, (uint64_t)size, place->offset, bytes,
                     h->other) &&
         chunk_check(h->other, bytes, is, &err) == 0;
    if (store_run(h->local, &close) < 0 || !ok)
        return false;
    if (is->codec == CODEC_RAW)
        memcpy(h->raw, h->other + PAGE_BYTES, is->raw_bytes);
    else if (codec_decode(is->codec, is->codec_param, h->other + PAGE_BYTES,
                          is->payload_bytes, h->raw, is->raw_bytes, h->scratch))
        return false;
    content = hash_128(h->raw, is->raw_bytes);
    return digest_equal(&content, &is->content);
}

/* The payload that lay there before, from the raw bytes. Encoded anew it has to
 * come out the same: the digests of the manifest are of those bytes. */
static bool encode_as(struct healer *h, const struct chunk_header *want)
{
    uint8_t *payload = h->extent + PAGE_BYTES;

    if (want->codec == CODEC_RAW) {
        memcpy(payload, h->raw, want->raw_bytes);
        return true;
    }
    return codec_encode(want->codec, want->codec_param, h->raw, want->raw_bytes,
                        payload, CHUNK_RAW_MAX,
                        h->scratch) == want->payload_bytes;
}

bool heal_chunk(struct healer *h, const struct repair *r, struct healing *one)
{
    const struct mf_location *l = &r->m->location[one->chunk];
    uint64_t bytes = chunk_extent_bytes(l->payload_bytes);
    struct chunk_header want;
    struct err err;

    manifest_chunk_header(r->m, one->chunk, &want);
    one->is_whole = false;
    if (read_extent(h, one->seg, one->size, l->offset, bytes, h->extent)) {
        one->is_whole = chunk_check(h->extent, bytes, &want, &err) == 0;
        (void)snprintf(one->from, sizeof one->from,
                       "its own payload, which is good");
        if (one->is_whole || finish_extent(h, &want))
            return true;
    }
    for (size_t i = 0; i < one->copies->count; i++) {
        const struct copy_place *place = &one->copies->place[i];

        if (place->chunk != one->chunk || !read_copy(h, place) ||
            !encode_as(h, &want) || !finish_extent(h, &want))
            continue;
        (void)snprintf(one->from, sizeof one->from, "%s at %" PRIu64 " (%s)",
                       place->file, place->offset, place->save);
        return true;
    }
    (void)snprintf(one->from, sizeof one->from, "the remote tier");
    return remote_share_extent(r->remote, one->chunk, h->extent);
}
