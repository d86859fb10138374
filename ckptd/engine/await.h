/*
 * await.h - ranks that wait until a checkpoint is REMOTE (AWAIT).
 *
 * Each is answered once: by STATE REMOTE as soon as that is on record, whoever
 * has put it there; by an error when it was removed, or when nothing sends it
 * there; else by STATE COMMITTED after AWAIT_MS, so that one who still wants to
 * know asks again, and one who does not costs nothing more. However many wait
 * for one, the home is looked into once a second.
 */
#ifndef CKPTD_AWAIT_H
#define CKPTD_AWAIT_H

#include "ckptd/engine/session.h"

#define AWAIT_MS      10000
#define AWAIT_LOOK_MS 1000

void await_request(struct session *s, uint64_t request_id,
                   const struct wire_await *v);
void await_session_gone(struct session *s);
/* It has become REMOTE, or was removed: whoever waits is told. */
void await_changed(struct run *run, const struct save_id *id);
/* A request to a home is in flight. What is left goes with the last session. */
bool await_is_busy(const struct engine *e);
#endif
