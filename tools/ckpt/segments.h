/*
 * segments.h - reading chunks of a manifest from the local store, for tools.
 *
 * Segments are opened without a lock: a tool only looks, and every byte is
 * checked by digests bound to its place. A segment that a daemon recycles
 * meanwhile shows another id in its header.
 */
#ifndef TOOLS_CKPT_SEGMENTS_H
#define TOOLS_CKPT_SEGMENTS_H

#include "tools/ckpt/tool.h"

struct segments {
    struct store *local;
    char path[1024];
    struct id128 uuid;
    const struct manifest *manifest;
    struct store_seg **seg; /* per file of the manifest, NULL: not open */
    int *failed;            /* per file: 0, or why it could not be opened */
    uint64_t *size;         /* of the file */
    void *page;
};

/* The local store; its absence is no failure of the home: -ENOENT, and words
 * in `err`. Every chunk is then partial. */
int segments_open(const struct tool *t, const struct manifest *m,
                  struct segments *out, struct err *err) MUST_USE;
void segments_close(struct segments *s);

/* The open segment of file `file`, its header checked. -ENOENT (gone), -EXDEV
 * (in another store), -CKPT_ECORRUPT (another incarnation, damaged header),
 * with words that name it. Blocks. */
int segments_get(struct segments *s, uint32_t file, struct store_seg **seg,
                 struct err *err) MUST_USE;

#endif
