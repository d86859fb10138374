/*
 * manifest_intern.c - tensors, segments, files and ranks of a builder, each
 * kept once: a hash table over each array finds again what is there. Linear in
 * what is asked. Here two ranks that describe one tensor differently are seen.
 */
#include "formats/manifest_builder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static int intern_grow(struct intern *t)
{
    size_t capacity = t->capacity ? t->capacity * 2 : 64;
    struct intern_slot *slot;

    if (t->used * 2 < t->capacity)
        return 0;
    slot = calloc(capacity, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    for (size_t i = 0; i < t->capacity; i++) {
        size_t at = t->slot[i].hash & (capacity - 1);

        if (!t->slot[i].index_plus_1)
            continue;
        while (slot[at].index_plus_1)
            at = (at + 1) & (capacity - 1);
        slot[at] = t->slot[i];
    }
    free(t->slot);
    t->slot = slot;
    t->capacity = capacity;
    return 0;
}

/*
 * Walks the entries of that hash: start with *at = hash; the next index, or -1
 * when there is none; then *at is the slot for a new one. Room was made by
 * intern_grow().
 */
static int64_t intern_next(const struct intern *t, uint64_t hash, uint64_t *at)
{
    for (;; (*at)++) {
        const struct intern_slot *s = &t->slot[*at & (t->capacity - 1)];

        if (!s->index_plus_1)
            return -1;
        if (s->hash == hash) {
            (*at)++;
            return (int64_t)(s->index_plus_1 - 1);
        }
    }
}

static void intern_add(struct intern *t, uint64_t hash, uint64_t at,
                       uint64_t index)
{
    t->slot[at & (t->capacity - 1)] = (struct intern_slot){hash, index + 1};
    t->used++;
}

static int tensor_conflict(struct manifest_builder *b,
                           const struct mb_tensor *there,
                           const struct mb_tensor *want, const char *name,
                           struct err *err)
{
    char one[GEOMETRY_TEXT_BYTES], two[GEOMETRY_TEXT_BYTES];

    geometry_text(&there->geometry, one, sizeof one);
    geometry_text(&want->geometry, two, sizeof two);
    b->failed = err_set(err, -CKPT_ECONFLICT,
                        "tensor %.*s: rank %" PRIu32 " says %s, rank %" PRIu32
                        " says %s",
                        (int)want->name_bytes, name, there->first_rank, one,
                        want->first_rank, two);
    return b->failed;
}

static bool geometry_equal(const struct geometry *a, const struct geometry *b)
{
    return a->dtype == b->dtype && a->ndim == b->ndim &&
           memcmp(a->shape, b->shape, a->ndim * sizeof a->shape[0]) == 0;
}

int64_t mb_tensor(struct manifest_builder *b, const struct mb_tensor *want,
                  const char *name, struct err *err)
{
    uint64_t hash = hash_64(name, want->name_bytes), at = hash;
    struct mb_tensor *t;
    int64_t i;

    if (intern_grow(&b->tensor_index))
        goto err_memory;
    while ((i = intern_next(&b->tensor_index, hash, &at)) >= 0) {
        t = MB_AT(b->tensors, struct mb_tensor, i);
        if (t->name_bytes != want->name_bytes ||
            memcmp(b->strings.data + t->name, name, t->name_bytes) != 0)
            continue;
        if (geometry_equal(&t->geometry, &want->geometry))
            return i;
        return tensor_conflict(b, t, want, name, err);
    }
    t = MB_ADD(b->tensors, struct mb_tensor, 1);
    if (!t)
        goto err_memory;
    *t = *want;
    t->name = mb_string(b, name, want->name_bytes);
    i = (int64_t)MB_COUNT(b->tensors, struct mb_tensor) - 1;
    intern_add(&b->tensor_index, hash, at, (uint64_t)i);
    return i;
err_memory:
    b->tensors.failed = true;
    return mb_memory(b, err);
}

int64_t mb_segment(struct manifest_builder *b, const struct mf_segment *want)
{
    uint64_t hash = hash_64(want, sizeof *want), at = hash;
    struct mf_segment *s;
    int64_t i;

    if (intern_grow(&b->segment_index))
        return -ENOMEM;
    while ((i = intern_next(&b->segment_index, hash, &at)) >= 0)
        if (memcmp(MB_AT(b->segments, struct mf_segment, i), want,
                   sizeof *want) == 0)
            return i;
    s = MB_ADD(b->segments, struct mf_segment, 1);
    if (!s)
        return -ENOMEM;
    *s = *want;
    i = (int64_t)MB_COUNT(b->segments, struct mf_segment) - 1;
    intern_add(&b->segment_index, hash, at, (uint64_t)i);
    return i;
}

static bool file_is(const struct manifest_builder *b, const struct mf_file *f,
                    const struct mf_file *want, const char *name)
{
    return f->name_bytes == want->name_bytes &&
           id_equal(&f->store, &want->store) &&
           id_equal(&f->segment, &want->segment) &&
           memcmp(b->strings.data + f->name, name, f->name_bytes) == 0;
}

int64_t mb_file(struct manifest_builder *b, const struct mf_file *want,
                const char *name)
{
    uint64_t hash = hash_64(&want->segment, sizeof want->segment) ^
                    hash_64(name, want->name_bytes),
             at = hash;
    struct mf_file *f;
    int64_t i;

    if (intern_grow(&b->file_index))
        return -ENOMEM;
    while ((i = intern_next(&b->file_index, hash, &at)) >= 0)
        if (file_is(b, MB_AT(b->files, struct mf_file, i), want, name))
            return i;
    f = MB_ADD(b->files, struct mf_file, 1);
    if (!f)
        return -ENOMEM;
    *f = *want;
    f->name = mb_string(b, name, want->name_bytes);
    i = (int64_t)MB_COUNT(b->files, struct mf_file) - 1;
    intern_add(&b->file_index, hash, at, (uint64_t)i);
    return i;
}

int64_t mb_rank(struct manifest_builder *b, const struct mf_rank *want,
                struct err *err)
{
    uint64_t hash = hash_64(&want->rank, sizeof want->rank), at = hash;
    struct mf_rank *r;
    int64_t i;

    if (intern_grow(&b->rank_index))
        goto err_memory;
    while ((i = intern_next(&b->rank_index, hash, &at)) >= 0)
        if (MB_AT(b->ranks, struct mf_rank, i)->rank == want->rank) {
            b->failed = err_set(err, -CKPT_ECONFLICT,
                                "rank %" PRIu32 " is there twice", want->rank);
            return b->failed;
        }
    r = MB_ADD(b->ranks, struct mf_rank, 1);
    if (!r)
        goto err_memory;
    *r = *want;
    i = (int64_t)MB_COUNT(b->ranks, struct mf_rank) - 1;
    intern_add(&b->rank_index, hash, at, (uint64_t)i);
    return i;
err_memory:
    b->ranks.failed = true;
    return mb_memory(b, err);
}
