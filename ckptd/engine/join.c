/*
 * join.c - ranks that join a generation.
 *
 * All ranks of this daemon that come with one token share a flow, struct
 * joining. It finds out whether the newest generation is theirs (join_make.c
 * makes one when it is not), reads who is a member, and writes one member
 * record for all ranks that are waiting; who comes while that is under way is
 * in the next. A rank is told when the record that holds it is durable.
 *
 * A request that fails or ends is first put on a list of its own and then
 * called back, since a callback may cancel or begin others. A flow is started,
 * and freed, from its timer alone.
 */
#include "ckptd/engine/join_internal.h"
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

static void join_stop_timer(struct join *join)
{
    struct env *env = run_env(join->run);

    env->ops->timer_stop(env, &join->timer);
}

/* Call back all of a list; err.code is each one's result. */
static void joins_done(struct list *finished)
{
    struct list *node;

    while ((node = list_pop(finished))) {
        struct join *join = container_of(node, struct join, link);

        join->state = NULL;
        join->done(join, join->err.code);
    }
}

static void join_finish(struct join *join, struct list *finished)
{
    join_stop_timer(join);
    list_remove(&join->link);
    list_append(finished, &join->link);
}

static void join_refuse(struct join *join, struct list *finished, int code,
                        const char *format, ...) PRINTF_LIKE(4, 5);

