/*
 * ckpt.h - the public interface of ckptd for trainers.
 *
 * Threads. A struct ckpt belongs to one thread at a time; two contexts may be
 * used from two threads at once. The library keeps its own threads (one that
 * talks to the daemon, some that copy) and never calls back into the caller.
 * A struct ckpt_save may be waited on from any one thread while another uses
 * the context. No signal handler is installed and no signal is blocked in the
 * caller's threads.
 *
 * Memory. Strings and arrays that are passed in are copied before the call
 * returns; only `data` of a tensor with CKPT_UNTIL_FENCE is read later, and
 * not after ckpt_fence() returned (or, where the handle was freed without a
 * fence, the next ckpt_save() or ckpt_close()). What the library hands out is
 * named with the function that frees it; every _free and _close takes NULL.
 * Beyond the arena (staging memory shared with the daemon, at most arena_bytes,
 * but four chunks in any case) a context holds its descriptors and at most
 * 32 MiB.
 *
 * Durability. A save climbs through CKPT_STAGED (every byte of this rank has
 * left the trainer, which may now die), CKPT_LOCAL (every rank's bytes are
 * synced on its node's drives and voted for) and CKPT_COMMITTED (the decision
 * is durable in the home, the save is a checkpoint). Nothing short of
 * CKPT_COMMITTED is ever loaded. Of generations with remote_every some go on to
 * CKPT_REMOTE: every byte is in the home as well and was read back there.
 *
 * Errors. Functions return 0 or a count, or a negative code: -errno or one of
 * -CKPT_E... below. Where a struct ckpt_error is taken it may be NULL; on
 * failure it names rank, step, tensor or file, the cause and what to do.
 */
#ifndef CKPT_H
#define CKPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CKPT_API      __attribute__((visibility("default"), warn_unused_result))
#define CKPT_API_VOID __attribute__((visibility("default")))
#else
#define CKPT_API
#define CKPT_API_VOID
#endif

#define CKPT_MAX_DIMS 8
#define CKPT_MAX_AXES 8
#define CKPT_NAME_MAX 1024 /* bytes of a tensor's or value's name */

/* Codes beside errno, returned negative. */
#define CKPT_ECORRUPT     4001 /* bytes do not match their digest or format */
#define CKPT_EVERSION     4002 /* a format or protocol this build cannot read */
#define CKPT_ESHAPE       4003 /* dtype, shape, region or strides do not fit */
#define CKPT_EPARTIAL     4004 /* elements that nobody saved are wanted */
#define CKPT_ECONFLICT    4005 /* two different claims to one name */
#define CKPT_EUNCOMMITTED 4006 /* max_uncommitted saves failed in a row */
#define CKPT_EABORTED     4007 /* this save was decided ABORT */
#define CKPT_EDIVERGED    4008 /* replicas of a tensor differ */
#define CKPT_ESTALE       4009 /* the optimizer's state has not changed */
#define CKPT_EOVERLOAD    4010 /* dropped by the policy for overload */

/* Element types, those of safetensors; the values are those of the format. */
enum ckpt_dtype {
    CKPT_BOOL = 1,
    CKPT_F4 = 2,
    CKPT_F6_E2M3 = 3,
    CKPT_F6_E3M2 = 4,
    CKPT_U8 = 5,
    CKPT_I8 = 6,
    CKPT_F8_E5M2 = 7,
    CKPT_F8_E4M3 = 8,
    CKPT_F8_E8M0 = 9,
    CKPT_F8_E4M3FNUZ = 10,
    CKPT_F8_E5M2FNUZ = 11,
    CKPT_I16 = 12,
    CKPT_U16 = 13,
    CKPT_F16 = 14,
    CKPT_BF16 = 15,
    CKPT_I32 = 16,
    CKPT_U32 = 17,
    CKPT_F32 = 18,
    CKPT_C64 = 19,
    CKPT_F64 = 20,
    CKPT_I64 = 21,
    CKPT_U64 = 22,
};

/* When the bytes of a tensor are copied. */
enum ckpt_capture {
    CKPT_CAPTURE_NOW = 0, /* before ckpt_save() returns */
    CKPT_UNTIL_FENCE = 1, /* at the latest when ckpt_fence() returns */
};

/* Where `data` points. Only host memory for now; others: -ENOTSUP. */
enum ckpt_device {
    CKPT_HOST = 0,
};

enum ckpt_state {
    CKPT_STAGED = 1,
    CKPT_LOCAL = 2,
    CKPT_COMMITTED = 3,
    CKPT_REMOTE = 4,
};

