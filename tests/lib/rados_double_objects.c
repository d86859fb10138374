/*
 * rados_double_objects.c - the double's objects, and what steps do to them.
 *
 * A writing operation works on a copy that takes the object's place if every
 * step succeeded. A reading one fills what its caller gave.
 */
#include "tests/lib/rados_double_internal.h"

#include "common/bytes.h"
#include "storage/crc32c.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Pairs.
 */

static void *copy(const void *from, size_t bytes)
{
    char *to = malloc(bytes + 1);

    assert(to);
    if (bytes > 0)
        memcpy(to, from, bytes);
    to[bytes] = '\0';
    return to;
}

static size_t pair_find(const struct pairs *pairs, const char *key,
                        size_t bytes, bool *is_there)
{
    for (size_t i = 0; i < pairs->count; i++) {
        const struct pair *pair = &pairs->pair[i];
        size_t least = min_u64(bytes, pair->key_bytes);
        int order = memcmp(pair->key, key, least);

        *is_there = order == 0 && pair->key_bytes == bytes;
        if (order > 0 || (order == 0 && pair->key_bytes >= bytes))
            return i;
    }
    *is_there = false;
    return pairs->count;
}

void pair_set(struct pairs *pairs, const struct pair *pair)
{
    bool is_there;
    size_t at = pair_find(pairs, pair->key, pair->key_bytes, &is_there);

    if (is_there) {
        free(pairs->pair[at].value);
    } else {
        pairs->pair =
            realloc(pairs->pair, (pairs->count + 1) * sizeof(struct pair));
        assert(pairs->pair);
        memmove(&pairs->pair[at + 1], &pairs->pair[at],
                (pairs->count - at) * sizeof(struct pair));
        pairs->count++;
        pairs->pair[at].key = copy(pair->key, pair->key_bytes);
        pairs->pair[at].key_bytes = pair->key_bytes;
    }
    pairs->pair[at].value = copy(pair->value, pair->value_bytes);
    pairs->pair[at].value_bytes = pair->value_bytes;
}

static void pair_remove(struct pairs *pairs, const struct pair *pair)
{
    bool is_there;
    size_t at = pair_find(pairs, pair->key, pair->key_bytes, &is_there);

    if (!is_there)
        return;
    free(pairs->pair[at].key);
    free(pairs->pair[at].value);
    pairs->count--;
    memmove(&pairs->pair[at], &pairs->pair[at + 1],
            (pairs->count - at) * sizeof(struct pair));
}

void pairs_free(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->pair[i].key);
        free(pairs->pair[i].value);
    }
    free(pairs->pair);
    *pairs = (struct pairs){0};
}

static struct pairs pairs_copy(const struct pairs *from)
{
    struct pairs to = {0};

    for (size_t i = 0; i < from->count; i++)
        pair_set(&to, &from->pair[i]);
    return to;
}

/*
 * Objects.
 */

struct object *object_find(struct objects *all, const struct where *where)
{
    LIST_FOR_EACH (node, &all->list) {
        struct object *object = container_of(node, struct object, link);

        if (strcmp(object->name, where->object) == 0 &&
            strcmp(object->pool, where->pool) == 0 &&
            strcmp(object->space, where->space) == 0)
            return object;
    }
    return NULL;
}

void object_free(struct object *object)
{
    list_remove(&object->link);
    pairs_free(&object->attributes);
    pairs_free(&object->omap);
    free(object->data);
    free(object->pool);
    free(object->space);
    free(object->name);
    free(object);
}

static struct object *object_copy(const struct object *from,
                                  const struct where *where)
{
    struct object *object = calloc(1, sizeof *object);

    assert(object);
    object->pool = strdup(where->pool);
    object->space = strdup(where->space);
    object->name = strdup(where->object);
    assert(object->pool && object->space && object->name);
    if (from) {
        object->attributes = pairs_copy(&from->attributes);
        object->omap = pairs_copy(&from->omap);
        object->data = copy(from->data, from->bytes);
        object->bytes = from->bytes;
    }
    return object;
}

void steps_free(struct steps *steps)
{
    struct list *node;

    while ((node = list_pop(&steps->list))) {
        struct step *step = container_of(node, struct step, link);

        free(step->pair.key);
        free(step->pair.value);
        free(step);
    }
    free(steps);
}

/*
 * Writing.
 */

struct change {
    struct object *object; /* the copy */
    bool exists, is_coded, is_full;
};

static int compare(const struct object *object, const struct pair *pair)
{
    bool is_there;
    size_t at =
        pair_find(&object->attributes, pair->key, pair->key_bytes, &is_there);
    const struct pair *found = &object->attributes.pair[at];

    if (!is_there || found->value_bytes != pair->value_bytes ||
        memcmp(found->value, pair->value, pair->value_bytes) != 0)
        return -ECANCELED;
    return 0;
}

