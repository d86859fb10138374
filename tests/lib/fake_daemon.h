/*
 * fake_daemon.h - a double of ckptd for tests of the library: it speaks wire.h
 * over a Unix socket, keeps chunks in memory, and is nastier than the real one.
 * One connection at a time, one thread; what it keeps outlives connections, as
 * the media of a real daemon would.
 */
#ifndef TESTS_LIB_FAKE_DAEMON_H
#define TESTS_LIB_FAKE_DAEMON_H

#include "formats/wire.h"

#define FAKE_LATE_NUMBER 77 /* of FAKE_LATE_OK */

struct fake_options {
    uint32_t chunk_bytes; /* 0: CHUNK_BYTES_MIN */
    uint32_t slot_count;  /* over two pieces; 0: 4 */
    uint32_t slots_later; /* when ARENA is asked again; 0: refused, -EBUSY */
    uint32_t grant_max;   /* slots of a save at the rank's at once; 0: all */
    bool is_split;        /* sends byte by byte */
    bool is_backwards;    /* grants the highest slot first */
    bool is_gathered;     /* delivers gathered instead of in place */
    bool is_unsealed;     /* hands out memfds without seals */
    uint32_t delay_ms;    /* before each message that it sends */

    /* Only on the first connection, when the `at_count`th (from 1) message of
     * type `at` comes in (0: never): */
    enum wire_type at;
    uint32_t at_count;
    enum fake_mischief {
        FAKE_DIES = 1,      /* hangs up and listens again */
        FAKE_DIES_FOR_GOOD, /* hangs up and its socket is gone */
        FAKE_GARBAGE,       /* sends random bytes, then hangs up */
        FAKE_REFUSES,       /* answers by an error `refusal` */
        FAKE_ABORTS,        /* SAVE, CHUNKS: aborts the save with `refusal` */
        FAKE_LATE_OK,       /* a SAVE_OK that nobody waits for, too */
        FAKE_STALLS,        /* says nothing more on this connection */
    } mischief;
    int refusal;

    uint32_t fail_loads;   /* so many attempts are begun again (fall-back) */
    uint32_t spoilt_loads; /* so many before those, in the midst of them, and
                              what they delivered was damaged */
    bool flips_a_byte;     /* counts one byte too many in LOAD_BEGIN */
    uint32_t stop_at;      /* highest state told (0: COMMITTED) */
    uint32_t remote_after; /* AWAIT: that many are answered by COMMITTED */
    int remote_refusal;    /* AWAIT: refused with this code */
    bool is_old;           /* knows of no remote tier */
    bool forgets;          /* a new connection knows no undecided save */
};

struct fake;

/* Listens at `socket`. The options are copied. */
struct fake *fake_start(const char *socket, const struct fake_options *o);
void fake_stop(struct fake *f);

/* What it saw so far. */
uint32_t fake_count(struct fake *f, enum wire_type type);
uint64_t fake_chunk_count(struct fake *f);
/* Let undecided saves be told as committed after all. */
void fake_set_stop_at(struct fake *f, uint32_t state);
/* Hangs up now, and takes the next connection. */
void fake_hang_up(struct fake *f);
/* Every undecided save is aborted now. */
void fake_abort_all(struct fake *f, int code);

#endif
