/*
 * test_store_nfs.c - the file store where a home is shared: two machines, each
 * with a mount of its own that misbehaves as NFS does (tests/nfs/double.h).
 *
 * Each case checks by the double's counters that what it is about did happen.
 *
 * With CKPT_TEST_NFS=DIR the machines are DIR/a and DIR/b instead, two mounts
 * of a real server's folder DIR/server. What only the double can be told to do
 * is left out then.
 */
#include "storage/store_file.h"
#include "tests/lib/store_kinds.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#define NODES 2

struct pair {
    char base[512];
    bool is_real;
    struct nfs_mount mount[NODES];
    struct store *store[NODES];
};

static bool is_long(void)
{
    return getenv("CKPT_TEST_LONG") != NULL;
}

static void turn(struct pair *p, enum nfs_knob k, uint32_t value)
{
    for (size_t i = 0; i < NODES; i++)
        p->mount[i].control->knob[k] = value;
}

static uint32_t counted(const struct pair *p, enum nfs_knob k)
{
    return p->mount[0].control->count[k] + p->mount[1].control->count[k];
}

/* Clients that remember all that they may. */
static void remember(struct pair *p)
{
    turn(p, NFS_ABSENCE_MS, 60000);
    turn(p, NFS_PRESENCE_MS, 60000);
    turn(p, NFS_ATTR_MS, 60000);
    turn(p, NFS_LIST_MS, 60000);
}

/* That something happened; of a real server nobody can tell. */
static void assert_happened(const struct pair *p, bool has_happened)
{
    assert_true(p->is_real || has_happened);
}

static int open_store(const char *dir, struct store **out, struct err *err)
{
    return store_file_open(dir, STORE_OPEN_WRITE, STORE_ENGINE_AUTO, out, err);
}

/* A folder of its own on the real server. */
static void setup_real(struct pair *p, const char *dir)
{
    static struct nfs_control unheard[NODES];
    static const char *const names[NODES] = {"a", "b"};
    char path[512];

    (void)snprintf(path, sizeof path, "%s/server/XXXXXX", dir);
    assert_non_null(mkdtemp(path));
    (void)snprintf(p->base, sizeof p->base, "%s", path);
    for (size_t i = 0; i < NODES; i++) {
        p->mount[i].control = &unheard[i];
        (void)snprintf(p->mount[i].at, sizeof p->mount[i].at, "%s/%s/%s", dir,
                       names[i], strrchr(path, '/') + 1);
    }
    p->is_real = true;
}

static int setup_mounts(void **state)
{
    const char *real = getenv("CKPT_TEST_NFS");
    struct pair *p = calloc(1, sizeof *p);

    assert_non_null(p);
    *state = p;
    if (real) {
        setup_real(p, real);
        return 0;
    }
    make_dir(p->base, sizeof p->base);
    assert_int_equal(nfs_mount(&p->mount[0], p->base, "a"), 0);
    assert_int_equal(nfs_mount(&p->mount[1], p->base, "b"), 0);
    return 0;
}

static int setup(void **state)
{
    struct err err;
    struct pair *p;

    assert_int_equal(setup_mounts(state), 0);
    p = *state;
    for (size_t i = 0; i < NODES; i++) {
        if (open_store(p->mount[i].at, &p->store[i], &err) < 0)
            fail_msg("%s", err.text);
    }
    remember(p);
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    for (size_t i = 0; i < NODES; i++)
        store_close(p->store[i]);
    for (size_t i = 0; i < NODES && !p->is_real; i++)
        nfs_unmount(&p->mount[i]);
    remove_tree(p->base);
    free(p);
    return 0;
}

static void on_server(const struct pair *p, const char *name, char *path,
                      size_t capacity)
{
    (void)snprintf(path, capacity, p->is_real ? "%s/%s" : "%s/server/%s",
                   p->base, name);
}

/* What the server has under a name; NULL if nothing. Freed by the caller. */
static char *read_server(const struct pair *p, const char *name)
{
    char path[1024], *text = calloc(1, 256);
    int fd;

    assert_non_null(text);
    on_server(p, name, path, sizeof path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        free(text);
        return NULL;
    }
    assert_true(read(fd, text, 255) >= 0);
    (void)close(fd);
    return text;
}

