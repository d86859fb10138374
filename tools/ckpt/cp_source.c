/*
 * cp_source.c - chunks of a checkpoint from any healthy copy in reach: the
 * local store first, then the remote tier of the home; see cp.h.
 *
 * Whatever was read is checked as it lies (chunk_check()) before anybody may
 * have it. Reads of one call are in flight together.
 */
#include "formats/tier.h"
#include "tools/ckpt/cp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAID_MOST 20

/*
 * What there is.
 */

static int open_far(struct source *s)
{
    s->far = calloc(s->remote.count + 1, sizeof *s->far);
    s->spare = malloc(TIER_SPARE_BYTES);
    if (!s->far || !s->spare)
        return complain(s->tool, EXIT_ERROR, "out of memory");
    for (uint32_t i = 0; i < s->remote.count; i++) {
        struct remote_share *share = &s->remote.share[i];

        if (share->err.code && share->err.code != -ENOENT)
            (void)complain(s->tool, 0, "%s", share->err.text);
        if (share->err.code == 0)
            share->err.code = segments_open_remote(
                s->tool, s->run, &share->tier, &s->far[i], &share->err);
    }
    return EXIT_FINE;
}

int source_open(struct source *s, struct tool *t, const char *run,
                const struct manifest *m)
{
    int code;

    *s = (struct source){.tool = t, .run = run, .m = m};
    code = remote_shares_get(t, run, m, &s->remote);
    if (code == EXIT_FINE)
        code = open_far(s);
    s->no_local.code = segments_open(t, m, &s->local, &s->no_local);
    return code;
}

void source_close(struct source *s)
{
    if (!s->m)
        return;
    segments_close(&s->local);
    for (uint32_t i = 0; s->far && i < s->remote.count; i++)
        if (s->far[i].store)
            segments_close(&s->far[i]);
    free(s->far);
    free(s->spare);
    remote_shares_free(&s->remote);
    *s = (struct source){0};
}

/*
 * What no copy within reach can have.
 */

/* The node of a local store: a daemon has the id of its store, and says in its
 * member records where it runs. "" if nobody knows. */
static void node_of(struct source *s, const struct id128 *store, char *node,
                    size_t capacity)
{
    char name[RECORD_NAME_BYTES], leaf[RECORD_NAME_BYTES], id[ID_TEXT_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, s->run, "member")};
    _Alignas(8) uint8_t data[4096];
    struct record_member member;
    struct err err;

    *node = '\0';
    (void)id_format(store, id);
    if (store_run(s->tool->home, &list) < 0)
        return;
    for (size_t i = 0; i < list.names.count && !*node; i++) {
        struct store_req get = {
            .op = STORE_GET, .name = name, .buf = data, .len = sizeof data};
        int64_t n;

        if (!strstr(list.names.name[i], id))
            continue;
        (void)snprintf(leaf, sizeof leaf, "member/%.400s", list.names.name[i]);
        (void)name_run(name, s->run, leaf);
        n = store_run(s->tool->home, &get);
        if (n < 0 || record_member_decode(data, (size_t)n, &member, &err))
            continue;
        (void)snprintf(node, capacity, " of node %.255s", member.host);
        record_member_fini(&member);
    }
    store_names_free(&list.names);
}

/* Is a file of the first tier out of reach, or gone? */
static bool is_out_of_reach(struct source *s, uint32_t file)
{
    struct err err = s->no_local;
    int rc = err.code;

    if (rc == 0)
        rc = segments_get(&s->local, file, &err);
    return rc == -ENOENT || rc == -EXDEV;
}

bool source_is_near(struct source *s, uint64_t chunk)
{
    return !is_out_of_reach(s, s->m->location[chunk].file);
}

static int out_of_reach(struct source *s, const struct id128 *store,
                        uint64_t chunks)
{
    const struct manifest_info *info = &s->m->info;
    char node[300], id[ID_TEXT_BYTES];

    node_of(s, store, node, sizeof node);
    return complain(s->tool, EXIT_PARTIAL,
                    "%s@%" PRIu64 "/%u: %" PRIu64
                    " chunks are out of reach, in local store %s%s, and not in "
                    "the remote tier%s%s: repeat this there (--local)",
                    s->run, info->id.step, info->id.generation, chunks,
                    id_format(store, id), node, s->no_local.code ? "; " : "",
                    s->no_local.code ? s->no_local.text : "");
}

int source_reach(struct source *s, uint32_t share)
{
    const struct manifest *m = s->m;
    uint64_t *missing; /* chunks by file */
    int code = EXIT_FINE;

    if (!s->remote.share[share].err.code)
        return EXIT_FINE;
    missing = calloc(m->file_count + 1, sizeof *missing);
    if (!missing)
        return complain(s->tool, EXIT_ERROR, "out of memory");
    for (uint64_t i = 0; i < m->rank_count; i++) {
        const struct mf_rank *r = &m->rank[i];

        if (!id_equal(&r->daemon, &s->remote.share[share].daemon))
            continue;
        for (uint64_t k = 0; k < r->chunk_count; k++)
            missing[m->location[r->first_chunk + k].file]++;
    }
    for (uint32_t i = 0; i < m->file_count; i++) {
        uint64_t chunks = 0;

        if (!missing[i] || !is_out_of_reach(s, i))
            continue;
        for (uint32_t k = i; k < m->file_count; k++) {
            if (!id_equal(&m->file[k].store, &m->file[i].store))
                continue;
            chunks += is_out_of_reach(s, k) ? missing[k] : 0;
            missing[k] = 0; /* said with this one */
        }
        code = out_of_reach(s, &m->file[i].store, chunks);
    }
    free(missing);
    return code;
}

