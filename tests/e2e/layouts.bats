#!/usr/bin/env bats
# tests/e2e/layouts.bats - random layouts saved and loaded by real processes
# through a real daemon, bit for bit.

load ../lib/e2e

@test "random pairs of layouts are bit-exact" {
    count=20
    [ -z "${CKPT_TEST_LONG:-}" ] || count=200
    # One daemon for all seeds.
    export CKPT_LINGER=60
    timeout 250 "$BUILD_DIR/tests/reshard_ranks" "$HOME_DIR" 1 $count \
        >"$OUT" 2>&1 3>&- || complain "exit status $?"
    out_has "$count pairs of layouts are bit-exact"
    pid=$(daemon_pid)
    [ -n "$pid" ] || complain "the daemon is gone"
    kill -TERM "$pid"
    wait_quiet
    tool_is 0 verify --deep
}

@test "random pairs of layouts, each load from a cold store" {
    timeout 250 "$BUILD_DIR/tests/reshard_ranks" "$HOME_DIR" 1001 8 \
        >"$OUT" 2>&1 3>&- || complain "exit status $?"
    out_has "8 pairs of layouts are bit-exact"
}
