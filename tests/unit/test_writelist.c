/*
 * test_writelist.c - the rule that says which bytes a rank writes and in which
 * chunks: everything exactly once over all replicas, large tensors in chunks
 * of their own, small ones together.
 */
#include "formats/writelist.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CHUNK CHUNK_BYTES_MIN

static struct entry bytes_entry(const char *name, uint64_t bytes)
{
    return (struct entry){
        .name = name,
        .geometry = {.dtype = DTYPE_U8, .ndim = 1, .shape = {bytes}},
        .replica_count = 1,
    };
}

/* What holds for every list. */
static void expect_sound(const struct entry *e, size_t count, uint32_t chunk,
                         const struct writelist *w)
{
    uint64_t bytes = 0, raw = 0;
    size_t piece = 0;

    assert_int_equal(w->slice_count, count);
    for (size_t i = 0; i < count; i++) {
        const struct wl_slice *s = &w->slice[i];
        uint64_t at = s->start;

        assert_int_equal(s->packed_bytes,
                         region_packed_bytes(&e[i].geometry, &e[i].region));
        assert_int_equal(s->first_piece, piece);
        for (uint32_t k = 0; k < s->piece_count; k++, piece++) {
            assert_int_equal(w->piece[piece].entry, i);
            assert_int_equal(w->piece[piece].region_start, at);
            assert_true(w->piece[piece].bytes > 0);
            at += w->piece[piece].bytes;
        }
        assert_int_equal(at, s->start + s->bytes);
        bytes += s->bytes;
    }
    assert_int_equal(piece, w->piece_count);
    piece = 0;
    for (size_t c = 0; c < w->chunk_count; c++) {
        uint64_t end = 0;

        assert_int_equal(w->chunk[c].first_piece, piece);
        assert_true(w->chunk[c].piece_count > 0);
        for (uint32_t k = 0; k < w->chunk[c].piece_count; k++, piece++) {
            assert_int_equal(w->piece[piece].chunk, c);
            assert_int_equal(w->piece[piece].chunk_start % PIECE_ALIGN, 0);
            assert_int_equal(w->piece[piece].chunk_start,
                             align_up(end, PIECE_ALIGN));
            end = w->piece[piece].chunk_start + w->piece[piece].bytes;
        }
        assert_int_equal(w->chunk[c].raw_bytes, end);
        assert_true(end <= chunk);
        raw += end;
    }
    assert_int_equal(piece, w->piece_count);
    assert_int_equal(w->bytes, bytes);
    assert_int_equal(w->raw_bytes, raw);
}

static void large_tensors_start_their_own_chunk(void **state)
{
    struct entry e[] = {bytes_entry("a", 100),
                        bytes_entry("b", 2 * CHUNK + 1000),
                        bytes_entry("c", 200)};
    struct writelist w;

    (void)state;
    assert_int_equal(writelist_build(e, 3, CHUNK, &w), 0);
    expect_sound(e, 3, CHUNK, &w);
    assert_int_equal(w.chunk_count, 4);
    assert_int_equal(w.chunk[0].raw_bytes, 100);
    assert_int_equal(w.chunk[1].raw_bytes, CHUNK);
    assert_int_equal(w.chunk[2].raw_bytes, CHUNK);
    /* The tail of b is shared with c. */
    assert_int_equal(w.chunk[3].raw_bytes, 1024 + 200);
    writelist_free(&w);
}

static void full_chunk_takes_no_more(void **state)
{
    struct entry e[] = {bytes_entry("a", CHUNK), bytes_entry("b", 1),
                        bytes_entry("c", CHUNK - 65), bytes_entry("d", 1),
                        bytes_entry("e", 1)};
    struct writelist w;

    (void)state;
    assert_int_equal(writelist_build(e, 5, CHUNK, &w), 0);
    expect_sound(e, 5, CHUNK, &w);
    /* b and c fill the second one up to its last byte; d and e share. */
    assert_int_equal(w.chunk_count, 3);
    assert_int_equal(w.chunk[1].raw_bytes, CHUNK - 1);
    assert_int_equal(w.chunk[2].raw_bytes, 65);
    writelist_free(&w);
}

static void many_small_tensors_share_chunks(void **state)
{
    enum { COUNT = 5000 };
    struct entry *e = calloc(COUNT, sizeof *e);
    struct writelist w;

    (void)state;
    assert_non_null(e);
    for (int i = 0; i < COUNT; i++)
        e[i] = bytes_entry("small", (uint64_t)i % 190);
    assert_int_equal(writelist_build(e, COUNT, CHUNK, &w), 0);
    expect_sound(e, COUNT, CHUNK, &w);
    assert_true(w.chunk_count <= COUNT * 192 / CHUNK + 1);
    writelist_free(&w);
    free(e);
}

