/*
 * rank.c - one rank of a job, driven line by line, so that run.py can let it
 * and its reference take turns.
 *
 *   rank HOME STATE_BYTES
 *
 * The state is TENSORS tensors of bf16, Gaussian with a fixed seed. Each save
 * takes them WINDOW_SHIFT further along in a longer row of numbers, so that no
 * chunk equals the one at its place in the save before, and nothing is reused.
 *
 * A line of standard input is one command, answered by "ok NUMBER..." (times
 * in seconds) or "error WORDS" and the end:
 *
 *   open RUN KEEP_LAST   join it, resuming from the newest save
 *   close                leave it
 *   save                 times until ckpt_save() returned, STAGED, LOCAL and
 *                        COMMITTED; all tensors CAPTURE_NOW
 *   load                 time of ckpt_load(); every byte is compared afterwards
 *   copy                 time of a non-temporal copy of the state, one thread
 *   calibrate FACTOR     set the work of a step to FACTOR times a copy; time of
 *                        a step and of a copy
 *   step                 time of a step: computing on one thread
 *   save_step            the same with a save of UNTIL_FENCE tensors at its
 *                        beginning and the fence at its end; COMMITTED is
 *                        waited for after the clock has stopped
 *   file PATH            time to write the state to a file: write, fsync,
 *                        rename, fsync of the folder
 */
#include "tests/bench/state.h"
#include "trainer/ckpt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define TENSORS      8
#define WINDOW_SHIFT ((size_t)4096)
#define WINDOWS      8
#define WAIT_MS      120000
#define LINE_MAX_    4352
#define COPIES       9

struct rank {
    const char *home;
    size_t bytes;    /* of the state */
    uint8_t *row;    /* bytes + WINDOWS * WINDOW_SHIFT of it */
    uint8_t *target; /* of loads and copies; every page was touched */
    struct ckpt *ctx;
    uint64_t step;
    uint64_t rounds; /* of compute(), in a step */
    struct ckpt_tensor tensor[TENSORS];
    char name[TENSORS][16];
    struct ckpt_error error;
};

static uint8_t *window(const struct rank *r)
{
    return r->row + r->step % WINDOWS * WINDOW_SHIFT;
}

static void place_tensors(struct rank *r, uint8_t *base,
                          enum ckpt_capture capture)
{
    size_t each = r->bytes / TENSORS;

    for (uint32_t i = 0; i < TENSORS; i++)
        r->tensor[i] = (struct ckpt_tensor){
            .name = r->name[i],
            .dtype = CKPT_BF16,
            .ndim = 1,
            .shape = {each / 2},
            .data = base + i * each,
            .capture = capture,
        };
}

static int rank_init(struct rank *r, const char *home, const char *bytes)
{
    *r = (struct rank){.home = home, .bytes = strtoull(bytes, NULL, 10)};
    if (r->bytes == 0 || r->bytes % (TENSORS * WINDOW_SHIFT))
        return -EINVAL;
    r->row = memory(r->bytes + WINDOWS * WINDOW_SHIFT);
    r->target = memory(r->bytes);
    if (!r->row || !r->target)
        return -ENOMEM;
    fill_gaussian(r->row, r->bytes + WINDOWS * WINDOW_SHIFT);
    for (uint32_t i = 0; i < TENSORS; i++)
        (void)snprintf(r->name[i], sizeof r->name[i], "layer.%02u", i);
    return 0;
}

/*
 * Commands of the library.
 */

static int do_open(struct rank *r, const char *argument)
{
    struct ckpt_options o;
    struct ckpt_id parent;
    char run[256];

    ckpt_options_init(&o);
    if (sscanf(argument, "%255s %" SCNu32, run, &o.keep_last) != 2)
        return -EINVAL;
    o.home = r->home;
    o.run = run;
    o.rank = 0;
    o.world_size = 1;
    o.codec = CKPT_CODEC_RAW;
    if (ckpt_open(&o, &r->ctx, &r->error))
        return r->error.code;
    ckpt_parent(r->ctx, &parent);
    r->step = parent.generation ? parent.step : 0;
    (void)printf("ok\n");
    return 0;
}

