/*
 * space.c - see space.h.
 *
 * Extents are gathered from `ckpt where` of every checkpoint, sorted, and
 * counted once.
 */
#include "tests/storm/space.h"

#include "tests/storm/proc.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096

struct extent {
    char file[32];
    uint64_t offset, bytes;
};

struct extents {
    struct extent *extent;
    size_t count, capacity;
};

static bool add(struct extents *e, const char *file, uint64_t offset,
                uint64_t bytes)
{
    if (e->count == e->capacity) {
        size_t capacity = 2 * e->capacity + 64;
        struct extent *grown =
            realloc(e->extent, capacity * sizeof(struct extent));

        if (!grown)
            return false;
        e->extent = grown;
        e->capacity = capacity;
    }
    e->extent[e->count] = (struct extent){.offset = offset, .bytes = bytes};
    (void)snprintf(e->extent[e->count].file, sizeof e->extent[0].file, "%s",
                   file);
    e->count++;
    return true;
}

/* Calls take() with each object that a command prints; false when it fails. */
static bool each_object(const char *command,
                        bool (*take)(void *arg, const json_t *object),
                        void *arg)
{
    FILE *in = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own */
    char line[8192];
    bool ok = in != NULL;

    while (ok && fgets(line, sizeof line, in)) {
        json_t *object = json_loads(line, 0, NULL);

        ok = object && take(arg, object);
        json_decref(object);
    }
    return (in ? pclose(in) : -1) == 0 && ok;
}

static uint64_t number(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static bool take_chunk(void *arg, const json_t *object)
{
    const char *file = json_string_value(json_object_get(object, "file"));

    return file && add(arg, file, number(object, "offset"),
                       number(object, "stored_bytes"));
}

struct listing {
    const char *tool, *home;
    struct space *out;
    struct extents extents;
};

static bool take_checkpoint(void *arg, const json_t *object)
{
    struct listing *l = arg;
    size_t before = l->extents.count;
    uint64_t bytes = 0;
    char command[2048];

    (void)snprintf(command, sizeof command,
                   "'%s' where --json --home '%s' storm@%" PRIu64 "/%" PRIu64
                   " 2>/dev/null",
                   l->tool, l->home, number(object, "step"),
                   number(object, "generation"));
    if (!each_object(command, take_chunk, &l->extents))
        return false;
    for (size_t i = before; i < l->extents.count; i++)
        bytes += l->extents.extent[i].bytes;
    l->out->save_bytes = max_u64(l->out->save_bytes, bytes);
    l->out->checkpoints++;
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    int files = strcmp(x->file, y->file);

    if (files)
        return files;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static uint64_t sum(struct extents *e)
{
    uint64_t bytes = 0;

    if (e->count > 0)
        qsort(e->extent, e->count, sizeof *e->extent, compare);
    for (size_t i = 0; i < e->count; i++) {
        bool is_new_file =
            i == 0 || strcmp(e->extent[i].file, e->extent[i - 1].file) != 0;

        if (is_new_file)
            bytes += PAGE;
        if (is_new_file || compare(&e->extent[i], &e->extent[i - 1]) != 0)
            bytes += e->extent[i].bytes;
    }
    return bytes;
}

bool space_look(const char *tool, const char *home, const char *local,
                struct space *out)
{
    struct listing l = {.tool = tool, .home = home, .out = out};
    char text[2048];
    bool ok;

    *out = (struct space){0};
    (void)snprintf(text, sizeof text, "'%s' ls --json --home '%s' storm", tool,
                   home);
    ok = each_object(text, take_checkpoint, &l);
    out->referenced_bytes = sum(&l.extents);
    free(l.extents.extent);
    (void)snprintf(text, sizeof text, "%s/seg", local);
    out->allocated_bytes = proc_allocated_bytes(text);
    return ok;
}
