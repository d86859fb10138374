/*
 * claims.h - who writes what, where several clients of a real cluster claim the
 * same names: for those who claim (ceph_load.c, ceph_ghost.c) and for the
 * oracle, which tells by the bytes whose they are.
 */
#ifndef TESTS_CEPH_CLAIMS_H
#define TESTS_CEPH_CLAIMS_H

#include "storage/store.h"

#define CLAIM_CLIENTS    2             /* of ceph_load */
#define CLAIM_GHOST      CLAIM_CLIENTS /* claims as a third one, then dies */
#define CLAIM_ROUND      12            /* names that are claimed together */
#define CLAIM_ROUNDS_MAX 20000
#define CLAIM_BYTES_MAX  ((size_t)512 << 10)
#define CLAIM_NAME_BYTES 32
#define CLAIM_OP_MS      2000
#define CLAIM_GIVE_UP_MS 6000

bool claim_is_blob(uint32_t n);
size_t claim_bytes(uint32_t n);
void claim_name(uint32_t n, char name[CLAIM_NAME_BYTES]);

/* Of client `client`, at most CLAIM_BYTES_MAX. */
void claim_fill(uint8_t *data, uint32_t n, uint32_t client);

/* The home CKPT_TEST_RADOS, with so many times the usual patience; ends the
 * process where there is none. */
struct store *claims_open(uint32_t patience);

/* The round that ceph_load is in, in the file CKPT_TEST_ROUNDS, for processes
 * beside it; in memory of one's own without that. */
struct claims_round {
    _Atomic uint32_t number;
};
struct claims_round *claims_round(void);

#endif