/* "rank 3 of run r: ..." */
static void join_refuse(struct join *join, struct list *finished, int code,
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

/*
 * MEMBERS and ENTER.
 */

/* The run's sessions are in this generation from now on. */
static void run_enter(struct run *run, const struct record_generation *g)
{
    if (run->generation == g->generation)
        return;
    run->generation = g->generation;
    run->world_size = g->world_size;
    run->decide_timeout_ms = decide_timeout(g->decide_timeout_ms);
    members_fini(&run->members);
    members_init(&run->members, g->generation, g->world_size);
}

static bool is_entering(const struct joining *j, uint32_t rank)
{
    LIST_FOR_EACH (node, &j->entering) {
        if (container_of(node, struct join, link)->open->rank == rank)
            return true;
    }
    return false;
}

static void shape_refuse(struct join *join, struct list *finished,
                         const struct record_generation *g)
{
    char theirs[256], ours[256];

    layout_text(&g->layout, theirs, sizeof theirs);
    layout_text(&join->open->layout, ours, sizeof ours);
    join_refuse(join, finished, -EINVAL,
                "it says %" PRIu32 " ranks with layout %s, but generation "
                "%" PRIu32 " has %" PRIu32 " with layout %s",
                join->open->world_size, ours, g->generation, g->world_size,
                theirs);
}

/* One rank: in already, refused, or to be entered. */
static void join_sort(struct joining *j, struct join *join,
                      const struct catalog_generation *g, struct list *finished)
{
    struct run *run = j->run;
    const struct wire_open *o = join->open;
    struct id128 daemon;
    char text[400];

    join->generation = j->generation;
    join->parent = g->record.parent;
    if (o->world_size != g->record.world_size ||
        !layout_equal(&o->layout, &g->record.layout)) {
        shape_refuse(join, finished, &g->record);
        return;
    }
    if (members_find(&run->members, o->rank, &daemon) < 0) {
        if (is_entering(j, o->rank)) {
            join_refuse(join, finished, -ESTALE,
                        "another process joins as this rank right now");
            return;
        }
        join_stop_timer(join);
        list_remove(&join->link);
        list_append(&j->entering, &join->link);
        return;
    }
    if ((o->rejoin && id_equal(&daemon, &run_env(run)->local_uuid)) ||
        is_left_out("one process for a rank")) {
        join_finish(join, finished);
        return;
    }
    daemon_text(&run->members, &daemon, text, sizeof text);
    join_refuse(join, finished, -ESTALE,
                "a process with this rank and token joined generation %" PRIu32
                " already, through %s; a new start of the job needs a new "
                "token",
                j->generation, text);
}

static void enter_put(struct joining *j);

static void members_done(void *arg, int result)
{
    struct joining *j = arg;
    struct run *run = j->run;
    const struct catalog_generation *g;
    struct list finished;

    if (run->generation != j->generation) { /* a newer one came meanwhile */
        joining_move(j, JOINING_READ);
        joining_read(j);
        return;
    }
    if (result < 0) {
        joining_fail(j, result, "%s",
                     run->members.conflict.code ? run->members.conflict.text
                                                : err_text(result));
        return;
    }
    list_init(&finished);
    g = catalog_generation_at(&run->catalog, j->generation);
    assert(g);
    LIST_FOR_EACH_SAFE (node, after, &j->joins)
        join_sort(j, container_of(node, struct join, link), g, &finished);
    if (list_is_empty(&j->entering)) {
        joining_settle(j);
    } else {
        j->tries = 0;
        joining_move(j, JOINING_ENTER);
        enter_put(j);
    }
    joins_done(&finished);
}

void joining_members(struct joining *j)
{
    struct run *run = j->run;
    const struct catalog_generation *g =
        catalog_generation_at(&run->catalog, j->generation);

    assert(g);
    if (run->generation > j->generation) {
        joining_move(j, JOINING_READ);
        joining_read(j);
        return;
    }
    run_enter(run, &g->record);
    members_read(run, &run->members, members_done, j);
}

/* Who is in the record stays what it was at first, whoever is cancelled. */
static int record_prepare(struct joining *j)
{
    struct env *env = run_env(j->run);
    struct record_member *r = &j->record;
    size_t count = 1;

    LIST_FOR_EACH (node, &j->entering) {
        (void)node;
        count++;
    }
    record_member_fini(r);
    *r = (struct record_member){.daemon = env->local_uuid};
    (void)snprintf(r->host, sizeof r->host, "%s", env->host);
    r->rank = malloc(count * sizeof *r->rank);
    if (!r->rank)
        return -ENOMEM;
    LIST_FOR_EACH (node, &j->entering)
        r->rank[r->rank_count++] =
            container_of(node, struct join, link)->open->rank;
    return 0;
}

/* Durable. */
static void entered(struct joining *j)
{
    struct list finished, *node;
    int rc = 0;

    if (j->run->generation == j->generation)
        rc = members_add(&j->run->members, &j->record.daemon, j->record_n,
                         &j->record);
    if (rc < 0) {
        joining_fail(j, rc, "%s", err_text(rc));
        return;
    }
    list_init(&finished);
    while ((node = list_pop(&j->entering)))
        list_append(&finished, node);
    joining_settle(j);
    joins_done(&finished);
}

/* An outcome that is unknown is cleared up by doing it once more: when our
 * record is there, -EEXIST says that it is durable. */
static void enter_done(void *arg, int result)
{
    struct joining *j = arg;
    struct list *node;

    if (result == 0 || (result == -EEXIST && j->tries > 0)) {
        entered(j);
        return;
    }
    if (result == -EEXIST) { /* an earlier life's that was late: read again */
        while ((node = list_pop(&j->entering)))
            list_append(&j->joins, node);
        joining_move(j, JOINING_MEMBERS);
        joining_members(j);
        return;
    }
    if (j->tries++ == 0 && result != -ECANCELED)
        enter_put(j);
    else
        joining_fail(j, result, "member record: %s", err_text(result));
}

static void enter_put(struct joining *j)
{
    struct run *run = j->run;
    struct env *env = run_env(run);
    const struct member_daemon *d =
        members_daemon(&run->members, &env->local_uuid);
    char name[RECORD_NAME_BYTES];
    struct wr w = {0};

    if (j->tries == 0) {
        j->record_n = d ? d->next_record : 0;
        if (record_prepare(j) < 0) {
            joining_fail(j, -ENOMEM, "%s", err_text(-ENOMEM));
            return;
        }
    }
    record_member_encode(&j->record, &w);
    recio_put(run->home->store,
              name_member(name, run->name, j->generation, &env->local_uuid,
                          j->record_n),
              &w, enter_done, j);
}
