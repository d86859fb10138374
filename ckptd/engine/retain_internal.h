/*
 * retain_internal.h - between retain.c (a pass), retain_bury.c (what others
 * have removed), retain_look.c (pins and leases), retain_verify.c (reading
 * back) and retain_remove.c (one save's end).
 */
#ifndef CKPTD_RETAIN_INTERNAL_H
#define CKPTD_RETAIN_INTERNAL_H

#include "ckptd/engine/manifest_hold.h"
#include "ckptd/engine/reader.h"
#include "ckptd/engine/retain.h"

enum retain_phase {
    RETAIN_IDLE,
    RETAIN_BURYING,
    RETAIN_LOOKING, /* and once more after reading back */
    RETAIN_READING_BACK,
    RETAIN_REMOVING,
    RETAIN_RELEASING,
    RETAIN_PHASES,
};

/* A lease record as we first saw it. */
struct seen_lease {
    char name[128];
    struct save_id id;
    uint64_t first_seen_ns;
    bool is_listed; /* in the look under way */
};

struct retention {
    struct run *run;
    struct env *env;
    enum retain_phase phase;
    bool is_wanted;        /* once more after this pass */
    bool is_policy_wanted; /* and that looks at the policy too */
    bool has_policy;       /* the pass under way does */
    bool is_stopping;
    bool is_read_back; /* the newest was, in this pass */
    struct seen_lease *lease;
    size_t lease_count, lease_capacity;
    struct store_names names; /* of the folder under way */
    size_t next_name;
    struct save_id burying; /* and those before it are done */
    struct save_id newest;
    struct held_manifest *held;
    struct read_back *back;
    struct save_id *victim;
    size_t victim_count, next_victim;
    struct env_timer retry;
};

void retain_move(struct retention *t, enum retain_phase to);
/* An entry that was in the catalogue: it stays there during the pass. */
struct catalog_save *retain_save(const struct retention *t,
                                 const struct save_id *id);
/* The pass is over; words are logged when result is not 0. */
void retain_end(struct retention *t, int result, const char *what);

/* The same pass again, after a while. */
void retain_later(struct retention *t);

/* retain_bury.c: let go of what has a tomb, then retain_buried(). */
void retain_bury(struct retention *t);
void retain_buried(struct retention *t, int result);

/* retain_look.c: refresh pins and leases in the catalog, then
 * retain_looked(). */
void retain_look(struct retention *t);
void retain_looked(struct retention *t);

/* retain_verify.c: read t->newest back unless that was done, then
 * retain_verified(): 0, or -EAGAIN while other daemons have yet to. */
void retain_verify(struct retention *t);
void retain_verified(struct retention *t, int result, const char *what);

/* retain_remove.c: tomb, references, records of one save, then
 * retain_removed(). */
void retain_remove(struct retention *t, const struct save_id *id);
void retain_removed(struct retention *t, int result);
/* retain_release.c: local copies of what is REMOTE, then retain_end(). */
void retain_release(struct retention *t);

/* Its tomb is durable: its references are dropped. */
void retain_let_go(struct retention *t, const struct save_id *id);

#endif
