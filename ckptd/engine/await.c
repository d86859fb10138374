/*
 * await.c - see await.h.
 *
 * One struct awaited per checkpoint, with all that wait for it. Its timer looks
 * once a second: what the catalog knows (this daemon's own drain keeps it up to
 * date), else whether remote/SAVE is in the home, and if not, whether a tomb
 * is: the last share may be another daemon's, and so may be the removal. Once
 * the mark is there, what is on record as damaged behind it is listed before
 * anybody is told: others find that, and others mend it. A home that cannot be
 * asked is asked again a second later.
 */
#include "ckptd/engine/await.h"

#include "ckptd/engine/drain.h"
#include "ckptd/engine/home_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct asker {
    struct list link;        /* awaited.askers, oldest first */
    struct session *session; /* it takes its askers along when it goes */
    uint64_t request_id;
    uint64_t until_ns;
    uint32_t after; /* a look counts that began after so many */
};

struct awaited {
    struct list link; /* engine.awaited */
    struct run *run;
    struct save_id id;
    struct list askers;
    struct env_timer timer;
    bool is_looking; /* the request is in flight */
    uint32_t begun;  /* looks at what is damaged */
    uint32_t done;   /* the last of them that was answered */
    bool is_removed; /* its tomb was seen; the catalog learns that by itself */
    struct store_req req;
    char name[RECORD_NAME_BYTES];
};

static void forget(struct asker *k)
{
    k->session->await_count--;
    list_remove(&k->link);
    free(k);
}

/* Gone, if nobody waits any more. */
static void settle(struct awaited *a)
{
    struct env *env = run_env(a->run);

    if (!list_is_empty(&a->askers) || a->is_looking)
        return;
    env->ops->timer_stop(env, &a->timer);
    list_remove(&a->link);
    free(a);
}

/* What is known of it now: 0 and *state, or a code with words. */
static int known(const struct run *run, const struct save_id *id,
                 uint32_t *state, struct err *err)
{
    const struct catalog_save *s = catalog_find(&run->catalog, id);

    *state = WIRE_STATE_COMMITTED;
    if (catalog_status(&run->catalog, id) == SAVE_REMOVED)
        return err_set(err, -ENOENT, "it was removed before it was REMOTE");
    if (!s)
        return err_set(err, -ENOENT, "there is none");
    if (s->status != SAVE_COMMITTED)
        return err_set(err, -EINVAL, "it is no checkpoint");
    if (s->is_remote_damaged)
        return err_set(err, -CKPT_ECORRUPT,
                       "its copy in the remote tier was found damaged; ckpt cp "
                       "to its own home mends it");
    if (s->is_marked_remote)
        *state = WIRE_STATE_REMOTE;
    return s->is_marked_remote ? 0 : drain_is_meant(run, s, err);
}

static int known_of(const struct awaited *a, uint32_t *state, struct err *err)
{
    if (a->is_removed)
        return err_set(err, -ENOENT, "it was removed before it was REMOTE");
    return known(a->run, &a->id, state, err);
}

static void answer(struct session *s, uint64_t request_id,
                   const struct save_id *id, uint32_t state,
                   const struct err *err)
{
    struct wire_state v = {.id = *id, .state = state};
    struct wr w = {0};

    if (err->code) {
        session_error(s, request_id, err->code,
                      "run %s, step %" PRIu64 " (generation %u): %s",
                      s->run->name, id->step, id->generation, err->text);
        return;
    }
    wire_state_encode(&v, &w);
    session_send(s, WIRE_STATE, request_id, &w);
}

/* Is it what the home says now that counts, not what was once known? */
static bool is_of_home(int result, uint32_t state)
{
    return result == -CKPT_ECORRUPT || state == WIRE_STATE_REMOTE;
}

/* Those whose time has come; all of them, when there is something to tell, but
 * for who has yet to hear what the home says, if it is that. */
static void answer_due(struct awaited *a, bool is_fresh)
{
    uint32_t state = 0;
    struct err err = {0};
    int result = known_of(a, &state, &err);
    bool is_homes = is_of_home(result, state);
    uint64_t now = env_now(run_env(a->run));

    LIST_FOR_EACH_SAFE (node, after, &a->askers) {
        struct asker *k = container_of(node, struct asker, link);
        static const struct err nothing;
        bool is_known = is_homes ? is_fresh || a->done > k->after : result != 0;

        if (!is_known && k->until_ns > now)
            continue;
        answer(k->session, k->request_id, &a->id,
               is_known ? state : WIRE_STATE_COMMITTED,
               is_known ? &err : &nothing);
        forget(k);
    }
}

/*
 * Looking.
 */

static void look_at(struct awaited *a, const char *folder,
                    void (*done)(struct store_req *req, int64_t result))
{
    a->is_looking = true;
    a->req = (struct store_req){
        .op = STORE_STAT,
        .name = name_save(a->name, a->run->name, folder, &a->id),
        .done = done,
        .owner = a};
    store_submit(a->run->home->store, &a->req);
}

static void tomb_looked(struct store_req *req, int64_t result)
{
    struct awaited *a = req->owner;

    a->is_looking = false;
    a->is_removed = result >= 0;
    answer_due(a, false);
    settle(a);
}

