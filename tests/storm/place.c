/*
 * place.c - see place.h: the table of places.
 */
#include "tests/storm/place.h"

#include <string.h>

const struct place places[] = {
    /* Recovery and joining, which saves and loads alike come by. */
    {"recovery: segments listed", PLACE_AFTER, STORE_LIST, "seg", false, 1},
    {"recovery: header read", PLACE_AFTER, STORE_READ, "head", false, 2},
    {"recovery: intents unread", PLACE_BEFORE, STORE_LIST, "/intent", false, 1},
    {"join: before closed", PLACE_BEFORE, STORE_PUT, "/closed/", false, 1},
    {"join: after gen", PLACE_AFTER, STORE_PUT, "/gen/", false, 1},
    {"join: after member", PLACE_AFTER, STORE_PUT, "/member/", false, 1},
    /* Saves. */
    {"save: before intent", PLACE_BEFORE, STORE_PUT, "/intent/", false, 2},
    {"save: after intent", PLACE_AFTER, STORE_PUT, "/intent/", false, 2},
    {"save: room reserved", PLACE_OUT, WIRE_SLOTS, NULL, false, 3},
    {"save: before header", PLACE_BEFORE, STORE_WRITE, "head", false, 2},
    {"save: before write", PLACE_BEFORE, STORE_WRITE, "body", false, 3},
    {"save: after write", PLACE_AFTER, STORE_WRITE, "body", false, 3},
    {"save: before fsync", PLACE_BEFORE, STORE_SYNC, NULL, false, 3},
    {"save: after fsync", PLACE_AFTER, STORE_SYNC, NULL, false, 3},
    {"save: before vote", PLACE_BEFORE, STORE_PUT, "/vote/", false, 2},
    {"save: after vote", PLACE_AFTER, STORE_PUT, "/vote/", false, 2},
    {"save: before decision", PLACE_BEFORE, STORE_PUT, "/decision/", false, 2},
    {"save: after decision", PLACE_AFTER, STORE_PUT, "/decision/", false, 2},
    {"save: telling a state", PLACE_OUT, WIRE_STATE, NULL, false, 6},
    /* Retention. */
    {"retain: after verified", PLACE_AFTER, STORE_PUT, "/verified/", false, 1},
    {"retain: before tomb", PLACE_BEFORE, STORE_PUT, "/tomb/", false, 1},
    {"retain: after tomb", PLACE_AFTER, STORE_PUT, "/tomb/", false, 1},
    {"retain: before remove", PLACE_BEFORE, STORE_REMOVE, NULL, false, 3},
    {"retain: after remove", PLACE_AFTER, STORE_REMOVE, NULL, false, 3},
    /* Loads. */
    {"load: before read", PLACE_BEFORE, STORE_READ, "body", true, 2},
    {"load: after read", PLACE_AFTER, STORE_READ, "body", true, 2},
    {"load: planned, undelivered", PLACE_OUT, WIRE_DELIVER, NULL, true, 2},
    {"load: all delivered", PLACE_OUT, WIRE_DELIVERED, NULL, true, 2},
    {"load: before record", PLACE_BEFORE, STORE_PUT, "/load/", true, 1},
    {"load: after record", PLACE_AFTER, STORE_PUT, "/load/", true, 1},
    {"load: telling", PLACE_OUT, WIRE_LOAD_DONE, NULL, true, 2},
    /* Ranks. */
    {"rank: joins", PLACE_SENDS, WIRE_OPEN, NULL, false, 1},
    {"rank: has joined", PLACE_SENDS, WIRE_ARENA, NULL, false, 1},
    {"rank: asks for a save", PLACE_SENDS, WIRE_SAVE, NULL, false, 2},
    {"rank: may save", PLACE_GETS, WIRE_SAVE_OK, NULL, false, 2},
    {"rank: has slots", PLACE_GETS, WIRE_SLOTS, NULL, false, 2},
    {"rank: gives chunks", PLACE_SENDS, WIRE_CHUNKS, NULL, false, 2},
    {"rank: is told a state", PLACE_GETS, WIRE_STATE, NULL, false, 4},
    {"rank: asks for a load", PLACE_SENDS, WIRE_LOAD, NULL, true, 1},
    {"rank: load begins", PLACE_GETS, WIRE_LOAD_BEGIN, NULL, true, 1},
    {"rank: chunk arrives", PLACE_GETS, WIRE_DELIVER, NULL, true, 1},
    {"rank: gives slots back", PLACE_SENDS, WIRE_CONSUMED, NULL, true, 1},
    {"rank: votes on a load", PLACE_SENDS, WIRE_LOAD_VOTE, NULL, true, 1},
    {"rank: load is done", PLACE_GETS, WIRE_LOAD_DONE, NULL, true, 1},
};

const size_t place_count = ARRAY_LEN(places);

const struct place *place_find(const char *name)
{
    for (size_t i = 0; i < place_count; i++)
        if (strcmp(places[i].name, name) == 0)
            return &places[i];
    return NULL;
}

bool place_is_of_daemon(const struct place *p)
{
    return p->kind == PLACE_BEFORE || p->kind == PLACE_AFTER ||
           p->kind == PLACE_OUT;
}
