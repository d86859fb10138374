/*
 * id.h - 128-bit identities (store, run, segment, daemon) and the name of a
 * save. Ids are random bytes; their text is 32 lower-case hex digits.
 */
#ifndef COMMON_ID_H
#define COMMON_ID_H

#include "common/util.h"

#include <string.h>

struct id128 {
    uint8_t b[16];
};

#define ID_TEXT_BYTES 33 /* with the NUL */

static inline bool id_equal(const struct id128 *a, const struct id128 *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

static inline bool id_is_zero(const struct id128 *a)
{
    static const struct id128 zero;

    return id_equal(a, &zero);
}

/* Writes 32 digits and a NUL; returns `text`. */
char *id_format(const struct id128 *id, char text[ID_TEXT_BYTES]);

/* Reads exactly 32 hex digits (no NUL needed); -EINVAL otherwise. */
int id_parse(const char *text, size_t bytes, struct id128 *id) MUST_USE;

/* A save of a run. Generation 0 means none. */
struct save_id {
    uint32_t generation;
    uint32_t attempt;
    uint64_t step;
};

/* "GGGGGGGG-SSSSSSSSSSSSSSSSSSSS-AAAA", decimal, so that names sort. An attempt
 * has just four digits. */
#define SAVE_ATTEMPT_MAX   9999
#define SAVE_ID_TEXT_BYTES 40

char *save_id_format(const struct save_id *id, char text[SAVE_ID_TEXT_BYTES]);

/* Reads such a name up to its end or the first '.'; *rest (may be NULL) points
 * at what follows. -EINVAL when it is none. */
int save_id_parse(const char *text, struct save_id *id,
                  const char **rest) MUST_USE;

/* By generation, then step, then attempt: <0, 0, >0. */
int save_id_compare(const struct save_id *a, const struct save_id *b);

#endif
