#!/usr/bin/env bats
# tests/e2e/policy.bats - saves that come faster than they drain, replicas,
# what did not change, room, retention, pins and gc.

load ../lib/e2e

# 48 MiB in all: slower to write than to take.
BIG="--tensors 6 --rows 2048 --columns 1024"

# Saves of $1 steps without a pause between them ($2: after the first): only the first and the
# last are of a version, the others' elements are all the same number.
storm_commands() {
    local step
    commands="fill:1 save:1 fence ${2:-}"
    for step in $(seq 2 $(($1 - 1))); do
        commands="$commands set:$step save:$step fence"
    done
    commands="$commands fill:$1 save:$1 fence"
}

# A job of 12 saves under a policy. Rank 1 comes late to all but the first, so
# that what rank 0 saves meanwhile has not drained; the arena has room for it.
overload() {
    local go=$BATS_TEST_TMPDIR/go
    storm_commands 12 "1:hold:$go"
    start_job --ranks 2 $BIG --arena $((512 << 20)) --overload "$1" \
        open $commands "?wait:committed" close
    eventually grep -q "^0 save:6 ok" "$OUT"
    touch "$go"
    end_job
    [ $status -eq 0 ] || complain "exit status $status"
    wait_quiet
    [ -n "$(saves ABORTED)" ] || complain "no save came too fast"
}

@test "wait: every save is committed" {
    storm_commands 6
    job --ranks 2 $BIG --overload wait open $commands wait:committed close
    wait_quiet
    is "$(saves)" "1/1 2/1 3/1 4/1 5/1 6/1" "what is committed"
}

@test "skip: what is skipped is so for all ranks; the oldest is committed" {
    overload skip
    out_count "save:[0-9]+ ok" 24
    is "$(saves UNDECIDED)" "" "what is undecided"
    is "$(($(saves | wc -w) + $(saves ABORTED | wc -w)))" 12 "saves decided"
    is "$(saves | cut -d' ' -f1)" "1/1" "the first committed"
    is "$(reasons | grep -vc skip)" 0 "reasons other than to skip"
    # Both ranks were told the same of the last.
    is "$(sed -n 's/^[01] \(wait:committed [a-z]*\).*/\1/p' "$OUT" | sort -u | wc -l)" \
        1 "different answers"
    job --ranks 3 $BIG open read:1/1
    out_count "read:1/1 ok id=1/1 version=1 " 3
    tool_is 0 verify
}

@test "replace: the newest waits in place of older ones, the oldest is kept" {
    overload replace
    out_count "wait:committed ok" 2
    is "$(saves UNDECIDED)" "" "what is undecided"
    is "$(($(saves | wc -w) + $(saves ABORTED | wc -w)))" 12 "saves decided"
    is "$(saves | cut -d' ' -f1)" "1/1" "the first committed"
    is "$(saves | tr ' ' '\n' | tail -1)" "12/1" "the last committed"
    is "$(reasons | grep -vc replace)" 0 "reasons other than to replace"
    job --ranks 3 $BIG open load
    out_count "load ok id=12/1 version=12" 3
}

@test "permanent overload still makes progress" {
    for policy in skip replace; do
        rm -rf "$HOME_DIR"
        mkdir "$HOME_DIR"
        storm_commands 40
        job --ranks 2 --tensors 6 --rows 1024 --columns 1024 --keep-last 2 \
            --overload $policy open $commands "?wait:committed" close
        wait_quiet
        committed=$(tool ls --all --json run && jq -r \
            'select(.state == "COMMITTED" or .state == "REMOVED") | .step' "$OUT" | wc -l)
        at_least "$committed" 3 "saves that were committed under $policy"
    done
}

stored_bytes() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --json run |
        jq -r "select(.step == $1) | .stored_bytes"
}

