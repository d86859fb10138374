/*
 * image.h - all files of a home and its local store as bytes in memory, to be
 * damaged: as stores of the engine or of `ckpt`, and as folders on a disk.
 */
#ifndef TESTS_ROT_IMAGE_H
#define TESTS_ROT_IMAGE_H

#include "storage/store.h"

#define IMAGE_NAME_BYTES 256

struct image_file {
    char name[IMAGE_NAME_BYTES]; /* below the home; segments: local/seg/... */
    uint8_t *data;
    uint64_t bytes;
};

struct image {
    struct image_file *file;
    size_t count;
};

/* Takes everything out of a home's and a local store's store. */
void image_take(struct image *i, struct store *home, struct store *local);
/* A record that is in neither; bytes are copied. */
void image_add(struct image *i, const char *name, const void *data,
               uint64_t bytes);
void image_free(struct image *i);
struct image_file *image_find(const struct image *i, const char *name);
bool image_is_segment(const struct image_file *f);

/* A store in memory with the home's records, or with what is below local/. A
 * segment that is not whole pages long ends at the last whole one. */
struct store *image_store(const struct image *i, bool is_local);
/* Writes all below DIR, which exists; or one file again. */
void image_export(const struct image *i, const char *dir);
void image_export_file(const struct image_file *f, const char *dir);

#endif
