/*
 * disk_image.c - trees that share what they have in common (disk.h).
 *
 * A file's bytes are pages with a count of users each, below a table with one:
 * copying a tree copies no bytes, and writing copies the pages that it touches.
 * Each page keeps its digest, so that a tree's hash costs what has changed.
 */
#include "tests/crash/disk.h"

#include "common/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct page {
    uint32_t users;
    bool is_hashed;
    uint64_t hash;
    uint8_t byte[PAGE_BYTES];
};

struct content {
    uint32_t users;
    bool is_hashed;
    uint64_t hash;
    uint64_t bytes;
    uint32_t page_count;
    struct page **page; /* NULL: zeros */
};

static void *grown(void *array, uint32_t *capacity, size_t each)
{
    uint32_t want = *capacity ? *capacity * 2 : 16;
    void *more = realloc(array, want * each);

    assert(more);
    *capacity = want;
    return more;
}

/*
 * Contents.
 */

static void page_drop(struct page *p)
{
    if (p && --p->users == 0)
        free(p);
}

static void content_drop(struct content *c)
{
    if (!c || --c->users > 0)
        return;
    for (uint32_t i = 0; i < c->page_count; i++)
        page_drop(c->page[i]);
    free((void *)c->page);
    free(c);
}

/* A table of our own. */
static struct content *content_own(struct content **at)
{
    struct content *old = *at, *c = calloc(1, sizeof *c);

    assert(c);
    if (old && old->users == 1) {
        free(c);
        old->is_hashed = false;
        return old;
    }
    c->users = 1;
    if (old) {
        c->bytes = old->bytes;
        c->page_count = old->page_count;
        c->page = malloc((size_t)old->page_count * sizeof *c->page + 1);
        assert(c->page);
        for (uint32_t i = 0; i < c->page_count; i++) {
            c->page[i] = old->page[i];
            if (c->page[i])
                c->page[i]->users++;
        }
        content_drop(old);
    }
    *at = c;
    return c;
}

static void content_room(struct content *c, uint64_t bytes)
{
    uint32_t pages = (uint32_t)((bytes + PAGE_BYTES - 1) / PAGE_BYTES);
    struct page **table;

    if (bytes <= c->bytes)
        return;
    c->bytes = bytes;
    if (pages <= c->page_count)
        return;
    table = realloc((void *)c->page, pages * sizeof *table);
    assert(table);
    memset((void *)(table + c->page_count), 0,
           (pages - c->page_count) * sizeof *table);
    c->page = table;
    c->page_count = pages;
}

static struct page *page_own(struct page **at)
{
    struct page *p;

    if (*at && (*at)->users == 1) {
        (*at)->is_hashed = false;
        return *at;
    }
    p = calloc(1, sizeof *p);
    assert(p);
    p->users = 1;
    if (*at)
        memcpy(p->byte, (*at)->byte, PAGE_BYTES);
    page_drop(*at);
    *at = p;
    return p;
}

uint64_t content_size(const struct content *c)
{
    return c ? c->bytes : 0;
}

void content_read(const struct content *c, uint64_t off, void *to, size_t bytes)
{
    uint8_t *out = to;

    while (bytes > 0) {
        size_t within = off % PAGE_BYTES;
        size_t n = min_u64(bytes, PAGE_BYTES - within);
        const struct page *p = c->page[off / PAGE_BYTES];

        if (p)
            memcpy(out, p->byte + within, n);
        else
            memset(out, 0, n);
        out += n;
        off += n;
        bytes -= n;
    }
}

void content_write(struct content **at, uint64_t off, const void *from,
                   size_t bytes, const uint64_t *sectors)
{
    struct content *c = content_own(at);
    const uint8_t *in = from;

    content_room(c, off + bytes);
    for (size_t done = 0; done < bytes;) {
        size_t sector = done / SECTOR_BYTES;
        size_t within = (off + done) % PAGE_BYTES;
        size_t n = min_u64(bytes - done, PAGE_BYTES - within);

        if (sectors) /* offsets of torn writes are whole sectors */
            n = min_u64(n, SECTOR_BYTES);
        if (!sectors || (sectors[sector / 64] >> (sector % 64) & 1)) {
            struct page *p = page_own(&c->page[(off + done) / PAGE_BYTES]);

            memcpy(p->byte + within, in + done, n);
        }
        done += n;
    }
}

