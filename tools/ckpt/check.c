/*
 * check.c - see check.h.
 *
 * A few reads are kept in flight; what has arrived is digested in the same
 * thread, which is faster than a drive delivers.
 */
#include "tools/ckpt/check.h"
#include "ckptd/engine/remote_read.h"
#include "common/array.h"
#include "formats/codec.h"
#include "tools/ckpt/remote.h"
#include "tools/ckpt/segments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH     8
#define SAID_MOST 20

struct lane {
    struct checking *checking;
    struct store_req req;
    uint8_t *extent;
    uint64_t chunk;
    uint32_t tries;
    bool is_busy;
};

/* Files in one place: the local store, or a daemon's in the remote tier. */
struct share {
    struct segments segments;
    bool is_told; /* of remote ones without a table: why */
};

struct checking {
    struct tool *tool;
    const char *run;
    const struct manifest *m;
    const struct check_wish *wish;
    struct share *share; /* one, or as many as wish->remote has */
    uint32_t share_count;
    struct store *store; /* of all of them */
    struct progress *progress;
    struct check_result *out;
    struct lane lane[DEPTH];
    uint8_t *raw, *scratch;
    uint64_t next_chunk;
    uint32_t busy;
    uint32_t said; /* failures */
    struct pace pace;
};

static void note_bad(struct checking *k, uint64_t chunk)
{
    struct chunk_list *bad = k->wish->bad;
    uint64_t *grown;

    if (!bad)
        return;
    grown = array_room(bad->chunk, bad->count, &bad->capacity, sizeof *grown);
    if (!grown)
        return; /* one more to be found by the next turn */
    bad->chunk = grown;
    bad->chunk[bad->count++] = chunk;
}

/* Of this process, not of the bytes: what it means for them is not known. */
static bool is_ours(int code)
{
    return code == -EACCES || code == -EPERM || code == -ENOMEM ||
           code == -EMFILE || code == -ENFILE || code == -ETIMEDOUT;
}

static const char *advice_for(int code)
{
    if (code == -EACCES || code == -EPERM)
        return "; run as their owner, or let this user read them (chmod u+rX, "
               "a+rX)";
    return "";
}

/* Where a chunk lies in the tier that is read. */
struct place {
    struct share *share;
    uint64_t at;           /* the chunk in share->segments.manifest */
    const struct err *why; /* NULL; or why it is in none of its files */
};

static struct place place_of(const struct checking *k, uint64_t chunk)
{
    struct place p = {.share = k->share, .at = chunk};
    const struct remote_share *s;

    if (k->wish->tier == CHECK_NVME)
        return p;
    s = remote_share_of(k->wish->remote, chunk, &p.at);
    p.share = &k->share[s - k->wish->remote->share];
    if (s->err.code)
        p.why = &s->err;
    return p;
}

static const struct mf_location *location_of(const struct place *p)
{
    return &p->share->segments.manifest->location[p->at];
}

/* "FILE at OFFSET: ". */
static void place_words(const struct place *p, char *text, size_t capacity)
{
    const struct manifest *m = p->share->segments.manifest;
    const struct mf_location *l;

    *text = '\0';
    if (p->why)
        return;
    l = location_of(p);
    (void)snprintf(text, capacity, "%.*s at %" PRIu64 ": ",
                   (int)m->file[l->file].name_bytes,
                   m->blob + m->file[l->file].name, l->offset);
}

/* NULL: it is of no interest. */
static struct check_finding *finding_of(const struct checking *k,
                                        const struct place *p)
{
    bool is_wanted = k->wish->tier == CHECK_REMOTE && k->wish->found;

    return is_wanted ? &k->wish->found[p->share - k->share] : NULL;
}

static void count_finding(struct checking *k, const struct place *p,
                          const struct err *err, const char *words)
{
    struct check_finding *f = finding_of(k, p);

    if (!f)
        return;
    if (is_ours(err->code))
        f->unread++;
    else if (f->bad++ == 0)
        (void)snprintf(f->first, sizeof f->first, "%.*s",
                       (int)sizeof f->first - 1, words);
}

