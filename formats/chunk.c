/*
 * chunk.c - see chunk.h; every byte is in FORMAT.md.
 *
 * Both header pages have one frame: magic, version, incompatible flags, the
 * fields, zeros, and in the last 16 bytes the digest of all that precedes.
 * Decoding checks the digest first, so that a flipped bit is always called
 * corruption and never a version.
 */
#include "formats/chunk.h"

#include "common/bytes.h"

#include <inttypes.h>

#define PAGE_DIGEST_AT (PAGE_BYTES - sizeof(struct digest))
#define PAGE_VERSION   1

/* Where the fields of a chunk's header page stand. */
enum chunk_at {
    CHUNK_AT_SEGMENT = 16,
    CHUNK_AT_NUMBER = 32,
    CHUNK_AT_RAW_BYTES = 36,
    CHUNK_AT_PAYLOAD_BYTES = 40,
    CHUNK_AT_CODEC = 44,
    CHUNK_AT_CODEC_PARAM = 48,
    CHUNK_AT_RANK = 52,
    CHUNK_AT_STORED_DIGEST = 56,
    CHUNK_AT_CONTENT = 64,
    CHUNK_AT_END = 80,
};

/* Where the fields of a segment's header page stand. */
enum segment_at {
    SEGMENT_AT_SEGMENT = 16,
    SEGMENT_AT_STORE = 32,
    SEGMENT_AT_HOME = 48,
    SEGMENT_AT_RUN = 64,
    SEGMENT_AT_SIZE = 80,
    SEGMENT_AT_GENERATION = 88,
    SEGMENT_AT_ATTEMPT = 92,
    SEGMENT_AT_STEP = 96,
    SEGMENT_AT_HOME_PATH = 104,
    SEGMENT_AT_RUN_NAME = 1128,
    SEGMENT_AT_END = 1384,
};

static const char chunk_magic[8] = {'C', 'K', 'P', 'T', 'C', 'H', 'N', 'K'};
static const char segment_magic[8] = {'C', 'K', 'P', 'T', 'S', 'E', 'G', 'M'};

static bool is_zero(const uint8_t *p, size_t bytes)
{
    return bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0);
}

static void page_begin(uint8_t *page, const char magic[8])
{
    memset(page, 0, PAGE_BYTES);
    memcpy(page, magic, 8);
    put_u32(page + 8, PAGE_VERSION);
}

static void page_seal(uint8_t *page)
{
    struct digest digest = hash_128(page, PAGE_DIGEST_AT);

    memcpy(page + PAGE_DIGEST_AT, digest.b, sizeof digest.b);
}

/* The frame of a header page whose fields end at `end`. */
static int page_check(const uint8_t *page, const char magic[8], size_t end,
                      const char *what, struct err *err)
{
    struct digest digest = hash_128(page, PAGE_DIGEST_AT);

    if (memcmp(page, magic, 8) != 0)
        return err_set(err, -CKPT_ECORRUPT, "%s header: no magic bytes", what);
    if (memcmp(page + PAGE_DIGEST_AT, digest.b, sizeof digest.b) != 0)
        return err_set(err, -CKPT_ECORRUPT, "%s header: digest mismatch", what);
    if (get_u32(page + 8) != PAGE_VERSION)
        return err_set(err, -CKPT_EVERSION,
                       "%s header: version %" PRIu32 ", this build reads %d",
                       what, get_u32(page + 8), PAGE_VERSION);
    if (get_u32(page + 12) != 0)
        return err_set(err, -CKPT_EVERSION,
                       "%s header: unknown incompatible flags 0x%" PRIx32, what,
                       get_u32(page + 12));
    if (!is_zero(page + end, PAGE_DIGEST_AT - end))
        return err_set(err, -CKPT_ECORRUPT, "%s header: padding is not zero",
                       what);
    return 0;
}

uint64_t chunk_stored_digest(const struct id128 *segment, uint32_t number,
                             uint32_t payload_bytes,
                             const struct digest *payload)
{
    uint8_t seed[40];

    memcpy(seed, segment->b, 16);
    put_u32(seed + 16, number);
    put_u32(seed + 20, payload_bytes);
    memcpy(seed + 24, payload->b, 16);
    return hash_64(seed, sizeof seed);
}

