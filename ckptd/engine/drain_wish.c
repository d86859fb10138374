/*
 * drain_wish.c - DRAIN of `ckpt drain`: the run is attached, if no rank has
 * brought it here, its checkpoint is put first, and how far that is is told.
 */
#include "ckptd/engine/drain.h"
#include "ckptd/engine/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Until the run is attached. The session may go meanwhile: it is looked up
 * again by its peer number. */
struct wish {
    struct engine *engine;
    env_peer peer;
    uint64_t request_id;
    struct save_id id;
};

static struct session *session_of(const struct wish *w)
{
    LIST_FOR_EACH (node, &w->engine->sessions) {
        struct session *s = container_of(node, struct session, link);

        if (s->peer == w->peer)
            return s;
    }
    return NULL;
}

/* A command says the same again and again, to hear how far it is. */
static bool is_repeated(struct session *s, const struct run *run,
                        const struct save_id *id)
{
    bool is = s->wished_run == run && save_id_compare(&s->wished, id) == 0;

    s->wished_run = run;
    s->wished = *id;
    return is;
}

static void answer(struct session *s, const struct wish *w, struct run *run)
{
    struct catalog_save *save = catalog_find(&run->catalog, &w->id);
    struct wire_drain_ok ok;
    struct wr out = {0};

    if (!save || save->status != SAVE_COMMITTED) {
        session_error(s, w->request_id, -ENOENT,
                      "run %s: step %" PRIu64 " (generation %u) is no "
                      "checkpoint, or was removed",
                      run->name, w->id.step, w->id.generation);
        return;
    }
    if (save->is_lost && !save->is_marked_remote) {
        session_error(s, w->request_id, -EIO,
                      "run %s: step %" PRIu64 " (generation %u) cannot be "
                      "copied: %s",
                      run->name, w->id.step, w->id.generation,
                      catalog_reason(save));
        return;
    }
    if (!is_repeated(s, run, &w->id) || !save->is_wished)
        drain_wish(run, save);
    drain_progress(run, save, &ok);
    wire_drain_ok_encode(&ok, &out);
    session_send(s, WIRE_DRAIN_OK, w->request_id, &out);
}

static void attached(void *arg, int result, struct run *run,
                     const struct err *err)
{
    struct wish *w = arg;
    struct session *s = session_of(w);

    if (s && result)
        session_error(s, w->request_id, result, "%s", err->text);
    else if (s)
        answer(s, w, run);
    free(w);
}

void drain_request(struct session *s, const struct wire_header *h,
                   const void *payload)
{
    struct wire_drain v;
    struct wish *w;

    if (wire_drain_decode(payload, h->length, &v)) {
        session_breach(s, "a DRAIN of %u bytes does not decode", h->length);
        return;
    }
    if (!session_may_open(s, h->id, v.home, v.run))
        return;
    w = calloc(1, sizeof *w);
    if (!w) {
        session_error(s, h->id, -ENOMEM, "no memory to drain");
        return;
    }
    *w = (struct wish){s->engine, s->peer, h->id, v.id};
    run_attach(s->engine, v.home, v.run, attached, w);
}
