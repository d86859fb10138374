/*
 * disk.h - a file system in memory that forgets, for tests of what a crash
 * leaves.
 *
 * The real file store (storage/store_file*.c, fileio_execute.c) runs on it:
 * disk_calls.c stands in for the system calls that they make (by the linker's
 * --wrap) for everything below /disk, and disk_io.c carries out the store's
 * primitive operations one at a time, in an order that follows from a seed.
 * So what is recorded are the steps that a kernel would see.
 *
 * What a crash may leave. Each change is an operation in a log: bytes written
 * to a file, a file's size set, a name given (by link, creation or mkdir), a
 * name taken away. It is *pending* until a sync of that file, or of that
 * folder (of a file that is renamed: the new name's), that was called after it
 * had ended, has returned 0; fdatasync does not wait for a file to become
 * shorter. After a crash every pending operation is there or not, whatever
 * became of the others; of bytes written any sectors of 512 are. That is more
 * than any real file system takes away. A file that has a name but nothing
 * synced is empty or full of zeros; there never are another file's old bytes in
 * it. A sync that fails loses what was pending for it: no later one makes that
 * durable, until the same name is given or taken away anew.
 *
 * Failures of memory end the test by assert().
 */
#ifndef TESTS_CRASH_DISK_H
#define TESTS_CRASH_DISK_H

#include "common/err.h"
#include "common/list.h"
#include "storage/fileio.h"

#define DISK_PATH    "/disk"
#define SECTOR_BYTES 512

/*
 * Images: a whole tree, cheap to copy (disk_image.c).
 */

struct content; /* the bytes of a file, shared between images */

struct disk_entry {
    const char *name; /* lives for ever */
    uint32_t node;
};

struct disk_node {
    bool is_folder;
    uint32_t parent; /* of a folder */
    uint32_t links;
    struct content *content;  /* NULL: empty */
    struct disk_entry *entry; /* of a folder */
    uint32_t entry_count, entry_capacity;
};

struct image {
    struct disk_node *node; /* 0 is the root, /disk */
    uint32_t node_count, node_capacity;
};

void image_init(struct image *image);
void image_copy(struct image *to, const struct image *from);
void image_free(struct image *image);
uint32_t image_add_node(struct image *image, bool is_folder);
/* A node's number, or UINT32_MAX. */
uint32_t image_find(const struct image *image, uint32_t folder,
                    const char *name);
/* The name of a file or folder is gone, if it was there. */
void image_remove(struct image *image, uint32_t folder, const char *name);
/* Equal trees have equal hashes, however they came to be. */
uint64_t image_hash(const struct image *image);

uint64_t content_size(const struct content *c);
void content_read(const struct content *c, uint64_t off, void *to,
                  size_t bytes);
/* Bit i of `sectors` (NULL: all) says whether sector i of `from` is written;
 * the size grows either way. */
void content_write(struct content **c, uint64_t off, const void *from,
                   size_t bytes, const uint64_t *sectors);
void content_resize(struct content **c, uint64_t bytes);

/*
 * The log (disk_log.c).
 */

enum disk_op_kind {
    DISK_WRITE,
    DISK_SIZE,
    DISK_NAME,
    DISK_UNNAME,
    DISK_SYNC,
};

struct disk_op {
    enum disk_op_kind kind;
    uint32_t node; /* the file; of SYNC also a folder */
    uint32_t folder;
    const char *name;
    uint32_t from_folder; /* of NAME: a name that it had until then ... */
    const char *from;     /* ... or NULL */
    uint64_t off, len;
    uint8_t *data;
    bool is_shrinking; /* of SIZE */
    bool is_data_only; /* of SYNC */
    bool is_failed;    /* of SYNC */
    uint32_t mark;     /* of SYNC: covers what was logged before */
    uint32_t durable;  /* from this many operations on; UINT32_MAX: never */
};

#define DISK_NEVER UINT32_MAX

struct disk {
    struct image live; /* what processes see */
    struct image base; /* durable when the log began */
    struct disk_op *op;
    uint32_t op_count, op_capacity;
    bool is_recording;
    /* disk_files.c */
    struct disk_file **fd; /* by descriptor, less DISK_FD */
    uint32_t fd_count;
    struct list late; /* struct late_write, of processes that were killed */
    uint64_t random;
    uint32_t mark;    /* of the next sync; DISK_NEVER: what is logged by now */
    uint32_t process; /* that calls */
    /* What a test wants. */
    bool has_no_tmpfile;
    bool is_nfs;               /* and shows the link count that it remembers */
    bool writes_short;         /* now and then */
    bool answers_in_any_order; /* of what was carried out at once */
    bool is_anothers;          /* all of it is another user's */
    bool is_open_to_others;    /* who may write to its folders */
    uint32_t fail_syncs; /* the n-th sync of a file from now fails; 0: none */
    uint32_t fail_folder_syncs; /* the same of folders */
    const char *failing_folder; /* ... of this name; NULL: of any */
    uint32_t fail_writes;       /* the same of writes */
    uint32_t lost_links;        /* of links made: its answer gets lost, and the
                                   repetition says EEXIST */
    uint32_t stop_at;           /* nothing more is carried out; DISK_NEVER */
};

/* With this tree (NULL: nothing). */
struct disk *disk_new(uint64_t seed, const struct image *start);
/* Everything on it was closed. */
void disk_free(struct disk *disk);
/* /disk is this one from now on (NULL: none); returns which it was. */
struct disk *disk_the(struct disk *disk);
uint64_t disk_random(struct disk *disk);

/* From now on operations are logged; what is there is durable. */
void disk_record(struct disk *disk);
struct disk_op *disk_log(struct disk *disk, enum disk_op_kind kind);
/* After the last operation: when does each become durable? */
void disk_log_end(struct disk *disk);
/* "write seg/000001 4096+69632" */
void disk_op_text(const struct disk *disk, const struct disk_op *op, char *text,
                  size_t capacity);

/* A walk along the log, one operation at a time. */
struct disk_walk {
    const struct disk *disk;
    uint32_t at;          /* operations that have happened */
    struct image durable; /* what of them is surely there */
    uint32_t *pending;    /* the others, ascending */
    uint32_t pending_count;
};

void disk_walk_begin(struct disk_walk *w, const struct disk *disk);
/* False at the end. */
bool disk_walk_next(struct disk_walk *w);
void disk_walk_end(struct disk_walk *w);

/* What becomes of a pending operation. */
enum landing {
    LAND_NOT,
    LAND_WHOLE,
    LAND_TORN, /* some sectors, by chance; what is no write lands whole */
    LAND_HEAD, /* the first sector alone */
    LAND_TAIL, /* all but the first sector */
    LAND_SIZE, /* no sector, only the room for them */
    LANDINGS,
};

/* The tree after a crash; `landing` has one for each pending operation. */
void disk_crash(const struct disk_walk *w, const enum landing *landing,
                uint64_t seed, struct image *out);

/*
 * Processes (disk_files.c, disk_io.c).
 */

/* What carries out a store's operations for process `process`. */
struct fileio *disk_io_new(struct disk *disk, uint32_t process, uint64_t seed);
/* SIGKILL: its descriptors are closed, but for those of writes that were
 * handed to the drive: these land later, and hold their locks until then.
 * Whatever it still calls does nothing. */
void disk_io_kill(struct fileio *io);
void disk_process_kill(struct disk *disk, uint32_t process);
/* A write that was not carried out when its process was killed. */
void disk_late_add(struct disk *disk, const struct fileio_op *op);
/* One of them lands; false when there is none left. */
bool disk_late_land(struct disk *disk);

#endif
