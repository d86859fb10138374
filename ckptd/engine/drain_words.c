/*
 * drain_words.c - what a drain says in the log once something is there.
 */
#include "ckptd/engine/drain_internal.h"
#include "ckptd/engine/home_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* By the clocks of whoever decided and of this machine, for people. */
static double seconds_since_commit(const struct drain *d,
                                   const struct catalog_save *s)
{
    uint64_t now = d->engine->env->ops->unix_ms(d->engine->env);

    return (double)(now - min_u64(s->created_unix_ms, now)) / 1000;
}

static double seconds_of(const struct drain *d)
{
    return (double)(env_now(d->engine->env) - d->begun_ns) / 1e9;
}

void drain_log_remote(const struct drain *d, const struct catalog_save *s)
{
    char share[96] = "";

    if (d->is_new)
        (void)snprintf(share, sizeof share,
                       ", of which %" PRIu64 " from here in %.1f s",
                       d->tier.info.stored_bytes, seconds_of(d));
    d->engine->env->ops->log(
        d->engine->env, LOG_LEVEL_INFO,
        "run %s step %" PRIu64
        " (generation %u) is REMOTE: every byte is in %s, %.1f "
        "s after it was committed; %" PRIu64 " bytes%s",
        d->run->name, d->id.step, d->id.generation, d->run->home->path,
        seconds_since_commit(d, s), s->stored_bytes, share);
}

void drain_log_share(const struct drain *d)
{
    d->engine->env->ops->log(d->engine->env, LOG_LEVEL_INFO,
                             "run %s step %" PRIu64
                             " (generation %u): this node's share, %" PRIu64
                             " bytes, was copied to the remote tier in %.1f s; "
                             "those of other nodes are not all there yet",
                             d->run->name, d->id.step, d->id.generation,
                             d->tier.info.stored_bytes, seconds_of(d));
}
