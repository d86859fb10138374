/*
 * store_rados_seal.c - the attribute `ckptd` of an object: how long it is, who
 * made it, and the checksum of its bytes. The attribute's own checksum goes on
 * over the object's name, so that a seal that belongs to another object does
 * not hold. formats/FORMAT.md has its bytes.
 */
#include "storage/store_rados.h"

#include "common/bytes.h"
#include "storage/crc32c.h"

#include <string.h>

#define SEAL_MAGIC   "CKPTROBJ"
#define SEAL_VERSION 1

/* Offsets. */
enum {
    AT_VERSION = 8,
    AT_CRC = 12,
    AT_BYTES = 16,
    AT_NONCE = 24,
    AT_OWN_CRC = 40,
};

static uint32_t own_crc(const uint8_t *seal, const char *object)
{
    return crc32c(crc32c(0, seal, AT_OWN_CRC), object, strlen(object));
}

void seal_encode(const struct seal *seal, const char *object,
                 uint8_t to[SEAL_BYTES])
{
    memcpy(to, SEAL_MAGIC, AT_VERSION);
    put_u32(to + AT_VERSION, SEAL_VERSION);
    put_u32(to + AT_CRC, seal->crc);
    put_u64(to + AT_BYTES, seal->bytes);
    memcpy(to + AT_NONCE, seal->nonce.b, sizeof seal->nonce.b);
    put_u32(to + AT_OWN_CRC, own_crc(to, object));
}

int seal_decode(const void *from, size_t bytes, const char *object,
                struct seal *seal)
{
    const uint8_t *at = from;

    if (bytes != SEAL_BYTES || memcmp(at, SEAL_MAGIC, AT_VERSION) != 0 ||
        get_u32(at + AT_VERSION) != SEAL_VERSION ||
        get_u32(at + AT_OWN_CRC) != own_crc(at, object))
        return -CKPT_ECORRUPT;
    seal->crc = get_u32(at + AT_CRC);
    seal->bytes = get_u64(at + AT_BYTES);
    memcpy(seal->nonce.b, at + AT_NONCE, sizeof seal->nonce.b);
    return 0;
}
