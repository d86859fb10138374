/*
 * fuzz.c - see fuzz.h.
 */
#include "tests/fuzz/fuzz.h"

#include "formats/manifest_media.h"
#include "formats/record.h"

#include <sanitizer/allocator_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MULTIPLE 16

static int report_fd = 2; /* libFuzzer may close what a parser talks to */
static size_t input_bytes;
static size_t allocation_max; /* 0: none */

void fuzz_fail(const char *file, int line, const char *what)
{
    allocation_max = 0;
    (void)dprintf(report_fd, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

static void allocated(const volatile void *at, size_t bytes)
{
    size_t most = allocation_max;

    (void)at;
    if (most == 0 || bytes <= most)
        return;
    allocation_max = 0; /* what is told allocates */
    (void)dprintf(report_fd, "%zu bytes allocated for an input of %zu\n", bytes,
                  input_bytes);
    abort();
}

static void freed(const volatile void *at)
{
    (void)at;
}

void fuzz_allocations(size_t multiple)
{
    allocation_max = multiple * input_bytes;
    if (multiple && allocation_max < FUZZ_ALLOCATION_MIN)
        allocation_max = FUZZ_ALLOCATION_MIN;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    report_fd = dup(2);
    if (!__sanitizer_install_malloc_and_free_hooks(allocated, freed))
        fuzz_fail(__FILE__, __LINE__, "the allocator takes hooks");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct rd in = rd_init(data, bytes);

    input_bytes = bytes;
    fuzz_allocations(MULTIPLE);
    fuzz_one(&in, bytes);
    allocation_max = 0;
    return 0;
}

uint8_t *fuzz_exact(struct rd *in, size_t most, size_t *bytes)
{
    size_t take = min_u64(most, rd_left(in));
    const void *from = take ? rd_bytes(in, take) : NULL;
    uint8_t *copy = malloc(take);

    fuzz_check(copy || take == 0);
    if (take)
        memcpy(copy, from, take);
    *bytes = take;
    return copy;
}

void fuzz_same(struct wr *w, const void *data, size_t bytes)
{
    fuzz_check(!w->failed);
    fuzz_check(w->bytes == bytes);
    fuzz_check(bytes == 0 || memcmp(w->data, data, bytes) == 0);
    wr_free(w);
}

uint8_t *forge_record(uint32_t kind, const void *body, size_t body_bytes,
                      size_t *bytes)
{
    struct digest digest;
    struct wr w = {0};

    *bytes = 32 + body_bytes + sizeof digest;
    wr_bytes(&w, "CKPTRECD", 8);
    wr_u32(&w, kind);
    wr_u32(&w, 1);
    wr_u64(&w, *bytes);
    wr_u64(&w, 0);
    wr_bytes(&w, body, body_bytes);
    digest = hash_128(w.data, w.bytes);
    wr_bytes(&w, digest.b, sizeof digest.b);
    fuzz_check(!w.failed);
    return w.data;
}

uint8_t *forge_container(const void *data, size_t data_bytes, size_t *bytes)
{
    size_t at = data_bytes / MF_ALIGN * MF_ALIGN;
    struct mf_header *h;
    uint8_t *out;

    if (at < sizeof *h)
        return NULL;
    *bytes = at + mf_page_count(at) * sizeof(struct digest) +
             sizeof(struct mf_trailer);
    out = malloc(*bytes);
    fuzz_check(out);
    memcpy(out, data, at);
    h = (struct mf_header *)(void *)out;
    h->total_bytes = *bytes;
    h->digests_at = at;
    mf_seal(out, at);
    return out;
}

uint8_t *forge_page(const void *data, size_t data_bytes)
{
    uint8_t *page = calloc(1, PAGE_BYTES);
    struct digest digest;

    fuzz_check(page);
    if (data_bytes)
        memcpy(page, data, min_u64(data_bytes, PAGE_BYTES - sizeof digest));
    digest = hash_128(page, PAGE_BYTES - sizeof digest);
    memcpy(page + PAGE_BYTES - sizeof digest, digest.b, sizeof digest.b);
    return page;
}
