/*
 * test_failnth_process.c - Fail-Nth over real processes: the library here, the
 * daemon that it starts, and the tool, with real sockets, shared memory,
 * threads, io_uring and files. Memory and system calls fail in one of them.
 *
 * After each injection: every call came back in time, with success or a code
 * and words; a daemon, if there was one, ended by itself and in order; nobody
 * leaked a block or a descriptor; and without the fault the same context, where
 * there is one, saves again, and a fresh one loads the last committed
 * checkpoint, byte for byte.
 */
#include "tests/failnth/failnth.h"
#include "tests/failnth/sweep.h"
#include "tests/lib/tree.h"
#include "trainer/ckpt.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RUN          "lm"
#define TENSORS      2
#define TENSOR_BYTES ((size_t)96 << 10)
#define CALL_MS      2000  /* what a call is given under a fault, */
#define CALM_MS      30000 /* and without one */
#define JOBS         12
#define SHARE        2  /* of the injections of a line, in a short run, */
#define LONG_SHARE   12 /* and in a long one */
#define LIMIT_MS     90000

/* What one job has: a folder, and a block for the programs that it starts. */
struct place {
    char dir[PATH_MAX - 64], home[PATH_MAX - 32], control[PATH_MAX - 32];
    struct failnth *block;
};

static struct place places[JOBS], template;
static char base[PATH_MAX - 128], bin[PATH_MAX];

/* What a child works with. */
struct trainer {
    struct ckpt *ctx;
    struct sweep_result *result;
    uint64_t committed; /* the newest step that was */
    uint8_t data[TENSORS][TENSOR_BYTES];
    struct ckpt_tensor tensor[TENSORS];
};

static struct trainer trainer;

struct scenario {
    const char *name;
    void (*prepare)(struct trainer *t); /* before the fault */
    void (*act)(struct trainer *t);
    enum failnth_role role;
    bool has_no_ring;
};

struct trouble {
    const char *name;
    enum failnth_class kind;
    uint32_t long_share; /* 0: all */
};

/*
 * The state.
 */

static uint8_t byte_of(uint64_t step, size_t tensor, size_t at)
{
    uint64_t z = (step * 31 + tensor + 1) * 0x9e3779b97f4a7c15u + at / 8;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (uint8_t)(z >> (at % 8 * 8));
}

static void state_fill(struct trainer *t, uint64_t step)
{
    for (size_t i = 0; i < TENSORS; i++)
        for (size_t k = 0; k < TENSOR_BYTES; k++)
            t->data[i][k] = byte_of(step, i, k);
}

static void state_check(const struct trainer *t, uint64_t step)
{
    for (size_t i = 0; i < TENSORS; i++)
        for (size_t k = 0; k < TENSOR_BYTES; k++)
            assert(t->data[i][k] == byte_of(step, i, k));
}

static void state_init(struct trainer *t)
{
    static const char *const name[TENSORS] = {"w", "b"};

    for (size_t i = 0; i < TENSORS; i++)
        t->tensor[i] = (struct ckpt_tensor){.name = name[i],
                                            .dtype = CKPT_U8,
                                            .ndim = 1,
                                            .shape = {TENSOR_BYTES},
                                            .data = t->data[i],
                                            .capture = i ? CKPT_UNTIL_FENCE
                                                         : CKPT_CAPTURE_NOW};
}

/*
 * Calls. Each returns what the library did, and notes a failure.
 */

static int told(const struct trainer *t, int rc, const struct ckpt_error *e)
{
    if (rc >= 0)
        return rc;
    assert(e->code == rc && "the code told is another than the one returned");
    sweep_told(t->result, rc, e->message);
    return rc;
}

static int open_run(struct trainer *t, uint32_t open_ms, uint32_t other_ms)
{
    struct ckpt_options o;
    struct ckpt_error e = {0};

    ckpt_options_init(&o);
    o.home = places[sweep_job].home;
    o.run = RUN;
    o.rank = 0;
    o.world_size = 1;
    o.arena_bytes = (uint64_t)1 << 20;
    o.open_timeout_ms = open_ms;
    o.decide_timeout_ms = other_ms;
    o.load_timeout_ms = other_ms;
    o.max_uncommitted = 100;
    return told(t, ckpt_open(&o, &t->ctx, &e), &e);
}

static void close_run(struct trainer *t)
{
    ckpt_close(t->ctx);
    t->ctx = NULL;
}

