/*
 * uring_setup.c - sets up a ring and finds out what it can do.
 *
 * Tries the best flags first (completions run only when their owner asks for
 * them), checks that entering and registering are allowed too (a seccomp
 * filter may know each by its own number), registers empty tables for buffers
 * and files, and at last restricts the ring to the operations of fileio. A
 * refusal says, as far as a process can know, who refuses.
 */
#include "storage/uring_setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SQ_ENTRIES 128
#define CQ_ENTRIES 512

static const struct {
    enum fileio_kind kind;
    uint8_t opcode;
} opcodes[] = {
    {FILEIO_OPEN, IORING_OP_OPENAT2},
    {FILEIO_READ, IORING_OP_READ},
    {FILEIO_WRITE, IORING_OP_WRITE},
    {FILEIO_FSYNC, IORING_OP_FSYNC},
    {FILEIO_FDATASYNC, IORING_OP_FSYNC},
    {FILEIO_FALLOCATE, IORING_OP_FALLOCATE},
    {FILEIO_LINK, IORING_OP_LINKAT},
    {FILEIO_UNLINK, IORING_OP_UNLINKAT},
    {FILEIO_MKDIR, IORING_OP_MKDIRAT},
    {FILEIO_STAT, IORING_OP_STATX},
};

/* These have no kind of their own. */
static const uint8_t more_opcodes[] = {
    IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_POLL_ADD};

static const uint8_t register_opcodes[] = {IORING_REGISTER_BUFFERS_UPDATE,
                                           IORING_REGISTER_FILES_UPDATE};

/* The number after "Seccomp:" of this process; 0 if it cannot be read. */
static int seccomp_mode(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    int mode = 0;

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "Seccomp:", 8) == 0)
            mode = (int)strtol(line + 8, NULL, 10);
    }
    (void)fclose(file);
    return mode;
}

/* kernel.io_uring_disabled; 0 where there is none. */
static int sysctl_disabled(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    char line[32] = "";
    int value = 0;

    if (!file)
        return 0;
    if (fgets(line, sizeof line, file))
        value = (int)strtol(line, NULL, 10);
    (void)fclose(file);
    return value;
}

static int refused(struct err *err, int rc, const char *call)
{
    int disabled = sysctl_disabled();
    char by[96] = "";

    if (rc == -EPERM && disabled)
        (void)snprintf(by, sizeof by,
                       " (sysctl kernel.io_uring_disabled is %d)", disabled);
    else if ((rc == -EPERM || rc == -ENOSYS || rc == -EACCES) &&
             seccomp_mode() == 2)
        (void)snprintf(by, sizeof by, " (a seccomp filter is in force)");
    else if (rc == -ENOSYS)
        (void)snprintf(by, sizeof by, " (this kernel has none)");
    return err_set(err, rc, "io_uring is refused: %s: %s%s", call, err_text(rc),
                   by);
}

static int queue_init(struct io_uring *ring, struct uring_features *features,
                      struct err *err)
{
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
    int rc = -EINVAL;

    for (size_t i = 0; i < ARRAY_LEN(flags) && rc == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
            .cq_entries = CQ_ENTRIES};

        rc = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
        features->is_deferred = i == 0;
    }
    if (rc < 0)
        return refused(err, rc, "io_uring_setup");
    if (!(ring->features & IORING_FEAT_NODROP) ||
        !(ring->features & IORING_FEAT_EXT_ARG)) {
        io_uring_queue_exit(ring);
        return err_set(err, -EOPNOTSUPP,
                       "io_uring of this kernel is too old (before 5.11)");
    }
    return 0;
}

static int probe(struct io_uring *ring, struct uring_features *features,
                 struct err *err)
{
    struct io_uring_probe *found;
    int rc;

    /* What is allowed answers that the ring is not enabled. */
    rc = io_uring_enter((unsigned)ring->ring_fd, 0, 0, 0, NULL);
    if (rc != -EBADFD && rc != 0)
        return refused(err, rc, "io_uring_enter");
    errno = EPERM;
    found = io_uring_get_probe_ring(ring);
    if (!found)
        return refused(err, errno == ENOMEM ? -ENOMEM : -EPERM,
                       "io_uring_register");
    for (size_t i = 0; i < ARRAY_LEN(opcodes); i++) {
        if (io_uring_opcode_supported(found, opcodes[i].opcode))
            features->kinds |= 1U << opcodes[i].kind;
    }
    io_uring_free_probe(found);
    return 0;
}

/* The shared library of liburing 2.3 lacks two of these. */
static int ring_register(const struct io_uring *ring, unsigned opcode,
                         void *argument, unsigned count)
{
    long rc =
        syscall(SYS_io_uring_register, ring->ring_fd, opcode, argument, count);

    return rc < 0 ? -errno : 0;
}

int uring_enable(struct io_uring *ring)
{
    return ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static void restrict_ring(struct io_uring *ring,
                          struct uring_features *features)
{
    struct io_uring_restriction list[ARRAY_LEN(opcodes) +
                                     ARRAY_LEN(more_opcodes) +
                                     ARRAY_LEN(register_opcodes) + 1];
    unsigned count = 0;

    memset(list, 0, sizeof list);
    for (size_t i = 0; i < ARRAY_LEN(opcodes); i++) {
        if (!(features->kinds & 1U << opcodes[i].kind))
            continue;
        list[count].opcode = IORING_RESTRICTION_SQE_OP;
        list[count++].sqe_op = opcodes[i].opcode;
    }
    for (size_t i = 0; i < ARRAY_LEN(more_opcodes); i++) {
        list[count].opcode = IORING_RESTRICTION_SQE_OP;
        list[count++].sqe_op = more_opcodes[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(register_opcodes); i++) {
        list[count].opcode = IORING_RESTRICTION_REGISTER_OP;
        list[count++].register_op = register_opcodes[i];
    }
    list[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    list[count++].sqe_flags = IOSQE_FIXED_FILE;
    features->is_restricted =
        ring_register(ring, IORING_REGISTER_RESTRICTIONS, list, count) == 0;
}

int uring_setup(struct io_uring *ring, int event_fd,
                struct uring_features *features, struct err *err)
{
    int rc;

    *features = (struct uring_features){0};
    rc = queue_init(ring, features, err);
    if (rc < 0)
        return rc;
    rc = probe(ring, features, err);
    if (rc < 0)
        goto err_after_init;
    rc = io_uring_register_eventfd(ring, event_fd);
    if (rc < 0) {
        (void)refused(err, rc, "io_uring_register of an eventfd");
        goto err_after_init;
    }
    features->buffers_rc =
        io_uring_register_buffers_sparse(ring, URING_BUFFERS_MAX);
    features->has_buffers = features->buffers_rc == 0;
    features->files_rc = io_uring_register_files_sparse(ring, URING_FILES_MAX);
    features->has_files = features->files_rc == 0;
    restrict_ring(ring, features);
    return 0;

err_after_init:
    io_uring_queue_exit(ring);
    return rc;
}