@test "replicas are stored once, and written by all ranks" {
    job --ranks 4 --layout replica --tensors 4 --rows 2048 --columns 1024 \
        open fill:1 save:1 wait:committed close
    wait_quiet
    # Four tensors of 8 MiB.
    at_most "$(stored_bytes 1)" $((33 << 20)) "stored bytes"
    at_most "$(segment_bytes)" $((64 << 20)) "bytes of segments"
    tool_is 0 where --json run@1
    is "$(jq -r .rank "$OUT" | sort -u | wc -l)" 4 "ranks that wrote"
    most=$(jq -r '"\(.rank) \(.stored_bytes)"' "$OUT" |
        awk '{ s[$1] += $2 } END { for (r in s) if (s[r] > m) m = s[r]; print m }')
    at_most "$most" $((12 << 20)) "bytes that one rank wrote"
    job --ranks 3 --layout rows --tensors 4 --rows 2048 --columns 1024 open load
    out_count "load ok id=1/1 version=1" 3
}

@test "a state that did not change is not written again" {
    job --ranks 2 $BIG open fill:1 save:1 wait:committed close
    wait_quiet
    before=$(segment_bytes)
    job --ranks 2 $BIG open load save:2 wait:committed save:3 wait:committed close
    wait_quiet
    at_most "$(segment_bytes)" $((2 * before + (1 << 20))) \
        "bytes of segments, spares of one save included"
    tool_is 0 show run@3
    at_most "$(sed -n 's/^stored .* by this save \([0-9]*\)$/\1/p' "$OUT")" \
        65536 "bytes that the third wrote"
    tool_is 0 verify
    job --ranks 3 $BIG open load read:2/2 read:1/1
    out_count "ok id=3/2 version=1" 3
    out_count "ok id=2/2 version=1" 3
    out_count "ok id=1/1 version=1" 3
}

@test "what changed is written, the rest is referred to" {
    job --ranks 2 $BIG --layout rows open fill:1 save:1 wait:committed \
        touch:2:7 save:2 wait:committed close
    wait_quiet
    tool_is 0 show run@2
    written=$(sed -n 's/^stored .* by this save \([0-9]*\)$/\1/p' "$OUT")
    at_least "$written" $((8 << 20)) "bytes of the tensor that changed"
    at_most "$written" $((9 << 20)) "bytes that were written"
    job --ranks 2 $BIG open load read:1/1
    out_count "load ok id=2/1 version=1" 2
    out_count "read:1/1 ok id=1/1 version=1" 2
}

# Stored bytes of all chunks that checkpoints refer to, each once.
referenced_bytes() {
    local save
    for save in $(saves); do
        CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --json "run@$save" |
            jq -r '"\(.file) \(.offset) \(.stored_bytes)"'
    done | sort -u | awk '{ s += $3 } END { print s + 0 }'
}

@test "what is allocated stays within twice of what is referred to" {
    commands="fill:1 save:1 wait:committed"
    for step in $(seq 2 24); do
        commands="$commands touch:$((step % 6)):$step save:$step wait:committed"
    done
    job --ranks 2 $BIG --layout rows --keep-last 2 open $commands close
    wait_quiet
    tool_is 0 gc --yes
    referenced=$(referenced_bytes)
    at_least "$referenced" $((48 << 20)) "bytes referred to"
    at_most "$(segment_bytes)" $((2 * referenced + (50 << 20))) \
        "bytes of segments, spares of one save included"
    tool_is 0 verify
    job --ranks 3 $BIG open load
    out_count "load ok id=24/1" 3
}

steps() {
    saves | tr ' ' '\n' | cut -d/ -f1 | paste -sd' '
}

@test "keep-last keeps the newest, keep-every its multiples, pins what is pinned" {
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    tool_is 0 pin run@1
    commands=
    for step in $(seq 3 14); do
        commands="$commands fill:$step save:$step wait:committed"
    done
    job --ranks 2 --keep-last 2 --keep-every 5 open load $commands close
    wait_quiet
    kept=$(steps)
    for step in 1 5 10 13 14; do
        [[ " $kept " == *" $step "* ]] || complain "step $step is gone: $kept"
    done
    for step in 3 4 6 7 8 9 11; do
        [[ " $kept " != *" $step "* ]] || complain "step $step is there: $kept"
    done
    reads=
    for save in $(saves); do
        reads="$reads read:$save"
    done
    job --ranks 2 open load $reads
    out_lacks "error"
    tool_is 0 ls --all --json run
    is "$(jq -r 'select(.step == 3) | .state' "$OUT")" REMOVED "step 3"
    tool_is 10 show run@3
}

