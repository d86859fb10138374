/*
 * error.c - errors as the public header tells them.
 */
#include "trainer/context.h"

#include <stdio.h>

int give_error(struct ckpt_error *error, const struct err *err)
{
    if (error) {
        error->code = err->code;
        (void)snprintf(error->message, sizeof error->message, "%s", err->text);
    }
    return err->code;
}

int context_prefix(const struct ckpt *ctx, struct err *err)
{
    return err_prefix(err, "run %s, rank %u of %u (home %s)", ctx->open.run,
                      ctx->open.rank, ctx->open.world_size, ctx->open.home);
}

const char *ckpt_strerror(int code)
{
    return err_text(code);
}
