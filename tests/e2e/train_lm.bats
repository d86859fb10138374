#!/usr/bin/env bats
# tests/e2e/train_lm.bats - the example trainer: its gradients and its flags,
# and what it promises of ckptd: the same bytes after a crash, the same state in
# every layout, and a loss that goes on as if nothing had happened.
#
# The model is small, so that a step takes milliseconds even under a sanitizer.

setup() {
    ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
    BUILD_DIR=${BUILD_DIR:-$ROOT/build}
    [ -x "$BUILD_DIR/bin/train_lm" ] || skip "train_lm was not built (no mpicc)"
    export CKPT_LINGER=0
    # Open MPI unloads its plugins before the leaks are counted, so theirs
    # cannot be told from ours: under ASan this suite counts none.
    export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
    HOME_DIR=$BATS_TEST_TMPDIR/home
    mkdir "$HOME_DIR"
    MODEL="--width 32 --layers 3 --batch 8"
}

# Trainings that a failed test left running.
teardown() {
    if [ -n "${job:-}" ]; then
        kill "$job" 2>/dev/null || true
        wait "$job" || true
    fi
}

# lm RANKS FLAGS...: output in $out, messages in $err, status in $status.
lm() {
    local count=$1
    shift
    out=$BATS_TEST_TMPDIR/out
    err=$BATS_TEST_TMPDIR/err
    status=0
    sh "$ROOT/tools/mpirun_local.sh" -n "$count" "$BUILD_DIR/bin/train_lm" \
        "$@" >"$out" 2>"$err" 3>&- || status=$?
}

# train RANKS RUN STEPS FLAGS...: must succeed; its last line in $final.
train() {
    local count=$1 run=$2 steps=$3
    shift 3
    # shellcheck disable=SC2086 # a list of flags
    lm "$count" --home "$HOME_DIR" --run "$run" --steps "$steps" $MODEL "$@"
    if [ $status -ne 0 ]; then
        cat "$err"
        return 1
    fi
    final=$(grep '^final ' "$out")
}

# Fails with the messages at hand.
expect() {
    grep -qF -- "$2" "$1" || {
        echo "expected: $2"
        cat "$1"
        return 1
    }
}

# Train in the background until the log has STEP, and kill every rank.
kill_ranks_at() {
    local step=$1 count=$2 run=$3 log=$BATS_TEST_TMPDIR/killed.tsv waited=0
    shift 3
    : >"$log"
    # shellcheck disable=SC2086 # a list of flags
    sh "$ROOT/tools/mpirun_local.sh" -n "$count" "$BUILD_DIR/bin/train_lm" \
        --home "$HOME_DIR" --run "$run" --log "$log" --steps 100000 $MODEL \
        "$@" >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
    job=$!
    while ! grep -q "^$step	" "$log"; do
        kill -0 $job || {
            cat "$BATS_TEST_TMPDIR/err"
            return 1
        }
        waited=$((waited + 1))
        [ $waited -lt 1200 ]
        sleep 0.05
    done
    # The ranks are mpirun's children.
    kill -KILL $(grep -l "^PPid:[[:space:]]*$job\$" /proc/[0-9]*/status |
        sed 's,/proc/\([0-9]*\)/status,\1,')
    wait $job || true
    job=
}

# The greatest distance of the losses in $2 from those in $1, in percent.
stray() {
    awk -F'\t' 'NR == FNR { loss[$1] = $2; next }
        { d = $2 / loss[$1] - 1; if (d < 0) d = -d; if (d > far) far = d; n++ }
        END { if (n == 0) exit 1; printf "%.4f\n", far * 100 }' "$1" "$2"
}

is_below() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }' || {
        echo "$1 is not below $2"
        return 1
    }
}

@test "gradients are the derivatives of the loss, on one rank" {
    lm 1 --check-grad $MODEL
    [ $status -eq 0 ]
    expect "$out" "gradients agree"
}