static int save(struct trainer *t, uint64_t step, int wait_ms)
{
    const struct ckpt_value value = {
        .name = "step", .axes = "", .type = CKPT_VALUE_U64, .scalar.u = step};
    struct ckpt_error e = {0};
    struct ckpt_save *s = NULL;
    int rc;

    state_fill(t, step);
    rc = told(t, ckpt_save(t->ctx, step, t->tensor, TENSORS, &value, 1, &s, &e),
              &e);
    if (rc)
        return rc;
    rc = told(t, ckpt_fence(s, NULL, &e), &e);
    if (rc == 0)
        rc = told(t, ckpt_wait(s, CKPT_COMMITTED, wait_ms, &e), &e);
    if (rc == 0)
        t->committed = step;
    ckpt_save_free(s);
    return rc;
}

static int load(struct trainer *t)
{
    struct ckpt_error e = {0};
    struct ckpt_report report;
    struct ckpt_values *values = NULL;
    const struct ckpt_value *value;
    int rc;

    memset(t->data, 0, sizeof t->data);
    rc = told(t, ckpt_load(t->ctx, t->tensor, TENSORS, &values, &report, &e),
              &e);
    if (rc)
        return rc;
    state_check(t, report.id.step);
    value = ckpt_values_find(values, "step");
    assert(value && value->scalar.u == report.id.step);
    ckpt_values_free(values);
    /* Who falls back to an older one says why; its next start goes on there. */
    if (report.id.step < t->committed) {
        assert(report.note[0]);
        t->committed = report.id.step;
    }
    return 0;
}

/*
 * The programs.
 */

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

/* All programs that were started ended by themselves, in order. One may come
 * up at any moment of this, since who started it has not waited for it: what
 * is compared was read in one turn. */
static const char *programs_ended(struct failnth *block)
{
    const char *words = NULL;
    unsigned started = block->started;

    /* A daemon that its starter has never reached waits a little. */
    for (int i = 0; i < 1500 && block->ended < started; i++) {
        bool is_alive = false;

        for (unsigned k = 0; k < started && k < FAILNTH_PROCESSES; k++)
            is_alive = is_alive || kill(block->pid[k], 0) == 0;
        if (!is_alive)
            break;
        pause_ms(10);
        started = block->started;
    }
    if (block->ended < started)
        words = "a program that it started dies, or does not end";
    else if (block->live_left)
        words = "a program that it started leaks memory";
    else if (block->files_left)
        words = "a program that it started leaks descriptors";
    for (unsigned k = 0; words && k < block->started && k < FAILNTH_PROCESSES;
         k++)
        (void)kill(block->pid[k], SIGKILL);
    return words;
}

/*
 * Scenarios.
 */

static void prepare_none(struct trainer *t)
{
    (void)t;
}

static void prepare_open(struct trainer *t)
{
    int rc = open_run(t, CALM_MS, CALL_MS);

    assert(rc == 0);
}

static void prepare_loaded(struct trainer *t)
{
    prepare_open(t);
    if (load(t))
        assert(!"cannot load without a fault");
}

static void act_open(struct trainer *t)
{
    (void)open_run(t, CALL_MS, CALL_MS);
}

static void act_save(struct trainer *t)
{
    (void)save(t, 30, CALL_MS);
}

static void act_load(struct trainer *t)
{
    (void)load(t);
}

static void act_ask(struct trainer *t)
{
    struct ckpt_error e = {0};
    struct ckpt_info info[4];
    struct ckpt_id parent;
    struct ckpt_tensor described;
    struct ckpt_values *values = NULL;
    int count = told(t, ckpt_list(t->ctx, info, ARRAY_LEN(info), &e), &e);

    assert(count < 0 || count == 2);
    ckpt_parent(t->ctx, &parent);
    (void)told(t, ckpt_describe(t->ctx, &parent, 0, &described, &e), &e);
    if (told(t, ckpt_load_extra(t->ctx, &values, &e), &e) == 0)
        ckpt_values_free(values);
    values = NULL;
    memset(t->data, 0, sizeof t->data);
    if (told(t,
             ckpt_read(t->ctx, &parent, t->tensor, TENSORS, &values, NULL, &e),
             &e) == 0) {
        state_check(t, parent.step);
        ckpt_values_free(values);
    }
}

static void act_close(struct trainer *t)
{
    close_run(t);
}

/* And the daemon behind it, which has nothing more to do. */
static void act_end(struct trainer *t)
{
    const char *words;

    close_run(t);
    words = programs_ended(places[sweep_job].block);
    if (words)
        (void)fprintf(stderr, "%s\n", words);
    assert(!words);
}

