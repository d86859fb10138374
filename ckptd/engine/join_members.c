/*
 * join_members.c - the ranks of a generation that is known become members.
 *
 *   MEMBERS  the member records are read: who is known, who collides
 *   ENTER    one member record is written for all ranks that are waiting; who
 *            comes while that is under way is in the next
 *
 * A rank is told when the record that holds it is durable.
 */
#include "ckptd/engine/join_internal.h"

#include "common/plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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