void content_resize(struct content **at, uint64_t bytes)
{
    struct content *c = content_own(at);
    uint64_t within = bytes % PAGE_BYTES;
    uint32_t pages = (uint32_t)((bytes + PAGE_BYTES - 1) / PAGE_BYTES);

    content_room(c, bytes);
    for (uint32_t i = pages; i < c->page_count; i++) {
        page_drop(c->page[i]);
        c->page[i] = NULL;
    }
    c->page_count = (uint32_t)min_u64(c->page_count, pages);
    if (within && c->page_count == pages && c->page[pages - 1])
        memset(page_own(&c->page[pages - 1])->byte + within, 0,
               PAGE_BYTES - within);
    c->bytes = bytes;
}

static uint64_t content_hash(struct content *c)
{
    static const uint8_t zeros[PAGE_BYTES];
    uint64_t *all;

    if (!c)
        return 0;
    if (c->is_hashed)
        return c->hash;
    all = malloc((c->page_count + (size_t)1) * sizeof *all);
    assert(all);
    for (uint32_t i = 0; i < c->page_count; i++) {
        struct page *p = c->page[i];

        if (p && !p->is_hashed)
            p->hash = hash_64(p->byte, PAGE_BYTES);
        if (p)
            p->is_hashed = true;
        all[i] = p ? p->hash : hash_64(zeros, PAGE_BYTES);
    }
    all[c->page_count] = c->bytes;
    c->hash = hash_64(all, (c->page_count + (size_t)1) * sizeof *all);
    c->is_hashed = true;
    free(all);
    return c->hash;
}

/*
 * Trees.
 */

uint32_t image_add_node(struct image *image, bool is_folder)
{
    if (image->node_count == image->node_capacity)
        image->node =
            grown(image->node, &image->node_capacity, sizeof *image->node);
    image->node[image->node_count] = (struct disk_node){.is_folder = is_folder};
    return image->node_count++;
}

void image_init(struct image *image)
{
    *image = (struct image){0};
    (void)image_add_node(image, true);
}

void image_copy(struct image *to, const struct image *from)
{
    *to = (struct image){.node_count = from->node_count,
                         .node_capacity = from->node_count};
    to->node = malloc(from->node_count * sizeof *to->node);
    assert(to->node);
    memcpy(to->node, from->node, from->node_count * sizeof *to->node);
    for (uint32_t i = 0; i < to->node_count; i++) {
        struct disk_node *n = &to->node[i];
        const struct disk_entry *old = n->entry;

        if (n->content)
            n->content->users++;
        n->entry_capacity = n->entry_count;
        n->entry = NULL;
        if (n->entry_count == 0)
            continue;
        n->entry = malloc(n->entry_count * sizeof *n->entry);
        assert(n->entry);
        memcpy(n->entry, old, n->entry_count * sizeof *n->entry);
    }
}

void image_free(struct image *image)
{
    for (uint32_t i = 0; i < image->node_count; i++) {
        content_drop(image->node[i].content);
        free(image->node[i].entry);
    }
    free(image->node);
    *image = (struct image){0};
}

uint32_t image_find(const struct image *image, uint32_t folder,
                    const char *name)
{
    const struct disk_node *n = &image->node[folder];

    for (uint32_t i = 0; i < n->entry_count; i++)
        if (strcmp(n->entry[i].name, name) == 0)
            return n->entry[i].node;
    return UINT32_MAX;
}

void image_remove(struct image *image, uint32_t folder, const char *name)
{
    struct disk_node *n = &image->node[folder];

    for (uint32_t i = 0; i < n->entry_count; i++) {
        if (strcmp(n->entry[i].name, name) != 0)
            continue;
        image->node[n->entry[i].node].links--;
        n->entry[i] = n->entry[--n->entry_count];
        return;
    }
}

static uint64_t tree_hash(const struct image *image, uint32_t folder)
{
    const struct disk_node *n = &image->node[folder];
    uint64_t sum = n->entry_count;

    for (uint32_t i = 0; i < n->entry_count; i++) {
        const struct disk_entry *e = &n->entry[i];
        const struct disk_node *child = &image->node[e->node];
        uint64_t pair[3] = {hash_64(e->name, strlen(e->name)), child->is_folder,
                            0};

        pair[2] = child->is_folder ? tree_hash(image, e->node)
                                   : content_hash(child->content);
        sum += hash_64(pair, sizeof pair);
    }
    return hash_64(&sum, sizeof sum);
}

uint64_t image_hash(const struct image *image)
{
    return tree_hash(image, 0);
}
