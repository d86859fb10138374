/*
 * job_rank.c - the commands of a rank; see tests/progs/job.c.
 */
#include "tests/lib/job_rank.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS  120000
#define WAIT_MS      60000
#define VALUES_COUNT 2

static void __attribute__((format(printf, 2, 3)))
say(const struct rank *r, const char *format, ...)
{
    char text[2048];
    va_list args;
    int n = snprintf(text, sizeof text, "%u %s ", r->shape.rank, r->command);

    va_start(args, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 1, format, args);
    va_end(args);
    if (n > (int)sizeof text - 2)
        n = (int)sizeof text - 2;
    text[n++] = '\n';
    if (write(STDOUT_FILENO, text, (size_t)n) != n)
        _exit(3);
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms)
{
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    while (nanosleep(&t, &t) && errno == EINTR)
        continue;
}

static const char *code_name(int code)
{
    static const char *const own[] = {"CKPT_ECORRUPT",  "CKPT_EVERSION",
                                      "CKPT_ESHAPE",    "CKPT_EPARTIAL",
                                      "CKPT_ECONFLICT", "CKPT_EUNCOMMITTED",
                                      "CKPT_EABORTED",  "CKPT_EDIVERGED",
                                      "CKPT_ESTALE",    "CKPT_EOVERLOAD"};
    const char *name;

    if (-code >= CKPT_ECORRUPT && -code <= CKPT_EOVERLOAD)
        return own[-code - CKPT_ECORRUPT];
    name = strerrorname_np(-code);
    return name ? name : "UNKNOWN";
}

/* For failures that are this program's own. */
static int fail(struct rank *r, int code, const char *text)
{
    r->error.code = code;
    (void)snprintf(r->error.message, sizeof r->error.message, "%s", text);
    return code;
}

/*
 * Commands. Each gets what stands behind its colon, or "".
 */

static int do_open(struct rank *r, const char *word)
{
    struct ckpt_id parent;
    int rc = ckpt_open(&r->options, &r->ctx, &r->error);

    (void)word;
    if (rc)
        return rc;
    ckpt_parent(r->ctx, &parent);
    say(r, "ok parent=%" PRIu64 "/%u", parent.step, parent.generation);
    return 0;
}

static int do_close(struct rank *r, const char *word)
{
    (void)word;
    ckpt_save_free(r->save);
    r->save = NULL;
    ckpt_close(r->ctx);
    r->ctx = NULL;
    say(r, "ok");
    return 0;
}

static void fill_version(struct rank *r, uint32_t version)
{
    for (uint32_t i = 0; i < r->shape.tensor_count; i++)
        r->state.version[i] = version;
    job_state_fill(&r->state);
}

static int do_fill(struct rank *r, const char *word)
{
    fill_version(r, (uint32_t)strtoul(word, NULL, 10));
    return 0;
}

static int do_touch(struct rank *r, const char *word)
{
    unsigned tensor, version;

    if (sscanf(word, "%u:%u", &tensor, &version) != 2 ||
        tensor >= r->shape.tensor_count)
        return fail(r, -EINVAL, "touch:TENSOR:VERSION");
    r->state.version[tensor] = version;
    job_state_fill(&r->state);
    return 0;
}

static int do_set(struct rank *r, const char *word)
{
    job_state_set(&r->state, (uint32_t)strtoul(word, NULL, 0));
    return 0;
}

static int do_flip(struct rank *r, const char *word)
{
    unsigned tensor, bit;
    uint64_t element;

    if (sscanf(word, "%u:%" SCNu64 ":%u", &tensor, &element, &bit) != 3 ||
        bit >= 32)
        return fail(r, -EINVAL, "flip:TENSOR:ELEMENT:BIT");
    for (size_t i = 0; i < r->state.count; i++) {
        uint32_t *data = r->state.piece[i].data;

        if (r->state.tensor[i] != tensor || element >= r->state.elements[i])
            continue;
        data[element] ^= 1U << bit;
        return 0;
    }
    return fail(r, -EINVAL, "there is no such element here");
}

static int do_warnings(struct rank *r, const char *word)
{
    struct ckpt_error warning;
    int count = 0;

    (void)word;
    while (ckpt_warning(r->ctx, &warning)) {
        say(r, "warning %s", warning.message);
        count++;
    }
    say(r, "ok count=%d", count);
    return 0;
}

