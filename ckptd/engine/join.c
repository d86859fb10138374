/*
 * join.c - ranks that join a generation.
 *
 * All ranks of this daemon that come with one token share a flow, struct
 * joining. It finds out whether the newest generation is theirs (join_make.c
 * makes one when it is not), and then they become members (join_members.c).
 *
 * A request that fails or ends is first put on a list of its own and then
 * called back, since a callback may cancel or begin others. A flow is started,
 * and freed, from its timer alone.
 */
#include "ckptd/engine/join_internal.h"
#include "ckptd/engine/drain.h"
#include "ckptd/engine/retain.h"
#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const bool allowed[JOINING_PHASES][JOINING_PHASES] = {
    [JOINING_NEW] = {[JOINING_READ] = true, [JOINING_MEMBERS] = true},
    [JOINING_READ] = {[JOINING_CLOSE] = true,
                      [JOINING_CREATE] = true,
                      [JOINING_MEMBERS] = true},
    [JOINING_CLOSE] = {[JOINING_RESOLVE] = true},
    [JOINING_RESOLVE] = {[JOINING_READ] = true, [JOINING_CREATE] = true},
    [JOINING_CREATE] = {[JOINING_READ] = true,
                        [JOINING_MEMBERS] = true,
                        [JOINING_IDLE] = true},
    [JOINING_MEMBERS] =
        {[JOINING_READ] = true, [JOINING_ENTER] = true, [JOINING_IDLE] = true},
    [JOINING_ENTER] = {[JOINING_MEMBERS] = true, [JOINING_IDLE] = true},
    [JOINING_IDLE] = {[JOINING_READ] = true, [JOINING_MEMBERS] = true},
};

/* For the message of a caller that waited in vain. */
static const char *const phase_text[JOINING_PHASES] = {
    [JOINING_NEW] = "its turn",
    [JOINING_READ] = "the home to be read",
    [JOINING_CLOSE] = "the generation before to be closed",
    [JOINING_RESOLVE] = "undecided saves of the generation before",
    [JOINING_CREATE] = "the new generation's record",
    [JOINING_MEMBERS] = "the member records to be read",
    [JOINING_ENTER] = "a member record to be written",
    [JOINING_IDLE] = "its turn",
};

void joining_move(struct joining *j, enum joining_phase to)
{
    assert(allowed[j->phase][to]);
    j->phase = to;
}

void joining_later(struct joining *j, uint64_t delay_ns,
                   void (*fire)(struct env_timer *timer))
{
    struct env *env = run_env(j->run);

    j->timer.fire = fire;
    env->ops->timer_set(env, &j->timer, env_now(env) + delay_ns);
}

/*
 * Requests.
 */

void join_stop_timer(struct join *join)
{
    struct env *env = run_env(join->run);

    env->ops->timer_stop(env, &join->timer);
}

void joins_done(struct list *finished)
{
    struct list *node;

    while ((node = list_pop(finished))) {
        struct join *join = container_of(node, struct join, link);

        join->state = NULL;
        join->done(join, join->err.code);
    }
}

void join_finish(struct join *join, struct list *finished)
{
    join_stop_timer(join);
    list_remove(&join->link);
    list_append(finished, &join->link);
}

