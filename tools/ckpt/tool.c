/*
 * tool.c - see tool.h.
 */
#include "tools/ckpt/tool.h"
#include "common/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int complain(const struct tool *t, int code, const char *format, ...)
{
    char text[2048];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_clean(text);
    (void)fprintf(stderr, "ckpt %s: %s\n", t->verb, text);
    return code;
}

int exit_code_of(int result)
{
    switch (-result) {
    case 0:
        return EXIT_FINE;
    case ENOENT:
    case ERANGE:
        return EXIT_ABSENT;
    case CKPT_ECORRUPT:
    case EBADMSG:
        return EXIT_CORRUPT;
    case CKPT_EPARTIAL:
        return EXIT_PARTIAL;
    case EBUSY:
        return EXIT_LOCKED;
    case EINTR:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_ERROR;
    }
}

int tool_open_home(struct tool *t, bool for_writing)
{
    struct err err;
    int rc;

    if (!t->options.home || !*t->options.home)
        return complain(t, EXIT_USAGE,
                        "no home given: use --home HOME or set CKPT_HOME");
    if (!text_home_path(t->options.home) &&
        !text_home_is_rados(t->options.home))
        return complain(t, EXIT_USAGE,
                        "home %s: a home is a directory, file://PATH or "
                        "rados://POOL/NAMESPACE",
                        t->options.home);
    rc = store_home_open(t->options.home, for_writing ? STORE_OPEN_WRITE : 0,
                         STORE_ENGINE_AUTO, &t->home, &err);
    if (rc == -EINVAL) /* its name is none, or means another home */
        return complain(t, EXIT_USAGE, "home %s: %s", t->options.home,
                        err.text);
    return rc ? complain(t, exit_code_of(rc), "%s", err.text) : EXIT_FINE;
}

bool tool_local_path(const struct tool *t, char *path, size_t capacity)
{
    const char *home = t->options.home ? text_home_path(t->options.home) : NULL;

    *path = '\0';
    if (t->options.local && *t->options.local)
        (void)snprintf(path, capacity, "%s", t->options.local);
    else if (home)
        (void)snprintf(path, capacity, "%s/local", home);
    return *path;
}

int tool_wait(struct store *s, const bool *done)
{
    while (!*done) {
        int rc = store_poll(s, -1);

        if (rc < 0 && rc != -EINTR)
            return rc;
    }
    return 0;
}

/*
 * Targets.
 */

static int parse_step(const char *text, struct target *out)
{
    char *end;

    out->has_step = true;
    if (strcmp(text, "latest") == 0) {
        out->is_latest = true;
        return 0;
    }
    errno = 0;
    out->step = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || errno)
        return -EINVAL;
    if (*end == '/') {
        const char *generation = end + 1;
        unsigned long value = strtoul(generation, &end, 10);

        if (generation[0] < '1' || generation[0] > '9' || value > 99999999)
            return -EINVAL;
        out->generation = (uint32_t)value;
    }
    return *end ? -EINVAL : 0;
}

int target_parse(const struct tool *t, const char *text, struct target *out)
{
    char copy[RUN_NAME_MAX + 128];
    const char *colon = strchr(text, ':');
    size_t bytes = colon ? (size_t)(colon - text) : strlen(text);
    char *at;

    *out = (struct target){.tensor = colon ? colon + 1 : NULL};
    if (bytes >= sizeof copy)
        return complain(t, EXIT_USAGE, "target too long: %s", text);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    at = strchr(copy, '@');
    if (at)
        *at++ = '\0';
    if (!run_name_is_good(copy) || (at && parse_step(at, out)))
        return complain(t, EXIT_USAGE,
                        "'%s' is no target: RUN@STEP[/GENERATION][:TENSOR] or "
                        "RUN@latest",
                        text);
    memcpy(out->run, copy, strlen(copy) + 1); /* a good name fits */
    return EXIT_FINE;
}