/* Files with a hidden name anywhere on the server. */
static int hidden;

static int count_hidden(const char *path, const struct stat *stat, int type,
                        struct FTW *at)
{
    (void)stat;
    hidden += type == FTW_F && path[at->base] == '.';
    return 0;
}

static int hidden_files(const struct pair *p)
{
    char path[1024];

    on_server(p, "", path, sizeof path);
    hidden = 0;
    assert_int_equal(nftw(path, count_hidden, 16, FTW_PHYS), 0);
    return hidden;
}

/*
 * What a folder must have.
 */

static void assert_refused(struct pair *p, enum nfs_knob knob, uint32_t value,
                           int code, const char *word)
{
    struct store *store;
    struct err err;

    turn(p, knob, value);
    assert_int_equal(open_store(p->mount[0].at, &store, &err), code);
    assert_non_null(strstr(err.text, word));
    assert_non_null(strstr(err.text, p->mount[0].at));
    turn(p, knob, 0);
    assert_int_equal(hidden_files(p), 0);
    assert_int_equal(open_store(p->mount[0].at, &store, &err), 0);
    store_close(store);
}

static void what_a_folder_cannot_do_is_named(void **state)
{
    struct pair *p = *state;

    assert_refused(p, NFS_NO_LINK, EOPNOTSUPP, -EOPNOTSUPP,
                   "hard links do not work");
    assert_refused(p, NFS_NO_LINK, EPERM, -EOPNOTSUPP,
                   "hard links do not work");
    assert_refused(p, NFS_NO_LOCK, ENOLCK, -ENOLCK, "file locks (flock)");
    assert_refused(p, NFS_LAX_LOCK, 1, -ENOLCK, "file locks (flock)");
    turn(p, NFS_ABSENCE_MS, 60000);
    assert_refused(p, NFS_OVERWRITES, 1, -EOPNOTSUPP,
                   "link() does not refuse a name that exists");
    assert_refused(p, NFS_TWO_INODES, 1, -EOPNOTSUPP, "different inodes");
    assert_refused(p, NFS_NO_CREATE, EACCES, -EACCES, "Permission denied");
    assert_true(counted(p, NFS_OVERWRITES) > 0);
}

static void a_server_that_squashes_root_is_explained(void **state)
{
    struct pair *p = *state;
    struct store *store;
    struct err err;

    if (geteuid() != 0) {
        print_message("needs root, which is squashed\n");
        skip();
    }
    turn(p, NFS_NO_CREATE, EACCES);
    assert_int_equal(open_store(p->mount[0].at, &store, &err), -EACCES);
    assert_non_null(strstr(err.text, "squash root"));
}

/* Answers that get lost are no reason to refuse. */
static void a_bad_network_is_no_reason_to_refuse(void **state)
{
    struct pair *p = *state;
    struct store *store;
    struct err err;

    turn(p, NFS_LOST_LINK, 1000);
    turn(p, NFS_LOST_CREATE, 300);
    remember(p);
    for (uint32_t i = 0; i < 40; i++) {
        if (open_store(p->mount[i % NODES].at, &store, &err) < 0)
            fail_msg("%s", err.text);
        store_close(store);
    }
    assert_true(counted(p, NFS_LOST_LINK) >= 40);
    assert_true(counted(p, NFS_LOST_CREATE) > 0);
}

static void a_local_store_is_refused_there(void **state)
{
    struct pair *p = *state;
    struct store *store;
    struct err err;

    assert_int_equal(store_file_open(p->mount[0].at,
                                     STORE_OPEN_WRITE | STORE_OPEN_LOCAL,
                                     STORE_ENGINE_AUTO, &store, &err),
                     -EREMOTE);
    assert_non_null(strstr(err.text, "local disk"));
}

static void temporaries_of_living_machines_stay(void **state)
{
    struct pair *p = *state;
    char path[1024];
    struct store *store;
    struct err err;
    int alive, dead;

    (void)snprintf(path, sizeof path, "%s/.tmp-alive", p->mount[0].at);
    alive = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    (void)snprintf(path, sizeof path, "%s/.tmp-dead", p->mount[0].at);
    dead = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(alive >= 0 && dead >= 0);
    assert_int_equal(flock(alive, LOCK_EX), 0);
    assert_int_equal(open_store(p->mount[1].at, &store, &err), 0);
    store_close(store);
    assert_null(read_server(p, ".tmp-dead"));
    free(read_server(p, ".tmp-alive"));
    assert_int_equal(hidden_files(p), 1);
    (void)close(alive);
    (void)close(dead);
}

