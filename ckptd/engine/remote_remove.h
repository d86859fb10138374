/*
 * remote_remove.h - what is in the remote tier of a save that was removed.
 *
 *   remote/ listed -> of each daemon that has a table there, and of this one:
 *   its files, from the lowest on
 *
 * Tables and the mark are records, which retain_remove.c removes after this.
 * Files of a daemon that never wrote its table are left to `ckpt gc`.
 */
#ifndef CKPTD_REMOTE_REMOVE_H
#define CKPTD_REMOTE_REMOVE_H

#include "ckptd/engine/home.h"

/* The save's tomb is durable. done() once, from inside only on -ENOMEM. */
void remote_remove(struct run *run, const struct save_id *id, recio_put_fn done,
                   void *arg);

#endif
