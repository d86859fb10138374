/*
 * id.c - see id.h.
 */
#include "common/id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

char *id_format(const struct id128 *id, char text[ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof id->b; i++) {
        text[2 * i] = digits[id->b[i] >> 4];
        text[2 * i + 1] = digits[id->b[i] & 15];
    }
    text[2 * sizeof id->b] = '\0';
    return text;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int id_parse(const char *text, size_t bytes, struct id128 *id)
{
    if (bytes != 2 * sizeof id->b)
        return -EINVAL;
    for (size_t i = 0; i < sizeof id->b; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

        if (low < 0)
            return -EINVAL;
        id->b[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

char *save_id_format(const struct save_id *id, char text[SAVE_ID_TEXT_BYTES])
{
    (void)snprintf(text, SAVE_ID_TEXT_BYTES,
                   "%08" PRIu32 "-%020" PRIu64 "-%04" PRIu32, id->generation,
                   id->step, id->attempt);
    return text;
}

/* Reads exactly `count` decimal digits. */
static int digits_parse(const char **at, int count, uint64_t *value)
{
    uint64_t sum = 0;

    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return -EINVAL;
        if (!mul_u64(sum, 10, &sum) ||
            !add_u64(sum, (uint64_t)(**at - '0'), &sum))
            return -EINVAL;
    }
    *value = sum;
    return 0;
}

int save_id_parse(const char *text, struct save_id *id, const char **rest)
{
    uint64_t generation, step, attempt;

    if (digits_parse(&text, 8, &generation) || *text++ != '-' ||
        digits_parse(&text, 20, &step) || *text++ != '-' ||
        digits_parse(&text, 4, &attempt))
        return -EINVAL;
    if ((*text != '\0' && *text != '.') || generation == 0)
        return -EINVAL;
    id->generation = (uint32_t)generation;
    id->step = step;
    id->attempt = (uint32_t)attempt;
    if (rest)
        *rest = text;
    return 0;
}

int save_id_compare(const struct save_id *a, const struct save_id *b)
{
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    if (a->attempt != b->attempt)
        return a->attempt < b->attempt ? -1 : 1;
    return 0;
}
