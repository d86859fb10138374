/*
 * damage.c - see damage.h.
 */
#include "tests/rot/damage.h"

#include "tests/lib/tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *what_name(int what)
{
    static const char *const name[] = {[WHAT_CUT] = "cut short",
                                       [WHAT_GONE] = "gone",
                                       [WHAT_DOUBLED] = "doubled",
                                       [WHAT_SWAP] = "swapped",
                                       [WHAT_REPLAY] = "older version"};

    return what < PARTS ? part_name[what] : name[what];
}

static uint64_t draw(struct bench *b, uint64_t limit)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % limit;
}

void bench_open(struct bench *b, const char *dir, uint64_t seed, uint32_t codec)
{
    char here[PATH_MAX / 8];
    ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);

    assert(n > 0);
    here[n] = '\0';
    *strrchr(here, '/') = '\0';
    (void)snprintf(b->tool, sizeof b->tool, "%s/../bin/ckptd", here);
    n = setenv("CKPT_DAEMON", b->tool, 1);
    assert(n == 0);
    (void)snprintf(b->tool, sizeof b->tool, "%s/../bin/ckpt", here);
    b->random = seed * 100 + b->worker * 10 + codec;
    (void)snprintf(b->dir, sizeof b->dir, "%s/%u.%u", dir, codec, b->worker);
    subject_make(&b->subject, codec);
    if (b->worker == 0)
        (void)atomic_fetch_add(&b->tally->owned_bytes,
                               (uint32_t)b->subject.owned_bytes);
}

void bench_close(struct bench *b)
{
    subject_free(&b->subject);
}

/*
 * Reading, and the verdict.
 */

/* On a disk, in a folder made anew: a load leaves records behind. */
static void read_folder(struct bench *b, enum reading_kind kind,
                        struct reading *out)
{
    int rc = remove_tree(b->dir);

    assert(rc == 0 || rc == -ENOENT);
    rc = mkdir(b->dir, 0700);
    assert(rc == 0);
    image_export(&b->subject.now, b->dir);
    if (kind == READ_COMMAND)
        read_by_command(b->tool, b->dir, out);
    else
        read_by_rank(&b->subject, b->dir, out);
}

static bool names(const struct reading *r, const struct image_file *f,
                  bool by_verify)
{
    const char *step = by_verify && r->code != 10 ? "run@50" : "step 50";

    /* A load that has fallen back in vain speaks of the last that it tried. */
    if (!by_verify && r->outcome == OUTCOME_ERROR)
        step = "step 40";
    if (!strstr(r->text, step) && !strstr(r->text, "00000000000000000050"))
        return false;
    if (!image_is_segment(f))
        return true;
    /* File, tensor and range. */
    return strstr(r->text, strrchr(f->name, '/')) &&
           strstr(r->text, "tensor rank") &&
           strstr(r->text, by_verify ? " bytes " : " at ");
}

/* A store in memory knows no segment of less than a page. */
static bool is_lost_in_memory(enum reading_kind kind,
                              const struct image_file *f)
{
    return kind == READ_VERIFY && image_is_segment(f) && f->bytes < PAGE_BYTES;
}

/* What may come of this damage by this way of reading. */
static bool is_right(enum reading_kind kind, int what,
                     const struct image_file *f, struct reading *r)
{
    bool by_verify = kind == READ_VERIFY || kind == READ_COMMAND;

    if (what == PART_SPARE)
        return r->outcome == OUTCOME_NEWEST;
    if (what == PART_RECORD) {
        /* Any failure that it tells of is a good one. */
        if (by_verify && r->code > 0 && strlen(r->text) > 10)
            r->outcome = OUTCOME_ERROR;
        return r->outcome != OUTCOME_WRONG;
    }
    /* A file that is gone is called so: 3 partial, 10 absent. */
    if (by_verify && (r->code == 3 || r->code == 10) &&
        (what == WHAT_GONE || is_lost_in_memory(kind, f)))
        r->outcome = OUTCOME_ERROR;
    /* Without its decision, the votes commit the save once more. */
    if (what == WHAT_GONE && !by_verify && r->outcome == OUTCOME_NEWEST &&
        !image_is_segment(f))
        return true;
    return (r->outcome == OUTCOME_ERROR || r->outcome == OUTCOME_OLDER) &&
           names(r, f, by_verify);
}

