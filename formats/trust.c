/*
 * trust.c - see trust.h. Pure; nothing here can fail.
 */
#include "formats/trust.h"

/* Iterative, so that no pattern takes more than length * length steps: at a
 * mismatch the last '*' takes one character more. */
static bool pattern_matches(const char *pattern, size_t bytes, const char *name)
{
    size_t at = 0, star = SIZE_MAX;
    const char *resume = name;

    while (*name) {
        if (at < bytes && pattern[at] == '*') {
            star = at++;
            resume = name;
        } else if (at < bytes && (pattern[at] == '?' || pattern[at] == *name)) {
            at++;
            name++;
        } else if (star != SIZE_MAX) {
            at = star + 1;
            name = ++resume;
        } else {
            return false;
        }
    }
    while (at < bytes && pattern[at] == '*')
        at++;
    return at == bytes;
}

bool trust_matches(const char *patterns, const char *name)
{
    while (*patterns) {
        size_t bytes = strcspn(patterns, ",");

        if (bytes && pattern_matches(patterns, bytes, name))
            return true;
        patterns += bytes + (patterns[bytes] == ',');
    }
    return false;
}

bool trust_compares(const struct trust *t, const struct entry *e)
{
    return t->replica_check != TRUST_OFF && e->replica_count > 1 &&
           !trust_matches(t->replica_allow, e->name);
}

bool trust_is_optimizer(const struct trust *t, const struct entry *e)
{
    const struct geometry *g = &e->geometry;

    return t->on_stale != TRUST_IGNORE &&
           geometry_bytes(g) * 8 > dtype_bits(g->dtype) &&
           trust_matches(t->optimizer_names, e->name);
}

bool trust_takes_block(const struct trust *t, uint64_t name_hash,
                       uint64_t index)
{
    return t->replica_check == TRUST_ALL ||
           (t->replica_check == TRUST_SAMPLE &&
            (name_hash + index) % TRUST_PERIOD == t->rotation % TRUST_PERIOD);
}
