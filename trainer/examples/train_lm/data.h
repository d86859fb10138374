/*
 * data.h - the text, and the order in which it is read.
 *
 * Sample i is a window of CONTEXT bytes at an offset that is a pure function of
 * the seed and of i. The position of the whole job is therefore one number, and
 * any degree of data parallelism goes on with the same samples.
 */
#ifndef TRAIN_LM_DATA_H
#define TRAIN_LM_DATA_H

#include <stddef.h>
#include <stdint.h>

#define CONTEXT   64  /* bytes predicted per sample */
#define TOKEN_BOS 256 /* what stands before the first byte of a sample */
#define VOCAB     257

struct corpus {
    uint8_t *text;
    size_t bytes;
};

/*
 * Read a file, or all regular files of a directory in the order of their names.
 * 0; -errno with the file at fault in `culprit` (a path, or a name in that
 * directory); -ENODATA (no file, or too short for one sample) with the reason
 * in it. Freed with corpus_fini().
 */
int corpus_init(struct corpus *corpus, const char *path, char culprit[256])
    __attribute__((warn_unused_result));
void corpus_fini(struct corpus *corpus);

/* CONTEXT inputs and targets each of sample `index` under `seed`. */
void corpus_sample(const struct corpus *corpus, uint64_t seed, uint64_t index,
                   uint16_t *inputs, uint16_t *targets);

#endif
