/*
 * Which blocks a rank digests beside its chunks: with ALL every block of every
 * replica at every holder, once; with a sample every block once in
 * TRUST_PERIOD saves; written ones in the chunk that holds them, the rest in
 * chunks of their own that do not overlap; allowed names and OFF: none.
 */
#include "formats/checklist.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CHUNK    CHUNK_BYTES_MIN
#define ENTRIES  6
#define REPLICAS 3

/* Small, uneven, larger than a chunk, sliced, empty, and one held alone. */
static const uint64_t sizes[ENTRIES] = {
    100, 3, 5 * CHUNK + 7, REPLICAS *REPLICA_SLICE_BYTES + 12345, 0, 9000};
static const char *const names[ENTRIES] = {"bias",    "tiny",  "optim.m",
                                           "weights", "empty", "optim.alone"};

static void fill(struct entry e[ENTRIES], uint32_t replica)
{
    for (int i = 0; i < ENTRIES; i++)
        e[i] = (struct entry){
            .name = names[i],
            .geometry = {.dtype = DTYPE_U8, .ndim = 1, .shape = {sizes[i]}},
            .replica_index = i == ENTRIES - 1 ? 0 : replica,
            .replica_count = i == ENTRIES - 1 ? 1 : REPLICAS,
        };
}

static void make(uint32_t replica, const struct trust *trust,
                 struct writelist *list, struct checklist *out)
{
    struct entry e[ENTRIES];

    fill(e, replica);
    assert_int_equal(writelist_build(e, ENTRIES, CHUNK, list), 0);
    assert_int_equal(checklist_build(e, ENTRIES, list, CHUNK, trust, out), 0);
}

/* Blocks lie in their chunks, ascend without overlap, and `first` finds them;
 * one in a written chunk is a piece of it. */
static void assert_laid_out(const struct checklist *c,
                            const struct writelist *list)
{
    uint32_t chunks = c->written_count + c->own_count;

    assert_int_equal(c->written_count, list->chunk_count);
    assert_int_equal(c->first[0], 0);
    assert_int_equal(c->first[chunks], c->block_count);
    for (uint32_t i = 0; i < chunks; i++) {
        bool is_own = i >= c->written_count;
        uint64_t end = 0, bytes = is_own ? c->own_bytes[i - c->written_count]
                                         : list->chunk[i].raw_bytes;

        assert_true(bytes <= CHUNK);
        assert_true(!is_own || c->first[i] < c->first[i + 1]);
        for (uint32_t k = c->first[i]; k < c->first[i + 1]; k++) {
            const struct check_block *b = &c->block[k];

            assert_int_equal(b->chunk, i);
            assert_int_equal(b->chunk_start % PIECE_ALIGN, 0);
            assert_true(b->chunk_start >= end);
            end = (uint64_t)b->chunk_start + b->bytes;
        }
        assert_true(is_own ? end == bytes : end <= bytes);
    }
    for (size_t k = 0; k < c->block_count; k++) {
        const struct check_block *b = &c->block[k];
        bool is_piece = false;

        for (size_t i = 0; i < list->piece_count; i++) {
            const struct wl_piece *p = &list->piece[i];

            is_piece |= p->entry == b->entry && p->chunk == b->chunk &&
                        p->region_start == b->region_start &&
                        p->chunk_start == b->chunk_start &&
                        p->bytes == b->bytes;
        }
        assert_int_equal(is_piece, b->chunk < c->written_count);
    }
}

/* seen[entry][block]: how often each block of a replica is listed. */
static void count_replicas(const struct checklist *c, uint32_t seen[][64])
{
    for (size_t k = 0; k < c->block_count; k++) {
        const struct check_block *b = &c->block[k];
        uint64_t index = b->region_start / CHUNK;

        if (!b->is_replica)
            continue;
        assert_int_equal(b->region_start % CHUNK, 0);
        assert_int_equal(b->bytes,
                         min_u64(CHUNK, sizes[b->entry] - b->region_start));
        seen[b->entry][index]++;
    }
}

