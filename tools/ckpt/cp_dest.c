/*
 * cp_dest.c - the destination: which home, run and history it is, and whether
 * the checkpoint may come there; see cp.h.
 */
#include "common/text.h"
#include "tools/ckpt/cp.h"
#include "tools/ckpt/marks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

int dest_said(const struct cp *cp, int rc, const char *name)
{
    return complain(&cp->to, exit_code_of(rc), "%s: %s: %s",
                    cp->to.options.home, name, err_text(rc));
}

int record_get(struct store *s, const char *name, struct record_bytes *out)
{
    struct store_req req = {.op = STORE_GET, .name = name};
    int64_t n;

    *out = (struct record_bytes){0};
    req.buf = out->data = malloc(RECORD_MAX_BYTES);
    req.len = RECORD_MAX_BYTES;
    n = out->data ? store_run(s, &req) : -ENOMEM;
    if (n < 0) {
        free(out->data);
        out->data = NULL;
        return (int)n;
    }
    out->bytes = (uint64_t)n;
    return 0;
}

int record_put(struct store *s, const char *name, const struct record_bytes *r)
{
    struct store_req req = {
        .op = STORE_PUT, .name = name, .buf = r->data, .len = r->bytes};

    return (int)store_run(s, &req);
}

int record_compare(struct store *s, const char *name,
                   const struct record_bytes *r)
{
    struct record_bytes there;
    int rc = record_get(s, name, &there);

    if (rc == 0)
        rc = there.bytes != r->bytes ||
             memcmp(there.data, r->data, r->bytes) != 0;
    free(there.data);
    return rc;
}

/*
 * The home.
 */

/* Only an empty folder becomes a home: as with the daemon (engine/home.c). */
static int check_empty(struct cp *cp)
{
    struct store_req list = {.op = STORE_LIST, .name = ""};
    int64_t rc = store_run(cp->to.home, &list);
    int code = rc < 0 ? dest_said(cp, (int)rc, "its folder") : EXIT_FINE;

    for (size_t i = 0; !code && i < list.names.count; i++) {
        const char *name = list.names.name[i];

        if (strcmp(name, "STORE") == 0)
            break; /* somebody made it just now */
        if (strcmp(name, "local") != 0 && strcmp(name, "lost+found") != 0)
            code = complain(&cp->to, EXIT_ERROR,
                            "%s: not empty and no home: it has %s",
                            cp->to.options.home, name);
    }
    store_names_free(&list.names);
    return code;
}

static int make_home(struct cp *cp)
{
    struct record_store record;
    struct record_bytes r;
    struct wr w = {0};
    int rc;

    if (getrandom(&record.uuid, sizeof record.uuid, 0) !=
        (ssize_t)sizeof record.uuid)
        return complain(&cp->to, EXIT_ERROR, "no random bytes");
    record_store_encode(&record, &w);
    r = (struct record_bytes){.data = w.data, .bytes = w.bytes};
    rc = w.failed ? -ENOMEM : record_put(cp->to.home, "STORE", &r);
    wr_free(&w);
    return rc && rc != -EEXIST ? dest_said(cp, rc, "STORE") : EXIT_FINE;
}

static int read_home(struct cp *cp)
{
    struct record_store record, from;
    struct err err = {0};
    int rc = tool_identity(cp->to.home, &record, &err);

    cp->is_new = rc == -ENOENT;
    if (cp->is_new)
        return check_empty(cp);
    cp->home = record.uuid;
    cp->is_own = rc == 0 && tool_identity(cp->from->home, &from, &err) == 0 &&
                 id_equal(&from.uuid, &record.uuid);
    return rc ? complain(&cp->to, exit_code_of(rc), "%s: STORE: %s",
                         cp->to.options.home, err.text)
              : EXIT_FINE;
}

int dest_open(struct cp *cp)
{
    struct tool *to = &cp->to;
    unsigned flags = cp->is_dry ? 0 : STORE_OPEN_WRITE;
    struct err err;
    int rc;

    /* A folder has to be there, as for a trainer: it may be where nothing is
     * mounted. */
    if (!cp->is_dry && text_home_is_rados(to->options.home))
        flags |= STORE_OPEN_CREATE;
    rc = store_home_open(to->options.home, flags, STORE_ENGINE_AUTO, &to->home,
                         &err);
    if (rc == -ENOENT && cp->is_dry && text_home_is_rados(to->options.home))
        return complain(to, EXIT_FINE, "%s; without --dry-run it is made",
                        err.text);
    return rc ? complain(to, exit_code_of(rc), "%s", err.text) : read_home(cp);
}

/*
 * The run and its history.
 */

