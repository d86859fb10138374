/*
 * drain.c - `ckpt drain`: what lies in this node's local store of the newest
 * (or a named) checkpoint goes to the home's remote tier now.
 *
 * For hooks that run before a node goes. The daemon of the local store does the
 * copying, and is started if none runs; it puts the checkpoint first and copies
 * as fast as it can, whatever remote_every and --drain-rate say. It is asked
 * how far it is until the share is there, or --timeout: what was copied by then
 * stays, the daemon goes on as long as it lives, and the next call continues.
 * REMOTE is a checkpoint once all nodes' shares are there. Where CKPT_SOCKET
 * names the daemon none is started: one that is not there is a failure.
 *
 * 0: what lies here is there (or nothing lies here); 11: not by --timeout.
 */
#include "client/daemon.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/state.h"
#include "tools/ckpt/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_MS 200
#define ANSWER_MS    60000
#define GIVEN_MS     4000 /* for a daemon to come to the socket that was named */
#define QUIET_MS     5000 /* without an answer until that is said */
#define LOST_MAX     10   /* times in a row */

struct draining {
    struct tool *tool;
    struct id128 store;
    struct daemon_place place;
    pid_t child;
    struct conn conn;
    bool is_up;
    uint64_t deadline_ms, next_request;
};

/* How it ended for one checkpoint. */
struct drained {
    const char *result; /* "remote", "copied", "nothing here", "left" */
    uint64_t left_bytes;
};

/*
 * The daemon.
 */

static struct patience patience_of(const struct draining *d)
{
    return (struct patience){min_u64(d->deadline_ms, now_ms() + ANSWER_MS), -1};
}

/* Whoever waits for a daemon that hangs is told so. */
static int receive(struct draining *d, struct frame *reply)
{
    struct patience p = patience_of(d);
    uint64_t deadline_ms = p.deadline_ms;
    int rc;

    p.deadline_ms = min_u64(deadline_ms, now_ms() + QUIET_MS);
    rc = conn_recv(&d->conn, &p, reply);
    if (rc != -ETIMEDOUT || p.deadline_ms == deadline_ms)
        return rc;
    (void)complain(d->tool, 0, "the daemon at %s has not answered for %d s",
                   d->place.socket, QUIET_MS / 1000);
    p.deadline_ms = deadline_ms;
    return conn_recv(&d->conn, &p, reply);
}

/* One frame there, one back; its payload lives until the next. */
static int call(struct draining *d, struct wr *w, enum wire_type want,
                struct frame *reply, struct err *err)
{
    const struct patience p = patience_of(d);
    struct wire_error refusal;
    int rc = frame_end(w, 0);

    if (rc == 0)
        rc = conn_send_all(&d->conn, w, -1, &p);
    wr_free(w);
    if (rc == 0)
        rc = receive(d, reply);
    if (rc)
        return err_set(err, rc, "the daemon at %s: %s", d->place.socket,
                       err_text(rc));
    if (reply->header.type == WIRE_ERROR &&
        wire_error_decode(reply->payload, reply->header.length, &refusal) == 0)
        return err_set(err, refusal.code, "%s", refusal.text);
    return reply->header.type == (uint16_t)want
               ? 0
               : err_set(err, -EBADMSG, "the daemon speaks another protocol");
}

static int greet(struct draining *d, struct err *err)
{
    const struct wire_hello hello = {WIRE_MAGIC, WIRE_VERSION_LOW,
                                     WIRE_VERSION_HIGH, WIRE_FEATURE_REMOTE};
    struct wire_hello_ok ok;
    struct frame reply = {0};
    struct wr w = {0};
    int rc;

    (void)frame_begin(&w, WIRE_HELLO, 0, ++d->next_request);
    wire_hello_encode(&hello, &w);
    rc = call(d, &w, WIRE_HELLO_OK, &reply, err);
    if (rc)
        return rc;
    if (wire_hello_ok_decode(reply.payload, reply.header.length, &ok))
        return err_set(err, -EBADMSG, "the daemon's greeting is damaged");
    if (!(ok.features & WIRE_FEATURE_REMOTE))
        return err_set(err, -CKPT_EVERSION,
                       "the daemon is too old to know of a remote tier");
    if (!id_equal(&ok.daemon, &d->store))
        return err_set(err, -EINVAL,
                       "the daemon at %s serves another local store than %s",
                       d->place.socket, d->place.local);
    return 0;
}

static void hang_up(struct draining *d)
{
    if (d->is_up)
        conn_fini(&d->conn);
    d->is_up = false;
}

