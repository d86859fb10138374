/*
 * each.h - one verb over many checkpoints: those that its target means, of one
 * run or of all.
 */
#ifndef TOOLS_CKPT_EACH_H
#define TOOLS_CKPT_EACH_H

#include "tools/ckpt/tool.h"

struct each {
    struct tool *tool; /* its target, NULL: all runs; its home is open */
    /* One committed checkpoint; an exit code. */
    int (*one)(struct each *e, const char *run, const struct catalog_save *s);
    void *arg;
    uint32_t count; /* how many there were */
};

/* The worst of the exit codes; unreadable checkpoints are said and count as
 * corrupt. EXIT_ABSENT when there was none. */
int each_save(struct each *e);

/* What an exit code says of a checkpoint: "ok", "corrupt", ... */
const char *each_word(int code);
/* The worse of two exit codes of verbs that check. */
int each_worse(int a, int b);
/* Was it removed meanwhile? */
bool each_is_gone(struct tool *t, const char *run, const struct save_id *id);

#endif