static int do_close(struct rank *r, const char *argument)
{
    (void)argument;
    ckpt_close(r->ctx);
    r->ctx = NULL;
    (void)printf("ok\n");
    return 0;
}

static int begin_save(struct rank *r, enum ckpt_capture capture,
                      struct ckpt_save **save)
{
    r->step++;
    place_tensors(r, window(r), capture);
    return ckpt_save(r->ctx, r->step, r->tensor, TENSORS, NULL, 0, save,
                     &r->error);
}

static int do_save(struct rank *r, const char *argument)
{
    struct ckpt_save *save;
    double begin = now(), at[4];
    int rc = begin_save(r, CKPT_CAPTURE_NOW, &save);

    (void)argument;
    if (rc)
        return rc;
    at[0] = now() - begin;
    for (int state = CKPT_STAGED; state <= CKPT_COMMITTED && rc == 0; state++) {
        rc = ckpt_wait(save, (enum ckpt_state)state, WAIT_MS, &r->error);
        at[state] = now() - begin;
    }
    ckpt_save_free(save);
    if (rc == 0)
        (void)printf("ok %.9f %.9f %.9f %.9f\n", at[0], at[1], at[2], at[3]);
    return rc;
}

static int do_load(struct rank *r, const char *argument)
{
    double begin, end;
    int rc;

    (void)argument;
    place_tensors(r, r->target, CKPT_CAPTURE_NOW);
    begin = now();
    rc = ckpt_load(r->ctx, r->tensor, TENSORS, NULL, NULL, &r->error);
    end = now();
    if (rc)
        return rc;
    if (memcmp(r->target, window(r), r->bytes) != 0) {
        (void)snprintf(r->error.message, sizeof r->error.message,
                       "what was loaded is not what was saved");
        return r->error.code = -EILSEQ;
    }
    memset(r->target, 1, r->bytes);
    (void)printf("ok %.9f\n", end - begin);
    return 0;
}

/*
 * Copying and computing.
 */

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void
copy_512(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm512_stream_si512((__m512i *)(void *)(to + i),
                            _mm512_loadu_si512(from + i));
    _mm_sfence();
}

static void copy_128(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 16)
        _mm_stream_si128(
            (__m128i *)(void *)(to + i),
            _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
    _mm_sfence();
}

static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (__builtin_cpu_supports("avx512f"))
        copy_512(to, from, bytes);
    else
        copy_128(to, from, bytes);
}
#else
static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    memcpy(to, from, bytes);
}
#endif

static double time_copy(struct rank *r)
{
    double begin = now();

    copy(r->target, window(r), r->bytes);
    return now() - begin;
}

static int do_copy(struct rank *r, const char *argument)
{
    (void)argument;
    (void)printf("ok %.9f\n", time_copy(r));
    return 0;
}

/* Fixed work out of registers: it needs a processor and no memory. */
static double compute(uint64_t rounds)
{
    volatile double sink;
    double a = 1, b = 2, c = 3, d = 4, begin = now();

    for (uint64_t i = 0; i < rounds; i++) {
        a = a * 0.999999 + 1e-6;
        b = b * 0.999998 + 1e-6;
        c = c * 0.999997 + 1e-6;
        d = d * 0.999996 + 1e-6;
    }
    sink = a + b + c + d;
    (void)sink;
    return now() - begin;
}

static double fastest_copy(struct rank *r)
{
    double best = time_copy(r);

    for (int i = 1; i < COPIES; i++)
        best = fmin(best, time_copy(r));
    return best;
}

