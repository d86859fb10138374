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
                   "is, or from another home (--home), writes anew what is bad "
                   "there",
                   run, id->step, id->generation, t->options.home);
    return text;
}

void mend_say(const struct tool *t, const char *run, const struct save_id *id,
              bool is_remote)
{
    char text[1024];

    if (is_remote)
        (void)complain(t, 0, "to mend it in the remote tier: %s",
                       mend_text(t, run, id, text, sizeof text));
    else
        (void)complain(t, 0,
                       "to mend it in the local store: ckpt verify --repair "
                       "%s@%" PRIu64
                       "/%u, while no daemon serves that, takes what is good "
                       "elsewhere",
                       run, id->step, id->generation);
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