/* What holds for a whole share, or a whole file, is said once: where that is
 * noted. NULL: it is about this chunk alone. */
static bool *told_of(const struct place *p)
{
    struct segments_file *f;

    if (p->why)
        return &p->share->is_told;
    f = &p->share->segments.file[location_of(p)->file];
    return f->failed ? &f->is_told : NULL;
}

/* Whose bytes it is about. */
static void name_bytes(const struct checking *k, const struct place *p,
                       uint64_t chunk, char *text, size_t capacity)
{
    char tensors[700];

    manifest_chunk_words(k->m, chunk, tensors, sizeof tensors);
    (void)snprintf(text, capacity, "%s%s", p->why ? "" : tensors,
                   p->why       ? "and all else of its daemon"
                   : told_of(p) ? ", and all else of this file"
                                : "");
}

static void say(struct checking *k, uint64_t chunk, const struct place *p,
                const struct err *err)
{
    struct check_result *out = k->out;
    bool *told = told_of(p);
    char place[400], whose[800], words[2400];

    place_words(p, place, sizeof place);
    name_bytes(k, p, chunk, whose, sizeof whose);
    (void)snprintf(words, sizeof words, "%s@%" PRIu64 "/%u: %s%s%s (%s)",
                   k->run, k->m->info.id.step, k->m->info.id.generation, place,
                   err->text, advice_for(err->code), whose);
    count_finding(k, p, err, words);
    if (told && *told)
        return;
    if (told)
        *told = true;
    if (k->said++ == 0)
        (void)snprintf(out->first, sizeof out->first, "%.*s",
                       (int)sizeof out->first - 1, words);
    if (k->said <= SAID_MOST)
        (void)complain(k->tool, 0, "%s", words);
    else if (k->said == SAID_MOST + 1)
        (void)complain(k->tool, 0, "more failures are counted only");
}

static void failed(struct checking *k, uint64_t chunk, const struct place *p,
                   const struct err *err)
{
    bool is_replaced = k->wish->good && k->wish->good[chunk];
    bool is_let_go = err->code == -ESTALE && (is_replaced || k->wish->may_lack);
    bool is_missing = err->code == -ENOENT || err->code == -EXDEV || is_let_go;
    struct check_result *out = k->out;

    if (is_ours(err->code)) {
        out->unread++;
    } else {
        note_bad(k, chunk);
        *(is_missing ? &out->missing : &out->corrupt) += 1;
        out->elsewhere += err->code == -EXDEV;
    }
    if (is_missing && is_replaced)
        out->replaced++;
    else
        say(k, chunk, p, err);
}

static void is_good(struct checking *k, uint64_t chunk)
{
    if (k->wish->good)
        k->wish->good[chunk] = true;
}

static int check_content(struct checking *k, const struct chunk_header *want,
                         const uint8_t *payload, struct err *err)
{
    const uint8_t *raw = payload;
    struct digest content;

    if (want->codec != CODEC_RAW) {
        if (codec_decode(want->codec, want->codec_param, payload,
                         want->payload_bytes, k->raw, want->raw_bytes,
                         k->scratch))
            return err_set(err, -CKPT_ECORRUPT, "its payload does not decode");
        raw = k->raw;
    }
    content = hash_128(raw, want->raw_bytes);
    return digest_equal(&content, &want->content)
               ? 0
               : err_set(err, -CKPT_ECORRUPT,
                         "its content does not match its digest");
}

/* A home that failed to answer is asked again before it is believed. */
static bool is_asked_again(struct lane *lane, int64_t result)
{
    struct checking *k = lane->checking;
    struct place place = place_of(k, lane->chunk);

    if (k->wish->tier != CHECK_REMOTE || !remote_asks_again(result) ||
        ++lane->tries == REMOTE_TRIES)
        return false;
    segments_read(&place.share->segments, location_of(&place)->file,
                  &lane->req);
    return true;
}