/* A box of elements of the global tensor, in elements: [offset, offset+size)
 * per dimension, outermost first. It may reach beyond the logical shape: the
 * elements out there are padding, are not stored, and are zeroed on load. */
struct ckpt_box {
    uint64_t offset[CKPT_MAX_DIMS];
    uint64_t size[CKPT_MAX_DIMS];
};

/*
 * One piece of state: what this rank holds of a global tensor.
 *
 * The region is the list of boxes laid end to end, each row-major, in the
 * local buffer; box_count 0 means the whole tensor. With is_cut, the buffer
 * holds only elements [cut_start, cut_start + cut_count) of that local order
 * (padding counts). `data` points at the first local element and may be NULL
 * when the region is empty.
 *
 * strides, in elements, one per dimension, NULL for dense row-major; only with
 * one uncut box. Sub-byte types: each box's rows and the cut are whole bytes.
 *
 * replica_index of replica_count: all replicas hold equal bytes of an equal
 * region; 0 of 0 or of 1 for what only this rank holds. That they are equal is
 * compared: see ckpt_options.replica_check. Several descriptors may name one
 * tensor.
 */
struct ckpt_tensor {
    const char *name;
    enum ckpt_dtype dtype;
    uint32_t ndim;
    uint64_t shape[CKPT_MAX_DIMS]; /* logical, outermost first */
    const struct ckpt_box *boxes;
    uint32_t box_count;
    bool is_cut;
    uint64_t cut_start, cut_count;
    const uint64_t *strides;
    void *data;
    enum ckpt_device device;
    enum ckpt_capture capture; /* ignored on load */
    uint32_t replica_index, replica_count;
};

enum ckpt_value_type {
    CKPT_VALUE_I64 = 1,
    CKPT_VALUE_U64 = 2,
    CKPT_VALUE_F64 = 3,
    CKPT_VALUE_STRING = 4,
    CKPT_VALUE_BYTES = 5,
};

/*
 * Extra state: a small typed value, one per coordinate of the mesh axes named
 * in `axes` ("" for one value of the whole job, "dp", "pp,tp", ...; the names
 * are those of the layout). Ranks with equal coordinates on those axes must
 * give equal bytes, else the save aborts with -CKPT_ECONFLICT. Scalars are in
 * `u`, `i` or `f`; STRING and BYTES in data/bytes.
 */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): reading order */
struct ckpt_value {
    const char *name;
    const char *axes;
    enum ckpt_value_type type;
    union {
        int64_t i;
        uint64_t u;
        double f;
    } scalar;
    const void *data;
    size_t bytes;
    /* Filled in on load: the coordinates on `axes`, in their order. */
    uint32_t coordinate[CKPT_MAX_AXES];
    uint32_t coordinate_count;
};

struct ckpt_axis {
    const char *name; /* dp, tp, pp, ep, cp or any other word of <= 15 bytes */
    uint32_t degree;
    uint32_t coordinate; /* of this rank, < degree */
};

enum ckpt_resume {
    CKPT_RESUME_LATEST = 0,
    CKPT_RESUME_NONE = 1,
    CKPT_RESUME_STEP = 2, /* resume_step, in resume_generation unless 0 */
};

/* What a save does when the one before has not drained: this node's bytes of it
 * are not all on its drives yet (a home that is slow to answer holds
 * nobody). What is dropped by it has -CKPT_EOVERLOAD in its status, and is no
 * failure. */
enum ckpt_overload {
    CKPT_WAIT = 0,    /* ckpt_save blocks */
    CKPT_SKIP = 1,    /* this save is decided ABORT for the whole job */
    CKPT_REPLACE = 2, /* the newest save still waiting is aborted instead;
                         never the oldest undecided one */
};

enum ckpt_codec {
    CKPT_CODEC_AUTO = 0, /* by sampling, per chunk, where it pays */
    CKPT_CODEC_RAW = 1,
    CKPT_CODEC_PLANES_LZ4 = 2, /* wherever it makes a chunk smaller */
};

/* Which replicas are compared at a save. Each holder's bytes are digested by
 * its daemon, what it does not write as well: that takes the way of a save
 * through the arena, without being written. */
enum ckpt_replica_check {
    CKPT_REPLICAS_SAMPLE = 0, /* a sixteenth of them, another one each time, so
                                 that 16 saves compare all */
    CKPT_REPLICAS_ALL = 1,
    CKPT_REPLICAS_OFF = 2,
};

