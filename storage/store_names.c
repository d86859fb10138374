/*
 * store_names.c - names: which are good, and the sorted list that answers
 * STORE_LIST.
 *
 * A builder gathers NUL-terminated names end to end in one growing block;
 * store_names_finish() then makes the array of pointers, sorts it, and drops
 * doubles.
 */
#include "storage/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool char_is_good(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool store_name_is_good(const char *name)
{
    bool at_start = true;
    size_t i = 0;

    if (!name)
        return false;
    for (; i <= STORE_NAME_MAX && name[i]; i++) {
        if (name[i] == '/') {
            if (at_start)
                return false;
            at_start = true;
            continue;
        }
        if (!char_is_good(name[i]) || (at_start && name[i] == '.'))
            return false;
        at_start = false;
    }
    return i > 0 && i <= STORE_NAME_MAX && !at_start;
}

bool store_name_is_visible(const char *component)
{
    return store_name_is_good(component) && !strchr(component, '/');
}

int store_names_add(struct store_names_builder *builder, const char *name)
{
    size_t bytes = strlen(name) + 1;

    if (builder->bytes + bytes > builder->capacity) {
        size_t capacity = 2 * (builder->capacity + bytes) + 1024;
        char *block = realloc(builder->block, capacity);

        if (!block)
            return -ENOMEM;
        builder->block = block;
        builder->capacity = capacity;
    }
    memcpy(builder->block + builder->bytes, name, bytes);
    builder->bytes += bytes;
    builder->count++;
    return 0;
}

static int name_compare(const void *a, const void *b)
{
    char *const *left = a, *const *right = b;

    return strcmp(*left, *right);
}

int store_names_finish(struct store_names_builder *builder,
                       struct store_names *out)
{
    size_t kept = 0;
    char **name, *at = builder->block;

    *out = (struct store_names){0};
    if (builder->count == 0) {
        store_names_fini(builder);
        return 0;
    }
    name = calloc(builder->count, sizeof *name);
    if (!name) {
        store_names_fini(builder);
        return -ENOMEM;
    }
    for (size_t i = 0; i < builder->count; i++) {
        name[i] = at;
        at += strlen(at) + 1;
    }
    qsort(name, builder->count, sizeof *name, name_compare);
    for (size_t i = 0; i < builder->count; i++) {
        if (kept == 0 || strcmp(name[kept - 1], name[i]) != 0)
            name[kept++] = name[i];
    }
    *out = (struct store_names){builder->block, name, kept};
    *builder = (struct store_names_builder){0};
    return 0;
}

void store_names_fini(struct store_names_builder *builder)
{
    free(builder->block);
    *builder = (struct store_names_builder){0};
}

void store_names_free(struct store_names *names)
{
    if (!names)
        return;
    free(names->block);
    free(names->name);
    *names = (struct store_names){0};
}

int store_seg_init(struct store_seg *seg, const char *name, uint64_t size)
{
    *seg = (struct store_seg){.name = strdup(name), .size = size};
    return seg->name ? 0 : -ENOMEM;
}

void store_seg_fini(struct store_seg *seg)
{
    free(seg->name);
    seg->name = NULL;
}
