/*
 * wait.h - between wait.c (one checkpoint), wait_each.c (all from now on) and
 * wait_words.c (who has not done its part).
 */
#ifndef TOOLS_CKPT_WAIT_H
#define TOOLS_CKPT_WAIT_H

#include "tools/ckpt/tool.h"

/* SIGINT, SIGTERM and SIGHUP end waiting, with EXIT_INTERRUPTED. */
void wait_catch_signals(void);
/* The one that came; 0: none. */
int wait_signal(void);
/* Sleeps until the next look, or the deadline, or a signal. */
#define WAIT_LOOK_MS 1000
void wait_nap(uint64_t deadline_ms);
/* By now_ms(); UINT64_MAX without --timeout. */
uint64_t wait_deadline(const struct tool *t);

/* After a load that failed: what is known by then may be half. */
void wait_forget(struct catalog *c);

/* A line that it is reached, at once: 0 or an exit code. */
int wait_print(const struct tool *t, const char *run,
               const struct catalog_save *s);

/* Which daemons of the save's generation have no record SAVE.DAEMON in
 * `folder`: "b (0123...), c (4567...)", "" if all have, or nobody knows. How
 * many have one. */
uint32_t wait_missing_words(struct tool *t, const char *run,
                            const struct save_id *id, const char *folder,
                            char *text, size_t capacity);

/* The host of a daemon of that generation, "?": nobody says. */
void wait_host_of(struct tool *t, const char *run, uint32_t generation,
                  const struct id128 *daemon, char *host, size_t capacity);

/* --each */
int wait_each(struct tool *t, const char *run);

#endif