static void damage_listed(void *arg, int result, struct store_names *names)
{
    struct awaited *a = arg;

    a->is_looking = false;
    if (result == 0) {
        catalog_set_damaged_remote(&a->run->catalog, names);
        a->done = a->begun;
    }
    answer_due(a, false);
    settle(a);
}

static void look_for_damage(struct awaited *a)
{
    a->is_looking = true;
    a->begun++;
    recio_list(a->run->home->store,
               name_run(a->name, a->run->name, "damaged_remote"), damage_listed,
               a);
}

static bool is_marked(const struct awaited *a)
{
    const struct catalog_save *s = catalog_find(&a->run->catalog, &a->id);

    return s && s->status == SAVE_COMMITTED && s->is_marked_remote;
}

/* It was only seen: creating it once more answers that it is there to stay. */
static void mark_stays(void *arg, int result)
{
    struct awaited *a = arg;
    struct catalog_save *s = catalog_find(&a->run->catalog, &a->id);

    a->is_looking = false;
    if ((result == 0 || result == -EEXIST) && s && s->status == SAVE_COMMITTED)
        s->is_marked_remote = true;
    if (is_marked(a))
        look_for_damage(a);
    else
        settle(a);
}

static void remote_looked(struct store_req *req, int64_t result)
{
    struct awaited *a = req->owner;

    a->is_looking = false;
    answer_due(a, false);
    if (list_is_empty(&a->askers)) {
        settle(a);
    } else if (result >= 0) {
        a->is_looking = true;
        drain_put_mark(a->run, &a->id, mark_stays, a);
    } else if (result == -ENOENT) {
        look_at(a, "tomb", tomb_looked);
    }
}

static void look_in(struct awaited *a, uint64_t ms)
{
    struct env *env = run_env(a->run);

    env->ops->timer_set(env, &a->timer, env_now(env) + ms * NS_PER_MS);
}

static void look(struct env_timer *timer)
{
    struct awaited *a = container_of(timer, struct awaited, timer);

    answer_due(a, false);
    look_in(a, AWAIT_LOOK_MS); /* also while a look outlives all who waited:
                                  others come */
    if (list_is_empty(&a->askers))
        settle(a);
    else if (!a->is_looking && is_marked(a))
        look_for_damage(a);
    else if (!a->is_looking)
        look_at(a, "remote", remote_looked);
}

/*
 * Who asks.
 */

static struct awaited *find(const struct engine *e, const struct run *run,
                            const struct save_id *id)
{
    LIST_FOR_EACH (node, &e->awaited) {
        struct awaited *a = container_of(node, struct awaited, link);

        if (a->run == run && save_id_compare(&a->id, id) == 0)
            return a;
    }
    return NULL;
}

static struct awaited *find_or_make(struct engine *e, struct run *run,
                                    const struct save_id *id)
{
    struct awaited *a = find(e, run, id);

    if (a)
        return a;
    a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->run = run;
    a->id = *id;
    a->timer.fire = look;
    list_init(&a->askers);
    list_append(&e->awaited, &a->link);
    look_in(a, is_marked(a) ? 0 : AWAIT_LOOK_MS);
    return a;
}

void await_request(struct session *s, uint64_t request_id,
                   const struct wire_await *v)
{
    struct awaited *a;
    struct asker *k;
    struct err err = {0};
    uint32_t state;
    int result = known(s->run, &v->id, &state, &err);

    if (result && !is_of_home(result, state)) {
        answer(s, request_id, &v->id, state, &err);
        return;
    }
    if (s->await_count == SESSION_AWAITS_MAX) {
        session_error(s, request_id, -EBUSY,
                      "this rank waits for %d checkpoints already",
                      SESSION_AWAITS_MAX);
        return;
    }
    k = calloc(1, sizeof *k);
    a = k ? find_or_make(s->engine, s->run, &v->id) : NULL;
    if (!a) {
        free(k);
        session_error(s, request_id, -ENOMEM, "no memory to wait for REMOTE");
        return;
    }
    k->session = s;
    k->request_id = request_id;
    k->until_ns = env_now(s->engine->env) + AWAIT_MS * NS_PER_MS;
    k->after = a->begun;
    list_append(&a->askers, &k->link);
    s->await_count++;
}

void await_session_gone(struct session *s)
{
    LIST_FOR_EACH_SAFE (node, after, &s->engine->awaited) {
        struct awaited *a = container_of(node, struct awaited, link);

        LIST_FOR_EACH_SAFE (at, next, &a->askers) {
            struct asker *k = container_of(at, struct asker, link);

            if (k->session == s)
                forget(k);
        }
        settle(a);
    }
}

void await_changed(struct run *run, const struct save_id *id)
{
    struct awaited *a = find(run->home->engine, run, id);

    if (!a)
        return;
    answer_due(a, true); /* it was read back just now */
    settle(a);
}

bool await_is_busy(const struct engine *e)
{
    LIST_FOR_EACH (node, &e->awaited)
        if (container_of(node, struct awaited, link)->is_looking)
            return true;
    return false;
}