void chunk_header_encode(const struct chunk_header *h, void *page)
{
    uint8_t *p = page;

    page_begin(p, chunk_magic);
    memcpy(p + CHUNK_AT_SEGMENT, h->segment.b, 16);
    put_u32(p + CHUNK_AT_NUMBER, h->number);
    put_u32(p + CHUNK_AT_RAW_BYTES, h->raw_bytes);
    put_u32(p + CHUNK_AT_PAYLOAD_BYTES, h->payload_bytes);
    put_u32(p + CHUNK_AT_CODEC, h->codec);
    put_u32(p + CHUNK_AT_CODEC_PARAM, h->codec_param);
    put_u32(p + CHUNK_AT_RANK, h->rank);
    put_u64(p + CHUNK_AT_STORED_DIGEST, h->stored_digest);
    memcpy(p + CHUNK_AT_CONTENT, h->content.b, 16);
    page_seal(p);
}

bool chunk_sizes_are_good(uint32_t raw_bytes, uint32_t payload_bytes,
                          uint32_t codec, uint32_t codec_param)
{
    bool is_unit = codec_param == 1 || codec_param == 2 || codec_param == 4 ||
                   codec_param == 8;

    if (raw_bytes == 0 || raw_bytes > CHUNK_RAW_MAX || payload_bytes == 0)
        return false;
    if (codec == CODEC_RAW)
        return payload_bytes == raw_bytes && (codec_param == 0 || is_unit);
    return codec <= CODEC_LAST && payload_bytes < raw_bytes && is_unit;
}

int chunk_header_decode(const void *page, struct chunk_header *out,
                        struct err *err)
{
    const uint8_t *p = page;
    int rc = page_check(p, chunk_magic, CHUNK_AT_END, "chunk", err);

    if (rc)
        return rc;
    memcpy(out->segment.b, p + CHUNK_AT_SEGMENT, 16);
    out->number = get_u32(p + CHUNK_AT_NUMBER);
    out->raw_bytes = get_u32(p + CHUNK_AT_RAW_BYTES);
    out->payload_bytes = get_u32(p + CHUNK_AT_PAYLOAD_BYTES);
    out->codec = get_u32(p + CHUNK_AT_CODEC);
    out->codec_param = get_u32(p + CHUNK_AT_CODEC_PARAM);
    out->rank = get_u32(p + CHUNK_AT_RANK);
    out->stored_digest = get_u64(p + CHUNK_AT_STORED_DIGEST);
    memcpy(out->content.b, p + CHUNK_AT_CONTENT, 16);
    if (!chunk_sizes_are_good(out->raw_bytes, out->payload_bytes, out->codec,
                              out->codec_param))
        return err_set(
            err, -CKPT_ECORRUPT,
            "chunk header: %" PRIu32 " bytes raw, %" PRIu32
            " stored, codec %" PRIu32 "/%" PRIu32 " do not go together",
            out->raw_bytes, out->payload_bytes, out->codec, out->codec_param);
    return 0;
}

/* Which field of a header differs from what is expected; NULL: none. */
static const char *header_difference(const struct chunk_header *a,
                                     const struct chunk_header *b)
{
    if (!id_equal(&a->segment, &b->segment))
        return "birth segment";
    if (a->number != b->number)
        return "number";
    if (a->raw_bytes != b->raw_bytes)
        return "raw length";
    if (a->payload_bytes != b->payload_bytes)
        return "stored length";
    if (a->codec != b->codec || a->codec_param != b->codec_param)
        return "codec";
    if (a->rank != b->rank)
        return "rank";
    if (!digest_equal(&a->content, &b->content))
        return "content digest";
    if (a->stored_digest != b->stored_digest)
        return "stored digest";
    return NULL;
}

