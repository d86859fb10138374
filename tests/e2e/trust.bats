#!/usr/bin/env bats
# tests/e2e/trust.bats - a bit that flipped in one replica, and an optimizer
# that stood still, under each policy; nothing is said of healthy jobs.

load ../lib/e2e

# Tensors of [64, 256] U32: t00 to t03 in pieces, t04 replicated on all ranks.
# Rank 2 holds a wrong bit of element [3, 132].
FLIP=2:flip:4:900:30
NAMED='tensor t04: rank 2 differs from ranks 0, 1, first at element \[3, 132\]: rank 2 has [0-9]+ \(0x[0-9a-f]{8}\), rank 0 has [0-9]+ \(0x[0-9a-f]{8}\)'

# The first words of a job that compares all, and its saves.
all_of() {
    job --ranks 3 --replica-check all "$@"
    wait_quiet
}

both_quiet() {
    [ -z "$(daemon_pid "$BATS_TEST_TMPDIR/a")" ] &&
        [ -z "$(daemon_pid "$BATS_TEST_TMPDIR/b")" ]
}

# field STEP FILTER: of `ckpt ls --all --json`.
field() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --all --json run |
        jq -r "select(.step == $1) | $2"
}

@test "a flipped bit in one replica is named: tensor, ranks, element, values" {
    all_of open fill:1 save:1 fence wait:committed warnings \
        fill:2 $FLIP save:2 fence wait:committed warnings \
        fill:3 save:3 fence wait:committed warnings close
    out_count "warnings warning .*step 2 was committed, but .*$NAMED" 3
    out_count "warnings warning" 3
    [[ $(field 2 .warning) =~ $NAMED ]] || complain "ls: $(field 2 .warning)"
    is "$(field 1 .warning)$(field 3 .warning)" "" "warnings of healthy saves"
    is "$(field 2 .reason)" "" "the reason of a committed save"
    tool_is 0 ls
    out_has "$NAMED"
    tool_is 0 show run@2
    out_has "^divergence: $NAMED"
    out_has "^replicas: 1 blocks of 65536 bytes compared, 1 differ, 0 had no other"
    tool_is 0 show --json run@2
    jq -e '.notes.divergence | test("rank 2 differs")' "$OUT" >/dev/null
    tool_is 0 show run@1
    out_has "^replicas: 1 blocks of 65536 bytes compared, 0 differ"
    out_lacks "divergence"
    grep -qE "warn .*step 2: committed, but .*$NAMED" "$LOCAL/ckptd.log" ||
        complain "the log"
    # The two values differ in that very bit.
    set -- $(field 2 .warning | grep -oE '0x[0-9a-f]{8}')
    is "$(($1 ^ $2))" $((1 << 30)) "the bits that differ"
    tool_is 0 verify
    # A reader of 1.0 skips what 1.1 has added.
    python3 "$ROOT/tests/golden/read_ckpt.py" "$HOME_DIR" run >"$OUT" ||
        complain "read_ckpt.py"
}

@test "on_divergence fail: the save is aborted with the words, the next commits" {
    job --ranks 3 --replica-check all --on-divergence fail \
        open fill:1 save:1 fence wait:committed \
        fill:2 $FLIP save:2 fence "?wait:committed" \
        fill:3 save:3 fence wait:committed warnings close
    wait_quiet
    out_count "wait:committed error CKPT_EABORTED .*aborted: .*$NAMED" 3
    out_count "warnings ok count=0" 3
    is "$(saves)" "1/1 3/1" "what is committed"
    [[ $(reasons) =~ $NAMED ]] || complain "the reason: $(reasons)"
}

@test "one strict rank is enough" {
    start_job --part 0/3 --token t --ranks 2 --replica-check all \
        open fill:1 save:1 fence "?wait:committed" close
    timeout 100 "$JOB" --home "$HOME_DIR" --part 2/3 --token t \
        --replica-check all --on-divergence fail \
        open fill:1 $FLIP save:1 fence "?wait:committed" close \
        >"$OUT.2" 2>&1 3>&-
    end_job
    is $status 0 "the exit status"
    out_count "wait:committed error CKPT_EABORTED .*$NAMED" 2
    wait_quiet
    is "$(saves)" "" "what is committed"
}

@test "replica_allow: what may differ is not compared" {
    all_of --replica-allow "x*,t0?" --on-divergence fail \
        open fill:1 $FLIP save:1 fence wait:committed warnings close
    out_count "warnings ok count=0" 3
    tool_is 0 show run@1
    out_lacks "^replicas"
    is "$(field 1 .warning)" "" "the warning"
}

@test "off: nothing is compared" {
    job --ranks 3 --replica-check off --on-divergence fail \
        open fill:1 $FLIP save:1 fence wait:committed warnings close
    wait_quiet
    tool_is 0 show run@1
    out_lacks "^replicas"
}

@test "by default a sample rotates: the bit is found within sixteen saves" {
    local step commands=
    for step in $(seq 16); do
        commands="$commands fill:$step $FLIP save:$step fence wait:committed"
    done
    job --ranks 3 open $commands warnings close
    wait_quiet
    # t04 is one block: its turn comes once.
    out_count "warnings warning .*$NAMED" 3
    out_count "warnings ok count=1" 3
    is "$(saves | wc -w)" 16 "saves committed"
}

