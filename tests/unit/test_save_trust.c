/*
 * test_save_trust.c - saves in the virtual world that look at their own bytes:
 * a bit that differs in one replica is found and named whatever the order of
 * chunks, the slots and the number of daemons; each policy has its outcome; an
 * optimizer that stood still is told; nothing is said of healthy saves.
 *
 * All ranks hold "bias" (small), "weights" (three blocks, written by one rank)
 * and "huge" (written in slices), and each its own part of the optimizer.
 */
#include "formats/checklist.h"
#include "tests/lib/engine_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MS    800000
#define RANKS       4
#define ENTRIES     5
#define COLUMNS     128
#define WEIGHTS     ((uint64_t)320) /* rows of U32: 160 KiB, three blocks */
#define HUGE_ROWS   ((uint64_t)RANKS * 2048) /* 4 MiB: slices */
#define FLIP_NOBODY UINT32_MAX

enum { BIAS, WEIGHTS_ENTRY, HUGE_ENTRY, OPTIMIZER, COUNTER };

/* One rank holds another bit. */
struct flip {
    uint32_t rank, entry;
    uint64_t element;
    uint8_t bit;
};

struct player {
    struct job *job;
    struct entry entry[ENTRIES];
    char names[ENTRIES][32];
    struct checklist check;
};

struct job {
    struct test_world *world;
    uint32_t daemons, entries; /* the first so many of the state */
    struct rig *g[2];
    struct rig_rank *r[RANKS];
    struct rig_save *v[RANKS];
    struct player player[RANKS];
    struct trust trust[RANKS];
    struct flip flip;
    uint64_t optimizer_seed, seed;
};

/*
 * The state.
 */

static void fill_entries(struct player *p, uint32_t rank)
{
    static const char *const names[] = {"bias", "weights", "huge"};
    static const uint64_t rows[] = {1, WEIGHTS, HUGE_ROWS, 40, 0};

    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &p->entry[i];

        (void)snprintf(p->names[i], sizeof p->names[i], "%s",
                       i < OPTIMIZER ? names[i] : "");
        if (i >= OPTIMIZER)
            (void)snprintf(p->names[i], sizeof p->names[i], "optim.%s%u",
                           i == COUNTER ? "step" : "m", rank);
        *e = (struct entry){.name = p->names[i],
                            .geometry = {.dtype = DTYPE_U32,
                                         .ndim = i == COUNTER ? 0 : 2,
                                         .shape = {rows[i], COLUMNS}},
                            .replica_index = i < OPTIMIZER ? rank : 0,
                            .replica_count = i < OPTIMIZER ? RANKS : 1};
    }
}

static uint32_t element_of(const struct job *j, uint32_t rank, uint32_t entry,
                           uint64_t element)
{
    uint64_t seed = entry == OPTIMIZER ? j->optimizer_seed : j->seed;
    uint64_t h = (element + 1) * 0x9e3779b97f4a7c15 + seed * 7919 + entry;

    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9;
    if (entry >= OPTIMIZER)
        h += rank;
    if (j->flip.rank == rank && j->flip.entry == entry &&
        j->flip.element == element)
        h ^= (uint64_t)1 << j->flip.bit;
    return (uint32_t)h;
}

static void put_piece(const struct job *j, const struct rig_rank *r,
                      uint32_t entry, uint64_t start, uint32_t bytes,
                      uint8_t *to)
{
    for (uint64_t at = 0; at < bytes; at += 4)
        put_u32(to + at, element_of(j, r->rank, entry, (start + at) / 4));
}

static void fill_chunk(struct rig_rank *r, const struct rig_save *v,
                       uint32_t chunk, uint8_t *to)
{
    struct job *j = r->rig->daemon->owner;
    const struct checklist *c = &j->player[r->rank].check;

    (void)v;
    if (chunk < r->list.chunk_count) {
        const struct wl_chunk *w = &r->list.chunk[chunk];

        memset(to, 0, w->raw_bytes);
        for (uint32_t i = 0; i < w->piece_count; i++) {
            const struct wl_piece *p = &r->list.piece[w->first_piece + i];

            put_piece(j, r, p->entry, p->region_start, p->bytes,
                      to + p->chunk_start);
        }
        return;
    }
    for (uint32_t i = c->first[chunk]; i < c->first[chunk + 1]; i++)
        put_piece(j, r, c->block[i].entry, c->block[i].region_start,
                  c->block[i].bytes, to + c->block[i].chunk_start);
}

