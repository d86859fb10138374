#!/bin/sh
# tools/lint/sizes.sh NAMED - lengths of functions and files, of the files that
# lint.sh listed. A function is counted from its `{` to its `}`, both in the
# first column as clang-format puts them; none has more than 70 lines, and nine
# in ten have fewer than 50 (asked only of the whole tree, NAMED = 0). A file
# has at most 800 lines; over 400 it is mentioned. Parameters, nesting and
# complexity are clang-tidy's (see .clang-tidy).
set -u

xargs -r awk -v named="$1" '
    function close_file() {
        if (lines > 800) {
            printf "%s: %d lines, at most 800\n", file, lines
            bad = 1
        } else if (lines > 400) {
            long_files = long_files sprintf(" %s (%d)", file, lines)
        }
    }
    FNR == 1 {
        close_file()
        file = FILENAME
    }
    { lines = FNR }
    /^\{/ { start = FNR }
    /^\}$/ && start {
        length_lines = FNR - start + 1
        functions++
        if (length_lines > 70) {
            printf "%s:%d: a function of %d lines, at most 70\n",
                file, start, length_lines
            bad = 1
        }
        if (length_lines >= 50)
            long_functions++
        start = 0
    }
    END {
        close_file()
        if (long_files != "")
            print "over 400 lines:" long_files
        if (!named && functions) {
            printf "%d functions, %d of 50 lines or more\n",
                functions, long_functions
            if (long_functions * 10 > functions) {
                print "nine in ten must be under 50 lines"
                bad = 1
            }
        }
        exit bad
    }
' /dev/null <"$RUN/files"