static void look(struct bench *b, enum reading_kind kind, int what,
                 const struct image_file *f, const char *where)
{
    struct reading r = {.outcome = OUTCOME_WRONG};
    bool ok;

    switch (kind) {
    case READ_VERIFY:
        read_by_verify(&b->subject, &b->subject.now, &r);
        break;
    case READ_LOAD:
        read_by_load(&b->subject, &b->subject.now, &r);
        break;
    case READ_COMMAND:
    case READ_RANK:
        read_folder(b, kind, &r);
        break;
    case READINGS:
        break;
    }
    ok = is_right(kind, what, f, &r);
    (void)atomic_fetch_add(&b->tally->count[kind][what][r.outcome], 1);
    if (!ok) {
        uint32_t n = atomic_fetch_add(&b->tally->violations, 1);

        if (n < TALLY_TEXTS)
            (void)snprintf(b->tally->text[n], sizeof b->tally->text[0],
                           "codec %u, %s of %s, %s, read %d: outcome %d, code "
                           "%d: %.700s",
                           b->subject.codec, what_name(what), f->name, where,
                           (int)kind, (int)r.outcome, r.code, r.text);
    }
}

/*
 * Flips.
 */

static void flip(struct bench *b, enum reading_kind kind, size_t file,
                 uint64_t at, unsigned bit)
{
    struct image_file *f = &b->subject.now.file[file];
    char where[64];

    (void)snprintf(where, sizeof where, "bit %u of byte %" PRIu64, bit, at);
    f->data[at] ^= (uint8_t)(1u << bit);
    look(b, kind, b->subject.part[file][at], f, where);
    f->data[at] ^= (uint8_t)(1u << bit);
}

void flip_all(struct bench *b, uint64_t bits)
{
    const struct subject *s = &b->subject;

    for (size_t i = 0; i < s->now.count; i++) {
        for (uint64_t at = b->worker; at < s->now.file[i].bytes;
             at += b->workers) {
            unsigned first = (unsigned)draw(b, 8);

            for (unsigned k = 0; s->part[i][at] < PART_RECORD && k < bits; k++)
                flip(b, READ_VERIFY, i, at, (first + k) % 8);
        }
    }
}

void flip_at_random(struct bench *b, enum reading_kind kind, bool owned)
{
    const struct subject *s = &b->subject;

    for (;;) {
        /* A file as often as another: records are small. */
        size_t file = draw(b, s->now.count);
        uint64_t at = draw(b, s->now.file[file].bytes);

        if ((s->part[file][at] < PART_RECORD) == owned) {
            flip(b, kind, file, at, (unsigned)draw(b, 8));
            return;
        }
    }
}

/*
 * Whole files. Those that the newest checkpoint owns are damaged.
 */

/* By every way; the real ones are slow, and take a part of them. */
static void look_all(struct bench *b, int what, const struct image_file *f,
                     const char *where)
{
    look(b, READ_VERIFY, what, f, where);
    look(b, READ_LOAD, what, f, where);
    if (draw(b, 8) == 0)
        look(b, READ_COMMAND, what, f, where);
    if (draw(b, 16) == 0)
        look(b, READ_RANK, what, f, where);
}

/* Where what the newest checkpoint owns of a file ends; 0: it owns nothing. */
static uint64_t owned_end(const struct subject *s, size_t file)
{
    uint64_t end = 0;

    for (uint64_t at = 0; at < s->now.file[file].bytes; at++)
        if (s->part[file][at] < PART_RECORD)
            end = at + 1;
    return end;
}

/* Before the end of what is owned: at every page's ends, and anywhere. */
static void cut(struct bench *b, size_t file, uint64_t end)
{
    struct image_file *f = &b->subject.now.file[file];
    uint64_t whole = f->bytes;
    char where[64];

    for (uint64_t i = 0; i < 64; i++) {
        uint64_t page = i / 3 * PAGE_BYTES;
        uint64_t at = i < 48 ? page + i % 3 - (page > 0) : draw(b, end);

        if (at >= end)
            continue;
        f->bytes = at;
        (void)snprintf(where, sizeof where, "to %" PRIu64 " bytes", at);
        look_all(b, WHAT_CUT, f, where);
    }
    f->bytes = whole;
}

