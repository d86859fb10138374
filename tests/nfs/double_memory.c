/*
 * double_memory.c - what the double knows, remembers, and does wrong: see
 * double_internal.h. Memory that runs out ends it.
 */
#include "tests/nfs/double_internal.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS  4096
#define LATE_MAX 1024

struct late {
    int fd, dir_fd;
    char name[256];
    int64_t due_ms;
};

struct node nodes_root = {.is_folder = true, .lookups = 1};

static struct node *bucket[BUCKETS];
static struct late late[LATE_MAX];
static uint32_t late_count;
static struct nfs_control *control;
static uint64_t random_state;

const char *const nfs_knob_names[NFS_KNOB_COUNT] = {
    [NFS_LOST_LINK] = "lost-link",
    [NFS_LOST_CREATE] = "lost-create",
    [NFS_LOST_MKDIR] = "lost-mkdir",
    [NFS_LOST_UNLINK] = "lost-unlink",
    [NFS_ONLY_EEXIST] = "only-eexist",
    [NFS_FAIL_LINK] = "fail-link",
    [NFS_FAIL_LOOKUP] = "fail-lookup",
    [NFS_LATE_LINK] = "late-link",
    [NFS_FAIL_SYNC] = "fail-sync",
    [NFS_FAIL_CLOSE] = "fail-close",
    [NFS_FAIL_ERRNO] = "fail-errno",
    [NFS_ABSENCE_MS] = "absence-ms",
    [NFS_PRESENCE_MS] = "presence-ms",
    [NFS_ATTR_MS] = "attr-ms",
    [NFS_LIST_MS] = "list-ms",
    [NFS_NO_LINK] = "no-link",
    [NFS_NO_LOCK] = "no-lock",
    [NFS_LAX_LOCK] = "lax-lock",
    [NFS_NO_FALLOCATE] = "no-fallocate",
    [NFS_NO_CREATE] = "no-create",
    [NFS_OVERWRITES] = "overwrites",
    [NFS_TWO_INODES] = "two-inodes",
    [NFS_SEED] = "seed",
    [NFS_SILLY] = "silly",
    [NFS_STALE] = "stale",
};

/*
 * Control.
 */

static bool set_knob(const char *setting)
{
    const char *equals = strchr(setting, '=');
    size_t bytes = equals ? (size_t)(equals - setting) : 0;

    for (size_t i = 0; equals && i < NFS_KNOB_COUNT; i++) {
        if (strlen(nfs_knob_names[i]) != bytes ||
            strncmp(nfs_knob_names[i], setting, bytes) != 0)
            continue;
        control->knob[i] = (uint32_t)strtoul(equals + 1, NULL, 10);
        return true;
    }
    (void)fprintf(stderr, "nfs_double: no knob: %s\n", setting);
    return false;
}

bool control_open(const char *path, char **settings)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, sizeof *control) < 0) {
        perror(path);
        return false;
    }
    control =
        mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert(control != MAP_FAILED);
    (void)close(fd);
    for (; *settings; settings++)
        if (!set_knob(*settings))
            return false;
    random_state = knob(NFS_SEED);
    return true;
}

void control_print(void)
{
    for (size_t i = 0; i < NFS_KNOB_COUNT; i++)
        if (control->count[i])
            (void)printf("%s %u\n", nfs_knob_names[i], control->count[i]);
}

uint32_t knob(enum nfs_knob k)
{
    return control->knob[k];
}

void count(enum nfs_knob k)
{
    control->count[k]++;
}

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

bool happens(enum nfs_knob k)
{
    if (knob(k) == 0 || next_random() % 1000 >= knob(k))
        return false;
    count(k);
    return true;
}

int lost_answer(enum nfs_knob k, int repetition)
{
    const int answers[] = {repetition, EIO, ETIMEDOUT};

    if (!happens(k))
        return 0;
    return answers[knob(NFS_ONLY_EEXIST) ? 0 : next_random() % 3];
}

int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Nodes.
 */

static struct node **bucket_of(dev_t dev, ino_t ino)
{
    return &bucket[(ino * 31 + dev) % BUCKETS];
}

struct node *node_get(int fd)
{
    static ino_t shown = 1;
    struct node **at, *n;
    struct stat attr;
    int rc = fstat(fd, &attr);

    assert(rc == 0);
    at = bucket_of(attr.st_dev, attr.st_ino);
    for (n = *at; n && !knob(NFS_TWO_INODES); n = n->next) {
        if (n->ino == attr.st_ino && n->dev == attr.st_dev) {
            (void)close(fd);
            return n;
        }
    }
    n = calloc(1, sizeof *n);
    assert(n);
    *n = (struct node){.next = *at,
                       .fd = fd,
                       .dev = attr.st_dev,
                       .ino = attr.st_ino,
                       .shown_ino = knob(NFS_TWO_INODES) ? ++shown : 0,
                       .is_folder = S_ISDIR(attr.st_mode)};
    *at = n;
    return n;
}