/*
 * Who has won.
 */

#define ROUND 32

struct race {
    struct store_req req[NODES][ROUND];
    char name[ROUND][64];
    char text[NODES][ROUND][64];
    size_t ended;
};

static void race_done(struct store_req *req, int64_t result)
{
    struct race *race = req->owner;

    (void)result;
    race->ended++;
}

static void wait_all(struct pair *p, const size_t *ended, size_t count)
{
    while (*ended < count)
        for (size_t k = 0; k < NODES; k++) {
            int rc = store_poll(p->store[k], 1);

            assert_true(rc == 0 || rc == -EINTR);
        }
}

/* Both machines create the same names at once, each with its own words, or all
 * with the same. */
static void race_run(struct pair *p, struct race *race, uint32_t round,
                     bool is_same)
{
    memset(race, 0, sizeof *race);
    for (size_t i = 0; i < ROUND; i++) {
        (void)snprintf(race->name[i], sizeof race->name[i],
                       "runs/r%u/of/%u/%03zu", round % 3, round, i);
        for (size_t k = 0; k < NODES; k++) {
            (void)snprintf(race->text[k][i], sizeof race->text[k][i],
                           "round %u, record %zu, by machine %zu", round, i,
                           is_same ? 0 : k);
            race->req[k][i] =
                (struct store_req){.op = STORE_PUT,
                                   .name = race->name[i],
                                   .buf = race->text[k][i],
                                   .len = strlen(race->text[k][i]),
                                   .done = race_done,
                                   .owner = race};
        }
    }
    for (size_t i = 0; i < ROUND; i++)
        for (size_t k = 0; k < NODES; k++)
            store_submit(p->store[(k + i) % NODES],
                         &race->req[(k + i) % NODES][i]);
    wait_all(p, &race->ended, (size_t)ROUND * NODES);
}

/* The double has a descriptor for each file that a kernel knows. */
static uint32_t races(void)
{
    return is_long() ? 400 : 24;
}

/* The oracle: one is told 0 and all others EEXIST, and what is on the server
 * is the winner's. */
static void judge_exact(struct pair *p, const struct race *race)
{
    for (size_t i = 0; i < ROUND; i++) {
        int64_t a = race->req[0][i].result, b = race->req[1][i].result;
        char *there = read_server(p, race->name[i]);

        if (!((a == 0 && b == -EEXIST) || (a == -EEXIST && b == 0)))
            fail_msg("%s: told %d and %d", race->name[i], (int)a, (int)b);
        assert_non_null(there);
        assert_string_equal(there, race->text[a == 0 ? 0 : 1][i]);
        free(there);
    }
}

static void race_exactly(struct pair *p, bool is_same)
{
    struct race *race = malloc(sizeof *race);
    uint32_t won = 0;

    assert_non_null(race);
    turn(p, NFS_LOST_LINK, 400);
    turn(p, NFS_LOST_UNLINK, 300);
    for (uint32_t round = 0; round < races(); round++) {
        /* That a folder or a temporary could not be made is another case's. */
        turn(p, NFS_ONLY_EEXIST, round % 2);
        turn(p, NFS_LOST_CREATE, round % 2 ? 50 : 0);
        turn(p, NFS_LOST_MKDIR, round % 2 ? 300 : 0);
        race_run(p, race, round, is_same);
        judge_exact(p, race);
        for (size_t i = 0; i < ROUND; i++)
            won += race->req[0][i].result == 0;
    }
    print_message("# figure: %u names, each created by one of two machines "
                  "(%u by the first); %u answers lost, %u link counts and %u "
                  "absences stale\n",
                  races() * ROUND, won, counted(p, NFS_LOST_LINK),
                  counted(p, NFS_ATTR_MS), counted(p, NFS_ABSENCE_MS));
    assert_true(won > 0 && won < races() * ROUND);
    assert_happened(p, counted(p, NFS_LOST_LINK) > races() * ROUND / 10);
    assert_happened(p, counted(p, NFS_LOST_MKDIR) > 0);
    assert_happened(p, counted(p, NFS_LOST_CREATE) > 0);
    assert_happened(p, counted(p, NFS_ABSENCE_MS) > 0);
    free(race);
    turn(p, NFS_LOST_UNLINK, 0);
}

