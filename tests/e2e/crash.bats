#!/usr/bin/env bats
# tests/e2e/crash.bats - what power loss and SIGKILL leave, in one process on a
# disk that forgets (tests/crash), and that the harness notices when a safeguard
# is left out. The figures are in the suite's log; `make crash` prints them.

setup() {
    ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
    CRASH=${BUILD_DIR:-$ROOT/build}/tests
}

# Shows what a program prints, also when all is well.
tell() {
    run -0 "$@"
    sed 's/^/# /' <<<"$output" >&3
}

bats_require_minimum_version 1.5.0

@test "whatever a crash leaves, what was committed loads bit for bit" {
    if [ -n "${CKPT_TEST_LONG:-}" ]; then
        tell "$CRASH/crash" -j 2 -f 1 -p 16
    else
        tell "$CRASH/crash" -j 2 -f 0 -p 300
    fi
}

@test "the absence of any safeguard is noticed" {
    tell "$CRASH/planted"
}