/*
 * The job.
 */

static bool pump(void *arg)
{
    struct job *j = arg;

    for (uint32_t i = 0; i < j->daemons; i++)
        rig_pump(j->g[i]);
    return false;
}

static bool pump_until_decided(void *arg)
{
    struct job *j = arg;

    (void)pump(j);
    for (uint32_t i = 0; i < j->daemons; i++)
        if (!rig_all_decided(j->g[i]))
            return false;
    return true;
}

static bool pump_until_joined(void *arg)
{
    struct job *j = arg;

    (void)pump(j);
    for (int i = 0; i < RANKS; i++)
        if (!rig_joined(j->r[i]) && !j->r[i]->error)
            return false;
    return true;
}

static void send_table(struct rig_rank *r, const struct player *p,
                       uint32_t entries)
{
    rig_send_entries(r, 1, p->entry, entries);
    assert_int_equal(
        writelist_build(p->entry, entries, RIG_CHUNK_BYTES, &r->list), 0);
}

static void begin_with(struct job *j, uint64_t seed, uint32_t daemons,
                       uint32_t slots, uint32_t entries)
{
    static const char *const names[] = {"a", "b"};

    *j = (struct job){.world = test_world_new(seed),
                      .daemons = daemons,
                      .entries = entries,
                      .flip.rank = FLIP_NOBODY,
                      .optimizer_seed = 1,
                      .seed = 1};
    for (uint32_t i = 0; i < daemons; i++) {
        j->g[i] = rig_new_in(j->world, names[i]);
        j->g[i]->daemon->owner = j;
    }
    for (uint32_t i = 0; i < RANKS; i++) {
        j->r[i] = rig_rank_new(j->g[i % daemons], i, RANKS);
        rig_open(j->r[i], "token");
    }
    (void)test_run(j->world, 60000, pump_until_joined, j);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(j->r[i]->generation, 1);
        rig_arena(j->r[i], slots);
        fill_entries(&j->player[i], i);
        send_table(j->r[i], &j->player[i], entries);
        j->trust[i] = (struct trust){.replica_check = TRUST_ALL,
                                     .optimizer_names = TRUST_OPTIMIZER_NAMES};
        j->r[i]->trust = &j->trust[i];
        j->r[i]->fill = fill_chunk;
    }
    (void)test_run(j->world, 50, pump, j);
}

static void begin(struct job *j, uint64_t seed, uint32_t daemons,
                  uint32_t slots)
{
    begin_with(j, seed, daemons, slots, ENTRIES);
}

static void end(struct job *j)
{
    for (int i = 0; i < RANKS; i++)
        checklist_free(&j->player[i].check);
    for (int i = 0; i < RANKS; i++)
        if (!j->r[i]->is_gone && !j->r[i]->rig->is_stopped)
            rig_die(j->r[i]);
    for (uint32_t i = 0; i < j->daemons; i++)
        rig_free(j->g[i]);
}

static void begin_save(struct job *j, uint64_t step)
{
    for (int i = 0; i < RANKS; i++) {
        struct player *p = &j->player[i];

        checklist_free(&p->check);
        if (j->r[i]->trust)
            assert_int_equal(checklist_build(p->entry, j->entries,
                                             &j->r[i]->list, RIG_CHUNK_BYTES,
                                             j->r[i]->trust, &p->check),
                             0);
        j->r[i]->own_chunk_count = p->check.own_count;
        j->v[i] = rig_save(j->r[i], step, j->seed, 0);
    }
}

/* All ranks hear the same. */
static void save_all(struct job *j, uint64_t step, uint32_t state, int code)
{
    begin_save(j, step);
    assert_true(test_run(j->world, LIMIT_MS, pump_until_decided, j));
    for (int i = 0; i < RANKS; i++) {
        if (j->v[i]->state != state || j->v[i]->code != code)
            fail_msg("rank %d: state %u, code %d, %s", i, j->v[i]->state,
                     j->v[i]->code, j->v[i]->text);
        assert_string_equal(j->v[i]->text, j->v[0]->text);
    }
}

static const char *text(const struct job *j)
{
    return j->v[0]->text;
}

