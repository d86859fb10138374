/*
 * arena.c - see arena.h.
 */
#include "trainer/arena.h"

#include "common/huge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int check_piece(int fd, uint64_t bytes, uint32_t piece, struct err *err)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & SEALS) != SEALS)
        return err_set(err, -EPERM,
                       "arena: piece %u is not sealed; its size could change "
                       "under us",
                       piece);
    if (fstat(fd, &st) || st.st_size < 0 || (uint64_t)st.st_size != bytes)
        return err_set(err, -EBADMSG,
                       "arena: piece %u is not of the announced size", piece);
    return 0;
}

static int map_piece(struct arena *a, int fd, uint32_t piece, bool is_populated,
                     struct err *err)
{
    uint64_t bytes = a->ok.piece_bytes[piece];
    int rc = check_piece(fd, bytes, piece, err);
    void *base;

    if (rc || bytes == 0)
        return rc;
    rc = huge_map(fd, bytes, &base);
    if (rc)
        return err_set(err, rc, "arena: cannot map piece %u of %llu: %s", piece,
                       (unsigned long long)bytes, err_text(rc));
    a->base[piece] = base;
    if (madvise(base, bytes, MADV_DONTFORK))
        return err_set(err, -errno, "arena: MADV_DONTFORK: %s",
                       err_text(errno));
    /* A kernel before 5.14 cannot; then the first copies take the faults. */
    if (is_populated)
        (void)huge_populate(base, bytes);
    return 0;
}

int arena_map(const struct frame *f, struct conn *c, bool is_populated,
              struct arena **out, struct err *err)
{
    int fds[WIRE_PIECES_MAX];
    uint32_t count = conn_take_fds(c, fds);
    struct arena *a = calloc(1, sizeof *a);
    int rc = 0;

    if (!a) {
        rc = err_set(err, -ENOMEM, "arena: no memory");
        goto close_fds;
    }
    a->references = 1;
    if (wire_arena_ok_decode(f->payload, f->header.length, &a->ok)) {
        a->ok.piece_count = 0;
        rc = err_set(err, -EBADMSG, "arena: the daemon's answer is damaged");
    } else if (count != a->ok.piece_count) {
        rc = err_set(err, -EBADMSG, "arena: %u descriptors for %u pieces",
                     count, a->ok.piece_count);
    }
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = map_piece(a, fds[i], i, is_populated, err);
    if (rc)
        arena_put(a);
    else
        *out = a;
close_fds:
    for (uint32_t i = 0; i < count; i++)
        (void)close(fds[i]);
    return rc;
}

struct arena *arena_get(struct arena *a)
{
    if (a)
        a->references++;
    return a;
}

void arena_put(struct arena *a)
{
    if (!a || --a->references)
        return;
    for (uint32_t i = 0; i < a->ok.piece_count; i++)
        if (a->base[i])
            (void)munmap(a->base[i], a->ok.piece_bytes[i]);
    free(a);
}

uint8_t *arena_payload(const struct arena *a, uint32_t slot)
{
    uint32_t piece;
    uint64_t offset;

    if (!wire_slot_place(&a->ok, slot, &piece, &offset))
        return NULL;
    return a->base[piece] + offset + PAGE_BYTES;
}
