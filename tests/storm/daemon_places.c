/*
 * daemon_places.c - what storm_ckptd has in front of store_submit() and
 * peers_send(): see place.h. And in front of engine_close(): a daemon that ends
 * in order has no slot in use, whatever has died before; else it says so in a
 * file beside the one that arms it.
 */
#include "ckptd/daemon/reactor.h"
#include "ckptd/engine/slots.h"
#include "tests/storm/place.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARM_BYTES      128
#define ARM_PATH_BYTES 1024

static struct {
    char text[ARM_BYTES]; /* of the file, as last seen */
    const struct place *place;
    unsigned left;
} armed;

static const char *arm_path(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment */
    return getenv("CKPT_STORM_ARM");
}

/* What the file says now; counting begins when it says something new. */
static void look(void)
{
    const char *path = arm_path();
    char text[ARM_BYTES] = "";
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    char *end;

    if (fd >= 0)
        (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (strcmp(text, armed.text) == 0)
        return;
    memcpy(armed.text, text, sizeof text);
    end = strchr(text, '\t');
    if (end)
        *end++ = '\0';
    armed.place = place_find(text);
    armed.left = end ? (unsigned)strtoul(end, NULL, 10) : 0;
}

/* The place is reached for the time that counts: whoever removes the file
 * dies, so that of several daemons armed by one file only one does. */
static bool is_due(enum place_kind kind)
{
    return armed.place && armed.place->kind == kind && armed.left > 0 &&
           --armed.left == 0 && unlink(arm_path()) == 0;
}

static bool request_matches(const struct place *p, const struct store_req *req)
{
    if (!p || p->what != (int)req->op)
        return false;
    if (!p->part)
        return true;
    if (req->op == STORE_READ || req->op == STORE_WRITE)
        return (req->off == 0) == (strcmp(p->part, "head") == 0);
    return req->name && strstr(req->name, p->part);
}

static void die_after(struct store_req *req, int64_t result)
{
    (void)req;
    (void)result;
    (void)raise(SIGKILL);
}

/* The names that ld --wrap gives to what was and to what stands before it. */
void real_submit(struct store *store,
                 struct store_req *req) __asm__("__real_store_submit");
void wrap_submit(struct store *store,
                 struct store_req *req) __asm__("__wrap_store_submit");
void real_send(struct env *env, env_peer peer, const struct wire_header *h,
               const void *payload,
               const struct env_arena *arena) __asm__("__real_peers_send");
void wrap_send(struct env *env, env_peer peer, const struct wire_header *h,
               const void *payload,
               const struct env_arena *arena) __asm__("__wrap_peers_send");
void real_close(struct engine *e) __asm__("__real_engine_close");
void wrap_close(struct engine *e) __asm__("__wrap_engine_close");

void wrap_submit(struct store *store, struct store_req *req)
{
    look();
    if (request_matches(armed.place, req)) {
        if (is_due(PLACE_BEFORE))
            (void)raise(SIGKILL);
        else if (is_due(PLACE_AFTER))
            req->done = die_after;
    }
    real_submit(store, req);
}

void wrap_send(struct env *env, env_peer peer, const struct wire_header *h,
               const void *payload, const struct env_arena *arena)
{
    look();
    if (armed.place && armed.place->what == h->type && is_due(PLACE_OUT))
        (void)raise(SIGKILL);
    real_send(env, peer, h, payload, arena);
}

static uint32_t slots_in_use(const struct engine *e)
{
    uint32_t count = 0;

    LIST_FOR_EACH (node, &e->arenas) {
        const struct slots *s = container_of(node, struct slots, link);

        for (uint32_t i = 0; i < s->count; i++)
            count +=
                s->slot[i].state != SLOT_FREE && s->slot[i].state != SLOT_CLEAN;
    }
    return count;
}

void wrap_close(struct engine *e)
{
    uint32_t count = e ? slots_in_use(e) : 0;
    char path[ARM_PATH_BYTES];
    int fd;

    if (count && arm_path()) {
        (void)snprintf(path, sizeof path, "%s.slots", arm_path());
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            (void)close(fd);
    }
    real_close(e);
}
