/*
 * sim.h - a whole cluster in one thread, decided by a seed.
 *
 *   disk.c     media: local drives, the home; what power takes away
 *   node.c     a machine: its daemon (the real engine), its clocks
 *   wire.c     connections between ranks and daemons
 *   rank.c     what a trainer's library does for one rank
 *   job.c      ranks that train together; who starts them again
 *   state.c    tensors and their bytes
 *   faults.c   what goes wrong, and when
 *   oracle.c   what must be true, known without asking the engine
 *
 * The world's wheel (tests/lib/test_env.h) turns all of it. Nothing here looks
 * at a real clock, an address or anything else that two runs of one seed do not
 * share. Everything lives until the seed is over.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "tests/lib/test_env.h"
#include "tests/sim/disk.h"

#include "ckptd/engine/engine.h"
#include "formats/record.h"
#include "formats/writelist.h"

#define SIM_HOME     "/home"
#define SIM_RUN      "run"
#define SIM_NODES    4 /* at most */
#define SIM_PER_NODE 3 /* ranks, at most */
#define SIM_RANKS    (SIM_NODES * SIM_PER_NODE)
#define SIM_MS       ((uint64_t)1000000)
#define SIM_TENSORS  112 /* per node, at most */

/* What goes wrong (faults.c has the names), and what came of it. */
#define SIM_FAULTS 18
struct sim_stats {
    uint64_t seeds, events, virtual_ns, committed, aborted, loads, reads,
        crashes, jobs, remote_reads;
    uint64_t fault[SIM_FAULTS];
    uint64_t lost_messages, lost_writes, torn_writes, lost_names, late_requests,
        overtaken;
};

/* What this seed's cluster is like. */
struct sim_plan {
    uint32_t nodes;
    uint32_t tensors;     /* per node */
    uint64_t elements;    /* of a tensor, U64 */
    uint64_t faults_ns;   /* how long things go wrong */
    uint32_t fault_count; /* in that time */
    uint32_t overload;    /* 0 wait, 1 skip, 2 replace */
    uint64_t interval_ns; /* between saves */
    uint32_t keep_last, keep_every, remote_every, local_last;
    uint32_t open_ms, decide_ms, load_ms;
    uint32_t tight_ms; /* to decide, while things go wrong; 0: decide_ms */
    uint32_t slots;
    uint32_t codec;
    uint64_t mask;     /* of each element: what is dull gets smaller encoded */
    bool has_rot;      /* drives do not all survive */
    bool is_contended; /* a second launcher for the same run */
    struct disk_model home, local;
};

struct sim_daemon;
struct sim_conn;
struct sim_rank;
struct sim_job;
struct oracle;

struct sim_node {
    uint32_t index;
    char name[16];
    struct sim_disk *disk;
    struct sim_daemon *daemon; /* alive, or NULL */
    bool is_off;               /* the whole machine */
    bool is_partitioned;       /* from the home */
    int64_t ahead_ns, unix_ahead_ms;
    uint32_t lives;
    uint64_t ops, crash_at_op; /* requests that took effect; 0: none */
};

struct sim {
    uint64_t seed, began_ns;
    bool is_traced, is_failed;
    char failure[2048];
    struct test_world *world;
    struct test_env *clock; /* whose timers are the simulator's events */
    struct sim_plan plan;
    struct sim_node node[SIM_NODES];
    struct sim_disk *home;
    struct list daemons; /* struct sim_daemon, dying ones too */
    struct list jobs;    /* struct sim_job, newest last */
    struct list conns;
    struct list waiting; /* events */
    uint64_t next_peer, next_token;
    struct oracle *oracle;
    struct sim_stats stats;
    bool is_calm; /* nothing goes wrong any more */
    bool is_over;
    bool is_reading; /* jobs do not save now */
    bool has_rotted; /* bytes of some drive are damaged */
    bool has_lost;   /* all drives: what is REMOTE is left */
    uint32_t armed;  /* enum moment at which the next fault comes */
    void *launch, *faults, *ending; /* job.c's, faults.c's, ending.c's own */
};

/* sim.c */
uint64_t sim_random(struct sim *s, uint64_t below);
uint64_t sim_between(struct sim *s, uint64_t least, uint64_t most);
bool sim_chance(struct sim *s, uint32_t percent);
uint64_t sim_now(const struct sim *s);
typedef void (*sim_fn)(struct sim *s, void *arg, uint64_t n);
void sim_after(struct sim *s, uint64_t delay_ns, sim_fn fn, void *arg,
               uint64_t n);
