/*
 * segments.h - reading chunks of a checkpoint where they lie, for tools: in the
 * local store, or in the remote tier, which is in the home.
 *
 * Files are opened without a lock: a tool only looks, and every byte is checked
 * by digests bound to its place. A segment that a daemon recycles meanwhile
 * shows another id in its header. Where the home's store has no segments, files
 * of the remote tier are blobs, of which nothing stays open.
 */
#ifndef TOOLS_CKPT_SEGMENTS_H
#define TOOLS_CKPT_SEGMENTS_H

#include "tools/ckpt/tool.h"

struct segments {
    struct store *store;
    bool is_remote;    /* then the store is the tool's home */
    char path[1300];   /* of the store, or of the run in the home */
    char prefix[264];  /* of files' names in the store */
    struct id128 uuid; /* of the local store */
    const struct manifest *manifest; /* or a table of the remote tier */
    struct segments_file {
        bool is_open;
        int failed;   /* or why it could not be opened */
        bool is_told; /* and the owner has said so */
        struct store_seg *seg;
        uint64_t bytes;
        char *name; /* in the store */
    } * file;       /* those of the manifest */
    void *page;
};

/* The local store; its absence is no failure of the home: -ENOENT, and words
 * in `err`. Every chunk is then partial. */
int segments_open(const struct tool *t, const struct manifest *m,
                  struct segments *out, struct err *err) MUST_USE;
/* Files of a table of the remote tier. -ENOMEM. */
int segments_open_remote(const struct tool *t, const char *run,
                         const struct manifest *tier, struct segments *out,
                         struct err *err) MUST_USE;
void segments_close(struct segments *s);

/* Opens file `file` and checks its header, once. -ENOENT (gone), -EXDEV (in
 * another local store), -ESTALE (another incarnation), -CKPT_ECORRUPT (damaged
 * header), with words that name it. Blocks. */
int segments_get(struct segments *s, uint32_t file, struct err *err) MUST_USE;
/* Submits a read of that file: buf, len, off, done and owner are given. */
void segments_read(struct segments *s, uint32_t file, struct store_req *req);
/* The same at once: the result. */
int64_t segments_run(struct segments *s, uint32_t file,
                     struct store_req *req) MUST_USE;

#endif
