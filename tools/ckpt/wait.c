/*
 * wait.c - `ckpt wait`: until a checkpoint is there, or in the remote tier.
 *
 * No daemon is asked: the home is looked into once a second. A step that nobody
 * has begun is waited for like one that is under way; one that was aborted or
 * removed in the newest generation is absent, as nobody will make it any more.
 * RUN@latest is the one that is latest at the first look that finds one. On
 * stderr stands what is waited for, whenever that changes: which daemons have
 * not voted, or not copied their share.
 *
 * A home that does not answer is looked at again, until --timeout.
 *
 * 0: reached; 11: not by --timeout; 10: there is none, or nothing sends it to
 * the remote tier, or at --timeout nobody has begun it; 4: its remote copy was
 * found damaged.
 */
#include "tools/ckpt/wait.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/state.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

void wait_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL);
}

int wait_signal(void)
{
    return caught;
}

void wait_nap(uint64_t deadline_ms)
{
    uint64_t now = now_ms();
    uint64_t ms = deadline_ms > now ? deadline_ms - now : 0;
    struct timespec nap;

    ms = min_u64(ms, WAIT_LOOK_MS);
    nap = (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    (void)nanosleep(&nap, NULL);
}

uint64_t wait_deadline(const struct tool *t)
{
    return t->options.has_timeout ? now_ms() + t->options.timeout_ms
                                  : UINT64_MAX;
}

void wait_forget(struct catalog *c)
{
    catalog_free(c);
    *c = (struct catalog){0};
}

int wait_print(const struct tool *t, const char *run,
               const struct catalog_save *s)
{
    char domain[1200];
    bool ok = true;

    (void)domain_text(t, s, domain, sizeof domain);
    if (t->options.json)
        ok = json_line(json_pack("{s:i, s:s, s:s, s:I, s:i, s:s, s:o}",
                                 "schema", 1, "run", run, "kind", "wait",
                                 "step", (json_int_t)s->id.step, "generation",
                                 (int)s->id.generation, "state", state_text(s),
                                 "failure_domain", json_words(domain)));
    else
        (void)printf("%s@%" PRIu64 "\tgeneration %u\t%s\t%s\n", run, s->id.step,
                     s->id.generation, state_text(s), domain);
    return ok && fflush(stdout) == 0 ? EXIT_FINE
                                     : complain(t, EXIT_ERROR, "cannot print");
}

struct waiting {
    struct tool *tool;
    struct target target;
    struct catalog catalog;
    struct save_id id; /* of `latest`, once it is known; else none */
    char said[1200];   /* the last words on stderr */
};

/* What the target means: a checkpoint, else the save that is nearest to being
 * one in the newest generation (or the one that was named). NULL: nothing. */
static const struct catalog_save *find(struct waiting *w)
{
    const struct catalog *c = &w->catalog;
    const struct target *target = &w->target;
    const struct catalog_generation *newest = catalog_newest(c);
    uint32_t generation = target->generation;
    struct save_id id = w->id;

    if (!id.generation)
        id = target->is_latest ? catalog_latest(c)
                               : catalog_at_step(c, target->step, generation);
    if (target->is_latest)
        w->id = id;
    if (id.generation || target->is_latest)
        return id.generation ? catalog_find(c, &id) : NULL;
    if (!generation && newest)
        generation = newest->record.generation;
    for (size_t i = c->save_count; i-- > 0;)
        if (c->save[i].id.generation == generation &&
            c->save[i].id.step == target->step)
            return &c->save[i];
    return NULL;
}

static void say(struct waiting *w, const char *format, ...) PRINTF_LIKE(2, 3);

static void say(struct waiting *w, const char *format, ...)
{
    char text[sizeof w->said];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (strcmp(text, w->said) == 0)
        return;
    memcpy(w->said, text, sizeof text);
    (void)complain(w->tool, 0, "%s", text);
}

static void say_waiting(struct waiting *w, const struct catalog_save *s,
                        const char *what, const char *folder)
{
    char missing[1024];

    (void)wait_missing_words(w->tool, w->catalog.run, &s->id, folder, missing,
                             sizeof missing);
    say(w, "%s@%" PRIu64 " is %s%s%s", w->catalog.run, s->id.step, what,
        missing[0] ? ", waiting for " : "", missing);
}

/* Has a daemon copied its share, though the policy does not ask for it? */
static bool is_begun_by_hand(struct waiting *w, const struct catalog_save *s)
{
    char name[RECORD_NAME_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, w->catalog.run, "remote")};
    int64_t rc = store_run(w->tool->home, &list);
    bool is = false;
    struct save_id id;

    for (size_t i = 0; rc >= 0 && i < list.names.count; i++)
        is = is || (save_id_parse(list.names.name[i], &id, NULL) == 0 &&
                    save_id_compare(&id, &s->id) == 0);
    store_names_free(&list.names);
    return is;
}