static void read_back(int fd, char *text, size_t capacity)
{
    ssize_t n = pread(fd, text, capacity - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    (void)fputs(text, stderr);
}

/* What it tells is on stderr, or in a line of its table. */
static void run_tool(struct trainer *t, const char *const arguments[])
{
    const struct place *p = &places[sweep_job];
    char program[PATH_MAX + 8], text[4096], table[4096];
    const char *argv[8] = {program, "--home", p->home};
    int status, count = 3, none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = memfd_create("out", MFD_CLOEXEC);
    int err = memfd_create("err", MFD_CLOEXEC);
    pid_t pid;

    (void)snprintf(program, sizeof program, "%s/ckpt", bin);
    for (; arguments[count - 3]; count++)
        argv[count] = arguments[count - 3];
    assert(none >= 0 && out >= 0 && err >= 0);
    (void)fflush(NULL);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        if (dup2(none, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
            _exit(99);
        (void)execv(program, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    (void)close(none);
    pid = waitpid(pid, &status, 0);
    read_back(out, table, sizeof table);
    read_back(err, text, sizeof text);
    assert(pid > 0 && WIFEXITED(status));
    if (!text[0] && strstr(table, "\tCORRUPT\t"))
        (void)snprintf(text, sizeof text, "a line says CORRUPT, and why");
    if (WEXITSTATUS(status))
        sweep_told(t->result, -WEXITSTATUS(status), text);
}

static void act_ls(struct trainer *t)
{
    run_tool(t, (const char *const[]){"ls", "--all", NULL});
}

static void act_show(struct trainer *t)
{
    run_tool(t, (const char *const[]){"show", RUN "@20", NULL});
}

static void act_verify(struct trainer *t)
{
    run_tool(t, (const char *const[]){"verify", "--deep", RUN, NULL});
}

static void act_gc(struct trainer *t)
{
    run_tool(
        t, (const char *const[]){"gc", "--keep-last", "1", "--yes", RUN, NULL});
}

static void act_scrub(struct trainer *t)
{
    run_tool(t, (const char *const[]){"scrub", RUN, NULL});
}

/* The segment of step 20: where it is, and what is in it. */
struct patient {
    char path[PATH_MAX];
    uint8_t bytes[(size_t)1 << 20];
    size_t count;
};

static void patient_read(struct patient *p)
{
    int fd;
    ssize_t n;

    (void)snprintf(p->path, sizeof p->path, "%s/local/seg/000002",
                   places[sweep_job].home);
    fd = open(p->path, O_RDONLY | O_CLOEXEC);
    n = read(fd, p->bytes, sizeof p->bytes);
    assert(n > (ssize_t)(2 * PAGE_BYTES) && n < (ssize_t)sizeof p->bytes);
    p->count = (size_t)n;
    (void)close(fd);
}

/* Behind the file's header page: where that could not be read, it is made anew
 * from the manifest, and says what the manifest knows. */
static bool patient_is(const struct patient *a, const struct patient *b)
{
    return a->count == b->count &&
           memcmp(a->bytes + PAGE_BYTES, b->bytes + PAGE_BYTES,
                  a->count - PAGE_BYTES) == 0;
}

/* A chunk's header page is bad, which its payload heals: the file is the old
 * one or the new one, and the new one when the tool says so. */
static void act_repair(struct trainer *t)
{
    static struct patient good, bad, now;
    int fd, code = t->result->code;
    bool is_well;

    patient_read(&good);
    bad = good;
    bad.bytes[PAGE_BYTES + 100] ^= 1;
    fd = open(good.path, O_WRONLY | O_CLOEXEC);
    is_well = pwrite(fd, bad.bytes, 2 * PAGE_BYTES, 0) == 2 * PAGE_BYTES;
    assert(is_well && close(fd) == 0);
    run_tool(t, (const char *const[]){"verify", "--repair", RUN, NULL});
    patient_read(&now);
    is_well = patient_is(&now, &good);
    assert(is_well || patient_is(&now, &bad));
    assert(is_well || t->result->code != code);
}

static struct scenario scenarios[] = {
    {"open", prepare_none, act_open, FAILNTH_HERE, false},
    {"save", prepare_open, act_save, FAILNTH_HERE, false},
    {"load", prepare_open, act_load, FAILNTH_HERE, false},
    {"ask", prepare_open, act_ask, FAILNTH_HERE, false},
    {"close", prepare_loaded, act_close, FAILNTH_HERE, false},
    {"d-open", prepare_none, act_open, FAILNTH_DAEMON, false},
    {"d-save", prepare_open, act_save, FAILNTH_DAEMON, false},
    {"d-load", prepare_open, act_load, FAILNTH_DAEMON, false},
    {"d-ask", prepare_open, act_ask, FAILNTH_DAEMON, false},
    {"d-close", prepare_loaded, act_close, FAILNTH_DAEMON, false},
    {"d-end", prepare_loaded, act_end, FAILNTH_DAEMON, false},
    {"threads-open", prepare_none, act_open, FAILNTH_DAEMON, true},
    {"threads-save", prepare_open, act_save, FAILNTH_DAEMON, true},
    {"threads-load", prepare_open, act_load, FAILNTH_DAEMON, true},
    {"ckpt-ls", prepare_none, act_ls, FAILNTH_TOOL, false},
    {"ckpt-show", prepare_none, act_show, FAILNTH_TOOL, false},
    {"ckpt-verify", prepare_none, act_verify, FAILNTH_TOOL, false},
    {"ckpt-gc", prepare_none, act_gc, FAILNTH_TOOL, false},
    {"ckpt-scrub", prepare_none, act_scrub, FAILNTH_TOOL, false},
    {"ckpt-repair", prepare_none, act_repair, FAILNTH_TOOL, false},
    {"threads-repair", prepare_none, act_repair, FAILNTH_TOOL, true},
};

static const struct trouble troubles[] = {
    {"memory", FAILNTH_MEMORY, LONG_SHARE},
    {"socket", FAILNTH_SOCKET, 0},
    {"file", FAILNTH_FILE, LONG_SHARE},
    {"shared", FAILNTH_SHARED, 0},
    {"event", FAILNTH_EVENT, LONG_SHARE},
    {"thread", FAILNTH_THREAD, 0},
    {"spawn", FAILNTH_SPAWN, 0},
    {"ring", FAILNTH_RING, LONG_SHARE},
    {"ring-op", FAILNTH_RING_OP, LONG_SHARE},
};

/*
 * Places.
 */

static void copy_tree(const char *from, const char *to)
{
    int status;
    pid_t pid = fork();

    assert(pid >= 0);
    if (pid == 0) {
        (void)execlp("cp", "cp", "-a", from, to, (char *)NULL);
        _exit(99);
    }
    pid = waitpid(pid, &status, 0);
    assert(pid > 0 && status == 0);
}

static void place_init(struct place *p, const char *name)
{
    int fd;

    (void)snprintf(p->dir, sizeof p->dir, "%s/%s", base, name);
    (void)snprintf(p->home, sizeof p->home, "%s/home", p->dir);
    (void)snprintf(p->control, sizeof p->control, "%s/control", p->dir);
    assert_int_equal(mkdir(p->dir, 0700), 0);
    fd = open(p->control, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof *p->block), 0);
    p->block =
        mmap(NULL, sizeof *p->block, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(p->block != MAP_FAILED);
    (void)close(fd);
}

/*
 * A child.
 */

static void settle(struct trainer *t)
{
    struct sweep_result nobody = {0}, *result = t->result;
    int rc = 0;

    t->result = &nobody;
    if (t->ctx) {
        rc = save(t, 40, CALM_MS);
        /* That its daemon is lost it may notice only now. */
        if (rc)
            rc = save(t, 41, CALM_MS);
        close_run(t);
    }
    if (rc == 0)
        rc = open_run(t, CALM_MS, CALM_MS);
    if (rc == 0)
        rc = load(t);
    if (rc == 0)
        rc = save(t, 50, CALM_MS);
    if (rc)
        (void)fprintf(stderr, "afterwards: %d %s\n", rc, nobody.text);
    assert(rc == 0);
    close_run(t);
    t->result = result;
}

static void run(const struct sweep *sweep, const struct sweep_fault *fault,
                struct sweep_result *result)
{
    const struct scenario *scenario = sweep->scenario_arg;
    const struct trouble *trouble = sweep->class_arg;
    const struct place *p = &places[sweep_job];
    struct trainer *t = &trainer;
    int64_t live, files;

    remove_tree(p->home);
    copy_tree(template.home, p->home);
    memset(p->block, 0, sizeof *p->block);
    failnth = p->block;
    failnth->has_no_ring = scenario->has_no_ring;
    if (setenv(FAILNTH_CONTROL, p->control, 1))
        abort();
    t->result = result;
    t->committed = 20;
    live = failnth_live();
    files = failnth_files();
    scenario->prepare(t);
    failnth->role = scenario->role;
    (void)failnth_cross(true);
    failnth_arm(trouble->kind, fault->nth, fault->mode == SWEEP_PERSISTENT);
    scenario->act(t);
    failnth_disarm();
    result->seen = failnth->seen[trouble->kind];
    result->fired = failnth->fired;
    settle(t);
    if (failnth_live() != live || failnth_files() != files)
        (void)fprintf(stderr, "%lld blocks and %lld descriptors leaked\n",
                      (long long)(failnth_live() - live),
                      (long long)(failnth_files() - files));
    assert(failnth_live() == live && failnth_files() == files);
}

/* What the daemons of this place have logged last. */
static void show_log(const struct place *p)
{
    char path[PATH_MAX], text[4096];
    int fd;
    ssize_t n;

    (void)snprintf(path, sizeof path, "%s/local/ckptd.log", p->home);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || lseek(fd, -(off_t)sizeof text + 1, SEEK_END) < 0)
        n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);
    else
        n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
    printf("%s", text);
}

static const char *look(const struct sweep *sweep, uint32_t job)
{
    const char *words = programs_ended(places[job].block);

    (void)sweep;
    if (words)
        show_log(&places[job]);
    return words;
}

/*
 * The tests: one for each scenario.
 */

static struct sweep sweep_of(const struct scenario *scenario,
                             const struct trouble *trouble, uint64_t sites)
{
    return (struct sweep){.scenario = scenario->name,
                          .class_name = trouble->name,
                          .run = run,
                          .look = look,
                          .scenario_arg = scenario,
                          .class_arg = trouble,
                          .sites = sites,
                          .share = SHARE,
                          .long_share = trouble->long_share,
                          .jobs = JOBS,
                          .limit_ms = LIMIT_MS};
}

static void sweep_scenario(void **state)
{
    const struct scenario *scenario = *state;
    struct sweep counting = sweep_of(scenario, &troubles[0], 0);
    struct sweep sweeps[ARRAY_LEN(troubles)];
    struct sweep_result result;
    uint64_t violations = 0;
    size_t count = 0;

    /* One run without a fault counts the sites of all classes. */
    if (!sweep_is_replay())
        violations = sweep_count(&counting, &result);
    for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
        uint64_t sites = places[0].block->seen[troubles[i].kind];

        if (sites > 0 || sweep_is_replay())
            sweeps[count++] = sweep_of(scenario, &troubles[i], sites);
    }
    violations += sweep_run_all(sweeps, count);
    assert_int_equal(violations, 0);
}

static void there_were_enough(void **state)
{
    (void)state;
    assert_true(sweep_made_enough(100, 1200));
}

/* Checkpoints 10 and 20, made by a child so that we stay one thread. */
static void make_template(void)
{
    struct sweep_result nobody = {0};
    int status;
    pid_t pid;

    assert_int_equal(mkdir(template.home, 0700), 0);
    assert_int_equal(setenv(FAILNTH_CONTROL, template.control, 1), 0);
    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        places[0] = template;
        trainer.result = &nobody;
        prepare_open(&trainer);
        if (save(&trainer, 10, CALM_MS) || save(&trainer, 20, CALM_MS))
            _exit(99);
        close_run(&trainer);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_null(programs_ended(template.block));
}

/* The programs with sites lie beside the folder of the tests. */
static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char path[PATH_MAX], name[16];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);

    (void)state;
    assert_true(n > 0);
    path[n] = '\0';
    for (int i = 0; i < 2; i++)
        *strrchr(path, '/') = '\0';
    (void)snprintf(bin, sizeof bin, "%.4000s/failnth/bin", path);
    (void)snprintf(path, sizeof path, "%.4000s/ckptd", bin);
    assert_int_equal(setenv("CKPT_DAEMON", path, 1), 0);
    assert_int_equal(setenv("CKPT_LINGER", "0", 1), 0);
    (void)snprintf(base, sizeof base, "%.2000s/failnth-XXXXXX",
                   tmp ? tmp : "/var/tmp");
    assert_non_null(mkdtemp(base));
    for (int i = 0; i < JOBS; i++) {
        (void)snprintf(name, sizeof name, "%d", i);
        place_init(&places[i], name);
    }
    place_init(&template, "template");
    state_init(&trainer);
    make_template();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(base);
    return 0;
}

/* An argument names the one scenario that is gone through. */
int main(int argc, char **argv)
{
    struct CMUnitTest tests[ARRAY_LEN(scenarios) + 1] = {0};
    size_t count = 0;

    for (; count < ARRAY_LEN(scenarios); count++)
        tests[count] = (struct CMUnitTest){.name = scenarios[count].name,
                                           .test_func = sweep_scenario,
                                           .initial_state = &scenarios[count]};
    tests[count] = (struct CMUnitTest){.name = "there_were_enough",
                                       .test_func = there_were_enough};
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
