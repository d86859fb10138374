/*
 * cp_adopt.c - files that a daemon had copied before it came to its table; see
 * cp.h.
 *
 * It may have encoded chunks, which the table that is planned from the manifest
 * does not know. Their headers tell. Whether they are good is seen when the
 * files are looked at; what does not read as a daemon leaves it is written anew
 * as it was planned.
 */
#include "tools/ckpt/cp.h"

#include <stdio.h>
#include <stdlib.h>

/* A file that is open, if there is anything to open. */
struct peek {
    struct store *store;
    struct store_seg *seg;
    char name[RECORD_NAME_BYTES];
    _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
};

static bool page_get(struct peek *p, uint64_t at)
{
    struct store_req get = {.op = p->seg ? STORE_READ : STORE_BLOB_GET,
                            .name = p->name,
                            .seg = p->seg,
                            .buf = p->page,
                            .len = PAGE_BYTES,
                            .off = at};

    return store_run(p->store, &get) >= 0;
}

/* The rows of all of its chunks, or of none. */
static void rows_get(struct peek *p, const struct cp *cp,
                     const struct manifest *table, uint32_t file,
                     struct mf_location *row)
{
    uint64_t first, count = tier_file_chunks(table, file, &first);
    uint64_t at = PAGE_BYTES, i = first;
    struct err err;

    while (i < first + count && page_get(p, at) &&
           tier_row(&cp->m, tier_source(table, &cp->m, i), p->page, &row[i],
                    &err) == 0) {
        row[i].offset = at;
        at += chunk_extent_bytes(row[i++].payload_bytes);
    }
    if (i < first + count)
        memcpy(&row[first], &table->location[first], count * sizeof *row);
}

static void file_peek(const struct cp *cp, const struct manifest *table,
                      uint32_t file, struct mf_location *row)
{
    const struct mf_file *f = &table->file[file];
    struct peek p = {.store = cp->to.home};
    struct store_req open = {
        .op = STORE_SEG_OPEN, .flags = STORE_SEG_NOLOCK, .name = p.name};
    char leaf[256];

    (void)snprintf(leaf, sizeof leaf, "%.*s", (int)f->name_bytes,
                   table->blob + f->name);
    (void)name_run(p.name, cp->run, leaf);
    if (p.store->limits.max_io_bytes > 0) {
        if (store_run(p.store, &open) < 0)
            return;
        p.seg = open.seg;
    }
    rows_get(&p, cp, table, file, row);
    open.op = STORE_SEG_CLOSE;
    if (p.seg && store_run(p.store, &open) < 0)
        (void)complain(&cp->to, 0, "%s: cannot be closed", p.name);
}

int dest_adopt(struct cp *cp, void **data, struct manifest *table)
{
    struct mf_location *row = calloc(table->chunk_count + 1, sizeof *row);
    void *planned = *data;
    struct err err;
    size_t bytes;
    int rc;

    if (!row)
        return complain(&cp->to, EXIT_ERROR, "out of memory");
    memcpy(row, table->location, table->chunk_count * sizeof *row);
    for (uint32_t i = 0; i < table->file_count; i++)
        file_peek(cp, table, i, row);
    rc = tier_rebuild(table, row, NULL, data, &bytes, &err);
    free(row);
    if (rc)
        return complain(&cp->to, exit_code_of(rc), "%s", err.text);
    free(planned);
    rc = manifest_open(*data, bytes, table, &err);
    return rc ? complain(&cp->to, exit_code_of(rc), "%s", err.text) : EXIT_FINE;
}
