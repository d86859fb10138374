/*
 * retain.h - which checkpoints may go, and letting them go.
 *
 * A save is removed only when all of this holds: the generation's policy
 * (keep_last, keep_every) does not keep it; it is not pinned, leased, the
 * generation's parent or origin, nor the base of an undecided save; and a newer
 * checkpoint of equal or higher durability has been read back (verified/SAVE
 * exists). An unreadable record or manifest stops the collector.
 *
 * Order: read the newest back -> verified/SAVE -> tomb/SAVE -> references of
 * its segments dropped -> its records removed (the tomb stays).
 */
#ifndef CKPTD_RETAIN_H
#define CKPTD_RETAIN_H

#include "ckptd/engine/home.h"

/* Pure: which saves of the catalog the policy lets go, oldest first. `victims`
 * has room for c->save_count; returns how many. keep_every keeps steps that
 * are multiples of it. */
size_t retain_choose(const struct catalog *c, uint32_t keep_last,
                     uint32_t keep_every, struct save_id *victims);

/* After a commit: does it all in the background, one run at a time. */
void retain_run(struct run *run);
/* Stop what is under way before the engine ends. */
void retain_stop(struct run *run);

#endif