/* One whose RUN is gone but that has generations is damaged, not a stray. */
static bool is_run(const struct tool *t, const char *name)
{
    char record[RECORD_NAME_BYTES];
    struct store_req stat = {.op = STORE_STAT,
                             .name = name_run(record, name, "RUN")};
    struct store_req list = {.op = STORE_LIST};
    int64_t rc = store_run(t->home, &stat);

    if (rc != -ENOENT && rc != -ENOTDIR)
        return true;
    list.name = name_run(record, name, "gen");
    rc = store_run(t->home, &list);
    rc = rc < 0 ? 0 : (int64_t)list.names.count;
    store_names_free(&list.names);
    return rc > 0;
}

/* What is no run (lost+found, a file that somebody left) does not count. */
static void keep_runs(const struct tool *t, struct store_names *runs)
{
    size_t count = 0, strays = 0;

    for (size_t i = 0; i < runs->count; i++) {
        if (run_name_is_good(runs->name[i]) && is_run(t, runs->name[i]))
            runs->name[count++] = runs->name[i];
        else
            strays++;
    }
    runs->count = count;
    if (strays)
        (void)complain(t, EXIT_FINE,
                       "%zu entries of runs/ are no runs (no RUN record): "
                       "passed over",
                       strays);
}

int tool_runs(struct tool *t, struct store_names *runs)
{
    struct store_req req = {.op = STORE_LIST, .name = "runs"};
    int64_t rc = store_run(t->home, &req);

    *runs = req.names;
    if (rc < 0)
        return complain(t, exit_code_of((int)rc), "home %s: runs/: %s",
                        t->options.home, err_text((int)rc));
    keep_runs(t, runs);
    return EXIT_FINE;
}

struct answer {
    bool is_done;
    int64_t result;
    void *data;
    struct err err;
};

static void catalog_here(void *arg, int result, const struct err *err)
{
    struct answer *a = arg;

    a->is_done = true;
    a->result = result;
    a->err = *err;
}

int tool_catalog_again(struct tool *t, const char *run, struct catalog *c,
                       struct err *err)
{
    struct answer a = {0};
    int rc;

    catalog_load(t->home, run, c, catalog_here, &a);
    rc = tool_wait(t->home, &a.is_done);
    if (rc)
        return err_set(err, rc, "home %s: %s", t->options.home, err_text(rc));
    if (a.result == -ENOENT)
        return err_set(err, -ENOENT, "there is no run '%s' in home %s", run,
                       t->options.home);
    *err = a.err;
    return (int)a.result;
}

int tool_catalog(struct tool *t, const char *run, struct catalog *c)
{
    struct err err = {0};
    int rc;

    *c = (struct catalog){0};
    rc = tool_catalog_again(t, run, c, &err);
    return rc ? complain(t, exit_code_of(rc), "%s", err.text) : EXIT_FINE;
}

int tool_has(struct tool *t, const char *name)
{
    struct store_req stat = {.op = STORE_STAT, .name = name};
    int64_t rc = store_run(t->home, &stat);

    if (rc == -ENOENT || rc == -ENOTDIR)
        return 0;
    return rc < 0 ? (int)rc : 1;
}

int tool_unreadable(struct tool *t, const struct catalog *c,
                    const struct catalog_save *s)
{
    return complain(t, exit_code_of(s->code), "%s@%" PRIu64 "/%u: %s", c->run,
                    s->id.step, s->id.generation, catalog_reason(s));
}

static bool is_meant(const struct target *target, const struct save_id *id)
{
    return !target->is_latest && id->step == target->step &&
           (!target->generation || id->generation == target->generation);
}

/* Why the step of a target is not to be had. */
static int not_there(struct tool *t, const struct catalog *c,
                     const struct target *target)
{
    char nearby[256], whose[32] = "";

    for (size_t i = c->save_count; i-- > 0;) {
        const struct catalog_save *s = &c->save[i];

        if (!is_meant(target, &s->id))
            continue;
        if (s->status == SAVE_UNREADABLE)
            return complain(t, exit_code_of(s->code), "%s@%" PRIu64 ": %s",
                            c->run, target->step, catalog_reason(s));
        if (s->status == SAVE_ABORTED)
            return complain(t, EXIT_ABSENT, "%s@%" PRIu64 " was aborted: %s",
                            c->run, target->step, catalog_reason(s));
    }
    if (target->is_latest)
        return complain(t, EXIT_ABSENT, "run %s has no checkpoint", c->run);
    if (target->generation)
        (void)snprintf(whose, sizeof whose, " in generation %u",
                       target->generation);
    catalog_nearby(c, target->step, nearby, sizeof nearby);
    return complain(t, EXIT_ABSENT,
                    "run %s has no checkpoint of step %" PRIu64 "%s (%s)",
                    c->run, target->step, whose, nearby);
}

