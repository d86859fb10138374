/*
 * daemon_child.h - a real daemon in a child process, and raw sockets to it, for
 * tests of what no well-behaved client would send.
 */
#ifndef TESTS_LIB_DAEMON_CHILD_H
#define TESTS_LIB_DAEMON_CHILD_H

#include "ckptd/daemon/reactor.h"

struct daemon_child {
    pid_t pid; /* 0: not running */
    char dir[256];
    char local[300], home[300], socket[320];
    struct reactor_options options; /* foreground, unless the test says else */
    uid_t uid;                      /* run as; 0: as we are */
    uint64_t descriptors;           /* limit; 0: none */
};

/* Folders in a fresh place; then start. */
void daemon_child_init(struct daemon_child *d);
void daemon_child_start(struct daemon_child *d);
/* Waits for its end; the exit code, 200 for a code of reactor_run() other than
 * 0 and -EBUSY (11), 300 + signal. 1000: it did not end within `ms`. */
int daemon_child_wait(struct daemon_child *d, int ms);
int daemon_child_stop(struct daemon_child *d); /* SIGTERM, wait */
/* Kills what still runs, and removes the folders. */
void daemon_child_fini(struct daemon_child *d);

uint64_t daemon_child_rss(const struct daemon_child *d);    /* bytes */
uint64_t daemon_child_cpu_ms(const struct daemon_child *d); /* used */
uint32_t daemon_child_descriptors(const struct daemon_child *d);

/* A connection, once the daemon listens; -1 when it does not within 10 s. */
int raw_connect(const struct daemon_child *d);
/* Sends a frame; takes over w (NULL: no payload). false: the peer is gone. */
bool raw_send(int fd, enum wire_type type, uint64_t id, struct wr *w);
bool raw_hello(int fd);
bool raw_bytes(int fd, const void *data, size_t bytes);
/* With descriptors. */
bool raw_descriptors(int fd, const void *data, size_t bytes, const int *fds,
                     int count);
/* The next frame's type (payload of at most `capacity` into `payload`), 0 at
 * the end of the connection, -1 when nothing comes within `ms`. */
int raw_receive(int fd, int ms, struct wire_header *h, void *payload,
                size_t capacity);

#endif
