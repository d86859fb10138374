#!/bin/sh
# tools/lint/lint.sh - every static check, on the whole tree or on some files.
#
# Usage: sh tools/lint/lint.sh [FILE...]
#
# Without files: all C files that git tracks (or, without git, all there are),
# and the checks that concern the whole (symbols, the share of long functions).
# Prints one line per check and the findings; exits 1 if there are any.
# clang-tidy's verdicts are kept in build/lint by a digest of all that they
# depend on, so that a second run is quick.
set -u

here=$(cd "$(dirname "$0")" && pwd -P)
cd "$here/../.." || exit 1
B=${B:-build}
CACHE=$B/lint
jobs=$(nproc 2>/dev/null || echo 1)
failed=0
CFLAGS_LANG=$(MAKEFLAGS= make -s print-cflags) || exit 1
mkdir -p "$CACHE/tidy" "$CACHE/cppcheck" || exit 1
# The list of files and the like; others may lint at the same time.
RUN=$(mktemp -d) || exit 1
export B CACHE RUN CFLAGS_LANG
trap 'rm -rf "$RUN"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for tool in clang-format clang-tidy cppcheck; do
    command -v $tool >/dev/null && continue
    echo "lint: $tool is missing (run: sh tools/bootstrap.sh lint)" >&2
    exit 1
done

# files_like PATTERN...: what git tracks, or without git what there is.
files_like() {
    git ls-files "$@" 2>/dev/null | grep . && return
    for pattern in "$@"; do
        find . \( -name build -o -name 'build-*' -o -name .git \) -prune -o \
            -name "$pattern" -print
    done | sed 's,^\./,,' | sort
}

# check NAME COMMAND...: runs it, prints one line and what it found.
check() {
    label=$1
    shift
    began=$(date +%s)
    if output=$("$@" 2>&1); then
        state=ok
    else
        state=FAIL
        failed=1
    fi
    printf '%-5s %-12s %s s\n' $state "$label" $(($(date +%s) - began))
    [ -z "$output" ] || printf '%s\n' "$output" | sed 's/^/    /'
}

format() {
    xargs -r clang-format --dry-run -Werror <"$RUN/files"
}

tidy() {
    grep '\.c$' "$RUN/files" |
        xargs -r -n1 -P"$jobs" sh "$here/tidy.sh"
}

cpp() {
    grep '\.c$' "$RUN/files" >"$RUN/c-files"
    [ -s "$RUN/c-files" ] || return 0
    # legacyUninitvar and ctuuninitvar take the address of what a function is
    # to fill for a use of its contents; clang's analyzer does that better.
    flock "$CACHE/cppcheck.lock" cppcheck --quiet -j"$jobs" --std=c11 \
        --language=c --template=gcc --suppress=legacyUninitvar \
        --suppress=ctuuninitvar --enable=warning,performance,portability \
        --error-exitcode=1 --inline-suppr --cppcheck-build-dir="$CACHE/cppcheck" \
        -I. -D_GNU_SOURCE -D__linux__ -D__x86_64__ -DCKPT_VERSION='""' \
        --file-list="$RUN/c-files"
}

# A silenced finding names the check and the reason: NOLINT(check): reason, or
# cppcheck-suppress check ; reason. Prints how many there are.
silenced() {
    xargs -r grep -nE 'NOLINT|cppcheck-suppress' <"$RUN/files" \
        >"$RUN/silenced" /dev/null || return 0
    if grep -vE 'NOLINT(NEXTLINE|BEGIN)?\([a-z0-9.,*A-Z -]+\): .{8}|NOLINTEND|cppcheck-suppress [a-zA-Z]+ ; .{8}' \
        "$RUN/silenced"; then
        echo "each needs the check's name and a reason"
        return 1
    fi
    echo "$(grep -cv NOLINTEND "$RUN/silenced") findings silenced with a reason:"
    cut -c1-200 "$RUN/silenced"
}

scripts() {
    status=0
    for script in $(files_like '*.sh'); do
        sh -n "$script" || status=1
    done
    return $status
}

if [ $# -gt 0 ]; then
    for file in "$@"; do
        file=$(realpath --relative-to=. "$file")
        [ -f "$file" ] || { echo "lint: no such file: $file" >&2; exit 2; }
        echo "$file"
    done >"$RUN/files"
else
    files_like '*.c' '*.h' >"$RUN/files"
fi
echo "lint: $(wc -l <"$RUN/files") files"
check format format
check layers sh "$here/layers.sh"
check sizes sh "$here/sizes.sh" $#
check silenced silenced
[ $# -gt 0 ] || check scripts scripts
[ $# -gt 0 ] || check symbols sh "$here/symbols.sh"
check cppcheck cpp
check clang-tidy tidy
exit $failed
