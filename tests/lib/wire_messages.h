/*
 * wire_messages.h - the messages of the wire that have a payload of their own
 * (CONSUMED has that of SLOTS), for tests that go through all of them.
 */
#ifndef TESTS_LIB_WIRE_MESSAGES_H
#define TESTS_LIB_WIRE_MESSAGES_H

#include "formats/wire.h"

/* X(name, type) for each: struct wire_NAME of frames of this type. */
#define WIRE_MESSAGES(X)                                                       \
    X(error, WIRE_ERROR)                                                       \
    X(hello, WIRE_HELLO)                                                       \
    X(hello_ok, WIRE_HELLO_OK)                                                 \
    X(open, WIRE_OPEN)                                                         \
    X(open_ok, WIRE_OPEN_OK)                                                   \
    X(arena, WIRE_ARENA)                                                       \
    X(arena_ok, WIRE_ARENA_OK)                                                 \
    X(table, WIRE_TABLE)                                                       \
    X(save, WIRE_SAVE)                                                         \
    X(save_ok, WIRE_SAVE_OK)                                                   \
    X(slots, WIRE_SLOTS)                                                       \
    X(chunks, WIRE_CHUNKS)                                                     \
    X(state, WIRE_STATE)                                                       \
    X(cancel, WIRE_CANCEL)                                                     \
    X(watch, WIRE_WATCH)                                                       \
    X(await, WIRE_AWAIT)                                                       \
    X(load, WIRE_LOAD)                                                         \
    X(load_ok, WIRE_LOAD_OK)                                                   \
    X(load_begin, WIRE_LOAD_BEGIN)                                             \
    X(deliver, WIRE_DELIVER)                                                   \
    X(delivered, WIRE_DELIVERED)                                               \
    X(load_vote, WIRE_LOAD_VOTE)                                               \
    X(load_done, WIRE_LOAD_DONE)                                               \
    X(values, WIRE_VALUES)                                                     \
    X(values_ok, WIRE_VALUES_OK)                                               \
    X(list_ok, WIRE_LIST_OK)                                                   \
    X(describe, WIRE_DESCRIBE)                                                 \
    X(describe_ok, WIRE_DESCRIBE_OK)                                           \
    X(drain, WIRE_DRAIN)                                                       \
    X(drain_ok, WIRE_DRAIN_OK)                                                 \
    X(close, WIRE_CLOSE)

/* Its codec without its type: encode_NAME(), decode_NAME(). */
#define WIRE_UNTYPED(name, type)                                               \
    static void encode_##name(const void *v, struct wr *w)                     \
    {                                                                          \
        wire_##name##_encode(v, w);                                            \
    }                                                                          \
    static int decode_##name(const void *data, size_t bytes, void *v)          \
    {                                                                          \
        return wire_##name##_decode(data, bytes, v);                           \
    }

#endif
