/*
 * save.c - what ranks ask of a save: SAVE, CHUNKS, CANCEL, WATCH.
 *
 * SAVE finds the oldest save of this step that has no part of this rank yet,
 * or makes one; so every rank's n-th SAVE of a step belongs to the same
 * attempt, also when that was aborted before the rank came. What is wrong with
 * the request itself is answered by WIRE_ERROR; what happens to the save later
 * by STATE.
 *
 * CHUNKS of a save that is over are ignored: they crossed its end on the way.
 * CHUNKS that claim what is not theirs are a breach.
 */
#include "ckptd/engine/save_internal.h"

#include "common/plant.h"
#include "common/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * SAVE.
 */

static int check_values(const struct session *s, const struct values *values,
                        struct err *err)
{
    const struct wire_open *open = &s->open;

    for (size_t i = 0; i < values->count; i++) {
        const struct value *v = &values->value[i];

        for (uint32_t k = 0; k < open->layout.axis_count; k++) {
            if (!(v->axes & 1u << k) || v->coordinate[k] == open->coordinate[k])
                continue;
            return err_set(err, -EINVAL,
                           "value '%s' is of coordinate %" PRIu32
                           " on axis %s, but this rank has %" PRIu32,
                           v->name, v->coordinate[k], open->layout.axis[k].name,
                           open->coordinate[k]);
        }
    }
    return 0;
}

/* Of those the session has a part in. */
static uint32_t undecided_count(const struct session *s)
{
    uint32_t count = 0;

    LIST_FOR_EACH (node, &s->run->saves) {
        const struct save *v = container_of(node, struct save, link);

        LIST_FOR_EACH (at, &v->parts) {
            const struct save_part *p =
                container_of(at, struct save_part, link);

            count += p->session == s && p->phase != PART_ENDED;
        }
    }
    return count;
}

static bool is_any_waiting(const struct run *run)
{
    LIST_FOR_EACH (node, &run->saves)
        if (container_of(node, struct save, link)->phase == SAVE_WAITING)
            return true;
    return false;
}

/* Too many undecided saves of one rank are refused for the whole job (see
 * save_request()), but for those that wait and begin later, which a higher step
 * must not overtake, and within bounds. */
static bool is_overfull(const struct session *s)
{
    uint32_t count = undecided_count(s);

    return count >= 2 * SESSION_SAVES_MAX ||
           (count >= SESSION_SAVES_MAX && is_any_waiting(s->run));
}

/* The job was started anew, here or, as its last save found, elsewhere. */
static bool is_over(const struct session *s)
{
    const struct catalog_generation *g =
        catalog_generation_at(&s->run->catalog, s->generation);

    return s->generation != s->run->generation ||
           (g && g->is_closed && !is_left_out("look for a closed generation"));
}

static int check_request(struct session *s, const struct wire_save *v,
                         struct rank_table **table, struct err *err)
{
    *table = session_table(s, v->table);
    if (!*table)
        return err_set(err, -ENOENT, "table %" PRIu32 " was not given",
                       v->table);
    if (!s->slots && ((*table)->list.chunk_count > 0 || v->has_trust))
        return err_set(err, -EINVAL, "there is no arena to save from");
    if (is_over(s))
        return err_set(err, -ESTALE,
                       "generation %" PRIu32 " has ended: the job was started "
                       "again",
                       s->generation);
    if (s->has_saved && v->step < s->last_step)
        return err_set(err, -CKPT_ECONFLICT,
                       "steps never decrease: %" PRIu64 " was saved before",
                       s->last_step);
    if (is_overfull(s))
        return err_set(err, -EBUSY,
                       "%d saves of this rank are undecided, the most there "
                       "may be: wait for one",
                       SESSION_SAVES_MAX);
    return 0;
}

/* The oldest save of the step that this rank has no part in; NULL: none. */
static struct save *find_save(struct session *s, uint64_t step, struct err *err)
{
    LIST_FOR_EACH (node, &s->run->saves) {
        struct save *v = container_of(node, struct save, link);

        if (v->generation != s->generation || v->step != step)
            continue;
        if (!part_of_rank(v, s->open.rank))
            return v;
        if (v->phase != SAVE_DONE)
            (void)err_set(err, -CKPT_ECONFLICT, "it is being saved already");
    }
    return NULL;
}

/* May a save begin at all? */
static int check_new(const struct session *s, struct err *err)
{
    if (s->engine->is_closing)
        return err_set(err, -ECANCELED, "the daemon is stopping");
    if (commits_told(s->run) >= SAVE_TOLD_MAX)
        return err_set(err, -EBUSY,
                       "home %.*s has not taken the aborts of the last %d "
                       "saves: there is no use in more before it answers",
                       (int)text_home_bytes(s->run->home->path),
                       s->run->home->path, SAVE_TOLD_MAX);
    return 0;
}