@test "ranks of two daemons: the ranks are named, and which elements" {
    start_job --part 0/3 --token t --ranks 2 --replica-check all \
        --local "$BATS_TEST_TMPDIR/a" --rows 1024 --columns 1024 \
        open fill:1 save:1 fence wait:committed warnings close
    timeout 100 "$JOB" --home "$HOME_DIR" --part 2/3 --token t \
        --local "$BATS_TEST_TMPDIR/b" --replica-check all --rows 1024 --columns 1024 \
        open fill:1 flip:4:700000:1 save:1 fence wait:committed warnings close \
        >"$OUT.2" 2>&1 3>&-
    end_job
    is $status 0 "the exit status"
    cat "$OUT.2" >>"$OUT"
    # Element 700000 is [683, 608]; a block of 2 MiB has 512 rows.
    out_count "warnings warning .*tensor t04: rank 2 differs from ranks 0, 1, first somewhere in elements \[512, 0\] to \[1023, 1023\] \(no daemon had both bytes\), that of rank [012] is saved" 3
    eventually both_quiet
}

@test "an arena of a few slots: comparing streams through it" {
    # 2 ranks, 6 tensors of 4 MiB; four slots of 2 MiB each.
    job --ranks 2 --replica-check all --layout replica --lazy \
        --rows 1024 --columns 1024 --arena 8800000 \
        open fill:1 save:1 fence wait:committed warnings \
        fill:2 1:flip:3:5:0 save:2 fence wait:committed warnings close
    wait_quiet
    out_count "warnings warning .*step 2 .*tensor t03: rank 1 differs from rank 0, first " 2
    out_count "warnings warning" 2
    tool_is 0 show run@1
    out_has "^replicas: 12 blocks of 25165824 bytes compared, 0 differ"
}

@test "an optimizer that stood still is flagged; one that moved is not" {
    job --ranks 3 --optimizer-names "t00,t03,t05" \
        open fill:1 save:1 fence wait:committed \
        fill:2 save:2 fence wait:committed \
        touch:1:3 touch:2:3 touch:4:3 save:3 fence wait:committed warnings \
        fill:4 save:4 fence wait:committed \
        touch:5:9 save:6 fence wait:committed warnings close
    wait_quiet
    out_count "warnings warning .*step 3 was committed, but stale: the optimizer's state \([0-9]+ bytes of 3 ranks\) is byte for byte that of step 2, 1 steps ago" 3
    out_count "warnings warning" 3
    is "$(field 3 .warning | cut -c1-6)" "stale:" "the warning of step 3"
    is "$(field 1 .warning)$(field 2 .warning)$(field 4 .warning)$(field 6 .warning)" \
        "" "warnings of healthy saves"
    tool_is 0 show run@3
    out_has "^stale: the optimizer's state"
}

@test "on_stale fail and ignore" {
    job --ranks 2 --optimizer-names "t*" --on-stale fail \
        open fill:1 save:1 fence wait:committed \
        save:2 fence "?wait:committed" fill:2 save:3 fence wait:committed close
    wait_quiet
    out_count "wait:committed error CKPT_EABORTED .*byte for byte that of step 1" 2
    is "$(saves)" "1/1 3/1" "what is committed"
    job --ranks 2 --optimizer-names "t*" --on-stale ignore \
        open load save:4 fence wait:committed warnings close
    wait_quiet
    out_count "warnings ok count=0" 2
    is "$(field 4 .warning)" "" "the warning"
}

@test "a state that was loaded and saved again untouched is stale too" {
    job --ranks 2 --optimizer-names "t0*" open fill:1 save:1 fence \
        wait:committed close
    wait_quiet
    job --ranks 2 --optimizer-names "t0*" open load save:2 fence \
        wait:committed warnings close
    wait_quiet
    out_count "warnings warning .*step 2 .*byte for byte that of step 1" 2
    # The same step once more: nothing should have changed since.
    job --ranks 2 --optimizer-names "t0*" --resume 2/2 open load save:2 fence \
        wait:committed warnings close
    wait_quiet
    out_count "warnings ok count=0" 2
    # In another layout nobody can tell, and nothing is said.
    job --ranks 3 --optimizer-names "t0*" open load save:3 fence \
        wait:committed warnings close
    wait_quiet
    out_count "warnings ok count=0" 3
}

@test "what was found outlives the daemon that found it" {
    start_job --ranks 3 --replica-check all open fill:1 $FLIP save:1 fence \
        wait:committed mark:$BATS_TEST_TMPDIR/saved \
        hold:$BATS_TEST_TMPDIR/go close
    eventually test -e "$BATS_TEST_TMPDIR/saved"
    kill -KILL "$(daemon_pid)"
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    is $status 0 "the exit status"
    wait_quiet
    [[ $(field 1 .warning) =~ $NAMED ]] || complain "ls: $(field 1 .warning)"
    tool_is 0 doctor
}
