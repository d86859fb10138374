#!/usr/bin/env bats
# tests/e2e/crash.bats - what power loss and SIGKILL leave, in one process on a
# disk that forgets (tests/crash), and that the harness notices when a safeguard
# is left out. A part of the states; the long run in the plain build takes all
# of them, as `make crash` does.

load ../lib/e2e

setup() {
    e2e_setup
    CRASH=$BUILD_DIR/tests
}

# Shows what a program prints, also when all is well, and its last line as a
# figure.
tell() {
    local status=0
    "$@" >"$OUT" 2>&1 3>&- || status=$?
    sed 's/^/# /' "$OUT" >&3
    is $status 0 "exit status"
    sed -n '$s/^/# figure: /p' "$OUT" >&3
}

@test "whatever a crash leaves, what was committed loads bit for bit" {
    part="-f 0 -p 300"
    [ -z "${CKPT_TEST_LONG:-}" ] || part="-f 1 -p 16"
    [ -z "${CKPT_TEST_LONG:-}" ] || [ -n "$SANITIZED" ] || part=
    # shellcheck disable=SC2086 # words
    tell "$CRASH/crash" -j 2 $part
    [ -n "$part" ] && return
    read -r points states <<<"$(tail -1 "$OUT" |
        sed 's/.* \([0-9]*\) crash points, \([0-9]*\) states.*/\1 \2/')"
    at_least "$points" 1000 "crash points"
    at_least "$states" 100000 "states"
}

@test "the absence of any safeguard is noticed" {
    tell "$CRASH/planted"
    [ -z "${CKPT_TEST_LONG:-}" ] || grep -E '^(ok|MISSED)' "$OUT" |
        cut -c1-140 | sed 's/^/# figure:   /' >&3
}