static void assert_says(const struct job *j, const char *words)
{
    if (!strstr(text(j), words))
        fail_msg("'%s' is not in '%s'", words, text(j));
}

/* "first at element [row, column]: rank R has ..." of the flip. */
static void assert_element(const struct job *j, uint32_t one, uint32_t other)
{
    const struct flip *f = &j->flip;
    char words[256];

    (void)snprintf(words, sizeof words,
                   "first at element [%" PRIu64 ", %" PRIu64
                   "]: rank %u has %u (0x%08x), "
                   "rank %u has %u (0x%08x)",
                   f->element / COLUMNS, f->element % COLUMNS, one,
                   element_of(j, one, f->entry, f->element),
                   element_of(j, one, f->entry, f->element), other,
                   element_of(j, other, f->entry, f->element),
                   element_of(j, other, f->entry, f->element));
    assert_says(j, words);
}

/*
 * Tests.
 */

static void a_flipped_bit_is_named_to_every_rank(void **state)
{
    struct job j;

    (void)state;
    begin(&j, 1, 1, 80);
    save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
    assert_string_equal(text(&j), "");
    j.flip = (struct flip){2, WEIGHTS_ENTRY, 200 * COLUMNS + 77, 9};
    j.seed++;
    j.optimizer_seed++;
    save_all(&j, 2, WIRE_STATE_COMMITTED, 0);
    assert_says(&j, "replicas differ: tensor weights: rank 2 differs from "
                    "ranks 0, 1, 3, first at element [200, 77]");
    assert_element(&j, 2, 0);
    assert_non_null(strstr(j.g[0]->daemon->log, "rank 2 differs from"));
    end(&j);
}

/* Any rank, entry, element and bit; slots enough, or far too few. */
static void any_flip_is_found_in_any_order(void **state)
{
    uint32_t located = 0, rounds = getenv("CKPT_TEST_LONG") ? 400 : 40;

    (void)state;
    for (uint32_t seed = 1; seed <= rounds; seed++) {
        static const uint64_t elements[] = {COLUMNS, WEIGHTS * COLUMNS,
                                            HUGE_ROWS * COLUMNS};
        static const char *const names[] = {"bias", "weights", "huge"};
        char words[128];
        struct job j;
        uint32_t entry;

        begin(&j, seed, 1 + seed % 2, seed % 3 ? 80 : 5);
        entry = (uint32_t)(test_random(j.world) % 3);
        j.flip = (struct flip){(uint32_t)(test_random(j.world) % RANKS), entry,
                               test_random(j.world) % elements[entry],
                               (uint8_t)(test_random(j.world) % 32)};
        save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
        (void)snprintf(words, sizeof words, "tensor %s: rank %u differs from ",
                       names[entry], j.flip.rank);
        assert_says(&j, words);
        assert_null(strstr(text(&j), "; tensor"));
        if (strstr(text(&j), "first at element")) {
            (void)snprintf(words, sizeof words,
                           "first at element [%" PRIu64 ", %" PRIu64 "]",
                           j.flip.element / COLUMNS, j.flip.element % COLUMNS);
            assert_says(&j, words);
            located++;
        } else {
            assert_says(&j, "(no daemon had both bytes)");
            assert_int_equal(seed % 3, 0);
        }
        j.flip.rank = FLIP_NOBODY;
        j.seed++;
        j.optimizer_seed++;
        save_all(&j, 2, WIRE_STATE_COMMITTED, 0);
        assert_string_equal(text(&j), "");
        end(&j);
    }
    print_message("%u of %u located\n", located, rounds);
    assert_true(located >= rounds / 3 * 2);
}

static void ranks_of_two_daemons_are_compared(void **state)
{
    struct job j;

    (void)state;
    begin(&j, 3, 2, 80); /* ranks 0 and 2; 1 and 3 */
    j.flip = (struct flip){1, BIAS, 5, 0};
    save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
    assert_says(&j, "tensor bias: rank 1 differs from ranks 0, 2, 3");
    assert_element(&j, 3,
                   1); /* their daemon takes the lower rank's for right */
    end(&j);
}

