/*
 * recio.h - records and containers of a home, asynchronously.
 *
 * Thin flows over a store: put an encoded record, get one into fresh memory,
 * and the same for containers (manifest.h) that may be split into parts. Each
 * call takes a callback with its own argument and calls it exactly once, never
 * from inside the call. Also used by the ckpt tool, which polls the store.
 */
#ifndef CKPTD_RECIO_H
#define CKPTD_RECIO_H

#include "common/bytes.h"
#include "formats/manifest.h"
#include "formats/record.h"
#include "storage/store.h"

typedef void (*recio_put_fn)(void *arg, int result);
/* data is malloc'd and the callee's to free(), NULL on failure. */
typedef void (*recio_get_fn)(void *arg, int64_t result, void *data);
typedef void (*recio_list_fn)(void *arg, int result, struct store_names *names);

/* Takes over `w` (also on failure) and creates `name` exclusively; a failed
 * writer is reported as -ENOMEM. */
void recio_put(struct store *s, const char *name, struct wr *w,
               recio_put_fn done, void *arg);
/* At most max_bytes. */
void recio_get(struct store *s, const char *name, uint64_t max_bytes,
               recio_get_fn done, void *arg);
void recio_list(struct store *s, const char *folder, recio_list_fn done,
                void *arg);
void recio_remove(struct store *s, const char *name, recio_put_fn done,
                  void *arg);

/* A container under "FOLDER/SAVE.DAEMON": one record up to RECORD_PART_BYTES,
 * else parts first and then a parts record under that name. `data` stays the
 * caller's until done. part_count (may be NULL) tells how many parts. */
void recio_put_container(struct store *s, const char *run, const char *folder,
                         const struct save_id *id, const struct id128 *daemon,
                         const void *data, uint64_t bytes, recio_put_fn done,
                         void *arg);
void recio_get_container(struct store *s, const char *run, const char *folder,
                         const struct save_id *id, const struct id128 *daemon,
                         recio_get_fn done, void *arg);

/* The manifest of a COMMIT: inline or its parts; root and length compared with
 * the decision. */
void recio_get_manifest(struct store *s, const char *run,
                        const struct record_decision *d, recio_get_fn done,
                        void *arg);

#endif
