/*
 * ceph_load.c - load on a real cluster, with an oracle that is exact:
 *
 *     ceph_load [NETNS NETNS]      on the home CKPT_TEST_RADOS, until SIGTERM
 *
 * Two clients claim the same names at once, records and blobs, each with bytes
 * of its own, read what is there, and remove some, round after round, while
 * somebody else kills, hangs and fills the cluster. Each may be on a host of
 * its own, whose network namespace is named (/proc/PID/ns/net), so that one can
 * be cut off while the other goes on; and a third may claim the same names, and
 * die (ceph_ghost.c): what it was told nobody knows. When told to end, the
 * cluster being well again, one more client reads every name that there ever
 * was. A violation is printed and is exit status 1:
 *
 *   - a claim that was answered 0 is not what is read, or two were
 *   - one that was answered -EEXIST is what is read, or nothing is
 *   - bytes that nobody wrote
 *   - a name that was removed for certain and is there, or listed wrongly
 *   - a request that took longer than the bound
 *
 * An error other than -EEXIST leaves the outcome open, as store.h says, and so
 * does death.
 */
#include "common/bytes.h"
#include "tests/ceph/claims.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS CLAIM_CLIENTS
#define THIRD   CLIENTS /* looks at the end, and has more patience */
#define ROUND   CLAIM_ROUND
#define AT_ONCE (CLIENTS * ROUND)
/* What is begun before it gives up may take three operations, and the machine
 * is busy. */
#define BOUND_MS  (CLAIM_GIVE_UP_MS + 3 * CLAIM_OP_MS + 5000)
#define NO_ANSWER INT64_MIN

struct name {
    int64_t claim[CLIENTS]; /* results */
    int64_t removal;
};

struct ask {
    struct store_req req;
    uint64_t began_ms;
    char name[CLAIM_NAME_BYTES];
    uint8_t *data;
};

static struct store *store[CLIENTS + 1];
static struct name *names;
static uint32_t rounds;
static uint64_t answers, open_ends, refusals, ghosts, longest_ms, violations;
static volatile sig_atomic_t is_told;

static void told(int number)
{
    (void)number;
    is_told = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now = {0};
    int rc = clock_gettime(CLOCK_MONOTONIC, &now);

    assert(rc == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void violation(uint32_t n, const char *what, int64_t a, int64_t b)
{
    violations++;
    (void)printf("name %" PRIu32 ": %s (%" PRId64 ", %" PRId64 ")\n", n, what,
                 a, b);
}

/* -1: bytes that nobody wrote. */
static int holder_of(const uint8_t *data, uint32_t n)
{
    uint8_t *expect = malloc(CLAIM_BYTES_MAX);
    int holder = -1;

    assert(expect);
    for (int c = 0; c <= CLAIM_GHOST && holder < 0; c++) {
        claim_fill(expect, n, (uint32_t)c);
        if (memcmp(data, expect, claim_bytes(n)) == 0)
            holder = c;
    }
    free(expect);
    return holder;
}

/*
 * Requests.
 */

static void done(struct store_req *req, int64_t result)
{
    struct ask *ask = container_of(req, struct ask, req);
    uint64_t took_ms = now_ms() - ask->began_ms;
    uint32_t *left = req->owner;

    answers++;
    open_ends += result == -ETIMEDOUT;
    refusals += result == -ENOSPC || result == -EDQUOT;
    longest_ms = max_u64(longest_ms, took_ms);
    if (took_ms > BOUND_MS && !store[THIRD])
        violation(0, "a request took too long", (int64_t)took_ms, result);
    (*left)--;
}

static void ask_prepare(struct ask *ask, uint32_t n, enum store_op op)
{
    claim_name(n, ask->name);
    ask->req = (struct store_req){.op = op,
                                  .name = ask->name,
                                  .buf = ask->data,
                                  .len = claim_bytes(n),
                                  .done = done};
}

static void submit(uint32_t client, struct ask *ask, uint32_t *left)
{
    (*left)++;
    ask->req.owner = left;
    ask->began_ms = now_ms();
    store_submit(store[client], &ask->req);
}

static void wait_for(const uint32_t *left)
{
    while (*left > 0) {
        for (uint32_t c = 0; c <= THIRD; c++) {
            int rc = store[c] ? store_poll(store[c], 5) : 0;

            assert(rc == 0 || rc == -EINTR);
        }
    }
}

/*
 * Rounds.
 */

static void claim_all(struct ask ask[AT_ONCE], uint32_t first)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < ROUND; i++) {
        for (uint32_t c = 0; c < CLIENTS; c++) {
            uint32_t n = first + i;

            claim_fill(ask[c * ROUND + i].data, n, c);
            ask_prepare(&ask[c * ROUND + i], n,
                        claim_is_blob(n) ? STORE_BLOB_PUT : STORE_PUT);
            submit(c, &ask[c * ROUND + i], &left);
        }
    }
    wait_for(&left);
    for (uint32_t i = 0; i < ROUND; i++) {
        for (uint32_t c = 0; c < CLIENTS; c++)
            names[first + i].claim[c] = ask[c * ROUND + i].req.result;
    }
}

