/*
 * manifest_check_trust.c - the rows of the tables check and trust: in order,
 * of regions and ranks that are there, whole units inside their region. Linear
 * but for a binary search per row of a rank.
 */
#include "formats/manifest_media.h"

#include <inttypes.h>

static bool is_zero_from(const uint8_t bytes[8], uint32_t from)
{
    for (uint32_t i = from; i < 8; i++)
        if (bytes[i])
            return false;
    return true;
}

/* What it says of another rank. */
static bool difference_is_good(const struct manifest *m,
                               const struct mf_check *c, uint32_t unit)
{
    if (c->differs_at == CHECK_UNKNOWN)
        return c->other == 0 && is_zero_from(c->own, 0) &&
               is_zero_from(c->others, 0);
    return c->differs_at % unit == 0 && c->differs_at >= c->start &&
           c->differs_at - c->start < c->bytes && manifest_rank(m, c->other) &&
           is_zero_from(c->own, unit) && is_zero_from(c->others, unit);
}

static int check_checks(const struct manifest *m, struct err *err)
{
    for (uint64_t i = 0; i < m->check_count; i++) {
        const struct mf_check *c = &m->check[i];
        const struct mf_region *r;
        uint32_t unit;

        if (c->region >= m->region_count || c->reserved)
            return manifest_bad(err, MF_CHECK, i, "region is out of range");
        r = &m->region[c->region];
        unit = mf_unit_bytes(m->tensor[r->tensor].dtype);
        if (c->bytes == 0 || c->bytes > m->info.chunk_bytes ||
            c->start > r->packed_bytes ||
            c->bytes > r->packed_bytes - c->start || c->start % unit ||
            c->bytes % unit)
            return manifest_bad(err, MF_CHECK, i, "is outside its region");
        if (i && (c->region < c[-1].region ||
                  (c->region == c[-1].region &&
                   c->start < c[-1].start + c[-1].bytes)))
            return manifest_bad(err, MF_CHECK, i, "is out of order");
        if (!difference_is_good(m, c, unit))
            return manifest_bad(err, MF_CHECK, i,
                                "its difference is malformed");
    }
    return 0;
}

int mf_check_trust(const struct manifest *m, struct err *err)
{
    for (uint64_t i = 0; i < m->trust_count; i++) {
        const struct mf_trust *t = &m->trust[i];

        if (!manifest_rank(m, t->rank) || (i && t->rank <= t[-1].rank))
            return manifest_bad(err, MF_TRUST, i, "rank is out of order");
        if (t->flags & ~(uint32_t)MF_TRUST_FLAGS || t->reserved ||
            (t->same.generation == 0 && (t->same.step || t->same.attempt)))
            return manifest_bad(err, MF_TRUST, i, "is malformed");
    }
    return check_checks(m, err);
}
