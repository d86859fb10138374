/*
 * What the table of mounts says of locks that other machines do not see.
 */
#include "common/bytes.h"
#include "storage/store_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void locks_that_others_do_not_see_are_told_by_the_mount(void **state)
{
    static char table[] =
        "36 29 0:32 / /a rw - nfs4 s:/a rw,vers=4.2,local_lock=none\n"
        "136 29 0:33 / /b rw,nolock - nfs s:/b rw,vers=3,local_lock=all\n"
        "38 29 0:34 / /c rw - nfs4 s:/c rw,local_lock=flock,addr=::1\n"
        "39 29 0:35 / /d rw - ext4 /dev/x rw,nolock\n"
        "40 29 0:36 / /e rw shared:1 - lustre m:/e rw,localflock\n"
        "41 29 0:36 / /f rw shared:1 - lustre m:/f rw,flock\n"
        "42 29 0:37 / /g rw - nfs s:/g rw,nolocks,local_lock=posix\n"
        "43 broken\n"
        "44 29 0:37 / /h rw - nfs\n";
    static const struct {
        uint64_t id;
        const char *option;
    } expect[] = {{36, NULL},
                  {136, "local_lock=all"},
                  {38, "local_lock=flock"},
                  {39, NULL},
                  {40, "localflock"},
                  {41, NULL},
                  {42, NULL},
                  {43, NULL},
                  {44, NULL},
                  {6, NULL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expect); i++) {
        FILE *text = fmemopen(table, sizeof table - 1, "r");
        char option[32] = "";

        assert_non_null(text);
        assert_int_equal(file_mount_has_local_locks(text, expect[i].id, option,
                                                    sizeof option),
                         expect[i].option != NULL);
        assert_string_equal(option, expect[i].option ? expect[i].option : "");
        (void)fclose(text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_that_others_do_not_see_are_told_by_the_mount),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
