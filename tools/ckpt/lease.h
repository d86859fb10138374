/*
 * lease.h - telling retention that somebody reads a save.
 *
 * A lease is a record lease/ID.N in the run; it counts as alive while N goes up
 * at least every 60 s, so a thread renews it. Where the home cannot be written
 * there is none, and reading goes on without.
 */
#ifndef TOOLS_CKPT_LEASE_H
#define TOOLS_CKPT_LEASE_H

#include "tools/ckpt/tool.h"

#include <pthread.h>

struct lease {
    bool is_taken;
    struct store *store; /* of its own: stores belong to one thread */
    const char *verb;
    char run[RUN_NAME_MAX + 1];
    struct save_id save;
    struct id128 id;
    uint32_t number;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_settled, is_ending; /* lock */
    bool is_put;                /* since is_settled */
};

void lease_take(struct lease *l, const struct tool *t, const char *run,
                const struct save_id *save);
/* Was it taken? For those who must not go on without. */
bool lease_is_held(const struct lease *l);
void lease_drop(struct lease *l);

#endif
