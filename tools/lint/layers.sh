#!/bin/sh
# tools/lint/layers.sh - who may include whom, in the files that lint.sh
# listed.
#
#   common    common
#   formats   + formats
#   storage   + storage              (never formats)
#   engine    common formats storage + ckptd/engine
#   daemon    as engine + ckptd/daemon
#   client    common formats + client
#   trainer   as client + trainer    (never storage or ckptd)
#   tools     all but tests
#   tests     all
#
# Includes are relative to the root. Some libraries belong to one place, and
# only storage/store.c calls through the table of functions of a store.
set -u

xargs -r awk '
    function layer(path) {
        if (match(path, /^ckptd\/(engine|daemon)\//))
            return substr(path, 7, RLENGTH - 7)
        if (path == "trainer/ckpt.h")
            return "api"
        sub(/\/.*/, "", path)
        return path
    }
    function found(text) {
        printf "%s:%d: %s\n", FILENAME, FNR, text
        bad = 1
    }
    BEGIN {
        may["common"] = " common "
        may["formats"] = " common formats "
        may["storage"] = " common storage "
        may["engine"] = " common formats storage engine "
        may["daemon"] = may["engine"] "daemon "
        may["client"] = " common formats client "
        may["api"] = " "
        may["trainer"] = may["client"] "api trainer "
        may["tools"] = " common formats storage engine daemon client api trainer tools "
        may["tests"] = may["tools"] "tests "
        only["liburing.h"] = "^storage/|^tests/"
        only["mpi.h"] = "^trainer/examples/"
        only["jansson.h"] = "^tools/|^tests/"
        only["cmocka.h"] = "^tests/"
        only["pthread.h"] = "^(common|storage|client|trainer|tools|tests)/|^ckptd/daemon/"
    }
    FNR == 1 {
        mine = layer(FILENAME)
        if (!(mine in may))
            found("belongs to no layer")
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, part, "\"")
        theirs = layer(part[2])
        if (part[2] !~ /\// || part[2] ~ /^\./)
            found("not relative to the root: " part[2])
        else if (index(may[mine], " " theirs " ") == 0)
            found(mine " may not include " theirs ": " part[2])
    }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        name = $0
        sub(/^[^<]*</, "", name)
        sub(/>.*/, "", name)
        if (name in only && FILENAME !~ only[name])
            found(name " belongs to " only[name])
    }
    /(store|below)(->|\.)ops->/ && FILENAME !~ /^storage\/store\.c$|^tests\// {
        found("only storage/store.c calls through a store\047s table")
    }
    END { exit bad }
' /dev/null <"$RUN/files"
