/*
 * image.h - what is on a disk: see disk.h. Between image.c and port.c.
 */
#ifndef TESTS_SIM_IMAGE_H
#define TESTS_SIM_IMAGE_H

#include "storage/store_internal.h"
#include "tests/sim/disk.h"

/* A write that no sync covers yet. */
struct image_write {
    struct list link;
    uint64_t off, len;
    uint8_t data[];
};

struct thing {
    struct disk_record record; /* as others see it; of segments too */
    char *name;
    uint8_t *data;
    bool is_segment;
    bool is_durable; /* its name */
    bool is_gone;    /* removed, or lost; freed with the last user */
    bool is_leaving; /* removed, but that is not durable */
    uint8_t *stable; /* of a segment: what no loss of power takes */
    uint64_t bytes, stable_bytes;
    struct list writes; /* struct image_write, in order */
    uint32_t users;     /* handles, requests under way */
    uint32_t shared;    /* locks */
    bool is_exclusive;
    int64_t mtime;
};

struct image {
    struct sim *sim;
    struct thing **thing; /* sorted by name */
    size_t count, capacity;
    int64_t put_count;
};

/* Of those that are seen. */
struct thing *image_find(const struct image *m, const char *name);
/* -EEXIST; visible from now on, its name not durable. */
int image_add(struct image *m, const char *name, const void *data,
              uint64_t bytes, bool is_segment, struct thing **out);
/* Nobody sees it any more, but power may bring it back. */
void image_hide(struct thing *t);
/* That is durable now: out of the image. */
void image_drop(struct image *m, struct thing *t);
void thing_put(struct thing *t);
void thing_write(struct thing *t, uint64_t off, const void *data, uint64_t len);
void thing_sync(struct thing *t);
/* `settled` is called for each whose fate was open. */
void image_power_loss(struct image *m,
                      void (*settled)(void *arg, const struct thing *t,
                                      bool is_kept),
                      void *arg);
void image_fini(struct image *m);

#endif
