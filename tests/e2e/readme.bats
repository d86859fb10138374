#!/usr/bin/env bats
# tests/e2e/readme.bats - what README.md shows of the sources is what they say.

@test "the README's trainer is minimal.c without its includes" {
    cd "$BATS_TEST_DIRNAME/../.."
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md \
        >"$BATS_TEST_TMPDIR/shown"
    sed '1,/^$/d' trainer/examples/minimal/minimal.c \
        >"$BATS_TEST_TMPDIR/source"
    [ -s "$BATS_TEST_TMPDIR/shown" ]
    diff "$BATS_TEST_TMPDIR/shown" "$BATS_TEST_TMPDIR/source"
}
