/*
 * wire.h - messages between a trainer's rank and its daemon.
 *
 * One Unix stream socket per rank. A frame is a 16-byte header {u32 length of
 * the payload, u16 type, u16 flags, u64 id} and the payload, little-endian. A
 * reply carries the id of its request; what the daemon sends unasked has id 0.
 * Every request is answered by its _OK or by WIRE_ERROR. A frame that does not
 * decode ends the connection after a WIRE_ERROR with id 0.
 *
 *   rank                              daemon
 *   HELLO (+ pidfd)              ->   HELLO_OK
 *   OPEN                         ->   OPEN_OK
 *   ARENA                        ->   ARENA_OK (+ memfds)
 *   TABLE (more frames: flag)    ->   TABLE_OK
 *   SAVE                         ->   SAVE_OK, then
 *                                <-   SLOTS   (may be filled by the rank)
 *   CHUNKS                       ->           (no reply)
 *                                <-   STATE   (STAGED, LOCAL, ... or aborted)
 *   CANCEL                       ->           (no reply; a STATE follows)
 *   WATCH                        ->   STATE with the id of the request
 *   AWAIT                        ->   STATE with the id of the request
 *   LOAD                         ->   LOAD_OK, then per attempt
 *                                <-   LOAD_BEGIN, DELIVER..., DELIVERED
 *   CONSUMED                     ->           (no reply; slots are free)
 *   LOAD_VOTE                    ->           (no reply)
 *                                <-   LOAD_DONE, or LOAD_BEGIN again
 *   VALUES                       ->   VALUES_OK
 *   LIST                         ->   LIST_OK
 *   DESCRIBE                     ->   DESCRIBE_OK
 *   DRAIN (not after OPEN)       ->   DRAIN_OK
 *   CLOSE                        ->   CLOSE_OK
 *
 * Slots. An arena is 1..WIRE_PIECES_MAX memfds. Piece 0 begins with one page
 * that mirrors the slot table (informative). Slots are numbered over all
 * pieces; each is one page (header of the chunk, the daemon's) + chunk_bytes of
 * payload. A slot belongs to the rank from SLOTS until CHUNKS, and from
 * DELIVER until CONSUMED, else to the daemon.
 */
#ifndef FORMATS_WIRE_H
#define FORMATS_WIRE_H

#include "common/bytes.h"
#include "common/err.h"
#include "formats/extra.h"
#include "formats/trust.h"

#define WIRE_MAGIC         ((uint32_t)0x31574b43) /* "CKW1" */
#define WIRE_VERSION_LOW   ((uint16_t)1)
#define WIRE_VERSION_HIGH  ((uint16_t)1)
#define WIRE_HEADER_BYTES  16
#define WIRE_PAYLOAD_MAX   ((uint32_t)16 << 20)
#define WIRE_TABLE_MAX     ((uint64_t)256 << 20) /* of all frames of a table */
#define WIRE_PIECES_MAX    64
#define WIRE_PIECE_BYTES   ((uint64_t)1 << 30) /* at most, per piece */
#define WIRE_FLAG_MORE     1             /* TABLE: another frame follows */
#define WIRE_FEATURE_TRUST ((uint64_t)1) /* SAVE may carry struct trust */
/* OPEN may carry remote_every, AWAIT and DRAIN be sent; LIST_OK says states, to
 * a rank that has it. */
#define WIRE_FEATURE_REMOTE ((uint64_t)2)

