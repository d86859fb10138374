#!/usr/bin/env bats
# tests/e2e/ckpt.bats - the command line: what each verb shows, as a table, as
# TSV in a pipe and as JSON, and the exit codes.

load ../lib/e2e

# Two generations: steps 1 and 2, then 3 from 1; step 9 aborted.
two_branches() {
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    job --ranks 3 --resume 1 open load fill:3 save:3 wait:committed barrier \
        2:die fill:9 save:9 "?wait:committed" close
    wait_quiet
}

# Every line is a JSON object of schema 1 with these keys.
json_has() {
    local key
    jq -es 'length > 0 and all(.[]; type == "object" and .schema == 1)' \
        <"$OUT" >/dev/null || complain "not one object of schema 1 per line"
    is "$(jq -c . "$OUT" | wc -l)" "$(wc -l <"$OUT")" "objects and lines"
    for key; do
        jq -es "all(.[]; has(\"$key\"))" <"$OUT" >/dev/null ||
            complain "no $key"
    done
}

@test "ls: the newest branch; with --all the rest, with reasons" {
    two_branches
    tool_is 0 ls
    is "$(cut -f1-4 "$OUT" | tr '\t\n' ' ;')" \
        "RUN STEP GEN STATE;run 1 1 COMMITTED;run 3 2 COMMITTED;" "the table"
    out_has "latest"
    tool_is 0 ls --all run
    out_has "^run	2	1	COMMITTED"
    out_has "^run	9	2	ABORTED	.*rank 2"
    tool_is 0 ls --json
    json_has run step generation state failure_domain logical_bytes \
        stored_bytes tensors ranks layout created
    is "$(jq -c '[.run,.step,.generation,.state,.logical_bytes,.tensors,.ranks,.layout]' "$OUT" | tail -1)" \
        '["run",3,2,"COMMITTED",393216,6,3,"dp=3"]' "the last line"
    is "$(jq -r .failure_domain "$OUT" | sort -u)" \
        "node-local: lost with its node" "the failure domain"
    jq -r .created "$OUT" | grep -qE '^20..-..-..T..:..:..Z$' ||
        complain "created is no time"
}

@test "ls of several runs and of an empty home" {
    tool_is 0 ls
    out_has "no checkpoints in $HOME_DIR"
    job open fill:1 save:1 wait:committed close
    job --run other open fill:1 save:1 wait:committed close
    wait_quiet
    tool_is 0 ls --json
    is "$(jq -r .run "$OUT" | paste -sd' ')" "other run" "runs"
    tool_is 0 ls other
    out_lacks "^run	"
    tool_is 10 ls third
    out_has "no run 'third'"
}

@test "a table on a terminal: aligned, IEC sizes" {
    job open fill:1 save:1 wait:committed close
    wait_quiet
    script -qec "CKPT_HOME=$HOME_DIR $BUILD_DIR/bin/ckpt ls" /dev/null \
        </dev/null >"$OUT" 2>&1 3>&-
    out_has "^RUN  +STEP"
    out_has "384 KiB"
    out_lacks "	"
}

@test "show: layout, tensors, extra state, origin" {
    two_branches
    tool_is 0 show run@3
    out_has "dp=3"
    out_has "^t00	U32	\[64, 256\]	65536"
    out_has "versions .* = 256 bytes"
    out_has "of rank \(dp=2\) = 3002"
    tool_is 0 show --json run@latest
    json_has
    tool_is 0 show run@1:t03
    out_has "t03"
    tool_is 10 show run@1:nobody
    out_has "no tensor 'nobody'"
    tool_is 10 show run@7
    out_has "no checkpoint of step 7"
    tool_is 10 show run@9
    out_has "aborted: .*rank 2"
    tool_is 0 show run@2/1
    tool_is 10 show run@2/2
}

@test "where: every chunk's file, offset and size, and they are there" {
    two_branches
    tool_is 0 where --json run@3
    json_has chunk file offset stored_bytes raw_bytes codec
    while read -r file offset stored; do
        at_least "$(stat -c %s "$LOCAL/$file")" $((offset + stored)) "size of $file"
    done < <(jq -r '"\(.file) \(.offset) \(.stored_bytes)"' "$OUT")
    tool_is 0 where run@3
    out_has "^CHUNK	"
    tool_is 0 where --json run@3:t00
    tool_is 10 where run@3:nobody
}

