/*
 * recio.c - single records: one request each (recio.h).
 *
 * A struct recio carries the request, a copy of the name and the buffer; it is
 * freed just before the callback. Containers are in recio_container.c.
 */
#include "ckptd/engine/recio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct recio {
    struct store_req req;
    char name[RECORD_NAME_BYTES];
    struct wr w;
    uint8_t *data;
    recio_put_fn put_done;
    recio_get_fn get_done;
    recio_list_fn list_done;
    void *arg;
};

static struct recio *recio_new(enum store_op op, const char *name, void *arg)
{
    struct recio *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    r->req.op = op;
    r->req.name = r->name;
    r->req.owner = r;
    r->arg = arg;
    return r;
}

/* Of PUT and REMOVE. */
static void put_done(struct store_req *req, int64_t result)
{
    struct recio *r = req->owner;
    recio_put_fn done = r->put_done;
    void *arg = r->arg;

    wr_free(&r->w);
    free(r);
    done(arg, result < 0 ? (int)result : 0);
}

void recio_put(struct store *s, const char *name, struct wr *w,
               recio_put_fn done, void *arg)
{
    struct recio *r = w->failed ? NULL : recio_new(STORE_PUT, name, arg);

    if (!r) {
        wr_free(w);
        done(arg, -ENOMEM);
        return;
    }
    r->w = *w;
    *w = (struct wr){0};
    r->put_done = done;
    r->req.buf = r->w.data;
    r->req.len = r->w.bytes;
    r->req.done = put_done;
    store_submit(s, &r->req);
}

void recio_remove(struct store *s, const char *name, recio_put_fn done,
                  void *arg)
{
    struct recio *r = recio_new(STORE_REMOVE, name, arg);

    if (!r) {
        done(arg, -ENOMEM);
        return;
    }
    r->put_done = done;
    r->req.done = put_done;
    store_submit(s, &r->req);
}

static void get_done(struct store_req *req, int64_t result)
{
    struct recio *r = req->owner;
    recio_get_fn done = r->get_done;
    void *arg = r->arg;
    uint8_t *data = r->data, *smaller;

    free(r);
    if (result < 0) {
        free(data);
        data = NULL;
    } else {
        smaller = realloc(data, (size_t)max_u64((uint64_t)result, 1));
        data = smaller ? smaller : data;
    }
    done(arg, result, data);
}

void recio_get(struct store *s, const char *name, uint64_t max_bytes,
               recio_get_fn done, void *arg)
{
    struct recio *r = recio_new(STORE_GET, name, arg);

    if (r)
        r->data = malloc(max_u64(max_bytes, 1));
    if (!r || !r->data) {
        free(r);
        done(arg, -ENOMEM, NULL);
        return;
    }
    r->get_done = done;
    r->req.buf = r->data;
    r->req.len = max_bytes;
    r->req.done = get_done;
    store_submit(s, &r->req);
}

static void list_done(struct store_req *req, int64_t result)
{
    struct recio *r = req->owner;
    struct store_names names = r->req.names;
    recio_list_fn done = r->list_done;
    void *arg = r->arg;

    free(r);
    if (result < 0)
        names = (struct store_names){0};
    done(arg, result < 0 ? (int)result : 0, &names);
    store_names_free(&names);
}

void recio_list(struct store *s, const char *folder, recio_list_fn done,
                void *arg)
{
    struct recio *r = recio_new(STORE_LIST, folder, arg);
    struct store_names none = {0};

    if (!r) {
        done(arg, -ENOMEM, &none);
        return;
    }
    r->list_done = done;
    r->req.done = list_done;
    store_submit(s, &r->req);
}