enum wire_type {
    WIRE_ERROR = 1,
    WIRE_HELLO = 2,
    WIRE_HELLO_OK = 3,
    WIRE_OPEN = 4,
    WIRE_OPEN_OK = 5,
    WIRE_ARENA = 6,
    WIRE_ARENA_OK = 7,
    WIRE_TABLE = 8,
    WIRE_TABLE_OK = 9,
    WIRE_SAVE = 10,
    WIRE_SAVE_OK = 11,
    WIRE_SLOTS = 12,
    WIRE_CHUNKS = 13,
    WIRE_STATE = 14,
    WIRE_CANCEL = 15,
    WIRE_WATCH = 16,
    WIRE_LOAD = 17,
    WIRE_LOAD_OK = 18,
    WIRE_LOAD_BEGIN = 19,
    WIRE_DELIVER = 20,
    WIRE_DELIVERED = 21,
    WIRE_CONSUMED = 22,
    WIRE_LOAD_VOTE = 23,
    WIRE_LOAD_DONE = 24,
    WIRE_VALUES = 25,
    WIRE_VALUES_OK = 26,
    WIRE_LIST = 27,
    WIRE_LIST_OK = 28,
    WIRE_DESCRIBE = 29,
    WIRE_DESCRIBE_OK = 30,
    WIRE_CLOSE = 31,
    WIRE_CLOSE_OK = 32,
    WIRE_AWAIT = 33,
    WIRE_DRAIN = 34,
    WIRE_DRAIN_OK = 35,
    WIRE_LAST = WIRE_DRAIN_OK,
};

struct wire_header {
    uint32_t length;
    uint16_t type, flags;
    uint64_t id;
};

void wire_header_encode(const struct wire_header *h,
                        uint8_t out[WIRE_HEADER_BYTES]);
/* -EBADMSG: length over WIRE_PAYLOAD_MAX or an unknown type. */
int wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES],
                       struct wire_header *out) MUST_USE;

struct wire_error {
    int32_t code;
    char text[ERR_TEXT_BYTES];
};

struct wire_hello {
    uint32_t magic;
    uint16_t low, high;
    uint64_t features;
};

struct wire_hello_ok {
    uint16_t version;
    uint64_t features;
    struct id128 daemon;
    uint32_t is_service; /* installed service: survives the job */
    char mode[512];      /* one line: which failures this mode survives */
};

enum wire_resume {
    WIRE_RESUME_LATEST = 0,
    WIRE_RESUME_NONE = 1,
    WIRE_RESUME_STEP = 2,
};

struct wire_open {
    char home[1024]; /* absolute */
    char run[256];
    char token[256];
    char host[256];
    uint32_t rank, world_size;
    uint32_t resume;
    uint64_t resume_step;
    uint32_t resume_generation; /* 0: any */
    uint32_t keep_last, keep_every;
    uint32_t open_timeout_ms, decide_timeout_ms, load_timeout_ms;
    uint32_t codec;  /* enum ckpt_codec */
    uint32_t rejoin; /* 1: this process was in and lost its daemon */
    struct layout layout;
    uint32_t coordinate[MAX_AXES];
    /* Not both 0: to a daemon with WIRE_FEATURE_REMOTE only. */
    uint32_t remote_every, local_last;
};

struct wire_open_ok {
    struct id128 run;
    uint32_t generation;
    struct save_id parent; /* generation 0: fresh start */
};

struct wire_arena {
    /* Wanted; the daemon may give less, at least 4 slots. May be asked again:
     * a larger arena takes the place of one in which nothing is under way;
     * -EBUSY when there is none or something is, and the first one stays. */
    uint64_t bytes;
};

struct wire_arena_ok {
    uint32_t chunk_bytes;
    uint32_t piece_count;
    uint64_t piece_bytes[WIRE_PIECES_MAX]; /* of each memfd, in order */
    uint32_t slot_count;
};

/* How many slots fit into an arena of so many bytes. */
static inline uint64_t wire_slots_in(uint64_t bytes, uint32_t chunk_bytes)
{
    if (bytes < PAGE_BYTES)
        return 0;
    return (bytes - PAGE_BYTES) / (PAGE_BYTES + chunk_bytes);
}

/* Where slot `slot` begins: piece and byte of its header page. Both sides use
 * this one rule: piece 0 loses its first page, no slot straddles. False when
 * there is no such slot. */
