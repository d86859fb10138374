/*
 * save.h - the data half of a save on this daemon.
 *
 *   WAITING -> OPENING -> RUNNING -> VOTED -> DONE
 *   (overload)  (intent)  (parts)    (commit.c)
 *   any before VOTED -> ABORTING -> DONE
 *
 * A home that is slow to take the intent holds no rank: RUNNING begins all the
 * same, and the vote waits for it. So what only such a home could have refused
 * is told as an abort.
 *
 * One struct save per (run, generation, step) with one part per local rank:
 *
 *   WAITING -> RESERVING -> TAKING -> SYNCING -> SYNCED -> ENDED
 *               (room)      (chunks   (fsync)
 *                            arrive)
 *
 * Chunks are taken up as they arrive: digest and codec on a worker, place,
 * write, CLEAN. A chunk equal to that of the same place in the base (the newest
 * checkpoint of this generation's branch in this store, with an equal table)
 * is referred to, unless less than half of its segment is live. When all
 * members' parts are synced: vote; commit.c does the rest.
 *
 * A save that was decided ABORT is remembered until every local rank has been
 * told, so that a rank that comes late gets the same answer.
 */
#ifndef CKPTD_SAVE_H
#define CKPTD_SAVE_H

#include "ckptd/engine/commit.h"
#include "ckptd/engine/session.h"

struct save;

/* SAVE, CHUNKS, CANCEL, WATCH of a joined session (already decoded). WATCH is
 * answered at once with what is known: state 0 before STAGED. */
void save_request(struct session *s, uint64_t request_id,
                  const struct wire_save *v);
void save_chunks(struct session *s, const struct wire_chunks *v);
void save_cancel(struct session *s, const struct wire_cancel *v);
void save_watch(struct session *s, uint64_t request_id,
                const struct wire_watch *v);
/* The rank is gone: parts not yet staged abort their save. */
void save_session_gone(struct session *s);
/* The session has joined its generation. */
void save_session_joined(struct session *s);
/* More slots became free for this session: grant them. */
void save_grant(struct session *s);
/* Is anything under way: an undecided save, or one whose writes have not
 * ended? */
bool saves_pending(const struct run *run);
/* Are jobs or requests of its saves in flight? */
bool saves_in_flight(const struct run *run);
/* Whether an undecided save of this run refers to chunks of `id`: it must not
 * be removed now. */
bool saves_use_base(const struct run *run, const struct save_id *id);
/* The engine ends at once: abort what has not voted. */
void saves_abort_all(struct run *run, const char *reason);
/* Free what is left: nothing is in flight any more. */
void saves_close(struct run *run);

/* The chunk pipeline of an engine. -ENOMEM. */
int save_pipeline_open(struct engine *e) MUST_USE;
void save_pipeline_close(struct engine *e); /* idle; takes none */
bool save_pipeline_is_idle(const struct engine *e);
/* Ranks that left, see save_gone.c: has this one, without having joined its
 * generation again? */
bool save_rank_departed(const struct run *run, uint32_t generation,
                        uint32_t rank);
/* The index-th (from 0) to have left, of those that have not joined again, in
 * the order in which they did. false: there are no more. */
bool save_departed_at(const struct run *run, uint32_t generation, size_t index,
                      uint32_t *rank);
void save_departed_free(struct engine *e);

#endif
