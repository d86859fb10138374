/*
 * tree.h - a folder and all that is in it. A static function, because programs
 * want it that link nothing else of tests/lib.
 */
#ifndef TESTS_LIB_TREE_H
#define TESTS_LIB_TREE_H

#include <errno.h>
#include <ftw.h>
#include <stdio.h>

static inline int tree_remove_one(const char *path, const struct stat *st,
                                  int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* Removes it, links as such. 0, or -errno of what could not be removed. */
static inline int remove_tree(const char *dir)
{
    return nftw(dir, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS) ? -errno : 0;
}

#endif
