/*
 * rig_retain.h - retention in the one run of a rig: passes of it, what they
 * leave, and records of others that they meet in the home.
 */
#ifndef TESTS_LIB_RIG_RETAIN_H
#define TESTS_LIB_RIG_RETAIN_H

#include "ckptd/engine/retain.h"
#include "tests/lib/engine_rig.h"

/* A pass that follows a commit begins within this time. */
#define RIG_PASS_MS 3000

/* Until no pass is under way, and what the last one let go is gone; by
 * assert(). */
void rig_settle(struct rig *g);
/* What the engine knows of this step's newest save; 0: nothing. */
enum save_status rig_status(const struct rig *g, uint64_t step);

/* The home, behind the daemons' backs. */
struct store *rig_home(const struct rig *g);
/* Whether FOLDER has a record of the save. */
bool rig_home_has(const struct rig *g, const char *folder,
                  const struct save_id *id);
/* A mark for the save, which must not be there, under the record's whole name
 * (name_save() and its like). */
void rig_put_mark(const struct rig *g, enum record_kind kind, const char *name,
                  const struct save_id *id);
/* A tomb, as `ckpt gc` makes it. */
void rig_bury(const struct rig *g, const struct save_id *id);

#endif