void join_refuse(struct join *join, struct list *finished, int code,
                 const char *format, ...)
{
    char why[ERR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    (void)err_set(&join->err, code, "rank %" PRIu32 " of run %s: %s",
                  join->open->rank, join->run->name, why);
    join_finish(join, finished);
}

static void join_fire_refused(struct env_timer *timer)
{
    struct join *join = container_of(timer, struct join, timer);

    join->done(join, join->err.code);
}

static void join_fire_timeout(struct env_timer *timer)
{
    struct join *join = container_of(timer, struct join, timer);
    const struct joining *j = join->state;
    struct list finished;

    list_init(&finished);
    join_refuse(join, &finished, -ETIMEDOUT,
                "could not join within %" PRIu32 " ms: waiting for %s",
                join->open->open_timeout_ms ? join->open->open_timeout_ms
                                            : OPEN_MS,
                phase_text[j->phase]);
    joins_done(&finished);
}

void join_cancel(struct join *join)
{
    join_stop_timer(join);
    list_remove(&join->link);
}

static int join_check(struct join *join)
{
    const struct wire_open *o = join->open;

    if (o->world_size > RANKS_MAX)
        return err_set(&join->err, -EINVAL,
                       "run %s: %" PRIu32 " ranks, at most %d", join->run->name,
                       o->world_size, RANKS_MAX);
    if (o->world_size == 0 || o->rank >= o->world_size)
        return err_set(&join->err, -EINVAL,
                       "run %s: rank %" PRIu32 " of %" PRIu32 " ranks",
                       join->run->name, o->rank, o->world_size);
    if (o->token[0] == '\0' && o->world_size > 1)
        return err_set(&join->err, -EINVAL,
                       "run %s: %" PRIu32 " ranks need a token, equal on all "
                       "of them and new at each start of the job",
                       join->run->name, o->world_size);
    if (o->token[0] == '\0' && o->rejoin)
        return err_set(&join->err, -ESTALE,
                       "run %s: without a token nobody can join again",
                       join->run->name);
    return layout_check(&o->layout, &join->err);
}

/*
 * Flows.
 */

static void joining_start(struct env_timer *timer);

static void joining_free(struct joining *j)
{
    struct env *env = run_env(j->run);

    env->ops->timer_stop(env, &j->timer);
    members_fini(&j->members);
    record_member_fini(&j->record);
    list_remove(&j->link);
    free(j);
}

void joinings_free(struct run *run)
{
    LIST_FOR_EACH_SAFE (node, after, &run->joinings) {
        struct joining *j = container_of(node, struct joining, link);
        struct list *at;

        while ((at = list_pop(&j->joins)))
            join_stop_timer(container_of(at, struct join, link));
        while ((at = list_pop(&j->entering)))
            join_stop_timer(container_of(at, struct join, link));
        joining_free(j);
    }
}

void joining_fail(struct joining *j, int code, const char *format, ...)
{
    struct list finished, *node;
    char why[ERR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    list_init(&finished);
    while ((node = list_pop(&j->entering)))
        join_refuse(container_of(node, struct join, link), &finished, code,
                    "%s", why);
    while ((node = list_pop(&j->joins)))
        join_refuse(container_of(node, struct join, link), &finished, code,
                    "%s", why);
    joining_free(j);
    joins_done(&finished);
}

static struct joining *joining_find(struct run *run, const char *token)
{
    LIST_FOR_EACH (node, &run->joinings) {
        struct joining *j = container_of(node, struct joining, link);

        if (token[0] != '\0' && strcmp(j->open.token, token) == 0)
            return j;
    }
    return NULL;
}

static struct joining *joining_new(struct run *run,
                                   const struct wire_open *open)
{
    struct joining *j = calloc(1, sizeof *j);
    struct env *env = run_env(run);
    struct id128 token;

    if (!j)
        return NULL;
    j->run = run;
    j->open = *open;
    if (open->token[0] == '\0') {
        env->ops->random(env, token.b, sizeof token.b);
        (void)id_format(&token, j->open.token);
    }
    list_init(&j->joins);
    list_init(&j->entering);
    list_append(&run->joinings, &j->link);
    joining_later(j, 0, joining_start);
    return j;
}

void join_begin(struct join *join)
{
    struct run *run = join->run;
    struct env *env = run_env(run);
    uint32_t ms = join->open->open_timeout_ms;
    struct joining *j = NULL;

    join->err = (struct err){0};
    list_init(&join->link);
    if (join_check(join) == 0) {
        j = joining_find(run, join->open->token);
        if (!j)
            j = joining_new(run, join->open);
        if (!j)
            (void)err_set(&join->err, -ENOMEM, "run %s: no memory", run->name);
    }
    join->state = j;
    if (!j) {
        join->timer.fire = join_fire_refused;
        env->ops->timer_set(env, &join->timer, env_now(env));
        return;
    }
    list_append(&j->joins, &join->link);
    join->timer.fire = join_fire_timeout;
    env->ops->timer_set(env, &join->timer,
                        env_now(env) + (ms ? ms : OPEN_MS) * NS_PER_MS);
}

/* Also the end: freed when nobody has come meanwhile. */
static void joining_start(struct env_timer *timer)
{
    struct joining *j = container_of(timer, struct joining, timer);
    const struct catalog_generation *g;

    if (list_is_empty(&j->joins)) {
        joining_free(j);
        return;
    }
    g = catalog_generation_at(&j->run->catalog, j->run->generation);
    if (g && strcmp(g->record.token, j->open.token) == 0) {
        j->generation = j->run->generation;
        joining_move(j, JOINING_MEMBERS);
        joining_members(j);
        return;
    }
    joining_move(j, JOINING_READ);
    joining_read(j);
}

void joining_settle(struct joining *j)
{
    joining_move(j, JOINING_IDLE);
    joining_later(j, 0, joining_start);
}

/*
 * READ.
 */

static void read_done(void *arg, int result, const struct err *err)
{
    struct joining *j = arg;

    if (result == -ENOENT) { /* it was there when the run was attached */
        joining_fail(j, result,
                     "%s: it was removed while this daemon knew the run. Put "
                     "it back; or, to start the run afresh, end the ckptd that "
                     "serves local store %s",
                     err->text, j->run->home->engine->env->local_path);
        return;
    }
    if (result < 0) {
        joining_fail(j, result, "%s", err->text);
        return;
    }
    retain_tombs(j->run);
    drain_run(j->run);
    joining_look(j);
}

void joining_read(struct joining *j)
{
    catalog_load(j->run->home->store, j->run->name, &j->run->catalog, read_done,
                 j);
}

void joining_look(struct joining *j)
{
    const struct catalog *c = &j->run->catalog;

    for (size_t i = c->generation_count; i > 0; i--) {
        const struct record_generation *g = &c->generation[i - 1].record;

        if (strcmp(g->token, j->open.token) != 0)
            continue;
        if (i < c->generation_count && !is_left_out("token of its own")) {
            joining_fail(j, -ESTALE,
                         "its token is that of generation %" PRIu32
                         ", the job goes on as generation %" PRIu32,
                         g->generation, catalog_newest(c)->record.generation);
            return;
        }
        j->generation = g->generation;
        joining_move(j, JOINING_MEMBERS);
        joining_members(j);
        return;
    }
    joining_make(j);
}
