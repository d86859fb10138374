/*
 * job_state.c - see job_state.h.
 *
 * One walk over a descriptor's boxes serves filling and checking: it visits
 * the local elements in order, with the global element or "padding".
 */
#include "tests/lib/job_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PADDING      UINT64_MAX
#define PADDING_FILL 0xdeadbeefU

static const char *const layout_word[] = {
    [JOB_ROWS] = "rows",   [JOB_COLUMNS] = "columns", [JOB_FLAT] = "flat",
    [JOB_FUSED] = "fused", [JOB_REPLICA] = "replica", [JOB_OWNER] = "owner",
    [JOB_MIXED] = "mixed",
};

static const char *const fault_word[] = {
    [JOB_FAULT_NONE] = "none",       [JOB_FAULT_HOLE] = "hole",
    [JOB_FAULT_OVERLAP] = "overlap", [JOB_FAULT_DTYPE] = "dtype",
    [JOB_FAULT_SHAPE] = "shape",     [JOB_FAULT_NAME] = "name",
    [JOB_FAULT_NAN_DIM] = "ndim",
};

static int find_word(const char *const *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return (int)i;
    return -1;
}

int job_layout_parse(const char *word)
{
    return find_word(layout_word, JOB_MIXED + 1, word);
}

int job_fault_parse(const char *word)
{
    return find_word(fault_word, JOB_FAULTS, word);
}

static uint32_t value_of(uint32_t tensor, uint64_t element, uint32_t version)
{
    uint64_t h = element * 0x9e3779b97f4a7c15 + ((uint64_t)tensor << 40) +
                 (uint64_t)version * 0xd1b54a32d192ed03;

    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
    h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)(h >> 32);
}

/*
 * Layouts.
 */

static uint64_t share_at(uint64_t total, uint32_t rank, uint32_t world)
{
    return total * rank / world;
}

static struct ckpt_box whole(const struct job_shape *shape)
{
    return (struct ckpt_box){.size = {shape->rows, shape->columns}};
}

static void place_range(const struct job_shape *h, struct ckpt_box *box,
                        uint32_t dim, uint64_t from, uint64_t length)
{
    uint64_t begin = from + share_at(length, h->rank, h->world);
    uint64_t end = from + share_at(length, h->rank + 1, h->world);

    *box = whole(h);
    box->offset[dim] = begin;
    box->size[dim] = end - begin;
}

static void place_flat(const struct job_shape *h, struct ckpt_tensor *t,
                       struct ckpt_box *box)
{
    uint64_t total = (h->rows + 1) * h->columns;

    *box = whole(h);
    box->size[0]++; /* a row of padding */
    t->is_cut = true;
    t->cut_start = share_at(total, h->rank, h->world);
    t->cut_count = share_at(total, h->rank + 1, h->world) - t->cut_start;
}

/* False when this rank holds nothing of it. */
static bool place(const struct job_shape *h, uint32_t number,
                  struct ckpt_tensor *t, struct ckpt_box box[2])
{
    enum job_layout layout = h->layout == JOB_MIXED
                                 ? (enum job_layout)(number % JOB_LAYOUTS)
                                 : h->layout;

    t->box_count = 1;
    switch (layout) {
    case JOB_ROWS:
        place_range(h, box, 0, 0, h->rows);
        if (h->rank + 1 == h->world)
            box->size[0] += 2; /* padding */
        return true;
    case JOB_COLUMNS:
        place_range(h, box, 1, 0, h->columns);
        return true;
    case JOB_FLAT:
        place_flat(h, t, box);
        return true;
    case JOB_FUSED:
        t->box_count = 2;
        place_range(h, &box[0], 0, 0, h->rows / 2);
        place_range(h, &box[1], 0, h->rows / 2, h->rows - h->rows / 2);
        return true;
    case JOB_REPLICA:
        t->box_count = 0;
        t->replica_index = h->rank;
        t->replica_count = h->world;
        return true;
    case JOB_OWNER:
        t->box_count = 0;
        return number % h->world == h->rank;
    case JOB_MIXED:
        break;
    }
    return false;
}

static void spoil(const struct job_shape *h, struct ckpt_tensor *t,
                  struct ckpt_box *box, char *name)
{
    switch (h->fault) {
    case JOB_FAULT_HOLE:
        box->size[0]--;
        break;
    case JOB_FAULT_OVERLAP:
        box->size[0]++;
        break;
    case JOB_FAULT_DTYPE:
        t->dtype = CKPT_I32;
        break;
    case JOB_FAULT_SHAPE:
        t->shape[0]++;
        break;
    case JOB_FAULT_NAME:
        (void)snprintf(name, 32, "nobody");
        break;
    case JOB_FAULT_NAN_DIM:
        t->ndim = CKPT_MAX_DIMS + 1;
        break;
    case JOB_FAULT_NONE:
    case JOB_FAULTS:
        break;
    }
}

static uint64_t local_elements(const struct job_shape *h,
                               const struct ckpt_tensor *t)
{
    uint64_t n = t->box_count ? 0 : h->rows * h->columns;

    for (uint32_t i = 0; i < t->box_count; i++)
        n += t->boxes[i].size[0] * t->boxes[i].size[1];
    return t->is_cut ? t->cut_count : n;
}

