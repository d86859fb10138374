/*
 * test_env_internal.h - between test_env.c and test_door.c.
 */
#ifndef TESTS_LIB_TEST_ENV_INTERNAL_H
#define TESTS_LIB_TEST_ENV_INTERNAL_H

#include "tests/lib/test_env.h"

int door_home_open(struct env *env, const char *path, struct store **out,
                   struct err *err);
/* Poll what has something to do; false when nothing had. */
bool doors_poll(struct test_world *w);
/* SIGKILL for this daemon's doors. */
void doors_cut(struct test_env *t);
void doors_close_stores(struct test_world *w);

#endif
