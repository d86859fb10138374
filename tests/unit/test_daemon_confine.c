/*
 * test_daemon_confine.c - under the daemon's filter its own work goes on, and
 * what an intruder would want is refused, in every thread.
 */
#include "ckptd/daemon/confine.h"
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Refused by the filter, not for want of rights or sense. */
#define FAILED(call) ((errno = 0), (call) == -1 && errno == EPERM)

/* In the child: 0, the number of the line that went wrong, 255 when a container
 * refuses the filter, 254 in a sanitizer's build, which has none. */
#define MUST(what)                                                             \
    do {                                                                       \
        if (!(what))                                                           \
            return __LINE__ & 0xff ? __LINE__ & 0xff : 1;                      \
    } while (0)

static int run_child(int (*what)(void))
{
    int status;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(what());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void must_pass(int (*what)(void))
{
    int code = run_child(what);

    if (code == 255)
        skip(); /* a container that refuses it */
    assert_true(code == 0 || code == 254);
}

/* 0, or the code to end with. */
static int begin_with(bool has_network, const char *words)
{
    char text[200];
    int rc = confine(has_network, text, sizeof text);

    if (rc == 0)
        return strcmp(text, words) ? 1 : 0;
    if (!strstr(text, "are not filtered"))
        return 1;
    return rc == -EOPNOTSUPP ? 254 : 255;
}

static int begin(void)
{
    return begin_with(false, "system calls are filtered");
}

/* With the network or without. */
static int try_what_nobody_may(void)
{
    char *const arguments[] = {(char[]){"true"}, NULL};
    char *const none[] = {NULL};
    void *page;

    MUST(FAILED(execve("/bin/true", arguments, none)));
    MUST(FAILED(fork()));
    MUST(FAILED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)));
    MUST(FAILED(socket(AF_NETLINK, SOCK_RAW, 0)));
    MUST(FAILED(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
    MUST(FAILED(mount("none", "/tmp", "tmpfs", 0, NULL)));
    MUST(FAILED(unshare(CLONE_NEWUSER)));
    MUST(FAILED(socket(AF_UNIX, SOCK_STREAM, 0)));
    MUST(FAILED(kill(getppid(), SIGKILL)));
    MUST(FAILED(syscall(SYS_tgkill, getppid(), getppid(), SIGKILL)));
    MUST(syscall(SYS_tgkill, getpid(), gettid(), 0) == 0);
    MUST(FAILED(syscall(SYS_setuid, 0)));
    MUST(FAILED(syscall(SYS_keyctl, 0, 0)));
    MUST(FAILED(syscall(SYS_bpf, 0, NULL, 0)));
    MUST(FAILED(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0)));
    MUST(FAILED(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0)));
    MUST(FAILED(syscall(SYS_symlinkat, "/etc", AT_FDCWD, "/tmp/no")));
    MUST(FAILED(syscall(SYS_mknodat, AT_FDCWD, "/tmp/no", 010666, 0)));
    MUST(FAILED(syscall(SYS_fchmodat, AT_FDCWD, "/tmp", 0777)));
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page == MAP_FAILED && errno == EPERM);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    MUST(page != MAP_FAILED);
    MUST(FAILED(mprotect(page, 4096, PROT_READ | PROT_EXEC)));
    return 0;
}

static int try_what_is_forbidden(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    int code = begin();

    if (code)
        return code;
    code = try_what_nobody_may();
    if (code)
        return code;
    MUST(FAILED(socket(AF_INET, SOCK_STREAM, 0)));
    MUST(FAILED(socket(AF_INET6, SOCK_STREAM, 0)));
    MUST(FAILED(connect(0, (struct sockaddr *)&to, sizeof to)));
    MUST(FAILED(prctl(PR_SET_NAME, "name", 0, 0, 0)));
    return 0;
}

static void what_an_intruder_wants_is_refused(void **state)
{
    (void)state;
    must_pass(try_what_is_forbidden);
}

