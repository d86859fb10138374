/*
 * doctor.h - between doctor.c and its larger checks.
 */
#ifndef TOOLS_CKPT_DOCTOR_H
#define TOOLS_CKPT_DOCTOR_H

#include "tools/ckpt/tool.h"

enum finding {
    FINDING_OK,
    FINDING_WARN,
    FINDING_FAIL,
};

struct doctor {
    struct tool *tool;
    bool is_open; /* the home, for reading at least */
    bool has_failed;
};

void found(struct doctor *d, const char *what, enum finding finding,
           const char *seen, const char *fix);

/* doctor.c: is what was opened a home, or can it become one? */
void check_identity(struct doctor *d, struct store *s, const char *path);
/* doctor_ceph.c: the whole check of a home in RADOS. */
void check_ceph(struct doctor *d);
/* doctor_latest.c: is what the next trainer will load really there? */
void check_latest(struct doctor *d, const struct catalog *c);
/* doctor_remote.c: does the remote tier come along? */
void check_remote(struct doctor *d, const struct catalog *c);
/* Is what is there marked? */
void check_mark(struct doctor *d, const struct catalog *c);
/* doctor_daemon.c: who answers on the daemon's socket, and in which mode? */
void check_daemon(struct doctor *d);
/* doctor_segments.c: segments with a damaged header, which nobody uses. */
void check_segments(struct doctor *d);

#endif