static void chunk_arrived(struct store_req *req, int64_t result)
{
    struct lane *lane = req->owner;
    struct checking *k = lane->checking;
    struct place place = place_of(k, lane->chunk);
    struct chunk_header want;
    struct err err = {0};
    int rc;

    if (is_asked_again(lane, result))
        return;
    lane->is_busy = false;
    k->busy--;
    manifest_chunk_header(place.share->segments.manifest, place.at, &want);
    if (result < 0)
        rc = err_set(&err, (int)result, "cannot be read: %s",
                     err_text((int)result));
    else
        rc = chunk_check(lane->extent, req->len, &want, &err);
    if (rc == 0 && k->wish->level == CHECK_DEEP)
        rc = check_content(k, &want, lane->extent + PAGE_BYTES, &err);
    if (rc)
        failed(k, lane->chunk, &place, &err);
    else
        is_good(k, lane->chunk);
    k->out->chunks++;
    k->out->bytes += req->len;
    progress_add(k->progress, req->len);
}

/* Its file is there and long enough. */
static int look(const struct place *p, uint64_t bytes, struct err *err)
{
    struct segments *segments = &p->share->segments;
    const struct mf_location *l;
    uint64_t size;
    int rc;

    if (p->why) {
        *err = *p->why;
        return err->code;
    }
    l = location_of(p);
    rc = segments_get(segments, l->file, err);
    if (rc)
        return rc;
    size = segments->file[l->file].bytes;
    if (l->payload_bytes > CHUNK_BYTES_MAX || l->offset > size ||
        bytes > size - l->offset)
        return err_set(err, -CKPT_ECORRUPT,
                       "lies behind the end of its file: truncated");
    return 0;
}

static void lane_start(struct checking *k, struct lane *lane)
{
    uint64_t chunk = k->next_chunk++;
    struct place place = place_of(k, chunk);
    uint64_t bytes = 0;
    struct err err = {0};

    if (!place.why)
        bytes = chunk_extent_bytes(location_of(&place)->payload_bytes);
    if (look(&place, bytes, &err)) {
        failed(k, chunk, &place, &err);
        return;
    }
    if (k->wish->level == CHECK_QUICK) {
        is_good(k, chunk);
        return;
    }
    lane->chunk = chunk;
    lane->tries = 0;
    lane->is_busy = true;
    pace_hold(&k->pace, bytes);
    k->busy++;
    lane->req = (struct store_req){.buf = lane->extent,
                                   .len = bytes,
                                   .off = location_of(&place)->offset,
                                   .done = chunk_arrived,
                                   .owner = lane};
    segments_read(&place.share->segments, location_of(&place)->file,
                  &lane->req);
}

static int check_chunks(struct checking *k)
{
    while (k->next_chunk < k->m->chunk_count || k->busy) {
        for (uint32_t i = 0; i < DEPTH; i++) {
            if (k->lane[i].is_busy || k->next_chunk == k->m->chunk_count)
                continue;
            lane_start(k, &k->lane[i]);
        }
        if (k->busy) {
            int rc = store_poll(k->store, -1);

            if (rc < 0 && rc != -EINTR)
                return complain(k->tool, EXIT_ERROR, "%s: %s",
                                k->share->segments.path, err_text(rc));
        }
    }
    return EXIT_FINE;
}

static int memory(struct checking *k)
{
    size_t extent = chunk_extent_bytes(CHUNK_BYTES_MAX);
    bool ok = true;

    for (uint32_t i = 0; i < DEPTH; i++) {
        k->lane[i].checking = k;
        k->lane[i].extent = aligned_alloc(PAGE_BYTES, extent);
        ok = ok && k->lane[i].extent;
    }
    k->raw = malloc(CHUNK_BYTES_MAX);
    k->scratch = malloc(codec_scratch_bytes(CHUNK_BYTES_MAX));
    return ok && k->raw && k->scratch
               ? EXIT_FINE
               : complain(k->tool, EXIT_ERROR, "out of memory");
}

bool check_is_all_good(const bool *good, uint64_t chunk_count)
{
    uint64_t i = 0;

    while (i < chunk_count && good[i])
        i++;
    return i == chunk_count;
}

