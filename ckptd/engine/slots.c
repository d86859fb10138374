/*
 * slots.c - the slots of one rank's arena: states, the two lists that slots
 * are taken from, the index of cached chunks, and page 0.
 *
 * Every change of state goes through slot_move(), which keeps the lists, the
 * counts and the mirror. FREE slots and CLEAN ones that nobody holds are in a
 * list each, so that taking one costs the same however large the arena is.
 * CLEAN: oldest first. FREE: the last one freed first, so that a load uses few
 * slots over and over, whose pages are there; those that were never taken come
 * last, by number, as their pages are made. Nothing here fails but the
 * allocation at the start.
 */
#include "ckptd/engine/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define MIRROR_STATES_MAX ((uint32_t)(PAGE_BYTES - sizeof(struct slots_mirror)))

static_assert(sizeof(struct slots_mirror) == 64, "states follow at byte 64");

static const bool allowed[SLOT_STATES][SLOT_STATES] = {
    [SLOT_FREE] = {[SLOT_GRANTED] = true, [SLOT_LOADING] = true},
    [SLOT_GRANTED] = {[SLOT_FULL] = true, [SLOT_FREE] = true},
    [SLOT_FULL] = {[SLOT_CLEAN] = true, [SLOT_FREE] = true},
    [SLOT_CLEAN] = {[SLOT_FREE] = true, [SLOT_FULL] = true},
    [SLOT_LOADING] = {[SLOT_DELIVERED] = true, [SLOT_FREE] = true},
    [SLOT_DELIVERED] = {[SLOT_FREE] = true},
};

/*
 * Page 0.
 */

static void mirror_write(struct slots *s, uint32_t index)
{
    uint8_t *page = s->arena.base[0];
    struct slots_mirror m = {
        .magic = SLOTS_MIRROR_MAGIC,
        .version = 1,
        .rank = s->rank,
        .slot_count = s->count,
        .free_count = s->free_count,
        .shown_count =
            s->count < MIRROR_STATES_MAX ? s->count : MIRROR_STATES_MAX,
    };

    memcpy(page, &m, sizeof m);
    if (index < m.shown_count)
        page[sizeof m + index] = (uint8_t)s->slot[index].state;
}

/*
 * The index of cached chunks.
 */

static uint32_t *bucket_of(const struct slots *s, const struct id128 *segment,
                           uint32_t number)
{
    uint64_t h;

    memcpy(&h, segment->b, sizeof h);
    h = (h ^ number) * 0x9e3779b97f4a7c15u;
    return &s->bucket[(h >> 32) & s->bucket_mask];
}

static void cache_remove(struct slots *s, uint32_t index)
{
    struct slot *slot = &s->slot[index];
    uint32_t *at = bucket_of(s, &slot->segment, slot->number);

    if (!slot->is_cached)
        return;
    while (*at != index + 1)
        at = &s->slot[*at - 1].hash_next;
    *at = slot->hash_next;
    slot->hash_next = 0;
    slot->is_cached = false;
    s->cached_count--;
}

void slot_cache(struct slots *s, uint32_t index)
{
    struct slot *slot = &s->slot[index];
    uint32_t *at = bucket_of(s, &slot->segment, slot->number);

    assert(slot->state == SLOT_CLEAN);
    if (slot->is_cached)
        return;
    slot->hash_next = *at;
    *at = index + 1;
    slot->is_cached = true;
    slot->owner = 0;
    s->cached_count++;
}

bool slots_find(struct list *arenas, const struct id128 *segment,
                uint32_t number, struct slots **out, uint32_t *index)
{
    LIST_FOR_EACH (node, arenas) {
        struct slots *s = container_of(node, struct slots, link);
        uint32_t at = *bucket_of(s, segment, number);

        while (at) {
            const struct slot *slot = &s->slot[at - 1];

            if (slot->number == number && id_equal(&slot->segment, segment)) {
                *out = s;
                *index = at - 1;
                return true;
            }
            at = slot->hash_next;
        }
    }
    return false;
}

/*
 * Life.
 */

int slots_open(struct env *env, const struct env_arena *arena,
               struct slots **out)
{
    uint32_t buckets = 1;
    struct slots *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    *s = (struct slots){.env = env,
                        .arena = *arena,
                        .count = arena->shape.slot_count,
                        .user_count = 1};
    while (buckets < s->count)
        buckets *= 2;
    s->bucket_mask = buckets - 1;
    s->slot = calloc(s->count, sizeof *s->slot);
    s->bucket = calloc(buckets, sizeof *s->bucket);
    if (!s->slot || !s->bucket)
        goto err_after_alloc;
    list_init(&s->link);
    list_init(&s->free);
    list_init(&s->clean);
    for (uint32_t i = 0; i < s->count; i++)
        list_append(&s->free, &s->slot[i].link);
    s->free_count = s->count;
    memset(s->arena.base[0], 0, PAGE_BYTES);
    mirror_write(s, 0);
    *out = s;
    return 0;

err_after_alloc:
    free(s->bucket);
    free(s->slot);
    free(s);
    return -ENOMEM;
}

