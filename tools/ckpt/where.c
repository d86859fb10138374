/*
 * where.c - `ckpt where`: in which file, at which offset, every chunk lies.
 *
 * With a tensor, only its chunks, and which of its bytes each holds.
 */
#include "tools/ckpt/out.h"
#include "tools/ckpt/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const headings[] = {
    "CHUNK",  "RANK", "TIER",  "FILE",    "OFFSET",
    "STORED", "RAW",  "CODEC", "TENSORS",
};

static const char *codec_name(uint32_t codec)
{
    return codec == CODEC_RAW ? "raw" : "planes+lz4";
}

/* Pieces per chunk, and the first tensor of each chunk. */
struct held {
    uint32_t pieces;
    uint32_t tensor;
    uint64_t bytes; /* of the tensor that was asked for */
};

static struct held *look_at_pieces(const struct manifest *m, bool has_tensor,
                                   uint64_t tensor)
{
    struct held *held = calloc(m->chunk_count + 1, sizeof *held);

    for (uint64_t i = 0; held && i < m->piece_count; i++) {
        const struct mf_piece *p = &m->piece[i];
        struct held *h = &held[p->chunk];

        if (h->pieces++ == 0)
            h->tensor = m->region[p->region].tensor;
        if (has_tensor && m->region[p->region].tensor == tensor)
            h->bytes += p->bytes;
    }
    return held;
}

static void tensors_words(const struct manifest *m, const struct held *h,
                          bool has_tensor, char *text, size_t capacity)
{
    const struct mf_tensor *x = &m->tensor[h->tensor];

    if (has_tensor)
        (void)snprintf(text, capacity, "%" PRIu64 " bytes of it", h->bytes);
    else if (h->pieces > 1)
        (void)snprintf(text, capacity, "%.*s and %u more", (int)x->name_bytes,
                       m->blob + x->name, h->pieces - 1);
    else
        (void)snprintf(text, capacity, "%.*s", (int)x->name_bytes,
                       m->blob + x->name);
}

static json_t *as_json(const struct manifest *m, uint64_t chunk,
                       const char *tensors)
{
    const struct mf_chunk *c = &m->chunk[chunk];
    const struct mf_location *l = &m->location[chunk];
    const struct mf_file *f = &m->file[l->file];
    char store[ID_TEXT_BYTES];

    return json_pack(
        "{s:i, s:I, s:i, s:s, s:s, s:s#, s:I, s:I, s:I, s:s, s:s}", "schema", 1,
        "chunk", (json_int_t)chunk, "rank", (int)c->rank, "tier", "nvme",
        "store", id_format(&f->store, store), "file", m->blob + f->name,
        (size_t)f->name_bytes, "offset", (json_int_t)l->offset, "stored_bytes",
        (json_int_t)chunk_extent_bytes(l->payload_bytes), "raw_bytes",
        (json_int_t)c->raw_bytes, "codec", codec_name(l->codec), "tensors",
        tensors);
}

static void as_row(struct out_table *table, const struct manifest *m,
                   uint64_t chunk, const char *tensors)
{
    const struct mf_chunk *c = &m->chunk[chunk];
    const struct mf_location *l = &m->location[chunk];
    const struct mf_file *f = &m->file[l->file];
    char text[32];

    table_cell(table, "%" PRIu64, chunk);
    table_cell(table, "%u", c->rank);
    table_cell(table, "nvme");
    table_cell(table, "%.*s", (int)f->name_bytes, m->blob + f->name);
    table_cell(table, "%" PRIu64, l->offset);
    table_cell(table, "%s",
               size_text(chunk_extent_bytes(l->payload_bytes), text));
    table_cell(table, "%s", size_text(c->raw_bytes, text));
    table_cell(table, "%s", codec_name(l->codec));
    table_cell(table, "%s", tensors);
}

static int print(struct tool *t, const struct manifest *m, bool has_tensor,
                 uint64_t tensor)
{
    struct out_table table = {.heading = headings,
                              .column_count = ARRAY_LEN(headings)};
    struct held *held = look_at_pieces(m, has_tensor, tensor);
    int code = held ? EXIT_FINE : complain(t, EXIT_ERROR, "out of memory");
    char tensors[1200];

    for (uint32_t i = 0; i < 7; i++)
        table.is_right[i] = i != 2 && i != 3;
    for (uint64_t i = 0; held && i < m->chunk_count; i++) {
        if (has_tensor && held[i].bytes == 0)
            continue;
        tensors_words(m, &held[i], has_tensor, tensors, sizeof tensors);
        if (!t->options.json)
            as_row(&table, m, i, tensors);
        else if (!json_line(as_json(m, i, tensors)))
            code = complain(t, EXIT_ERROR, "cannot print");
    }
    free(held);
    if (!t->options.json && table_end(&table))
        return complain(t, EXIT_ERROR, "out of memory");
    return code;
}

int verb_where(struct tool *t)
{
    struct target target;
    struct manifest m;
    void *data;
    uint64_t tensor = 0;
    int code = tool_target(t, &target, &data, &m);

    if (code == 0 && target.tensor)
        code = tool_tensor(t, &m, target.tensor, &tensor);
    if (code == 0)
        code = print(t, &m, target.tensor != NULL, tensor);
    free(data);
    return code;
}