static int connect_to(struct draining *d, struct err *err)
{
    struct patience p = patience_of(d);
    int rc;

    if (d->is_up)
        return 0;
    if (d->place.is_given)
        p.deadline_ms = min_u64(p.deadline_ms, now_ms() + GIVEN_MS);
    rc = daemon_connect(&d->place, &p, &d->child, err);
    if (rc < 0)
        return rc;
    rc = conn_init(&d->conn, rc);
    if (rc)
        return err_set(err, rc, "the socket: %s", err_text(rc));
    d->is_up = true;
    return greet(d, err);
}

static int ask(struct draining *d, const char *run, const struct save_id *id,
               struct wire_drain_ok *out, struct err *err)
{
    struct wire_drain v = {.id = *id};
    struct frame reply = {0};
    struct wr w = {0};
    int rc = connect_to(d, err);

    if (rc == 0) {
        (void)snprintf(v.home, sizeof v.home, "%s", d->place.home);
        (void)snprintf(v.run, sizeof v.run, "%s", run);
        (void)frame_begin(&w, WIRE_DRAIN, 0, ++d->next_request);
        wire_drain_encode(&v, &w);
        rc = call(d, &w, WIRE_DRAIN_OK, &reply, err);
    }
    if (rc == 0 &&
        wire_drain_ok_decode(reply.payload, reply.header.length, out))
        rc = err_set(err, -EBADMSG, "the daemon's answer is damaged");
    if (rc)
        hang_up(d);
    return rc;
}

/*
 * One checkpoint.
 */

/* The daemon went, or is on its way out: another is asked. */
static bool is_lost(int rc)
{
    return rc == -ECONNRESET || rc == -EPIPE || rc == -EAGAIN ||
           rc == -EUSERS || rc == -ECANCELED;
}

/* The daemon's own words; else `err`, of the last question, for which there may
 * just not have been the time. */
static int not_in_time(struct draining *d, const char *title,
                       const struct wire_drain_ok *ok, const struct err *err)
{
    const char *why = ok->code ? ok->text : err->code ? err->text : "";
    char size[32] = "all of it";

    if (ok->bytes)
        (void)size_text(ok->bytes - ok->done_bytes, size);
    return complain(d->tool, EXIT_LOCKED,
                    "%s: %s is still to be copied%s%s%s: call again to go on",
                    title, size, *why ? " (" : "", why, *why ? ")" : "");
}

static int copy(struct draining *d, const char *run, const struct save_id *id,
                const char *title, struct drained *out)
{
    struct progress progress = {.what = title};
    struct wire_drain_ok ok = {0};
    uint32_t lost = 0;
    int code = -1;

    while (code < 0) {
        const struct patience p = patience_of(d);
        struct err err = {0};
        int rc = ask(d, run, id, &ok, &err);

        lost = is_lost(rc) ? lost + 1 : 0;
        progress.total = ok.bytes;
        if (rc == 0 && ok.done_bytes > progress.done)
            progress_add(&progress, ok.done_bytes - progress.done);
        if (rc == 0 && ok.state >= WIRE_DRAIN_SHARED)
            code = EXIT_FINE;
        else if (now_ms() >= d->deadline_ms)
            code = not_in_time(d, title, &ok, &err);
        else if (rc && (!is_lost(rc) || lost > LOST_MAX))
            code =
                complain(d->tool, exit_code_of(rc), "%s: %s", title, err.text);
        else if (rc == 0 && ok.code && !d->tool->options.has_timeout)
            code = complain(d->tool, exit_code_of(ok.code), "%s: %s", title,
                            ok.text);
        else if (patience_sleep(&p, ASK_AGAIN_MS))
            continue; /* the last look */
    }
    progress_end(&progress);
    out->left_bytes = ok.bytes - ok.done_bytes;
    out->result = code == EXIT_FINE ? "copied" : "left";
    return code;
}

/* Is anything of it here? 1, 0 or minus an exit code. */
static int is_here(struct draining *d, const char *run,
                   const struct save_id *id)
{
    struct manifest m;
    void *data = NULL;
    int code = tool_manifest(d->tool, run, id, &data, &m), here = 0;

    for (uint64_t i = 0; !code && i < m.rank_count; i++)
        here |= id_equal(&m.rank[i].daemon, &d->store);
    free(data);
    return code ? -code : here;
}

static int print(struct draining *d, const char *run,
                 const struct catalog_save *s, const struct drained *r)
{
    char domain[1200], missing[1024] = "";
    bool ok = true;

    (void)domain_text(d->tool, s, domain, sizeof domain);
    if (!catalog_is_remote(s) && strcmp(r->result, "left") != 0)
        (void)wait_missing_words(d->tool, run, &s->id, "remote", missing,
                                 sizeof missing);
    if (d->tool->options.json)
        ok = json_line(json_pack(
            "{s:i, s:s, s:s, s:I, s:i, s:s, s:I, s:s, s:o, s:o}", "schema", 1,
            "run", run, "kind", "drain", "step", (json_int_t)s->id.step,
            "generation", (int)s->id.generation, "result", r->result,
            "left_bytes", (json_int_t)r->left_bytes, "state", state_text(s),
            "failure_domain", json_words(domain), "missing",
            json_words(missing)));
    else
        (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%s\t%s%s%s\n", run,
                     s->id.step, s->id.generation, r->result, state_text(s),
                     domain, missing[0] ? "; to be drained on " : "", missing);
    return ok ? 0 : complain(d->tool, EXIT_ERROR, "cannot print");
}

