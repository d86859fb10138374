/*
 * state.c - see state.h.
 */
#include "tools/ckpt/state.h"

#include <inttypes.h>
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
    if (s->status == SAVE_COMMITTED && catalog_is_remote(s))
        return "REMOTE";
    return status_text[s->status];
}

const char *mend_text(const struct tool *t, const char *run,
                      const struct save_id *id, char *text, size_t capacity)
{
    (void)snprintf(text, capacity,
                   "ckpt cp %s@%" PRIu64 "/%u --to '%s', where its local store "
                   "is, writes anew what is bad there",
                   run, id->step, id->generation, t->options.home);
    return text;
}

const char *domain_text(const struct tool *t, const struct catalog_save *s,
                        char *text, size_t capacity)
{
    const char *also =
        s->is_remote_damaged ? "; what is in the remote tier is damaged" : "";

    if (s->status != SAVE_COMMITTED)
        (void)snprintf(text, capacity, "-");
    else if (catalog_is_remote(s))
        (void)snprintf(text, capacity, "in %s, read back", t->options.home);
    else if (s->node_count <= 1)
        (void)snprintf(text, capacity, "node-local: lost with its node%s",
                       also);
    else
        (void)snprintf(text, capacity,
                       "node-local: lost with any of %u nodes%s", s->node_count,
                       also);
    return text;
}
