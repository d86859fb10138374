/*
 * err.c - see err.h. Messages are cut at ERR_TEXT_BYTES, never overflow.
 */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *format, ...)
{
    va_list args;

    e->code = code;
    va_start(args, format);
    (void)vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return code;
}

int err_prefix(struct err *e, const char *format, ...)
{
    char old[ERR_TEXT_BYTES];
    va_list args;
    int used;

    memcpy(old, e->text, sizeof old);
    va_start(args, format);
    used = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof e->text - 1)
        (void)snprintf(e->text + used, sizeof e->text - (size_t)used, ": %.*s",
                       (int)(sizeof old - 3), old);
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
    default:
        text = strerrordesc_np(positive);
        return text ? text : "unknown error";
    }
}
