/*
 * digest.c - see digest.h. For a piece of a tensor each rank lays out the
 * elements that it holds as replica 0 among zeros; rank 0 gets the bitwise OR
 * of all, and the count of elements tells whether each came exactly once.
 */
#include "trainer/examples/train_lm/digest.h"

#include "trainer/examples/train_lm/region.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ELEMENTS ((uint64_t)1 << 18)

/* A tensor of the whole job. */
struct entry {
    char name[STATE_NAME_BYTES];
    struct spec spec;
    enum ckpt_dtype dtype;
};

/* A piece of a tensor and what this rank has put into it. */
struct piece {
    uint64_t begin, count, found;
    size_t width;
    const uint8_t *from; /* of the descriptor being walked */
    uint8_t *bytes;
};

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static struct entry *list(const struct options *options, size_t *count)
{
    size_t spec_count;
    struct spec *specs = weights_specs(options, &spec_count);
    struct entry *entries = allocate(4 * spec_count, sizeof *entries);
    size_t n = 0;

    for (size_t i = 0; i < spec_count; i++) {
        enum role role = specs[i].role;

        entries[n].spec = specs[i];
        entries[n].dtype = specs[i].dtype;
        (void)snprintf(entries[n++].name, STATE_NAME_BYTES, "%s",
                       specs[i].name);
        if (role == ROLE_ACT_EMA || role == ROLE_LOAD_EMA)
            continue;
        for (size_t k = 0; k < 3; k++) {
            entries[n].spec = specs[i];
            entries[n].dtype = CKPT_F32;
            (void)snprintf(entries[n++].name, STATE_NAME_BYTES, "%s%s",
                           state_optim_prefix(k), specs[i].name);
        }
    }
    free(specs);
    qsort(entries, n, sizeof *entries, by_name);
    *count = n;
    return entries;
}

static void take_run(void *context, uint64_t local, uint64_t global,
                     uint64_t count)
{
    struct piece *piece = context;
    uint64_t end = global + count, limit = piece->begin + piece->count;

    if (end > limit)
        end = limit;
    if (global < piece->begin) {
        local += piece->begin - global;
        global = piece->begin;
    }
    if (global >= end)
        return;
    memcpy(piece->bytes + (global - piece->begin) * piece->width,
           piece->from + local * piece->width, (end - global) * piece->width);
    piece->found += end - global;
}

/* Fill `piece` on rank 0 with the elements of all ranks. */
static void gather(const struct state *state, const struct entry *entry,
                   const struct mesh *mesh, struct piece *piece)
{
    size_t bytes = piece->count * piece->width;
    bool is_root = mesh->world.rank == 0;
    uint64_t found = 0;

    memset(piece->bytes, 0, bytes);
    piece->found = 0;
    for (size_t i = 0; i < state->saved_count; i++) {
        const struct ckpt_tensor *tensor = &state->tensors[i];

        if (tensor->replica_index > 0 || strcmp(tensor->name, entry->name) != 0)
            continue;
        piece->from = tensor->data;
        region_walk(tensor, take_run, piece);
    }
    MPI_Reduce(is_root ? MPI_IN_PLACE : piece->bytes,
               is_root ? piece->bytes : NULL, (int)bytes, MPI_BYTE, MPI_BOR, 0,
               mesh->world.comm);
    MPI_Reduce(&piece->found, &found, 1, MPI_UINT64_T, MPI_SUM, 0,
               mesh->world.comm);
    if (is_root && found != piece->count)
        fatal("%s: of %llu elements from %llu the ranks hold %llu", entry->name,
              (unsigned long long)piece->count,
              (unsigned long long)piece->begin, (unsigned long long)found);
}

static void update(EVP_MD_CTX *md, const void *data, size_t bytes)
{
    if (EVP_DigestUpdate(md, data, bytes) != 1)
        fatal("SHA-256 failed in libcrypto");
}

static void digest_entry(const struct state *state, const struct entry *entry,
                         const struct mesh *mesh, EVP_MD_CTX *md)
{
    struct piece piece = {.width = entry->dtype == CKPT_BF16 ? 2 : 4};
    uint64_t total = 1;

    for (uint32_t d = 0; d < entry->spec.ndim; d++)
        total *= entry->spec.shape[d];
    piece.bytes = allocate(PIECE_ELEMENTS, piece.width);
    update(md, entry->name, strlen(entry->name) + 1);
    for (; piece.begin < total; piece.begin += piece.count) {
        piece.count = total - piece.begin;
        if (piece.count > PIECE_ELEMENTS)
            piece.count = PIECE_ELEMENTS;
        gather(state, entry, mesh, &piece);
        update(md, piece.bytes, piece.count * piece.width);
    }
    free(piece.bytes);
}

void digest_state(const struct state *state, const struct options *options,
                  const struct mesh *mesh, char text[DIGEST_TEXT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned int bytes = 0;
    struct entry *entries;
    size_t count;

    if (!md || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
        fatal("no SHA-256 in libcrypto");
    entries = list(options, &count);
    for (size_t i = 0; i < count; i++)
        digest_entry(state, &entries[i], mesh, md);
    free(entries);
    if (EVP_DigestFinal_ex(md, digest, &bytes) != 1)
        fatal("SHA-256 failed in libcrypto");
    EVP_MD_CTX_free(md);
    for (unsigned int i = 0; i < bytes; i++)
        (void)snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
}
