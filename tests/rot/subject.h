/*
 * subject.h - the small checkpoints that are damaged: made by the real engine
 * in a test world, with small raw or encoded chunks, chunks of an older save
 * that are referred to, and segments that were recycled.
 */
#ifndef TESTS_ROT_SUBJECT_H
#define TESTS_ROT_SUBJECT_H

#include "formats/manifest.h"
#include "tests/rot/image.h"

#define SUBJECT_RANKS   2
#define SUBJECT_TENSORS 2                /* of each rank, in one chunk */
#define SUBJECT_BYTES   ((uint64_t)1500) /* of each */

/* What bytes of a file are to the newest checkpoint. */
enum part {
    PART_DECISION,       /* with the manifest inside */
    PART_SEGMENT_HEADER, /* of a segment that it refers to */
    PART_CHUNK_HEADER,
    PART_PAYLOAD,
    PART_PADDING,
    PART_RECORD, /* another record of the home or the local store */
    PART_SPARE,  /* space in segments that nobody owns, or that is an older
                    checkpoint's alone */
    PARTS
};

extern const char *const part_name[PARTS];

struct subject {
    uint32_t codec;           /* 1 raw, 2 byte planes + lz4 */
    struct image now, before; /* before the newest save */
    struct save_id newest, older;
    uint8_t *part[64]; /* of each file of `now`: enum part per byte */
    uint64_t owned_bytes;
    struct manifest manifest; /* of the newest; points into `decision` */
    uint8_t *decision;
    /* What the tensors are in the newest and in the older checkpoint. */
    uint8_t truth[2][SUBJECT_RANKS][SUBJECT_TENSORS][SUBJECT_BYTES];
};

void subject_make(struct subject *s, uint32_t codec);
void subject_free(struct subject *s);

#endif