@test "nothing is deleted but behind a newer checkpoint that was read back" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    job --ranks 2 --keep-last 1 open load fill:2 save:2 "?wait:committed" \
        1:die close
    wait_quiet
    job --ranks 2 --keep-last 1 open load 1:die fill:3 save:3 \
        "?wait:committed" close
    wait_quiet
    for save in $(saves); do
        job --ranks 2 --resume "$save" open load
        out_count "load ok id=$save" 2
    done
    tool_is 0 ls --all --json run
    newest=$(jq -r 'select(.state == "COMMITTED") | .step' "$OUT" | tail -1)
    if [ "$(saves | wc -w)" -eq 1 ]; then
        is "$(jq -r "select(.step == $newest) | .verified" "$OUT")" true \
            "whether the one that is left was read back"
    fi
}

@test "a newest checkpoint that does not read back keeps the older one" {
    local saves offset file
    for damage in no yes; do
        rm -rf "$HOME_DIR" "$BATS_TEST_TMPDIR/go" "$BATS_TEST_TMPDIR/end"
        mkdir "$HOME_DIR"
        start_job --ranks 2 $BIG --layout rows --keep-last 1 open fill:1 save:1 \
            wait:committed hold:"$BATS_TEST_TMPDIR/go" touch:1:2 save:2 \
            wait:committed hold:"$BATS_TEST_TMPDIR/end" close
        eventually eval '[ "$(saves)" = 1/1 ]'
        # A tensor that did not change: the second save refers to its chunks.
        read -r file offset <<<"$(CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" \
            where --json run@1:t05 | head -1 | jq -r '"\(.file) \(.offset)"')"
        [ $damage = no ] || printf 'damage' | dd of="$LOCAL/$file" bs=1 \
            seek=$((offset + 8192)) conv=notrunc 2>/dev/null
        touch "$BATS_TEST_TMPDIR/go"
        if [ $damage = no ]; then
            saves=2/1
            eventually eval '[ "$(saves)" = "$saves" ]'
        else
            saves="1/1 2/1"
            eventually grep -q "retention of run .*$file.*nothing more is" \
                "$LOCAL/ckptd.log"
        fi
        touch "$BATS_TEST_TMPDIR/end"
        end_job
        is "$status" 0 "exit status of the job"
        wait_quiet
        is "$(saves)" "$saves" "what is left, damage: $damage"
    done
    tool_is 4 verify run@2
}

@test "gc removes what --keep-last says, and only with --yes" {
    commands=
    for step in 1 2 3 4 5; do
        commands="$commands fill:$step save:$step wait:committed"
    done
    job --ranks 2 open $commands close
    wait_quiet
    tool_is 0 pin run@2
    mkdir -p "$HOME_DIR/runs/run/lease"
    echo junk >"$HOME_DIR/runs/run/lease/junk.0"
    tool_is 4 gc --keep-last 2 --yes
    tool_is 0 ls
    rm "$HOME_DIR/runs/run/lease/junk.0"
    tool_is 0 gc --keep-last 2 --dry-run
    is "$(steps)" "1 2 3 4 5" "after a dry run"
    tool_is 0 gc --keep-last 2
    is "$(steps)" "1 2 3 4 5" "without --yes"
    out_has "add --yes"
    tool_is 0 gc --keep-last 2 --yes --json
    jq -es 'length > 0' <"$OUT" >/dev/null || complain "no JSON"
    is "$(steps)" "2 4 5" "after gc"
    tool_is 0 unpin run@2
    tool_is 0 gc --keep-last 2 --yes run
    is "$(steps)" "4 5" "after unpin and gc"
    tool_is 0 verify
    job --ranks 2 open load read:4/1
    out_count "load ok id=5/1 version=5" 2
    out_count "read:4/1 ok id=4/1 version=4" 2
    # And saving goes on in the room that was freed.
    before=$(segment_bytes)
    job --ranks 2 open fill:6 save:6 wait:committed close
    wait_quiet
    at_most "$(segment_bytes)" $((before / 2 * 3 + 65536)) "bytes of segments"
}