bool wire_slot_place(const struct wire_arena_ok *arena, uint32_t slot,
                     uint32_t *piece, uint64_t *offset);
/* How many slots such pieces hold. */
uint32_t wire_slot_count(const struct wire_arena_ok *arena);

/* TABLE: u32 table number (the rank's choice, replaces an equal number), then
 * bytes of an encoded table (table.h), over several frames with FLAG_MORE. */
struct wire_table {
    uint32_t number;
    const void *data; /* in the frame */
    uint32_t bytes;
};

struct wire_save {
    uint64_t step;
    uint32_t table;
    uint32_t overload; /* enum ckpt_overload */
    uint32_t max_uncommitted;
    const void *values; /* encoded values (extra.h), in the frame */
    uint32_t values_bytes;
    /* To a daemon with WIRE_FEATURE_TRUST only. With it, chunks from the write
     * list's count on are those of the check list (checklist.h). */
    bool has_trust;
    struct trust trust;
};

struct wire_save_ok {
    uint64_t save; /* the daemon's number for it, for this connection */
    struct save_id id;
};

/* SLOTS, CONSUMED: `save` or `load` number and slots. */
struct wire_slots {
    uint64_t owner;
    uint32_t count;
    const uint8_t *slots; /* count * u32, in the frame */
};

/* CHUNKS: pairs {u32 chunk of the write list, u32 slot}. */
struct wire_chunks {
    uint64_t save;
    uint32_t count;
    const uint8_t *pairs; /* count * 2 * u32, in the frame */
};

enum wire_state_value {
    WIRE_STATE_STAGED = 1,
    WIRE_STATE_LOCAL = 2,
    WIRE_STATE_COMMITTED = 3,
    WIRE_STATE_REMOTE = 4,
    WIRE_STATE_ABORTED = 100,
};

struct wire_state {
    uint64_t save;
    struct save_id id;
    uint32_t state;
    int32_t code;              /* of an abort */
    char text[ERR_TEXT_BYTES]; /* of an abort; of COMMITTED, warnings */
};

struct wire_cancel {
    uint64_t save;
    int32_t code;
    char text[ERR_TEXT_BYTES];
};

struct wire_watch {
    struct save_id id;
};

/* Until it is REMOTE; COMMITTED is told after a while, to be asked again. */
struct wire_await {
    struct save_id id;
};

struct wire_load {
    uint32_t table;
    uint32_t is_collective; /* else an independent read of `id` */
    struct save_id id;
};

struct wire_load_ok {
    uint64_t load;
};

struct wire_load_begin {
    uint64_t load;
    struct save_id id;
    uint32_t attempt; /* from 1 */
    uint64_t bytes;   /* that this rank will be given */
    char note[512];   /* why the attempt before failed */
};

/* One slot full. In place: sources count in the decoded chunk that the slot
 * holds, and op_count operations follow as plan_ops_encode_in_place() writes
 * them; else (gathered) they lie end to end, as plan_ops_encode() has it. */
struct wire_deliver {
    uint64_t load;
    uint32_t slot;
    uint32_t is_in_place;
    uint32_t payload_bytes; /* valid bytes in the slot */
    uint32_t op_count;
    const void *ops;
    uint32_t ops_bytes;
};

/* DELIVERED: this rank has been given all; it votes next. */
struct wire_delivered {
    uint64_t load;
};

struct wire_load_vote {
    uint64_t load;
    uint32_t attempt;
    int32_t code; /* 0: verified */
    char text[ERR_TEXT_BYTES];
};

struct wire_load_done {
    uint64_t load;
    struct save_id id;
    int32_t code;
    uint32_t attempts;
    uint64_t read_bytes;
    char text[ERR_TEXT_BYTES]; /* of a failure, or what was passed over */
};

/* VALUES: of save `id`, generation 0: of the parent. */
struct wire_values {
    struct save_id id;
};

