/*
 * state.c - see state.h.
 */
#include "tools/ckpt/state.h"

#include <stdio.h>

static const char *const status_text[] = {
    [SAVE_UNDECIDED] = "UNDECIDED",   [SAVE_COMMITTED] = "COMMITTED",
    [SAVE_ABORTED] = "ABORTED",       [SAVE_REMOVED] = "REMOVED",
    [SAVE_UNREADABLE] = "UNREADABLE",
};

/* A record that cannot be read need not be damaged. */
const char *state_text(const struct catalog_save *s)
{
    if (s->status == SAVE_UNREADABLE && exit_code_of(s->code) == EXIT_CORRUPT)
        return "CORRUPT";
    if (s->status == SAVE_COMMITTED && s->is_remote)
        return "REMOTE";
    return status_text[s->status];
}

const char *domain_text(const struct tool *t, const struct catalog_save *s,
                        char *text, size_t capacity)
{
    if (s->status != SAVE_COMMITTED)
        (void)snprintf(text, capacity, "-");
    else if (s->is_remote)
        (void)snprintf(text, capacity, "in %s, read back", t->options.home);
    else if (s->node_count <= 1)
        (void)snprintf(text, capacity, "node-local: lost with its node");
    else
        (void)snprintf(text, capacity, "node-local: lost with any of %u nodes",
                       s->node_count);
    return text;
}
