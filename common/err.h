/*
 * err.h - failure as a code and a message that names the thing.
 *
 * Functions return 0 or a count, or a negative code: -errno, or one of the
 * project's own below (the same values as in the public header). Where words
 * help, a function takes a struct err (never NULL inside the project) and
 * fills it before it returns the code: err_set() does both in one statement.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include "common/util.h"

#define CKPT_ECORRUPT     4001 /* bytes do not match their digest or format */
#define CKPT_EVERSION     4002 /* a format or protocol this build cannot read */
#define CKPT_ESHAPE       4003 /* dtype, shape, region or strides do not fit */
#define CKPT_EPARTIAL     4004 /* elements that nobody saved are wanted */
#define CKPT_ECONFLICT    4005 /* two different claims to one name */
#define CKPT_EUNCOMMITTED 4006 /* max_uncommitted saves failed in a row */
#define CKPT_EABORTED     4007 /* this save was decided ABORT */
#define CKPT_EDIVERGED    4008 /* replicas of a tensor differ */
#define CKPT_ESTALE       4009 /* the optimizer's state has not changed */
#define CKPT_EOVERLOAD    4010 /* dropped by the policy for overload */

#define ERR_TEXT_BYTES 1024

struct err {
    int code;
    char text[ERR_TEXT_BYTES];
};

/* Fill *e and return `code` (negative). Overwrites what stood there. */
int err_set(struct err *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Put "words: " before the text that is there; returns e->code. */
int err_prefix(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* A code (negative or positive) in words; static storage, thread-safe. */
const char *err_text(int code);

/* "; what to do" about what the daemon could not write or map with this code;
 * "" for most. Static storage. */
const char *err_advice(int code);

#endif