void node_put(struct node *n)
{
    struct node **at = bucket_of(n->dev, n->ino);

    if (n->lookups > 0 || n->opens > 0 || n->remembered > 0)
        return;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    names_forget(n);
    listing_drop(n->listing);
    (void)close(n->fd);
    free(n);
}

/* FNV-1a */
uint64_t name_of(const struct node *dir, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325 ^ dir->ino;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3;
    return hash;
}

/*
 * Folders.
 */

void listing_drop(struct listing *l)
{
    if (!l || --l->holders > 0)
        return;
    for (size_t i = 0; i < l->count; i++)
        free(l->name[i]);
    free(l->name);
    free(l->ino);
    free(l);
}

static void memory_free(struct memory *m)
{
    if (m->node) {
        m->node->remembered--;
        node_put(m->node);
    }
    free(m);
}

void names_forget(struct node *dir)
{
    while (dir->memories) {
        struct memory *first = dir->memories;

        dir->memories = first->next;
        memory_free(first);
    }
    if (dir->listing)
        dir->listing->seen_ms = INT64_MIN / 2;
}

static struct memory **find_memory(struct node *dir, const char *name)
{
    struct memory **at = &dir->memories;

    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

void names_forget_one(struct node *dir, const char *name)
{
    struct memory **at = find_memory(dir, name), *found = *at;

    if (!found)
        return;
    *at = found->next;
    memory_free(found);
}

bool names_remember(struct node *dir, const char *name, struct node **n)
{
    const struct memory *found = *find_memory(dir, name);
    enum nfs_knob k = found && found->node ? NFS_PRESENCE_MS : NFS_ABSENCE_MS;
    struct stat now;
    bool is_there;

    if (!found)
        return false;
    if (now_ms() - found->seen_ms >= knob(k)) {
        names_forget_one(dir, name);
        return false;
    }
    is_there = fstatat(dir->fd, name, &now, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there ? !found->node || now.st_ino != found->node->ino
                 : found->node != NULL)
        count(k); /* it is otherwise, in truth */
    *n = found->node;
    return true;
}

void names_add(struct node *dir, const char *name, struct node *n)
{
    struct memory *new;

    if (knob(n ? NFS_PRESENCE_MS : NFS_ABSENCE_MS) == 0)
        return;
    names_forget_one(dir, name);
    new = calloc(1, sizeof *new);
    assert(new);
    (void)snprintf(new->name, sizeof new->name, "%s", name);
    new->seen_ms = now_ms();
    new->node = n;
    if (n)
        n->remembered++;
    new->next = dir->memories;
    dir->memories = new;
}

static void listing_add(struct listing *l, const struct dirent *entry)
{
    if (l->count == l->capacity) {
        l->capacity = 2 * l->capacity + 64;
        l->name = realloc(l->name, l->capacity * sizeof *l->name);
        l->ino = realloc(l->ino, l->capacity * sizeof *l->ino);
        assert(l->name && l->ino);
    }
    l->name[l->count] = strdup(entry->d_name);
    l->ino[l->count] = entry->d_ino;
    assert(l->name[l->count]);
    l->count++;
}

static struct listing *listing_read(const struct node *dir)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *open_dir = fd < 0 ? NULL : fdopendir(fd);
    struct listing *l = calloc(1, sizeof *l);
    const struct dirent *entry;

    assert(l);
    l->holders = 1;
    l->seen_ms = now_ms();
    if (!open_dir) {
        free(l);
        return NULL;
    }
    while ((entry = readdir(open_dir)))
        listing_add(l, entry);
    (void)closedir(open_dir);
    return l;
}

struct listing *names_list(struct node *dir)
{
    struct listing *fresh = listing_read(dir);

    if (dir->listing && fresh &&
        now_ms() - dir->listing->seen_ms < knob(NFS_LIST_MS)) {
        if (fresh->count != dir->listing->count)
            count(NFS_LIST_MS); /* it lags */
        listing_drop(fresh);
    } else {
        listing_drop(dir->listing);
        dir->listing = fresh;
    }
    if (dir->listing)
        dir->listing->holders++;
    return dir->listing;
}

/*
 * Late links.
 */

void late_link_add(int fd, int dir_fd, const char *name, int64_t due_ms)
{
    struct late *l = &late[late_count++];

    assert(late_count < LATE_MAX);
    l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    l->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    l->due_ms = due_ms;
    (void)snprintf(l->name, sizeof l->name, "%s", name);
}

void late_links(void)
{
    for (uint32_t i = 0; i < late_count;) {
        struct late *l = &late[i];
        char path[32];

        if (now_ms() < l->due_ms) {
            i++;
            continue;
        }
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", l->fd);
        (void)linkat(AT_FDCWD, path, l->dir_fd, l->name, AT_SYMLINK_FOLLOW);
        (void)close(l->fd);
        (void)close(l->dir_fd);
        *l = late[--late_count];
    }
}
