/*
 * ceph_ghost.c - a client that is to die, beside ceph_load:
 *
 *     ceph_ghost      on the home CKPT_TEST_RADOS, with CKPT_TEST_ROUNDS
 *
 * It claims the records that ceph_load's clients claim, a little before them,
 * and always others that nobody else does (runs/ghost), so that many requests
 * are under way at any moment; it looks at no answer, until it is killed. What
 * it had sent then, and the network still had, comes late: where the load was
 * told of its own bytes, they have to stay.
 *
 * A claim is two operations after each other; those of the second kind are what
 * matters, so there have to be many. Blobs are left out: of what is larger than
 * a socket takes, nothing whole comes late.
 */
#include "tests/ceph/claims.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AHEAD   (3 * CLAIM_ROUND) /* names */
#define AT_ONCE 240

struct claim {
    struct store_req req;
    char name[CLAIM_NAME_BYTES];
    uint8_t *data;
    bool is_busy;
};

static struct claim claims[AT_ONCE];

static void done(struct store_req *req, int64_t result)
{
    struct claim *claim = container_of(req, struct claim, req);

    (void)result;
    claim->is_busy = false;
}

static struct claim *free_claim(void)
{
    for (uint32_t i = 0; i < AT_ONCE; i++) {
        if (!claims[i].is_busy)
            return &claims[i];
    }
    return NULL;
}

static void put(struct store *store, uint32_t n, struct claim *claim)
{
    claim_fill(claim->data, n, CLAIM_GHOST);
    claim->req = (struct store_req){.op = STORE_PUT,
                                    .name = claim->name,
                                    .buf = claim->data,
                                    .len = claim_bytes(n),
                                    .done = done};
    claim->is_busy = true;
    store_submit(store, &claim->req);
}

int main(void)
{
    struct claims_round *round = claims_round();
    struct store *store = claims_open(1);
    uint32_t n = atomic_load(&round->number) * CLAIM_ROUND, own = 0;

    for (uint32_t i = 0; i < AT_ONCE; i++) {
        claims[i].data = malloc(CLAIM_BYTES_MAX);
        assert(claims[i].data);
    }
    (void)printf("opened\n");
    (void)fflush(stdout);
    for (;;) {
        struct claim *claim;
        int rc;

        while ((claim = free_claim())) {
            n += claim_is_blob(n);
            if (n < atomic_load(&round->number) * CLAIM_ROUND + AHEAD) {
                claim_name(n, claim->name);
                put(store, n++, claim);
            } else {
                (void)snprintf(claim->name, sizeof claim->name,
                               "runs/ghost/%d-%" PRIu32, (int)getpid(), own);
                put(store, 3 * own++ + 1, claim);
            }
        }
        rc = store_poll(store, 2);
        assert(rc == 0 || rc == -EINTR);
    }
}