static int begin_save(struct rank *r, uint64_t step)
{
    struct ckpt_value value[VALUES_COUNT] = {
        {.name = "versions",
         .axes = "",
         .type = CKPT_VALUE_BYTES,
         .data = r->state.version,
         .bytes = sizeof r->state.version},
        {.name = "of rank",
         .axes = "dp",
         .type = CKPT_VALUE_U64,
         .scalar.u = step * 1000 + r->shape.rank},
    };
    struct ckpt_save *save;
    int rc;

    rc = ckpt_save(r->ctx, step, r->state.piece, r->state.count, value,
                   VALUES_COUNT, &save, &r->error);
    if (rc)
        return rc;
    ckpt_save_free(r->save);
    r->save = save;
    return 0;
}

static int do_save(struct rank *r, const char *word)
{
    uint64_t begin = now_ms();
    struct ckpt_id id;
    int rc = begin_save(r, strtoull(word, NULL, 10));

    if (rc)
        return rc;
    ckpt_save_id(r->save, &id);
    say(r, "ok attempt=%u ms=%" PRIu64, id.attempt, now_ms() - begin);
    return 0;
}

static int do_fence(struct rank *r, const char *word)
{
    int rc = ckpt_fence(r->save, NULL, &r->error);

    (void)word;
    if (rc == 0)
        say(r, "ok");
    return rc;
}

static int do_wait(struct rank *r, const char *word)
{
    static const char *const states[] = {"staged", "local", "committed",
                                         "remote"};
    size_t bytes = strcspn(word, ":");
    int ms = word[bytes] ? atoi(word + bytes + 1) : WAIT_MS, rc;

    for (int i = 0; i < 4; i++) {
        if (strlen(states[i]) != bytes || strncmp(states[i], word, bytes) != 0)
            continue;
        rc = ckpt_wait(r->save, (enum ckpt_state)(i + CKPT_STAGED), ms,
                       &r->error);
        if (rc == 0)
            say(r, "ok");
        return rc;
    }
    return fail(r, -EINVAL, "wait:staged, local, committed or remote");
}

static int do_drop(struct rank *r, const char *word)
{
    (void)word;
    ckpt_save_free(r->save);
    r->save = NULL;
    return 0;
}

/* The versions that the save carries, and this rank's own value where the
 * degree of dp is the same. */
static int take_values(struct rank *r, const struct ckpt_values *values,
                       uint64_t step)
{
    const struct ckpt_value *v = ckpt_values_find(values, "versions");

    if (!v || v->bytes != sizeof r->state.version)
        return fail(r, -EILSEQ, "the extra state lacks the versions");
    memcpy(r->state.version, v->data, v->bytes);
    v = ckpt_values_find(values, "of rank");
    if (v && v->scalar.u != step * 1000 + r->shape.rank)
        return fail(r, -EILSEQ, "the extra state of this rank is another's");
    return 0;
}

static int check_load(struct rank *r, int rc, struct ckpt_values *values,
                      const struct ckpt_report *report)
{
    char text[512];

    if (rc == 0)
        rc = take_values(r, values, report->id.step);
    ckpt_values_free(values);
    if (rc)
        return rc;
    if (!job_state_check(&r->state, text, sizeof text))
        return fail(r, -EILSEQ, text);
    say(r,
        "ok id=%" PRIu64 "/%u version=%u bytes=%" PRIu64 " read_bytes=%" PRIu64
        " attempts=%u note=%s",
        report->id.step, report->id.generation, r->state.version[0],
        report->bytes, report->read_bytes, report->attempt_count, report->note);
    return 0;
}

static int do_load(struct rank *r, const char *word)
{
    struct ckpt_values *values = NULL;
    struct ckpt_report report;
    int rc;

    (void)word;
    job_state_set(&r->state, 0x5a5a5a5a);
    rc = ckpt_load(r->ctx, r->state.piece, r->state.count, &values, &report,
                   &r->error);
    return check_load(r, rc, values, &report);
}

/* The attempt that was committed; stays 0 when none was. */
static int find_attempt(struct rank *r, struct ckpt_id *id)
{
    struct ckpt_info info[64];
    int count = ckpt_list(r->ctx, info, 64, &r->error);

    for (int i = 0; i < count && i < 64; i++)
        if (info[i].id.step == id->step &&
            info[i].id.generation == id->generation)
            id->attempt = info[i].id.attempt;
    return count < 0 ? count : 0;
}