static int add_piece(struct job_state *s, uint32_t number)
{
    const struct job_shape *h = &s->shape;
    size_t i = s->count;
    struct ckpt_tensor *t = &s->piece[i];

    *t = (struct ckpt_tensor){.name = s->name[i],
                              .dtype = CKPT_U32,
                              .ndim = 2,
                              .shape = {h->rows, h->columns},
                              .boxes = s->box[i],
                              .capture = h->capture};
    if (!place(h, number, t, s->box[i]))
        return 0;
    (void)snprintf(s->name[i], sizeof s->name[i], "t%02u", number);
    if (number == 0)
        spoil(h, t, s->box[i], s->name[i]);
    s->tensor[i] = number;
    s->elements[i] = local_elements(h, t);
    t->data = calloc(s->elements[i] ? s->elements[i] : 1, sizeof(uint32_t));
    if (!t->data)
        return -ENOMEM;
    s->count++;
    return 0;
}

int job_state_init(struct job_state *s, const struct job_shape *shape)
{
    int rc = 0;

    *s = (struct job_state){.shape = *shape};
    if (shape->tensor_count > JOB_TENSORS_MAX || shape->rank >= shape->world)
        return -EINVAL;
    for (uint32_t i = 0; i < shape->tensor_count && rc == 0; i++)
        rc = add_piece(s, i);
    if (rc)
        job_state_fini(s);
    return rc;
}

void job_state_fini(struct job_state *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->piece[i].data);
    s->count = 0;
}

/*
 * Contents.
 */

struct walk {
    const struct job_state *state;
    size_t piece;
    uint64_t at;    /* in the local order, cut or not */
    bool is_check;  /* else fill */
    uint64_t wrong; /* local element that differs; PADDING: none */
    uint64_t wrong_element;
};

static bool visit(struct walk *w, uint64_t local, uint64_t element)
{
    const struct job_state *s = w->state;
    uint32_t *data = s->piece[w->piece].data;
    uint32_t tensor = s->tensor[w->piece];
    uint32_t want = element == PADDING
                        ? (w->is_check ? 0 : PADDING_FILL)
                        : value_of(tensor, element, s->version[tensor]);

    if (s->shape.is_dull)
        want &= 0xffff;
    if (!w->is_check) {
        data[local] = want;
    } else if (data[local] != want) {
        w->wrong = local;
        w->wrong_element = element;
        return false;
    }
    return true;
}

static bool walk_row(struct walk *w, const struct ckpt_box *box, uint64_t row)
{
    const struct job_shape *h = &w->state->shape;
    const struct ckpt_tensor *t = &w->state->piece[w->piece];
    uint64_t begin = w->at;

    w->at += box->size[1];
    if (t->is_cut &&
        (w->at <= t->cut_start || begin >= t->cut_start + t->cut_count))
        return true;
    for (uint64_t j = 0; j < box->size[1]; j++) {
        uint64_t column = box->offset[1] + j, local = begin + j;
        bool is_inside = row < h->rows && column < h->columns;

        if (t->is_cut &&
            (local < t->cut_start || local >= t->cut_start + t->cut_count))
            continue;
        if (!visit(w, t->is_cut ? local - t->cut_start : local,
                   is_inside ? row * h->columns + column : PADDING))
            return false;
    }
    return true;
}

static bool walk_piece(struct walk *w)
{
    const struct ckpt_tensor *t = &w->state->piece[w->piece];
    struct ckpt_box all = whole(&w->state->shape);
    uint32_t count = t->box_count ? t->box_count : 1;

    w->at = 0;
    for (uint32_t b = 0; b < count; b++) {
        const struct ckpt_box *box = t->box_count ? &t->boxes[b] : &all;

        for (uint64_t i = 0; i < box->size[0]; i++)
            if (!walk_row(w, box, box->offset[0] + i))
                return false;
    }
    return true;
}

void job_state_set(struct job_state *s, uint32_t value)
{
    for (size_t i = 0; i < s->count; i++) {
        uint32_t *data = s->piece[i].data;

        for (uint64_t n = 0; n < s->elements[i]; n++)
            data[n] = value;
    }
}

void job_state_fill(struct job_state *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct walk w = {.state = s, .piece = i};

        (void)walk_piece(&w);
    }
}

bool job_state_check(const struct job_state *s, char *text, size_t capacity)
{
    for (size_t i = 0; i < s->count; i++) {
        struct walk w = {.state = s, .piece = i, .is_check = true};
        const uint32_t *data = s->piece[i].data;

        if (walk_piece(&w))
            continue;
        (void)snprintf(text, capacity,
                       "%s, local element %" PRIu64 " (%s %" PRIu64
                       ") is %08x, not as of version %u",
                       s->name[i], w.wrong,
                       w.wrong_element == PADDING ? "padding" : "global",
                       w.wrong_element, data[w.wrong],
                       s->version[s->tensor[i]]);
        return false;
    }
    return true;
}

uint64_t job_state_bytes(const struct job_state *s)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < s->count; i++)
        bytes += s->elements[i] * sizeof(uint32_t);
    return bytes;
}