static void lose(struct bench *b, size_t file)
{
    struct image *i = &b->subject.now;
    struct image_file kept = i->file[file];

    i->file[file] = i->file[i->count - 1];
    i->count--;
    look_all(b, WHAT_GONE, &kept, "all of it");
    i->count++;
    i->file[file] = kept;
}

/* Content in place of a file's own. */
static void replace(struct bench *b, int what, size_t file,
                    const struct image_file *by, const char *where)
{
    struct image_file *f = &b->subject.now.file[file], kept = *f;

    f->data = by->data;
    f->bytes = by->bytes;
    look_all(b, what, f, where);
    *f = kept;
}

static void double_it(struct bench *b, size_t file)
{
    const struct image_file *f = &b->subject.now.file[file];
    struct image_file twice = {.bytes = 2 * f->bytes};

    if (image_is_segment(f)) /* what lies behind is nobody's */
        return;
    twice.data = malloc(twice.bytes);
    assert(twice.data);
    memcpy(twice.data, f->data, f->bytes);
    memcpy(twice.data + f->bytes, f->data, f->bytes);
    replace(b, WHAT_DOUBLED, file, &twice, "all of it");
    free(twice.data);
}

/* With every other file of its kind, both ways. */
static void swap_file(struct bench *b, size_t file)
{
    struct image *i = &b->subject.now;

    for (size_t k = 0; k < i->count; k++) {
        const struct image_file *f = &i->file[file], other = i->file[k];
        bool is_alike = strlen(f->name) == strlen(other.name) &&
                        (size_t)(strrchr(f->name, '/') - f->name) ==
                            (size_t)(strrchr(other.name, '/') - other.name);

        if (k == file || !is_alike)
            continue;
        replace(b, WHAT_SWAP, file, &other, other.name);
    }
}

static void replay(struct bench *b, size_t file)
{
    const struct image_file *f = &b->subject.now.file[file];
    const struct image_file *old = image_find(&b->subject.before, f->name);

    if (old &&
        (old->bytes != f->bytes || memcmp(old->data, f->data, f->bytes) != 0))
        replace(b, WHAT_REPLAY, file, old, "before the newest save");
}

/* Two chunks of the newest checkpoint, wherever they lie. */
static void swap_chunks(struct bench *b)
{
    struct subject *s = &b->subject;
    const struct manifest *m = &s->manifest;
    const struct mf_location *l[2] = {&m->location[0], &m->location[1]};
    struct image_file *f[2];
    uint64_t bytes = 0;
    uint8_t *kept;

    assert(m->chunk_count == 2);
    for (int i = 0; i < 2; i++) {
        char name[IMAGE_NAME_BYTES];

        (void)snprintf(name, sizeof name, "local/%.*s",
                       (int)m->file[l[i]->file].name_bytes,
                       m->blob + m->file[l[i]->file].name);
        f[i] = image_find(&s->now, name);
        bytes = max_u64(bytes, chunk_extent_bytes(l[i]->payload_bytes));
    }
    kept = malloc(bytes);
    assert(kept && f[0] && f[1]);
    memcpy(kept, f[0]->data + l[0]->offset, bytes);
    memcpy(f[0]->data + l[0]->offset, f[1]->data + l[1]->offset, bytes);
    look_all(b, WHAT_SWAP, f[0], "the other chunk in place of this one");
    memcpy(f[1]->data + l[1]->offset, kept, bytes);
    look_all(b, WHAT_SWAP, f[1], "two chunks");
    memcpy(f[1]->data + l[1]->offset, f[0]->data + l[0]->offset, bytes);
    memcpy(f[0]->data + l[0]->offset, kept, bytes);
    free(kept);
}

void cut_swap_replay(struct bench *b)
{
    struct subject *s = &b->subject;

    for (size_t i = 0; i < s->now.count; i++) {
        uint64_t end = owned_end(s, i);

        if (end == 0)
            continue;
        cut(b, i, end);
        lose(b, i);
        double_it(b, i);
        swap_file(b, i);
        replay(b, i);
    }
    swap_chunks(b);
}