static void of_two_machines_exactly_one_creates_a_name(void **state)
{
    race_exactly(*state, false);
}

static void even_of_two_that_write_the_same(void **state)
{
    race_exactly(*state, true);
}

/* Some answers are EIO or ETIMEDOUT: a link that was carried out, or was not,
 * or will be. Nobody may be told what is not so, and by the next PUT all is
 * clear. */
static void judge_unknown(struct pair *p, const struct race *race, size_t i)
{
    int64_t a = race->req[0][i].result, b = race->req[1][i].result;
    char *there = read_server(p, race->name[i]);
    bool is_first = there && strcmp(there, race->text[0][i]) == 0;

    if (!there) {
        assert_true(a < 0 && b < 0 && a != -EEXIST && b != -EEXIST);
        return;
    }
    assert_true(is_first || strcmp(there, race->text[1][i]) == 0);
    assert_true((is_first ? a : b) != -EEXIST);
    assert_true((is_first ? b : a) != 0);
    free(there);
}

static void what_is_told_is_so_whatever_gets_lost(void **state)
{
    struct pair *p = *state;
    struct race *race = malloc(sizeof *race);
    uint32_t unknown = 0;

    assert_non_null(race);
    for (uint32_t round = 0; round < races() / 2; round++) {
        turn(p, NFS_LOST_LINK, 300);
        turn(p, NFS_FAIL_LINK, 200);
        turn(p, NFS_LATE_LINK, 200);
        turn(p, NFS_LOST_MKDIR, 200);
        turn(p, NFS_LOST_CREATE, 50);
        race_run(p, race, round, false);
        turn(p, NFS_LOST_LINK, 0);
        turn(p, NFS_FAIL_LINK, 0);
        turn(p, NFS_LATE_LINK, 0);
        turn(p, NFS_LOST_MKDIR, 0);
        turn(p, NFS_LOST_CREATE, 0);
        for (size_t i = 0; i < ROUND; i++) {
            judge_unknown(p, race, i);
            unknown +=
                race->req[0][i].result < 0 && race->req[0][i].result != -EEXIST;
        }
        for (size_t i = 0; i < ROUND; i++) {
            int64_t now = do_put(p->store[0], race->name[i], "later");
            char *there = read_server(p, race->name[i]);

            assert_true(now == 0 || now == -EEXIST);
            assert_non_null(there);
            assert_int_equal(now == 0, strcmp(there, "later") == 0);
            free(there);
        }
    }
    print_message("# figure: %u of %u outcomes were unknown; %u links came "
                  "late\n",
                  unknown, races() / 2 * ROUND, counted(p, NFS_LATE_LINK));
    assert_happened(p, unknown > 0);
    assert_happened(p, counted(p, NFS_LATE_LINK) > 0);
    assert_happened(p, counted(p, NFS_FAIL_LINK) > 0);
    free(race);
}

/*
 * What other machines do is seen.
 */

static bool lists(struct store *store, const char *folder, const char *name)
{
    struct store_req req = {.op = STORE_LIST, .name = folder};
    bool found = false;

    assert_int_equal(store_run(store, &req), 0);
    for (size_t i = 0; i < req.names.count; i++)
        found = found || strcmp(req.names.name[i], name) == 0;
    store_names_free(&req.names);
    return found;
}

static int64_t stat_of(struct store *store, const char *name)
{
    return do_record(store, STORE_STAT, name, NULL, 0);
}

/* An opener closes a generation and then looks for intents; a daemon makes an
 * intent and then looks whether the generation is closed. One of them must see
 * the other, whatever each has seen before. */
