#!/usr/bin/env bats
# tests/e2e/storm.bats - SIGKILLs of ranks, daemons and restores, at named
# places and at random moments: tests/storm/storm.c does it and says what is
# checked. Sixty kills; the long run in the plain build makes it 2,000. With
# SEED=N another row of them.

load ../lib/e2e

@test "after every kill the last checkpoint loads and nothing is left over" {
    kills=60
    homes=6
    [ -z "${CKPT_TEST_LONG:-}" ] || [ -n "$SANITIZED" ] || kills=2000
    [ -z "${CKPT_TEST_LONG:-}" ] || homes=8
    status=0
    mkdir "$BATS_TEST_TMPDIR/storm"
    "$BUILD_DIR/tests/storm" --dir "$BATS_TEST_TMPDIR/storm" --kills $kills \
        --homes $homes --seed "${SEED:-1}" >"$OUT" 2>&1 3>&- || status=$?
    is $status 0 "exit status"
    sed 's/^/# /' "$OUT" >&3
    tail -2 "$OUT" | sed 's/^/# figure: /' >&3
}
