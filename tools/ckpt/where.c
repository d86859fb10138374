/*
 * where.c - `ckpt where`: in which file, at which offset, every chunk lies, in
 * each tier.
 *
 * With a tensor, only its chunks, and which of its bytes each holds. It is
 * records that are read; of the local store also whether it has those files
 * still, as they may have been let go, or lie on another node. Whether bytes
 * are good is asked by `ckpt verify`.
 */
#include "tools/ckpt/out.h"
#include "tools/ckpt/remote.h"
#include "tools/ckpt/segments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const headings[] = {
    "CHUNK",  "RANK", "TIER",  "FILE",    "OFFSET",
    "STORED", "RAW",  "CODEC", "TENSORS", "HERE",
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

/*
 * The local store that is looked into.
 */

struct local {
    struct segments segments;
    struct err err;          /* why there is none */
    uint64_t wanted, absent; /* chunks */
    struct err first;        /* of the absent ones */
};

static void local_open(struct local *local, const struct tool *t,
                       const struct manifest *m)
{
    *local = (struct local){0};
    if (segments_open(t, m, &local->segments, &local->err) == 0)
        local->err.code = 0;
}

static int local_look(struct local *local, uint64_t chunk, struct err *err)
{
    struct segments *s = &local->segments;
    const struct mf_location *l = &s->manifest->location[chunk];
    uint64_t bytes = chunk_extent_bytes(l->payload_bytes), size;
    int rc;

    if (local->err.code) {
        *err = local->err;
        return err->code == -ENOENT ? -EXDEV : err->code;
    }
    rc = segments_get(s, l->file, err);
    if (rc)
        return rc;
    size = s->file[l->file].bytes;
    if (l->offset > size || bytes > size - l->offset)
        return err_set(err, -ENODATA, "%s: it ends before that",
                       s->file[l->file].name);
    return 0;
}

/* Is the chunk's file here? */
static const char *local_word(struct local *local, uint64_t chunk)
{
    struct err err = {0};
    int rc = local_look(local, chunk, &err);

    local->wanted++;
    if (rc == 0)
        return "yes";
    if (local->absent++ == 0)
        local->first = err;
    switch (-rc) {
    case EXDEV:
        return "no";
    case ENOENT:
        return "gone";
    case ESTALE:
        return "recycled";
    case ENODATA:
        return "cut";
    default:
        return "unreadable";
    }
}

/* What is not here is no failure, unless it was asked for. */
static int local_tell(struct tool *t, const struct local *local)
{
    bool is_asked = t->options.tier == TIER_NVME;

    if (!local->absent)
        return EXIT_FINE;
    return complain(t, is_asked ? EXIT_PARTIAL : EXIT_FINE,
                    "%" PRIu64 " of %" PRIu64
                    " chunks are not in the local store here; the first: %s",
                    local->absent, local->wanted, local->first.text);
}

/*
 * Printing.
 */

/* A chunk in one tier. */
struct place {
    const char *tier;
    const char *here;         /* NULL: not looked */
    const struct manifest *m; /* whose files and locations these are */
    uint64_t at;              /* the chunk there */
    char file[RUN_NAME_MAX + 272];
};

static struct place nvme_place(const struct manifest *m, struct local *local,
                               uint64_t chunk)
{
    struct place p = {
        .tier = "nvme", .m = m, .at = chunk, .here = local_word(local, chunk)};
    const struct mf_file *f = &m->file[m->location[chunk].file];

    (void)snprintf(p.file, sizeof p.file, "%.*s", (int)f->name_bytes,
                   m->blob + f->name);
    return p;
}

/* Its file is named below the home. */
static struct place remote_place(const struct remote_shares *s,
                                 const struct remote_share *share, uint64_t at)
{
    const struct manifest *tier = &share->tier;
    const struct mf_file *f = &tier->file[tier->location[at].file];
    struct place p = {.tier = "remote", .m = tier, .at = at};

    (void)snprintf(p.file, sizeof p.file, "runs/%s/%.*s", s->run,
                   (int)f->name_bytes, tier->blob + f->name);
    return p;
}

static json_t *as_json(const struct place *p, uint64_t chunk,
                       const char *tensors)
{
    const struct mf_chunk *c = &p->m->chunk[p->at];
    const struct mf_location *l = &p->m->location[p->at];
    char store[ID_TEXT_BYTES];

    return json_pack("{s:i, s:I, s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s, "
                     "s:s?}",
                     "schema", 1, "chunk", (json_int_t)chunk, "rank",
                     (int)c->rank, "tier", p->tier, "store",
                     id_format(&p->m->file[l->file].store, store), "file",
                     p->file, "offset", (json_int_t)l->offset, "stored_bytes",
                     (json_int_t)chunk_extent_bytes(l->payload_bytes),
                     "raw_bytes", (json_int_t)c->raw_bytes, "codec",
                     codec_name(l->codec), "tensors", tensors, "here", p->here);
}

