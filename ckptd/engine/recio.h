/*
 * recio.h - records and containers of a home, asynchronously.
 *
 * Thin flows over a store: put an encoded record, get one into fresh memory,
 * and the same for containers (manifest.h) that may be split into parts. Each
 * call takes a callback with its own argument and calls it exactly once, and
 * not from inside the call, with one exception: when the call cannot even begin
 * (no memory for it, or what it was given is no container), it says so at once.
 * So let the call be the last thing that a function does with what the callback
 * may free. Also used by the ckpt
 * tool, which polls the store.
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
/* names are freed after the call unless the callee has emptied *names. */
typedef void (*recio_list_fn)(void *arg, int result, struct store_names *names);

/* Takes over `w` (also on failure) and creates `name` exclusively; a failed
 * writer is reported as -ENOMEM. */
void recio_put(struct store *s, const char *name, struct wr *w,
               recio_put_fn done, void *arg);
/* At most max_bytes (-EFBIG: it is larger). */
void recio_get(struct store *s, const char *name, uint64_t max_bytes,
               recio_get_fn done, void *arg);
void recio_list(struct store *s, const char *folder, recio_list_fn done,
                void *arg);
void recio_remove(struct store *s, const char *name, recio_put_fn done,
                  void *arg);

/* "runs/RUN/FOLDER/SAVE.DAEMON": what a container is called. Copied. */
struct recio_place {
    const char *run, *folder;
    struct save_id id;
    struct id128 daemon;
};

/* One record up to RECORD_PART_BYTES, else parts first and then a parts record
 * under the place's name. `data` stays the caller's until done. The same bytes
 * may be put again (an outcome was unknown); -EEXIST says that other bytes are
 * there. */
void recio_put_container(struct store *s, const struct recio_place *place,
                         const void *data, uint64_t bytes, recio_put_fn done,
                         void *arg);
/* What stands under the name, then its parts; 0 also when there is nothing. */
void recio_remove_container(struct store *s, const struct recio_place *place,
                            recio_put_fn done, void *arg);
/* Only the parts, NAME.N from 0: those of a large manifest. */
void recio_put_parts(struct store *s, const struct recio_place *place,
                     const void *data, uint64_t bytes, recio_put_fn done,
                     void *arg);
/* How many parts so many bytes make. */
static inline uint32_t recio_part_count(uint64_t bytes)
{
    return (uint32_t)((bytes + RECORD_PART_BYTES - 1) / RECORD_PART_BYTES);
}
/* -ENOENT, -CKPT_ECORRUPT; `data` is still to be checked by manifest_open(). */
void recio_get_container(struct store *s, const struct recio_place *place,
                         recio_get_fn done, void *arg);

/* The manifest of a COMMIT: inline or its parts; opened once, root and length
 * compared with the decision, which must still be there (-ENOENT). `d` and what
 * it points to are needed during the call only. */
void recio_get_manifest(struct store *s, const char *run,
                        const struct record_decision *d, recio_get_fn done,
                        void *arg);

#endif