static int do_read(struct rank *r, const char *word)
{
    struct ckpt_values *values = NULL;
    struct ckpt_report report;
    struct ckpt_id id = {0};
    int rc;

    if (sscanf(word, "%" SCNu64 "/%u", &id.step, &id.generation) != 2)
        return fail(r, -EINVAL, "read:STEP/GENERATION");
    rc = find_attempt(r, &id);
    if (rc)
        return rc;
    job_state_set(&r->state, 0x5a5a5a5a);
    rc = ckpt_read(r->ctx, &id, r->state.piece, r->state.count, &values,
                   &report, &r->error);
    return check_load(r, rc, values, &report);
}

static int do_extra(struct rank *r, const char *word)
{
    struct ckpt_values *values = NULL;
    const struct ckpt_value *v;
    int rc = ckpt_load_extra(r->ctx, &values, &r->error);

    (void)word;
    if (rc)
        return rc;
    v = ckpt_values_find(values, "of rank");
    say(r, "ok values=%zu of_rank=%" PRIu64, ckpt_values_count(values),
        v ? v->scalar.u : 0);
    ckpt_values_free(values);
    return 0;
}

static int do_parent(struct rank *r, const char *word)
{
    struct ckpt_id id;

    (void)word;
    ckpt_parent(r->ctx, &id);
    say(r, "ok %" PRIu64 "/%u", id.step, id.generation);
    return 0;
}

static int do_list(struct rank *r, const char *word)
{
    struct ckpt_info info[64];
    char text[1024] = "";
    int count = ckpt_list(r->ctx, info, 64, &r->error);
    size_t used = 0;

    (void)word;
    for (int i = 0; i < count && i < 64; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 " %" PRIu64 "/%u%s", info[i].id.step,
                                 info[i].id.generation,
                                 info[i].state == CKPT_REMOTE ? "=REMOTE" : "");
    if (count >= 0)
        say(r, "ok count=%d%s", count, text);
    return count < 0 ? count : 0;
}

static int do_mode(struct rank *r, const char *word)
{
    (void)word;
    say(r, "ok %s", ckpt_mode(r->ctx));
    return 0;
}

static int do_bytes(struct rank *r, const char *word)
{
    (void)word;
    say(r, "ok %" PRIu64, job_state_bytes(&r->state));
    return 0;
}

static int remake(struct rank *r)
{
    uint32_t version[JOB_TENSORS_MAX];
    int rc;

    memcpy(version, r->state.version, sizeof version);
    job_state_fini(&r->state);
    rc = job_state_init(&r->state, &r->shape);
    if (rc)
        return fail(r, rc, "no such state");
    memcpy(r->state.version, version, sizeof version);
    job_state_fill(&r->state);
    return 0;
}

static int do_fault(struct rank *r, const char *word)
{
    int fault = job_fault_parse(word);

    if (fault < 0)
        return fail(r, -EINVAL, "no such fault");
    r->shape.fault = (enum job_fault)fault;
    return remake(r);
}

static int do_layout(struct rank *r, const char *word)
{
    int layout = job_layout_parse(word);

    if (layout < 0)
        return fail(r, -EINVAL, "no such layout");
    r->shape.layout = (enum job_layout)layout;
    return remake(r);
}

/* One save of a storm, to its end: what became of it. */
static int storm_save(struct rank *r, uint64_t step, int patience_ms)
{
    int rc;

    fill_version(r, (uint32_t)step);
    rc = begin_save(r, step);
    if (rc == 0)
        rc = ckpt_fence(r->save, NULL, &r->error);
    job_state_set(&r->state, 0xa5a5a5a5);
    if (rc == 0)
        rc = ckpt_wait(r->save, CKPT_COMMITTED, patience_ms, &r->error);
    return rc;
}

