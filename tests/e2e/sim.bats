#!/usr/bin/env bats
# The simulator (tests/sim): whole clusters, decided by a seed. A few hundred
# seeds; with CKPT_TEST_LONG 10,000 of them, in two processes.

SIM=$BUILD_DIR/bin/ckpt-sim

setup() {
    if [ -n "${CKPT_TEST_LONG:-}" ]; then each=5000; else each=150; fi
}

# Two ranges side by side; both sums are shown.
@test "nothing is lost, wrong or late in any seed" {
    "$SIM" --seed 1 --seeds $each >"$TMPDIR/one" 2>&1 &
    one=$!
    "$SIM" --seed 1000001 --seeds $each >"$TMPDIR/two" 2>&1 &
    two=$!
    rc=0
    wait $one || rc=1
    wait $two || rc=1
    cat "$TMPDIR/one" "$TMPDIR/two"
    sed 's/^/# figure: /' "$TMPDIR/one" "$TMPDIR/two" >&3
    [ $rc -eq 0 ]
    [ "$(grep -c "^$each seeds, .* 0 violations, " "$TMPDIR/one")" -eq 1 ]
    [ "$(grep -c "^$each seeds, .* 0 violations, " "$TMPDIR/two")" -eq 1 ]
    # Everything that can go wrong has, in both ranges.
    [ "$(grep -c '^of them: power losses [1-9].* landed late [1-9]' \
        "$TMPDIR/one" "$TMPDIR/two" | grep -c ':1$')" -eq 2 ]
    ! grep -E '^of them: .* 0(,|$)' "$TMPDIR/one" "$TMPDIR/two"
}

# What its oracle is worth: engines with a safeguard left out.
@test "seeds notice the absence of safeguards" {
    all=
    [ -z "${CKPT_TEST_LONG:-}" ] || all=-a
    rc=0
    "$BUILD_DIR/tests/sim_planted" $all >"$TMPDIR/planted" 2>&1 || rc=$?
    cat "$TMPDIR/planted"
    [ $rc -eq 0 ]
    sed -n '$s/^/# figure: /p' "$TMPDIR/planted" >&3
}

@test "a seed is replayed to the byte" {
    for seed in 7 12 90; do
        "$SIM" --seed $seed --trace >"$TMPDIR/first"
        "$SIM" --seed $seed --trace >"$TMPDIR/second"
        cmp "$TMPDIR/first" "$TMPDIR/second"
        [ "$(wc -l <"$TMPDIR/first")" -gt 100 ]
    done
}

@test "seeds differ from each other" {
    "$SIM" --seed 7 --trace | tail -n +2 >"$TMPDIR/first"
    "$SIM" --seed 8 --trace | tail -n +2 >"$TMPDIR/second"
    ! cmp -s "$TMPDIR/first" "$TMPDIR/second"
}

@test "a wrong command line is refused with 2" {
    for line in "--seed" "--seed x" "--seeds 0" "--seeds -3" "--bad" "7"; do
        rc=0
        # shellcheck disable=SC2086 # words
        "$SIM" $line >"$TMPDIR/out" 2>"$TMPDIR/err" || rc=$?
        [ $rc -eq 2 ]
        grep -q '^usage: ckpt-sim' "$TMPDIR/err"
    done
    "$SIM" --help | grep -q '^usage: ckpt-sim'
}