static void fail_aborts_on_every_rank_and_the_next_commits(void **state)
{
    struct job j;

    (void)state;
    for (uint32_t daemons = 1; daemons <= 2; daemons++) {
        begin(&j, 5, daemons, 80);
        j.trust[3].on_divergence = TRUST_FAIL; /* one is enough */
        j.flip = (struct flip){1, HUGE_ENTRY, 70000, 31};
        save_all(&j, 1, WIRE_STATE_ABORTED, -CKPT_EDIVERGED);
        assert_says(&j, "tensor huge: rank 1 differs from ranks 0, 2, 3, first "
                        "at element [546, 112]");
        j.flip.rank = FLIP_NOBODY;
        save_all(&j, 2, WIRE_STATE_COMMITTED, 0);
        assert_string_equal(text(&j), "");
        end(&j);
    }
}

static void allowed_and_off_compare_nothing(void **state)
{
    struct job j;

    (void)state;
    begin(&j, 7, 2, 80);
    j.flip = (struct flip){1, HUGE_ENTRY, 70000, 31};
    for (int i = 0; i < RANKS; i++) {
        j.trust[i].on_divergence = TRUST_FAIL;
        (void)snprintf(j.trust[i].replica_allow,
                       sizeof j.trust[i].replica_allow, "h*");
    }
    save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
    assert_string_equal(text(&j), "");
    for (int i = 0; i < RANKS; i++) {
        j.trust[i].replica_allow[0] = '\0';
        j.trust[i].replica_check = TRUST_OFF;
    }
    j.optimizer_seed++;
    save_all(&j, 2, WIRE_STATE_COMMITTED, 0);
    assert_string_equal(text(&j), "");
    end(&j);
}

/* Of one small replica one rank writes all; the others are staged when their
 * bytes have been digested, not before. */
static void who_writes_nothing_is_staged_by_its_blocks(void **state)
{
    struct job j;

    (void)state;
    begin_with(&j, 8, 2, 80, 1);
    for (int i = 0; i < RANKS; i++)
        j.r[i]->hold_after = 0;
    begin_save(&j, 1);
    (void)test_run(j.world, 1000, pump, &j);
    for (int i = 0; i < RANKS; i++)
        assert_true(j.v[i]->number && j.v[i]->state < WIRE_STATE_STAGED);
    rig_die(j.r[2]);
    assert_true(test_run(j.world, LIMIT_MS, pump_until_decided, &j));
    assert_int_equal(j.v[0]->state, WIRE_STATE_ABORTED);
    assert_says(&j, "rank 2 died before STAGED");
    end(&j);
    begin_with(&j, 8, 2, 80, 1);
    j.flip = (struct flip){2, BIAS, 1, 1};
    save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
    assert_says(&j, "tensor bias: rank 2 differs from ranks 0, 1, 3, first at");
    end(&j);
}

/* Every block has its turn once in TRUST_PERIOD saves. */
static void a_rotating_sample_finds_it_once_in_a_period(void **state)
{
    struct job j;
    uint32_t found = 0;

    (void)state;
    begin(&j, 9, 2, 80);
    j.flip = (struct flip){3, WEIGHTS_ENTRY, 300 * COLUMNS, 4};
    for (uint32_t step = 1; step <= TRUST_PERIOD; step++) {
        for (int i = 0; i < RANKS; i++) {
            j.trust[i].replica_check = TRUST_SAMPLE;
            j.trust[i].rotation = 100 + step;
        }
        j.seed++;
        j.optimizer_seed++;
        save_all(&j, step, WIRE_STATE_COMMITTED, 0);
        if (text(&j)[0] == '\0')
            continue;
        assert_says(&j, "tensor weights: rank 3 differs");
        found++;
    }
    assert_int_equal(found, 1);
    end(&j);
}

/* A library of before sends nothing of the kind: it is not compared, the
 * others are. */
static void a_rank_that_asks_for_nothing_takes_part_as_before(void **state)
{
    struct job j;

    (void)state;
    begin(&j, 11, 2, 80);
    j.r[3]->trust = NULL;
    j.flip = (struct flip){3, BIAS, 1, 1};
    save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
    assert_string_equal(text(&j), "");
    j.flip.rank = 1;
    save_all(&j, 2, WIRE_STATE_COMMITTED, 0);
    assert_says(&j, "tensor bias: rank 1 differs from ranks 0, 2, first");
    end(&j);
}

