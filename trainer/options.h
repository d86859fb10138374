/*
 * options.h - what ckpt_open() was asked for, completed from the environment
 * and checked.
 */
#ifndef TRAINER_OPTIONS_H
#define TRAINER_OPTIONS_H

#include "trainer/context.h"

/* Fills place, open, overload, max_uncommitted, copy_threads and arena_bytes
 * of a zeroed context. -EINVAL, -ENOENT, -ENAMETOOLONG with words. */
int options_apply(const struct ckpt_options *options, struct ckpt *ctx,
                  struct err *err) MUST_USE;

#endif