/* What librados does: out to the internet's families, and nothing more. */
static int try_network(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1)};
    socklen_t bytes = sizeof to;
    int code = begin_with(true, "system calls are filtered, but for the "
                                "network");
    int fd, six;

    if (code)
        return code;
    code = try_what_nobody_may();
    if (code)
        return code;
    MUST(FAILED(socket(AF_ALG, SOCK_SEQPACKET, 0)));
    MUST(FAILED(socket(AF_PACKET, SOCK_RAW, 0)));
    MUST(FAILED(socket(AF_VSOCK, SOCK_STREAM, 0)));
    MUST(FAILED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    MUST(FAILED(bind(fd, (struct sockaddr *)&to, sizeof to)));
    MUST(FAILED(listen(fd, 1)));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MUST(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno != EPERM);
    MUST(getsockname(fd, (struct sockaddr *)&to, &bytes) == 0);
    (void)close(fd);
    six = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(six >= 0 || errno != EPERM);
    if (six >= 0)
        (void)close(six);
    MUST(prctl(PR_SET_NAME, "name", 0, 0, 0) == 0);
    return 0;
}

static void the_network_is_the_only_thing_to_be_had_besides(void **state)
{
    (void)state;
    must_pass(try_network);
}

static atomic_bool is_told, was_refused;

static void *other_thread(void *arg)
{
    (void)arg;
    while (!is_told)
        (void)sched_yield();
    was_refused = FAILED(socket(AF_INET, SOCK_STREAM, 0));
    return NULL;
}

static int try_other_threads(void)
{
    pthread_t before, after;
    int code;

    MUST(pthread_create(&before, NULL, other_thread, NULL) == 0);
    code = begin();
    if (code)
        return code;
    is_told = true;
    MUST(pthread_join(before, NULL) == 0);
    MUST(was_refused);
    was_refused = false;
    MUST(pthread_create(&after, NULL, other_thread, NULL) == 0);
    MUST(pthread_join(after, NULL) == 0);
    MUST(was_refused);
    return 0;
}

static void it_holds_for_threads_before_and_after(void **state)
{
    (void)state;
    must_pass(try_other_threads);
}

static bool use_store(const char *dir, enum store_engine engine)
{
    uint8_t *page = aligned_alloc(4096, 4096);
    struct store_req put = {
        .op = STORE_PUT, .name = "a/b", .buf = page, .len = 100};
    struct store_req create = {.op = STORE_SEG_OPEN,
                               .flags = STORE_SEG_WRITE | STORE_SEG_CREATE,
                               .name = "seg/1",
                               .len = 65536};
    struct store_req remove = {.op = STORE_REMOVE, .name = "a/b"};
    struct store_req unlink = {.op = STORE_SEG_REMOVE, .name = "seg/1"};
    struct store_req io = {.buf = page, .len = 4096};
    struct store *s;
    struct err err;
    bool ok;

    if (!page || store_file_open(dir, STORE_OPEN_WRITE, engine, &s, &err))
        return false;
    memset(page, 1, 4096);
    ok = store_run(s, &put) == 0 && store_run(s, &create) == 65536;
    io.seg = create.seg;
    io.op = STORE_WRITE;
    ok = ok && store_run(s, &io) == 4096;
    io.op = STORE_SYNC;
    ok = ok && store_run(s, &io) == 0;
    io.op = STORE_SEG_TRIM;
    ok = ok && store_run(s, &io) == 4096;
    io.op = STORE_SEG_CLOSE;
    ok = ok && store_run(s, &io) == 0 && store_run(s, &remove) == 0 &&
         store_run(s, &unlink) == 0;
    store_close(s);
    free(page);
    return ok;
}

static char dir[256];

/* A home is opened long after the filter is in force. */
static int try_stores(void)
{
    int code = begin();

    if (code)
        return code;
    MUST(use_store(dir, STORE_ENGINE_THREADS));
    MUST(use_store(dir, STORE_ENGINE_AUTO));
    return 0;
}

static void stores_are_opened_and_used_under_it(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char command[400];

    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/confine-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    must_pass(try_stores);
    (void)snprintf(command, sizeof command, "rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_intruder_wants_is_refused),
        cmocka_unit_test(the_network_is_the_only_thing_to_be_had_besides),
        cmocka_unit_test(it_holds_for_threads_before_and_after),
        cmocka_unit_test(stores_are_opened_and_used_under_it),
    };

    return cmocka_run_group_tests_name("daemon_confine", tests, NULL, NULL);
}