@test "a generation that has not the step is told, and who has it" {
    two_branches
    for verb in show "drain --timeout 5" verify; do
        # shellcheck disable=SC2086 # a verb and its options
        tool_is 10 $verb run@2/9
        out_has "run run has no checkpoint of step 2 in generation 9 .the nearest is step 2 of generation 1"
    done
    tool_is 10 show run@9/2
    out_has "run@9 was aborted: "
    tool_is 10 show run@9/1 # it was not that one's
    out_has "no checkpoint of step 9 in generation 1 .the nearest is step 3 of generation 2"
    tool_is 10 wait --timeout 0 run@2/9
    out_has "run@2/9 is not there yet"
}

@test "verify: --quick, the default and --deep; 0, 4 and 10" {
    two_branches
    for depth in --quick "" --deep; do
        tool_is 0 verify $depth
        tool_is 0 verify $depth run
        tool_is 0 verify $depth --json run@3
        json_has run step generation result chunks_read bytes_read corrupt
        is "$(jq -r .result "$OUT")" ok "the result"
    done
    tool_is 10 verify run@7
    tool_is 10 verify third
}

@test "pin and unpin are seen by ls and hold gc back" {
    two_branches
    tool_is 0 pin run@1
    tool_is 0 pin run@1
    tool_is 0 ls --json
    is "$(jq -c 'select(.pinned) | .step' "$OUT")" 1 "what is pinned"
    tool_is 0 gc --keep-last 1 --yes
    tool_is 0 verify run@1
    tool_is 0 unpin run@1
    tool_is 0 ls --json
    is "$(jq -c 'select(.pinned) | .step' "$OUT")" "" "what is pinned"
    tool_is 10 pin run@7
    tool_is 10 pin third@1
}

leases() {
    find "$HOME_DIR/runs/run/lease" -type f 2>/dev/null
}

@test "a lease holds gc back while its reader lives, and not for ever" {
    two_branches
    "$BUILD_DIR/bin/ckpt" --home "$HOME_DIR" scrub --rate 1K run@2 >/dev/null 2>&1 3>&- &
    reader=$!
    eventually eval '[ -n "$(leases)" ]'
    kill -KILL $reader
    wait $reader || true
    tool_is 0 gc --keep-last 1 --yes
    tool_is 0 verify run@2
    # So old, by the clock of the home, that its reader would have renewed it.
    touch -d '-61 seconds' $(leases)
    tool_is 0 gc --keep-last 1
    tool_is 0 verify run@2
    tool_is 0 gc --keep-last 1 --yes
    out_has "^record	runs/run/lease/"
    is "$(leases)" "" "leases"
    tool_is 10 verify run@2
    tool_is 0 verify run@3
}

@test "gc while the daemon is at work is refused as busy or does no harm" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    start_job --ranks 2 open load storm:2:100
    eventually grep -q "saved:5" "$OUT"
    mv "$OUT" "$OUT.job"
    for round in 1 2 3; do
        tool gc --keep-last 2 --yes
        [ $status -eq 0 ] || [ $status -eq 11 ] ||
            complain "gc: exit status $status"
    done
    end_job
    is "$status" 0 "exit status of the job"
    is "$(grep -c 'saved:.* ok$' "$OUT.job")" 200 "saves"
    job --ranks 3 open load
    out_count "load ok id=101/2 version=101" 3
    wait_quiet
    tool_is 0 verify
}

@test "doctor names a segment whose header is damaged, whoever needs it" {
    job open fill:1 save:1 wait:committed close
    wait_quiet
    tool_is 0 doctor
    out_lacks "^segment"
    # Nobody's, as a crash may leave it; one that was never used is none.
    head -c 8192 /dev/zero >"$LOCAL/seg/000098"
    tool_is 0 doctor
    out_lacks "^segment"
    head -c 8192 /dev/urandom >"$LOCAL/seg/000099"
    tool_is 0 doctor
    out_has "^segment +warn +$LOCAL/seg/000099: segment header: "
    out_has "fix: ckpt verify --repair"
    # A checkpoint's own: that is told as such, too.
    printf x | dd of="$LOCAL/seg/000001" bs=1 seek=20 conv=notrunc status=none
    tool_is 1 doctor
    out_has "^segment +warn +$LOCAL/seg/000001: .*, and 1 more like it"
    out_has "^latest +FAIL "
    tool_is 0 verify --repair run@1
    rm "$LOCAL/seg/000099"
    tool_is 0 doctor
    out_lacks "^segment"
}

