/*
 * record_names.c - the names of records below a home (record.h).
 *
 * All of them fit RECORD_NAME_BYTES: a run's name has at most RUN_NAME_MAX
 * bytes, folders are this project's own short words.
 */
#include "formats/record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

bool run_name_is_good(const char *name)
{
    size_t length = strnlen(name, RUN_NAME_MAX + 1);

    if (length == 0 || length > RUN_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static char *name_format(char *out, const char *format, ...) PRINTF_LIKE(2, 3);

static char *name_format(char *out, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(out, RECORD_NAME_BYTES, format, args);
    va_end(args);
    assert(length > 0 && length < RECORD_NAME_BYTES);
    return out;
}

char *name_run(char *out, const char *run, const char *leaf)
{
    return name_format(out, "runs/%s/%s", run, leaf);
}

char *name_gen(char *out, const char *run, const char *folder,
               uint32_t generation)
{
    return name_format(out, "runs/%s/%s/%08" PRIu32, run, folder, generation);
}

char *name_member(char *out, const char *run, uint32_t generation,
                  const struct id128 *daemon, uint32_t n)
{
    char id[ID_TEXT_BYTES];

    return name_format(out, "runs/%s/member/%08" PRIu32 ".%s.%" PRIu32, run,
                       generation, id_format(daemon, id), n);
}

char *name_save(char *out, const char *run, const char *folder,
                const struct save_id *id)
{
    char save[SAVE_ID_TEXT_BYTES];

    return name_format(out, "runs/%s/%s/%s", run, folder,
                       save_id_format(id, save));
}

char *name_save_daemon(char *out, const char *run, const char *folder,
                       const struct save_id *id, const struct id128 *daemon)
{
    char save[SAVE_ID_TEXT_BYTES], text[ID_TEXT_BYTES];

    return name_format(out, "runs/%s/%s/%s.%s", run, folder,
                       save_id_format(id, save), id_format(daemon, text));
}

char *name_part(char *out, const char *run, const char *folder,
                const struct save_id *id, const struct id128 *daemon,
                uint32_t n)
{
    char save[SAVE_ID_TEXT_BYTES], text[ID_TEXT_BYTES];

    return name_format(out, "runs/%s/%s/%s.%s.%" PRIu32, run, folder,
                       save_id_format(id, save), id_format(daemon, text), n);
}

char *name_tier_file(char *out, const struct save_id *id,
                     const struct id128 *daemon, uint32_t n, uint32_t again)
{
    char save[SAVE_ID_TEXT_BYTES], text[ID_TEXT_BYTES], behind[16] = "";

    if (again)
        (void)snprintf(behind, sizeof behind, ".%" PRIu32, again);
    return name_format(out, "data/%s.%s.%" PRIu32 "%s",
                       save_id_format(id, save), id_format(daemon, text), n,
                       behind);
}

char *name_load(char *out, const char *run, uint32_t generation, uint32_t k,
                const struct id128 *daemon)
{
    char text[ID_TEXT_BYTES];

    if (!daemon)
        return name_format(out, "runs/%s/load/%08" PRIu32 ".%" PRIu32, run,
                           generation, k);
    return name_format(out, "runs/%s/load/%08" PRIu32 ".%" PRIu32 ".%s", run,
                       generation, k, id_format(daemon, text));
}
