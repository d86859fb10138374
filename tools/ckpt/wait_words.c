/*
 * wait_words.c - who has not done its part: daemons and their hosts by name.
 */
#include "tools/ckpt/wait.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMED_MAX 8 /* the others are counted */

/* "GEN.DAEMON.N" */
static bool is_member(const char *name, uint32_t generation, struct id128 *id)
{
    char *end;

    return strtoul(name, &end, 10) == generation && *end == '.' &&
           strlen(end) > 33 && end[33] == '.' && id_parse(end + 1, 32, id) == 0;
}

static void host_of(struct tool *t, const char *run, const char *leaf,
                    char *host, size_t capacity)
{
    _Alignas(8) uint8_t data[RECORD_MAX_BYTES];
    char name[RECORD_NAME_BYTES], below[RECORD_NAME_BYTES];
    struct store_req get = {.op = STORE_GET, .buf = data, .len = sizeof data};
    struct record_member member;
    struct err err;
    int64_t n;

    (void)snprintf(host, capacity, "?");
    (void)snprintf(below, sizeof below, "member/%s", leaf);
    get.name = name_run(name, run, below);
    n = store_run(t->home, &get);
    if (n < 0 || record_member_decode(data, (size_t)n, &member, &err))
        return;
    (void)snprintf(host, capacity, "%s", member.host);
    record_member_fini(&member);
}

static bool has_one(const struct store_names *names, const struct save_id *id,
                    const struct id128 *daemon)
{
    char want[SAVE_ID_TEXT_BYTES + ID_TEXT_BYTES + 1];
    char save[SAVE_ID_TEXT_BYTES], text[ID_TEXT_BYTES];

    (void)snprintf(want, sizeof want, "%s.%s", save_id_format(id, save),
                   id_format(daemon, text));
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->name[i], want) == 0)
            return true;
    return false;
}

/* Is the daemon of names[i] that of an earlier one? */
static bool is_again(const struct store_names *names, size_t i,
                     uint32_t generation, const struct id128 *daemon)
{
    struct id128 other;

    for (size_t k = 0; k < i; k++)
        if (is_member(names->name[k], generation, &other) &&
            id_equal(&other, daemon))
            return true;
    return false;
}

static int list(struct tool *t, const char *run, const char *folder,
                struct store_names *names)
{
    char name[RECORD_NAME_BYTES];
    struct store_req req = {.op = STORE_LIST,
                            .name = name_run(name, run, folder)};
    int64_t rc = store_run(t->home, &req);

    *names = req.names;
    return rc < 0 ? (int)rc : 0;
}

void wait_host_of(struct tool *t, const char *run, uint32_t generation,
                  const struct id128 *daemon, char *host, size_t capacity)
{
    struct store_names members = {0};
    struct id128 of;

    (void)snprintf(host, capacity, "?");
    if (list(t, run, "member", &members) == 0)
        for (size_t i = 0; i < members.count; i++)
            if (is_member(members.name[i], generation, &of) &&
                id_equal(&of, daemon)) {
                host_of(t, run, members.name[i], host, capacity);
                break;
            }
    store_names_free(&members);
}

uint32_t wait_missing_words(struct tool *t, const char *run,
                            const struct save_id *id, const char *folder,
                            char *text, size_t capacity)
{
    struct store_names members = {0}, done = {0};
    uint32_t missing = 0, there = 0;
    size_t used = 0;
    struct id128 daemon;
    char host[256], hex[ID_TEXT_BYTES];
    int rc = list(t, run, "member", &members);

    *text = '\0';
    if (rc == 0)
        rc = list(t, run, folder, &done);
    for (size_t i = 0; rc == 0 && i < members.count; i++) {
        if (!is_member(members.name[i], id->generation, &daemon) ||
            is_again(&members, i, id->generation, &daemon))
            continue;
        if (has_one(&done, id, &daemon)) {
            there++;
            continue;
        }
        if (missing++ >= NAMED_MAX)
            continue;
        host_of(t, run, members.name[i], host, sizeof host);
        if (used < capacity)
            used += (size_t)snprintf(text + used, capacity - used,
                                     "%s%s (%.8s)", used ? ", " : "", host,
                                     id_format(&daemon, hex));
    }
    if (missing > NAMED_MAX && used < capacity)
        (void)snprintf(text + used, capacity - used, " and %u more",
                       missing - NAMED_MAX);
    store_names_free(&members);
    store_names_free(&done);
    return there;
}