int chunk_check(const void *extent, uint64_t extent_bytes,
                const struct chunk_header *want, struct err *err)
{
    const uint8_t *payload = (const uint8_t *)extent + PAGE_BYTES;
    struct chunk_header found;
    struct digest digest;
    const char *differs;
    int rc;

    if (extent_bytes < PAGE_BYTES ||
        extent_bytes != chunk_extent_bytes(want->payload_bytes))
        return err_set(err, -CKPT_ECORRUPT,
                       "chunk: extent is %" PRIu64 " bytes, expected %" PRIu64,
                       extent_bytes, chunk_extent_bytes(want->payload_bytes));
    rc = chunk_header_decode(extent, &found, err);
    if (rc)
        return rc;
    differs = header_difference(&found, want);
    if (differs)
        return err_set(err, -CKPT_ECORRUPT,
                       "chunk: its header tells another %s: it is misplaced "
                       "or stale",
                       differs);
    if (!is_zero(payload + want->payload_bytes,
                 extent_bytes - PAGE_BYTES - want->payload_bytes))
        return err_set(err, -CKPT_ECORRUPT, "chunk: padding is not zero");
    digest = hash_128(payload, want->payload_bytes);
    if (want->codec == CODEC_RAW && !digest_equal(&digest, &want->content))
        return err_set(err, -CKPT_ECORRUPT, "chunk: content digest mismatch");
    if (chunk_stored_digest(&want->segment, want->number, want->payload_bytes,
                            &digest) != want->stored_digest)
        return err_set(err, -CKPT_ECORRUPT, "chunk: stored digest mismatch");
    return 0;
}

void segment_header_encode(const struct segment_header *h, void *page)
{
    uint8_t *p = page;

    page_begin(p, segment_magic);
    memcpy(p + SEGMENT_AT_SEGMENT, h->segment.b, 16);
    memcpy(p + SEGMENT_AT_STORE, h->store.b, 16);
    memcpy(p + SEGMENT_AT_HOME, h->home.b, 16);
    memcpy(p + SEGMENT_AT_RUN, h->run.b, 16);
    put_u64(p + SEGMENT_AT_SIZE, h->size_bytes);
    put_u32(p + SEGMENT_AT_GENERATION, h->save.generation);
    put_u32(p + SEGMENT_AT_ATTEMPT, h->save.attempt);
    put_u64(p + SEGMENT_AT_STEP, h->save.step);
    memcpy(p + SEGMENT_AT_HOME_PATH, h->home_path,
           strnlen(h->home_path, sizeof h->home_path - 1));
    memcpy(p + SEGMENT_AT_RUN_NAME, h->run_name,
           strnlen(h->run_name, sizeof h->run_name - 1));
    page_seal(p);
}

/* A text with its NUL in `capacity` bytes, zeros after it. */
static bool text_get(char *to, const uint8_t *from, size_t capacity)
{
    size_t length = strnlen((const char *)from, capacity);

    memcpy(to, from, capacity);
    return length < capacity && is_zero(from + length, capacity - length);
}

int segment_header_decode(const void *page, struct segment_header *out,
                          struct err *err)
{
    const uint8_t *p = page;
    int rc = page_check(p, segment_magic, SEGMENT_AT_END, "segment", err);

    if (rc)
        return rc;
    memcpy(out->segment.b, p + SEGMENT_AT_SEGMENT, 16);
    memcpy(out->store.b, p + SEGMENT_AT_STORE, 16);
    memcpy(out->home.b, p + SEGMENT_AT_HOME, 16);
    memcpy(out->run.b, p + SEGMENT_AT_RUN, 16);
    out->size_bytes = get_u64(p + SEGMENT_AT_SIZE);
    out->save.generation = get_u32(p + SEGMENT_AT_GENERATION);
    out->save.attempt = get_u32(p + SEGMENT_AT_ATTEMPT);
    out->save.step = get_u64(p + SEGMENT_AT_STEP);
    if (!text_get(out->home_path, p + SEGMENT_AT_HOME_PATH,
                  sizeof out->home_path) ||
        !text_get(out->run_name, p + SEGMENT_AT_RUN_NAME, sizeof out->run_name))
        return err_set(err, -CKPT_ECORRUPT,
                       "segment header: a text without its end");
    return 0;
}
