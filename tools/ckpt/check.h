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

/* Where the bytes are read. */
enum check_tier {
    CHECK_NVME, /* the local store */
    CHECK_REMOTE,
};

/* Chunks that failed, by number, ascending within a turn of reads. */
struct chunk_list {
    uint64_t *chunk;
    size_t count, capacity;
};

struct remote_shares;

/* Of one share of the remote tier. */
struct check_finding {
    uint64_t bad, unread; /* chunks */
    char first[1200];     /* words of the first bad one */
};

struct check_wish {
    enum check_level level;
    enum check_tier tier;
    const struct remote_shares *remote; /* of CHECK_REMOTE */
    struct check_finding *found;        /* NULL, or one per share of that */
    uint64_t rate_bytes_s;              /* 0: as fast as it goes */
    struct chunk_list *bad;             /* NULL: only counted */
    /* What is not here may have been let go: what is in its place is no damage
     * of this tier. */
    bool may_lack;
    /* Per chunk: a good copy was found, here or by an earlier turn; NULL: of no
     * interest. What is missing and was good elsewhere is counted, not said. */
    bool *good;
};

struct check_result {
    uint64_t chunks, bytes; /* that were read */
    uint64_t corrupt, missing;
    uint64_t elsewhere; /* of the missing: in other local stores */
    uint64_t replaced;  /* of the missing: good in another tier */
    uint64_t unread;    /* may not, or cannot, be read: not known */
    struct id128 store; /* whose chunks were read */
    char first[1200];   /* words of the first failure */
};

/* Checks; each failure is said on stderr with file, tensor and byte range (at
 * most 20 are). EXIT_FINE, EXIT_CORRUPT, EXIT_PARTIAL (bytes are on another
 * node, or their segment is gone), EXIT_ERROR (they could not be looked at). */
int check_save(struct tool *t, const char *run, const struct manifest *m,
               const struct check_wish *wish, struct progress *p,
               struct check_result *out);

bool check_is_all_good(const bool *good, uint64_t chunk_count);
/* The code of one tier's result: what it lacks is no failure when every chunk
 * is good in some, but what could not be read there still is. */
int check_without_lack(int code, const struct check_result *result,
                       const bool *good, uint64_t chunk_count);

#endif
