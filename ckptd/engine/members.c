/*
 * members.c - who is in a generation: member/GEN.DAEMON.N records.
 *
 * A record names the ranks that joined through a daemon at about one time;
 * together they make an array by rank and one by daemon. A rank that two
 * daemons have on record is a conflict that stays: two processes believe to be
 * that rank, and neither can be believed.
 */
#include "ckptd/engine/home_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void members_init(struct members *m, uint32_t generation, uint32_t world_size)
{
    *m = (struct members){.generation = generation, .world_size = world_size};
}

void members_fini(struct members *m)
{
    free(m->member);
    free(m->daemon);
    free(m->record);
    members_init(m, 0, 0);
}

static uint32_t rank_at(const struct members *m, uint32_t rank)
{
    uint32_t low = 0, high = m->member_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (m->member[middle].rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int members_find(const struct members *m, uint32_t rank, struct id128 *daemon)
{
    uint32_t i = rank_at(m, rank);

    if (i == m->member_count || m->member[i].rank != rank)
        return -ENOENT;
    *daemon = m->member[i].daemon;
    return 0;
}

static uint32_t daemon_at(const struct members *m, const struct id128 *daemon)
{
    uint32_t i = 0;

    while (i < m->daemon_count &&
           memcmp(m->daemon[i].daemon.b, daemon->b, sizeof daemon->b) < 0)
        i++;
    return i;
}

const struct member_daemon *members_daemon(const struct members *m,
                                           const struct id128 *daemon)
{
    uint32_t i = daemon_at(m, daemon);

    if (i == m->daemon_count || !id_equal(&m->daemon[i].daemon, daemon))
        return NULL;
    return &m->daemon[i];
}

void daemon_text(const struct members *m, const struct id128 *daemon,
                 char *text, size_t capacity)
{
    const struct member_daemon *d = members_daemon(m, daemon);
    char id[ID_TEXT_BYTES];

    (void)snprintf(text, capacity, "daemon %s%s%s%s", id_format(daemon, id),
                   d && d->host[0] ? " (host " : "",
                   d && d->host[0] ? d->host : "", d && d->host[0] ? ")" : "");
}

static bool record_is_known(const struct members *m, const struct id128 *daemon,
                            uint32_t n)
{
    for (uint32_t i = 0; i < m->record_count; i++) {
        if (m->record[i].n == n && id_equal(&m->record[i].daemon, daemon))
            return true;
    }
    return false;
}

/* The entry of that daemon, made when it is new; NULL on no memory. */
static struct member_daemon *daemon_note(struct members *m,
                                         const struct id128 *daemon)
{
    uint32_t i = daemon_at(m, daemon);
    struct member_daemon *grown;

    if (i < m->daemon_count && id_equal(&m->daemon[i].daemon, daemon))
        return &m->daemon[i];
    grown = realloc(m->daemon, (m->daemon_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    m->daemon = grown;
    memmove(grown + i + 1, grown + i, (m->daemon_count - i) * sizeof *grown);
    m->daemon_count++;
    grown[i] = (struct member_daemon){.daemon = *daemon};
    return &grown[i];
}

static void conflict_note(struct members *m, uint32_t rank,
                          const struct id128 *one, const struct id128 *other)
{
    char a[400], b[400];

    daemon_text(m, one, a, sizeof a);
    daemon_text(m, other, b, sizeof b);
    (void)err_set(&m->conflict, -ESTALE,
                  "generation %" PRIu32 ": rank %" PRIu32
                  " joined twice, through %s and through %s",
                  m->generation, rank, a, b);
}

/* There is room for it. */
static void rank_note(struct members *m, uint32_t rank,
                      struct member_daemon *daemon)
{
    uint32_t i = rank_at(m, rank);

    if (rank >= m->world_size) {
        (void)err_set(&m->conflict, -CKPT_ECORRUPT,
                      "generation %" PRIu32 ": rank %" PRIu32
                      " is a member of %" PRIu32 " ranks",
                      m->generation, rank, m->world_size);
        return;
    }
    if (i < m->member_count && m->member[i].rank == rank) {
        if (!id_equal(&m->member[i].daemon, &daemon->daemon))
            conflict_note(m, rank, &m->member[i].daemon, &daemon->daemon);
        return;
    }
    memmove(m->member + i + 1, m->member + i,
            (m->member_count - i) * sizeof *m->member);
    m->member_count++;
    m->member[i] = (struct member){.rank = rank, .daemon = daemon->daemon};
    daemon->rank_count++;
}

int members_add(struct members *m, const struct id128 *daemon, uint32_t n,
                const struct record_member *record)
{
    struct member_daemon *d;
    struct member_record *records;
    struct member *members;

    if (record_is_known(m, daemon, n))
        return 0;
    d = daemon_note(m, daemon);
    records = realloc(m->record, (m->record_count + 1) * sizeof *records);
    if (records)
        m->record = records;
    members =
        realloc(m->member, ((size_t)m->member_count + record->rank_count + 1) *
                               sizeof *members);
    if (members)
        m->member = members;
    if (!d || !records || !members)
        return -ENOMEM;
    m->record[m->record_count++] =
        (struct member_record){.daemon = *daemon, .n = n};
    if (n >= d->next_record)
        d->next_record = n + 1;
    memcpy(d->host, record->host, sizeof d->host);
    for (uint32_t i = 0; i < record->rank_count; i++)
        rank_note(m, record->rank[i], d);
    return 0;
}

bool members_are_complete(const struct members *m)
{
    return m->generation != 0 && m->member_count == m->world_size &&
           m->conflict.code == 0;
}

bool members_complete(const struct run *run)
{
    return members_are_complete(&run->members);
}

uint32_t members_here(const struct run *run)
{
    const struct member_daemon *d =
        members_daemon(&run->members, &run_env(run)->local_uuid);

    return d ? d->rank_count : 0;
}

/*
 * Reading.
 */

struct reading {
    struct run *run;
    struct members *m;
    uint32_t generation;
    struct store_names names;
    size_t next;
    struct id128 daemon; /* of the record under way */
    uint32_t n;
    members_fn done;
    void *arg;
};

static void reading_end(struct reading *r, int result)
{
    members_fn done = r->done;
    void *arg = r->arg;

    if (result == 0 && r->m->generation != r->generation)
        result = -ESTALE;
    if (result == 0)
        result = r->m->conflict.code;
    store_names_free(&r->names);
    free(r);
    done(arg, result);
}

/* "GGGGGGGG.DAEMON.N" of this generation. */
static bool name_parse(const char *name, uint32_t generation,
                       struct id128 *daemon, uint32_t *n)
{
    char begin[16], *end;
    unsigned long number;

    (void)snprintf(begin, sizeof begin, "%08" PRIu32 ".", generation);
    if (strncmp(name, begin, strlen(begin)) != 0)
        return false;
    name += strlen(begin);
    if (strlen(name) < 34 || name[32] != '.' ||
        id_parse(name, 32, daemon) < 0 || name[33] < '0' || name[33] > '9')
        return false;
    number = strtoul(name + 33, &end, 10);
    *n = (uint32_t)number;
    return *end == '\0' && number < UINT32_MAX;
}

static void read_next(struct reading *r);

static void record_done(void *arg, int64_t result, void *data)
{
    struct reading *r = arg;
    struct record_member record;
    struct err err;
    int rc = result < 0 ? (int)result : 0;

    if (rc == 0)
        rc = record_member_decode(data, (size_t)result, &record, &err);
    free(data);
    if (rc == 0) {
        if (r->m->generation == r->generation)
            rc = members_add(r->m, &r->daemon, r->n, &record);
        record_member_fini(&record);
    }
    if (rc < 0)
        reading_end(r, rc);
    else
        read_next(r);
}

static void read_next(struct reading *r)
{
    while (r->m->generation == r->generation && r->next < r->names.count) {
        char name[RECORD_NAME_BYTES];

        if (!name_parse(r->names.name[r->next++], r->generation, &r->daemon,
                        &r->n) ||
            record_is_known(r->m, &r->daemon, r->n))
            continue;
        recio_get(
            r->run->home->store,
            name_member(name, r->run->name, r->generation, &r->daemon, r->n),
            RECORD_MAX_BYTES, record_done, r);
        return;
    }
    reading_end(r, 0);
}

static void names_done(void *arg, int result, struct store_names *names)
{
    struct reading *r = arg;

    if (result < 0) {
        reading_end(r, result);
        return;
    }
    r->names = *names;
    *names = (struct store_names){0};
    read_next(r);
}

void members_read(struct run *run, struct members *m, members_fn done,
                  void *arg)
{
    struct reading *r = calloc(1, sizeof *r);
    char name[RECORD_NAME_BYTES];

    if (!r) {
        done(arg, -ENOMEM);
        return;
    }
    r->run = run;
    r->m = m;
    r->generation = m->generation;
    r->done = done;
    r->arg = arg;
    recio_list(run->home->store, name_run(name, run->name, "member"),
               names_done, r);
}

void members_refresh(struct run *run, members_fn done, void *arg)
{
    members_read(run, &run->members, done, arg);
}
