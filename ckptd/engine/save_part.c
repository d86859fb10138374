/*
 * save_part.c - one rank's part of a save.
 *
 * Happy path: part_open() answers the SAVE and reserves room on the local
 * store for all chunks (while there is none, and retention is at work, it is
 * asked for again: what is being removed makes room); the rank is granted
 * slots, as many as it still has chunks, and again as slots are written; when
 * every chunk is written (or found in the base) its segments are synced.
 *
 * part_progress() looks at a part from outside and takes whatever step is due;
 * it is called whenever something that the part may wait for has happened, and
 * is harmless otherwise. When the save is over it waits for what is under way
 * and then lets everything go: ENDED. The struct itself stays as the mark that
 * this rank has been told, until the save is freed.
 */
#include "ckptd/engine/retain.h"
#include "ckptd/engine/save_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Retention that removes something takes less than this; what is busy with
 * anything else must not hold up the word that the drive is full. */
#define ROOM_WAIT_NS ((uint64_t)10 * 1000 * 1000 * 1000)
#define ROOM_LOOK_NS ((uint64_t)20 * 1000 * 1000)

static const bool allowed[PART_PHASES][PART_PHASES] = {
    [PART_WAITING] = {[PART_RESERVING] = true, [PART_ENDED] = true},
    [PART_RESERVING] = {[PART_TAKING] = true, [PART_ENDED] = true},
    [PART_TAKING] = {[PART_SYNCING] = true, [PART_ENDED] = true},
    [PART_SYNCING] = {[PART_SYNCED] = true, [PART_ENDED] = true},
    [PART_SYNCED] = {[PART_ENDED] = true},
};

void part_move(struct save_part *p, enum part_phase to)
{
    assert(allowed[p->phase][to]);
    p->phase = to;
}

bool part_is_taking(const struct save_part *p)
{
    return p->phase == PART_TAKING && p->save->phase == SAVE_RUNNING;
}

struct save_part *part_of_rank(const struct save *v, uint32_t rank)
{
    LIST_FOR_EACH (node, &v->parts) {
        struct save_part *p = container_of(node, struct save_part, link);

        if (p->rank == rank)
            return p;
    }
    return NULL;
}

struct save_part *part_of_session(const struct session *s, uint64_t number)
{
    LIST_FOR_EACH (node, &s->run->saves) {
        const struct save *v = container_of(node, struct save, link);
        struct save_part *p = part_of_rank(v, s->open.rank);

        if (p && p->session == s && p->number == number)
            return p;
    }
    return NULL;
}

/*
 * Life.
 */

struct save_part *part_new(struct save *v, struct session *s,
                           struct rank_table *table, const struct trust *trust)
{
    struct save_part *p = calloc(1, sizeof *p);
    int rc;

    if (!p)
        return NULL;
    p->table = table;
    rc = part_trust_init(p, s->engine->chunk_bytes, trust);
    p->written_count = (uint32_t)table->list.chunk_count;
    p->chunk_count = p->written_count + p->check.own_count;
    p->chunk = calloc((size_t)p->chunk_count + 1, sizeof *p->chunk);
    if (!p->chunk || rc) {
        part_trust_fini(p);
        free(p->chunk);
        free(p);
        return NULL;
    }
    for (uint32_t i = 0; i < p->chunk_count; i++)
        p->chunk[i].next = NO_CHUNK;
    p->save = v;
    p->session = s;
    p->slots = s->slots;
    if (p->slots)
        slots_use(p->slots);
    p->rank = s->open.rank;
    memcpy(p->coordinate, s->open.coordinate, sizeof p->coordinate);
    /* As enum ckpt_codec: AUTO 0, RAW 1, PLANES_LZ4 2. */
    p->codec = s->open.codec == 1 ? CODEC_RAW : CODEC_PLANES_LZ4;
    p->is_codec_sampled = s->open.codec == 0;
    p->number = s->next_number++;
    table->references++;
    p->queue_head = p->queue_tail = NO_CHUNK;
    p->base_rank = -1;
    list_append(&v->parts, &p->link);
    return p;
}

/* Everything but the mark. */
static void let_go(struct save_part *p)
{
    rank_table_put(p->table);
    p->table = NULL;
    values_free(&p->values);
    p->values = (struct values){0};
    free(p->chunk);
    p->chunk = NULL;
    free(p->segment);
    p->segment = NULL;
    part_trust_fini(p);
    if (p->slots)
        slots_unuse(p->slots);
    p->slots = NULL;
}

