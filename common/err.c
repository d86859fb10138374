/*
 * err.c - see err.h. Messages of more than ERR_TEXT_BYTES lose their
 * middle, and never overflow.
 */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* More than any message with two paths in it. */
#define WHOLE_BYTES (8 << 10)
/* Of what does not fit, the middle goes: who it is about stands in front, and
 * the cause at the end. */
#define HEAD_BYTES 400

static void keep(struct err *e, const char *whole)
{
    static const char gap[] = " [...] ";
    const size_t head = HEAD_BYTES + sizeof gap - 1;
    size_t bytes = strlen(whole), tail = sizeof e->text - 1 - head;

    if (bytes < sizeof e->text) {
        memcpy(e->text, whole, bytes + 1);
        return;
    }
    memcpy(e->text, whole, HEAD_BYTES);
    memcpy(e->text + HEAD_BYTES, gap, sizeof gap - 1);
    memcpy(e->text + head, whole + bytes - tail, tail + 1);
}

int err_set(struct err *e, int code, const char *format, ...)
{
    char whole[WHOLE_BYTES];
    va_list args;

    e->code = code;
    va_start(args, format);
    (void)vsnprintf(whole, sizeof whole, format, args);
    va_end(args);
    keep(e, whole);
    return code;
}

int err_prefix(struct err *e, const char *format, ...)
{
    char whole[WHOLE_BYTES];
    va_list args;
    size_t used;

    va_start(args, format);
    (void)vsnprintf(whole, sizeof whole - sizeof e->text - 2, format, args);
    va_end(args);
    used = strlen(whole);
    (void)snprintf(whole + used, sizeof whole - used, ": %s", e->text);
    keep(e, whole);
    return e->code;
}

const char *err_advice(int code)
{
    if (code == -EFBIG)
        return "; ckptd has a limit on the size of files: raise it (ulimit -f) "
               "where the trainer or the service is started, and end this "
               "ckptd, so that the next one has the new limit";
    return "";
}

const char *err_text(int code)
{
    int positive = code < 0 ? -code : code;
    const char *text;

    switch (positive) {
    case 0:
        return "success";
    case CKPT_ECORRUPT:
        return "corrupt data";
    case CKPT_EVERSION:
        return "unsupported version";
    case CKPT_ESHAPE:
        return "dtype, shape or region mismatch";
    case CKPT_EPARTIAL:
        return "not everything that is wanted was saved";
    case CKPT_ECONFLICT:
        return "conflicting claims";
    case CKPT_EUNCOMMITTED:
        return "too many saves failed in a row";
    case CKPT_EABORTED:
        return "save aborted";
    case CKPT_EDIVERGED:
        return "replicas differ";
    case CKPT_ESTALE:
        return "optimizer state did not change";
    case CKPT_EOVERLOAD:
        return "dropped by the policy for overload";
    default:
        text = strerrordesc_np(positive);
        return text ? text : "unknown error";
    }
}
