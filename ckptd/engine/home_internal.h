/*
 * home_internal.h - between home.c, attach.c, members.c, join*.c and commit*.c.
 */
#ifndef CKPTD_HOME_INTERNAL_H
#define CKPTD_HOME_INTERNAL_H

#include "ckptd/engine/engine.h"

#define NS_PER_MS      ((uint64_t)1000000)
#define BACK_OFF_LEAST ((uint64_t)20 * NS_PER_MS)
#define BACK_OFF_MOST  ((uint64_t)1000 * NS_PER_MS)
#define DECIDE_MS      600000
#define OPEN_MS        60000
/* Of a generation: who is missing is looked for one by one. */
#define RANKS_MAX (1 << 20)

/* One that waits for run_attach(). */
struct attach_waiter {
    struct list link;
    run_fn done;
    void *arg;
    char run_name[RUN_NAME_MAX + 1];
};

static inline struct env *run_env(const struct run *run)
{
    return run->home->engine->env;
}

static inline uint64_t env_now(struct env *env)
{
    return env->ops->now_ns(env);
}

/* Twice as long each time, from BACK_OFF_LEAST to BACK_OFF_MOST. */
static inline uint64_t back_off(uint64_t *delay_ns)
{
    uint64_t delay = max_u64(*delay_ns, BACK_OFF_LEAST);

    *delay_ns = min_u64(delay * 2, BACK_OFF_MOST);
    return delay;
}

/* A body that says who and when. */
void mark_fill(struct env *env, struct record_mark *mark,
               const struct save_id *id);

/* attach.c: the home is open; find or attach its run. Takes the waiter over. */
void attach_to_run(struct home *home, struct attach_waiter *waiter);
/* Tells and frees those who wait. */
void attach_waiters_end(struct list *waiters, struct run *run,
                        const struct err *err);
/* -ECANCELED: what they wait for goes. */
void attach_waiters_cancel(struct list *waiters);
/* Frees everything of a run; no request of it is in flight. */
void run_free(struct run *run);

/* members.c */
void members_init(struct members *m, uint32_t generation, uint32_t world_size);
void members_fini(struct members *m);
int members_add(struct members *m, const struct id128 *daemon, uint32_t n,
                const struct record_member *record) MUST_USE;
bool members_are_complete(const struct members *m);
const struct member_daemon *members_daemon(const struct members *m,
                                           const struct id128 *daemon);
/* Reads what is not known yet. `m` and `run` must stay until done; `m` may turn
 * to another generation meanwhile (-ESTALE then). */
void members_read(struct run *run, struct members *m, members_fn done,
                  void *arg);
/* "daemon 0123... (host a)". */
void daemon_text(const struct members *m, const struct id128 *daemon,
                 char *text, size_t capacity);

/* join.c */
void joinings_free(struct run *run);
/* commit.c: without events. */
void commits_free(struct run *run);

#endif