enum ckpt_verdict {
    CKPT_WARN = 0,   /* commit; see ckpt_warning(), `ckpt ls`, `ckpt show` */
    CKPT_FAIL = 1,   /* the save is aborted */
    CKPT_IGNORE = 2, /* on_stale: not looked at */
};

/*
 * Zero it, set what you need: ckpt_options_init() does the first half. Zero
 * means the default everywhere.
 *
 * home: a directory that is there, or rados://POOL/NAMESPACE (with
 * ?data_pool=NAME&conf=PATH&user=NAME where needed) for one in Ceph, which is
 * made at first (default: CKPT_HOME). run: its name
 * (required; up to 255 letters, digits, '.', '_', '-', not starting with '.').
 * rank, world_size: -1 and 0 take them from CKPT_RANK, then RANK/WORLD_SIZE,
 * SLURM_PROCID/SLURM_NTASKS, OMPI_COMM_WORLD_RANK/SIZE, PMIX_RANK; else 0 of 1.
 * A launcher counts where both its variables are set; a rank above 0 without
 * any world size is -EINVAL.
 * token: equal on all ranks of one start of the job and never used again;
 * required when world_size > 1, but under Slurm, and under Open MPI with all
 * ranks on one node, where it is found.
 * local: the directory of segments, on a local drive (default: CKPT_LOCAL,
 * else HOME/local, which a home in Ceph does not have). socket: the daemon's
 * (default: CKPT_SOCKET, else ckptd.sock in the local store); where one is
 * named no daemon is started. keep_last, keep_every: how many of the newest
 * checkpoints to keep, and steps that are multiples; both 0: as the daemon was
 * told, else all. remote_every: checkpoints whose step is a multiple of it are
 * copied to the home's remote tier in the background (1: all; 0:
 * CKPT_REMOTE_EVERY, else as the daemon was told, else none). local_last: of
 * those that are there, so many of the newest stay in the local stores too (0:
 * as the daemon was told, else all).
 *
 * replica_check, on_divergence: before a save is committed, replicas that are
 * held by several ranks are compared; where some differ, tensor, ranks and the
 * first differing element are named, and the save is committed with a warning,
 * or aborted, with -CKPT_EDIVERGED in its status. Give all ranks the same; the
 * strictest rank decides. replica_allow: names whose replicas may differ and
 * are not compared. on_stale: what becomes of a save whose optimizer state is
 * byte for byte that of the committed save before it although the step is
 * higher; CKPT_FAIL aborts it, with -CKPT_ESTALE in its status.
 * optimizer_names: which tensors that state is (of more than one element;
 * default "optim*"). Both are comma-separated patterns with
 * '*' and '?', matched against whole names, at most 1,023 bytes.
 */
struct ckpt_options {
    uint32_t struct_bytes; /* sizeof, set by ckpt_options_init */
    const char *home, *run, *local, *socket, *token;
    int64_t rank;
    uint64_t world_size;
    struct ckpt_axis axes[CKPT_MAX_AXES];
    uint32_t axis_count;
    uint64_t
        arena_bytes; /* staging memory of this rank; 0: as much as the state
                        needs, at most 40 % of the free memory per node */
    enum ckpt_resume resume;
    uint64_t resume_step;
    uint32_t resume_generation;
    enum ckpt_overload overload;
    enum ckpt_codec codec;
    uint32_t keep_last, keep_every;
    uint32_t max_uncommitted;   /* default 3 */
    uint32_t open_timeout_ms;   /* default 60,000 */
    uint32_t decide_timeout_ms; /* default 600,000 */
    uint32_t load_timeout_ms;   /* default 600,000 without progress */
    uint32_t copy_threads;      /* default: 1, more on wide machines */
    enum ckpt_replica_check replica_check;
    enum ckpt_verdict on_divergence, on_stale;
    const char *replica_allow, *optimizer_names;
    uint32_t remote_every, local_last;
};

/* An error in words; code is what the function returned. */
struct ckpt_error {
    int code;
    char message[1024];
};

struct ckpt;
struct ckpt_save;
struct ckpt_values;

/* Identity of a save; generation 0 means none. */
struct ckpt_id {
    uint32_t generation;
    uint64_t step;
    uint32_t attempt;
};

struct ckpt_save_status {
    enum ckpt_state state;   /* highest reached, 0 before STAGED */
    bool aborted;            /* decided ABORT; `error` says why */
    uint64_t failed_count;   /* saves of this context that failed so far, but
                                those that were given up with
                                -CKPT_EOVERLOAD */
    struct ckpt_error error; /* of this save, code 0 for none */
};

