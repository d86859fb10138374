/*
 * session_open.c - how a session begins: HELLO and OPEN.
 *
 * HELLO settles the version. OPEN attaches home and run and joins the
 * generation; whatever fails there is answered with the request's id and the
 * rank may try again.
 */
#include "ckptd/engine/save.h"
#include "common/text.h"
#include "storage/rados_url.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void session_hello(struct session *s, const struct wire_header *h,
                   const void *payload)
{
    struct env *env = s->engine->env;
    struct wire_hello v;
    struct wire_hello_ok ok = {0};
    struct wr w = {0};

    if (wire_hello_decode(payload, h->length, &v) || v.magic != WIRE_MAGIC ||
        v.low > v.high) {
        session_breach(s, "this is no HELLO of ckptd's protocol");
        return;
    }
    if (v.low > WIRE_VERSION_HIGH || v.high < WIRE_VERSION_LOW) {
        session_error(s, h->id, -CKPT_EVERSION,
                      "the library speaks protocol versions %u to %u and this "
                      "daemon %u to %u: install the same release of both",
                      v.low, v.high, WIRE_VERSION_LOW, WIRE_VERSION_HIGH);
        session_end(s);
        return;
    }
    s->features = v.features;
    ok.version = v.high < WIRE_VERSION_HIGH ? v.high : WIRE_VERSION_HIGH;
    ok.features = WIRE_FEATURE_TRUST | WIRE_FEATURE_REMOTE;
    ok.daemon = env->local_uuid;
    ok.is_service = env->is_service;
    memcpy(ok.mode, env->mode, sizeof ok.mode);
    session_move(s, SESSION_GREETED);
    wire_hello_ok_encode(&ok, &w);
    session_send(s, WIRE_HELLO_OK, h->id, &w);
}

/*
 * OPEN.
 */

static void open_failed(struct session *s, int code, const char *text)
{
    session_move(s, SESSION_GREETED);
    session_error(s, s->open_request, code, "rank %" PRIu32 ": %s",
                  s->open.rank, text);
}

static void on_joined(struct join *join, int result)
{
    struct session *s = join->owner;
    struct wire_open_ok ok = {0};
    struct wr w = {0};

    s->is_joining = false;
    if (result) {
        open_failed(s, result, join->err.text);
        return;
    }
    s->generation = join->generation;
    s->parent = join->parent;
    session_move(s, SESSION_JOINED);
    save_session_joined(s);
    ok.run = s->run->catalog.uuid;
    ok.generation = s->generation;
    ok.parent = s->parent;
    wire_open_ok_encode(&ok, &w);
    session_send(s, WIRE_OPEN_OK, s->open_request, &w);
}

static void on_attached(void *arg, int result, struct run *run,
                        const struct err *err)
{
    struct session *s = arg;

    s->is_attaching = false;
    if (s->state == SESSION_CLOSING) {
        session_settle(s);
        return;
    }
    if (result) {
        open_failed(s, result, err->text);
        return;
    }
    s->run = run;
    s->join = (struct join){
        .open = &s->open, .run = run, .done = on_joined, .owner = s};
    s->is_joining = true;
    join_begin(&s->join);
}

/* "." and ".." would name one home in several ways. */
static bool is_plain_path(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at; at++) {
        size_t bytes = strcspn(at + 1, "/");

        if ((bytes == 1 && at[1] == '.') ||
            (bytes == 2 && at[1] == '.' && at[2] == '.'))
            return false;
        at += bytes;
    }
    return true;
}

/* 0, or -EINVAL in words. A home gets one name, however it was written. */
static int name_home(char *home, struct err *err)
{
    char text[RADOS_URL_MAX + 1];
    size_t bytes = strlen(home);
    struct rados_url url;
    int rc;

    while (bytes > 1 && home[bytes - 1] == '/')
        home[--bytes] = '\0';
    if (!text_home_is_rados(home))
        return is_plain_path(home)
                   ? 0
                   : err_set(err, -EINVAL,
                             "home '%s': an absolute path without . and .. is "
                             "wanted",
                             home);
    rc = rados_url_parse(home, &url, err);
    if (rc < 0)
        return err_prefix(err, "home '%s'", home);
    rados_url_format(&url, text); /* as long as what was parsed */
    memcpy(home, text, strlen(text) + 1);
    return 0;
}

static void use_defaults(const struct env *env, struct wire_open *v)
{
    if (!v->open_timeout_ms)
        v->open_timeout_ms = OPEN_TIMEOUT_MS;
    if (!v->decide_timeout_ms)
        v->decide_timeout_ms = DECIDE_TIMEOUT_MS;
    if (!v->load_timeout_ms)
        v->load_timeout_ms = LOAD_TIMEOUT_MS;
    if (!v->keep_last && !v->keep_every) {
        v->keep_last = env->keep_last;
        v->keep_every = env->keep_every;
    }
    if (!v->remote_every)
        v->remote_every = env->remote_every;
    if (!v->local_last)
        v->local_last = env->local_last;
}

bool session_may_open(struct session *s, uint64_t request_id, char *home,
                      const char *run)
{
    struct err err;

    if (name_home(home, &err)) {
        session_error(s, request_id, err.code, "%s", err.text);
        return false;
    }
    if (!run_name_is_good(run)) {
        session_error(s, request_id, -EINVAL,
                      "run '%s': letters, digits, '.', '_' and '-' are wanted, "
                      "not starting with '.'",
                      run);
        return false;
    }
    if (s->engine->is_closing || !s->engine->is_ready) {
        session_error(s, request_id, -EAGAIN,
                      "the daemon is %s: try again shortly",
                      s->engine->is_closing ? "stopping" : "starting");
        return false;
    }
    return true;
}

void session_open(struct session *s, const struct wire_header *h,
                  const void *payload)
{
    struct wire_open *v = &s->open;

    if (wire_open_decode(payload, h->length, v)) {
        session_breach(s, "an OPEN of %u bytes does not decode", h->length);
        return;
    }
    if (!session_may_open(s, h->id, v->home, v->run))
        return;
    use_defaults(s->engine->env, v);
    s->open_request = h->id;
    s->is_attaching = true;
    session_move(s, SESSION_JOINING);
    run_attach(s->engine, v->home, v->run, on_attached, s);
}
