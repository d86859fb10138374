#!/bin/sh
# tests/runner/suite.sh KIND PATH - run one suite (see tests/run.sh).
#
# The suite gets a folder of its own as TMPDIR, on the disk of the repository,
# and a time limit. Its TAP output is counted by tap.awk; a crash, a timeout,
# a missing result, a skip without a reason, and a process or a mount that
# the suite leaves behind each count as a failure. Prints one line, figures that
# the suite tells in lines of `# figure: `, and the output if something failed.
# Always exits 0 unless it was interrupted: the counts carry the verdict.
set -u

kind=$1
path=$2
name=$(basename "$path")
name=${name%.*}
key=$kind-$name
log=$RESULTS/$key.log
# The ".tmp" keeps one suite's folder from being a prefix of another's.
TMPDIR=$ROOT/$B/tmp/$key.tmp
limit=120
[ "$kind" = unit ] || limit=300
[ "$B${CKPT_TEST_LONG:-}" = build ] || limit=$((limit * 10))

# Prints the pids whose command line, environment or working directory points
# into TMPDIR. Other users' processes cannot be read, nor can they be ours.
leftovers() {
    for proc in /proc/[0-9]*; do
        pid=${proc#/proc/}
        [ "$pid" = $$ ] && continue
        case $(readlink "$proc/cwd" 2>/dev/null)/ in
        "$TMPDIR"/*) ;;
        *) cat "$proc/cmdline" "$proc/environ" 2>/dev/null |
            grep -qaF "$TMPDIR" || continue ;;
        esac
        echo "$pid"
    done
}

# A daemon that was told to end may take a moment: up to five seconds.
check_leftovers() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        pids=$(leftovers)
        [ -z "$pids" ] && return
        sleep 0.5
    done
    for pid in $pids; do
        echo "left behind: pid $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        kill -KILL "$pid" 2>/dev/null
    done
}

check_mounts() {
    awk -v under="$TMPDIR/" 'index($2, under) == 1 { print $2 }' \
        /proc/self/mounts | sort -r | while read -r at; do
        echo "left behind: mount $at"
        umount -l "$at"
    done
}

# Sanitizers write their reports to files: so they are seen too when they come
# from a daemon, whose output nobody reads.
run_suite() {
    to=log_path=$RESULTS/$key.sanitizer
    rules=$ROOT/tests/runner
    export ASAN_OPTIONS="detect_stack_use_after_return=1:$to"
    export LSAN_OPTIONS="suppressions=$rules/lsan.supp:print_suppressions=0"
    export UBSAN_OPTIONS="print_stacktrace=1:$to"
    export TSAN_OPTIONS="second_deadlock_stack=1:$to"
    set -- timeout -k 5 "$limit"
    case $kind in
    unit) set -- "$@" "$ROOT/$path" ;;
    fuzz) set -- "$@" sh tests/fuzz/run_one.sh "$name" ;;
    e2e) set -- "$@" bats --formatter tap "$path" ;;
    golden) set -- "$@" python3 "$path" ;;
    esac
    # shellcheck disable=SC2086 # CKPT_TEST_WRAP is a command with arguments
    CMOCKA_MESSAGE_OUTPUT=TAP BUILD_DIR=$ROOT/$B TMPDIR=$TMPDIR \
        PYTHONDONTWRITEBYTECODE=1 ${CKPT_TEST_WRAP:-} "$@"
}

mkdir -p "$TMPDIR" || exit 255
trap 'exit 255' INT TERM
started=$(date +%s%N)
run_suite </dev/null >"$log" 2>&1
status=$?
elapsed_ms=$((($(date +%s%N) - started) / 1000000))

left=$(check_leftovers 2>&1; check_mounts 2>&1)
[ -n "$left" ] && printf '%s\n' "$left" >>"$log"
for report in "$RESULTS/$key".sanitizer*; do
    # One that only says that a process was killed while it was checked is no
    # finding.
    grep -qsE 'ERROR: |WARNING: |fatal error|runtime error: ' "$report" ||
        continue
    echo "sanitizer report: ${report##*.}" >>"$log"
    cat "$report" >>"$log"
done
# UBSan beside ASan writes to standard error alone, which is a daemon's log.
find "$TMPDIR" -name '*.log' -type f -exec \
    grep -hE ': runtime error: ' {} + >>"$log" 2>/dev/null
chmod -R u+rwX "$TMPDIR" 2>/dev/null
rm -rf --one-file-system "$TMPDIR"

awk -v kind="$kind" -v suite="$name" -v status="$status" -v limit="$limit" \
    -v skips="$RESULTS/$key.skips" -f tests/runner/tap.awk "$log" \
    >"$RESULTS/$key.verdict"
read -r passed failed skipped <"$RESULTS/$key.verdict"
echo "$passed $failed $skipped" >"$RESULTS/$key.counts"

word=ok
[ "$failed" -gt 0 ] && word=FAIL
{
    printf '%-5s %-28s %4d passed' "$word" "$name" "$passed"
    [ "$failed" -gt 0 ] && printf ', %d failed' "$failed"
    [ "$skipped" -gt 0 ] && printf ', %d skipped' "$skipped"
    printf '  %d.%01d s\n' $((elapsed_ms / 1000)) $((elapsed_ms % 1000 / 100))
    sed -n 's/^# figure: /      /p' "$log"
    if [ "$failed" -gt 0 ]; then
        sed '1d; s/^/      /' "$RESULTS/$key.verdict"
        [ "$(wc -l <"$log")" -gt 400 ] &&
            echo "      (the last 400 lines of $log)"
        tail -n 400 "$log" | sed 's/^/    | /'
    fi
} >"$RESULTS/$key.report"
flock "$RESULTS/lock" cat "$RESULTS/$key.report"
