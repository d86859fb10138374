/*
 * own_chunks.c - see own_chunks.h.
 *
 * The order of a save with own chunks: what holds a CAPTURE_NOW piece first, of
 * the write list and then of the own ones, then the lazy rest likewise.
 */
#include "trainer/own_chunks.h"

#include <errno.h>
#include <stdlib.h>

static bool is_now(const struct own_chunks *o, const struct capture_map *map,
                   uint32_t chunk)
{
    for (uint32_t i = o->check.first[chunk]; i < o->check.first[chunk + 1]; i++)
        if (map->entry[o->check.block[i].entry].is_now)
            return true;
    return false;
}

static int fill_order(struct own_chunks *o, const struct capture_map *map)
{
    uint32_t written = o->check.written_count, now = map->now_count;
    uint32_t end = written + o->check.own_count, at = 0;

    o->order = calloc(end, sizeof *o->order);
    if (!o->order)
        return -ENOMEM;
    for (uint32_t i = 0; i < now; i++)
        o->order[at++] = map->order[i];
    for (uint32_t i = written; i < end; i++)
        if (is_now(o, map, i))
            o->order[at++] = i;
    o->now_count = at;
    for (uint32_t i = now; i < written; i++)
        o->order[at++] = map->order[i];
    for (uint32_t i = written; i < end; i++)
        if (!is_now(o, map, i))
            o->order[at++] = i;
    return 0;
}

int own_chunks_init(struct own_chunks *o, const struct capture_map *map,
                    const struct trust *trust, struct err *err)
{
    struct trust replicas;
    int rc;

    *o = (struct own_chunks){.now_count = map->now_count};
    if (!trust || trust->replica_check == TRUST_OFF)
        return 0;
    replicas = *trust;
    replicas.on_stale = TRUST_IGNORE; /* is about what is written anyway */
    rc = checklist_build(map->table.entry, map->table.count, &map->list,
                         map->chunk_bytes, &replicas, &o->check);
    if (rc == 0 && o->check.own_count)
        rc = fill_order(o, map);
    if (rc) {
        own_chunks_fini(o);
        return err_set(err, rc, "the list of replicas to compare: %s",
                       err_text(rc));
    }
    return 0;
}

void own_chunks_fini(struct own_chunks *o)
{
    checklist_free(&o->check);
    free(o->order);
    o->order = NULL;
}

void own_chunks_capture(const struct own_chunks *o,
                        const struct capture_map *map, uint32_t chunk,
                        void *const *data, uint8_t *slot)
{
    const struct checklist *c = &o->check;

    if (chunk < map->list.chunk_count) {
        capture_chunk(map, chunk, data, slot);
        return;
    }
    for (uint32_t i = c->first[chunk]; i < c->first[chunk + 1]; i++) {
        const struct check_block *b = &c->block[i];

        capture_piece(map, b->entry, data, b->region_start, b->bytes,
                      slot + b->chunk_start);
    }
}
