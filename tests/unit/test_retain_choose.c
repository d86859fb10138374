/*
 * test_retain_choose.c - which saves the policy of retention lets go, against a
 * naive oracle.
 */
#include "ckptd/engine/retain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/*
 * The choice, on every catalog of up to five saves in three generations.
 */

#define SAVES 5

struct small {
    struct catalog c;
    struct catalog_save save[SAVES];
    struct catalog_generation generation[3];
};

static bool same(const struct save_id *a, const struct save_id *b)
{
    return save_id_compare(a, b) == 0;
}

/* One that is committed and, as far as is known, loads. */
static bool is_good(const struct catalog_save *v)
{
    if (v->status != SAVE_COMMITTED || v->is_damaged)
        return false;
    return !v->is_released || !v->is_remote_damaged;
}

/* There is no newer one that would load with all drives gone. */
static bool is_last_remote(const struct small *s, size_t i)
{
    if (!catalog_is_remote(&s->save[i]))
        return false;
    for (size_t k = i + 1; k < s->c.save_count; k++)
        if (s->save[k].status == SAVE_COMMITTED &&
            catalog_is_remote(&s->save[k]))
            return false;
    return true;
}

/* Says it in other words: kept when any reason to keep it can be found. */
static bool oracle_keeps(const struct small *s, size_t i, uint32_t keep_last,
                         uint32_t keep_every)
{
    const struct catalog_save *v = &s->save[i];
    const struct catalog_generation *g = &s->generation[2];
    struct save_id latest = catalog_latest(&s->c);
    uint32_t newer = 0;

    for (size_t k = 0; k < s->c.save_count; k++) {
        if (s->save[k].status == SAVE_UNREADABLE)
            return true;
        newer += k > i && is_good(&s->save[k]);
    }
    if (keep_last == 0 && keep_every == 0)
        return true;
    if (v->status != SAVE_COMMITTED || v->is_pinned || v->is_leased ||
        is_last_remote(s, i))
        return true;
    if (newer < keep_last || same(&v->id, &g->record.parent) ||
        same(&v->id, &g->origin))
        return true;
    if (keep_every && v->id.step % keep_every == 0)
        return true;
    return latest.generation == 0 || save_id_compare(&v->id, &latest) >= 0;
}

static void compare(const struct small *s, uint32_t keep_last,
                    uint32_t keep_every)
{
    struct save_id victims[SAVES];
    size_t count = retain_choose(&s->c, keep_last, keep_every, victims);
    size_t at = 0;

    for (size_t i = 0; i < s->c.save_count; i++) {
        if (oracle_keeps(s, i, keep_last, keep_every))
            continue;
        assert_true(at < count);
        assert_true(same(&victims[at++], &s->save[i].id));
    }
    assert_int_equal(at, count);
}

/* Of committed ones a copy goes that is in the remote tier too, nobody reads,
 * and has enough good ones behind it. */
static void compare_local(const struct small *s, uint32_t local_last)
{
    struct save_id out[SAVES];
    size_t count = retain_choose_local(&s->c, local_last, out), at = 0;

    for (size_t i = 0; i < s->c.save_count; i++) {
        const struct catalog_save *v = &s->save[i];
        uint32_t newer = 0;

        for (size_t k = i + 1; k < s->c.save_count; k++)
            newer += is_good(&s->save[k]);
        if (local_last == 0 || newer < local_last || !catalog_is_remote(v) ||
            v->status != SAVE_COMMITTED || v->is_leased || v->is_released)
            continue;
        assert_true(at < count);
        assert_true(same(&out[at++], &v->id));
    }
    assert_int_equal(at, count);
}

/* What `code` says about save i, two digits of base 6 and 3 each. */
static void fill(struct small *s, uint64_t code)
{
    static const enum save_status statuses[] = {
        SAVE_COMMITTED, SAVE_COMMITTED, SAVE_ABORTED,
        SAVE_UNDECIDED, SAVE_REMOVED,   SAVE_UNREADABLE};
    uint32_t generation = 1;

    *s = (struct small){0};
    s->c.save = s->save;
    s->c.save_count = SAVES;
    s->c.generation = s->generation;
    s->c.generation_count = 3;
    for (uint32_t i = 0; i < SAVES; i++) {
        uint64_t digit = code % 12;
        struct catalog_save *v = &s->save[i];

        code /= 12;
        generation = (uint32_t)min_u64(3, generation + digit / 6 * (i % 2 + 1));
        v->id = (struct save_id){
            .generation = generation, .step = 10 * (i + 1), .attempt = 1};
        v->status = statuses[digit % 6];
    }
    for (uint32_t i = 0; i < 3; i++)
        s->generation[i].record.generation = i + 1;
}

static void the_choice_is_the_oracles(void **state)
{
    uint64_t seed = 1;
    struct small s = {0};

    (void)state;
    for (uint64_t code = 0; code < 12 * 12 * 12 * 12 * 12; code++) {
        struct save_id *parent = &s.generation[2].record.parent;

        fill(&s, code);
        /* The rest by chance, the same at every run. */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        s.save[seed >> 33 & 3].is_pinned = seed >> 40 & 1;
        s.save[seed >> 35 & 3].is_leased = seed >> 41 & 1;
        s.save[seed >> 45 & 3].is_damaged = seed >> 47 & 1;
        *parent = s.save[seed >> 37 & 3].id;
        if (parent->generation >= 3)
            *parent = (struct save_id){0};
        s.generation[2].origin = seed >> 42 & 1 ? *parent : s.save[0].id;
        if (s.generation[2].origin.generation >= 3)
            s.generation[2].origin = (struct save_id){0};
        for (uint32_t i = 0; i < SAVES; i++) {
            s.save[i].is_marked_remote = seed >> (48 + i) & 1;
            s.save[i].is_released = (seed >> (53 + i) & 3) == 0;
            s.save[i].is_remote_damaged = (seed >> (26 + i) & 3) == 0;
        }
        for (uint32_t last = 0; last < 4; last++) {
            compare(&s, last, (uint32_t)(seed >> 44 & 1) * 20);
            compare_local(&s, last);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_choice_is_the_oracles),
    };

    return cmocka_run_group_tests_name("retain_choose", tests, NULL, NULL);
}
