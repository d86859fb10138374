/* minimal.c - a trainer of one process that saves, and resumes by itself. */
#include <ckpt.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int rc, const struct ckpt_error *error)
{
    if (rc < 0) {
        (void)fprintf(stderr, "minimal: %s\n", error->message);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static float weights[1 << 20];
    struct ckpt_tensor state = {.name = "weights",
                                .dtype = CKPT_F32,
                                .ndim = 1,
                                .shape = {1 << 20},
                                .data = weights,
                                .capture = CKPT_UNTIL_FENCE};
    struct ckpt_options options;
    struct ckpt_error error;
    struct ckpt_save *save = NULL;
    struct ckpt *ctx;
    struct ckpt_report report = {0}; /* its id is what was loaded */
    struct ckpt_id parent;
    uint64_t end;

    ckpt_options_init(&options);
    options.home = argc > 1 ? argv[1] : NULL; /* else CKPT_HOME */
    options.run = "minimal";
    check(ckpt_open(&options, &ctx, &error), &error);
    ckpt_parent(ctx, &parent);
    if (parent.generation) /* there is a checkpoint: go on from it */
        check(ckpt_load(ctx, &state, 1, NULL, &report, &error), &error);

    end = report.id.step + 100;
    for (uint64_t step = report.id.step + 1; step <= end; step++) {
        check(ckpt_fence(save, NULL, &error), &error); /* NULL: nothing due */
        for (size_t i = 0; i < 1 << 20; i++)           /* the update */
            weights[i] += 1;
        if (!ckpt_should_save(ctx, step, 25))
            continue;
        ckpt_save_free(save);
        check(ckpt_save(ctx, step, &state, 1, NULL, 0, &save, &error), &error);
    }
    if (save) /* a shorter loop may end without one */
        check(ckpt_wait(save, CKPT_COMMITTED, -1, &error), &error);
    (void)printf("step %d: weights are %g\n", (int)end, (double)weights[0]);
    ckpt_save_free(save);
    ckpt_close(ctx);
    return 0;
}