void part_free(struct save_part *p)
{
    list_remove(&p->link);
    list_remove(&p->ready);
    let_go(p);
    free(p);
}

/*
 * Telling the rank.
 */

void part_answer(struct save_part *p)
{
    struct wire_save_ok ok = {.save = p->number, .id = p->save->id};
    struct wr w = {0};

    if (p->is_answered)
        return;
    p->is_answered = true;
    if (!p->session)
        return;
    wire_save_ok_encode(&ok, &w);
    session_send(p->session, WIRE_SAVE_OK, p->request_id, &w);
}

void part_state(const struct save_part *p, enum wire_state_value state)
{
    struct wire_state v = {
        .save = p->number, .id = p->save->id, .state = state};
    struct wr w = {0};

    if (!p->session)
        return;
    if (state == WIRE_STATE_ABORTED) {
        v.code = p->save->err.code;
        memcpy(v.text, p->save->err.text, sizeof v.text);
    } else if (state == WIRE_STATE_COMMITTED) {
        memcpy(v.text, p->save->err.text, sizeof v.text);
    }
    wire_state_encode(&v, &w);
    session_send(p->session, WIRE_STATE, 0, &w);
}

void part_refuse(struct save_part *p)
{
    p->is_answered = true;
    if (p->session)
        session_error(p->session, p->request_id, p->save->err.code,
                      "rank %" PRIu32 " step %" PRIu64 ": %s", p->rank,
                      p->save->step, p->save->err.text);
}

/*
 * Room.
 */

static void writer_open(struct save_part *p);

static void room_fire(struct env_timer *timer)
{
    struct save_part *p = container_of(timer, struct save_part, room);

    p->is_short_of_room = false;
    writer_open(p);
}

/* Ask again in a moment? Retention is told at the first time; while it is at
 * work there may be room yet. */
static bool waits_for_room(struct save_part *p)
{
    struct engine *e = p->save->engine;
    uint64_t now = e->env->ops->now_ns(e->env);

    if (p->save->phase != SAVE_RUNNING)
        return false;
    if (p->room_until_ns == 0) {
        p->room_until_ns = now + ROOM_WAIT_NS;
        retain_no_room(e);
    }
    if (now >= p->room_until_ns || !engine_is_retaining(e))
        return false;
    p->is_short_of_room = true;
    p->room.fire = room_fire;
    e->env->ops->timer_set(e->env, &p->room, now + ROOM_LOOK_NS);
    return true;
}

static void on_reserved(void *arg, int result, struct seg_writer *w,
                        const struct err *err)
{
    struct save_part *p = arg;

    p->writer = w;
    if ((result == -ENOSPC || result == -EDQUOT) && waits_for_room(p))
        return;
    part_move(p, PART_TAKING);
    if (result)
        save_abort(p->save, result,
                   "rank %" PRIu32 ": no room for its chunks: %s", p->rank,
                   err->text);
    part_progress(p);
}

/* The bytes of the chunks to be written, and of the largest. */
static uint64_t extents(const struct save_part *p, uint64_t *largest)
{
    const struct writelist *list = &p->table->list;
    uint64_t bytes = 0;

    *largest = 0;
    for (size_t i = 0; i < list->chunk_count; i++) {
        uint64_t extent = chunk_extent_bytes(list->chunk[i].raw_bytes);

        bytes += extent;
        *largest = max_u64(*largest, extent);
    }
    return bytes;
}

static void writer_open(struct save_part *p)
{
    const struct save *v = p->save;
    struct segment_header base = {
        .home = v->run->home->uuid, .run = v->run->catalog.uuid, .save = v->id};
    uint64_t largest, bytes = extents(p, &largest);

    memcpy(base.home_path, v->run->home->path, sizeof base.home_path);
    memcpy(base.run_name, v->run->name, sizeof v->run->name);
    seg_writer_open(v->engine->pool, &base, bytes, largest, on_reserved, p);
}

static void reserve(struct save_part *p)
{
    uint64_t largest;

    part_move(p, PART_RESERVING);
    if (extents(p, &largest) > 0) {
        writer_open(p);
        return;
    }
    part_move(p, PART_TAKING);
    if (p->chunk_count > 0) /* nothing to write, something to digest */
        return;
    p->is_staged = true;
    part_state(p, WIRE_STATE_STAGED);
}