/* Nothing sends it there: the exit code; 0: something does. */
static int refuse_unsent(struct waiting *w, const struct catalog_save *s)
{
    const struct catalog_generation *g =
        catalog_generation_at(&w->catalog, s->id.generation);
    uint32_t every = g ? g->record.remote_every : 0;
    char why[200];

    if ((every && s->id.step % every == 0) || is_begun_by_hand(w, s))
        return 0;
    if (every)
        (void)snprintf(why, sizeof why,
                       "of generation %u only steps that are multiples of %u "
                       "are",
                       s->id.generation, every);
    else
        (void)snprintf(why, sizeof why,
                       "generation %u was started without remote_every "
                       "(CKPT_REMOTE_EVERY)",
                       s->id.generation);
    return complain(w->tool, EXIT_ABSENT,
                    "%s@%" PRIu64 " is not sent to the remote tier: %s; ckpt "
                    "drain %s@%" PRIu64 "/%u, on each of its hosts, sends it",
                    w->catalog.run, s->id.step, why, w->catalog.run, s->id.step,
                    s->id.generation);
}

/* -1: not yet; else the exit code. */
static int judge(struct waiting *w, const struct catalog_save *s)
{
    const char *run = w->catalog.run;
    char text[1600];
    int code;

    switch (s->status) {
    case SAVE_UNDECIDED:
        say_waiting(w, s, "under way", "vote");
        return -1;
    case SAVE_ABORTED:
        return complain(w->tool, EXIT_ABSENT, "%s@%" PRIu64 " was aborted: %s",
                        run, s->id.step, catalog_reason(s));
    case SAVE_REMOVED:
        return complain(w->tool, EXIT_ABSENT, "%s@%" PRIu64 " was removed", run,
                        s->id.step);
    case SAVE_UNREADABLE:
        return tool_unreadable(w->tool, &w->catalog, s);
    case SAVE_COMMITTED:
    default:
        break;
    }
    if (!w->tool->options.remote || catalog_is_remote(s))
        return wait_print(w->tool, run, s);
    if (s->is_remote_damaged)
        return complain(w->tool, EXIT_CORRUPT,
                        "%s@%" PRIu64 ": its copy in the remote tier was found "
                        "damaged: %s",
                        run, s->id.step,
                        mend_text(w->tool, run, &s->id, text, sizeof text));
    code = refuse_unsent(w, s);
    if (code)
        return code;
    say_waiting(w, s, "COMMITTED, not REMOTE", "remote");
    return -1;
}

/* Of the home or the way to it, and not of what was looked for. */
static bool is_passing(int code)
{
    return code == -ETIMEDOUT || code == -EIO || code == -ESTALE ||
           code == -ENOTCONN || code == -ECONNRESET || code == -EHOSTDOWN ||
           code == -EHOSTUNREACH || code == -ENETUNREACH || code == -EAGAIN;
}

/* It cannot be looked into: as look(). */
static int not_seen(struct waiting *w, const struct err *err, bool is_over)
{
    if (!is_passing(err->code))
        return complain(w->tool, exit_code_of(err->code), "%s", err->text);
    wait_forget(&w->catalog);
    if (is_over)
        return complain(w->tool, EXIT_LOCKED, "%s", err->text);
    say(w, "%s; waiting", err->text);
    return -1;
}

/* -1: not yet; else the exit code. `is_over`: the last look. */
static int look(struct waiting *w, bool is_over)
{
    const struct target *target = &w->target;
    const struct catalog_save *s;
    struct err err = {0};
    int rc = tool_catalog_again(w->tool, target->run, &w->catalog, &err), code;

    if (rc)
        return not_seen(w, &err, is_over);
    s = find(w);
    if (s) {
        code = judge(w, s);
        return code < 0 && is_over ? EXIT_LOCKED : code;
    }
    if (target->is_latest)
        say(w, "%s has no checkpoint yet", target->run);
    else if (target->generation)
        say(w, "%s@%" PRIu64 "/%u is not there yet", target->run, target->step,
            target->generation);
    else
        say(w, "%s@%" PRIu64 " is not there yet", target->run, target->step);
    return is_over ? EXIT_ABSENT : -1;
}

static int wait_one(struct waiting *w)
{
    uint64_t deadline = wait_deadline(w->tool);
    int code;

    for (;;) {
        bool is_over = now_ms() >= deadline;

        code = wait_signal() ? EXIT_INTERRUPTED : look(w, is_over);
        if (code >= 0)
            return code;
        wait_nap(deadline);
    }
}

int verb_wait(struct tool *t)
{
    struct waiting w = {.tool = t};
    int code = target_parse(t, t->target, &w.target);

    if (code == 0 && t->options.exec && !t->options.each)
        code = complain(t, EXIT_USAGE, "--exec goes with --each");
    if (code == 0 && t->options.each && w.target.has_step)
        code = complain(t, EXIT_USAGE, "--each takes a run, not a step");
    if (code == 0 && !t->options.each && !w.target.has_step)
        code = complain(t, EXIT_USAGE, "which step? %s@latest or %s@STEP",
                        w.target.run, w.target.run);
    if (code == 0)
        code = tool_open_home(t, false);
    if (code)
        return code;
    wait_catch_signals();
    if (t->options.each)
        return wait_each(t, w.target.run);
    code = wait_one(&w);
    catalog_free(&w.catalog);
    return code;
}
