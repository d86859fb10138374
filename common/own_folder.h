/*
 * own_folder.h - is a folder ours alone, before anything is made in it?
 */
#ifndef COMMON_OWN_FOLDER_H
#define COMMON_OWN_FOLDER_H

#include "common/err.h"

/* `fd` is the open folder, `path` how it was reached. -EPERM with words when
 * it belongs to another user, when group or others may write to it, or when
 * the last part of the path is a link that another user (but root) made: who
 * can write there could have us write elsewhere. */
int own_folder_check(int fd, const char *path, struct err *err) MUST_USE;

#endif
