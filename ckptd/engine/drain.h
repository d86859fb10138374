/*
 * drain.h - committed checkpoints are copied to the home's remote tier.
 *
 *   IDLE -> FETCHING (manifest) -> BUILDING (this daemon's table) -> WRITING
 *   (files, each read back) -> TABLE -> LOOKING (has every daemon?) -> MARKING
 *   -> IDLE
 *
 * One checkpoint at a time, in the background: of those that their
 * generation's remote_every wants, the newest first, so that one that was
 * begun is finished and those that could not be kept up with are skipped.
 * remote/SAVE.DAEMON says where this daemon's share is; remote/SAVE is there
 * once every daemon of the save has said so: only then is it REMOTE. Whatever
 * goes wrong is logged, and tried again after a while, others first; what is
 * there and good by then is not written again. While a save, a load or
 * retention is at work it goes on slowly.
 *
 * What is being drained is held against retention.
 */
#ifndef CKPTD_DRAIN_H
#define CKPTD_DRAIN_H

#include "ckptd/engine/home.h"

struct session;

/* -ENOMEM. */
int drain_open(struct engine *e) MUST_USE;
/* Something of this run was committed, or it was attached: look at it. */
void drain_run(const struct run *run);
/* Start nothing more. Then drain_is_busy() turns false by and by. */
void drain_stop(struct engine *e);
bool drain_is_busy(const struct engine *e);
/* The same, but for a look whether other daemons have at last copied theirs. */
bool drain_is_at_work(const struct engine *e);
/* Is this daemon's share of something to be drained that has not failed yet? */
bool drain_is_wanted(const struct run *run);
/* Creates remote/SAVE; -EEXIST: it is there, and durable. */
void drain_put_mark(struct run *run, const struct save_id *id,
                    recio_put_fn done, void *arg);
/* Does the policy of its generation, or a wish, send this checkpoint there? 0,
 * or -ENOTSUP with words. */
int drain_is_meant(const struct run *run, const struct catalog_save *s,
                   struct err *err) MUST_USE;
/* A wish (`ckpt drain`) for this daemon's share of a checkpoint: it goes before
 * all others, and as fast as it can. One that has failed is tried at once, and
 * that failure forgotten. */
void drain_wish(struct run *run, struct catalog_save *s);
/* How far that is; state, bytes and the last failure. */
void drain_progress(const struct run *run, const struct catalog_save *s,
                    struct wire_drain_ok *out);
/* DRAIN (drain_wish.c). */
void drain_request(struct session *s, const struct wire_header *h,
                   const void *payload);
/* Is this save's local copy being read, or wished for? */
bool drain_uses(const struct run *run, const struct save_id *id);
/* Not busy. */
void drain_close(struct engine *e);

#endif