static void as_row(struct out_table *table, const struct place *p,
                   uint64_t chunk, const char *tensors)
{
    const struct mf_chunk *c = &p->m->chunk[p->at];
    const struct mf_location *l = &p->m->location[p->at];
    char text[32];

    table_cell(table, "%" PRIu64, chunk);
    table_cell(table, "%u", c->rank);
    table_cell(table, "%s", p->tier);
    table_cell(table, "%s", p->file);
    table_cell(table, "%" PRIu64, l->offset);
    table_cell(table, "%s",
               size_text(chunk_extent_bytes(l->payload_bytes), text));
    table_cell(table, "%s", size_text(c->raw_bytes, text));
    table_cell(table, "%s", codec_name(l->codec));
    table_cell(table, "%s", tensors);
    table_cell(table, "%s", p->here ? p->here : "-");
}

/* In every tier that is wanted and has it. False: no memory to print. */
static bool print_chunk(struct tool *t, const struct remote_shares *remote,
                        struct local *local, struct out_table *table,
                        uint64_t chunk, const char *tensors)
{
    uint64_t at;
    const struct remote_share *share = remote_share_of(remote, chunk, &at);
    struct place places[2];
    size_t count = 0;
    bool ok = true;

    if (t->options.tier != TIER_REMOTE)
        places[count++] = nvme_place(remote->m, local, chunk);
    if (t->options.tier != TIER_NVME && share->err.code == 0)
        places[count++] = remote_place(remote, share, at);
    for (size_t i = 0; i < count; i++)
        if (t->options.json)
            ok = ok && json_line(as_json(&places[i], chunk, tensors));
        else
            as_row(table, &places[i], chunk, tensors);
    return ok;
}

static int print(struct tool *t, const struct remote_shares *remote,
                 struct local *local, bool has_tensor, uint64_t tensor)
{
    struct out_table table = {.heading = headings,
                              .column_count = ARRAY_LEN(headings)};
    const struct manifest *m = remote->m;
    struct held *held = look_at_pieces(m, has_tensor, tensor);
    int code = held ? EXIT_FINE : complain(t, EXIT_ERROR, "out of memory");
    char tensors[1200];

    for (uint32_t i = 0; i < 7; i++)
        table.is_right[i] = i != 2 && i != 3;
    for (uint64_t i = 0; held && i < m->chunk_count; i++) {
        if (has_tensor && held[i].bytes == 0)
            continue;
        tensors_words(m, &held[i], has_tensor, tensors, sizeof tensors);
        if (!print_chunk(t, remote, local, &table, i, tensors))
            code = complain(t, EXIT_ERROR, "cannot print");
    }
    free(held);
    if (!t->options.json && table_end(&table))
        return complain(t, EXIT_ERROR, "out of memory");
    return code;
}

/* A table that cannot be read hides places; that there is none is no failure,
 * unless they were asked for. */
static int tell_shares(struct tool *t, const struct remote_shares *s)
{
    bool is_asked = t->options.tier == TIER_REMOTE;
    int code = EXIT_FINE;

    for (uint32_t i = 0; i < s->count && t->options.tier != TIER_NVME; i++) {
        const struct err *err = &s->share[i].err;

        if (err->code && (err->code != -ENOENT || is_asked))
            code = complain(t, exit_code_of(err->code), "%s", err->text);
    }
    return code;
}

int verb_where(struct tool *t)
{
    struct remote_shares remote = {0};
    struct local local = {0};
    struct target target;
    struct manifest m;
    void *data;
    uint64_t tensor = 0;
    int code = tool_target(t, &target, &data, &m);

    if (code == 0 && target.tensor)
        code = tool_tensor(t, &m, target.tensor, &tensor);
    if (code == 0)
        code = remote_shares_get(t, target.run, &m, &remote);
    if (code == 0) {
        int failed = tell_shares(t, &remote);

        if (t->options.tier != TIER_REMOTE)
            local_open(&local, t, &m);
        code = print(t, &remote, &local, target.tensor != NULL, tensor);
        code = code ? code : failed;
        code = code ? code : local_tell(t, &local);
    }
    if (local.segments.manifest)
        segments_close(&local.segments);
    remote_shares_free(&remote);
    free(data);
    return code;
}
