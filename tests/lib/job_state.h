/*
 * job_state.h - the state of one rank of a test job, and what it must be.
 *
 * Every element of every tensor is a function of (tensor, element, version):
 * any rank can say in any layout what it must hold, without having seen it.
 * All tensors have the shape [rows, columns] and are U32; what a rank holds of
 * them is the layout's choice, "mixed" taking another one for each tensor.
 */
#ifndef TESTS_LIB_JOB_STATE_H
#define TESTS_LIB_JOB_STATE_H

#include "trainer/ckpt.h"

#define JOB_TENSORS_MAX 64

enum job_layout {
    JOB_ROWS,    /* a range of rows, the last ranks' padded */
    JOB_COLUMNS, /* a range of columns */
    JOB_FLAT,    /* a range of the flattened tensor with padding behind it */
    JOB_FUSED,   /* a range of the upper half's rows and one of the lower's */
    JOB_REPLICA, /* all of it, on every rank */
    JOB_OWNER,   /* all of it on one rank, nothing on others */
    JOB_LAYOUTS,
    JOB_MIXED = JOB_LAYOUTS,
};

/* What is wrong with a rank's claims on purpose. */
enum job_fault {
    JOB_FAULT_NONE,
    JOB_FAULT_HOLE,    /* the last row (JOB_ROWS) is left out */
    JOB_FAULT_OVERLAP, /* a row of the next rank's is claimed with other bytes
                        */
    JOB_FAULT_DTYPE,   /* tensor 0 is I32 */
    JOB_FAULT_SHAPE,   /* tensor 0 has another row */
    JOB_FAULT_NAME,    /* tensor 0 is called "nobody" */
    JOB_FAULT_NAN_DIM, /* tensor 0 has nine dimensions */
    JOB_FAULTS,
};

struct job_shape {
    uint32_t rank, world, tensor_count;
    uint64_t rows, columns;
    enum job_layout layout;
    enum job_fault fault;
    enum ckpt_capture capture;
    bool is_dull; /* half of all bytes are zero: it gets smaller encoded */
};

struct job_state {
    struct job_shape shape;
    uint32_t version[JOB_TENSORS_MAX];
    size_t count;                     /* of descriptors */
    uint32_t tensor[JOB_TENSORS_MAX]; /* of each descriptor */
    struct ckpt_tensor piece[JOB_TENSORS_MAX];
    struct ckpt_box box[JOB_TENSORS_MAX][2];
    char name[JOB_TENSORS_MAX][32];
    uint64_t elements[JOB_TENSORS_MAX]; /* of each buffer */
};

/* -1 for no such word. */
int job_layout_parse(const char *word);
int job_fault_parse(const char *word);

/* 0, -EINVAL or -ENOMEM; job_state_fini() frees it. */
int job_state_init(struct job_state *s, const struct job_shape *shape);
void job_state_fini(struct job_state *s);

/* Every buffer, padding too. */
void job_state_set(struct job_state *s, uint32_t value);

/* The elements as of s->version; padding is set to a value of its own. */
void job_state_fill(struct job_state *s);

/* Whether all is as of s->version and padding is zero; else the first
 * difference in words. */
bool job_state_check(const struct job_state *s, char *text, size_t capacity);

/* Bytes of this rank's buffers. */
uint64_t job_state_bytes(const struct job_state *s);

#endif
