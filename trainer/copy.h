/*
 * copy.h - memory into slots. Large copies use streaming stores where the
 * processor has them: a slot is read next by another process, so that drawing
 * its old bytes into our cache only costs bandwidth.
 */
#ifndef TRAINER_COPY_H
#define TRAINER_COPY_H

#include <stddef.h>

void copy_to_slot(void *to, const void *from, size_t bytes);

#endif
