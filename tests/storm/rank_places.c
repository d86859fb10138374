/*
 * rank_places.c - what a rank of the storm has in front of frame_begin() and
 * conn_next(): see place.h. The library's I/O thread comes by here too.
 */
#include "client/conn.h"
#include "tests/storm/rank_places.h"

#include <signal.h>

static struct job *the_job;
static uint32_t the_rank;

void rank_places_arm(struct job *job, uint32_t rank)
{
    the_job = job;
    the_rank = rank;
}

static void come_by(enum place_kind kind, int type)
{
    int number = the_job && the_job->victim == the_rank
                     ? atomic_load(&the_job->place)
                     : -1;

    if (number < 0 || places[number].kind != kind ||
        places[number].what != type || atomic_fetch_sub(&the_job->left, 1) != 1)
        return;
    atomic_store(&the_job->has_fired, true);
    (void)raise(SIGKILL);
}

/* The names that ld --wrap gives to what was and to what stands before it. */
size_t real_begin(struct wr *w, enum wire_type type, uint16_t flags,
                  uint64_t id) __asm__("__real_frame_begin");
size_t wrap_begin(struct wr *w, enum wire_type type, uint16_t flags,
                  uint64_t id) __asm__("__wrap_frame_begin");
int real_next(struct conn *c, struct frame *out) __asm__("__real_conn_next");
int wrap_next(struct conn *c, struct frame *out) __asm__("__wrap_conn_next");

size_t wrap_begin(struct wr *w, enum wire_type type, uint16_t flags,
                  uint64_t id)
{
    come_by(PLACE_SENDS, (int)type);
    return real_begin(w, type, flags, id);
}

int wrap_next(struct conn *c, struct frame *out)
{
    int rc = real_next(c, out);

    if (rc == 1)
        come_by(PLACE_GETS, out->header.type);
    return rc;
}
