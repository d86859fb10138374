#!/bin/sh
# tests/run.sh - run every suite and close with one line of sums.
#
# A suite is a cmocka binary of tests/unit, a fuzzer of tests/fuzz, a bats file
# of tests/e2e or a Python script of tests/golden. Unit suites and fuzzers run
# two at a time, the others one after another. tests/runner/suite.sh runs one,
# prints its line, and leaves its counts for the sum. The last line is
# `N passed, N failed, N skipped`; the exit status is 1 when anything failed.
#
# Usage: [B=build] sh tests/run.sh [unit|fuzz|e2e|golden|SUITE]...
#   B                 the build folder, relative to the repository's root
#   CKPT_TEST_LONG=1  longer property tests, and longer limits
#   CKPT_TEST_WRAP    a command put before each suite (setarch -R for TSan)
set -u

cd "$(dirname "$0")/.." || exit 1
ROOT=$(pwd -P)
B=${B:-build}
RESULTS=$ROOT/$B/tmp/results
jobs=$(nproc 2>/dev/null || echo 1)
[ "$jobs" -gt 2 ] && jobs=2
export ROOT B RESULTS

# What the caller's shell or make left behind must not steer the tests.
unset MAKEFLAGS MFLAGS MAKELEVEL CKPT_HOME CKPT_SOCKET CKPT_RANK CKPT_LOCAL \
    CKPT_TEST_RADOS CKPT_REMOTE_EVERY RANK WORLD_SIZE LOCAL_RANK CKPT_LINGER \
    CDPATH
LC_ALL=C.UTF-8
export LC_ALL
ulimit -c 0

# Prints "KIND PATH" of each suite of kind $1.
suites_of() {
    case $1 in
    unit)
        for source in tests/unit/test_*.c; do
            name=$(basename "$source" .c)
            [ -e "$source" ] && echo "unit $B/tests/$name"
        done
        ;;
    fuzz) for file in tests/fuzz/fuzz_*.c; do
        [ -e "$file" ] && echo "fuzz $file"
    done ;;
    e2e) for file in tests/e2e/*.bats ${CKPT_TEST_CEPH:+tests/ceph/*.bats}; do
        [ -e "$file" ] && echo "e2e $file"
    done ;;
    golden) for file in tests/golden/test_*.py; do
        [ -e "$file" ] && echo "golden $file"
    done ;;
    esac
}

# Keeps the lines that the arguments ask for; all without arguments.
wanted() {
    while read -r kind path; do
        name=$(basename "$path")
        for want in ${WANT:-"$kind"}; do
            case $want in
            "$kind" | "${name%.*}" | "$name" | "$path")
                echo "$kind $path"
                break
                ;;
            esac
        done
    done
}

WANT=$*
rm -rf "$ROOT/$B/tmp"
mkdir -p "$RESULTS" || exit 1
trap 'exit 130' INT
trap 'exit 143' TERM
started=$(date +%s)

for kind in unit fuzz e2e golden; do
    suites_of $kind
done | wanted >"$RESULTS/all"
if ! [ -s "$RESULTS/all" ]; then
    echo "tests/run.sh: no suite matches: ${WANT:-(none exist)}" >&2
    exit 2
fi
grep -E '^(unit|fuzz) ' "$RESULTS/all" |
    xargs -r -L1 -P"$jobs" sh tests/runner/suite.sh
grep -vE '^(unit|fuzz) ' "$RESULTS/all" | xargs -r -L1 sh tests/runner/suite.sh

# A suite that left no counts was lost together with its runner.
while read -r kind path; do
    name=$(basename "$path")
    counts=$RESULTS/$kind-${name%.*}.counts
    [ -s "$counts" ] && continue
    echo "FAIL  $name: its runner died"
    echo "0 1 0" >"$counts"
done <"$RESULTS/all"

if cat "$RESULTS"/*.skips 2>/dev/null | grep -q .; then
    echo
    echo "skipped:"
    cat "$RESULTS"/*.skips
fi
echo
echo "took $(($(date +%s) - started)) s"
cat "$RESULTS"/*.counts | awk -v sum="$RESULTS/sum" '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        print passed, failed, skipped >sum
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0
    }'