struct ckpt_report {
    struct ckpt_id id;
    uint64_t bytes;      /* this rank's, logical */
    uint64_t read_bytes; /* stored bytes the daemon read for its ranks */
    double seconds;
    uint32_t attempt_count; /* 1: the first candidate was good */
    char note[512];         /* what was passed over and why, how much was read
                               from the remote tier; or empty */
};

/* One checkpoint of the run, for ckpt_list(). */
struct ckpt_info {
    struct ckpt_id id;
    uint64_t logical_bytes, stored_bytes;
    uint64_t tensor_count, rank_count;
    uint64_t created_unix_ms;
    /* CKPT_REMOTE: in the home, whatever becomes of nodes. CKPT_COMMITTED: lost
     * with the local store of any of node_count nodes (0: an older daemon,
     * which does not tell either). */
    enum ckpt_state state;
    uint32_t node_count;
};

CKPT_API_VOID void ckpt_options_init(struct ckpt_options *options);

/*
 * Join the run: connect to the daemon (starting a private one if none
 * answers), join or make the generation. Blocks up to open_timeout_ms.
 * -ESTALE: the token is of an older generation, or this (token, rank) has
 * joined already. -EINVAL: world_size > 1 without a token. -ENOENT: no such
 * home, or no checkpoint of resume_step. -EPERM: another user's daemon.
 * -ENOSYS: a home in Ceph without librados. -EOPNOTSUPP: the daemon that is
 * there was not started for such homes. -ETIMEDOUT: the cluster is silent.
 * -ECHILD: the daemon that was started ended at once; the message begins with
 * what it logged. On success *out is closed with ckpt_close().
 */
CKPT_API int ckpt_open(const struct ckpt_options *options, struct ckpt **out,
                       struct ckpt_error *error);

/* Leave. Saves that are STAGED go on without us; others abort, but for one
 * whose handle was freed unfenced, which is fenced first. Inside a job's
 * cgroup with a private daemon it waits until staged saves are LOCAL. */
CKPT_API_VOID void ckpt_close(struct ckpt *ctx);

/* What this generation resumes from; *id is zero for a fresh start. What
 * ckpt_load() really took may be older: ckpt_report.id is the place to count
 * steps from. */
CKPT_API_VOID void ckpt_parent(const struct ckpt *ctx, struct ckpt_id *id);

/* One line on what this mode survives, owned by ctx. */
CKPT_API const char *ckpt_mode(const struct ckpt *ctx);

/*
 * Save `count` tensors and `value_count` extra values as `step`. Every rank of
 * the generation calls it with the same step; steps never decrease. Blocks for
 * CAPTURE_NOW copies, for overload CKPT_WAIT, for space, and while a lost
 * daemon is looked for; for a home that does not answer a tenth of a second at
 * most, and then it goes on without. *out is freed with ckpt_save_free().
 * -EBUSY: the last save was not fenced and its handle is still held; or 16
 * aborts wait for a home that does not answer.
 * -CKPT_ECONFLICT: this step was committed in this generation, or is lower than
 * one before. -ESTALE: the job was started again. Of a home that was slow to
 * say so, those two become the save's abort. -CKPT_EUNCOMMITTED:
 * max_uncommitted saves in a row have failed; told once, the next call saves
 * again. A save that the job skips or replaces returns 0 and becomes aborted.
 */
CKPT_API int ckpt_save(struct ckpt *ctx, uint64_t step,
                       const struct ckpt_tensor *tensors, size_t count,
                       const struct ckpt_value *values, size_t value_count,
                       struct ckpt_save **out, struct ckpt_error *error);

/*
 * Call before UNTIL_FENCE tensors are written. Returns once their bytes have
 * left (at most 60 s, then the save aborts: -ECANCELED). `stream` is NULL on
 * the host. A save that has aborted already: 0; no save yet (NULL): 0.
 */
CKPT_API int ckpt_fence(struct ckpt_save *save, void *stream,
                        struct ckpt_error *error);

/*
 * Wait until `state` is reached. timeout_ms < 0: for ever, 0: look. STAGED is
 * about this rank, the others about the job. 0; -ETIMEDOUT; -CKPT_EABORTED
 * (why: ckpt_save_status()); -EINVAL: save is NULL (no save was begun, so no
 * state can be reached). CKPT_REMOTE, of a committed save: -ENOTSUP, this step
 * is not sent to the remote tier (remote_every); -ENOENT, it was removed before
 * it got there; -CKPT_ECORRUPT, its copy there was found damaged (`ckpt cp` to
 * its own home mends it); a lost daemon's successor is asked. Another code: its
 * fate is unknown (the daemon was lost, the context closed); `ckpt ls` tells.
 */