static void whoever_writes_first_is_seen_by_whoever_looks_then(void **state)
{
    struct pair *p = *state;
    char closed[64], intent[64], leaf[16];

    for (uint32_t g = 0; g < 60; g++) {
        (void)snprintf(leaf, sizeof leaf, "%u", g);
        (void)snprintf(closed, sizeof closed, "runs/%u/closed/%u", g / 4, g);
        (void)snprintf(intent, sizeof intent, "runs/%u/intent/%u", g / 4, g);
        for (uint32_t i = 0; i < 2; i++) {
            char folder[64];

            assert_null(do_get(p->store[0], closed));
            assert_int_equal(stat_of(p->store[1], intent), -ENOENT);
            (void)snprintf(folder, sizeof folder, "runs/%u/intent", g / 4);
            assert_false(lists(p->store[1], folder, leaf));
        }
        assert_int_equal(do_put(p->store[g % 2], closed, "closed"), 0);
        assert_int_equal(do_put(p->store[1 - g % 2], intent, "intent"), 0);
        for (size_t k = 0; k < NODES; k++) {
            char folder[64];

            assert_record(p->store[k], closed, "closed");
            assert_int_equal(stat_of(p->store[k], intent), 6);
            (void)snprintf(folder, sizeof folder, "runs/%u/intent", g / 4);
            assert_true(lists(p->store[k], folder, leaf));
        }
    }
    assert_happened(p, counted(p, NFS_ABSENCE_MS) > 0);
}

static void what_another_machine_removed_is_gone(void **state)
{
    struct pair *p = *state;
    char text[16];

    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(do_put(p->store[0], "pin/x", "first"), 0);
        assert_record(p->store[1], "pin/x", "first");
        assert_true(lists(p->store[1], "pin", "x"));
        assert_int_equal(do_record(p->store[0], STORE_REMOVE, "pin/x", NULL, 0),
                         0);
        assert_int_equal(
            do_record(p->store[1], STORE_GET, "pin/x", text, sizeof text),
            -ENOENT);
        assert_false(lists(p->store[1], "pin", "x"));
        assert_int_equal(do_record(p->store[1], STORE_REMOVE, "pin/x", NULL, 0),
                         -ENOENT);
        assert_int_equal(do_put(p->store[1], "pin/x", "second"), 0);
        assert_record(p->store[0], "pin/x", "second");
        assert_int_equal(do_record(p->store[0], STORE_REMOVE, "pin/x", NULL, 0),
                         0);
    }
    assert_happened(p, counted(p, NFS_PRESENCE_MS) > 0);
    assert_happened(p, counted(p, NFS_STALE) > 0);
}

/* The one that knows it to be absent removes it. */
static void a_removal_is_of_what_is_there(void **state)
{
    struct pair *p = *state;

    assert_int_equal(do_record(p->store[0], STORE_REMOVE, "tomb/y", NULL, 0),
                     -ENOENT);
    assert_int_equal(do_put(p->store[1], "tomb/y", "y"), 0);
    assert_int_equal(do_record(p->store[0], STORE_REMOVE, "tomb/y", NULL, 0),
                     0);
    assert_null(read_server(p, "tomb/y"));
}

/* A name that cannot be looked at is not left out: the listing fails. */
static void a_listing_is_whole_or_fails(void **state)
{
    struct pair *p = *state;
    uint32_t failed = 0;
    char name[32];

    for (uint32_t i = 0; i < 30; i++) {
        (void)snprintf(name, sizeof name, "l/%02u", i);
        assert_int_equal(do_put(p->store[0], name, "x"), 0);
    }
    for (uint32_t i = 0; i < 60; i++) {
        struct store_req req = {.op = STORE_LIST, .name = "l"};
        int64_t result;

        turn(p, NFS_FAIL_LOOKUP, 150); /* the kernel asks twice */
        result = store_run(p->store[1], &req);
        turn(p, NFS_FAIL_LOOKUP, 0);
        failed += result == -EIO;
        assert_true(result == -EIO || (result == 0 && req.names.count == 30));
        store_names_free(&req.names);
    }
    assert_true(failed > 0 && failed < 60);
}

/*
 * Writes that fail late.
 */

