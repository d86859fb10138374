/*
 * judge.c - what the votes on a save say of replicas and of freshness, in
 * words; see divergence.h.
 *
 * All checks of all votes become rows, sorted into groups. Groups of one region
 * follow one another by position, so that each region that differs is one
 * finding, told by its first block. The words are made for findings alone.
 * Near-linear in the checks; the votes were opened, so indices are followed.
 */
#include "formats/divergence.h"
#include "formats/stored.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Ranks that are listed by number, regions that are told in words. */
#define NAMED_MAX  8
#define TOLD_MAX   16
#define RANKS_TEXT (NAMED_MAX * 12 + 48)

struct judging {
    const struct manifest *votes;
    struct judgement *out;
    struct replica_row *rows;
    size_t count;
    size_t used; /* of out->divergence */
    struct err *err;
};

static int no_memory(struct judging *j)
{
    return err_set(j->err, -ENOMEM, "no memory to compare replicas");
}

/* The rows of one vote, behind those that are there. */
static int add_rows(struct judging *j, uint32_t source)
{
    const struct manifest *m = &j->votes[source];
    struct box *boxes = NULL;
    size_t capacity = 0;
    struct digest key = {{0}};
    struct wr w = {0};
    int rc = 0;

    for (uint64_t i = 0; i < m->check_count && rc == 0; i++) {
        const struct mf_check *c = &m->check[i];
        const struct mf_region *r = &m->region[c->region];
        const struct mf_tensor *t = &m->tensor[r->tensor];

        if (i == 0 || c->region != c[-1].region) {
            struct geometry g;
            struct region region;

            manifest_geometry(m, r->tensor, &g);
            rc = manifest_region(m, c->region, &boxes, &capacity, &region);
            if (rc == 0)
                key = replica_key(m->blob + t->name, t->name_bytes, &g, &region,
                                  &w);
            if (w.failed)
                rc = -ENOMEM;
        }
        j->rows[j->count++] = (struct replica_row){
            .key = key,
            .content = c->content,
            .start = c->start,
            .bytes = c->bytes,
            .rank = r->rank,
            .source = source,
            .index = (uint32_t)i,
        };
    }
    wr_free(&w);
    free(boxes);
    return rc ? no_memory(j) : 0;
}

static uint32_t unit_bytes(uint32_t dtype)
{
    const struct geometry g = {.dtype = dtype};

    return geometry_unit_bytes(&g);
}

static const struct mf_check *check_of(const struct judging *j,
                                       const struct replica_row *row)
{
    return &j->votes[row->source].check[row->index];
}

/*
 * Words.
 */

static void PRINTF_LIKE(2, 3) say(struct judging *j, const char *format, ...)
{
    size_t room = sizeof j->out->divergence - j->used;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(j->out->divergence + j->used, room, format, args);
    va_end(args);
    if (n > 0)
        j->used += min_u64((uint64_t)n, room - 1);
}

/* "rank 3" or "ranks 0, 1, 2 and 5 more": of the group's rows those that have,
 * or have not, this content. */
static void ranks_text(const struct replica_row *rows, size_t count,
                       const struct digest *content, bool is_same,
                       char text[RANKS_TEXT])
{
    char list[RANKS_TEXT - 32] = "";
    size_t used = 0;
    uint32_t named = 0;

    for (size_t i = 0; i < count; i++) {
        if (digest_equal(&rows[i].content, content) != is_same)
            continue;
        if (named++ < NAMED_MAX)
            used +=
                (size_t)snprintf(list + used, sizeof list - used, "%s%" PRIu32,
                                 used ? ", " : "", rows[i].rank);
    }
    if (named > NAMED_MAX)
        (void)snprintf(text, RANKS_TEXT, "ranks %s and %" PRIu32 " more", list,
                       named - NAMED_MAX);
    else
        (void)snprintf(text, RANKS_TEXT, "%s %s", named == 1 ? "rank" : "ranks",
                       list);
}

/* The element at packed byte `at` of the row's region. */
static int element_text(struct judging *j, const struct replica_row *row,
                        uint64_t at, char text[INDEX_TEXT_BYTES])
{
    const struct manifest *m = &j->votes[row->source];
    uint64_t region = check_of(j, row)->region;
    struct stored s = {0};
    int rc;

    stored_begin(&s, m, m->region[region].tensor);
    rc = stored_add(&s, region, at, s.unit_bytes, j->err);
    if (rc == 0)
        geometry_index_text(&s.geometry, s.slab[0].offset, text,
                            INDEX_TEXT_BYTES);
    stored_free(&s);
    return rc;
}

/* The row of which its daemon had the bytes, and another's. */
static const struct replica_row *find_located(const struct judging *j,
                                              const struct replica_row *rows,
                                              size_t count)
{
    const struct replica_row *best = NULL;

    for (size_t i = 0; i < count; i++) {
        uint64_t at = check_of(j, &rows[i])->differs_at;

        if (at != CHECK_UNKNOWN &&
            (!best || at < check_of(j, best)->differs_at))
            best = &rows[i];
    }
    return best;
}

static int say_element(struct judging *j, const struct replica_row *row)
{
    const struct manifest *m = &j->votes[row->source];
    const struct mf_check *c = check_of(j, row);
    uint32_t dtype = m->tensor[m->region[c->region].tensor].dtype;
    char at[INDEX_TEXT_BYTES], own[DTYPE_VALUE_TEXT], other[DTYPE_VALUE_TEXT];
    int rc = element_text(j, row, c->differs_at, at);

    if (rc)
        return rc;
    dtype_value_text(dtype, c->own, own, sizeof own);
    dtype_value_text(dtype, c->others, other, sizeof other);
    say(j,
        ", first at element %s: rank %" PRIu32 " has %s, rank %" PRIu32
        " has %s",
        at, row->rank, own, c->other, other);
    return 0;
}

