/*
 * doctor_daemon.c - who answers on the daemon's socket, and what it says of
 * itself: which failures it survives, and what confines it.
 */
#include "formats/wire.h"
#include "tools/ckpt/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S 15

#define USER_FIX                                                               \
    "one daemon serves one user: use a local store of your own (CKPT_LOCAL)"
#define SILENT_FIX                                                             \
    "if it is stopped: kill -CONT its pid; if a drive or a home hangs, its "   \
    "log (ckptd.log in the local store) names it. Else kill it: what is "      \
    "committed stays, and the job's library starts another"
#define OTHER_FIX                                                              \
    "it is of another version, or full: end it (kill its pid) when no job "    \
    "needs it; the next trainer starts one"

static bool receive(int fd, void *to, size_t bytes)
{
    uint8_t *at = to;

    while (bytes) {
        ssize_t n = recv(fd, at, bytes, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ECONNRESET;
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool say_hello(int fd)
{
    const struct wire_hello hello = {WIRE_MAGIC, WIRE_VERSION_LOW,
                                     WIRE_VERSION_HIGH, 0};
    struct wire_header h = {.type = WIRE_HELLO, .id = 1};
    uint8_t head[WIRE_HEADER_BYTES];
    struct wr body = {0}, frame = {0};
    bool ok;

    wire_hello_encode(&hello, &body);
    h.length = (uint32_t)body.bytes;
    wire_header_encode(&h, head);
    wr_bytes(&frame, head, sizeof head);
    wr_bytes(&frame, body.data, body.bytes);
    ok =
        !body.failed && !frame.failed &&
        send(fd, frame.data, frame.bytes, MSG_NOSIGNAL) == (ssize_t)frame.bytes;
    wr_free(&body);
    wr_free(&frame);
    return ok;
}

/* How it is: what it said, or did not say, and what helps. */
struct answer {
    enum finding finding;
    char words[700];
    const char *fix;
};

/* What it answers to HELLO: its mode, or why it has none to tell. */
static void ask_mode(int fd, struct answer *out)
{
    uint8_t head[WIRE_HEADER_BYTES], payload[4096];
    struct wire_hello_ok ok;
    struct wire_error error;
    struct wire_header h;

    *out = (struct answer){.finding = FINDING_FAIL, .fix = OTHER_FIX};
    if (!say_hello(fd) || !receive(fd, head, sizeof head) ||
        wire_header_decode(head, &h) || h.length > sizeof payload ||
        !receive(fd, payload, h.length)) {
        if (errno == EAGAIN)
            (void)snprintf(out->words, sizeof out->words,
                           "it has not answered for %d s", PATIENCE_S);
        else
            (void)snprintf(out->words, sizeof out->words,
                           "it does not answer: %s", err_text(errno));
        out->fix = SILENT_FIX;
    } else if (h.type == WIRE_HELLO_OK &&
               wire_hello_ok_decode(payload, h.length, &ok) == 0) {
        (void)snprintf(out->words, sizeof out->words, "%s", ok.mode);
        out->finding = FINDING_OK;
    } else if (h.type == WIRE_ERROR &&
               wire_error_decode(payload, h.length, &error) == 0) {
        (void)snprintf(out->words, sizeof out->words, "it refuses: %.600s",
                       error.text);
    } else {
        (void)snprintf(out->words, sizeof out->words,
                       "it speaks another protocol");
    }
}

/* Who answers on the daemon's socket? */
void check_daemon(struct doctor *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct ucred cred = {0};
    socklen_t bytes = sizeof cred;
    char path[1024], seen[2000];
    struct answer answer;
    int dir, fd, rc;

    if (!tool_local_path(d->tool, path, sizeof path))
        return;
    dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (dir < 0 || fd < 0)
        goto out;
    (void)snprintf(address.sun_path, sizeof address.sun_path,
                   "/proc/self/fd/%d/ckptd.sock", dir);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    rc = connect(fd, (struct sockaddr *)&address, sizeof address);
    if (rc < 0 && errno == EAGAIN) { /* nor does it take who has come before */
        (void)snprintf(seen, sizeof seen,
                       "%s/ckptd.sock: it has taken no connection for %d s",
                       path, PATIENCE_S);
        found(d, "daemon", FINDING_FAIL, seen, SILENT_FIX);
    } else if (rc < 0) {
        (void)snprintf(seen, sizeof seen,
                       "none answers at %s/ckptd.sock; the next trainer starts "
                       "one",
                       path);
        found(d, "daemon", FINDING_OK, seen, "");
    } else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) == 0) {
        ask_mode(fd, &answer);
        if (cred.uid != geteuid()) {
            answer.finding = FINDING_FAIL;
            answer.fix = USER_FIX;
        }
        (void)snprintf(seen, sizeof seen, "pid %d of uid %u serves %s: %s",
                       (int)cred.pid, cred.uid, path, answer.words);
        found(d, "daemon", answer.finding, seen, answer.fix);
    }
out:
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
}