static void assert_each_once(uint32_t seen[][64])
{
    for (int i = 0; i < ENTRIES; i++)
        for (uint64_t k = 0; k < 64; k++) {
            bool is_wanted = i < ENTRIES - 1 && k * CHUNK < sizes[i];

            assert_int_equal(seen[i][k], is_wanted);
        }
}

static void all_takes_every_block_at_every_holder(void **state)
{
    struct trust trust = {.replica_check = TRUST_ALL, .on_stale = TRUST_IGNORE};

    (void)state;
    for (uint32_t replica = 0; replica < REPLICAS; replica++) {
        uint32_t seen[ENTRIES][64] = {0};
        struct writelist list;
        struct checklist c;

        make(replica, &trust, &list, &c);
        assert_laid_out(&c, &list);
        count_replicas(&c, seen);
        assert_each_once(seen);
        checklist_free(&c);
        writelist_free(&list);
    }
}

static void a_sample_takes_every_block_once_in_its_period(void **state)
{
    struct trust trust = {.replica_check = TRUST_SAMPLE,
                          .on_stale = TRUST_IGNORE};

    (void)state;
    for (uint32_t replica = 0; replica < REPLICAS; replica++) {
        uint32_t seen[ENTRIES][64] = {0};
        size_t most = 0;

        for (uint32_t turn = 0; turn < TRUST_PERIOD; turn++) {
            struct writelist list;
            struct checklist c;

            trust.rotation = UINT32_MAX - 5 + turn; /* over the wrap */
            make(replica, &trust, &list, &c);
            assert_laid_out(&c, &list);
            count_replicas(&c, seen);
            most = max_u64(most, c.block_count);
            checklist_free(&c);
            writelist_free(&list);
        }
        assert_each_once(seen);
        assert_true(most <= 10); /* of 57 in all */
    }
}

static void holders_take_the_same_blocks(void **state)
{
    struct trust trust = {.replica_check = TRUST_SAMPLE,
                          .on_stale = TRUST_IGNORE};

    (void)state;
    for (trust.rotation = 0; trust.rotation < TRUST_PERIOD; trust.rotation++) {
        uint32_t seen[ENTRIES][64] = {0};

        for (uint32_t replica = 0; replica < REPLICAS; replica++) {
            struct writelist list;
            struct checklist c;

            make(replica, &trust, &list, &c);
            count_replicas(&c, seen);
            checklist_free(&c);
            writelist_free(&list);
        }
        for (int i = 0; i < ENTRIES; i++)
            for (int k = 0; k < 64; k++)
                assert_true(seen[i][k] == 0 || seen[i][k] == REPLICAS);
    }
}

static void allowed_names_and_off_are_not_compared(void **state)
{
    struct trust trust = {.replica_check = TRUST_ALL,
                          .on_stale = TRUST_IGNORE,
                          .replica_allow = "w?ights,optim*"};
    uint32_t seen[ENTRIES][64] = {0};
    struct writelist list;
    struct checklist c;

    (void)state;
    make(1, &trust, &list, &c);
    count_replicas(&c, seen);
    assert_int_equal(seen[0][0] + seen[1][0], 2);
    assert_int_equal(seen[2][0] + seen[3][0], 0);
    checklist_free(&c);
    writelist_free(&list);
    trust.replica_check = TRUST_OFF;
    make(1, &trust, &list, &c);
    assert_int_equal(c.block_count, 0);
    assert_int_equal(c.own_count, 0);
    checklist_free(&c);
    writelist_free(&list);
}

