/*
 * remote.c - see remote.h.
 */
#include "tools/ckpt/remote.h"
#include "ckptd/engine/remote_read.h"
#include "formats/tier.h"
#include "tools/ckpt/segments.h"
#include "tools/ckpt/wait.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct table_answer {
    bool is_done;
    int64_t result;
    void *data;
};

static void table_here(void *arg, int64_t result, void *data)
{
    struct table_answer *a = arg;

    *a = (struct table_answer){true, result, data};
}

static int table_open(struct remote_share *share, const struct manifest *m)
{
    if (!id_equal(&share->tier.info.daemon, &share->daemon))
        return err_set(&share->err, -CKPT_ECORRUPT, "it is another daemon's");
    return tier_check(&share->tier, m, &share->err);
}

static void share_get(struct remote_shares *s, struct remote_share *share)
{
    struct recio_place place = {.run = s->run,
                                .folder = "remote",
                                .id = s->m->info.id,
                                .daemon = share->daemon};
    struct table_answer a = {0};
    char name[RECORD_NAME_BYTES], host[256], hex[ID_TEXT_BYTES];
    int rc = 0;

    for (uint32_t tries = 0; tries < REMOTE_TRIES; tries++) {
        a.is_done = false;
        recio_get_container(s->tool->home, &place, table_here, &a);
        rc = tool_wait(s->tool->home, &a.is_done);
        if (rc || !remote_asks_again(a.result))
            break;
    }
    if (rc == 0 && a.result < 0)
        rc = (int)a.result;
    share->data = a.data;
    (void)name_save_daemon(name, s->run, "remote", &s->m->info.id,
                           &share->daemon);
    s->present += rc != -ENOENT;
    if (rc == -ENOENT) {
        wait_host_of(s->tool, s->run, s->m->info.id.generation, &share->daemon,
                     host, sizeof host);
        (void)err_set(&share->err, rc,
                      "no copy of the share of %s (%.8s) is in the remote tier",
                      host, id_format(&share->daemon, hex));
    } else if (rc)
        (void)err_set(&share->err, rc, "%s: %s", name, err_text(rc));
    else if (manifest_open(share->data, (size_t)a.result, &share->tier,
                           &share->err) ||
             table_open(share, s->m))
        (void)err_prefix(&share->err, "%s", name);
}

int remote_shares_get(struct tool *t, const char *run, const struct manifest *m,
                      struct remote_shares *out)
{
    struct id128 *daemons = calloc(m->rank_count + 1, sizeof *daemons);

    *out = (struct remote_shares){.tool = t, .run = run, .m = m};
    if (daemons) {
        out->count = tier_daemons(m, daemons, (uint32_t)m->rank_count);
        out->share = calloc(out->count + 1, sizeof *out->share);
    }
    if (!daemons || !out->share) {
        free(daemons);
        out->count = 0;
        return complain(t, EXIT_ERROR, "out of memory");
    }
    for (uint32_t i = 0; i < out->count; i++) {
        out->share[i].daemon = daemons[i];
        share_get(out, &out->share[i]);
    }
    free(daemons);
    return EXIT_FINE;
}

void remote_shares_free(struct remote_shares *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        free(s->share[i].data);
    free(s->share);
    *s = (struct remote_shares){0};
}

static const struct remote_share *share_of_daemon(const struct remote_shares *s,
                                                  const struct id128 *daemon)
{
    uint32_t i = 0;

    while (!id_equal(&s->share[i].daemon, daemon))
        i++;
    return &s->share[i];
}

const struct remote_share *remote_share_of(const struct remote_shares *s,
                                           uint64_t chunk, uint64_t *at)
{
    const struct manifest *m = s->m;
    const struct remote_share *share;

    share = share_of_daemon(s, &manifest_rank(m, m->chunk[chunk].rank)->daemon);
    *at = 0;
    if (share->err.code == 0)
        *at = (uint64_t)tier_chunk(&share->tier, m, chunk);
    return share;
}

bool remote_share_extent(const struct remote_shares *s, uint64_t chunk,
                         void *extent)
{
    uint64_t at, bytes;
    const struct remote_share *share = remote_share_of(s, chunk, &at);
    struct segments segments = {0};
    const struct mf_location *l;
    struct store_req read = {.buf = extent};
    struct err err;
    void *spare;
    bool ok;

    if (share->err.code)
        return false;
    spare = malloc(TIER_SPARE_BYTES);
    l = &share->tier.location[at];
    bytes = chunk_extent_bytes(l->payload_bytes);
    read.len = bytes;
    read.off = l->offset;
    ok = spare &&
         segments_open_remote(s->tool, s->run, &share->tier, &segments, &err) ==
             0 &&
         segments_get(&segments, l->file, &err) == 0 &&
         segments_run(&segments, l->file, &read) == (int64_t)bytes &&
         tier_unpack(&share->tier, at, s->m, chunk, extent, spare, &err) == 0;
    segments_close(&segments);
    free(spare);
    return ok;
}
