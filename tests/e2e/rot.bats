#!/usr/bin/env bats
# tests/e2e/rot.bats - every kind of damage to a small checkpoint is seen or
# harmless (tests/rot/rot.c does it and says how it is read). One bit of each
# byte; the long run in the plain build flips every bit, and reads ten thousand
# flips by loads. With SEED=N other bits.

load ../lib/e2e

@test "what a checkpoint owns is damaged, and every way of reading sees it" {
    amount="--bits 1 --loads 1000 --commands 32 --ranks 16"
    [ -z "${CKPT_TEST_LONG:-}" ] || [ -n "$SANITIZED" ] ||
        amount="--bits 8 --loads 10000 --commands 600 --ranks 400"
    status=0
    mkdir "$BATS_TEST_TMPDIR/rot"
    "$BUILD_DIR/tests/rot" --dir "$BATS_TEST_TMPDIR/rot" $amount \
        --seed "${SEED:-1}" >"$OUT" 2>&1 3>&- || status=$?
    is $status 0 "exit status"
    # The table in a long run only: it is long.
    if [ -n "${CKPT_TEST_LONG:-}" ]; then
        sed 's/^/# figure: /' "$OUT" >&3
    else
        grep -E '^(owned|seed)' "$OUT" | sed 's/^/# figure: /' >&3
    fi
}