static int do_calibrate(struct rank *r, const char *argument)
{
    double factor = strtod(argument, NULL), seconds = fastest_copy(r);
    uint64_t sample = 1000000;
    double each = compute(sample);

    for (int i = 1; i < COPIES; i++)
        each = fmin(each, compute(sample));
    if (!(factor > 0))
        return -EINVAL;
    r->rounds = (uint64_t)(factor * seconds / each * (double)sample) + 1;
    (void)printf("ok %.9f %.9f\n", compute(r->rounds), seconds);
    return 0;
}

static int do_step(struct rank *r, const char *argument)
{
    (void)argument;
    (void)printf("ok %.9f\n", compute(r->rounds));
    return 0;
}

static int do_save_step(struct rank *r, const char *argument)
{
    struct ckpt_save *save;
    double begin = now(), saved, computed, end;
    int rc = begin_save(r, CKPT_UNTIL_FENCE, &save);

    (void)argument;
    if (rc)
        return rc;
    saved = now();
    (void)compute(r->rounds);
    computed = now();
    rc = ckpt_fence(save, NULL, &r->error);
    end = now();
    if (rc == 0)
        rc = ckpt_wait(save, CKPT_COMMITTED, WAIT_MS, &r->error);
    ckpt_save_free(save);
    if (rc == 0)
        (void)printf("ok %.9f %.9f %.9f\n", end - begin, saved - begin,
                     end - computed);
    return rc;
}

/*
 * The reference of small saves.
 */

static int write_all(int fd, const uint8_t *from, size_t bytes)
{
    while (bytes) {
        ssize_t n = write(fd, from, bytes);

        if (n < 0)
            return -errno;
        from += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int sync_folder(const char *path)
{
    char text[PATH_MAX];
    int fd, rc;

    (void)snprintf(text, sizeof text, "%s", path);
    fd = open(dirname(text), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fsync(fd) ? -errno : 0;
    (void)close(fd);
    return rc;
}

static int do_file(struct rank *r, const char *path)
{
    char fresh[PATH_MAX];
    double begin = now();
    int fd, rc;

    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return -ENAMETOOLONG;
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    rc = write_all(fd, window(r), r->bytes);
    if (rc == 0 && fsync(fd))
        rc = -errno;
    if (close(fd) && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(fresh, path))
        rc = -errno;
    if (rc == 0)
        rc = sync_folder(path);
    if (rc == 0)
        (void)printf("ok %.9f\n", now() - begin);
    return rc;
}

/*
 * The loop.
 */

static const struct command {
    const char *name;
    int (*run)(struct rank *r, const char *argument);
    int needs_open;
} commands[] = {
    {"open", do_open, 0}, {"close", do_close, 1},
    {"save", do_save, 1}, {"load", do_load, 1},
    {"copy", do_copy, 0}, {"calibrate", do_calibrate, 0},
    {"step", do_step, 0}, {"save_step", do_save_step, 1},
    {"file", do_file, 0},
};

static int obey(struct rank *r, char *line)
{
    char *argument = line + strcspn(line, " \n");

    line[strcspn(line, "\n")] = '\0';
    if (*argument)
        *argument++ = '\0';
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, line) == 0)
            return commands[i].needs_open && !r->ctx
                       ? -ENOTCONN
                       : commands[i].run(r, argument);
    return -EINVAL;
}

int main(int argc, char **argv)
{
    static struct rank r;
    char line[LINE_MAX_];
    int rc;

    if (argc != 3) {
        (void)fprintf(stderr, "usage: rank HOME STATE_BYTES\n");
        return 2;
    }
    rc = rank_init(&r, argv[1], argv[2]);
    if (rc == 0)
        (void)printf("ok\n");
    (void)fflush(stdout);
    while (rc == 0 && fgets(line, sizeof line, stdin)) {
        rc = obey(&r, line);
        if (rc == 0)
            (void)fflush(stdout);
    }
    if (rc)
        (void)printf("error %s\n",
                     r.error.code == rc ? r.error.message : ckpt_strerror(rc));
    ckpt_close(r.ctx);
    return rc ? 1 : 0;
}
