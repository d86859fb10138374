#!/usr/bin/env bats
# tests/e2e/soak.bats - many saves with retention, reuse and faults: memory,
# descriptors and space do not grow (tests/storm/soak.c measures and judges). A
# hundred saves; the long run in the plain build makes it 1,440. Sanitizers keep
# what was freed, so memory is not looked at there.

load ../lib/e2e

@test "memory, descriptors and space do not grow with the number of saves" {
    saves=100
    block=20
    [ -z "${CKPT_TEST_LONG:-}" ] || [ -n "$SANITIZED" ] || saves=1440
    [ $saves -lt 1440 ] || block=60
    any_memory=
    [ -z "$SANITIZED" ] || any_memory=--any-memory
    status=0
    mkdir "$BATS_TEST_TMPDIR/soak"
    "$BUILD_DIR/tests/soak" --dir "$BATS_TEST_TMPDIR/soak" --saves $saves \
        --block $block $any_memory >"$OUT" 2>&1 3>&- || status=$?
    is $status 0 "exit status"
    sed 's/^/# /' "$OUT" >&3
    grep -E 'KiB of memory|violations' "$OUT" | sed 's/^/# figure: /' >&3
}
