/*
 * manifest_hold.h - committed manifests in memory, counted.
 */
#ifndef CKPTD_MANIFEST_HOLD_H
#define CKPTD_MANIFEST_HOLD_H

#include "ckptd/engine/home.h"
#include "formats/manifest.h"

struct held_manifest {
    uint32_t references;
    struct save_id id;
    void *data;
    struct manifest manifest;
};

typedef void (*manifest_fetch_fn)(void *arg, int result,
                                  struct held_manifest *held,
                                  const struct err *err);

/* The manifest of a committed save of the run: reads the decision and then
 * the manifest, checks both, and that there is no tomb. The callee gets one
 * reference. -ENOENT: not committed, or removed; -CKPT_ECORRUPT; words name run
 * and step. done() may come from inside the call only on -ENOMEM. */
void manifest_fetch(struct run *run, const struct save_id *id,
                    manifest_fetch_fn done, void *arg);
void held_manifest_put(struct held_manifest *held); /* takes NULL */

#endif
