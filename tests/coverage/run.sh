#!/bin/sh
# tests/coverage/run.sh MAKE FLAGS SUITES FILES - called by `make coverage`.
# Exit status 1 when a suite failed or a branch was not taken.
set -u

make=$1 flags=$2 suites=$3 files=$4
unset MAKEFLAGS MFLAGS MAKELEVEL
B=build-coverage
export B
programs=''
for suite in $suites; do
    programs="$programs $B/tests/test_$suite"
done
# Without optimisation a branch is what the source says; counts of what ran
# before would add up.
# shellcheck disable=SC2086 # lists of names
$make -j"$(nproc)" --no-print-directory B=$B OPT=-O0 CFLAGS="$flags" \
    LDFLAGS="$flags" $programs || exit 1
find $B/obj $B/failnth -name '*.gcda' -delete 2>/dev/null
# shellcheck disable=SC2086
sh tests/run.sh $programs || exit 1
echo
# shellcheck disable=SC2086
exec python3 tests/coverage/report.py $B $files
