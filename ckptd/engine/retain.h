/*
 * retain.h - which checkpoints may go, and letting them go.
 *
 * A save is removed only when all of this holds: the generation's policy
 * (keep_last, keep_every) does not keep it; it is not pinned, leased, the
 * generation's parent or origin, nor the base of an undecided save; and a newer
 * checkpoint of equal or higher durability has been read back (verified/SAVE
 * exists). An unreadable record or manifest stops the collector.
 *
 *   IDLE -> BURYING (tombs of others) -> LOOKING (pins, leases) ->
 *   READING_BACK -> REMOVING... -> RELEASING... -> IDLE
 *
 * Order: read the newest back -> verified/SAVE -> tomb/SAVE -> references of
 * its segments dropped -> its records removed (the tomb stays). Of several
 * daemons each reads back what is in its store and says so by
 * verified/SAVE.DAEMON; verified/SAVE is there once all have. Each removes by
 * itself, and so lets go of its own segments.
 *
 * Releasing: of what is REMOTE the older ones' segments are let go (local_last)
 * and nothing else; they are read from the remote tier from then on.
 */
#ifndef CKPTD_RETAIN_H
#define CKPTD_RETAIN_H

#include "ckptd/engine/home.h"

/* A reader's lease counts as dead when its record has not changed for this. */
#define LEASE_DEAD_NS ((uint64_t)60 * 1000 * 1000 * 1000)

/* Pure: which committed saves of the catalog the policy lets go, oldest first.
 * `victims` has room for c->save_count; returns how many. keep_last 0 with
 * keep_every 0 keeps all; keep_every keeps steps that are multiples of it. The
 * newest checkpoint and what is not older, pins, leases, parent and origin of
 * the newest generation are always kept, and so is the newest one that is in
 * the remote tier: none goes but behind one of at least its durability; an
 * unreadable save keeps everything;
 * a lost one does not count as one of the last. */
size_t retain_choose(const struct catalog *c, uint32_t keep_last,
                     uint32_t keep_every, struct save_id *victims);

/* Pure: which checkpoints need not stay in the local stores: REMOTE, sound, not
 * leased, and older than the local_last newest (0: none). Oldest first, as
 * above. */
size_t retain_choose_local(const struct catalog *c, uint32_t local_last,
                           struct save_id *out);

/* After a commit: does it all in the background, one pass at a time. Without a
 * policy only what others have removed (`ckpt gc`) is let go. */
void retain_run(struct run *run);
/* After a refresh of the catalog: the same of removed saves alone, if it has
 * any that still hold something here. */
void retain_tombs(struct run *run);
/* Creates tomb/SAVE; -EEXIST: it is there, and durable. */
void retain_put_tomb(struct run *run, const struct save_id *id,
                     const char *reason, recio_put_fn done, void *arg);
/* A reservation failed: are there tombs, of any run, that make room for the
 * next? */
void retain_no_room(struct engine *e);
/* Start nothing more. Then retain_is_busy() turns false by and by. */
void retain_stop(struct run *run);
bool retain_is_busy(const struct run *run);
/* Free what is left; not busy. */
void retain_close(struct run *run);

#endif