@test "gradients are right when the vocabulary is padded over three ranks" {
    lm 3 --check-grad --tp 3 --width 24 --layers 2 --batch 2 --tied
    [ $status -eq 0 ]
    expect "$out" "gradients agree"
}

@test "gradients are right with experts, tensor and data parallel" {
    lm 4 --check-grad --dp 2 --tp 2 --ep 2 --experts 4 $MODEL
    [ $status -eq 0 ]
    expect "$out" "gradients agree"
}

@test "gradients are right with stages and a tied embedding" {
    lm 4 --check-grad --dp 2 --pp 2 --tied $MODEL
    [ $status -eq 0 ]
    expect "$out" "gradients agree"
}

@test "help goes to standard output" {
    lm 2 --help
    [ $status -eq 0 ]
    expect "$out" "usage: mpirun"
    [ "$(grep -c usage: "$out")" -eq 1 ]
}

@test "bad flags end with 2 and name the flag" {
    lm 1 --nonsense
    [ $status -eq 2 ]
    expect "$err" "unknown or ambiguous flag \`--nonsense'"
    lm 1 --steps ten
    [ $status -eq 2 ]
    expect "$err" "--steps: \`ten' is not a number"
    lm 1 --arena-bytes 12Q
    [ $status -eq 2 ]
    expect "$err" "--arena-bytes"
    lm 1 --steps
    [ $status -eq 2 ]
    expect "$err" "a value is missing after \`--steps'"
    lm 2 --dp 2 --tp 2
    [ $status -eq 2 ]
    expect "$err" "make 4 ranks, but mpirun started 2"
    lm 2 --dp 2 --batch 3
    [ $status -eq 2 ]
    expect "$err" "--batch is not a multiple of --dp"
}

@test "a missing home or text is named" {
    lm 1 --home "$BATS_TEST_TMPDIR/nowhere" $MODEL
    [ $status -eq 1 ]
    expect "$err" "$BATS_TEST_TMPDIR/nowhere"
    lm 1 --home "$HOME_DIR" --data "$BATS_TEST_TMPDIR/no-text" $MODEL
    [ $status -eq 1 ]
    expect "$err" "no-text"
}

@test "killed and resumed in one layout, it ends with the same bytes" {
    layout="--dp 2 --tp 2 --save-every 5"
    train 4 whole 40 $layout
    whole=$final
    kill_ranks_at 23 4 parts $layout
    train 4 parts 40 $layout
    expect "$err" "resumed from step"
    [ "$final" = "$whole" ]
}

@test "killed and resumed with experts, the same bytes" {
    layout="--dp 4 --ep 2 --experts 4 --tied --save-every 5"
    train 4 whole 30 $layout
    whole=$final
    kill_ranks_at 17 4 parts $layout
    train 4 parts 30 $layout
    expect "$err" "resumed from step"
    [ "$final" = "$whole" ]
}

@test "a checkpoint is the same state in every layout" {
    train 4 lm 12 --dp 2 --tp 2
    first=$final
    for layout in "1" "2 --pp 2" "2 --tp 2" "4 --dp 4" "3 --pp 3" \
        "4 --dp 2 --pp 2" "4 --tp 4"; do
        set -- $layout
        count=$1
        shift
        train "$count" lm 12 "$@"
        expect "$err" "resumed from step 12"
        [ "$final" = "$first" ]
    done
}

@test "a checkpoint of tied experts is the same state in every layout" {
    model="--tied --experts 4"
    train 4 lm 12 --dp 2 --tp 2 --ep 2 $model
    first=$final
    for layout in "1" "2 --pp 2" "4 --dp 4 --ep 4" "4 --dp 2 --pp 2 --ep 2" \
        "3 --pp 3" "2 --tp 2"; do
        set -- $layout
        count=$1
        shift
        train "$count" lm 12 "$@" $model
        [ "$final" = "$first" ]
    done
}

