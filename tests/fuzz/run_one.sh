#!/bin/sh
# tests/fuzz/run_one.sh NAME - one fuzzer as a suite of tests/run.sh: its
# corpus, and then what it makes of it, for 5 s (CKPT_TEST_LONG=1: 60 s).
#
# One line of TAP, and the figures in a line that begins with "# figure:". What
# was found is kept in build/fuzz/found and printed in base64: put it into
# tests/fuzz/corpus/NAME together with its cure. The usual run begins with a
# fixed seed, the long one with a fresh one, which the log tells.
set -u

name=$1
fuzzer=build/fuzz/$name
kind=${name#fuzz_}
seconds=5
seed='-seed=1'
[ -n "${CKPT_TEST_LONG:-}" ] && seconds=60 seed='-seed=0'
if ! [ -x "$fuzzer" ]; then
    echo "ok 1 $kind # skip no clang with libFuzzer (sh tools/bootstrap.sh test)"
    exit 0
fi
mkdir -p "$TMPDIR/new" build/fuzz/found || exit 1
"$fuzzer" \
    -max_total_time=$seconds $seed -timeout=10 -rss_limit_mb=1024 \
    -close_fd_mask=3 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/found/$kind-" \
    "$TMPDIR/new" "tests/fuzz/corpus/$kind" >"$TMPDIR/log" 2>&1
status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$TMPDIR/log")
rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$TMPDIR/log")
inputs=$(find "tests/fuzz/corpus/$kind" -type f | wc -l)
if [ $status -eq 0 ] && [ "${runs:-0}" -gt "$inputs" ]; then
    echo "# figure: ${runs} executions, ${rate} a second"
    echo "ok 1 $kind"
else
    tail -n 60 "$TMPDIR/log"
    echo "not ok 1 $kind: exit status $status, ${runs:-no} executions"
    status=1
fi
exit $status
