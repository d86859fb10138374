/*
 * by_load.c - loads of a damaged home, in a test world and for real; see
 * reading.h.
 */
#include "tests/rot/reading.h"

#include "tests/lib/load_rig.h"
#include "tests/storm/proc.h"
#include "trainer/ckpt.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MS 900000
#define LOADERS  2

static bool is_typed(int code)
{
    return (code <= -1 && code > -4096 && code > -CKPT_ECORRUPT) ||
           (code <= -CKPT_ECORRUPT && code >= -CKPT_EABORTED);
}

static void failed(struct reading *out, int code, const char *text)
{
    out->code = code;
    out->outcome =
        is_typed(code) && strlen(text) > 10 ? OUTCOME_ERROR : OUTCOME_WRONG;
    (void)snprintf(out->text, sizeof out->text, "%s", text);
}

/* Which checkpoint these bytes are of: OUTCOME_WRONG when of none. */
static enum outcome whose(const struct subject *s, const struct save_id *id,
                          uint32_t rank, uint32_t tensor, const void *data)
{
    int which = save_id_compare(id, &s->newest) == 0  ? 0
                : save_id_compare(id, &s->older) == 0 ? 1
                                                      : -1;

    if (which < 0 ||
        memcmp(data, s->truth[which][rank][tensor], SUBJECT_BYTES) != 0)
        return OUTCOME_WRONG;
    return which ? OUTCOME_OLDER : OUTCOME_NEWEST;
}

/*
 * In a test world: two ranks, each of which wants what the other has saved.
 */

static void judge_load(const struct subject *s, const struct rig_load *l,
                       struct reading *out)
{
    if (l->code) {
        failed(out, l->code, l->text);
        return;
    }
    out->code = 0;
    (void)snprintf(out->text, sizeof out->text, "%s", l->text);
    out->outcome = whose(s, &l->id, l->want[0].owner, 0, l->data[0]);
    for (uint32_t t = 1; t < SUBJECT_TENSORS; t++)
        if (whose(s, &l->id, l->want[t].owner, t, l->data[t]) != out->outcome)
            out->outcome = OUTCOME_WRONG;
    if (out->outcome == OUTCOME_OLDER && !strstr(l->text, "step 50"))
        out->outcome = OUTCOME_WRONG;
}

static void load(const struct subject *s, struct rig *g, struct rig_rank **r,
                 struct reading *out)
{
    struct rig_load *l[LOADERS];
    struct reading other = {0};

    for (uint32_t i = 0; i < LOADERS; i++) {
        uint32_t owner = (i + 1) % SUBJECT_RANKS;
        struct rig_want want[SUBJECT_TENSORS] = {{.owner = owner},
                                                 {.owner = owner, .tensor = 1}};

        rig_wish(r[i], 7, want, SUBJECT_TENSORS, SUBJECT_BYTES);
        l[i] = rig_load(r[i], NULL);
    }
    (void)rig_run(g, LIMIT_MS, rig_loads_done, g);
    if (!l[0]->is_done || !l[1]->is_done) {
        failed(out, 0, "it hangs");
        return;
    }
    judge_load(s, l[0], out);
    judge_load(s, l[1], &other);
    if (other.outcome == OUTCOME_WRONG)
        *out = other;
    if (out->outcome == OUTCOME_WRONG)
        (void)snprintf(out->text, sizeof out->text, "WRONG BYTES, or no note");
    else if (out->outcome != other.outcome)
        failed(out, 0, "one rank has loaded another save than the other");
}

void read_by_load(const struct subject *s, const struct image *i,
                  struct reading *out)
{
    struct rig_shape shape = {.world_size = LOADERS,
                              .slots = 6,
                              .tensors = 1,
                              .tensor_bytes = SUBJECT_BYTES,
                              .codec = 1,
                              .entropy = 1};
    struct test_world *w = test_world_new(0);
    struct rig_rank *r[RIG_RANKS_MAX];
    struct rig *g;

    test_world_add(w, RIG_HOME, image_store(i, false));
    test_world_add(w, "local/a", image_store(i, true));
    g = rig_new_in(w, "a");
    rig_start(g, "loads", &shape, r);
    if (!rig_joined(r[0]) || !rig_joined(r[1]))
        failed(out, r[0]->error, r[0]->error_text);
    else
        load(s, g, r, out);
    rig_free(g);
}

/*
 * For real: one rank that wants all.
 */

static void load_for_real(const struct subject *s, struct ckpt *ctx,
                          struct reading *out)
{
    static uint8_t data[SUBJECT_RANKS][SUBJECT_TENSORS][SUBJECT_BYTES];
    struct ckpt_tensor target[SUBJECT_RANKS * SUBJECT_TENSORS];
    char name[SUBJECT_RANKS * SUBJECT_TENSORS][32];
    struct ckpt_report report;
    struct ckpt_error error;
    struct save_id id;
    int rc;

    memset(data, 0xa5, sizeof data);
    for (uint32_t k = 0; k < ARRAY_LEN(target); k++) {
        uint32_t rank = k / SUBJECT_TENSORS, tensor = k % SUBJECT_TENSORS;

        (void)snprintf(name[k], sizeof name[k], "rank%u.tensor%u", rank,
                       tensor);
        target[k] = (struct ckpt_tensor){.name = name[k],
                                         .dtype = CKPT_U16,
                                         .ndim = 1,
                                         .shape = {SUBJECT_BYTES / 2},
                                         .data = data[rank][tensor]};
    }
    rc = ckpt_load(ctx, target, ARRAY_LEN(target), NULL, &report, &error);
    if (rc) {
        failed(out, rc, error.message);
        return;
    }
    id = (struct save_id){.generation = report.id.generation,
                          .step = report.id.step,
                          .attempt = report.id.attempt};
    out->code = 0;
    (void)snprintf(out->text, sizeof out->text, "%s", report.note);
    out->outcome = whose(s, &id, 0, 0, data[0][0]);
    for (uint32_t k = 1; k < ARRAY_LEN(target); k++)
        if (whose(s, &id, k / SUBJECT_TENSORS, k % SUBJECT_TENSORS,
                  data[k / SUBJECT_TENSORS][k % SUBJECT_TENSORS]) !=
            out->outcome)
            out->outcome = OUTCOME_WRONG;
    if (out->outcome == OUTCOME_OLDER && !strstr(out->text, "step 50"))
        out->outcome = OUTCOME_WRONG;
}

void read_by_rank(const struct subject *s, const char *dir, struct reading *out)
{
    struct ckpt_options o;
    struct ckpt_error error;
    struct ckpt *ctx;
    char local[1024];
    pid_t pid;
    int rc;

    ckpt_options_init(&o);
    o.home = dir;
    o.run = RIG_RUN;
    o.rank = 0;
    o.world_size = 1;
    o.open_timeout_ms = 20000;
    o.decide_timeout_ms = 20000;
    o.load_timeout_ms = 20000;
    rc = ckpt_open(&o, &ctx, &error);
    if (rc) {
        failed(out, rc, error.message);
        return;
    }
    load_for_real(s, ctx, out);
    ckpt_close(ctx);
    (void)snprintf(local, sizeof local, "%s/local", dir);
    while (proc_find("ckptd", local, &pid, 1) > 0) /* it has LINGER 0 */
        proc_sleep_us(1000);
}