/* Its table is there, and others have yet to: if they have not, the mark is
 * what is missing, and a daemon writes it. */
static bool is_done_here(struct draining *d, const char *run,
                         const struct save_id *id)
{
    char name[RECORD_NAME_BYTES], missing[64];

    (void)name_save_daemon(name, run, "remote", id, &d->store);
    if (tool_has(d->tool, name) != 1)
        return false;
    (void)wait_missing_words(d->tool, run, id, "remote", missing,
                             sizeof missing);
    return missing[0] != '\0';
}

static int drain_save(struct draining *d, const char *run,
                      struct catalog_save *s)
{
    struct drained r = {.result = "remote"};
    char name[RECORD_NAME_BYTES], title[RUN_NAME_MAX + 64], text[1600];
    int code = 0, rc = 1, shown;

    (void)snprintf(title, sizeof title, "%s@%" PRIu64, run, s->id.step);
    if (s->is_remote_damaged)
        return complain(d->tool, EXIT_CORRUPT,
                        "%s: its copy in the remote tier was found damaged: %s",
                        title,
                        mend_text(d->tool, run, &s->id, text, sizeof text));
    if (!catalog_is_remote(s)) {
        rc = is_here(d, run, &s->id);
        if (rc < 0)
            return -rc;
        r.result = rc ? "copied" : "nothing here";
        if (rc && !is_done_here(d, run, &s->id))
            code = copy(d, run, &s->id, title, &r);
        s->is_marked_remote =
            tool_has(d->tool, name_save(name, run, "remote", &s->id)) == 1;
    }
    shown = print(d, run, s, &r);
    return code ? code : shown;
}

static int drain_run_of(struct draining *d, const char *run,
                        const struct target *target)
{
    struct target newest = {.has_step = true, .is_latest = true};
    struct catalog c;
    struct save_id id;
    int code = tool_catalog(d->tool, run, &c);

    (void)snprintf(newest.run, sizeof newest.run, "%s", run);
    if (target && target->has_step)
        newest = *target;
    if (code == 0 && !target && !catalog_latest(&c).generation) {
        catalog_free(&c); /* of all runs: one without a checkpoint */
        return 0;
    }
    if (code == 0)
        code = tool_find_save(d->tool, &c, &newest, &id);
    if (code == 0)
        code = drain_save(d, run, catalog_find(&c, &id));
    catalog_free(&c);
    return code;
}

static int drain_all(struct draining *d)
{
    struct store_names runs;
    int worst = tool_runs(d->tool, &runs);

    for (size_t i = 0; i < runs.count; i++) {
        int code = drain_run_of(d, runs.name[i], NULL);

        worst = code > worst ? code : worst;
    }
    store_names_free(&runs);
    return worst;
}

/* Which local store it is; 0, or an exit code; *none: there is none here. */
static int find_local(struct draining *d, bool *none)
{
    struct tool *t = d->tool;
    struct store *local = NULL;
    struct record_store identity;
    struct err err = {0};
    int rc = daemon_place_init(&d->place, t->options.home, t->options.local,
                               NULL, &err);

    if (rc)
        return complain(t, exit_code_of(rc), "%s", err.text);
    rc = store_file_open(d->place.local, 0, STORE_ENGINE_AUTO, &local, &err);
    if (rc == 0)
        rc = tool_identity(local, &identity, &err);
    store_close(local);
    *none = rc == -ENOENT;
    if (rc && !*none)
        return complain(t, exit_code_of(rc), "local store %s: %s",
                        d->place.local, err.text);
    if (*none)
        return complain(t, EXIT_FINE,
                        "there is no local store at %s: nothing to copy",
                        d->place.local);
    d->store = identity.uuid;
    return EXIT_FINE;
}

int verb_drain(struct tool *t)
{
    struct draining d = {.tool = t, .deadline_ms = wait_deadline(t)};
    struct target target;
    bool none = false;
    int code = tool_open_home(t, false);

    if (code == 0 && t->target)
        code = target_parse(t, t->target, &target);
    if (code == 0)
        code = find_local(&d, &none);
    if (code == 0 && !none)
        code =
            t->target ? drain_run_of(&d, target.run, &target) : drain_all(&d);
    hang_up(&d);
    return code;
}