CKPT_API int ckpt_wait(struct ckpt_save *save, enum ckpt_state state,
                       int timeout_ms, struct ckpt_error *error);

/* Of NULL: a zeroed status and a zero id. */
CKPT_API_VOID void ckpt_save_status(struct ckpt_save *save,
                                    struct ckpt_save_status *status);
/*
 * Take the oldest warning about a save of this context that has committed all
 * the same: replicas that differ, an optimizer state that did not change. 1,
 * and *warning has the words (its code is 0); 0 when there is none. Never
 * blocks. Every rank hears of every warning, also when the save's handle is
 * gone; eight are kept, and what comes on top of those is in `ckpt ls`.
 */
CKPT_API int ckpt_warning(struct ckpt *ctx, struct ckpt_error *warning);

CKPT_API_VOID void ckpt_save_id(const struct ckpt_save *save,
                                struct ckpt_id *id);

/* Lets go of the handle only; the save goes on. Of a save that was not fenced
 * the fence is left to the next ckpt_save(), or ckpt_close(), which then blocks
 * as ckpt_fence() does: until it returned, the UNTIL_FENCE tensors must not
 * change. */
CKPT_API_VOID void ckpt_save_free(struct ckpt_save *save);

/*
 * Collective over the generation (count may be 0): fill the targets from the
 * generation's parent; when that is damaged all ranks fall back together to
 * the next older checkpoint of the branch. Succeeds on all ranks or on none.
 * -ENODATA: fresh start, nothing to load. -CKPT_EPARTIAL: a hole, named.
 * -ENOENT: a tensor that is not in the checkpoint, named.
 * -CKPT_ESHAPE: dtype or shape differ. -EIO, -CKPT_ECORRUPT: its bytes are lost
 * (segment gone or truncated, on another node) or damaged, and no older
 * checkpoint of the branch is good. -ECONNRESET: another rank or the daemon was
 * lost meanwhile. -ETIMEDOUT: no progress for load_timeout_ms. After a failure
 * the targets' contents are undefined. *values (may be NULL) supersedes
 * ckpt_load_extra's; freed with ckpt_values_free(). report may be NULL.
 */
CKPT_API int ckpt_load(struct ckpt *ctx, const struct ckpt_tensor *targets,
                       size_t count, struct ckpt_values **values,
                       struct ckpt_report *report, struct ckpt_error *error);

/* The same from any committed save, by this rank alone and without a vote. */
CKPT_API int ckpt_read(struct ckpt *ctx, const struct ckpt_id *id,
                       const struct ckpt_tensor *targets, size_t count,
                       struct ckpt_values **values, struct ckpt_report *report,
                       struct ckpt_error *error);

/* The parent's extra state, before any model exists. -ENODATA as above. */
CKPT_API int ckpt_load_extra(struct ckpt *ctx, struct ckpt_values **values,
                             struct ckpt_error *error);

/* The value `name` for this rank's coordinates; NULL if there is none or if
 * a degree on its axes has changed (then walk them with ckpt_values_at). The
 * pointers live as long as `values`. */
CKPT_API const struct ckpt_value *
ckpt_values_find(const struct ckpt_values *values, const char *name);
CKPT_API size_t ckpt_values_count(const struct ckpt_values *values);
CKPT_API const struct ckpt_value *
ckpt_values_at(const struct ckpt_values *values, size_t index);
CKPT_API_VOID void ckpt_values_free(struct ckpt_values *values);

/* The run's committed saves, newest generation first, then highest step: fills
 * up to `capacity`, returns how many there are. */
CKPT_API int ckpt_list(struct ckpt *ctx, struct ckpt_info *infos,
                       size_t capacity, struct ckpt_error *error);

/* The dtype, logical shape and name of tensor `index` of a committed save
 * (boxes NULL, data NULL); the name is owned by ctx until the next call.
 * -ERANGE past the last one. */
CKPT_API int ckpt_describe(struct ckpt *ctx, const struct ckpt_id *id,
                           uint64_t index, struct ckpt_tensor *out,
                           struct ckpt_error *error);

/* Whether a save at this step is due every `every` steps; equal on all ranks.
 * False for step 0 and for the step that was resumed from. */
CKPT_API bool ckpt_should_save(const struct ckpt *ctx, uint64_t step,
                               uint64_t every);

/* A code in words, static storage. */
CKPT_API const char *ckpt_strerror(int code);

#ifdef __cplusplus
}
#endif
#endif