static void begin_part(struct session *s, struct save *v, uint64_t request_id,
                       const struct wire_save *asked, struct rank_table *table,
                       struct values *values)
{
    struct save_part *p =
        part_new(v, s, table, asked->has_trust ? &asked->trust : NULL);

    if (!p) {
        values_free(values);
        session_error(s, request_id, -ENOMEM,
                      "rank %" PRIu32 " step %" PRIu64 ": no memory",
                      s->open.rank, v->step);
        save_abort(v, -ENOMEM, "rank %" PRIu32 ": no memory for its part",
                   s->open.rank);
        return;
    }
    p->values = *values;
    p->request_id = request_id;
    if (!s->has_saved) /* the restart is over: nobody loads from them again */
        (void)slots_drop_orphans(&s->engine->arenas, &s->run->catalog.uuid,
                                 s->generation);
    s->has_saved = true;
    s->last_step = v->step;
    if (v->phase != SAVE_WAITING && v->phase != SAVE_OPENING &&
        v->phase != SAVE_ABORTING)
        part_open(p);
}

void save_request(struct session *s, uint64_t request_id,
                  const struct wire_save *v)
{
    struct rank_table *table;
    struct values values = {0};
    struct err err = {0};
    struct save *save;
    bool is_new, is_crowded;
    int rc;

    save_reap(s->run);
    rc = check_request(s, v, &table, &err);
    if (rc)
        goto fail;
    is_crowded = undecided_count(s) >= SESSION_SAVES_MAX;
    save = find_save(s, v->step, &err);
    is_new = !save;
    /* What other ranks have begun is waited for, and so must get its parts. */
    if (is_new && !err.code)
        (void)check_new(s, &err);
    if (err.code && is_new)
        goto fail;
    rc = values_decode(v->values, v->values_bytes, &s->open.layout, &values,
                       &err);
    if (rc)
        goto fail;
    if (check_values(s, &values, &err))
        goto fail_after_values;
    if (is_new)
        save = save_new(s, v->step);
    if (!save) {
        (void)err_set(&err, -ENOMEM, "no memory");
        goto fail_after_values;
    }
    begin_part(s, save, request_id, v, table, &values);
    if (is_crowded) /* or the other ranks' daemons wait for our vote */
        save_abort(save, -CKPT_EABORTED,
                   "skipped: %d saves of rank %" PRIu32
                   " are undecided, the most there may be",
                   SESSION_SAVES_MAX, s->open.rank);
    else if (is_new && save->phase == SAVE_WAITING) {
        save_admit(save, v->overload);
        save_check_departed(save);
    }
    return;

fail_after_values:
    values_free(&values);
fail:
    session_error(s, request_id, err.code,
                  "rank %" PRIu32 " step %" PRIu64 ": %s", s->open.rank,
                  v->step, err.text);
}

/*
 * CHUNKS.
 */

/* NULL, or what is wrong with it. */
static const char *check_pair(const struct save_part *p, uint32_t chunk,
                              uint32_t slot)
{
    const struct slot *at;

    if (chunk >= p->chunk_count)
        return "is not in the write list";
    if (p->chunk[chunk].state != CHUNK_EXPECTED)
        return "was given before";
    if (slot >= p->slots->count)
        return "is in a slot that is not there";
    at = &p->slots->slot[slot];
    if (at->state != SLOT_GRANTED || at->owner != p->number)
        return "is in a slot that was not granted to this save";
    return NULL;
}

static void take_chunk(struct save_part *p, uint32_t chunk, uint32_t slot)
{
    slot_move(p->slots, slot, SLOT_FULL);
    p->chunk[chunk].slot = slot;
    p->given_count++;
    pipeline_push(p, chunk);
}

static void staged(struct save_part *p)
{
    p->is_staged = true;
    part_state(p, WIRE_STATE_STAGED);
}

void save_chunks(struct session *s, const struct wire_chunks *v)
{
    struct engine *e = s->engine;
    struct save_part *p = part_of_session(s, v->save);

    if (!p || !part_is_taking(p)) {
        if (v->save == 0 || v->save >= s->next_number)
            session_breach(s, "CHUNKS of save %" PRIu64 ", which is not there",
                           v->save);
        return;
    }
    for (uint32_t i = 0; i < v->count; i++) {
        uint32_t chunk = get_u32(v->pairs + (size_t)i * 8);
        uint32_t slot = get_u32(v->pairs + (size_t)i * 8 + 4);
        const char *wrong = check_pair(p, chunk, slot);

        if (wrong) {
            session_breach(s,
                           "CHUNKS of step %" PRIu64 ": chunk %" PRIu32 " %s",
                           p->save->step, chunk, wrong);
            return;
        }
        take_chunk(p, chunk, slot);
    }
    if (v->count > 0 && p->given_count == p->chunk_count)
        staged(p);
    pipeline_run(e);
}