/*
 * Reading.
 */

static void arrived(struct store_req *req, int64_t result)
{
    struct source_want *w = req->owner;

    w->is_done = true;
    w->result = result;
}

/* Of a file that is open or not yet; w->err says what is wrong at once. */
static void read_begin(struct segments *from, const struct mf_location *l,
                       struct source_want *w)
{
    uint64_t bytes = chunk_extent_bytes(l->payload_bytes), size;

    w->is_done = true;
    w->err.code = segments_get(from, l->file, &w->err);
    if (w->err.code)
        return;
    size = from->file[l->file].bytes;
    if (l->offset > size || bytes > size - l->offset) {
        (void)err_set(&w->err, -CKPT_ECORRUPT,
                      "%s/%s: ends before %" PRIu64 ": truncated", from->path,
                      from->file[l->file].name, l->offset + bytes);
        return;
    }
    w->req = (struct store_req){.buf = w->extent,
                                .len = bytes,
                                .off = l->offset,
                                .done = arrived,
                                .owner = w};
    w->is_done = false;
    segments_read(from, l->file, &w->req);
}

static int check_near(const struct source *s, struct source_want *w)
{
    struct chunk_header is;

    manifest_chunk_header(s->m, w->chunk, &is);
    return chunk_check(w->extent, w->req.len, &is, &w->err);
}

static int check_far(const struct source *s, const struct manifest *tier,
                     struct source_want *w)
{
    return tier_unpack(tier, (uint64_t)tier_chunk(tier, s->m, w->chunk), s->m,
                       w->chunk, w->extent, s->spare, &w->err);
}

/* What has come: is it the chunk? */
static void read_end(struct source *s, struct segments *from,
                     const struct mf_location *l, struct source_want *w)
{
    const struct mf_file *f = &from->manifest->file[l->file];
    int rc;

    if (w->err.code)
        return;
    rc = tool_wait(from->store, &w->is_done);
    if (rc == 0 && w->result < 0)
        rc = (int)w->result;
    if (rc)
        (void)err_set(&w->err, rc, "cannot be read: %s", err_text(rc));
    else
        w->err.code = from == &s->local ? check_near(s, w)
                                        : check_far(s, from->manifest, w);
    if (w->err.code)
        (void)err_prefix(&w->err, "%s/%.*s at %" PRIu64, from->path,
                         (int)f->name_bytes, from->manifest->blob + f->name,
                         l->offset);
}

static const struct mf_location *near(const struct source *s,
                                      const struct source_want *w)
{
    return &s->m->location[w->chunk];
}

/* Its share has a table. */
static const struct mf_location *far(const struct source *s,
                                     const struct source_want *w)
{
    const struct manifest *tier = &s->remote.share[w->share].tier;

    return &tier->location[tier_chunk(tier, s->m, w->chunk)];
}

/* The first copy is not good; w->first has said why. */
static void second(struct source *s, struct source_want *w)
{
    w->first = w->err;
    w->err = s->remote.share[w->share].err;
    if (!w->err.code)
        read_begin(&s->far[w->share], far(s, w), w);
}

static bool is_absent(int code)
{
    return code == -ENOENT || code == -EXDEV;
}

static bool is_damage(int code)
{
    return code == -CKPT_ECORRUPT || code == -CKPT_EVERSION || code == -EIO;
}

/* The words of both; a bad copy says more than one that is not there, and what
 * says nothing of a copy (a timeout) more than either. */
static void join(struct source_want *w)
{
    int a = w->first.code, b = w->err.code, code = a;
    struct err both;

    if (is_absent(a) || (is_damage(a) && !is_absent(b)))
        code = b;
    (void)err_set(&both, code, "%.450s; in the remote tier: %.450s",
                  w->first.text, is_absent(b) ? "no copy" : w->err.text);
    w->err = both;
}

static void settle(struct source *s, struct source_want *w)
{
    if (w->err.code) {
        join(w);
        return;
    }
    s->from_remote++;
    if (!is_absent(w->first.code) && s->said++ < SAID_MOST)
        (void)complain(s->tool, 0,
                       "%s; its copy in the remote tier is taken "
                       "(ckpt verify --repair heals what it can)",
                       w->first.text);
}

void source_read(struct source *s, struct source_want *want, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        want[i].err = s->no_local;
        if (!want[i].err.code)
            read_begin(&s->local, near(s, &want[i]), &want[i]);
    }
    for (size_t i = 0; i < count; i++)
        read_end(s, &s->local, near(s, &want[i]), &want[i]);
    for (size_t i = 0; i < count; i++)
        if (want[i].err.code)
            second(s, &want[i]);
    for (size_t i = 0; i < count; i++) {
        if (!want[i].first.code)
            continue;
        if (!want[i].err.code)
            read_end(s, &s->far[want[i].share], far(s, &want[i]), &want[i]);
        settle(s, &want[i]);
    }
}

int source_complain(struct source *s, const struct source_want *want)
{
    int code = EXIT_ERROR;
    char tensors[700];

    if (is_absent(want->err.code))
        code = EXIT_PARTIAL;
    else if (is_damage(want->err.code))
        code = EXIT_CORRUPT;
    manifest_chunk_words(s->m, want->chunk, tensors, sizeof tensors);
    return complain(
        s->tool, code, "%s@%" PRIu64 "/%u: no healthy copy: %s (%s)", s->run,
        s->m->info.id.step, s->m->info.id.generation, want->err.text, tensors);
}
