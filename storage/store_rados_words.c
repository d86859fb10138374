/*
 * store_rados_words.c - what went wrong in opening a home in RADOS, in words:
 * the home, the monitors or the pool, the cause, and what to do about it.
 *
 * Which code means what depends on the step: no answer is the monitors' while
 * connecting, the OSDs' later; "not permitted" is a wrong key first, and too
 * few rights later.
 */
#include "storage/store_rados.h"

#include <errno.h>
#include <stdio.h>

#define MONITORS_BYTES 256

static const char *user_of(const struct rados_store *rados)
{
    return rados->url.user[0] ? rados->url.user : "admin";
}

static const char *pool_of(const struct rados_store *rados,
                           enum rados_step step)
{
    return step == RADOS_STEP_BLOBS ? rados->url.data_pool : rados->url.pool;
}

static void monitors_of(const struct rados_store *rados,
                        char text[MONITORS_BYTES])
{
    if (!rados->cluster ||
        rados->api->conf_get(rados->cluster, "mon_host", text, MONITORS_BYTES) <
            0 ||
        !text[0])
        (void)snprintf(text, MONITORS_BYTES, "%s", "of the configuration");
}

/* What came before the code, in words. */
struct cause {
    char text[MONITORS_BYTES + 256];
    char *fix; /* RADOS_FIX_BYTES */
};

static void of_configuration(struct cause *c, const char *what)
{
    (void)snprintf(c->text, sizeof c->text, "Ceph's configuration: %.200s",
                   what);
    (void)snprintf(c->fix, RADOS_FIX_BYTES,
                   "name the cluster's configuration in the home: "
                   "rados://POOL/NAMESPACE?conf=PATH");
}

static void of_monitors(struct cause *c, const struct rados_store *rados,
                        int rc)
{
    char monitors[MONITORS_BYTES];
    const char *user = user_of(rados);

    monitors_of(rados, monitors);
    if (rc == -ENOENT) {
        (void)snprintf(c->text, sizeof c->text,
                       "no key for client.%s: its keyring is missing", user);
        (void)snprintf(c->fix, RADOS_FIX_BYTES,
                       "put the output of `ceph auth get client.%s` where the "
                       "option keyring of Ceph's configuration says, readable "
                       "by this user, or name another in the home: user=NAME",
                       user);
    } else if (rc == -EACCES || rc == -EPERM) {
        (void)snprintf(c->text, sizeof c->text,
                       "the monitors (%s) do not take the key of client.%s",
                       monitors, user);
        (void)snprintf(c->fix, RADOS_FIX_BYTES,
                       "compare its keyring with `ceph auth get client.%s`; "
                       "it needs mon 'allow r'",
                       user);
    } else {
        (void)snprintf(c->text, sizeof c->text,
                       rc == -ETIMEDOUT
                           ? "the monitors (%s) did not answer in time"
                           : "cannot connect to the monitors (%s)",
                       monitors);
        (void)snprintf(c->fix, RADOS_FIX_BYTES,
                       "see `ceph -s`, whether mon_host in Ceph's "
                       "configuration is right, and whether networks and "
                       "firewalls let this machine reach it (ports 3300, "
                       "6789)");
    }
}

static void of_pool(struct cause *c, const char *pool, int rc)
{
    (void)snprintf(c->text, sizeof c->text,
                   rc == -ENOENT ? "pool %s is not there"
                                 : "pool %s cannot be opened",
                   pool);
    (void)snprintf(c->fix, RADOS_FIX_BYTES,
                   "correct its name, or create it: `ceph osd pool create "
                   "%s`, `ceph osd pool application enable %s ckptd`",
                   pool, pool);
}

/* Capabilities for both pools. */
static void fix_rights(char *fix, const struct rados_url *url, const char *user)
{
    int used = snprintf(fix, RADOS_FIX_BYTES,
                        "ceph auth caps client.%s mon 'allow r' osd 'allow rw "
                        "pool=%s namespace=%s",
                        user, url->pool, url->space);

    if (url->data_pool[0] && used < RADOS_FIX_BYTES)
        used += snprintf(fix + used, RADOS_FIX_BYTES - (size_t)used,
                         ", allow rw pool=%s namespace=%s", url->data_pool,
                         url->space);
    if (used < RADOS_FIX_BYTES)
        (void)snprintf(fix + used, RADOS_FIX_BYTES - (size_t)used, "'");
}

static void of_objects(struct cause *c, const struct rados_store *rados,
                       enum rados_step step, int rc, const char *what)
{
    const char *pool = pool_of(rados, step);
    const char *seen = "failed";

    (void)snprintf(c->fix, RADOS_FIX_BYTES,
                   "see `ceph -s` and `ceph health detail`");
    if (rc == -ETIMEDOUT) {
        seen = "the OSDs did not answer in time";
        (void)snprintf(c->fix, RADOS_FIX_BYTES,
                       "see `ceph health detail` (OSDs that are down or slow, "
                       "placement groups that are not active), and whether "
                       "networks and firewalls let this machine reach the "
                       "OSDs (ports 6800 to 7568)");
    } else if (rc == -EACCES || rc == -EPERM) {
        seen = "the key may not do this";
        fix_rights(c->fix, &rados->url, user_of(rados));
    } else if (rc == -ENOSPC || rc == -EDQUOT) {
        seen = rc == -EDQUOT ? "the quota is used up" : "full";
        (void)snprintf(c->fix, RADOS_FIX_BYTES,
                       "see `ceph df`, `ceph osd df` and `ceph osd pool "
                       "get-quota %s`: add OSDs, raise the quota, or remove "
                       "what is not needed (ckpt gc)",
                       pool);
    } else if (rc == -EOPNOTSUPP && step == RADOS_STEP_RECORDS) {
        (void)snprintf(c->text, sizeof c->text,
                       "pool %s holds no catalogues, as erasure-coded pools "
                       "do not",
                       pool);
        (void)snprintf(c->fix, RADOS_FIX_BYTES,
                       "name a replicated pool, and this one as data_pool=%s",
                       pool);
        return;
    }
    (void)snprintf(c->text, sizeof c->text, "pool %s: %.60s: %s", pool, what,
                   seen);
}

int rados_refused(struct rados_store *rados, struct err *err, int rc,
                  enum rados_step step, const char *what)
{
    const struct rados_url *url = &rados->url;
    struct cause c = {.fix = rados->fix};

    if (step == RADOS_STEP_CONFIGURE)
        of_configuration(&c, what);
    else if (step == RADOS_STEP_POOL && rc != -ETIMEDOUT)
        of_pool(&c, what, rc);
    else if (step == RADOS_STEP_CONNECT || step == RADOS_STEP_POOL)
        of_monitors(&c, rados, rc);
    else
        of_objects(&c, rados, step, rc, what);
    return err_set(err, rc, "rados://%s/%s as client.%s: %s (%s); %s",
                   url->pool, url->space, user_of(rados), c.text, err_text(rc),
                   c.fix);
}