static void nothing_makes_no_chunk(void **state)
{
    struct entry e[] = {bytes_entry("a", 0), bytes_entry("b", 9)};
    struct writelist w;

    (void)state;
    e[1].region = (struct region){.is_cut = true};
    assert_int_equal(writelist_build(e, 2, CHUNK, &w), 0);
    expect_sound(e, 2, CHUNK, &w);
    assert_int_equal(w.chunk_count, 0);
    writelist_free(&w);
    assert_int_equal(writelist_build(NULL, 0, CHUNK, &w), 0);
    assert_int_equal(w.chunk_count, 0);
    writelist_free(&w);
    writelist_free(NULL);
}

/* Replicas of `bytes`: their slices tile it; returns how many write. */
static uint32_t replicas_tile(uint64_t bytes, uint32_t count, uint64_t *most)
{
    uint64_t at = 0;
    uint32_t writers = 0;

    *most = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct entry e = bytes_entry("replicated", bytes);
        struct writelist w;

        e.replica_index = i;
        e.replica_count = count;
        assert_int_equal(writelist_build(&e, 1, CHUNK, &w), 0);
        expect_sound(&e, 1, CHUNK, &w);
        if (w.slice[0].bytes) {
            assert_int_equal(w.slice[0].start, at);
            assert_int_equal(at % CHUNK, 0);
            at += w.slice[0].bytes;
            writers++;
            *most = max_u64(*most, w.slice[0].bytes);
        }
        writelist_free(&w);
    }
    assert_int_equal(at, bytes);
    return writers;
}

static void large_replicas_write_even_slices(void **state)
{
    uint64_t most;

    (void)state;
    assert_int_equal(replicas_tile(3 << 20, 3, &most), 3);
    assert_int_equal(most, 1 << 20);
    assert_int_equal(replicas_tile((3 << 20) + 1, 3, &most), 3);
    assert_true(most <= (1 << 20) + CHUNK);
    assert_int_equal(replicas_tile((uint64_t)77 << 20, 7, &most), 7);
    assert_int_equal(most, 11 << 20);
}

static void small_replicas_have_one_writer(void **state)
{
    uint64_t most;

    (void)state;
    assert_int_equal(replicas_tile((3 << 20) - 1, 3, &most), 1);
    assert_int_equal(replicas_tile(1, 65536 / 64, &most), 1);
}

static void small_replicas_are_spread_by_name_and_region(void **state)
{
    uint32_t writes[4] = {0};

    (void)state;
    for (int n = 0; n < 400; n++) {
        char name[32];

        (void)snprintf(name, sizeof name, "bias.%d", n);
        for (uint32_t i = 0; i < 4; i++) {
            struct entry e = bytes_entry(name, 64);
            struct writelist w;

            e.replica_index = i;
            e.replica_count = 4;
            assert_int_equal(writelist_build(&e, 1, CHUNK, &w), 0);
            writes[i] += w.chunk_count > 0;
            writelist_free(&w);
        }
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(writes[i], 70, 130);
}

static void unit_of_a_chunk_is_that_of_most_bytes(void **state)
{
    struct entry e[] = {bytes_entry("a", 10), bytes_entry("b", 100),
                        bytes_entry("c", 10)};
    struct writelist w;

    (void)state;
    e[1].geometry.dtype = DTYPE_BF16;
    e[2].geometry.dtype = DTYPE_F64;
    assert_int_equal(writelist_build(e, 3, CHUNK, &w), 0);
    assert_int_equal(w.chunk_count, 1);
    assert_int_equal(w.chunk[0].unit_bytes, 2);
    writelist_free(&w);
}

static void more_pieces_than_can_be_allocated_are_refused(void **state)
{
    struct entry e = bytes_entry("huge", CHUNK * WRITELIST_PIECES_MAX + 1);
    struct writelist w;

    (void)state;
    assert_int_equal(writelist_build(&e, 1, CHUNK, &w), -EFBIG);
    assert_null(w.slice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_tensors_start_their_own_chunk),
        cmocka_unit_test(full_chunk_takes_no_more),
        cmocka_unit_test(many_small_tensors_share_chunks),
        cmocka_unit_test(nothing_makes_no_chunk),
        cmocka_unit_test(large_replicas_write_even_slices),
        cmocka_unit_test(small_replicas_have_one_writer),
        cmocka_unit_test(small_replicas_are_spread_by_name_and_region),
        cmocka_unit_test(unit_of_a_chunk_is_that_of_most_bytes),
        cmocka_unit_test(more_pieces_than_can_be_allocated_are_refused),
    };

    return cmocka_run_group_tests_name("writelist", tests, NULL, NULL);
}