void sim_trace(struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
/* An invariant is broken: the seed ends here. The first one counts. */
void sim_violation(struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
/* "2-10-1" */
#define SIM_ID_BYTES 48
const char *sim_id(const struct save_id *id, char text[SIM_ID_BYTES]);
/* Runs one seed; adds to `total`. False: s->failure of it in `failure`. */
bool sim_run(uint64_t seed, bool is_traced, struct sim_stats *total,
             char failure[2048]);

/* node.c */
void nodes_begin(struct sim *s);
void nodes_end(struct sim *s);
/* Nothing when it is up already, or the machine is off. */
void node_start(struct sim *s, struct sim_node *n);
void node_kill_daemon(struct sim *s, struct sim_node *n);
void node_stop_daemon(struct sim *s, struct sim_node *n); /* in order */
void node_power_loss(struct sim *s, struct sim_node *n);
void node_power_on(struct sim *s, struct sim_node *n);
/* The machine is replaced, and its drive with it. */
void node_replace(struct sim *s, struct sim_node *n);
void node_partition(struct sim *s, struct sim_node *n, bool is_partitioned);
void node_jump(struct sim *s, struct sim_node *n, int64_t ms);
bool node_is_ready(const struct sim_node *n);
/* Everything that has become possible; true if there was something. */
bool nodes_turn(struct sim *s);
struct engine *daemon_engine(const struct sim_daemon *d);
bool daemon_is_alive(const struct sim_daemon *d);
uint32_t daemon_node(const struct sim_daemon *d);

/* wire.c */
struct sim_conn *conn_new(struct sim *s, struct sim_rank *r,
                          struct sim_daemon *d);
/* A frame from the rank; `w` is taken over, NULL: no payload. */
void conn_to_daemon(struct sim_conn *c, enum wire_type type, uint64_t id,
                    struct wr *w);
void conn_from_daemon(struct sim *s, struct sim_daemon *d, env_peer peer,
                      const struct wire_header *h, const void *payload,
                      const struct env_arena *arena);
void conn_hung_up(struct sim *s, struct sim_daemon *d, env_peer peer);
/* The rank is dead, or lets go. */
void conn_close(struct sim_conn *c);
/* The daemon is dead: its end of all its connections is. */
void conns_daemon_dead(struct sim *s, const struct sim_daemon *d);
/* Both ends see it end, what was on the way may be lost. */
void conn_break(struct sim_conn *c);
/* Whether the memory that the daemon shares is still this rank's to use. */
bool conn_has_memory(const struct sim_conn *c);
/* Its rank listens again. */
void conn_unhang(struct sim_conn *c);
void conns_end(struct sim *s);

/* rank.c: see there for its life. */
enum rank_phase {
    RANK_DOWN,    /* not connected; it will be */
    RANK_GREETED, /* HELLO and OPEN are on their way */
    RANK_SETTING, /* ARENA and TABLE */
    RANK_LOADING,
    RANK_READY,
    RANK_DEAD,
};

struct rank_save {
    struct list link;
    uint64_t request, number;
    uint64_t step;
    struct save_id id;
    uint32_t given;
    uint32_t chunk_count;
    uint32_t state;
    bool is_answered; /* SAVE_OK or an error */
    bool is_over;     /* told for good, or given up */
    bool is_asked;    /* a WATCH is on its way */
    uint64_t began_ns, watch_request;
    uint32_t epoch;
};

struct rank_load {
    uint64_t request, number;
    struct save_id id;  /* asked for, generation 0: collective */
    struct save_id got; /* of the last LOAD_BEGIN */
    uint32_t attempt;
    uint32_t approved; /* the last attempt that the rank has said yes to */
    uint64_t began_ns, progress_ns;
    bool is_wanted, is_done;
    int code;
};

struct sim_rank {
    struct sim *sim;
    struct sim_job *job;
    struct sim_node *node;
    uint32_t rank, local; /* index in the job, on its node */
    enum rank_phase phase;
    struct sim_conn *conn;
    uint32_t epoch; /* of the connection */
    bool has_joined, is_hung;
    bool is_twin;      /* a second process for a rank that has one */
    uint64_t due_step; /* 0: no SAVE is due */
    uint64_t next_request, open_since_ns;
    uint32_t generation;
    struct save_id parent;
    const struct env_arena *arena;
    struct entry entry[SIM_TENSORS];
    char name[SIM_TENSORS][32];
    struct writelist list;
    uint8_t *data[SIM_TENSORS]; /* what a load gives */
    uint64_t bytes[SIM_TENSORS];
    struct list saves;
    struct rank_load load;
};

void rank_begin(struct sim_rank *r); /* allocated and filled by job.c */
void rank_die(struct sim_rank *r, const char *why);
void rank_end(struct sim_rank *r); /* frees what it holds */
void rank_save(struct sim_rank *r, uint64_t step);
/* An independent read. */
void rank_read(struct sim_rank *r, const struct save_id *id);
/* What it waits for is answered: the next SAVE may come. */
bool rank_is_free(const struct sim_rank *r);
void rank_frame(struct sim_rank *r, const struct wire_header *h,
                const uint8_t *payload, const struct env_arena *arena);
void rank_lost(struct sim_rank *r); /* its connection ended */
/* Looks for what it has waited for too long. */
void rank_watch(struct sim_rank *r);
/* Gives what it held back. */
void rank_unhang(struct sim_rank *r);

/* job.c */
struct sim_job {
    struct list link;
    struct sim *sim;
    uint32_t number, launcher;
    char token[32];
    uint32_t per_node, rank_count;
    uint32_t resume;
    uint64_t resume_step;
    uint32_t resume_generation;
    struct sim_rank *rank; /* rank_count */
    struct sim_rank *twin; /* NULL: none */
    uint32_t decide_ms;
    uint32_t generation;
    struct save_id parent;
    uint64_t step, saves;
    bool is_over, is_running;
    uint64_t began_ns;
};
void jobs_begin(struct sim *s);
void jobs_end(struct sim *s);
/* A rank has failed for good: so has its job. */
void job_fail(struct sim_job *j, const char *why);
/* A rank has all that it needs to train. */
void job_rank_ready(struct sim_job *j);
/* The job in which most is going on, NULL. */
struct sim_job *job_current(struct sim *s);
/* A second process comes as this rank. */
void job_twin(struct sim_job *j, uint32_t rank);
/* From now on only one launcher starts jobs. */
void jobs_calm(struct sim *s);

/* state.c */
/* A rank's descriptors: its share of its node's tensors. */
void state_describe(struct sim_rank *r);
/* One chunk of what a save of that name holds, as the rank hands it over. */
void state_chunk(const struct sim_rank *r, const struct save_id *id,
                 uint32_t chunk, uint8_t *to);
/* Whether r->data is what that save holds; else `text` says where not. */
bool state_check(const struct sim_rank *r, const struct save_id *id, char *text,
                 size_t capacity);

/* faults.c */
extern const char *const sim_fault_name[SIM_FAULTS];
void faults_begin(struct sim *s);
/* Moments at which a fault may be due. */
enum moment {
    MOMENT_NONE,
    MOMENT_JOINED,
    MOMENT_LOADING,
    MOMENT_DELIVERED,
    MOMENT_LOADED,
    MOMENT_STAGED,
    MOMENT_LOCAL,
    MOMENT_COMMITTED,
    MOMENT_CLOSED, /* these: a record is seen */
    MOMENT_GENERATION,
    MOMENT_INTENT,
    MOMENT_VOTE,
    MOMENT_DECISION,
    MOMENT_LOAD,
    MOMENT_VERIFIED,
    MOMENT_TOMB,
    MOMENTS,
};
void faults_moment(struct sim *s, enum moment m);
/* Everything is mended. */
void faults_heal(struct sim *s);

/* ending.c: what must still be possible when the faults have stopped. */
void ending_begin(struct sim *s);
void ending_end(struct sim *s);

/* oracle.c */
void oracle_begin(struct sim *s);
void oracle_end(struct sim *s);
void oracle_news(struct sim *s, enum disk_news news,
                 const struct disk_record *r);
/* What the engine says, when it says it. */
void oracle_sent(struct sim *s, const struct sim_rank *r,
                 const struct wire_header *h, const uint8_t *payload);
void oracle_handed(struct sim *s, const struct sim_rank *r,
                   const struct save_id *id);
/* Told, and heard by the rank. */
void oracle_committed(struct sim *s, const struct sim_rank *r,
                      const struct save_id *id);
void oracle_aborted(struct sim *s, const struct sim_rank *r,
                    const struct save_id *id, int code, const char *text);
void oracle_loaded(struct sim *s, const struct sim_rank *r,
                   const struct wire_load_done *v);
void oracle_passed_over(struct sim *s, const struct save_id *id,
                        const char *note);
/* Committed, as far as anybody was told, and not removed: the index-th of
 * them, oldest first. False: there are no more. */
bool oracle_save(const struct sim *s, size_t index, struct save_id *out);
bool oracle_is_removed(const struct sim *s, const struct save_id *id);
/* It is on record that all of it is in the remote tier. */
bool oracle_is_remote(const struct sim *s, const struct save_id *id);
uint64_t oracle_commits(const struct sim *s);
void oracle_final(struct sim *s);

#endif
