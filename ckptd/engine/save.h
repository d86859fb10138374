/*
 * save.h - the data half of a save on this daemon.
 *
 *   WAITING -> OPENING -> STAGING -> WRITING -> SYNCING -> VOTED -> DONE
 *   (overload)  (intent,   (chunks    (all       (fsync)    (commit.c)
 *                room)      arrive)    staged)
 *   any before VOTED -> ABORTING -> DONE
 *
 * One struct save per (run, generation, step) with one part per local rank.
 * Chunks are taken up as they arrive: digest and codec on a worker, place,
 * write, CLEAN. A chunk equal to that of the same place in the base (the newest
 * checkpoint of this generation's branch in this store, with an equal table)
 * is referred to, unless less than half of its segment is live. When all
 * members' parts are staged and written: sync, vote; commit.c does the rest.
 */
#ifndef CKPTD_SAVE_H
#define CKPTD_SAVE_H

#include "ckptd/engine/commit.h"
#include "ckptd/engine/session.h"

struct save;

/* SAVE, CHUNKS, CANCEL, WATCH of a joined session (already decoded). */
void save_request(struct session *s, uint64_t request_id,
                  const struct wire_save *v);
void save_chunks(struct session *s, const struct wire_chunks *v);
void save_cancel(struct session *s, const struct wire_cancel *v);
void save_watch(struct session *s, uint64_t request_id,
                const struct wire_watch *v);
/* The rank is gone: parts not yet staged abort their save. */
void save_session_gone(struct session *s);
/* More slots became free for this session: grant them. */
void save_grant(struct session *s);
bool saves_pending(const struct run *run);
/* The environment's clock moved on, or members changed: look again. */
void saves_poke(struct run *run);

#endif
