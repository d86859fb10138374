/*
 * place.h - named places at which the storm kills a daemon or a rank.
 *
 * A place is a store request (before it is submitted, or when it has ended) or
 * a frame (about to be sent, or just received). The product knows nothing of
 * them: the linker's --wrap puts the storm's functions in front of
 * store_submit() and peers_send() in build/tests/storm_ckptd, and in front of
 * frame_begin() and conn_next() in the storm's own ranks. No other program has
 * them.
 *
 * A daemon is armed through a file whose name is in CKPT_STORM_ARM and which
 * holds "NAME NTH ROUND"; it removes the file and kills itself at the NTH time.
 * So the daemon that follows is not killed again, and the file tells whether
 * the place was reached.
 */
#ifndef TESTS_STORM_PLACE_H
#define TESTS_STORM_PLACE_H

#include "formats/wire.h"
#include "storage/store.h"

enum place_kind {
    PLACE_BEFORE,
    PLACE_AFTER,
    PLACE_OUT,   /* of the daemon */
    PLACE_SENDS, /* of the library */
    PLACE_GETS,
};

struct place {
    const char *name;
    enum place_kind kind;
    int what;         /* enum store_op, or enum wire_type */
    const char *part; /* of the record's name; of READ and WRITE: "head" is
                         the segment's header page, "body" the rest */
    bool is_load;     /* reached by loads, not by saves */
    unsigned most;    /* how often a save or load comes by, at least */
};

extern const struct place places[];
extern const size_t place_count;

/* NULL: there is none of this name. */
const struct place *place_find(const char *name);
bool place_is_of_daemon(const struct place *p);

#endif