/*
 * CANCEL and WATCH.
 */

void save_cancel(struct session *s, const struct wire_cancel *v)
{
    struct save_part *p = part_of_session(s, v->save);

    if (p && p->save->phase != SAVE_DONE)
        save_abort(p->save, v->code, "rank %" PRIu32 ": %s", s->open.rank,
                   v->text);
    else if (!p && (v->save == 0 || v->save >= s->next_number))
        session_breach(s, "CANCEL of save %" PRIu64 ", which is not there",
                       v->save);
}

static void describe(const struct session *s, const struct save *v,
                     struct wire_state *out)
{
    const struct save_part *p = part_of_rank(v, s->open.rank);

    out->id = v->id;
    out->save = p && p->session == s ? p->number : 0;
    if (v->phase == SAVE_DONE && !v->is_committed) {
        out->state = WIRE_STATE_ABORTED;
        out->code = v->err.code;
        memcpy(out->text, v->err.text, sizeof out->text);
    } else if (v->phase == SAVE_DONE) {
        out->state = WIRE_STATE_COMMITTED;
        memcpy(out->text, v->err.text, sizeof out->text);
    } else if (v->is_local) {
        out->state = WIRE_STATE_LOCAL;
    } else {
        out->state = p && p->is_staged ? WIRE_STATE_STAGED : 0;
    }
}

/* Of the catalog; -ENOENT when nothing is known of it. A decision that cannot
 * be read is neither a COMMIT nor an ABORT. */
static int describe_recorded(const struct catalog *all,
                             const struct save_id *id, struct wire_state *out,
                             struct err *err)
{
    const struct catalog_save *c = catalog_find(all, id);

    out->id = *id;
    if (!c && catalog_status(all, id) == SAVE_ABORTED) {
        out->state = WIRE_STATE_ABORTED;
        out->code = -CKPT_EABORTED;
        (void)snprintf(out->text, sizeof out->text,
                       "aborted a while ago: `ckpt ls --all` has the reason");
        return 0;
    }
    if (!c || c->status == SAVE_REMOVED)
        return err_set(err, -ENOENT, "there is none");
    if (c->status == SAVE_UNREADABLE)
        return err_set(err, c->code < 0 ? c->code : -EIO,
                       "its decision cannot be read: %s", catalog_reason(c));
    if (c->status == SAVE_COMMITTED) {
        out->state = WIRE_STATE_COMMITTED;
        if (!c->is_lost)
            (void)snprintf(out->text, sizeof out->text, "%s",
                           catalog_reason(c));
    }
    if (c->status == SAVE_ABORTED) {
        out->state = WIRE_STATE_ABORTED;
        out->code = c->code < 0 ? c->code : -CKPT_EABORTED;
        (void)snprintf(out->text, sizeof out->text, "%s", catalog_reason(c));
    }
    return 0;
}

void save_watch(struct session *s, uint64_t request_id,
                const struct wire_watch *v)
{
    struct wire_state state = {0};
    char text[SAVE_ID_TEXT_BYTES];
    struct wr w = {0};
    struct err err;
    bool is_known = false;
    int rc = 0;

    LIST_FOR_EACH (node, &s->run->saves) {
        const struct save *save = container_of(node, struct save, link);

        if (save_id_compare(&save->id, &v->id) == 0) {
            describe(s, save, &state);
            is_known = true;
        }
    }
    if (!is_known)
        rc = describe_recorded(&s->run->catalog, &v->id, &state, &err);
    if (rc) {
        session_error(s, request_id, rc, "run %s: save %s: %s", s->run->name,
                      save_id_format(&v->id, text), err.text);
        return;
    }
    wire_state_encode(&state, &w);
    session_send(s, WIRE_STATE, request_id, &w);
}

void save_grant(struct session *s)
{
    if (s->state != SESSION_JOINED || !s->slots)
        return;
    LIST_FOR_EACH (node, &s->run->saves) {
        const struct save *v = container_of(node, struct save, link);

        LIST_FOR_EACH (at, &v->parts) {
            struct save_part *p = container_of(at, struct save_part, link);

            if (p->session == s)
                part_progress(p);
        }
    }
}
