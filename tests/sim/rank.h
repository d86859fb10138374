/*
 * rank.h - between rank.c, rank_save.c and rank_load.c.
 */
#ifndef TESTS_SIM_RANK_H
#define TESTS_SIM_RANK_H

#include "tests/sim/sim.h"

#include <stdarg.h>

/* `w` is taken over. */
void rank_send(struct sim_rank *r, enum wire_type type, uint64_t id,
               struct wr *w);
/* What the job cannot go on after. */
void rank_fail(struct sim_rank *r, const char *format, ...) PRINTF_LIKE(2, 3);
/* The payload of a slot; NULL: it is not ours to touch any more. */
uint8_t *rank_slot(const struct sim_rank *r, uint32_t slot);

/* rank_save.c. -ENOENT: not a frame of a save's. */
int save_frame(struct sim_rank *r, const struct wire_header *h,
               const uint8_t *payload);
void save_refused(struct sim_rank *r, uint64_t request,
                  const struct wire_error *v);
/* The daemon is lost: what was not handed over entirely is. */
void saves_lost(struct sim_rank *r);
/* The next daemon is asked for the others. */
void saves_ask(struct sim_rank *r);
/* It hung: it has not waited. */
void saves_touch(struct sim_rank *r);

/* rank_load.c; id NULL: the collective one. */
void load_begin(struct sim_rank *r, const struct save_id *id);
int load_frame(struct sim_rank *r, const struct wire_header *h,
               const uint8_t *payload);
void load_refused(struct sim_rank *r, const struct wire_error *v);

#endif
