/*
 * remote_internal.h - between remote_write.c (which fills a file of the remote
 * tier) and remote_back.c (which reads it back).
 */
#ifndef CKPTD_REMOTE_INTERNAL_H
#define CKPTD_REMOTE_INTERNAL_H

#include "ckptd/engine/home_internal.h"
#include "ckptd/engine/remote_write.h"

void remote_move(struct remote_write *w, enum remote_phase to);
/* It is over: done() hears what err says. */
void remote_end(struct remote_write *w);
/* Words of the first failure. */
void remote_fail(struct remote_write *w, int code, const char *what);
/* To the home's store; req has what the operation needs besides. */
void remote_submit(struct remote_write *w, enum store_op op,
                   void (*done)(struct store_req *req, int64_t result));
/* From the file's first byte on; also once more. */
void remote_start(struct remote_write *w);

/* Does the window begin with the file's header page? */
static inline bool remote_has_header(const struct remote_write *w)
{
    return w->window_at == 0;
}

/* remote_back.c: opens the segment first (and syncs it, if an earlier life has
 * written it); or asks how long a blob is that was there; or reads what is,
 * file_bytes of it. */
void remote_open_again(struct remote_write *w, bool is_anothers);
void remote_measure(struct remote_write *w);
void remote_read_back(struct remote_write *w);

#endif
