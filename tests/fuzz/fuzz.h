/*
 * fuzz.h - what the fuzzers share.
 *
 * Each fuzz_*.c is one libFuzzer program around one family of parsers. Its
 * fuzz_one() is given bytes and looks for what the sanitizers see, and for
 * properties that fuzz_check() states: what decodes encodes again to the same
 * bytes, what was accepted stays in its bounds. The bytes are read through a
 * struct rd, which gives zeros behind its end; what they mean is at the top of
 * each file.
 *
 * Memory: while fuzz_one() runs, one allocation of more than `multiple` times
 * the input (and FUZZ_ALLOCATION_MIN) ends the run as a finding, so that a
 * claimed length never sizes an allocation. fuzz_allocations() sets it.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "common/bytes.h"
#include "common/err.h"

#define FUZZ_ALLOCATION_MIN ((size_t)256 << 10)

/* The fuzzer's own part. */
void fuzz_one(struct rd *in, size_t bytes);

/* libFuzzer's entry points (fuzz.c). */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* From now on, for this input. 0: the harness itself allocates, any size. */
void fuzz_allocations(size_t multiple);

/* A property: prints the words and dies when it does not hold. */
void fuzz_fail(const char *file, int line, const char *what)
    __attribute__((noreturn));
#define fuzz_check(holds)                                                      \
    ((holds) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #holds))

/* At most `most` bytes, as many as there are; malloc'd exactly, so that a read
 * beyond is seen. free() it. */
uint8_t *fuzz_exact(struct rd *in, size_t most, size_t *bytes);

/* What an encoder wrote is `bytes` of `data`; frees w. */
void fuzz_same(struct wr *w, const void *data, size_t bytes);

/*
 * Forging: digests that fit, so that what is behind them is reached. Each
 * result is malloc'd.
 */

/* A record of `kind` around a body, as in FORMAT.md. */
uint8_t *forge_record(uint32_t kind, const void *body, size_t body_bytes,
                      size_t *bytes);
/* A container from its part up to the page digests: they and the trailer are
 * added, the lengths in the header are made to fit. NULL when it is shorter
 * than a header. */
uint8_t *forge_container(const void *data, size_t data_bytes, size_t *bytes);
/* A header page from its first bytes, the rest zero, and its digest. */
uint8_t *forge_page(const void *data, size_t data_bytes);

#endif
