/*
 * load.h - ckpt_load and ckpt_read on this daemon.
 *
 *   GATHERING -> PLANNING -> READING -> VOTING -> RECORDING -> DONE
 *   (all ranks)  (manifest)  (deliver)  (ranks)   (load/G.K)
 *   READING -> DRAINING -> RECORDING -> PLANNING with the next older checkpoint
 *
 * A collective load waits for all members here, plans once for all of them,
 * reads each needed chunk once and delivers it to every rank's slots; it
 * succeeds only when every rank has voted verified and the outcome is on
 * record. Failures of the checkpoint (-CKPT_ECORRUPT, -EIO, -ENOENT of a
 * removed one) fall back down the branch, recorded; failures of the wish
 * (shape, missing tensor, hole) do not. An independent read has one rank and no
 * vote.
 */
#ifndef CKPTD_LOAD_H
#define CKPTD_LOAD_H

#include "ckptd/engine/reader.h"
#include "ckptd/engine/session.h"

void load_request(struct session *s, uint64_t request_id,
                  const struct wire_load *v);
void load_consumed(struct session *s, const struct wire_slots *v);
void load_vote(struct session *s, const struct wire_load_vote *v);
void load_session_gone(struct session *s);
void load_values(struct session *s, uint64_t request_id,
                 const struct wire_values *v);
void load_list(struct session *s, uint64_t request_id);
void load_describe(struct session *s, uint64_t request_id,
                   const struct wire_describe *v);
/* Slots of this session's arena became free. */
void load_slots_freed(struct session *s);
bool loads_pending(const struct run *run);

#endif
