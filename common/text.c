/*
 * text.c - see text.h.
 */
#include "common/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The code of the character of `bytes` bytes at p. */
static uint32_t code_of(const uint8_t *p, size_t bytes)
{
    uint32_t code = bytes == 1 ? p[0] : p[0] & (0x7fU >> bytes);

    for (size_t i = 1; i < bytes; i++)
        code = code << 6 | (p[i] & 0x3f);
    return code;
}

size_t text_character(const uint8_t *p, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code;
    size_t bytes;

    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    bytes = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc0 || p[0] > 0xf7 || bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    code = code_of(p, bytes);
    if (code < least[bytes] || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff) || code < 0xa0)
        return 0;
    return bytes;
}

/* LRM, RLM, ALM, embeddings, overrides, isolates. */
static bool turns_direction(uint32_t code)
{
    return code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x202a && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

void text_clean(char *text)
{
    size_t left = strlen(text);
    const char *from = text;
    char *to = text;

    while (left) {
        const uint8_t *p = (const uint8_t *)from;
        size_t bytes = text_character(p, left);

        if (bytes == 0 || turns_direction(code_of(p, bytes))) {
            *to++ = '?';
            bytes = bytes ? bytes : 1;
        } else {
            memmove(to, from, bytes);
            to += bytes;
        }
        from += bytes;
        left -= bytes;
    }
    *to = '\0';
}

const char *text_home_path(const char *home)
{
    static const char file[] = "file://";

    if (strncmp(home, file, sizeof file - 1) == 0)
        return home + sizeof file - 1;
    return strstr(home, "://") ? NULL : home;
}

bool text_home_is_rados(const char *home)
{
    static const char rados[] = "rados://";

    return strncmp(home, rados, sizeof rados - 1) == 0;
}

size_t text_home_bytes(const char *home)
{
    return text_home_is_rados(home) ? strcspn(home, "?") : strlen(home);
}

bool text_bytes(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    const char *unit;
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || errno)
        return false;
    if (*end == '\0')
        return true;
    unit = strchr(units, *end);
    return unit && end[1] == '\0' &&
           !__builtin_mul_overflow(
               *out, (uint64_t)1024 << (10 * (unit - units)), out);
}
