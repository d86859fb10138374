/*
 * save_set.c - see save_set.h.
 *
 * A step that falls between those of a range cuts it in two; then whatever lies
 * side by side is put together again wherever the distances are equal. So it
 * does not matter much in which order a regular pattern comes.
 */
#include "ckptd/engine/save_set.h"

#include "common/array.h"

#include <errno.h>
#include <stdlib.h>

/* The range before the place, the halves of the one that is cut with the new
 * step between them, the range behind. */
#define PIECES_MOST 5

void save_set_free(struct save_set *set)
{
    free(set->range);
    *set = (struct save_set){0};
}

static uint64_t last_of(const struct save_range *r)
{
    return r->first + (uint64_t)r->stride * (r->count - 1);
}

static bool is_kin(const struct save_range *a, const struct save_range *b)
{
    return a->generation == b->generation && a->attempt == b->attempt;
}

/* Does all of `r` come before the save? */
static bool is_before(const struct save_range *r, const struct save_id *id)
{
    if (r->generation != id->generation)
        return r->generation < id->generation;
    if (r->attempt != id->attempt)
        return r->attempt < id->attempt;
    return last_of(r) < id->step;
}

/* Index of the first range that does not end before the save. */
static size_t range_at(const struct save_set *set, const struct save_id *id)
{
    size_t low = 0, high = set->range_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (is_before(&set->range[middle], id))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Is the save within the bounds of this range? */
static bool is_within(const struct save_range *r, const struct save_id *id)
{
    return r->generation == id->generation && r->attempt == id->attempt &&
           r->first <= id->step && id->step <= last_of(r);
}

/* Of one that is within: is it one of them? */
static bool is_one_of(const struct save_range *r, const struct save_id *id)
{
    return r->stride == 0 || (id->step - r->first) % r->stride == 0;
}

bool save_set_has(const struct save_set *set, const struct save_id *id)
{
    size_t i = range_at(set, id);

    return i < set->range_count && is_within(&set->range[i], id) &&
           is_one_of(&set->range[i], id);
}

/* `b` is put behind `a`, if that makes one range. */
static bool join(struct save_range *a, const struct save_range *b)
{
    uint64_t gap = b->first - last_of(a);

    if (!is_kin(a, b) || gap > UINT32_MAX ||
        (uint64_t)a->count + b->count > UINT32_MAX ||
        (a->count > 1 && a->stride != gap) ||
        (b->count > 1 && b->stride != gap))
        return false;
    a->stride = (uint32_t)gap;
    a->count += b->count;
    return true;
}

/* A part of a range: `count` from the index-th on; none if count is 0. */
static size_t part(const struct save_range *r, uint32_t index, uint32_t count,
                   struct save_range *out)
{
    if (count == 0)
        return 0;
    *out = *r;
    out->first += (uint64_t)r->stride * index;
    out->count = count;
    if (count == 1)
        out->stride = 0;
    return 1;
}

/* What lies side by side becomes one where it can; returns how many are left.
 */
static size_t join_all(struct save_range *piece, size_t count)
{
    size_t kept = 1;

    for (size_t i = 1; i < count; i++)
        if (!join(&piece[kept - 1], &piece[i]))
            piece[kept++] = piece[i];
    return kept;
}

int save_set_add(struct save_set *set, const struct save_id *id)
{
    size_t at = range_at(set, id), begin = at > 0 ? at - 1 : 0, end = at;
    struct save_range piece[PIECES_MOST], *range;
    const struct save_range one = {.first = id->step,
                                   .generation = id->generation,
                                   .attempt = id->attempt,
                                   .count = 1};
    size_t count = 0;

    if (save_set_has(set, id))
        return 0;
    /* At most two more than there are: it is cut, and the new one. */
    for (size_t more = 0; more < 2; more++) {
        range = array_room(set->range, set->range_count + more,
                           &set->range_capacity, sizeof *range);
        if (!range)
            return -ENOMEM;
        set->range = range;
    }
    if (at > 0)
        piece[count++] = set->range[at - 1];
    if (at < set->range_count && is_within(&set->range[at], id)) {
        const struct save_range *cut = &set->range[at];
        uint32_t left = (uint32_t)((id->step - cut->first) / cut->stride) + 1;

        count += part(cut, 0, left, &piece[count]);
        piece[count++] = one;
        count += part(cut, left, cut->count - left, &piece[count]);
        end = at + 1;
    } else {
        piece[count++] = one;
    }
    if (end < set->range_count)
        piece[count++] = set->range[end++];
    count = join_all(piece, count);
    memmove(set->range + begin + count, set->range + end,
            (set->range_count - end) * sizeof *set->range);
    memcpy(set->range + begin, piece, count * sizeof *piece);
    set->range_count = set->range_count - (end - begin) + count;
    set->count++;
    return 0;
}

bool save_set_highest_step(const struct save_set *set, uint32_t generation,
                           uint64_t *step)
{
    bool found = false;

    for (size_t i = 0; i < set->range_count; i++) {
        const struct save_range *r = &set->range[i];

        if (r->generation != generation)
            continue;
        *step = found ? max_u64(*step, last_of(r)) : last_of(r);
        found = true;
    }
    return found;
}

uint32_t save_set_highest_attempt(const struct save_set *set,
                                  uint32_t generation, uint64_t step)
{
    for (size_t i = set->range_count; i > 0; i--) {
        const struct save_range *r = &set->range[i - 1];
        const struct save_id id = {
            .generation = generation, .attempt = r->attempt, .step = step};

        if (is_within(r, &id) && is_one_of(r, &id))
            return r->attempt;
    }
    return 0;
}
