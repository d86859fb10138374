/*
 * tool.h - what the verbs of `ckpt` share: the home, targets, exit codes.
 *
 * Verbs run in one thread, look through the same catalog code as the daemon
 * does and poll the store until it has answered. Looking needs read access
 * only. Every function that fails has said why on stderr; what it returns is
 * the exit code.
 */
#ifndef TOOLS_CKPT_TOOL_H
#define TOOLS_CKPT_TOOL_H

#include "ckptd/engine/catalog.h"
#include "formats/manifest.h"

enum exit_code {
    EXIT_FINE = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_PARTIAL = 3,
    EXIT_CORRUPT = 4,
    EXIT_ABSENT = 10,
    EXIT_LOCKED = 11,
    EXIT_INTERRUPTED = 130,
};

/* --tier: of which the bytes are read. */
enum tier_option {
    TIER_ALL, /* not given */
    TIER_NVME,
    TIER_REMOTE,
};

/* Options of all verbs; each verb says which it takes. */
struct options {
    const char *home, *local, *to;
    bool json, all, quick, deep, dry_run, yes, repair, resume;
    enum tier_option tier;
    uint64_t rate_bytes_s; /* 0: no limit */
    uint32_t keep_last, keep_every;
    bool remote, each, has_timeout; /* --state remote, --each, --timeout */
    uint64_t timeout_ms;
    const char *exec;
};

struct tool {
    struct options options;
    const char *verb;
    const char *target; /* RUN@STEP[:TENSOR], or NULL */
    struct store *home;
};

/* RUN[@STEP|@latest][:TENSOR] */
struct target {
    char run[RUN_NAME_MAX + 1];
    bool has_step, is_latest;
    uint64_t step;
    uint32_t generation; /* @STEP/GEN; 0: the newest that has it */
    const char *tensor;  /* NULL: none */
    /* tool_target(): what is on record of it, but for its reason. */
    struct catalog_save save;
};

/* "ckpt VERB: words" on stderr, cleaned (text.h); returns `code`. */
int complain(const struct tool *t, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The exit code that fits a negative result. */
int exit_code_of(int result);

/* Opens t->home for reading (or writing); 0 or an exit code. */
int tool_open_home(struct tool *t, bool for_writing);
/* Folder of the local store: --local, CKPT_LOCAL, HOME/local. False, and "": a
 * home that is no folder, and none was named. */
bool tool_local_path(const struct tool *t, char *path, size_t capacity);
#define NO_LOCAL "no local store is named (--local, CKPT_LOCAL)"

int target_parse(const struct tool *t, const char *text, struct target *out);
/* Names of the home's runs; other entries of runs/ are counted on stderr. 0 or
 * an exit code. */
int tool_runs(struct tool *t, struct store_names *runs);
/* Its catalog (catalog_free()); 0 or an exit code. */
int tool_catalog(struct tool *t, const char *run, struct catalog *c);
/* The same once more, of one that was filled before: brought up to date, or
 * the code with words in *err and nothing said. */
int tool_catalog_again(struct tool *t, const char *run, struct catalog *c,
                       struct err *err) MUST_USE;
/* Is the record there? 1, 0 or -errno. */
int tool_has(struct tool *t, const char *name) MUST_USE;
/* Says why a save that is SAVE_UNREADABLE is so: the exit code. */
int tool_unreadable(struct tool *t, const struct catalog *c,
                    const struct catalog_save *s);
/* The committed save that a target means; 0 or an exit code. */
int tool_find_save(struct tool *t, const struct catalog *c,
                   const struct target *target, struct save_id *id);
/* Its manifest, opened; free(*data). 0 or an exit code. */
int tool_manifest(struct tool *t, const char *run, const struct save_id *id,
                  void **data, struct manifest *m);
/* All of that for t->target: opens the home, finds the save, opens its
 * manifest; free(*data) in any case. 0 or an exit code. */
int tool_target(struct tool *t, struct target *target, void **data,
                struct manifest *m);
/* The tensor of a target; 0 or an exit code. */
int tool_tensor(const struct tool *t, const struct manifest *m,
                const char *name, uint64_t *tensor);

/* The record of which home or local store this is; negative: err has words. */
int tool_identity(struct store *s, struct record_store *out,
                  struct err *err) MUST_USE;

/* Polls until *done. 0 or a negative code. */
int tool_wait(struct store *s, const bool *done) MUST_USE;

/* The verbs. */
int verb_ls(struct tool *t);
int verb_show(struct tool *t);
int verb_where(struct tool *t);
int verb_verify(struct tool *t);
int verb_scrub(struct tool *t);
int verb_gc(struct tool *t);
int verb_cp(struct tool *t);
int verb_pin(struct tool *t);
int verb_unpin(struct tool *t);
int verb_drain(struct tool *t);
int verb_wait(struct tool *t);
int verb_doctor(struct tool *t);

#endif