static int do_storm(struct rank *r, const char *word)
{
    const char *command = r->command;
    uint64_t from, count;
    int patience_ms = WAIT_MS;
    char name[64];

    if (sscanf(word, "%" SCNu64 ":%" SCNu64 ":%d", &from, &count,
               &patience_ms) < 2)
        return fail(r, -EINVAL, "storm:FROM:COUNT[:MS]");
    r->command = name;
    for (uint64_t step = from; step < from + count; step++) {
        int rc = storm_save(r, step, patience_ms);

        (void)snprintf(name, sizeof name, "saved:%" PRIu64, step);
        if (rc)
            say(r, "error %s %s", code_name(rc), r->error.message);
        else
            say(r, "ok");
    }
    r->command = command;
    return 0;
}

static int do_barrier(struct rank *r, const char *word)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;

    (void)word;
    r->barriers++;
    (void)atomic_fetch_add(&r->shared->arrived, 1);
    while (atomic_load(&r->shared->arrived) < r->barriers * r->count) {
        if (now_ms() > deadline)
            return fail(r, -ETIMEDOUT, "not every rank came to the barrier");
        sleep_ms(1);
    }
    return 0;
}

static int do_sleep(struct rank *r, const char *word)
{
    (void)r;
    sleep_ms(strtoull(word, NULL, 10));
    return 0;
}

static int do_mark(struct rank *r, const char *word)
{
    int fd = open(word, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return fail(r, -errno, word);
    (void)close(fd);
    return 0;
}

static int do_hold(struct rank *r, const char *word)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;

    while (access(word, F_OK) != 0) {
        if (now_ms() > deadline)
            return fail(r, -ETIMEDOUT, "held for too long");
        sleep_ms(2);
    }
    return 0;
}

static int do_die(struct rank *r, const char *word)
{
    (void)word;
    atomic_store(&r->shared->died[r->shape.rank], 1);
    (void)raise(SIGKILL);
    return 0;
}

static const struct verb {
    const char *name;
    int (*run)(struct rank *r, const char *word);
    enum { ANY, CONTEXT, SAVE } needs;
} verbs[] = {
    {"open", do_open, ANY},         {"close", do_close, CONTEXT},
    {"fill", do_fill, ANY},         {"touch", do_touch, ANY},
    {"set", do_set, ANY},           {"save", do_save, CONTEXT},
    {"fence", do_fence, SAVE},      {"wait", do_wait, SAVE},
    {"drop", do_drop, SAVE},        {"load", do_load, CONTEXT},
    {"read", do_read, CONTEXT},     {"extra", do_extra, CONTEXT},
    {"parent", do_parent, CONTEXT}, {"list", do_list, CONTEXT},
    {"mode", do_mode, CONTEXT},     {"bytes", do_bytes, ANY},
    {"fault", do_fault, ANY},       {"layout", do_layout, ANY},
    {"storm", do_storm, CONTEXT},   {"barrier", do_barrier, ANY},
    {"sleep", do_sleep, ANY},       {"mark", do_mark, ANY},
    {"flip", do_flip, ANY},         {"warnings", do_warnings, CONTEXT},
    {"hold", do_hold, ANY},         {"die", do_die, ANY},
};

static int run_verb(struct rank *r, const char *text)
{
    size_t bytes = strcspn(text, ":");
    const char *word = text[bytes] ? text + bytes + 1 : "";

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const struct verb *v = &verbs[i];

        if (strlen(v->name) != bytes || strncmp(v->name, text, bytes) != 0)
            continue;
        if ((v->needs == CONTEXT && !r->ctx) || (v->needs == SAVE && !r->save))
            return fail(r, -EBADF, "there is none");
        return v->run(r, word);
    }
    return fail(r, -EINVAL, "no such command");
}

/* 0, or 1 when the rank is to end. */
static int obey(struct rank *r, const char *text)
{
    bool may_fail;
    char *colon;
    unsigned long rank = strtoul(text, &colon, 10);
    int rc;

    if (colon != text && *colon == ':') {
        if (rank != r->shape.rank)
            return 0;
        text = colon + 1;
    }
    may_fail = *text == '?';
    r->command = text + may_fail;
    rc = run_verb(r, r->command);
    if (rc)
        say(r, "error %s %s", code_name(rc), r->error.message);
    return rc && !may_fail;
}

int rank_run(struct rank *r)
{
    int rc = job_state_init(&r->state, &r->shape);

    for (int i = 0; i < r->command_count && rc == 0; i++)
        rc = obey(r, r->commands[i]);
    ckpt_save_free(r->save);
    ckpt_close(r->ctx);
    job_state_fini(&r->state);
    return rc ? 1 : 0;
}
