/*
 * state.h - a save's state and its failure domain in words, the same in every
 * verb: no state is shown without what it can be lost with.
 */
#ifndef TOOLS_CKPT_STATE_H
#define TOOLS_CKPT_STATE_H

#include "tools/ckpt/tool.h"

/* "COMMITTED", "REMOTE", "ABORTED", ...; static. */
const char *state_text(const struct catalog_save *s);
/* What mends its remote copy; `text`. */
const char *mend_text(const struct tool *t, const char *run,
                      const struct save_id *id, char *text, size_t capacity);
/* On stderr: what to do about bad bytes of it in the remote tier (that, if it
 * is_remote), or in the local store. */
void mend_say(const struct tool *t, const char *run, const struct save_id *id,
              bool is_remote);
/* What has to go for it to be lost; "-" for what is no checkpoint. */
const char *domain_text(const struct tool *t, const struct catalog_save *s,
                        char *text, size_t capacity);

#endif