static void an_optimizer_that_stood_still_is_told(void **state)
{
    struct job j;

    (void)state;
    for (uint32_t daemons = 1; daemons <= 2; daemons++) {
        begin(&j, 13, daemons, 80);
        save_all(&j, 10, WIRE_STATE_COMMITTED, 0);
        j.seed++; /* the weights and the counter move, the optimizer does not */
        save_all(&j, 15, WIRE_STATE_COMMITTED, 0);
        assert_says(&j, "stale: the optimizer's state (81920 bytes of 4 ranks) "
                        "is byte for byte that of step 10, 5 steps ago");
        j.seed++;
        j.optimizer_seed++;
        save_all(&j, 20, WIRE_STATE_COMMITTED, 0);
        assert_string_equal(text(&j), "");
        for (int i = 0; i < RANKS; i++)
            j.trust[i].on_stale = TRUST_FAIL;
        save_all(&j, 21, WIRE_STATE_ABORTED, -CKPT_ESTALE);
        assert_says(&j, "byte for byte that of step 20, 1 steps ago");
        for (int i = 0; i < RANKS; i++)
            j.trust[i].on_stale = TRUST_IGNORE;
        save_all(&j, 22, WIRE_STATE_COMMITTED, 0);
        assert_string_equal(text(&j), "");
        end(&j);
    }
}

/* One rank's part that moves is enough. */
static void one_rank_that_moves_is_fresh(void **state)
{
    struct job j;

    (void)state;
    begin(&j, 15, 2, 80);
    save_all(&j, 1, WIRE_STATE_COMMITTED, 0);
    j.flip = (struct flip){2, OPTIMIZER, 3, 0};
    save_all(&j, 2, WIRE_STATE_COMMITTED, 0);
    assert_string_equal(text(&j), "");
    end(&j);
}

static const struct catalog_save *recorded(const struct rig *g,
                                           const struct save_id *id)
{
    return catalog_find(&rig_the_run(g)->catalog, id);
}

static bool pump_until_local(void *arg)
{
    struct job *j = arg;

    (void)pump(j);
    return j->v[0]->state >= WIRE_STATE_LOCAL;
}

static bool is_joined(void *rank)
{
    return rig_joined(rank);
}

/* Killed with the vote on record: the next life decides, and finds the same. */
static void a_recovered_save_is_judged_as_well(void **state)
{
    uint32_t late = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        const struct catalog_save *s;
        bool was_told;
        struct rig *next;
        struct rig_rank *r;
        struct job j;

        begin(&j, seed, 1, 80);
        j.flip = (struct flip){2, BIAS, 5, 3};
        j.world->step_ns = 1000000;
        begin_save(&j, 1);
        assert_true(test_run(j.world, LIMIT_MS, pump_until_local, &j));
        was_told = j.v[0]->state == WIRE_STATE_COMMITTED;
        rig_kill(j.g[0]);
        next = rig_new_in(j.world, "a");
        r = rig_rank_new(next, 0, 1);
        rig_open(r, "another");
        assert_true(rig_run(next, 60000, is_joined, r));
        s = recorded(next, &(struct save_id){1, 1, 1});
        assert_true(s || !was_told);
        if (s && s->status == SAVE_COMMITTED) {
            assert_non_null(
                strstr(catalog_reason(s), "tensor bias: rank 2 differs"));
            late += !was_told;
        }
        end(&j);
        rig_free(next);
    }
    print_message("%u times the next life decided\n", late);
    assert_true(late > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_is_named_to_every_rank),
        cmocka_unit_test(any_flip_is_found_in_any_order),
        cmocka_unit_test(ranks_of_two_daemons_are_compared),
        cmocka_unit_test(fail_aborts_on_every_rank_and_the_next_commits),
        cmocka_unit_test(allowed_and_off_compare_nothing),
        cmocka_unit_test(who_writes_nothing_is_staged_by_its_blocks),
        cmocka_unit_test(a_rotating_sample_finds_it_once_in_a_period),
        cmocka_unit_test(a_rank_that_asks_for_nothing_takes_part_as_before),
        cmocka_unit_test(an_optimizer_that_stood_still_is_told),
        cmocka_unit_test(one_rank_that_moves_is_fresh),
        cmocka_unit_test(a_recovered_save_is_judged_as_well),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
