/*
 * claims.c - see claims.h.
 */
#include "tests/ceph/claims.h"

#include "common/bytes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

bool claim_is_blob(uint32_t n)
{
    return n % 3 == 0;
}

size_t claim_bytes(uint32_t n)
{
    return claim_is_blob(n) ? 4096 + (size_t)n * 7919 % (CLAIM_BYTES_MAX - 4096)
                            : 16 + n * 31 % 2000;
}

void claim_name(uint32_t n, char name[CLAIM_NAME_BYTES])
{
    (void)snprintf(name, CLAIM_NAME_BYTES, "runs/r%" PRIu32 "/n%" PRIu32, n % 4,
                   n);
}

/* Each is told by its first bytes; the rest follows from them. */
void claim_fill(uint8_t *data, uint32_t n, uint32_t client)
{
    size_t bytes = claim_bytes(n);

    put_u32(data, n);
    put_u32(data + 4, client);
    for (size_t i = 8; i < bytes; i++)
        data[i] = (uint8_t)((i * 2654435761U + n * 97 + client * 31) >> 11);
}

struct store *claims_open(uint32_t patience)
{
    const struct store_rados_options options = {
        .connect_timeout_ms = 20000,
        .op_timeout_ms = patience * CLAIM_OP_MS,
        .give_up_ms = patience * CLAIM_GIVE_UP_MS};
    const char *home = getenv("CKPT_TEST_RADOS");
    struct store *opened;
    struct err err;

    if (!home || store_rados_open(home, STORE_OPEN_WRITE | STORE_OPEN_CREATE,
                                  &options, &opened, &err) < 0) {
        (void)fprintf(stderr, "claims: %s\n",
                      home ? err.text : "CKPT_TEST_RADOS is not set");
        exit(2);
    }
    return opened;
}

struct claims_round *claims_round(void)
{
    static struct claims_round own;
    const char *path = getenv("CKPT_TEST_ROUNDS");
    struct claims_round *shared;
    int fd;

    if (!path)
        return &own;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *shared) < 0) {
        (void)fprintf(stderr, "claims: %s: %m\n", path);
        exit(2);
    }
    shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
        (void)fprintf(stderr, "claims: %s: %m\n", path);
        exit(2);
    }
    (void)close(fd);
    return shared;
}
