/*
 * crc32c.h - CRC-32C (Castagnoli), the checksum of objects in RADOS, as in
 * iSCSI and ext4: reflected, initial value and final xor all ones. It finds
 * rot; it authenticates nothing.
 */
#ifndef STORAGE_CRC32C_H
#define STORAGE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0 to begin with, or what the bytes before gave. Any thread. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/* The same without the processor's instruction, for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t bytes);

#endif
