/*
 * peers.h - one connected rank, shared by peers.c (who) and frames.c (what).
 */
#ifndef CKPTD_PEERS_H
#define CKPTD_PEERS_H

#include "ckptd/daemon/reactor.h"

#include <sys/socket.h>

struct out_frame {
    struct list link;
    size_t bytes, sent;
    int fd_count;            /* go along with the first byte */
    int fd[WIRE_PIECES_MAX]; /* the frame's own */
    uint8_t data[];
};

struct peer {
    struct list link; /* reactor.peers */
    struct reactor *reactor;
    env_peer number;
    pid_t pid_number;
    struct source socket, pid;
    uint8_t header[WIRE_HEADER_BYTES];
    struct wire_header frame;
    uint8_t *in; /* payload under way */
    size_t in_bytes, in_capacity;
    size_t header_bytes;
    struct list out; /* struct out_frame */
    size_t out_bytes;
    bool is_hanging_up; /* ends once `out` is empty; nothing more is read */
    bool is_broken;     /* ends at the loop's next turn */
    /* Hanging up: how long `out` is waited for. Before: how long the first
     * frame, and each that has begun, may take. */
    struct env_timer patience;
    bool is_greeted; /* its first frame was whole */
};

/* The first frame must be whole in time. */
void peer_await(struct peer *p);
/* What is there to read, to the engine. 0: for now there is no more; 1: there
 * may be, but others want their turn; negative: the connection has ended. */
int peer_receive(struct peer *p) MUST_USE;
/* Send what can be sent; negative: the connection has ended. */
int peer_flush(struct peer *p) MUST_USE;
void peer_take_descriptors(struct peer *p, struct msghdr *msg);
void out_frame_free(struct out_frame *f);
/* Tells the engine and frees p. */
void peer_gone(struct peer *p);

#endif