void slots_close(struct slots *s)
{
    if (!s)
        return;
    list_remove(&s->link);
    s->env->ops->arena_free(s->env, &s->arena);
    free(s->bucket);
    free(s->slot);
    free(s);
}

bool slots_is_droppable(const struct slots *s)
{
    return s->is_orphan && s->user_count == 0 && s->held_count == 0;
}

bool slots_is_idle(const struct slots *s)
{
    return s->user_count == 1 && s->held_count == 0;
}

uint64_t slots_bytes(const struct slots *s)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < s->arena.shape.piece_count; i++)
        bytes += s->arena.shape.piece_bytes[i];
    return bytes;
}

static void settle(struct slots *s)
{
    if (slots_is_droppable(s) && s->cached_count == 0)
        slots_close(s);
}

void slots_use(struct slots *s)
{
    s->user_count++;
}

void slots_unuse(struct slots *s)
{
    assert(s->user_count > 0);
    s->user_count--;
    settle(s);
}

void slots_orphan(struct slots *s)
{
    s->is_orphan = true;
    slots_unuse(s);
}

uint32_t slots_drop_orphans(struct list *arenas, const struct id128 *run,
                            uint32_t generation)
{
    uint32_t dropped = 0;

    LIST_FOR_EACH_SAFE (node, after, arenas) {
        struct slots *s = container_of(node, struct slots, link);

        if (!slots_is_droppable(s))
            continue;
        if (run && (!id_equal(&s->run, run) || s->generation >= generation))
            continue;
        slots_close(s);
        dropped++;
    }
    return dropped;
}

/*
 * Slots.
 */

void *slot_address(const struct slots *s, uint32_t index)
{
    uint32_t piece;
    uint64_t offset;
    bool is_there = wire_slot_place(&s->arena.shape, index, &piece, &offset);

    assert(is_there);
    return s->arena.base[piece] + offset;
}

/* In one of the two lists? Those count as free. */
static bool is_listed(const struct slot *slot)
{
    return slot->state == SLOT_FREE ||
           (slot->state == SLOT_CLEAN && slot->held == 0);
}

void slot_move(struct slots *s, uint32_t index, enum slot_state to)
{
    struct slot *slot = &s->slot[index];

    assert(index < s->count && allowed[slot->state][to]);
    assert(slot->held == 0);
    if (is_listed(slot)) {
        list_remove(&slot->link);
        s->free_count--;
    }
    if (slot->state == SLOT_CLEAN)
        cache_remove(s, index);
    slot->state = to;
    if (to == SLOT_FREE)
        slot->owner = 0;
    if (is_listed(slot)) {
        if (to == SLOT_FREE)
            list_prepend(&s->free, &slot->link);
        else
            list_append(&s->clean, &slot->link);
        s->free_count++;
    }
    mirror_write(s, index);
}

int64_t slot_take(struct slots *s, enum slot_state as, uint64_t owner)
{
    struct list *from = list_is_empty(&s->free) ? &s->clean : &s->free;
    struct slot *slot;
    uint32_t index;

    if (list_is_empty(from))
        return -EAGAIN;
    slot = container_of(from->next, struct slot, link);
    index = (uint32_t)(slot - s->slot);
    if (as == SLOT_LOADING &&
        index >= max_u64(s->arena.ready_slots, s->used_count))
        return -EAGAIN;
    s->used_count = (uint32_t)max_u64(s->used_count, (uint64_t)index + 1);
    if (slot->state == SLOT_CLEAN)
        slot_move(s, index, SLOT_FREE);
    slot_move(s, index, as);
    slot->owner = owner;
    return index;
}

void slots_release(struct slots *s, uint64_t owner)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct slot *slot = &s->slot[i];

        if (slot->owner == owner && slot->state != SLOT_FREE &&
            !slot->is_cached)
            slot_move(s, i, SLOT_FREE);
    }
}

void slot_hold(struct slots *s, uint32_t index)
{
    struct slot *slot = &s->slot[index];

    assert(slot->state == SLOT_CLEAN);
    if (slot->held++ > 0)
        return;
    list_remove(&slot->link);
    s->free_count--;
    s->held_count++;
}

void slot_unhold(struct slots *s, uint32_t index)
{
    struct slot *slot = &s->slot[index];

    assert(slot->state == SLOT_CLEAN && slot->held > 0);
    if (--slot->held > 0)
        return;
    list_append(&s->clean, &slot->link);
    s->free_count++;
    s->held_count--;
    settle(s);
}
