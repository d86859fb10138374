/*
 * check.h - checking one save against what is on its media.
 */
#ifndef TOOLS_CKPT_CHECK_H
#define TOOLS_CKPT_CHECK_H

#include "tools/ckpt/out.h"
#include "tools/ckpt/tool.h"

enum check_level {
    CHECK_QUICK,  /* manifest, coverage, segments there */
    CHECK_STORED, /* and every stored byte against its digest */
    CHECK_DEEP,   /* and every chunk decoded against its content digest */
};

struct check_result {
    uint64_t chunks, bytes; /* that were read */
    uint64_t corrupt, missing;
    char first[1200]; /* words of the first failure */
};

/* Checks; each failure is said on stderr with file, tensor and byte range (at
 * most 20 are). EXIT_FINE, EXIT_CORRUPT, EXIT_PARTIAL (bytes are on another
 * node, or their segment is gone), EXIT_ERROR. */
int check_save(struct tool *t, const char *run, const struct manifest *m,
               enum check_level level, struct progress *p,
               struct check_result *out);

#endif
