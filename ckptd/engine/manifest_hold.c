/*
 * manifest_hold.c - see manifest_hold.h.
 *
 *   decision/SAVE -> COMMIT? -> inline or parts -> manifest_open -> no tomb?
 *   -> done
 *
 * The tomb is looked for last: what has none by then was all there. So it is
 * when the manifest cannot be read: of what is being removed (or was, when the
 * daemon died) the parts go before the decision.
 *
 * A home that comes back may answer -EIO to what was under way, which says
 * nothing of the checkpoint, and who loads would pass it over: all is read
 * again before that is believed.
 */
#include "ckptd/engine/manifest_hold.h"

#include "ckptd/engine/engine.h"
#include "common/plant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define FETCH_TRIES 3

struct fetch {
    struct run *run;
    struct save_id id;
    char name[RECORD_NAME_BYTES];
    struct held_manifest *held;
    manifest_fetch_fn done;
    void *arg;
    struct err err;
    uint32_t tries;
};

static void fetch_begin(struct fetch *f);

void held_manifest_put(struct held_manifest *held)
{
    if (!held || --held->references > 0)
        return;
    free(held->data);
    free(held);
}

static void fetch_end(struct fetch *f)
{
    struct held_manifest *held = f->held;

    if (f->err.code == -EIO && ++f->tries < FETCH_TRIES &&
        !f->run->home->engine->is_halted) {
        held_manifest_put(held);
        fetch_begin(f);
        return;
    }
    if (f->err.code) {
        (void)err_prefix(&f->err, "run %s step %" PRIu64 " (generation %u)",
                         f->run->name, f->id.step, f->id.generation);
        held_manifest_put(held);
        held = NULL;
    }
    f->done(f->arg, f->err.code, held, &f->err);
    free(f);
}

static void tomb_read(void *arg, int64_t result, void *data)
{
    struct fetch *f = arg;

    free(data);
    if (is_left_out("tomb behind a manifest"))
        result = -ENOENT;
    if (result >= 0)
        (void)err_set(&f->err, -ENOENT, "it was removed");
    else if (result != -ENOENT && !f->err.code)
        (void)err_set(&f->err, (int)result, "tomb: %s", err_text((int)result));
    fetch_end(f);
}

/* Takes over `data`. */
static int hold(struct fetch *f, void *data, size_t bytes)
{
    struct held_manifest *held = calloc(1, sizeof *held);
    int rc;

    if (!held) {
        free(data);
        return err_set(&f->err, -ENOMEM, "no memory for the manifest");
    }
    held->references = 1;
    held->id = f->id;
    held->data = data;
    f->held = held;
    rc = manifest_open(data, bytes, &held->manifest, &f->err);
    if (rc == 0 && save_id_compare(&held->manifest.info.id, &f->id) != 0)
        rc =
            err_set(&f->err, -CKPT_ECORRUPT, "the manifest is of another save");
    return rc;
}

static void manifest_read(void *arg, int64_t result, void *data)
{
    struct fetch *f = arg;

    if (result < 0)
        (void)err_set(&f->err, (int)result, "manifest: %s",
                      err_text((int)result));
    else
        (void)hold(f, data, (size_t)result);
    recio_get(f->run->home->store,
              name_save(f->name, f->run->name, "tomb", &f->id),
              RECORD_MAX_BYTES, tomb_read, f);
}

static void decision_read(void *arg, int64_t result, void *data)
{
    struct fetch *f = arg;
    struct record_decision d;

    if (result < 0)
        (void)err_set(&f->err, (int)result, "decision: %s",
                      err_text((int)result));
    else if (record_decision_of(&f->id, data, (size_t)result, &d, &f->err) ==
                 0 &&
             d.decision != DECISION_COMMIT)
        (void)err_set(&f->err, -ENOENT, "it was aborted: %s", d.reason);
    if (f->err.code)
        fetch_end(f);
    else
        recio_get_manifest(f->run->home->store, f->run->name, &d, manifest_read,
                           f);
    free(data);
}

static void fetch_begin(struct fetch *f)
{
    f->held = NULL;
    f->err = (struct err){0};
    recio_get(f->run->home->store,
              name_save(f->name, f->run->name, "decision", &f->id),
              RECORD_MAX_BYTES, decision_read, f);
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
    fetch_begin(f);
}
