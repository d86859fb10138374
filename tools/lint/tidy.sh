#!/bin/sh
# tools/lint/tidy.sh FILE - clang-tidy on one C file, unless it was clean
# before. The verdict depends on the file, the project's headers that it
# includes, the flags, the configurations and the tool; a digest over all of
# them names the stamp of a clean run.
set -u

file=$1
case $file in
trainer/examples/minimal/*) # as outside the tree: <ckpt.h>
    CFLAGS_LANG="$CFLAGS_LANG -Itrainer"
    ;;
trainer/examples/minimal/*)
    CFLAGS_LANG="$CFLAGS_LANG -Itrainer"
    ;;
trainer/examples/*)
    CFLAGS_LANG="$CFLAGS_LANG $(mpicc --showme:compile 2>/dev/null)"
    ;;
esac
eval "set -- $CFLAGS_LANG"

inputs=$(${CC:-cc} -MM "$@" "$file" 2>/dev/null | tr -d '\\\n' |
    sed 's/^[^:]*://')
if [ -z "$inputs" ]; then
    ${CC:-cc} -fsyntax-only "$@" "$file"
    echo "$file: does not compile"
    exit 1
fi
# shellcheck disable=SC2086 # a list of names without blanks
stamp=$CACHE/tidy/$({
    clang-tidy --version
    echo "$file $*"
    find . -path './build*' -prune -o -name .clang-tidy -print | sort |
        xargs cat
    cat $inputs
} | sha256sum | cut -d' ' -f1)
[ -e "$stamp" ] && exit 0

output=$(clang-tidy --quiet "$file" -- "$@" 2>&1)
status=$?
if [ $status -ne 0 ]; then
    # The findings and the paths to them, without the source around them.
    printf '%s\n' "$output" | sed "s,^$PWD/,," |
        grep -E '^[^ ]+:[0-9]+:[0-9]+: |^error:' | grep -v ': note: +'
    exit 1
fi
touch "$stamp"
