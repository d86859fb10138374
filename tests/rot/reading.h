/*
 * reading.h - the ways in which a damaged home is read, and what comes of it.
 *
 *   verify   the code of `ckpt verify --deep` in this process, on an image
 *   load     an engine and its ranks in a test world, on an image: a
 *            collective load of all tensors, compared with what was saved
 *   command  the real `ckpt verify --deep` on a folder
 *   rank     the real ckpt_load() with a real daemon on a folder
 */
#ifndef TESTS_ROT_READING_H
#define TESTS_ROT_READING_H

#include "tests/rot/subject.h"

enum outcome {
    OUTCOME_NEWEST, /* verified, or loaded bit for bit: as if undamaged */
    OUTCOME_OLDER,  /* loaded bit for bit, with a note on the newer one */
    OUTCOME_ERROR,  /* a typed error with words; verify: exit 4 */
    OUTCOME_WRONG,  /* wrong bytes, no type, no words, another exit code */
};

struct reading {
    enum outcome outcome;
    int code; /* exit code, or error */
    char text[4096];
};

void read_by_verify(const struct subject *s, const struct image *i,
                    struct reading *out);
void read_by_load(const struct subject *s, const struct image *i,
                  struct reading *out);
void read_by_command(const char *tool, const char *dir, struct reading *out);
void read_by_rank(const struct subject *s, const char *dir,
                  struct reading *out);

#endif