/* The save's layout and encoded values (of that layout). `large`: values that
 * live in reserved tensors, as encoded values whose data is a u64 length. */
struct wire_values_ok {
    struct save_id id;
    struct layout layout;
    const void *values, *large;
    uint32_t values_bytes, large_bytes;
};

struct wire_info {
    struct save_id id;
    uint64_t logical_bytes, stored_bytes, tensor_count, rank_count,
        created_unix_ms;
};

/* LIST has no payload. LIST_OK: u32 count, then wire_info each. To a rank with
 * WIRE_FEATURE_REMOTE: bit 31 of count is set, and {u32 state, u32 node_count}
 * each follow. DESCRIBE: save_id and u64 index. DESCRIBE_OK: one table
 * (table.h) of one entry. */
struct wire_list_ok {
    uint32_t count;
    const uint8_t *infos;
    const uint8_t *states; /* NULL: are not said */
};
#define WIRE_INFO_BYTES       56
#define WIRE_INFO_STATE_BYTES 8

struct wire_describe {
    struct save_id id;
    uint64_t index;
};

struct wire_describe_ok {
    const void *table;
    uint32_t table_bytes;
};

/* `ckpt drain` of a checkpoint, asked again and again until its share here is
 * copied: attaches the run if need be, and puts the checkpoint first. */
struct wire_drain {
    char home[1024]; /* absolute */
    char run[256];
    struct save_id id;
};

enum wire_drain_state {
    WIRE_DRAIN_WAITING = 0, /* for others, or for a while after a failure */
    WIRE_DRAIN_COPYING = 1,
    WIRE_DRAIN_SHARED = 2, /* what lies here is there, of others' it is not */
    WIRE_DRAIN_REMOTE = 3,
};

struct wire_drain_ok {
    uint32_t state;
    uint64_t bytes, done_bytes; /* of this share; 0: not known yet */
    int32_t code; /* of the last failure, 0: none; and its words */
    char text[ERR_TEXT_BYTES];
};

struct wire_close {
    uint32_t unused;
};

/*
 * Encoders append the payload to w. Decoders take one whole payload and answer
 * 0 or -EBADMSG (too short, too long, a string without end, a number out of
 * its range); pointers lead into `data`.
 */
#define WIRE_CODEC(name)                                                       \
    void wire_##name##_encode(const struct wire_##name *v, struct wr *w);      \
    int wire_##name##_decode(const void *data, size_t bytes,                   \
                             struct wire_##name *v) MUST_USE

WIRE_CODEC(error);
WIRE_CODEC(hello);
WIRE_CODEC(hello_ok);
WIRE_CODEC(open);
WIRE_CODEC(open_ok);
WIRE_CODEC(arena);
WIRE_CODEC(arena_ok);
WIRE_CODEC(table);
WIRE_CODEC(save);
WIRE_CODEC(save_ok);
WIRE_CODEC(slots);
WIRE_CODEC(chunks);
WIRE_CODEC(state);
WIRE_CODEC(cancel);
WIRE_CODEC(watch);
WIRE_CODEC(await);
WIRE_CODEC(load);
WIRE_CODEC(load_ok);
WIRE_CODEC(load_begin);
WIRE_CODEC(deliver);
WIRE_CODEC(delivered);
WIRE_CODEC(load_vote);
WIRE_CODEC(load_done);
WIRE_CODEC(values);
WIRE_CODEC(values_ok);
WIRE_CODEC(list_ok);
WIRE_CODEC(describe);
WIRE_CODEC(describe_ok);
WIRE_CODEC(drain);
WIRE_CODEC(drain_ok);
WIRE_CODEC(close);

/* The same for one info, at a place inside LIST_OK. */
void wire_info_encode(const struct wire_info *v, struct wr *w);
int wire_info_decode(struct rd *r, struct wire_info *v) MUST_USE;

#endif
