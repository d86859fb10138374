/*
 * marks.h - what is on record of a checkpoint's health: damaged/SAVE.DAEMON and
 * damaged_remote/SAVE.DAEMON while bad bytes are known, in that local store or
 * of that daemon's share in the remote tier; scrubbed/SAVE.PASS of the last
 * scrub.
 */
#ifndef TOOLS_CKPT_MARKS_H
#define TOOLS_CKPT_MARKS_H

#include "tools/ckpt/check.h"
#include "tools/ckpt/tool.h"

/* The home for writing; *out stays NULL where it may not be written (in
 * words). */
int marks_open(struct tool *t, struct store **out, struct err *err) MUST_USE;

/* Bad bytes are in local store `of`, or in daemon `of`'s share of the remote
 * tier: words of the first go on record, unless there are some already. 0 or
 * -errno. */
int marks_put_damaged(struct store *home, enum check_tier tier, const char *run,
                      const struct save_id *id, const struct id128 *of,
                      const char *words) MUST_USE;
/* All that was there is good: 0 also when nothing was on record. */
int marks_drop_damaged(struct store *home, enum check_tier tier,
                       const char *run, const struct save_id *id,
                       const struct id128 *of) MUST_USE;
/* In words, what is on record as damaged of a save there, "" if nothing is. */
void marks_damage_words(struct store *home, enum check_tier tier,
                        const char *run, const struct save_id *id, char *text,
                        size_t capacity);

/* Read by pass `pass`; records of earlier ones go. */
int marks_put_scrubbed(struct store *home, const char *run,
                       const struct save_id *id, uint64_t pass) MUST_USE;
/* The last pass over any save of the run, and over this one; 0: none. */
int marks_last_pass(struct store *home, const char *run,
                    const struct save_id *id, uint64_t *of_run,
                    uint64_t *of_save) MUST_USE;

#endif
