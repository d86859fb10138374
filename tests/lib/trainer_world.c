/*
 * trainer_world.c - see trainer_world.h. Elements are moved one by one, by
 * index arithmetic that shares nothing with formats/.
 */
#include "tests/lib/trainer_world.h"
#include "common/hash.h"
#include "formats/dtype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define OPEN_TIMEOUT_MS 5000

void trainer_world_init(struct trainer_world *w, const struct fake_options *o)
{
    *w = (struct trainer_world){.home = "/tmp/ckpt-trainer-XXXXXX"};
    assert_non_null(mkdtemp(w->home));
    (void)snprintf(w->socket, sizeof w->socket, "%s/s", w->home);
    w->fake = fake_start(w->socket, o);
}

void trainer_world_fini(struct trainer_world *w)
{
    fake_stop(w->fake);
    assert_int_equal(rmdir(w->home), 0);
}

void trainer_world_options(const struct trainer_world *w,
                           struct ckpt_options *o)
{
    ckpt_options_init(o);
    o->home = w->home;
    o->socket = w->socket;
    o->run = "test";
    o->rank = 0;
    o->world_size = 1;
    o->axes[0] = (struct ckpt_axis){"dp", 1, 0};
    o->axes[1] = (struct ckpt_axis){"tp", 2, 1};
    o->axis_count = 2;
    o->open_timeout_ms = OPEN_TIMEOUT_MS;
    o->decide_timeout_ms = 5000;
    o->load_timeout_ms = 5000;
}

struct ckpt *trainer_world_open(const struct trainer_world *w)
{
    struct ckpt_options o;
    struct ckpt_error error;
    struct ckpt *ctx;

    trainer_world_options(w, &o);
    if (ckpt_open(&o, &ctx, &error))
        fail_msg("%s", error.message);
    return ctx;
}

/*
 * The state.
 */

static struct ckpt_tensor *add(struct state *s, const char *name,
                               enum ckpt_dtype dtype, uint32_t ndim,
                               const uint64_t *shape)
{
    struct ckpt_tensor *t = &s->tensor[s->count];

    assert_true(s->count < STATE_PIECES);
    t->name = name;
    t->dtype = dtype;
    t->ndim = ndim;
    for (uint32_t i = 0; i < ndim; i++)
        t->shape[i] = shape[i];
    t->capture = s->count % 2 ? CKPT_UNTIL_FENCE : CKPT_CAPTURE_NOW;
    s->count++;
    return t;
}

static void add_box(struct state *s, struct ckpt_box box)
{
    struct ckpt_tensor *t = &s->tensor[s->count - 1];

    s->box[s->count - 1][t->box_count++] = box;
    t->boxes = s->box[s->count - 1];
}

static void set_cut(struct ckpt_tensor *t, uint64_t start, uint64_t count)
{
    t->is_cut = true;
    t->cut_start = start;
    t->cut_count = count;
}

static void set_strides(struct state *s, uint64_t a, uint64_t b)
{
    s->stride[s->count - 1][0] = a;
    s->stride[s->count - 1][1] = b;
    s->tensor[s->count - 1].strides = s->stride[s->count - 1];
}

static uint64_t bits_of(const struct ckpt_tensor *t)
{
    return dtype_bits((uint32_t)t->dtype);
}

/* A visitor gets each local position (in units of one element) with the global
 * row-major index, or UINT64_MAX for padding. */
typedef void (*visitor)(struct state *s, size_t piece, uint64_t at,
                        uint64_t index, uint64_t salt);

/* The k-th element of a box: its global index (UINT64_MAX for padding); its
 * place by strides, if there are any, in *place. */
static uint64_t locate(const struct ckpt_tensor *t, const struct ckpt_box *b,
                       uint64_t k, uint64_t *place)
{
    uint64_t index = 0, scale = 1;

    for (uint32_t d = t->ndim; d-- > 0;) {
        uint64_t i = k % b->size[d], g = b->offset[d] + i;

        k /= b->size[d];
        if (g >= t->shape[d])
            index = UINT64_MAX;
        if (index != UINT64_MAX)
            index += g * scale;
        scale *= t->shape[d];
        *place += t->strides ? i * t->strides[d] : 0;
    }
    return index;
}