static int say_range(struct judging *j, const struct replica_row *row)
{
    const struct manifest *m = &j->votes[row->source];
    const struct mf_tensor *t =
        &m->tensor[m->region[check_of(j, row)->region].tensor];
    uint64_t last = row->start + row->bytes - unit_bytes(t->dtype);
    char from[INDEX_TEXT_BYTES], to[INDEX_TEXT_BYTES];
    int rc = element_text(j, row, row->start, from);

    if (rc == 0)
        rc = element_text(j, row, last, to);
    if (rc == 0)
        say(j,
            ", first somewhere in elements %s to %s (no daemon had both bytes)",
            from, to);
    return rc;
}

/* Whose bytes of the block the checkpoint has. */
static void say_writer(struct judging *j, const struct replica_row *rows,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct manifest *m = &j->votes[rows[i].source];
        const struct mf_region *r = &m->region[check_of(j, &rows[i])->region];

        if (rows[i].start < r->slice_start ||
            rows[i].start - r->slice_start >= r->slice_bytes)
            continue;
        say(j, ", that of rank %" PRIu32 " is saved", rows[i].rank);
        return;
    }
}

/* A region's first block that differs. */
static int tell(struct judging *j, const struct replica_row *rows, size_t count)
{
    const struct replica_row *right = &rows[replica_group_right(rows, count)];
    const struct replica_row *located = find_located(j, rows, count);
    const struct manifest *m = &j->votes[right->source];
    const struct mf_tensor *t =
        &m->tensor[m->region[check_of(j, right)->region].tensor];
    bool is_reserved = t->flags & 1;
    char wrong_ranks[RANKS_TEXT], right_ranks[RANKS_TEXT];
    uint32_t wrong = 0;
    int rc;

    for (size_t i = 0; i < count; i++)
        wrong += !digest_equal(&rows[i].content, &right->content);
    ranks_text(rows, count, &right->content, false, wrong_ranks);
    ranks_text(rows, count, &right->content, true, right_ranks);
    say(j, "%s%s %.*s: %s %s from %s", j->used ? "; " : "",
        is_reserved ? "extra state" : "tensor",
        (int)(t->name_bytes - is_reserved), m->blob + t->name + is_reserved,
        wrong_ranks, wrong == 1 ? "differs" : "differ", right_ranks);
    rc = located ? say_element(j, located) : say_range(j, right);
    say_writer(j, rows, count);
    return rc;
}

/*
 * Judging.
 */

static int compare(struct judging *j)
{
    const struct digest *told = NULL;
    size_t end;
    int rc = 0;

    for (size_t i = 0; i < j->count && rc == 0; i = end) {
        const struct replica_row *rows = &j->rows[i];

        end = replica_group_end(j->rows, j->count, i);
        if (end - i < 2) {
            j->out->alone_blocks++;
            continue;
        }
        j->out->compared_blocks++;
        j->out->compared_bytes += rows->bytes;
        if (!replica_group_differs(rows, end - i))
            continue;
        j->out->diverged_blocks++;
        if (told && digest_equal(told, &rows->key))
            continue;
        told = &rows->key;
        if (j->out->diverged_regions++ < TOLD_MAX)
            rc = tell(j, rows, end - i);
    }
    if (rc == 0 && j->out->diverged_regions > TOLD_MAX)
        say(j, "; and %" PRIu64 " regions more",
            j->out->diverged_regions - TOLD_MAX);
    return rc;
}

/* All that wrote some of the optimizer's state found it as it was. */
static void judge_freshness(struct judging *j, uint32_t count)
{
    uint64_t step = 0, bytes = 0, ranks = 0;

    for (uint32_t v = 0; v < count; v++) {
        for (uint64_t i = 0; i < j->votes[v].trust_count; i++) {
            const struct mf_trust *t = &j->votes[v].trust[i];

            if (t->flags & MF_TRUST_FAIL_DIVERGENCE)
                j->out->must_fail_divergence = true;
            if (t->flags & MF_TRUST_FAIL_STALE)
                j->out->must_fail_stale = true;
            if (t->optimizer_bytes == 0)
                continue;
            if (t->same.generation == 0)
                ranks = UINT64_MAX; /* this one moved on */
            if (ranks != UINT64_MAX)
                ranks++;
            bytes += t->optimizer_bytes;
            step = max_u64(step, t->same.step);
        }
    }
    j->out->is_stale = ranks > 0 && ranks != UINT64_MAX;
    if (j->out->is_stale)
        (void)snprintf(
            j->out->stale, sizeof j->out->stale,
            "the optimizer's state (%" PRIu64 " bytes of %" PRIu64
            " ranks) is byte for byte that of step %" PRIu64 ", %" PRIu64
            " steps ago: it is not updated, or what is updated is not saved",
            bytes, ranks, step, j->votes[0].info.id.step - step);
}

int judge(const struct manifest *votes, uint32_t count, struct judgement *out,
          struct err *err)
{
    struct judging j = {.votes = votes, .out = out, .err = err};
    uint64_t rows = 0;
    int rc = 0;

    *out = (struct judgement){0};
    for (uint32_t i = 0; i < count; i++)
        rows += votes[i].check_count;
    judge_freshness(&j, count);
    if (rows == 0)
        return 0;
    j.rows = calloc(rows, sizeof *j.rows);
    if (!j.rows)
        return no_memory(&j);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = add_rows(&j, i);
    if (rc == 0) {
        replica_rows_sort(j.rows, j.count);
        rc = compare(&j);
    }
    free(j.rows);
    return rc;
}
