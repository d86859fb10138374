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

/* The window that begins with this chunk: all that follows and fits. */
void remote_window_set(struct remote_write *w, uint64_t chunk);
/* Does it begin with the file's header page? */
bool remote_has_header(const struct remote_write *w);
/* Where a chunk of it lies in it, and how long its extent is. */
uint64_t remote_place(const struct remote_write *w, uint64_t chunk);
uint64_t remote_extent(const struct remote_write *w, uint64_t chunk);

/* remote_back.c: opens the segment first (and syncs it, if an earlier life has
 * written it); or reads the window of a blob. */
void remote_open_again(struct remote_write *w, bool is_anothers);
void remote_read_window(struct remote_write *w);

#endif
