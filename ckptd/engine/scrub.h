/*
 * scrub.h - reading committed checkpoints again while there is nothing else to
 * do.
 *
 * One checkpoint at a time: what of it is in this daemon's own store, or this
 * daemon's share of what is in the remote tier, at env->scrub_bytes_s; each
 * again after env->scrub_every_ns (0: never at all). Shares of daemons that are
 * no members of the generation any more are read by those that are, each by one
 * of them.
 *
 * It begins when all has been quiet for a while, and rests whenever a save, a
 * load or retention is at work. Bad bytes are logged by file, tensor and range
 * and go on record (damaged/SAVE.DAEMON, damaged_remote/SAVE.DAEMON), where ls,
 * show, doctor and retention see them; what is on record and is found good is
 * taken off it. It is read again sooner than the rest.
 */
#ifndef CKPTD_SCRUB_H
#define CKPTD_SCRUB_H

#include "ckptd/engine/engine.h"

/* -ENOMEM. e->scrub stays NULL where it is switched off. */
int scrub_open(struct engine *e) MUST_USE;
/* Start nothing more. Then scrub_is_busy() turns false by and by. */
void scrub_stop(struct engine *e);
bool scrub_is_busy(const struct engine *e);
/* A load found bad bytes of it here, and in the remote tier too if so: they are
 * next, so that they go on record. */
void scrub_soon(struct run *run, const struct save_id *id, bool is_remote_too);
/* Not busy. */
void scrub_close(struct engine *e);

#endif
