/*
 * store_rados_trial.c - tries out what a home in RADOS needs, for `ckpt
 * doctor`.
 *
 * Connect, read the anchor if there is one, then in each pool: create an object
 * (in the pool of records with a key, as catalogues have), read it back, remove
 * it. It is called `t:NONCE`, in the home's namespace, and is part of no home:
 * one that stays behind, because the trial was cut short, may be deleted.
 */
#include "storage/store_rados.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIAL_BYTES 4096

static int create(struct rados_store *rados, enum rados_pool pool,
                  const char *object, const char *data)
{
    static const char *const key = "trial", *const value = "";
    static const size_t key_bytes = 5, value_bytes = 0;
    const struct rados_api *api = rados->api;
    struct rados_op op;
    int rc = rados_op_begin(&op, rados, pool, object, false);

    if (rc < 0)
        return rc;
    api->write_op_create(op.steps, RADOS_CREATE_EXCLUSIVE, NULL);
    api->write_op_write_full(op.steps, data, TRIAL_BYTES);
    if (pool == RADOS_RECORDS)
        api->write_op_omap_set2(op.steps, &key, &value, &key_bytes,
                                &value_bytes, 1);
    rc = rados_op_run(&op);
    rados_op_fini(&op);
    return rc;
}

static int read_back(struct rados_store *rados, enum rados_pool pool,
                     const char *object, const char *data)
{
    char found[TRIAL_BYTES];
    struct rados_op op;
    int rc = rados_op_begin(&op, rados, pool, object, true);

    if (rc < 0)
        return rc;
    rados->api->read_op_read(op.steps, 0, sizeof found, found, &op.got,
                             &op.step_result[0]);
    rc = rados_op_run(&op);
    if (rc == 0 &&
        (op.got != TRIAL_BYTES || memcmp(found, data, TRIAL_BYTES) != 0))
        rc = -CKPT_ECORRUPT;
    rados_op_fini(&op);
    return rc;
}

static int drop(struct rados_store *rados, enum rados_pool pool,
                const char *object)
{
    struct rados_op op;
    int rc = rados_op_begin(&op, rados, pool, object, false);

    if (rc < 0)
        return rc;
    rados->api->write_op_remove(op.steps);
    rc = rados_op_run(&op);
    rados_op_fini(&op);
    return rc;
}

static int try_pool(struct rados_store *rados, enum rados_pool pool,
                    uint64_t *ms, struct err *err)
{
    const char *what = "creating an object";
    char object[8 + ID_TEXT_BYTES], id[ID_TEXT_BYTES], data[TRIAL_BYTES];
    uint64_t began = rados_now_ms();
    int rc, dropped;

    (void)snprintf(object, sizeof object, "t:%s", id_format(&rados->nonce, id));
    memset(data, 0x5a, sizeof data);
    rc = create(rados, pool, object, data);
    if (rc == 0) {
        what = "reading an object back";
        rc = read_back(rados, pool, object, data);
        dropped = drop(rados, pool, object);
        if (rc == 0 && dropped < 0) {
            what = "removing an object";
            rc = dropped;
        }
    }
    *ms = rados_now_ms() - began;
    return rc < 0 ? rados_refused(rados, err, rc,
                                  pool == RADOS_RECORDS ? RADOS_STEP_RECORDS
                                                        : RADOS_STEP_BLOBS,
                                  what)
                  : 0;
}

/* The data pool: the home's, else the one that is named. */
static int find_data_pool(struct rados_store *rados, bool *has_home,
                          struct err *err)
{
    struct rados_url *url = &rados->url;
    char pool[RADOS_WORD_MAX + 1];
    int rc = rados_anchor_read(rados, pool);

    if (rc == -ENOENT)
        (void)snprintf(pool, sizeof pool, "%s",
                       url->data_pool[0] ? url->data_pool : url->pool);
    else if (rc < 0)
        return rados_refused(rados, err, rc, RADOS_STEP_RECORDS,
                             "reading the home's first object");
    *has_home = rc == 0;
    if (rados->io[RADOS_BLOBS])
        return 0;
    memcpy(url->data_pool, pool, sizeof pool);
    return rados_open_pool(rados, RADOS_BLOBS, pool, err);
}

static int try_all(struct rados_store *rados,
                   const struct store_rados_options *options, const char *url,
                   struct store_rados_trial *out, struct err *err)
{
    uint64_t began = rados_now_ms();
    int rc = rados_connect(rados, options, url, err);

    if (rc == 0)
        rc = find_data_pool(rados, &out->has_home, err);
    out->connect_ms = rados_now_ms() - began;
    if (rc < 0)
        return rc;
    store_describe(&rados->store, out->text, sizeof out->text);
    rc = try_pool(rados, RADOS_RECORDS, &out->records_ms, err);
    return rc < 0 ? rc : try_pool(rados, RADOS_BLOBS, &out->blobs_ms, err);
}

/* Words end with "; " and what to do. */
static void cut_fix(struct err *err, const char *fix)
{
    size_t bytes = strlen(err->text), fix_bytes = strlen(fix);

    if (fix_bytes > 0 && bytes > fix_bytes + 2 &&
        strcmp(err->text + bytes - fix_bytes, fix) == 0)
        err->text[bytes - fix_bytes - 2] = '\0';
}

int store_rados_try(const char *url, const struct store_rados_options *options,
                    struct store_rados_trial *out, struct err *err)
{
    static const struct store_rados_options usual;
    struct rados_store *rados;
    int rc;

    *out = (struct store_rados_trial){0};
    *err = (struct err){0};
    if (!options)
        options = &usual;
    rados = rados_new(options, STORE_OPEN_WRITE);
    if (!rados)
        return err_set(err, -ENOMEM, "no memory for a store in RADOS");
    rc = try_all(rados, options, url, out, err);
    (void)snprintf(out->fix, sizeof out->fix, "%s", rados->fix);
    cut_fix(err, rados->fix);
    rados_op_close(rados);
    return rc;
}