static void visit_box(struct state *s, size_t piece, const struct ckpt_box *b,
                      uint64_t *local, visitor visit, uint64_t salt)
{
    const struct ckpt_tensor *t = &s->tensor[piece];
    uint64_t first = t->is_cut ? t->cut_start : 0, count = 1;

    for (uint32_t d = 0; d < t->ndim; d++)
        count *= b->size[d];
    for (uint64_t k = 0; k < count; k++, (*local)++) {
        uint64_t place = 0, index = locate(t, b, k, &place);

        if (*local < first || (t->is_cut && *local >= first + t->cut_count))
            continue;
        visit(s, piece, t->strides ? place : *local - first, index, salt);
    }
}

static void visit_all(struct state *s, visitor visit, uint64_t salt)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct ckpt_tensor *t = &s->tensor[i];
        struct ckpt_box whole = {{0}, {0}};
        uint64_t local = 0;

        memcpy(whole.size, t->shape, sizeof whole.size);
        if (!t->box_count)
            visit_box(s, i, &whole, &local, visit, salt);
        for (uint32_t b = 0; b < t->box_count; b++)
            visit_box(s, i, &t->boxes[b], &local, visit, salt);
    }
}

/* The low bits of a sub-byte element, or all bytes of a larger one. */
static void element(const struct ckpt_tensor *t, uint64_t index, uint64_t salt,
                    uint8_t out[16])
{
    uint64_t key[3] = {hash_64(t->name, strlen(t->name)), index, salt};
    struct digest d = hash_128(key, sizeof key);

    memcpy(out, d.b, 16);
    if (index == UINT64_MAX)
        memset(out, salt == 0 ? 0 : 0xee, 16);
}

static void put_element(struct state *s, size_t piece, uint64_t at,
                        uint64_t index, uint64_t salt)
{
    const struct ckpt_tensor *t = &s->tensor[piece];
    uint8_t e[16], *data = t->data;
    uint64_t bits = bits_of(t);

    element(t, index, salt, e);
    if (bits == 4)
        data[at / 2] = at % 2 ? (uint8_t)((data[at / 2] & 15) | e[0] << 4)
                              : (uint8_t)((data[at / 2] & 240) | (e[0] & 15));
    else
        memcpy(data + at * bits / 8, e, bits / 8);
}

static void measure(struct state *s, size_t piece, uint64_t at, uint64_t index,
                    uint64_t salt)
{
    uint64_t end = (at + 1) * bits_of(&s->tensor[piece]);

    (void)index;
    (void)salt;
    if ((end + 7) / 8 > s->bytes[piece])
        s->bytes[piece] = (end + 7) / 8;
}

static void add_awkward(struct state *s)
{
    const uint64_t shape[] = {5, 7}, cube[] = {3, 4, 5}, none[] = {0, 3};
    const uint64_t even[] = {4, 8};

    (void)add(s, "boxes", CKPT_F32, 2, shape);
    add_box(s, (struct ckpt_box){{0, 4}, {5, 3}});
    add_box(s, (struct ckpt_box){{2, 0}, {3, 4}});
    add_box(s, (struct ckpt_box){{0, 0}, {2, 4}});
    (void)add(s, "padded", CKPT_BF16, 2, shape);
    add_box(s, (struct ckpt_box){{0, 0}, {8, 8}});
    set_cut(add(s, "cut", CKPT_F64, 3, cube), 0, 23);
    set_cut(add(s, "cut", CKPT_F64, 3, cube), 23, 37);
    (void)add(s, "rows", CKPT_I16, 2, shape);
    set_strides(s, 11, 1);
    (void)add(s, "columns", CKPT_I32, 2, shape);
    set_strides(s, 1, 6);
    (void)add(s, "columns-padded", CKPT_U8, 2, shape);
    add_box(s, (struct ckpt_box){{0, 0}, {6, 9}});
    set_strides(s, 1, 6);
    (void)add(s, "nibbles", CKPT_F4, 2, even);
    add_box(s, (struct ckpt_box){{2, 0}, {2, 8}});
    add_box(s, (struct ckpt_box){{0, 0}, {2, 8}});
    (void)add(s, "scalar", CKPT_C64, 0, NULL);
    (void)add(s, "empty", CKPT_F16, 2, none);
    (void)add(s, "cut-padded", CKPT_F16, 2, shape);
    add_box(s, (struct ckpt_box){{0, 0}, {6, 8}});
    set_cut(&s->tensor[s->count - 1], 0, 21);
    (void)add(s, "cut-padded", CKPT_F16, 2, shape);
    add_box(s, (struct ckpt_box){{0, 0}, {6, 8}});
    set_cut(&s->tensor[s->count - 1], 21, 27);
}