static void check_late_failure(struct pair *p, enum nfs_knob when, int error)
{
    static uint8_t page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
    uint32_t told = counted(p, when);
    struct store_seg *seg;

    turn(p, NFS_FAIL_ERRNO, (uint32_t)error);
    turn(p, when, 1000);
    assert_int_equal(do_put(p->store[0], "r/late", "lost"), -error);
    turn(p, when, 0);
    assert_null(do_get(p->store[0], "r/late"));
    assert_null(read_server(p, "r/late"));
    assert_int_equal(do_open(p->store[0], "s/late",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, 8 * PAGE_BYTES,
                             &seg),
                     8 * PAGE_BYTES);
    turn(p, when, 1000);
    assert_int_equal(do_io(p->store[0], STORE_WRITE, seg, page, PAGE_BYTES, 0),
                     PAGE_BYTES);
    assert_int_equal(do_seg(p->store[0], STORE_SYNC, seg, 0), -error);
    turn(p, when, 0);
    assert_int_equal(do_seg(p->store[0], STORE_SYNC, seg, 0), -EIO);
    assert_int_equal(do_seg(p->store[0], STORE_SEG_CLOSE, seg, 0), 0);
    assert_int_equal(
        do_record(p->store[0], STORE_SEG_REMOVE, "s/late", NULL, 0), 0);
    assert_true(counted(p, when) >= told + 2);
}

static void a_write_that_fails_at_sync_is_told(void **state)
{
    check_late_failure(*state, NFS_FAIL_SYNC, ENOSPC);
    check_late_failure(*state, NFS_FAIL_SYNC, EDQUOT);
    check_late_failure(*state, NFS_FAIL_SYNC, EIO);
}

static void a_write_that_fails_at_close_is_told(void **state)
{
    check_late_failure(*state, NFS_FAIL_CLOSE, ENOSPC);
    check_late_failure(*state, NFS_FAIL_CLOSE, EDQUOT);
    check_late_failure(*state, NFS_FAIL_CLOSE, EIO);
}

/*
 * Segments.
 */

static void one_machine_writes_a_segment(void **state)
{
    struct pair *p = *state;
    struct store_seg *seg, *other;

    assert_int_equal(do_open(p->store[1], "s/1", STORE_SEG_WRITE, 0, &other),
                     -ENOENT);
    assert_int_equal(do_open(p->store[0], "s/1",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, 65536, &seg),
                     65536);
    assert_int_equal(do_open(p->store[1], "s/1", STORE_SEG_WRITE, 0, &other),
                     -EAGAIN);
    assert_int_equal(do_open(p->store[1], "s/1", 0, 0, &other), -EAGAIN);
    assert_int_equal(do_open(p->store[1], "s/1",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, 65536, &other),
                     -EEXIST);
    assert_int_equal(hidden_files(p), 0);
    assert_int_equal(do_seg(p->store[0], STORE_SEG_CLOSE, seg, 0), 0);
    assert_int_equal(do_open(p->store[1], "s/1", STORE_SEG_WRITE, 0, &other),
                     65536);
    assert_int_equal(do_open(p->store[0], "s/1", 0, 0, &seg), -EAGAIN);
    assert_int_equal(do_seg(p->store[1], STORE_SEG_CLOSE, other, 0), 0);
}

static void without_reservations_a_segment_says_so(void **state)
{
    struct pair *p = *state;
    struct store_seg *seg;
    char text[1024];

    store_describe(p->store[0], text, sizeof text);
    assert_non_null(strstr(text, ", shared"));
    assert_non_null(strstr(text, "named temporaries"));
    assert_null(strstr(text, "no space reserved"));
    turn(p, NFS_NO_FALLOCATE, EOPNOTSUPP);
    assert_int_equal(do_open(p->store[0], "s/1",
                             STORE_SEG_WRITE | STORE_SEG_CREATE, 65536, &seg),
                     65536);
    assert_int_equal(do_seg(p->store[0], STORE_SEG_CLOSE, seg, 0), 0);
    store_describe(p->store[0], text, sizeof text);
    assert_non_null(strstr(text, "no space reserved"));
    assert_happened(p, counted(p, NFS_NO_FALLOCATE) > 0);
}

