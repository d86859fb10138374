/*
 * manifest_hold.c - see manifest_hold.h.
 *
 *   decision/SAVE -> COMMIT? -> inline or parts -> manifest_open -> done
 */
#include "ckptd/engine/manifest_hold.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct fetch {
    struct run *run;
    struct save_id id;
    char name[RECORD_NAME_BYTES];
    manifest_fetch_fn done;
    void *arg;
    struct err err;
};

void held_manifest_put(struct held_manifest *held)
{
    if (!held || --held->references > 0)
        return;
    free(held->data);
    free(held);
}

static void fetch_end(struct fetch *f, struct held_manifest *held)
{
    if (f->err.code)
        (void)err_prefix(&f->err, "run %s step %" PRIu64 " (generation %u)",
                         f->run->name, f->id.step, f->id.generation);
    f->done(f->arg, f->err.code, held, &f->err);
    free(f);
}

static void manifest_read(void *arg, int64_t result, void *data)
{
    struct fetch *f = arg;
    struct held_manifest *held = calloc(1, sizeof *held);

    if (result < 0)
        (void)err_set(&f->err, (int)result, "manifest: %s",
                      err_text((int)result));
    else if (!held)
        (void)err_set(&f->err, -ENOMEM, "no memory for the manifest");
    else if (manifest_open(data, (size_t)result, &held->manifest, &f->err) == 0)
        if (save_id_compare(&held->manifest.info.id, &f->id) != 0)
            (void)err_set(&f->err, -CKPT_ECORRUPT,
                          "the manifest is of another save");
    if (f->err.code) {
        free(held);
        free(data);
        held = NULL;
    } else {
        held->references = 1;
        held->id = f->id;
        held->data = data;
    }
    fetch_end(f, held);
}

static void decision_read(void *arg, int64_t result, void *data)
{
    struct fetch *f = arg;
    struct record_decision d;

    if (result < 0)
        (void)err_set(&f->err, (int)result, "decision: %s",
                      err_text((int)result));
    else if (record_decision_decode(data, (size_t)result, &d, &f->err) == 0 &&
             d.decision != DECISION_COMMIT)
        (void)err_set(&f->err, -ENOENT, "it was aborted: %s", d.reason);
    if (f->err.code)
        fetch_end(f, NULL);
    else
        recio_get_manifest(f->run->home->store, f->run->name, &d, manifest_read,
                           f);
    free(data);
}

void manifest_fetch(struct run *run, const struct save_id *id,
                    manifest_fetch_fn done, void *arg)
{
    struct fetch *f = calloc(1, sizeof *f);
    struct err err;

    if (!f) {
        done(arg, err_set(&err, -ENOMEM, "no memory to fetch a manifest"), NULL,
             &err);
        return;
    }
    f->run = run;
    f->id = *id;
    f->done = done;
    f->arg = arg;
    recio_get(run->home->store, name_save(f->name, run->name, "decision", id),
              RECORD_MAX_BYTES, decision_read, f);
}
