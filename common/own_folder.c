/*
 * own_folder.c - see own_folder.h.
 */
#include "common/own_folder.h"

#include "common/plant.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int own_folder_check(int fd, const char *path, struct err *err)
{
    unsigned us = geteuid();
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && st.st_uid != us &&
        st.st_uid != 0)
        return err_set(err, -EPERM,
                       "folder '%s' is a link that uid %u made, and this "
                       "process runs as uid %u: name the folder itself",
                       path, (unsigned)st.st_uid, us);
    if (fstat(fd, &st) < 0)
        return err_set(err, -errno, "cannot examine '%s': %s", path,
                       err_text(errno));
    if (st.st_uid != us && !is_left_out("owner of a folder"))
        return err_set(err, -EPERM,
                       "folder '%s' belongs to uid %u, and this process runs "
                       "as uid %u: only its owner may write there",
                       path, (unsigned)st.st_uid, us);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) &&
        !is_left_out("folder closed to others"))
        return err_set(err, -EPERM,
                       "others may write to folder '%s' (mode %03o): close it "
                       "to them first (chmod go-w '%s')",
                       path, (unsigned)st.st_mode & 0777U, path);
    return 0;
}