@test "doctor: 0 when all is well, 1 and a fix when not" {
    job open fill:1 save:1 wait:committed close
    wait_quiet
    tool_is 0 doctor
    out_has "^home +ok"
    out_has "^local store +ok"
    tool_is 0 doctor --json
    json_has check result seen fix
    tool_is 1 doctor --home "$BATS_TEST_TMPDIR/nowhere"
    out_has "^home +FAIL .*$BATS_TEST_TMPDIR/nowhere"
    out_has "fix: "
    start_daemon
    tool_is 0 doctor
    out_has "daemon +ok .*pid $daemon "
    stop_daemon
}

@test "a verify that is interrupted ends with 130" {
    job --ranks 2 --tensors 12 --rows 4096 --columns 1024 open fill:1 save:1 \
        wait:committed close
    wait_quiet
    status=0
    timeout -s INT 0.03 "$BUILD_DIR/bin/ckpt" verify --deep --home "$HOME_DIR" \
        >"$OUT" 2>&1 3>&- || status=$?
    [ $status -eq 124 ] || [ $status -eq 130 ] || [ $status -eq 0 ] ||
        complain "exit status $status"
    tool_is 0 verify
}

@test "looking starts no daemon and changes no file" {
    two_branches
    find "$HOME_DIR" -type f -printf '%p %m %s %T@\n' | sort >"$OUT.before"
    for verb in "ls --all" "show run@1" "where run@1" "verify --deep" \
        "doctor" "gc --dry-run"; do
        tool_is 0 $verb
    done
    [ -z "$(daemon_pid)" ] || complain "a daemon was started"
    find "$HOME_DIR" -type f -printf '%p %m %s %T@\n' | sort >"$OUT.after"
    diff "$OUT.before" "$OUT.after"
}

@test "doctor: is the newest checkpoint there, and is this a home at all" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    tool_is 0 doctor
    file=$(CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --json run@1 |
        head -1 | jq -r .file)
    mv "$LOCAL/$file" "$BATS_TEST_TMPDIR/segment"
    tool_is 1 doctor
    out_has "latest  *FAIL .*run@1/1: $file at .*No such file"
    out_has "fix: give the local store that it was saved to"
    head -c 5000 "$BATS_TEST_TMPDIR/segment" >"$LOCAL/$file"
    tool_is 1 doctor
    out_has "latest  *FAIL .*run@1/1: $file at .*truncated"
    mv "$BATS_TEST_TMPDIR/segment" "$LOCAL/$file"
    tool_is 1 doctor --local "$BATS_TEST_TMPDIR/elsewhere"
    out_has "latest  *FAIL .*$BATS_TEST_TMPDIR/elsewhere"
    tool_is 0 doctor
    mv "$HOME_DIR/STORE" "$BATS_TEST_TMPDIR/STORE"
    tool_is 1 doctor
    out_has "home  *FAIL .*STORE record is gone, but there are runs"
    out_has "fix: put STORE back"
    head -c 100 /dev/zero >"$HOME_DIR/STORE"
    tool_is 1 doctor
    out_has "home  *FAIL .*STORE record is damaged"
    mv "$BATS_TEST_TMPDIR/STORE" "$HOME_DIR/STORE"
    tool_is 0 doctor
    mkdir -p "$BATS_TEST_TMPDIR/other/things"
    tool_is 1 doctor --home "$BATS_TEST_TMPDIR/other"
    out_has "home  *FAIL .*is no home yet, and is not empty"
}

@test "ls: what is no run in runs/ is passed over; a removed save has no date" {
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    wait_quiet
    mkdir -p "$HOME_DIR/runs/lost+found" "$HOME_DIR/runs/stray"
    echo hello >"$HOME_DIR/runs/note"
    tool_is 0 ls
    out_has "^run	2	"
    out_count "entries of runs/ are no runs" 1
    tool_is 0 verify
    tool_is 0 gc --keep-last 1 --yes
    tool_is 0 ls --all
    out_has "^run	1	.*REMOVED"
    ! grep -q 1970- "$OUT" || complain "a date that nobody knows is printed"
    # Damage is no stray.
    rm "$HOME_DIR/runs/run/RUN"
    tool ls
    [ "$status" -ne 0 ] || complain "a run without RUN is passed over"
}

@test "a count that is no number is told with its option" {
    tool_is 2 gc --keep-last x
    out_has "^ckpt: --keep-last: not a number: 'x'"
    tool_is 2 gc --keep-every 3x
    out_has "^ckpt: --keep-every: not a number: '3x'"
}
