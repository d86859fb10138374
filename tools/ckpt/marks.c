/*
 * marks.c - see marks.h.
 */
#include "tools/ckpt/marks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* By enum check_tier. */
static const struct {
    const char *folder;
    enum record_kind kind;
} damage[] = {
    [CHECK_NVME] = {"damaged", RECORD_DAMAGED},
    [CHECK_REMOTE] = {"damaged_remote", RECORD_DAMAGED_REMOTE},
};

int marks_open(struct tool *t, struct store **out, struct err *err)
{
    *out = NULL;
    return store_home_open(t->options.home, STORE_OPEN_WRITE,
                           STORE_ENGINE_THREADS, out, err);
}

static int put(struct store *home, enum record_kind kind, const char *name,
               const struct save_id *id, const struct id128 *of,
               const char *words)
{
    struct record_mark mark = {.id = *id,
                               .created_unix_ms = (uint64_t)time(NULL) * 1000};
    struct store_req req = {.op = STORE_PUT, .name = name};
    struct wr w = {0};
    int64_t rc;

    if (of)
        mark.daemon = *of;
    (void)snprintf(mark.note, sizeof mark.note, "%s", words);
    record_mark_encode(kind, &mark, &w);
    req.buf = w.data;
    req.len = w.bytes;
    rc = w.failed ? -ENOMEM : store_run(home, &req);
    wr_free(&w);
    return (int)rc;
}

static int drop(struct store *home, const char *name)
{
    struct store_req req = {.op = STORE_REMOVE, .name = name};
    int64_t rc = store_run(home, &req);

    return rc == -ENOENT ? 0 : (int)rc;
}

int marks_put_damaged(struct store *home, enum check_tier tier, const char *run,
                      const struct save_id *id, const struct id128 *of,
                      const char *words)
{
    char name[RECORD_NAME_BYTES];
    int rc;

    (void)name_save_daemon(name, run, damage[tier].folder, id, of);
    rc = put(home, damage[tier].kind, name, id, of, words);
    return rc == -EEXIST ? 0 : rc; /* it is known already */
}

int marks_drop_damaged(struct store *home, enum check_tier tier,
                       const char *run, const struct save_id *id,
                       const struct id128 *of)
{
    char name[RECORD_NAME_BYTES];

    return drop(home, name_save_daemon(name, run, damage[tier].folder, id, of));
}

static void add_words(struct store *home, enum record_kind kind,
                      const char *name, char *text, size_t capacity)
{
    _Alignas(8) uint8_t data[4096];
    struct store_req get = {
        .op = STORE_GET, .name = name, .buf = data, .len = sizeof data};
    int64_t n = store_run(home, &get);
    size_t used = strlen(text);
    struct record_mark mark;
    struct err err;

    if (n < 0 || record_mark_decode(data, (size_t)n, kind, &mark, &err))
        (void)snprintf(mark.note, sizeof mark.note, "%s cannot be read", name);
    (void)snprintf(text + used, capacity - used, "%s%s", used ? "; " : "",
                   mark.note);
}

void marks_damage_words(struct store *home, enum check_tier tier,
                        const char *run, const struct save_id *id, char *text,
                        size_t capacity)
{
    char name[RECORD_NAME_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, run, damage[tier].folder)};

    text[0] = '\0';
    if (store_run(home, &list) < 0)
        return;
    for (size_t i = 0; i < list.names.count; i++) {
        char leaf[128], path[RECORD_NAME_BYTES];
        struct save_id of;
        const char *rest;

        if (save_id_parse(list.names.name[i], &of, &rest) || *rest != '.' ||
            save_id_compare(&of, id) != 0)
            continue;
        (void)snprintf(leaf, sizeof leaf, "%s/%.100s", damage[tier].folder,
                       list.names.name[i]);
        add_words(home, damage[tier].kind, name_run(path, run, leaf), text,
                  capacity);
    }
    store_names_free(&list.names);
}

/* "SAVE.PASS" */
static bool parse_scrubbed(const char *name, struct save_id *id, uint64_t *pass)
{
    const char *rest;
    char *end;

    if (save_id_parse(name, id, &rest) || rest[0] != '.' || rest[1] < '1' ||
        rest[1] > '9')
        return false;
    errno = 0;
    *pass = strtoull(rest + 1, &end, 10);
    return *end == '\0' && errno == 0;
}

static void scrubbed_name(char name[RECORD_NAME_BYTES], const char *run,
                          const struct save_id *id, uint64_t pass)
{
    char leaf[128], save[SAVE_ID_TEXT_BYTES];

    (void)snprintf(leaf, sizeof leaf, "scrubbed/%s.%" PRIu64,
                   save_id_format(id, save), pass);
    (void)name_run(name, run, leaf);
}

int marks_put_scrubbed(struct store *home, const char *run,
                       const struct save_id *id, uint64_t pass)
{
    char name[RECORD_NAME_BYTES], folder[RECORD_NAME_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(folder, run, "scrubbed")};
    int64_t rc;

    scrubbed_name(name, run, id, pass);
    rc = put(home, RECORD_SCRUBBED, name, id, NULL, "");
    if (rc == -EEXIST)
        rc = 0;
    if (rc == 0)
        rc = store_run(home, &list);
    for (size_t i = 0; rc >= 0 && i < list.names.count; i++) {
        struct save_id of;
        uint64_t old;

        if (!parse_scrubbed(list.names.name[i], &of, &old) || old >= pass ||
            save_id_compare(&of, id) != 0)
            continue;
        scrubbed_name(name, run, id, old);
        rc = drop(home, name);
    }
    store_names_free(&list.names);
    return rc < 0 ? (int)rc : 0;
}

int marks_last_pass(struct store *home, const char *run,
                    const struct save_id *id, uint64_t *of_run,
                    uint64_t *of_save)
{
    char name[RECORD_NAME_BYTES];
    struct store_req list = {.op = STORE_LIST,
                             .name = name_run(name, run, "scrubbed")};
    int64_t rc = store_run(home, &list);

    *of_run = *of_save = 0;
    for (size_t i = 0; rc >= 0 && i < list.names.count; i++) {
        struct save_id of;
        uint64_t pass;

        if (!parse_scrubbed(list.names.name[i], &of, &pass))
            continue;
        *of_run = max_u64(*of_run, pass);
        if (id && save_id_compare(&of, id) == 0)
            *of_save = max_u64(*of_save, pass);
    }
    store_names_free(&list.names);
    return rc < 0 ? (int)rc : 0;
}
