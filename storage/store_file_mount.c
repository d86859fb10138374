/*
 * store_file_mount.c - what a mount's options say about locks.
 *
 * A trial on one machine cannot tell whether another machine sees its locks.
 * Where a mount option keeps them to this machine, /proc/self/mountinfo does.
 */
#include "storage/store_file.h"

#include <stdlib.h>
#include <string.h>

/* Options as the kernel shows them, of file systems whose type begins so. */
static const struct {
    const char *type, *option;
} local_locks[] = {
    {"nfs", "nolock"},           {"nfs", "local_lock=all"},
    {"nfs", "local_lock=flock"}, {"lustre", "localflock"},
    {"cifs", "nobrl"},           {"smb3", "nobrl"},
};

static bool has_option(const char *options, const char *wanted)
{
    size_t bytes = strlen(wanted);

    for (const char *at = options; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, wanted, bytes) == 0 &&
            (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
    }
    return false;
}

/* The part of a line behind " - ": type, source, options of the file system. */
static const char *local_option(char *behind)
{
    char *rest = NULL;
    const char *type = strtok_r(behind, " \n", &rest);
    const char *options;

    (void)strtok_r(NULL, " \n", &rest);
    options = strtok_r(NULL, " \n", &rest);
    if (!type || !options)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(local_locks); i++)
        if (strncmp(type, local_locks[i].type, strlen(local_locks[i].type)) ==
                0 &&
            has_option(options, local_locks[i].option))
            return local_locks[i].option;
    return NULL;
}

bool file_mount_has_local_locks(FILE *mountinfo, uint64_t id, char *option,
                                size_t capacity)
{
    const char *found = NULL;
    size_t room = 0;
    char *line = NULL;

    while (!found && getline(&line, &room, mountinfo) > 0) {
        char *end, *behind = strstr(line, " - ");

        if (strtoull(line, &end, 10) == id && *end == ' ' && behind)
            found = local_option(behind + 3);
    }
    if (found)
        (void)snprintf(option, capacity, "%s", found);
    free(line);
    return found != NULL;
}
