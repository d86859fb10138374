#!/bin/sh
# tests/run_long.sh MAKE - the suite under the sanitizers: everything under
# ASan and UBSan with leak detection and longer property tests, then the unit
# suites (one process, many threads) under TSan, in the usual length: more
# random cases in one thread tell it nothing; then, in the plain build, the
# full figures of the suites that take all states, or kill and wear out. Called
# by make test-long. The last line sums up all runs; the exit status is 1 when
# anything failed.
set -u

cd "$(dirname "$0")/.." || exit 1
make=${1:-make}
unset MAKEFLAGS MFLAGS MAKELEVEL
sums=$(mktemp) || exit 1
trap 'rm -f "$sums"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# The sanitizers' shadow memory has a fixed place, which a kernel with many
# random address bits may already have given away: start without them, where
# that is allowed.
CKPT_TEST_WRAP=
setarch "$(uname -m)" -R true 2>/dev/null &&
    CKPT_TEST_WRAP="setarch $(uname -m) -R"
export CKPT_TEST_WRAP

# under LABEL SANITIZERS [SUITES...]: builds and runs, and keeps the sum.
under() {
    label=$1
    sanitizers=$2
    shift 2
    folder=build${sanitizers:+-$(echo "$sanitizers" | tr , -)}
    echo "== $label: building into $folder"
    if $make -j"$(nproc)" SAN="$sanitizers" --no-print-directory tests; then
        echo "== $label: running"
        B=$folder sh tests/run.sh "$@"
        cat "$folder/tmp/results/sum" >>"$sums" && return
    fi
    echo "FAIL  $label: did not build or run"
    echo "0 1 0" >>"$sums"
}

started=$(date +%s)
export CKPT_TEST_LONG=1
under "ASan and UBSan" address,undefined
unset CKPT_TEST_LONG
under "TSan" thread unit
export CKPT_TEST_LONG=1
under "the plain build" "" crash rot storm soak
echo
echo "took $(($(date +%s) - started)) s in all"
awk '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0
    }' "$sums"