/* As many as are allowed, and one more. */
static void too_many_blocks_are_refused(void **state)
{
    struct trust trust = {.replica_check = TRUST_ALL, .on_stale = TRUST_IGNORE};
    struct entry e = {.name = "vast",
                      .geometry = {.dtype = DTYPE_U8, .ndim = 1},
                      .replica_count = 65536};

    (void)state;
    for (uint64_t more = 0; more < 2; more++) {
        struct writelist list;
        struct checklist c;
        uint64_t own;

        e.geometry.shape[0] = (CHECKLIST_HELD_MAX + more + 4) * CHUNK;
        assert_int_equal(writelist_build(&e, 1, CHUNK, &list), 0);
        own = list.slice[0].bytes / CHUNK;
        writelist_free(&list);
        e.geometry.shape[0] = (CHECKLIST_HELD_MAX + more + own) * CHUNK;
        assert_int_equal(writelist_build(&e, 1, CHUNK, &list), 0);
        assert_int_equal(list.slice[0].bytes / CHUNK, own);
        assert_int_equal(checklist_build(&e, 1, &list, CHUNK, &trust, &c),
                         more ? -EFBIG : 0);
        checklist_free(&c);
        writelist_free(&list);
    }
}

static void the_optimizers_pieces_are_those_that_are_written(void **state)
{
    struct trust trust = {.replica_check = TRUST_OFF,
                          .optimizer_names = TRUST_OPTIMIZER_NAMES};
    uint64_t of_m = 0;

    (void)state;
    for (uint32_t replica = 0; replica < REPLICAS; replica++) {
        struct writelist list;
        struct checklist c;
        uint64_t alone = 0;

        make(replica, &trust, &list, &c);
        assert_laid_out(&c, &list);
        for (size_t k = 0; k < c.block_count; k++) {
            assert_true(c.block[k].is_optimizer && !c.block[k].is_replica);
            assert_true(c.block[k].entry == 2 || c.block[k].entry == 5);
            *(c.block[k].entry == 2 ? &of_m : &alone) += c.block[k].bytes;
        }
        assert_int_equal(alone, sizes[5]);
        assert_int_equal(c.own_count, 0);
        checklist_free(&c);
        writelist_free(&list);
    }
    assert_int_equal(of_m, sizes[2]); /* one of the three writes it */
}

static void a_counter_of_one_element_is_no_optimizer_state(void **state)
{
    struct trust trust = {.optimizer_names = "optim*"};
    struct entry e = {.name = "optim.step",
                      .geometry = {.dtype = DTYPE_I64},
                      .replica_count = 1};

    (void)state;
    assert_false(trust_is_optimizer(&trust, &e));
    e.geometry.ndim = 1;
    e.geometry.shape[0] = 1;
    assert_false(trust_is_optimizer(&trust, &e));
    e.geometry.shape[0] = 2;
    assert_true(trust_is_optimizer(&trust, &e));
    trust.on_stale = TRUST_IGNORE;
    assert_false(trust_is_optimizer(&trust, &e));
}

static void patterns_match_whole_names(void **state)
{
    static const struct {
        const char *patterns, *name;
        bool is_match;
    } cases[] = {
        {"", "a", false},         {"a", "a", true},
        {"a", "ab", false},       {"a*", "ab", true},
        {"*b", "ab", true},       {"*b", "abc", false},
        {"a*c*e", "abcde", true}, {"a*c*e", "abcdef", false},
        {"?", "a", true},         {"?", "", false},
        {"*", "", true},          {"x,,a?", "ab", true},
        {"x,y", "x,y", false},    {"*a*a*a*b", "aaaaaaaaaaaaaaaa", false},
        {",", "", false},         {"**b", "ab", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(trust_matches(cases[i].patterns, cases[i].name),
                         cases[i].is_match);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_takes_every_block_at_every_holder),
        cmocka_unit_test(a_sample_takes_every_block_once_in_its_period),
        cmocka_unit_test(holders_take_the_same_blocks),
        cmocka_unit_test(allowed_names_and_off_are_not_compared),
        cmocka_unit_test(too_many_blocks_are_refused),
        cmocka_unit_test(the_optimizers_pieces_are_those_that_are_written),
        cmocka_unit_test(a_counter_of_one_element_is_no_optimizer_state),
        cmocka_unit_test(patterns_match_whole_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
