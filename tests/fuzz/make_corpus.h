/*
 * make_corpus.h - the parts of make_corpus (make_corpus.c).
 */
#ifndef TESTS_FUZZ_MAKE_CORPUS_H
#define TESTS_FUZZ_MAKE_CORPUS_H

#include "common/bytes.h"
#include "formats/table.h"

/* Writes FOLDER/KIND/NAME and empties w. */
void corpus_put(const char *kind, const char *name, struct wr *w);

/* Tables of one and of several entries, of all kinds of regions. */
#define CORPUS_TABLES 5
extern const struct table corpus_table[CORPUS_TABLES];
/* Adds table i, encoded. */
void corpus_table_add(struct wr *w, size_t i);

/* A file of the golden home; free() it. */
uint8_t *corpus_golden(const char *name, size_t *bytes);

void corpus_media(void);
void corpus_manifests(void);
void corpus_wire(void);
void corpus_session(void);
void corpus_text(void);
void corpus_rados(void);

#endif