/* What one name holds must fit what its claimants were told. */
static void judge(uint32_t n, int64_t result, const uint8_t *data)
{
    const struct name *name = &names[n];
    int holder = result >= 0 ? holder_of(data, n) : -1;

    if (result >= 0 && ((size_t)result != claim_bytes(n) || holder < 0))
        violation(n, "bytes that nobody wrote", result, holder);
    for (int c = 0; c < CLIENTS; c++) {
        if (name->claim[c] == 0 && holder != c)
            violation(n, "the winner is not what is read", c, result);
        if (name->claim[c] == -EEXIST && (holder < 0 || holder == c))
            violation(n, "the loser is what is read, or nothing", c, result);
    }
}

static void read_all(struct ask ask[ROUND], uint32_t first, uint32_t client)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < ROUND; i++) {
        uint32_t n = first + i;

        ask_prepare(&ask[i], n, claim_is_blob(n) ? STORE_BLOB_GET : STORE_GET);
        submit(client, &ask[i], &left);
    }
    wait_for(&left);
    for (uint32_t i = 0; i < ROUND; i++) {
        int64_t result = ask[i].req.result;

        if (result >= 0 || result == -ENOENT)
            judge(first + i, result, ask[i].data);
        else if (result != -ETIMEDOUT)
            violation(first + i, "cannot be read", result, 0);
    }
}

/* Those of certain origin; one of four. */
static void remove_some(struct ask ask[ROUND], uint32_t first)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < ROUND; i++) {
        uint32_t n = first + i;
        const struct name *name = &names[n];
        bool is_known = (name->claim[0] == 0 && name->claim[1] == -EEXIST) ||
                        (name->claim[1] == 0 && name->claim[0] == -EEXIST);

        if (n % 4 != 3 || !is_known)
            continue;
        ask_prepare(&ask[i], n,
                    claim_is_blob(n) ? STORE_BLOB_REMOVE : STORE_REMOVE);
        submit(0, &ask[i], &left);
        names[n].removal = -ETIMEDOUT;
    }
    wait_for(&left);
    for (uint32_t i = 0; i < ROUND; i++) {
        struct name *name = &names[first + i];

        if (name->removal != NO_ANSWER)
            name->removal = ask[i].req.result;
        if (name->removal == -ENOENT)
            violation(first + i, "to be removed, not there", 0, 0);
    }
}

static void one_round(struct ask ask[AT_ONCE])
{
    uint32_t first = rounds * ROUND;

    for (uint32_t i = 0; i < ROUND; i++)
        names[first + i].removal = NO_ANSWER;
    claim_all(ask, first);
    read_all(ask, first, 0);
    read_all(ask + ROUND, first, 1);
    remove_some(ask, first);
    rounds++;
}

/*
 * The end.
 */

static bool is_listed(const struct store_names *listed, uint32_t n)
{
    char text[32];

    (void)snprintf(text, sizeof text, "n%" PRIu32, n);
    for (size_t i = 0; i < listed->count; i++) {
        if (strcmp(listed->name[i], text) == 0)
            return true;
    }
    return false;
}