/* 0 also when there is none of that name. */
static int check_run(struct cp *cp)
{
    char name[RECORD_NAME_BYTES];
    struct record_run is, was;
    struct record_bytes there;
    struct err err;
    int rc = record_get(cp->to.home, name_run(name, cp->run, "RUN"), &there);

    if (rc == -ENOENT)
        return EXIT_FINE;
    if (rc)
        return dest_said(cp, rc, name);
    rc = record_run_decode(there.data, there.bytes, &is, &err);
    if (rc == 0)
        rc = record_run_decode(cp->run_record.data, cp->run_record.bytes, &was,
                               &err);
    free(there.data);
    if (rc)
        return complain(&cp->to, exit_code_of(rc), "%s: %s: %s",
                        cp->to.options.home, name, err.text);
    if (!id_equal(&is.uuid, &was.uuid))
        return complain(&cp->to, EXIT_ERROR,
                        "%s has another run of the name %s, which began on its "
                        "own: nothing is mixed with it; copy to another home",
                        cp->to.options.home, cp->run);
    return EXIT_FINE;
}

int dest_two_histories(const struct cp *cp, uint32_t generation)
{
    return complain(&cp->to, EXIT_ERROR,
                    "generation %u of run %s began otherwise in %s: the two "
                    "have gone apart, and are not mixed; copy to another home",
                    generation, cp->run, cp->to.options.home);
}

/* Generations up to this one that are in both homes are the same. */
int dest_check_history(struct cp *cp)
{
    char name[RECORD_NAME_BYTES];
    const struct catalog *c = cp->catalog;

    for (size_t i = 0; i < c->generation_count; i++) {
        uint32_t g = c->generation[i].record.generation;
        struct record_bytes gen;
        int rc;

        if (g > cp->id.generation)
            break;
        (void)name_gen(name, cp->run, "gen", g);
        rc = record_get(cp->to.home, name, &gen);
        if (rc == -ENOENT)
            continue;
        if (rc)
            return dest_said(cp, rc, name);
        rc = record_compare(cp->from->home, name, &gen);
        free(gen.data);
        if (rc == 1)
            return dest_two_histories(cp, g);
        if (rc)
            return complain(cp->from, exit_code_of(rc), "%s: %s", name,
                            err_text(rc));
    }
    return EXIT_FINE;
}

int dest_check_tomb(struct cp *cp)
{
    char name[RECORD_NAME_BYTES];
    struct store_req stat = {.op = STORE_STAT,
                             .name = name_save(name, cp->run, "tomb", &cp->id)};
    int64_t rc = store_run(cp->to.home, &stat);

    if (rc == -ENOENT)
        return EXIT_FINE;
    if (rc < 0)
        return dest_said(cp, (int)rc, name);
    return complain(&cp->to, EXIT_ERROR,
                    "%s@%" PRIu64 "/%u was removed from %s (%s), and what was "
                    "removed does not come back under its name",
                    cp->run, cp->id.step, cp->id.generation,
                    cp->to.options.home, name);
}

static int check_decision(struct cp *cp)
{
    char name[RECORD_NAME_BYTES], damage[1024];
    struct store_req stat = {.op = STORE_STAT, .name = name};
    int64_t rc;

    (void)name_save(name, cp->run, "decision", &cp->id);
    rc = record_compare(cp->to.home, name, &cp->decision);
    if (rc == 1)
        return complain(&cp->to, EXIT_ERROR,
                        "%s: %s decides otherwise there: not the same "
                        "checkpoint",
                        cp->to.options.home, name);
    if (rc && rc != -ENOENT)
        return dest_said(cp, (int)rc, name);
    cp->is_decided = rc == 0;
    (void)name_save(name, cp->run, "remote", &cp->id);
    rc = store_run(cp->to.home, &stat);
    if (rc < 0 && rc != -ENOENT)
        return dest_said(cp, (int)rc, name);
    marks_damage_words(cp->to.home, CHECK_REMOTE, cp->run, &cp->id, damage,
                       sizeof damage);
    cp->is_marked = rc >= 0 && !damage[0];
    return EXIT_FINE;
}

int dest_look(struct cp *cp)
{
    int code;

    cp->is_decided = cp->is_marked = false;
    if (!cp->to.home)
        return EXIT_FINE;
    code = check_run(cp);
    if (code == EXIT_FINE)
        code = dest_check_tomb(cp);
    if (code == EXIT_FINE)
        code = dest_check_history(cp);
    if (code == EXIT_FINE)
        code = check_decision(cp);
    return code;
}

int dest_make(struct cp *cp)
{
    char name[RECORD_NAME_BYTES];
    int code = cp->is_new ? make_home(cp) : EXIT_FINE, rc;

    if (code == EXIT_FINE && cp->is_new)
        code = read_home(cp);
    if (code)
        return code;
    rc = record_put(cp->to.home, name_run(name, cp->run, "RUN"),
                    &cp->run_record);
    return rc && rc != -EEXIST ? dest_said(cp, rc, name) : check_run(cp);
}
