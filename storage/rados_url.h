/*
 * rados_url.h - the name of a home in RADOS:
 *
 *     rados://POOL/NAMESPACE[?data_pool=NAME&conf=PATH&user=NAME]
 *
 * POOL, NAMESPACE, data_pool and user are 1 to 127 letters, digits, '.', '_',
 * '-', not beginning with '.' or '-'. conf is an absolute path of at most 1,023
 * bytes without controls, spaces, '%', '&', '#', '?' and '\'. Options come in
 * any order, each once. Nothing is escaped.
 */
#ifndef STORAGE_RADOS_URL_H
#define STORAGE_RADOS_URL_H

#include "common/err.h"

#define RADOS_WORD_MAX 127
#define RADOS_PATH_MAX 1023
#define RADOS_URL_MAX  2047

struct rados_url {
    char pool[RADOS_WORD_MAX + 1];
    char space[RADOS_WORD_MAX + 1];     /* the namespace */
    char data_pool[RADOS_WORD_MAX + 1]; /* "": not given */
    char conf[RADOS_PATH_MAX + 1];      /* "": /etc/ceph/ceph.conf */
    char user[RADOS_WORD_MAX + 1];      /* "": admin, without "client." */
};

/* 0, or -EINVAL with words that name what is wrong. */
int rados_url_parse(const char *text, struct rados_url *url,
                    struct err *err) MUST_USE;

/* What rados_url_parse() takes for the same; options in the order above. */
void rados_url_format(const struct rados_url *url,
                      char text[RADOS_URL_MAX + 1]);

#endif
