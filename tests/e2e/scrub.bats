#!/usr/bin/env bats
# tests/e2e/scrub.bats - ckpt scrub: reads again what is committed, slowly if
# need be, goes on where it was cut short, and what it finds is seen by ls, show
# and doctor, heeded by retention, and forgotten once it is mended.

load ../lib/e2e

three_saves() {
    job --ranks 2 "$@" open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed fill:3 save:3 wait:committed close
    wait_quiet
}

# The steps that are on record as damaged, on one line.
damaged() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --json |
        jq -r 'select(.damaged) | "\(.run)@\(.step)"' | paste -sd' '
}

@test "a good home: 0, and nothing is on record as damaged" {
    three_saves
    tool_is 0 scrub
    is "$(cut -f1,3 "$OUT" | tr '\t\n' ' ;')" "run@1 ok;run@2 ok;run@3 ok;" "lines"
    tool_is 0 scrub --json run@2
    is "$(jq -r '"\(.schema) \(.kind) \(.run) \(.step) \(.result) \(.corrupt)"' "$OUT")" \
        "1 scrub run 2 ok 0" "the object"
    is "$(damaged)" "" "damaged"
    tool_is 0 doctor
    tool_is 10 scrub other
    tool_is 2 scrub --rate fast
    tool_is 2 scrub --rate 0
    tool_is 2 ls --rate 1M
}

@test "damage: 4, named by file, tensor and range, and on record until mended" {
    job --ranks 2 --run other open fill:2 save:1 wait:committed close
    three_saves
    read -r file offset <<<"$(place run@2 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 4 scrub
    out_has "scrub: run@2/1: $file at $offset: .*tensor t00 bytes 0-"
    out_has "^run@2	generation 1	corrupt"
    out_has "^run@3	generation 1	ok"
    is "$(damaged)" "run@2" "damaged"
    tool_is 0 ls
    out_has "^run	2	1	COMMITTED	.*damaged"
    tool_is 0 show run@2
    out_has "^damaged  run@2/1: $file at $offset: .*tensor t00"
    tool_is 1 doctor
    out_has "damaged +FAIL +a scrub found: run@2/1: $file at $offset"
    out_has "fix: ckpt verify --repair"
    # It stays on record until it was read and good.
    tool_is 4 verify run@2
    is "$(damaged)" "run@2" "damaged after verify"
    tool_is 0 verify --repair run@2
    is "$(damaged)" "" "damaged after the repair"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 4 scrub run@2
    is "$(damaged)" "run@2" "damaged once more"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 0 scrub run@2
    is "$(damaged)" "" "damaged after it was found good"
    tool_is 0 doctor
}

@test "a segment that is gone is damage, one of another store is not" {
    three_saves
    read -r file <<<"$(place run@3 file)"
    mv "$LOCAL/$file" "$BATS_TEST_TMPDIR/aside"
    tool_is 3 scrub
    is "$(damaged)" "run@3" "damaged"
    mv "$BATS_TEST_TMPDIR/aside" "$LOCAL/$file"
    tool_is 0 scrub
    mkdir "$BATS_TEST_TMPDIR/other"
    job --home "$BATS_TEST_TMPDIR/other" open
    tool_is 3 scrub --local "$BATS_TEST_TMPDIR/other/local"
    is "$(damaged)" "" "damaged"
}

@test "nothing is removed behind a newest checkpoint that was found damaged" {
    three_saves
    job --ranks 2 open load fill:4 save:4 wait:committed close
    wait_quiet
    tool_is 0 gc --keep-last 3 --yes
    is "$(saves)" "2/1 3/1 4/2" "what is left" # 4 is marked as verified now
    read -r file offset <<<"$(place run@4 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 4 scrub
    # It does not count as one of the last, and nothing goes behind it.
    tool_is 0 gc --keep-last 2 --yes
    tool_is 4 gc --keep-last 1
    out_has "run@4/2, the newest checkpoint, is not good, so nothing older is removed"
    tool_is 4 gc --keep-last 1 --yes
    out_has "run@4/2, the newest checkpoint, is not good, so nothing older is removed"
    is "$(saves)" "2/1 3/1 4/2" "what is left"
    # The same for the daemon, until a newer one is good.
    job --ranks 2 --resume 3/1 --keep-last 1 open load fill:5 save:5 \
        wait:committed close
    wait_quiet
    tool_is 0 scrub run@5
    job --ranks 2 open load
    out_count "load ok id=5/3 version=5" 2
}

@test "the rate is kept" {
    job --tensors 4 --rows 512 --columns 512 open fill:1 save:1 wait:committed close
    wait_quiet
    started=$(date +%s%N)
    tool_is 0 scrub --rate 3M # of 4 MiB
    spent=$((($(date +%s%N) - started) / 1000000))
    at_least $spent 600 "milliseconds"
    at_most $spent 15000 "milliseconds"
}

@test "cut short, it goes on where it was" {
    three_saves --rows 512 --columns 512
    status=0
    timeout -s KILL 2.2 "$BUILD_DIR/bin/ckpt" scrub --rate 3M \
        --home "$HOME_DIR" >"$OUT" 2>&1 3>&- || status=$?
    is $status 137 "exit status"
    before=$(grep -c "	ok	" "$OUT") || true
    at_least "$before" 1 "saves that were read"
    tool_is 0 scrub --resume
    after=$(grep -c "	ok	" "$OUT") || true
    is $((before + after)) 3 "saves that were read, each once"
    out_has "^$before of 3 were read by this pass before"
    tool_is 0 scrub --resume
    out_has "^3 of 3 were read by this pass before"
    # A new pass reads all, and older records of passes go.
    tool_is 0 scrub
    is "$(grep -c "	ok	" "$OUT")" 3 "saves that were read"
    is "$(find "$HOME_DIR/runs/run/scrubbed" -type f | wc -l)" 3 "records"
}

@test "a home that may not be written is read, and nothing remembered" {
    need_root
    open_folder
    job open fill:1 save:1 wait:committed close
    wait_quiet
    chmod -R a+rX "$HOME_DIR"
    status=0
    run_as_other env CKPT_HOME="$HOME_DIR" "$OPEN_DIR/bin/ckpt" scrub \
        >"$OUT" 2>&1 || status=$?
    is $status 0 "exit status"
    out_has "what is found will not be remembered: folder .*belongs to uid 0"
    out_has "^run@1	generation 1	ok"
    [ ! -e "$HOME_DIR/runs/run/scrubbed" ]
}

@test "a daemon with nothing else to do finds damage by itself" {
    start_daemon --scrub-every 3
    three_saves_kept() {
        job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
            wait:committed fill:3 save:3 wait:committed close
    }
    three_saves_kept
    read -r file offset <<<"$(place run@2 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    is_seen() { [ "$(damaged)" = "run@2" ]; }
    eventually is_seen
    log=$BATS_TEST_TMPDIR/daemon.log
    grep -qE "error engine: scrub of run run step 2 .generation 1.: .*tensor t00: $LOCAL/$file at $offset .*.tensor t00 bytes 0-" \
        "$log" || complain "$(grep scrub "$log")"
    # Mended, it is taken off the record at the next turn.
    flip "$LOCAL/$file" $((offset + 5000))
    is_mended() { [ "$(damaged)" = "" ]; }
    eventually is_mended
    stop_daemon
    tool_is 0 scrub
}

@test "a daemon that is told not to reads nothing again" {
    start_daemon --scrub-every 0
    job open fill:1 save:1 wait:committed close
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    sleep 4.5
    is "$(damaged)" "" "damaged"
    stop_daemon
    tool_is 4 scrub
}
