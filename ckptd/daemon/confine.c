/*
 * confine.c - see confine.h. The filter is a list of numbers, in classic BPF:
 * load the number, compare with each, allow. A few have arguments looked at.
 * The kernel keeps the answers that depend on the number alone, so that the
 * length of the list costs nothing.
 */
#include "ckptd/daemon/confine.h"
#include "common/err.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#define OWN_ARCH 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

#define X32_BIT 0x40000000u

static const uint32_t allowed[] = {
    /* Sockets, events, time */
    SYS_accept4,
    SYS_getsockopt,
    SYS_recvmsg,
    SYS_sendmsg,
    SYS_recvfrom,
    SYS_sendto,
    SYS_shutdown,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_ppoll,
    SYS_pipe2,
    SYS_eventfd2,
    SYS_signalfd4,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_gettimeofday,
    SYS_restart_syscall,
    /* Files */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_openat,
    SYS_openat2,
    SYS_close,
    SYS_lseek,
    SYS_fcntl,
    SYS_flock,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_statfs,
    SYS_fsync,
    SYS_fdatasync,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_mkdirat,
    SYS_linkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlinkat,
    SYS_getdents64,
    SYS_readlinkat,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_getcwd,
    SYS_dup,
    SYS_dup3,
    SYS_umask,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    /* Memory */
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_memfd_create,
    SYS_mincore,
    SYS_msync,
    SYS_membarrier,
    /* Threads, signals, who we are */
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrandom,
    SYS_getrusage,
    SYS_prlimit64,
    SYS_uname,
    SYS_sysinfo,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_exit,
    SYS_exit_group,
/* What only older machines have. */
#ifdef SYS_open
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_mkdir,
    SYS_unlink,
    SYS_readlink,
    SYS_dup2,
    SYS_poll,
    SYS_epoll_wait,
    SYS_time,
    SYS_getrlimit,
#endif
};

/* What homes in RADOS and librados need besides, once it is loaded. */
static const uint32_t allowed_network[] = {
    SYS_connect,        SYS_setsockopt,      SYS_getsockname,
    SYS_getpeername,    SYS_sendmmsg,        /* the resolver's */
    SYS_timerfd_create, SYS_timerfd_settime, /* storage/store_rados_op.c */
#ifdef SYS_epoll_create
    SYS_epoll_create,
#endif
};

enum look {
    LOOK_EQUAL, /* allowed when the argument is `value` */
    LOOK_SET,   /* when one of the value's bits is set in the argument */
    LOOK_CLEAR, /* when none is */
};

static const struct rule {
    uint32_t number, argument, value;
    enum look look;
} rules[] = {
    {SYS_clone, 0, CLONE_THREAD, LOOK_SET},
    {SYS_mmap, 2, PROT_EXEC, LOOK_CLEAR},
    {SYS_mprotect, 2, PROT_EXEC, LOOK_CLEAR},
};

static const struct rule network_rules[] = {
    {SYS_prctl, 0, PR_SET_NAME, LOOK_EQUAL}, /* of threads */
};

#define FILTER_MAX                                                             \
    (32 + 2 * (ARRAY_LEN(allowed) + ARRAY_LEN(allowed_network)) +              \
     6 * (ARRAY_LEN(rules) + ARRAY_LEN(network_rules)))

struct writer {
    struct sock_filter code[FILTER_MAX];
    uint16_t count;
};

static void put(struct writer *w, uint16_t code, uint32_t k, uint8_t yes,
                uint8_t no)
{
    assert(w->count < FILTER_MAX);
    w->code[w->count++] = (struct sock_filter){code, yes, no, k};
}

static void put_load(struct writer *w, size_t offset)
{
    put(w, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void put_answer(struct writer *w, uint32_t answer)
{
    put(w, BPF_RET | BPF_K, answer, 0, 0);
}

/* The lower half of the argument says all: flags and pids are ints. */
static void put_rule(struct writer *w, const struct rule *r)
{
    size_t low = offsetof(struct seccomp_data, args) + 8UL * r->argument;
    bool wants_set = r->look != LOOK_CLEAR;

    put(w, BPF_JMP | BPF_JEQ | BPF_K, r->number, 0, 4);
    put_load(w, low);
    put(w, BPF_JMP | (r->look == LOOK_EQUAL ? BPF_JEQ : BPF_JSET) | BPF_K,
        r->value, wants_set ? 0 : 1, wants_set ? 1 : 0);
    put_answer(w, SECCOMP_RET_ALLOW);
    put_answer(w, SECCOMP_RET_ERRNO | EPERM);
}

/* The internet's families, and no other. */
static void put_socket_rule(struct writer *w)
{
    put(w, BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5);
    put_load(w, offsetof(struct seccomp_data, args));
    put(w, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0);
    put(w, BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1);
    put_answer(w, SECCOMP_RET_ALLOW);
    put_answer(w, SECCOMP_RET_ERRNO | EPERM);
}

static void put_allowed(struct writer *w, const uint32_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put(w, BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1);
        put_answer(w, SECCOMP_RET_ALLOW);
    }
}

static void put_network(struct writer *w)
{
    put_socket_rule(w);
    for (size_t i = 0; i < ARRAY_LEN(network_rules); i++)
        put_rule(w, &network_rules[i]);
    put_allowed(w, allowed_network, ARRAY_LEN(allowed_network));
}

static void fill(struct writer *w, bool has_network)
{
    const struct rule own_signals = {SYS_tgkill, 0, (uint32_t)getpid(),
                                     LOOK_EQUAL}; /* abort() */

    put_load(w, offsetof(struct seccomp_data, arch));
    put(w, BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0);
    put_answer(w, SECCOMP_RET_KILL_PROCESS);
    put_load(w, offsetof(struct seccomp_data, nr));
    put(w, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    put_answer(w, SECCOMP_RET_ERRNO | EPERM);
    put_rule(w, &own_signals);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        put_rule(w, &rules[i]);
    if (has_network)
        put_network(w);
    put_allowed(w, allowed, ARRAY_LEN(allowed));
    /* Its flags are in memory, where a filter cannot look: the C library then
     * takes clone. */
    put(w, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
    put_answer(w, SECCOMP_RET_ERRNO | ENOSYS);
    put_answer(w, SECCOMP_RET_ERRNO | EPERM);
}

static int install(bool has_network)
{
    struct writer w = {.count = 0};
    struct sock_fprog program;

    if (IS_SANITIZED || OWN_ARCH == 0)
        return -EOPNOTSUPP;
    fill(&w, has_network);
    program = (struct sock_fprog){.len = w.count, .filter = w.code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0)
        return -errno;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
                &program) != 0)
        return errno ? -errno : -EBUSY;
    return 0;
}

int confine(bool has_network, char *text, size_t capacity)
{
    int rc = install(has_network);

    if (rc == 0)
        (void)snprintf(text, capacity, "system calls are filtered%s",
                       has_network ? ", but for the network" : "");
    else if (rc == -EOPNOTSUPP)
        (void)snprintf(text, capacity,
                       "system calls are not filtered (not in this build)");
    else
        (void)snprintf(text, capacity,
                       "system calls are not filtered (refused: %s)",
                       err_text(rc));
    return rc;
}