void part_open(struct save_part *p)
{
    if (p->save->is_refused && !p->is_answered) {
        part_refuse(p);
        part_progress(p);
        return;
    }
    part_answer(p);
    if (p->save->phase == SAVE_RUNNING && p->phase == PART_WAITING) {
        base_match(p);
        reserve(p);
    } else if (p->save->phase == SAVE_DONE && !p->save->is_committed) {
        part_state(p, WIRE_STATE_ABORTED);
    }
    part_progress(p);
}

/*
 * Slots.
 */

/* SLOTS of `count` that were just taken, in w as u32s. */
static void send_slots(struct save_part *p, const struct wr *taken)
{
    struct wire_slots v = {.owner = p->number,
                           .count = (uint32_t)(taken->bytes / 4),
                           .slots = taken->data};
    struct wr w = {0};

    wire_slots_encode(&v, &w);
    w.failed |= taken->failed;
    session_send(p->session, WIRE_SLOTS, 0, &w);
}

static void grant(struct save_part *p)
{
    struct wr taken = {0};

    if (!p->session || !part_is_taking(p))
        return;
    while (p->granted_count < p->chunk_count &&
           taken.bytes < WIRE_PAYLOAD_MAX / 2) {
        int64_t slot = slot_take(p->slots, SLOT_GRANTED, p->number);

        if (slot < 0)
            break;
        wr_u32(&taken, (uint32_t)slot);
        p->granted_count++;
    }
    if (taken.bytes > 0)
        send_slots(p, &taken);
    wr_free(&taken);
}

/*
 * Going on.
 */

static bool is_quiet(const struct save_part *p)
{
    return p->active_count == 0 && p->phase != PART_RESERVING &&
           p->phase != PART_SYNCING && !p->is_replacing &&
           !vote_is_building(p->save);
}

bool part_is_in_flight(const struct save_part *p)
{
    return p->phase != PART_ENDED && (!is_quiet(p) || p->writer);
}

static void on_synced(void *arg, int result, const struct err *err)
{
    struct save_part *p = arg;

    part_move(p, PART_SYNCED);
    if (result)
        save_abort(p->save, result, "rank %" PRIu32 ": its chunks: %s", p->rank,
                   err->text);
    else
        save_try_vote(p->save);
    part_progress(p);
}

static void sync_when_written(struct save_part *p)
{
    if (p->phase != PART_TAKING || p->done_count < p->chunk_count ||
        !is_quiet(p))
        return;
    part_move(p, PART_SYNCING);
    if (p->writer) {
        seg_writer_sync(p->writer, on_synced, p);
        return;
    }
    part_move(p, PART_SYNCED);
    save_try_vote(p->save);
}

/* The save has committed: what its slots hold may be found by others. */
static void cache_slots(struct save_part *p)
{
    for (uint32_t i = 0; i < p->written_count; i++) {
        const struct part_chunk *c = &p->chunk[i];
        const struct slot *slot = &p->slots->slot[c->slot];

        if (slot->state == SLOT_CLEAN && slot->owner == p->number &&
            slot->number == c->number &&
            digest_equal(&slot->content, &c->content))
            slot_cache(p->slots, c->slot);
    }
}

static void end_when_over(struct save_part *p)
{
    struct save *v = p->save;
    struct session *s = p->session;

    pipeline_forget(p);
    if (p->is_short_of_room) {
        p->is_short_of_room = false;
        v->engine->env->ops->timer_stop(v->engine->env, &p->room);
        part_move(p, PART_TAKING);
    }
    if (!is_quiet(p))
        return;
    if (p->writer)
        seg_writer_close(p->writer, false);
    p->writer = NULL;
    if (v->phase != SAVE_DONE)
        return;
    part_move(p, PART_ENDED);
    if (p->slots && v->is_committed)
        cache_slots(p);
    if (p->slots)
        slots_release(p->slots, p->number);
    let_go(p);
    save_part_ended(v);
    if (s)
        session_slots_freed(s);
}

void part_progress(struct save_part *p)
{
    if (p->phase == PART_ENDED)
        return;
    if (p->save->phase == SAVE_ABORTING || p->save->phase == SAVE_DONE) {
        end_when_over(p);
        return;
    }
    if (p->save->phase != SAVE_RUNNING)
        return;
    grant(p);
    sync_when_written(p);
}
