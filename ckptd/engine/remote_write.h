/*
 * remote_write.h - one file of the remote tier, written and read back.
 *
 *   blobs:    FILLING -> PACKING -> PACING -> PUTTING -> READING -> CHECKING
 *             one that is there: PUTTING -> MEASURING -> READING
 *             one that is bad:   ... -> FILLING
 *   segments: CREATING -> (FILLING -> PACKING -> PACING -> WRITING)... ->
 *             TRIMMING -> SYNCING -> CLOSING -> OPENING ->
 *             (READING -> CHECKING)... -> SHUTTING
 *             one that is there: CREATING -> OPENING -> ADOPTING (sync) ->
 *             READING
 *             one that is bad:   ... -> SHUTTING -> CREATING
 *
 * A store that can write in place takes a file as one large segment, any other
 * as a blob. Either way it is filled window by window: extents are read from
 * the local store, checked, encoded where that pays, laid end to end, and
 * handed over. Then all of it is read again and checked, also where a file of
 * that name was there already (an earlier life's): only what is there and good
 * counts, and the table is made of what came back.
 *
 * One that is bad is written anew under the next of its names, and encodes
 * nothing if it was this writer's own (once). It stays where it is: a removal
 * that a home does not answer may be carried out at any time, and must not meet
 * a name that is in use again. So no file is written twice, and all of them are
 * removed together with the checkpoint. Only a segment that was just created
 * and can never be of use is removed at once, for its room: one that the home,
 * which has answered all that was asked, would not let become whole, and one
 * that cannot be synced again (STORE_SYNC). In this life nobody takes such a
 * one up, and once there is nothing under its name that removal has been
 * carried out. A next life knows nothing of a failed sync.
 */
#ifndef CKPTD_REMOTE_WRITE_H
#define CKPTD_REMOTE_WRITE_H

#include "ckptd/engine/home.h"
#include "ckptd/engine/reader.h"

/* Memory of one writer: what goes out at once, and the most that a blob has. */
#define REMOTE_WINDOW_BYTES ((uint64_t)16 << 20)
/* A file where the store has segments: few and large. */
#define REMOTE_FILE_BYTES ((uint64_t)1 << 30)

/* How large files of the remote tier are in this home. */
uint64_t remote_file_bytes(const struct home *home);
/* Whether they are segments of its store, else blobs. */
bool remote_in_place(const struct home *home);

#define REMOTE_READS 4 /* of extents, side by side */

/* Of a daemon's files of a save the lowest ones are written first: none while
 * one that is so much lower is not there. So whoever removes them needs no
 * list of all that there is: after so many that are not there come no more. */
#define REMOTE_ROW_GAP 8

/* Names that a file has: a home that fails again and again for hours. */
#define REMOTE_NAMES 255

enum remote_phase {
    REMOTE_IDLE,
    REMOTE_CREATING,
    REMOTE_FILLING,
    REMOTE_PACKING,
    REMOTE_PACING,
    REMOTE_PUTTING, /* from here */
    REMOTE_WRITING,
    REMOTE_TRIMMING,
    REMOTE_SYNCING, /* to here the store takes what it is given */
    REMOTE_MEASURING,
    REMOTE_CLOSING,
    REMOTE_OPENING,
    REMOTE_ADOPTING,
    REMOTE_READING,
    REMOTE_CHECKING,
    REMOTE_SHUTTING,
    REMOTE_REMOVING,
    REMOTE_PHASES,
};

/*
 * The caller allocates (zeroed) and fills the upper part, which may be used
 * again once done() was called. `tier` is this daemon's table of `manifest` as
 * it was planned, `row` one per chunk of it, of which those of this file are
 * filled in; `again` is one per file of it, of which this file's is set: under
 * which of its names it is. `unit` is by chunk of the manifest (tier_units).
 * `is_only` says that no table speaks of what is there: bad segments are cut to
 * a page, for their room. `window` is page-aligned, `spare` of
 * TIER_SPARE_BYTES. pace() says for how many ns so many bytes have to wait
 * before they may go; wrote() hears how long the store took for all of a file,
 * its sync included (a page cache takes it sooner); speeds() says what that and
 * encoding are worth now, for codec_pays() (encode_bytes_s 0: nothing is
 * encoded). done() is never called from inside.
 *
 * Failures, with words: -CKPT_ECORRUPT or -EIO (the local copy is bad, or the
 * remote one twice), and what the home's store answers.
 */
struct remote_write {
    struct run *run;
    const struct manifest *manifest, *tier;
    const uint8_t *unit;
    struct mf_location *row;
    uint8_t *again;
    uint32_t file;
    bool is_only;
    uint8_t *window, *spare;
    void (*speeds)(struct remote_write *w, double *encode_bytes_s,
                   double *tier_bytes_s);
    uint64_t (*pace)(struct remote_write *w, uint64_t bytes);
    void (*wrote)(struct remote_write *w, uint64_t bytes, uint64_t ns);
    void (*done)(struct remote_write *w, int result);
    void *owner;
    /* Out: */
    uint64_t written_bytes; /* of those that were planned */
    struct err err;
    /* remote_write.c's own: */
    enum remote_phase phase;
    bool is_cancelled;
    bool is_own;         /* created by this writer, under the name it has now */
    bool is_whole;       /* all of it was written */
    bool is_spoilt;      /* no sync of it will ever succeed */
    bool is_retried;     /* for one of its own that came back bad */
    bool is_adopted;     /* open for writing, though it is another life's */
    bool is_silent;      /* the home has failed to answer */
    uint64_t first, end; /* chunks of the file */
    uint64_t window_first, window_end;  /* of those, in the window */
    uint64_t window_at, window_bytes;   /* where it lies in the file */
    uint64_t planned_at, planned_bytes; /* where it would, as planned */
    uint64_t file_bytes;                /* of what is there */
    double encode_bytes_s, tier_bytes_s;
    uint64_t begun_ns, busy_ns; /* at the store */
    uint64_t next_read;
    uint32_t reading;
    struct store_seg *seg;
    struct store_req req;
    struct env_timer timer;
    struct env_job job;
    struct remote_lane {
        struct remote_write *w;
        struct chunk_read read;
        bool is_running;
    } lane[REMOTE_READS];
    char name[RECORD_NAME_BYTES];
};

void remote_write_begin(struct remote_write *w);
/* Begin nothing more: done() follows with -ECANCELED unless it is done. */
void remote_write_cancel(struct remote_write *w);
/* What pace() said counts no more: go on now. */
void remote_write_hurry(struct remote_write *w);

#endif
