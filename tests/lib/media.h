/*
 * media.h - what stands in a store, looked at and changed by a test behind the
 * backs of daemons. Every call waits until it is done.
 */
#ifndef TESTS_LIB_MEDIA_H
#define TESTS_LIB_MEDIA_H

#include "storage/store.h"

/* Records: what the store answers. */
int64_t media_put(struct store *s, const char *name, const void *data,
                  size_t bytes);
int64_t media_get(struct store *s, const char *name, void *data,
                  size_t capacity);
int64_t media_remove(struct store *s, const char *name);
bool media_has(struct store *s, const char *name);

int64_t media_remove_segment(struct store *s, const char *name);
/* Segments; what fails ends the test by assert(). One that is created gets
 * *bytes; of one that is there *bytes tells the size (NULL: of no interest).
 * Until media_close() it is locked. */
struct store_seg *media_open(struct store *s, const char *name, unsigned flags,
                             uint64_t *bytes);
void media_close(struct store *s, struct store_seg *seg);
/* One page at `off`, a multiple of PAGE_BYTES; `page` is aligned as one. */
void media_read(struct store *s, struct store_seg *seg, uint64_t off,
                void *page);
void media_write(struct store *s, struct store_seg *seg, uint64_t off,
                 void *page);

#endif