@test "the loss goes on as if the layout had not changed" {
    train 4 lm 40 --dp 2 --tp 2 --save-every 20 --log "$BATS_TEST_TMPDIR/all.tsv"
    sed 1,20d "$BATS_TEST_TMPDIR/all.tsv" >"$BATS_TEST_TMPDIR/same.tsv"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/same.tsv")" -eq 20 ]
    for layout in "2 --pp 2" "2 --tp 2" "1" "4 --dp 4"; do
        rm -f "$BATS_TEST_TMPDIR/other.tsv"
        set -- $layout
        count=$1
        shift
        train "$count" lm 40 "$@" --resume-step 20 \
            --log "$BATS_TEST_TMPDIR/other.tsv"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/other.tsv")" -eq 20 ]
        is_below "$(stray "$BATS_TEST_TMPDIR/same.tsv" \
            "$BATS_TEST_TMPDIR/other.tsv")" 1
    done
}

@test "a state four times the arena is saved and resumed" {
    MODEL="--width 256 --layers 3 --batch 8"
    train 2 lm 3 --dp 2 --arena-bytes 2M
    first=$final
    train 2 lm 3 --tp 2 --arena-bytes 2M
    expect "$err" "resumed from step 3"
    [ "$final" = "$first" ]
}

@test "going back to an older step makes a branch" {
    train 2 lm 20 --tp 2 --save-every 10 --wait-commit
    main=$final
    train 2 lm 15 --tp 2 --resume-step 10
    expect "$err" "resumed from step 10"
    branch=$final
    [ "${branch%% loss*}" = "final step=15" ]
    train 2 lm 15 --tp 2
    expect "$err" "resumed from step 15"
    [ "$final" = "$branch" ]
    train 2 lm 20 --tp 2
    [ "$final" = "$main" ]
}

@test "another model under the same name is refused, a fresh start is not" {
    train 1 lm 3
    lm 1 --home "$HOME_DIR" --steps 5 $MODEL --tied
    [ $status -eq 1 ]
    expect "$err" "is of another model"
    train 1 lm 3 --tied --fresh
    [ "${final%% loss*}" = "final step=3" ]
}

@test "replicas are equal and the optimizer moves in every layout: nothing is flagged" {
    strict="--save-every 2 --replica-check all --on-divergence fail --on-stale fail"
    train 4 a 4 --dp 2 --tp 2 $strict
    train 2 a 6 --dp 2 $strict
    train 2 a 8 --pp 2 $strict
    train 4 b 4 --tp 2 --pp 2 --tied $strict
    train 4 c 4 --dp 4 --ep 2 --experts 4 $strict
    for run in a@4 a@6 b@4 c@4; do
        "$BUILD_DIR/bin/ckpt" --home "$HOME_DIR" show $run >"$out"
        grep -qE '^replicas: [1-9][0-9]* blocks of [0-9]+ bytes compared, 0 differ, 0 had no other$' \
            "$out" || {
            cat "$out"
            return 1
        }
    done
    "$BUILD_DIR/bin/ckpt" --home "$HOME_DIR" ls --all --json >"$out"
    [ "$(jq -r .state "$out" | sort | uniq -c | tr -s ' ')" = " 8 COMMITTED" ]
    [ -z "$(jq -r '.warning, .reason' "$out" | tr -d '\n')" ]
}

@test "an optimizer whose weights stand still is flagged, or ends the job" {
    still="--save-every 2 --wait-commit --dp 2 --lr 0 --optimizer-names optim.master.*"
    train 2 a 4 $still
    expect "$err" "train_lm: warning: run a, step 4 was committed, but stale:"
    lm 2 --home "$HOME_DIR" --run b --steps 4 $MODEL $still --on-stale fail
    [ $status -ne 0 ]
    expect "$err" "is byte for byte that of step 2, 2 steps ago"
}

@test "words of the flags on trust" {
    lm 1 --on-stale never
    [ $status -eq 2 ]
    expect "$err" "--on-stale: \`never' is none of: warn fail ignore"
}