static int write_step(struct change *c, const struct step *step)
{
    struct object *object = c->object;

    switch (step->kind) {
    case STEP_CREATE:
        if (c->exists && step->flag)
            return -EEXIST;
        c->exists = true;
        return 0;
    case STEP_WRITE_FULL:
        if (c->is_full)
            return -ENOSPC;
        free(object->data);
        object->data = copy(step->pair.value, step->pair.value_bytes);
        object->bytes = step->pair.value_bytes;
        c->exists = true;
        return 0;
    case STEP_SETXATTR:
        pair_set(&object->attributes, &step->pair);
        c->exists = true;
        return 0;
    case STEP_CMPXATTR:
        return c->exists ? compare(object, &step->pair) : -ENOENT;
    case STEP_REMOVE:
        if (!c->exists)
            return -ENOENT;
        c->exists = false;
        return 0;
    case STEP_OMAP_SET:
    case STEP_OMAP_RM:
        if (c->is_coded)
            return -EOPNOTSUPP;
        if (step->kind == STEP_OMAP_SET && c->is_full)
            return -ENOSPC;
        if (step->kind == STEP_OMAP_SET)
            pair_set(&object->omap, &step->pair);
        else if (!c->exists)
            return -ENOENT;
        else
            pair_remove(&object->omap, &step->pair);
        c->exists = true;
        return 0;
    case STEP_STAT:
    case STEP_READ:
    case STEP_CHECKSUM:
    case STEP_GETXATTRS:
    case STEP_OMAP_VALS:
        break;
    }
    assert(!"a reading step in a writing operation");
    return -EINVAL;
}

static int write_all(struct objects *all, const struct where *where,
                     const struct steps *steps, bool is_full)
{
    static time_t clock = 1000;
    struct object *old = object_find(all, where);
    struct change c = {.object = object_copy(old, where),
                       .exists = old != NULL,
                       .is_coded = strcmp(where->pool, "data") == 0,
                       .is_full = is_full};
    int rc = 0;

    LIST_FOR_EACH (node, &steps->list) {
        rc = write_step(&c, container_of(node, struct step, link));
        if (rc < 0)
            break;
    }
    if (rc < 0) {
        object_free(c.object);
        return rc;
    }
    if (old)
        object_free(old);
    c.object->mtime = ++clock;
    if (c.exists)
        list_append(&all->list, &c.object->link);
    else
        object_free(c.object);
    return 0;
}

/*
 * Reading.
 */

static struct iterator *iterator_of(const struct pairs *pairs)
{
    struct iterator *iterator = calloc(1, sizeof *iterator);

    assert(iterator);
    iterator->pairs = pairs_copy(pairs);
    return iterator;
}

static void read_keys(const struct object *object, const struct step *step)
{
    struct pairs page = {0};
    size_t from = 0;
    bool is_there = false;

    if (step->pair.key_bytes > 0) {
        from = pair_find(&object->omap, step->pair.key, step->pair.key_bytes,
                         &is_there);
        from += is_there;
    }
    /* A cluster may answer with fewer than it was asked for. */
    for (size_t i = from; i < object->omap.count && i - from < 7; i++)
        pair_set(&page, &object->omap.pair[i]);
    *step->more = from + page.count < object->omap.count;
    *step->iterator = iterator_of(&page);
    pairs_free(&page);
}

static void read_step(const struct object *object, const struct step *step)
{
    size_t left = step->off < object->bytes ? object->bytes - step->off : 0;
    size_t bytes = min_u64(step->bytes, left);

    switch (step->kind) {
    case STEP_STAT:
        *step->size = object->bytes;
        *step->mtime = object->mtime;
        break;
    case STEP_READ:
        if (bytes > 0)
            memcpy(step->data, object->data + step->off, bytes);
        *step->got = bytes;
        break;
    case STEP_CHECKSUM:
        assert(step->data_bytes >= 8);
        put_u32(step->data, 1);
        /* Without the final inversion, as Ceph's. */
        put_u32(step->data + 4,
                ~crc32c(~step->first, object->data + step->off, bytes));
        break;
    case STEP_GETXATTRS:
        *step->iterator = iterator_of(&object->attributes);
        break;
    case STEP_OMAP_VALS:
        read_keys(object, step);
        break;
    case STEP_CREATE:
    case STEP_WRITE_FULL:
    case STEP_SETXATTR:
    case STEP_CMPXATTR:
    case STEP_REMOVE:
    case STEP_OMAP_SET:
    case STEP_OMAP_RM:
        assert(!"a writing step in a reading operation");
    }
    *step->result = 0;
}

int steps_apply(struct objects *all, const struct where *where,
                const struct steps *steps, bool is_full)
{
    const struct object *object;

    if (!steps->is_read)
        return write_all(all, where, steps, is_full);
    object = object_find(all, where);
    if (!object)
        return -ENOENT;
    LIST_FOR_EACH (node, &steps->list)
        read_step(object, container_of(node, struct step, link));
    return 0;
}
