/*
 * doctor_remote.c - does the remote tier come along with what is to go there?
 */
#include "tools/ckpt/doctor.h"
#include "tools/ckpt/wait.h"

#include <inttypes.h>
#include <stdio.h>

/* One is being copied, another has just been committed: no reason to worry. */
#define BEHIND_MOST 2

static bool is_meant(const struct catalog *c, const struct catalog_save *s)
{
    const struct catalog_generation *g =
        catalog_generation_at(c, s->id.generation);

    return s->status == SAVE_COMMITTED && g && g->record.remote_every &&
           s->id.step % g->record.remote_every == 0;
}

/* All have copied their shares of the newest that is not REMOTE: the mark was
 * lost, or whoever was to write it. */
void check_mark(struct doctor *d, const struct catalog *c)
{
    const struct catalog_save *s = NULL;
    char missing[1024], seen[400], fix[400];
    size_t i = c->save_count;
    uint32_t there;

    while (i-- > 0 && !s)
        if (c->save[i].status == SAVE_COMMITTED && !c->save[i].is_marked_remote)
            s = &c->save[i];
    if (!s || !catalog_generation_at(c, s->id.generation))
        return;
    there = wait_missing_words(d->tool, c->run, &s->id, "remote", missing,
                               sizeof missing);
    if (there == 0 || missing[0])
        return;
    (void)snprintf(seen, sizeof seen,
                   "%s@%" PRIu64 "/%u: the shares of all its hosts are there, "
                   "but not the mark that they are",
                   c->run, s->id.step, s->id.generation);
    (void)snprintf(fix, sizeof fix,
                   "if that lasts: end the daemon on one of them; then ckpt "
                   "drain %s@%" PRIu64 "/%u there starts another, which reads "
                   "its share again and writes the mark",
                   c->run, s->id.step, s->id.generation);
    found(d, "remote tier", FINDING_WARN, seen, fix);
}

void check_remote(struct doctor *d, const struct catalog *c)
{
    const struct catalog_save *newest = NULL, *behind = NULL;
    char seen[1600], missing[1024], there[64] = "none is there";
    size_t count = 0;

    for (size_t i = c->save_count; i-- > 0 && !newest;) {
        const struct catalog_save *s = &c->save[i];

        if (s->status == SAVE_COMMITTED && catalog_is_remote(s))
            newest = s;
        else if (is_meant(c, s) && !s->is_remote_damaged && count++ == 0)
            behind = s;
    }
    if (newest)
        (void)snprintf(there, sizeof there, "the newest there is step %" PRIu64,
                       newest->id.step);
    if (count <= BEHIND_MOST) {
        if (newest || count) {
            (void)snprintf(seen, sizeof seen, "%s: %s%s", c->run, there,
                           newest ? ", read back then: ckpt verify reads it now"
                                  : "");
            found(d, "remote tier", FINDING_OK, seen, "");
        }
        return;
    }
    (void)wait_missing_words(d->tool, c->run, &behind->id, "remote", missing,
                             sizeof missing);
    (void)snprintf(seen, sizeof seen,
                   "%s: the last %zu checkpoints that should go there have "
                   "not, %s; of step %" PRIu64 " wait the shares of: %s",
                   c->run, count, there, behind->id.step,
                   missing[0] ? missing : "nobody, but the mark");
    found(d, "remote tier", FINDING_WARN, seen,
          "see there why: ckptd.log of the local store says 'not in the remote "
          "tier yet'. If it is only slow: a larger remote_every, a higher "
          "--drain-rate; ckpt drain copies one now");
}