int check_without_lack(int code, const struct check_result *result,
                       const bool *good, uint64_t chunk_count)
{
    if (code != EXIT_PARTIAL || !check_is_all_good(good, chunk_count))
        return code;
    return result->unread ? EXIT_ERROR : EXIT_FINE;
}

/* The local store cannot be opened: nothing of the save can be read. */
static int no_store(struct checking *k, const struct err *err)
{
    int code = EXIT_PARTIAL;

    if (err->code == -ENOENT && k->wish->good &&
        check_is_all_good(k->wish->good, k->m->chunk_count)) {
        k->out->missing = k->out->replaced = k->out->elsewhere =
            k->m->chunk_count;
        return EXIT_PARTIAL;
    }
    if (is_ours(err->code)) {
        k->out->unread = k->m->chunk_count;
        code = EXIT_ERROR;
    } else {
        k->out->missing = k->m->chunk_count;
        if (err->code == -CKPT_ECORRUPT)
            code = EXIT_CORRUPT;
    }
    (void)snprintf(k->out->first, sizeof k->out->first, "%s%s", err->text,
                   advice_for(err->code));
    return complain(k->tool, code, "%s@%" PRIu64 "/%u: %s", k->run,
                    k->m->info.id.step, k->m->info.id.generation,
                    k->out->first);
}

static int open_remote(struct checking *k, struct err *err)
{
    const struct remote_shares *remote = k->wish->remote;
    int rc = 0;

    for (uint32_t i = 0; i < remote->count && rc == 0; i++)
        if (remote->share[i].err.code == 0)
            rc = segments_open_remote(k->tool, k->run, &remote->share[i].tier,
                                      &k->share[i].segments, err);
    k->store = k->tool->home;
    return rc ? complain(k->tool, EXIT_ERROR, "%s", err->text) : EXIT_FINE;
}

static int open_places(struct checking *k)
{
    bool is_remote = k->wish->tier == CHECK_REMOTE;
    struct err err = {0};

    k->share_count = is_remote ? k->wish->remote->count : 1;
    k->share = calloc(k->share_count + 1, sizeof *k->share);
    if (!k->share) {
        k->share_count = 0;
        return complain(k->tool, EXIT_ERROR, "out of memory");
    }
    if (is_remote)
        return open_remote(k, &err);
    if (segments_open(k->tool, k->m, &k->share->segments, &err))
        return no_store(k, &err);
    k->store = k->share->segments.store;
    k->out->store = k->share->segments.uuid;
    return EXIT_FINE;
}

static int run_check(struct checking *k)
{
    struct err err = {0};
    int rc = manifest_coverage(k->m, &err);

    if (rc) {
        k->out->corrupt++;
        (void)snprintf(k->out->first, sizeof k->out->first, "%s", err.text);
        return complain(k->tool, EXIT_CORRUPT, "%s@%" PRIu64 "/%u: %s", k->run,
                        k->m->info.id.step, k->m->info.id.generation, err.text);
    }
    rc = open_places(k);
    if (rc == 0)
        rc = memory(k);
    if (rc == 0)
        rc = check_chunks(k);
    if (rc)
        return rc;
    if (k->out->corrupt)
        return EXIT_CORRUPT;
    if (k->out->missing)
        return EXIT_PARTIAL;
    return k->out->unread ? EXIT_ERROR : EXIT_FINE;
}

int check_save(struct tool *t, const char *run, const struct manifest *m,
               const struct check_wish *wish, struct progress *p,
               struct check_result *out)
{
    struct checking k = {.tool = t,
                         .run = run,
                         .m = m,
                         .wish = wish,
                         .progress = p,
                         .out = out,
                         .pace = {.bytes_s = wish->rate_bytes_s}};
    int code;

    *out = (struct check_result){0};
    code = run_check(&k);
    for (uint32_t i = 0; i < k.share_count; i++)
        if (k.share[i].segments.manifest)
            segments_close(&k.share[i].segments);
    free(k.share);
    for (uint32_t i = 0; i < DEPTH; i++)
        free(k.lane[i].extent);
    free(k.raw);
    free(k.scratch);
    return code;
}
