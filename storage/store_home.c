/*
 * store_home.c - opens the store that a home's name means, by its scheme.
 *
 * Nothing but the name is looked at: whoever has a home's store does not ask
 * which back end it is.
 */
#include "storage/store.h"

#include "common/text.h"

#include <errno.h>

int store_home_open(const char *home, unsigned flags, enum store_engine engine,
                    struct store **out, struct err *err)
{
    const char *path = text_home_path(home);

    if (path)
        return store_file_open(
            path, (flags & ~(unsigned)STORE_OPEN_CREATE) | STORE_OPEN_SHOWN,
            engine, out, err);
    if (text_home_is_rados(home))
        return store_rados_open(home, flags, NULL, out, err);
    return err_set(err, -EINVAL,
                   "home %s: a home is a directory, file://PATH or "
                   "rados://POOL/NAMESPACE",
                   home);
}