static void check_name(const struct ask *ask, uint32_t n,
                       const struct store_names *listed)
{
    const struct name *name = &names[n];
    int64_t result = ask->req.result;
    bool is_ghost;

    if (result < 0 && result != -ENOENT) {
        violation(n, "cannot be read at the end", result, 0);
        return;
    }
    is_ghost = result >= 0 && holder_of(ask->data, n) == CLAIM_GHOST;
    ghosts += is_ghost;
    if (is_listed(listed, n) != (result >= 0))
        violation(n, "listed wrongly", result, 0);
    if (name->removal == NO_ANSWER)
        judge(n, result, ask->data);
    else if (name->removal == 0 && result >= 0 && !is_ghost)
        violation(n, "there although it was removed", result, 0);
    if (name->claim[0] == 0 && name->claim[1] == 0)
        violation(n, "two winners", 0, 0);
}

/* Those of a folder: every fourth name. */
static void check_folder(struct ask ask[AT_ONCE], uint32_t folder,
                         const struct store_names *listed)
{
    const uint32_t end = rounds * ROUND;

    for (uint32_t first = folder; first < end; first += 4 * AT_ONCE) {
        uint32_t left = 0, n = first;

        for (uint32_t i = 0; i < AT_ONCE && n < end; i++, n += 4) {
            ask_prepare(&ask[i], n,
                        claim_is_blob(n) ? STORE_BLOB_GET : STORE_GET);
            submit(THIRD, &ask[i], &left);
        }
        wait_for(&left);
        n = first;
        for (uint32_t i = 0; i < AT_ONCE && n < end; i++, n += 4)
            check_name(&ask[i], n, listed);
    }
}

static void check_all(struct ask ask[AT_ONCE])
{
    for (uint32_t folder = 0; folder < 4; folder++) {
        char text[32];
        struct store_req list = {.op = STORE_LIST, .name = text};

        (void)snprintf(text, sizeof text, "runs/r%" PRIu32, folder);
        if (store_run(store[THIRD], &list) < 0) {
            violation(folder, "a folder cannot be listed", list.result, 0);
            continue;
        }
        check_folder(ask, folder, &list.names);
        store_names_free(&list.names);
    }
}

/* The threads of librados stay where they were made. */
static struct store *open_there(const char *netns)
{
    int there = open(netns, O_RDONLY | O_CLOEXEC);

    if (there < 0 || setns(there, CLONE_NEWNET) < 0) {
        (void)fprintf(stderr, "ceph_load: %s: %m\n", netns);
        exit(2);
    }
    (void)close(there);
    return claims_open(1);
}

/* The clients, and what they need. */
static void start(struct ask ask[AT_ONCE], char **netns)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    names = calloc((size_t)CLAIM_ROUNDS_MAX * ROUND, sizeof *names);
    assert(names && fd >= 0);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        store[c] = netns ? open_there(netns[c]) : claims_open(1);
        for (uint32_t i = 0; i < ROUND; i++) {
            ask[c * ROUND + i].data = malloc(CLAIM_BYTES_MAX);
            assert(ask[c * ROUND + i].data);
        }
    }
    if (netns && setns(fd, CLONE_NEWNET) < 0)
        exit(2);
    (void)close(fd);
}

int main(int argc, char **argv)
{
    static struct ask ask[AT_ONCE];
    struct claims_round *round = claims_round();

    if (signal(SIGTERM, told) == SIG_ERR || setvbuf(stdout, NULL, _IOLBF, 0))
        return 2;
    start(ask, argc > CLIENTS ? argv + 1 : NULL);
    while (!is_told && rounds < CLAIM_ROUNDS_MAX) {
        atomic_store(&round->number, rounds);
        one_round(ask);
    }
    store[THIRD] = claims_open(10);
    check_all(ask);
    (void)printf("# figure: %" PRIu32 " names, %" PRIu64 " requests, %" PRIu64
                 " without an answer, %" PRIu64 " refused as full, %" PRIu64
                 " names of a dead client's, the longest %" PRIu64
                 " ms, %" PRIu64 " violations\n",
                 rounds * ROUND, answers, open_ends, refusals, ghosts,
                 longest_ms, violations);
    store_close(store[THIRD]);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        store_close(store[c]);
        for (uint32_t i = 0; i < ROUND; i++)
            free(ask[c * ROUND + i].data);
    }
    free(names);
    return violations > 0;
}
