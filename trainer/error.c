/*
 * error.c - errors as the public header tells them.
 */
#include "trainer/context.h"

#include <stdio.h>
#include <string.h>

int give_error(struct ckpt_error *error, const struct err *err)
{
    if (error) {
        error->code = err->code;
        (void)snprintf(error->message, sizeof error->message, "%s", err->text);
    }
    return err->code;
}

/* Take `words` out wherever they open the text or follow a ": ". */
static void take_out(char *text, const char *words)
{
    size_t bytes = strlen(words);
    char *at = strstr(text, words);

    while (at) {
        if (at == text || (at - text >= 2 && memcmp(at - 2, ": ", 2) == 0))
            memmove(at, at + bytes, strlen(at + bytes) + 1);
        else
            at += bytes;
        at = strstr(at, words);
    }
}

/* The daemon and the parts of a save name rank and run too; what stands in
 * front of the whole is named there only. */
int context_prefix(const struct ckpt *ctx, struct err *err)
{
    char words[sizeof ctx->open.run + 64];

    (void)snprintf(words, sizeof words, "rank %u: ", ctx->open.rank);
    take_out(err->text, words);
    (void)snprintf(words, sizeof words, "rank %u of run %s: ", ctx->open.rank,
                   ctx->open.run);
    take_out(err->text, words);
    return err_prefix(err, "run %s, rank %u of %u (home %s)", ctx->open.run,
                      ctx->open.rank, ctx->open.world_size, ctx->open.home);
}

const char *ckpt_strerror(int code)
{
    return err_text(code);
}