static void nothing_hidden_stays(void **state)
{
    struct pair *p = *state;
    struct store_seg *seg;
    char name[32];

    for (uint32_t i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "h/%u", i);
        assert_int_equal(do_put(p->store[i % 2], name, "x"), 0);
        assert_int_equal(do_put(p->store[1 - i % 2], name, "y"), -EEXIST);
        (void)snprintf(name, sizeof name, "s/%u", i);
        assert_int_equal(do_open(p->store[i % 2], name,
                                 STORE_SEG_WRITE | STORE_SEG_CREATE, 4096,
                                 &seg),
                         4096);
    }
    assert_int_equal(hidden_files(p), 0);
    assert_int_equal(counted(p, NFS_SILLY), 0);
}

/*
 * The double itself.
 */

/* On the server, as another machine that is quick. */
static pid_t start_removing(const char *file, const char *folder)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid)
        return pid;
    for (;;) {
        (void)unlink(file);
        (void)rmdir(folder);
    }
}

static void what_is_removed_while_it_is_made_ends_no_machine(void **state)
{
    struct pair *p = *state;
    char file[1024], folder[1024], gone_file[1024], gone_folder[1024];
    struct stat attr;
    pid_t other;

    (void)snprintf(file, sizeof file, "%s/file", p->mount[0].at);
    (void)snprintf(folder, sizeof folder, "%s/folder", p->mount[0].at);
    on_server(p, "file", gone_file, sizeof gone_file);
    on_server(p, "folder", gone_folder, sizeof gone_folder);
    other = start_removing(gone_file, gone_folder);
    for (uint32_t i = 0; i < 2000; i++) {
        int fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

        if (fd >= 0)
            (void)close(fd);
        (void)mkdir(folder, 0700);
    }
    assert_int_equal(kill(other, SIGKILL), 0);
    assert_int_equal(waitpid(other, NULL, 0), other);
    assert_int_equal(stat(p->mount[0].at, &attr), 0);
}

#define ON_MOUNTS(name)                                                        \
    cmocka_unit_test_setup_teardown(name, setup_mounts, teardown)
#define ON_STORES(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_MOUNTS(what_a_folder_cannot_do_is_named),
        ON_MOUNTS(a_server_that_squashes_root_is_explained),
        ON_MOUNTS(a_bad_network_is_no_reason_to_refuse),
        ON_MOUNTS(a_local_store_is_refused_there),
        ON_MOUNTS(temporaries_of_living_machines_stay),
        ON_STORES(of_two_machines_exactly_one_creates_a_name),
        ON_STORES(even_of_two_that_write_the_same),
        ON_STORES(what_is_told_is_so_whatever_gets_lost),
        ON_STORES(whoever_writes_first_is_seen_by_whoever_looks_then),
        ON_STORES(what_another_machine_removed_is_gone),
        ON_STORES(a_removal_is_of_what_is_there),
        ON_STORES(a_listing_is_whole_or_fails),
        ON_STORES(a_write_that_fails_at_sync_is_told),
        ON_STORES(a_write_that_fails_at_close_is_told),
        ON_STORES(one_machine_writes_a_segment),
        ON_STORES(without_reservations_a_segment_says_so),
        ON_STORES(nothing_hidden_stays),
        ON_STORES(what_is_removed_while_it_is_made_ends_no_machine),
    };
    static const struct CMUnitTest on_real[] = {
        ON_MOUNTS(a_local_store_is_refused_there),
        ON_MOUNTS(temporaries_of_living_machines_stay),
        ON_STORES(of_two_machines_exactly_one_creates_a_name),
        ON_STORES(even_of_two_that_write_the_same),
        ON_STORES(whoever_writes_first_is_seen_by_whoever_looks_then),
        ON_STORES(what_another_machine_removed_is_gone),
        ON_STORES(a_removal_is_of_what_is_there),
        ON_STORES(one_machine_writes_a_segment),
        ON_STORES(nothing_hidden_stays),
    };
    static const struct CMUnitTest instead[] = {cmocka_unit_test(no_nfs)};
    char why[256];

    if (getenv("CKPT_TEST_NFS"))
        return cmocka_run_group_tests(on_real, NULL, NULL);
    if (nfs_is_possible(why, sizeof why))
        return cmocka_run_group_tests(tests, NULL, NULL);
    return cmocka_run_group_tests(instead, NULL, NULL);
}
