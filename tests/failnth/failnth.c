/*
 * failnth.c - see failnth.h: the control block, and the sites of memory.
 *
 * Besides failing calls, memory is counted. What the tests and the stand-ins of
 * drives allocate goes through counted_malloc() and the like alone
 * (counted.syms), because blocks change hands.
 */
#include "tests/failnth/failnth.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct failnth own;
struct failnth *failnth = &own;

static enum failnth_role own_role;
static bool is_inside;
static atomic_llong live;
static int64_t files_at_start;

void failnth_arm(enum failnth_class kind, uint64_t nth, bool is_persistent)
{
    for (int i = 0; i < FAILNTH_CLASSES; i++)
        failnth->seen[i] = 0;
    failnth->fired = 0;
    failnth->kind = kind;
    failnth->nth = nth;
    failnth->is_persistent = is_persistent;
    failnth->is_armed = true;
}

void failnth_disarm(void)
{
    failnth->is_armed = false;
}

bool failnth_cross(bool inside)
{
    bool was = is_inside;

    is_inside = inside;
    return was;
}

bool failnth_hit(enum failnth_class kind)
{
    uint64_t at;

    if (!failnth->is_armed || !is_inside || failnth->role != own_role)
        return false;
    at = ++failnth->seen[kind];
    if (failnth->kind != kind || failnth->nth == 0)
        return false;
    if (at != failnth->nth && !(failnth->is_persistent && at > failnth->nth))
        return false;
    failnth->fired++;
    return true;
}

int64_t failnth_live(void)
{
    return live;
}

int64_t failnth_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int64_t count = -3; /* its own two names, and its descriptor */

    if (!dir)
        abort();
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a folder of our own */
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count;
}

/*
 * Programs: they find the block by a variable, and tell of their end.
 */

/* A daemon that another was quicker than is sent away by its starter, perhaps
 * before it listens for signals itself: that is in order, too. */
static void sent_away(int number)
{
    (void)number;
    failnth->ended++;
    _exit(0);
}

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv(FAILNTH_CONTROL);
    const char *name = program_invocation_short_name;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *block;
    unsigned at;

    if (!path)
        return;
    block =
        mmap(NULL, sizeof *failnth, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || block == MAP_FAILED)
        abort();
    (void)close(fd);
    failnth = block;
    own_role = strcmp(name, "ckptd") == 0 ? FAILNTH_DAEMON : FAILNTH_TOOL;
    is_inside = true;
    files_at_start = failnth_files();
    (void)signal(SIGTERM, sent_away);
    at = failnth->started++;
    if (at < FAILNTH_PROCESSES)
        failnth->pid[at] = getpid();
}

__attribute__((destructor)) static void detach(void)
{
    if (failnth == &own || own_role == FAILNTH_HERE)
        return;
    failnth->live_left += live;
    failnth->files_left += failnth_files() - files_at_start;
    failnth->ended++;
}

/*
 * Counting.
 */

void *counted_malloc(size_t bytes);
void *counted_calloc(size_t count, size_t bytes);
void *counted_realloc(void *block, size_t bytes);
void *counted_reallocarray(void *block, size_t count, size_t bytes);
void *counted_aligned_alloc(size_t align, size_t bytes);
char *counted_strdup(const char *text);
void counted_free(void *block);

static void *counted(void *block)
{
    if (block)
        live++;
    return block;
}

void *counted_malloc(size_t bytes)
{
    return counted(malloc(bytes));
}

void *counted_calloc(size_t count, size_t bytes)
{
    return counted(calloc(count, bytes));
}

void *counted_realloc(void *block, size_t bytes)
{
    void *grown = realloc(block, bytes);

    return block ? grown : counted(grown);
}

void *counted_reallocarray(void *block, size_t count, size_t bytes)
{
    void *grown = reallocarray(block, count, bytes);

    return block ? grown : counted(grown);
}

void *counted_aligned_alloc(size_t align, size_t bytes)
{
    return counted(aligned_alloc(align, bytes));
}

char *counted_strdup(const char *text)
{
    return counted(strdup(text));
}

char *counted_realpath(const char *path, char *to)
{
    char *found = realpath(path, to);

    return to ? found : counted(found);
}

void counted_free(void *block)
{
    if (block)
        live--;
    free(block);
}

/*
 * Failing.
 */

void *failnth_malloc(size_t bytes);
void *failnth_calloc(size_t count, size_t bytes);
void *failnth_realloc(void *block, size_t bytes);
void *failnth_reallocarray(void *block, size_t count, size_t bytes);
void *failnth_aligned_alloc(size_t align, size_t bytes);
char *failnth_strdup(const char *text);
int failnth_setenv(const char *name, const char *text, int replaces);

static bool no_memory(void)
{
    if (!failnth_hit(FAILNTH_MEMORY))
        return false;
    errno = ENOMEM;
    return true;
}

void *failnth_malloc(size_t bytes)
{
    return no_memory() ? NULL : counted_malloc(bytes);
}

void *failnth_calloc(size_t count, size_t bytes)
{
    return no_memory() ? NULL : counted_calloc(count, bytes);
}

void *failnth_realloc(void *block, size_t bytes)
{
    return no_memory() ? NULL : counted_realloc(block, bytes);
}

void *failnth_reallocarray(void *block, size_t count, size_t bytes)
{
    return no_memory() ? NULL : counted_reallocarray(block, count, bytes);
}

void *failnth_aligned_alloc(size_t align, size_t bytes)
{
    return no_memory() ? NULL : counted_aligned_alloc(align, bytes);
}

char *failnth_strdup(const char *text)
{
    return no_memory() ? NULL : counted_strdup(text);
}

int failnth_setenv(const char *name, const char *text, int replaces)
{
    return no_memory() ? -1 : setenv(name, text, replaces);
}

/* What they allocate the caller frees, so that it counts. glibc's header makes
 * the one of the other. */
ssize_t failnth_getdelim(char **line, size_t *room, int end, FILE *file);
ssize_t failnth_getline(char **line, size_t *room, FILE *file);

ssize_t failnth_getdelim(char **line, size_t *room, int end, FILE *file)
{
    bool is_new = !*line;
    ssize_t n = no_memory() ? -1 : getdelim(line, room, end, file);

    if (is_new)
        (void)counted(*line);
    return n;
}

ssize_t failnth_getline(char **line, size_t *room, FILE *file)
{
    return failnth_getdelim(line, room, '\n', file);
}
