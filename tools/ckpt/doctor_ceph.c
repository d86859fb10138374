/*
 * doctor_ceph.c - a home in RADOS: is librados there, does the cluster answer,
 * do both pools take an object, how fast; and is there a home?
 */
#include "tools/ckpt/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SLOW_CONNECT_MS 3000
/* Creating, reading and removing one object: some ms where all is well. */
#define SLOW_POOL_MS 1000

static void tell_failure(struct doctor *d, int rc, const struct err *err,
                         const struct store_rados_trial *trial)
{
    const char *fix = trial->fix[0] ? trial->fix : "see `ceph -s`";

    if (rc == -ENOSYS)
        fix = "install librados (Debian: apt-get install librados2; Fedora "
              "and RHEL: dnf install librados2)";
    else if (rc == -EINVAL)
        fix = "name the home rados://POOL/NAMESPACE, with "
              "?data_pool=NAME&conf=PATH&user=NAME where needed";
    found(d, "ceph", FINDING_FAIL, err->text, fix);
}

static void tell_speed(struct doctor *d, const struct store_rados_trial *trial)
{
    bool is_slow = trial->connect_ms > SLOW_CONNECT_MS ||
                   trial->records_ms > SLOW_POOL_MS ||
                   trial->blobs_ms > SLOW_POOL_MS;
    char seen[256];

    (void)snprintf(seen, sizeof seen,
                   "%sconnected in %" PRIu64 " ms, an object created, read and "
                   "removed in %" PRIu64 " ms (records) and %" PRIu64
                   " ms (data)",
                   is_slow ? "slow: " : "", trial->connect_ms,
                   trial->records_ms, trial->blobs_ms);
    found(d, "ceph speed", is_slow ? FINDING_WARN : FINDING_OK, seen,
          "see `ceph health detail` (slow ops, OSDs that are down, recovery) "
          "and `ceph osd perf`");
}

static void open_home(struct doctor *d, const char *url)
{
    struct store *s;
    struct err err;

    if (store_home_open(url, 0, STORE_ENGINE_AUTO, &s, &err)) {
        found(d, "home", FINDING_FAIL, err.text,
              "name the home as it was made (ckpt_open made it at first)");
        return;
    }
    d->is_open = true;
    check_identity(d, s, url);
    store_close(s);
}

void check_ceph(struct doctor *d)
{
    const char *url = d->tool->options.home;
    struct store_rados_trial trial;
    struct err err;
    int rc = store_rados_try(url, NULL, &trial, &err);

    if (rc < 0) {
        tell_failure(d, rc, &err, &trial);
        return;
    }
    found(d, "ceph", FINDING_OK, trial.text, "");
    tell_speed(d, &trial);
    if (trial.has_home)
        open_home(d, url);
    else
        found(d, "home", FINDING_OK,
              "there is none at this name yet: the first trainer makes it", "");
}