int tool_find_save(struct tool *t, const struct catalog *c,
                   const struct target *target, struct save_id *id)
{
    if (!target->has_step)
        return complain(t, EXIT_USAGE, "which step? %s@latest or %s@STEP",
                        target->run, target->run);
    *id = target->is_latest
              ? catalog_latest(c)
              : catalog_at_step(c, target->step, target->generation);
    return id->generation ? EXIT_FINE : not_there(t, c, target);
}

static void data_here(void *arg, int64_t result, void *data)
{
    struct answer *a = arg;

    a->is_done = true;
    a->result = result;
    a->data = data;
}

int tool_manifest(struct tool *t, const char *run, const struct save_id *id,
                  void **data, struct manifest *m)
{
    char name[RECORD_NAME_BYTES];
    struct answer a = {0}, b = {0};
    struct record_decision d;
    struct err err = {0};
    int rc;

    recio_get(t->home, name_save(name, run, "decision", id), RECORD_MAX_BYTES,
              data_here, &a);
    rc = tool_wait(t->home, &a.is_done);
    if (rc == 0)
        rc = a.result < 0 ? (int)a.result : 0;
    if (rc)
        return complain(t, exit_code_of(rc), "%s: %s", name, err_text(rc));
    rc = record_decision_of(id, a.data, (size_t)a.result, &d, &err);
    if (rc == 0) {
        recio_get_manifest(t->home, run, &d, data_here, &b);
        rc = tool_wait(t->home, &b.is_done);
    }
    if (rc == 0 && b.result < 0)
        rc = err_set(&err, (int)b.result, "its manifest: %s",
                     err_text((int)b.result));
    if (rc == 0)
        rc = manifest_open(b.data, (size_t)b.result, m, &err);
    free(a.data);
    if (rc) {
        free(b.data);
        return complain(t, exit_code_of(rc), "%s: %s", name, err.text);
    }
    *data = b.data;
    return EXIT_FINE;
}

int tool_identity(struct store *s, struct record_store *out, struct err *err)
{
    _Alignas(8) uint8_t data[4096];
    struct store_req get = {
        .op = STORE_GET, .name = "STORE", .buf = data, .len = sizeof data};
    int64_t n = store_run(s, &get);

    if (n < 0)
        return err_set(err, (int)n, "%s", err_text((int)n));
    return record_store_decode(data, (size_t)n, out, err);
}

int tool_target(struct tool *t, struct target *target, void **data,
                struct manifest *m)
{
    struct catalog c = {0};
    struct save_id id;
    int code = tool_open_home(t, false);

    *data = NULL;
    if (code == 0)
        code = target_parse(t, t->target, target);
    if (code == 0)
        code = tool_catalog(t, target->run, &c);
    if (code == 0)
        code = tool_find_save(t, &c, target, &id);
    if (code == 0)
        target->save = *catalog_find(&c, &id);
    target->save.reason = NULL;
    if (code == 0)
        code = tool_manifest(t, target->run, &id, data, m);
    catalog_free(&c);
    return code;
}

int tool_tensor(const struct tool *t, const struct manifest *m,
                const char *name, uint64_t *tensor)
{
    int64_t i = manifest_find(m, name, strlen(name));

    if (i < 0)
        return complain(t, EXIT_ABSENT,
                        "step %" PRIu64 " has no tensor '%s' (ckpt show lists "
                        "them)",
                        m->info.id.step, name);
    *tensor = (uint64_t)i;
    return EXIT_FINE;
}
