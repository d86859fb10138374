/*
 * text.h - text that others wrote, before it is shown.
 */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include "common/util.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 character at p (1 to 4), 0 if there is none. Controls
 * (C0, DEL, C1) are none here. */
size_t text_character(const uint8_t *p, size_t left);

/* What could steer a terminal, or is no UTF-8, becomes '?': controls, bytes
 * that make no character, and the marks that turn the direction of writing.
 * In place; the text keeps its length or becomes shorter. */
void text_clean(char *text);

/* The folder that a home names: a path, or file://PATH. NULL: another scheme.
 */
const char *text_home_path(const char *home);

/* True for a text that means a home in RADOS (rados://...), good or not. */
bool text_home_is_rados(const char *home);
/* A size: a whole number, then K, M, G or T (powers of 1024) or nothing. False:
 * something else, or more than *out holds. */
bool text_bytes(const char *text, uint64_t *out);

/* How much of a home's name tells which one it is: not a cluster's options. */
size_t text_home_bytes(const char *home);

#endif