void state_init(struct state *s, size_t big_bytes)
{
    const uint64_t big[] = {big_bytes};
    const uint64_t middle[] = {3, 50000};

    *s = (struct state){0};
    add_awkward(s);
    (void)add(s, "middle", CKPT_F32, 2, middle);
    (void)add(s, "big", CKPT_U8, 1, big);
    (void)add(s, "late", CKPT_F32, 2, middle);
    visit_all(s, measure, 0);
    for (size_t i = 0; i < s->count; i++) {
        s->tensor[i].data = malloc(s->bytes[i] ? s->bytes[i] : 1);
        assert_non_null(s->tensor[i].data);
    }
    state_clear(s);
}

void state_fini(struct state *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->tensor[i].data);
}

void state_fill(struct state *s, uint64_t salt)
{
    for (size_t i = 0; i < s->count; i++)
        memset(s->tensor[i].data, 0xee, s->bytes[i]);
    visit_all(s, put_element, salt);
}

void state_spoil(struct state *s, enum ckpt_capture capture)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->tensor[i].capture == capture)
            memset(s->tensor[i].data, 0x77, s->bytes[i]);
}

void state_clear(struct state *s)
{
    for (size_t i = 0; i < s->count; i++)
        memset(s->tensor[i].data, 0xa5, s->bytes[i]);
}

static void put_expected(struct state *s, size_t piece, uint64_t at,
                         uint64_t index, uint64_t salt)
{
    put_element(s, piece, at, index, index == UINT64_MAX ? 0 : salt);
}

void state_check(const struct state *s, uint64_t salt)
{
    struct state expected = *s;

    for (size_t i = 0; i < s->count; i++)
        expected.tensor[i].data = malloc(s->bytes[i] ? s->bytes[i] : 1);
    for (size_t i = 0; i < s->count; i++)
        assert_non_null(expected.tensor[i].data);
    state_clear(&expected);
    visit_all(&expected, put_expected, salt);
    for (size_t i = 0; i < s->count; i++)
        if (memcmp(expected.tensor[i].data, s->tensor[i].data, s->bytes[i]) !=
            0)
            fail_msg("piece %zu of tensor %s differs", i, s->tensor[i].name);
    state_fini(&expected);
}

struct ckpt *trainer_begin(struct trainer_world *w, struct state *s,
                           const struct fake_options *o, size_t big_bytes)
{
    return trainer_begin_within(w, s, o, big_bytes, OPEN_TIMEOUT_MS);
}

struct ckpt *trainer_begin_within(struct trainer_world *w, struct state *s,
                                  const struct fake_options *o,
                                  size_t big_bytes, uint32_t open_timeout_ms)
{
    struct ckpt_options options;
    struct ckpt_error error;
    struct ckpt *ctx;

    trainer_world_init(w, o);
    state_init(s, big_bytes);
    trainer_world_options(w, &options);
    options.open_timeout_ms = open_timeout_ms;
    if (ckpt_open(&options, &ctx, &error))
        fail_msg("%s", error.message);
    return ctx;
}

void trainer_end(struct trainer_world *w, struct state *s, struct ckpt *ctx)
{
    ckpt_close(ctx);
    state_fini(s);
    trainer_world_fini(w);
}

void state_save(struct ckpt *ctx, struct state *s, uint64_t step, uint64_t salt)
{
    struct ckpt_error error;
    struct ckpt_save *save;

    state_fill(s, salt);
    if (ckpt_save(ctx, step, s->tensor, s->count, NULL, 0, &save, &error))
        fail_msg("%s", error.message);
    state_spoil(s, CKPT_CAPTURE_NOW);
    if (ckpt_fence(save, NULL, &error))
        fail_msg("%s", error.message);
    state_spoil(s, CKPT_UNTIL_FENCE);
    if (ckpt_wait(save, CKPT_COMMITTED, 30000, &error))
        fail_msg("%s", error.message);
    ckpt_save_free(save);
}
