#!/usr/bin/env bats
# tests/e2e/remote_read.bats - the remote tier in a shared directory is read:
# what is lost here loads from there, and ckpt looks into each tier.

load ../lib/e2e

setup() {
    e2e_setup
    LOCAL=$BATS_TEST_TMPDIR/drive
    export CKPT_LOCAL=$LOCAL
}

# saves_remote ARGUMENT...: step 1 is REMOTE, and its daemon gone.
saves_remote() {
    CKPT_REMOTE_EVERY=1 job --ranks 2 "$@" open fill:1 save:1 wait:committed close
    eventually is_remote 1
    wait_quiet
}

is_remote() {
    compgen -G "$HOME_DIR/runs/run/remote/*-*0$1-0001" >/dev/null
}

# loads_well RANKS ARGUMENT...: every rank gets the bytes of version 1.
loads_well() {
    job --ranks "$@" open load close
    out_count "load ok id=1/1 version=1" "$1"
    wait_quiet
}

# field TIER FIELD: of what verify --json said.
field() {
    jq -r "select(.tier == \"$1\") | .$2" <"$OUT"
}

# remote_place FIELD...: fields of the remote place of the first chunk.
remote_place() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --tier remote --json run@1 |
        head -1 | jq -r "[$(printf '.%s,' "$@" | sed 's/,$//')] | @tsv"
}

@test "the drive is gone: other layouts load all of it from the home" {
    for codec in raw planes; do
        saves_remote --codec $codec
        rm -rf "$LOCAL"
        for ranks in 1 3; do
            loads_well $ranks
            out_has "bytes of it were read from the remote tier"
        done
        rm -rf "$LOCAL" "$HOME_DIR"
        mkdir "$HOME_DIR"
    done
}

@test "a job goes on from there, and saves to its new drive" {
    saves_remote
    rm -rf "$LOCAL"
    job --ranks 3 open load fill:2 save:2 wait:committed close
    wait_quiet
    job --ranks 2 open load close
    out_count "load ok id=2/2 version=2" 2
    out_lacks "remote tier"
    wait_quiet
    tool_is 0 verify --deep
}

@test "one flipped byte on the drive costs one chunk from the home" {
    saves_remote
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    loads_well 2
    out_has "bytes of it were read from the remote tier"
    grep -q "error .*$file at $offset.*; read from the remote tier instead" \
        "$LOCAL/ckptd.log" || complain "nothing in the log"
    is "$(grep -c "read from the remote tier instead" "$LOCAL/ckptd.log")" 1 \
        "bad chunks in the log"
}

@test "both copies bad: the older checkpoint, and both are named" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    CKPT_REMOTE_EVERY=1 job --ranks 2 open load fill:2 save:2 wait:committed close
    eventually is_remote 2
    wait_quiet
    read -r file offset <<<"$(place run@2 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    for copy in "$HOME_DIR"/runs/run/data/00000002-*; do
        flip "$copy" 9000
    done
    loads_well 2
    out_has "step 2, rank .*$file at $offset.*; $HOME_DIR/runs/run/data/.* at "
}

@test "verify reads each tier, and says which" {
    saves_remote
    tool_is 0 verify run@1
    out_count "^run@1	generation 1	ok	.*	nvme$" 1
    out_count "^run@1	generation 1	ok	.*	remote$" 1
    tool_is 0 verify --json --deep run@1
    is "$(field nvme result) $(field remote result)" "ok ok" "the results"
    at_least "$(field remote bytes_read)" 100000 "remote bytes"
    is "$(field remote chunks_read)" "$(field nvme chunks_read)" "remote chunks"

    # A bad copy is told wherever it is, and the other one is not.
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 4 verify run@1
    out_has "	corrupt	.*	nvme$"
    out_has "	ok	.*	remote$"
    tool_is 4 verify --tier nvme run@1
    out_lacks "	remote$"
    tool_is 0 verify --tier remote run@1
    out_lacks "	nvme$"
    flip "$LOCAL/$file" $((offset + 5000))
    read -r file offset <<<"$(remote_place file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 4 verify run@1
    out_has "	corrupt	.*	remote$"
    out_has "data/.* at $offset: .*tensor"
    tool_is 0 verify --tier nvme run@1
    tool_is 0 verify --quick run@1
    # The first page of the file too.
    flip "$HOME_DIR/$file" $((offset + 5000))
    flip "$HOME_DIR/$file" 100
    tool_is 4 verify --tier remote run@1
    flip "$HOME_DIR/$file" 100
    tool_is 0 verify run@1
    tool_is 2 verify --tier tape run@1
    tool_is 2 verify --tier remote --repair run@1
}

@test "verify without the local store, and without a copy" {
    saves_remote
    export CKPT_LOCAL=$BATS_TEST_TMPDIR/none
    tool_is 0 verify --deep run@1
    out_has "generation 1	ok	.*	remote$"
    out_has "chunks are not in the local store"
    out_lacks "	nvme$"
    tool_is 3 verify --tier nvme run@1
    # One that is another machine's.
    export CKPT_LOCAL=$BATS_TEST_TMPDIR/other
    job --run other open fill:1 save:1 wait:committed close
    tool_is 0 verify run@1
    out_has "generation 1	ok	.*	remote$"
    out_lacks "	nvme$"
    tool_is 3 verify --tier nvme run@1
    out_has "it is in another local store"
    rm "$HOME_DIR"/runs/run/remote/*.*
    tool_is 3 verify --tier remote run@1
    out_has "no copy of the share of .* is in the remote tier"
    # All is good here, but it is said to be REMOTE.
    export CKPT_LOCAL=$LOCAL
    tool_is 3 verify run@1
    out_has "generation 1	ok	.*	nvme$"
    out_has "generation 1	partial	.*	remote$"
    rm "$HOME_DIR"/runs/run/remote/*
    tool_is 0 verify run@1
    out_lacks "	remote$"
}

@test "where shows each place of a chunk" {
    saves_remote
    tool_is 0 where run@1
    out_has "^0	0	nvme	seg/[0-9]*	4096	"
    out_has "^0	0	remote	runs/run/data/00000001-.*\.0	4096	"
    is "$(grep -c "	nvme	" "$OUT")" "$(grep -c "	remote	" "$OUT")" \
        "the places"
    tool_is 0 where --tier nvme run@1
    out_lacks "	remote	"
    tool_is 0 where --tier remote "run@1:t00"
    out_has "bytes of it"
    out_lacks "	nvme	"
    # What the local store has not any more, is another's, or cannot be seen.
    tool_is 0 where --json run@1
    is "$(jq -r '"\(.tier) \(.here)"' "$OUT" | sort -u | paste -sd' ')" \
        "nvme yes remote null" "where it looked"
    mv "$LOCAL/seg" "$LOCAL/gone"
    mkdir "$LOCAL/seg"
    tool_is 0 where run@1
    out_has "^0	0	nvme	.*	gone$"
    out_has "^0	0	remote	.*	-$"
    out_has "([0-9]+) of \1 chunks are not in the local store here; the first: $LOCAL/seg/[0-9]*: No such file"
    tool_is 3 where --tier nvme run@1
    tool_is 0 where --tier remote run@1
    out_lacks "local store here"
    rm -r "$LOCAL/seg"
    mv "$LOCAL/gone" "$LOCAL/seg"
    mv "$LOCAL" "$LOCAL.kept"
    tool_is 3 where --tier nvme run@1:t00
    out_has "	nvme	.*	no$"
    out_has "folder '$LOCAL' does not exist"
    job --run other open fill:1 save:1 wait:committed close # a new drive
    wait_quiet
    tool_is 3 where --tier nvme run@1
    out_has "	nvme	.*	no$"
    out_has "it is in another local store"
    rm -r "$LOCAL"
    mv "$LOCAL.kept" "$LOCAL"
    tool_is 0 where --tier nvme run@1
    out_has "^0	0	nvme	.*	yes$"
    # Its bytes are where it says.
    read -r file offset stored <<<"$(remote_place file offset stored_bytes)"
    read -r near at <<<"$(place run@1 file offset)"
    cmp -n "$stored" -i "$offset:$at" "$HOME_DIR/$file" "$LOCAL/$near" ||
        complain "other bytes"
    rm "$HOME_DIR"/runs/run/remote/*.*
    tool_is 0 where run@1
    out_lacks "	remote	"
    tool_is 10 where --tier remote run@1
}

# golden ARGUMENT...: the reader that was written from FORMAT.md alone.
golden() {
    python3 "$ROOT/tests/golden/read_ckpt.py" "$HOME_DIR" --json "$@" \
        >"$OUT" 2>"$OUT.err" 3>&- || complain "the reader: $(cat "$OUT.err")"
}

@test "the reader written from FORMAT.md recovers it without a local store" {
    saves_remote --codec planes
    golden --store "$LOCAL"
    cp "$OUT" "$BATS_TEST_TMPDIR/before"
    out_has '"step": 1|sha256|t00'
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    golden --store "$LOCAL"
    cmp "$OUT" "$BATS_TEST_TMPDIR/before" || complain "other bytes"
    rm -rf "$LOCAL"
    golden
    cmp "$OUT" "$BATS_TEST_TMPDIR/before" || complain "other bytes"
    read -r file offset <<<"$(remote_place file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    ! golden || complain "bad bytes are taken"
}

# codecs TIER: of all chunks there.
codecs() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --tier "$1" --json run@1 |
        jq -r .codec | sort -u | paste -sd' '
}

@test "what is raw here is encoded there, and comes back the same everywhere" {
    local file offset stored raw=(--tensors 4 --rows 512 --columns 512 --dull)
    saves_remote "${raw[@]}" --codec raw
    is "$(codecs nvme) and $(codecs remote)" "raw and planes+lz4" "codecs"
    read -r file offset stored <<<"$(remote_place file offset stored_bytes)"
    at_most "$(du -bs "$HOME_DIR/runs/run/data" | cut -f1)" $((3 << 20)) "bytes there"
    golden --store "$LOCAL"
    cp "$OUT" "$BATS_TEST_TMPDIR/before"
    tool_is 0 verify --deep run@1
    out_count "	ok	" 2
    # Every byte of it counts.
    flip "$HOME_DIR/$file" $((offset + 4096 + stored / 2))
    tool_is 4 verify --tier remote run@1
    out_has "data/.* at $offset: .*tensor"
    flip "$HOME_DIR/$file" $((offset + 4096 + stored / 2))
    # A chunk, then all that was here.
    read -r file offset <<<"$(place run@1 file offset)"
    cp -p "$LOCAL/$file" "$BATS_TEST_TMPDIR/good"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 0 verify --repair run@1
    out_has "^repaired	$file at $offset from the remote tier"
    cmp "$LOCAL/$file" "$BATS_TEST_TMPDIR/good" || complain "not what it was"
    rm -rf "$LOCAL"
    for ranks in 1 3; do
        loads_well $ranks "${raw[@]}"
        out_has "bytes of it were read from the remote tier"
    done
    golden
    cmp "$OUT" "$BATS_TEST_TMPDIR/before" || complain "other bytes"
}

@test "--drain-codec: raw as it is here, planes what gets smaller; no other word" {
    local word
    local -A there=([raw]=raw [planes]=planes+lz4)

    for word in raw planes; do
        rm -rf "$LOCAL" "$HOME_DIR"
        mkdir "$HOME_DIR"
        start_daemon --remote-every 1 --drain-codec $word
        job --tensors 4 --rows 512 --columns 512 --dull --codec raw \
            open fill:1 save:1 wait:committed close
        eventually is_remote 1
        is "$(codecs nvme) and $(codecs remote)" "raw and ${there[$word]}" "codecs"
        stop_daemon
    done
    run "$CKPTD" --local "$LOCAL" --drain-codec zip
    is "$status" 2 "exit status"
    [[ $output == *"--drain-codec is auto, raw or planes, not zip"* ]] || complain "$output"
}

@test "what is bad or gone on the drive is repaired from the home" {
    saves_remote
    read -r file offset <<<"$(place run@1 file offset)"
    cp -p "$LOCAL/$file" "$BATS_TEST_TMPDIR/good"
    flip "$LOCAL/$file" $((offset + 5000))
    tool_is 4 verify --repair --dry-run run@1
    out_has "^can be repaired	$file at $offset from the remote tier .tensor"
    tool_is 0 verify --repair run@1
    out_has "^repaired	$file at $offset from the remote tier .tensor"
    cmp "$LOCAL/$file" "$BATS_TEST_TMPDIR/good" || complain "not what it was"
    # All segments.
    rm "$LOCAL"/seg/*
    tool_is 0 verify run@1
    out_has "	remote	.*	nvme$"
    tool_is 3 verify --tier nvme run@1
    out_has "	partial	.*	nvme$"
    # One chunk is bad there: then it is in no tier.
    read -r far at <<<"$(remote_place file offset)"
    flip "$HOME_DIR/$far" $((at + 5000))
    tool_is 4 verify run@1
    out_has "	partial	.*	nvme$"
    flip "$HOME_DIR/$far" $((at + 5000))
    tool_is 0 verify --repair run@1
    out_has "^repaired	$file at $offset from the remote tier .tensor"
    tool_is 0 verify --tier nvme --deep run@1
    loads_well 2
    out_lacks "remote tier"
}

@test "what was let go here on purpose is no damage, and loads" {
    start_daemon --remote-every 1 --local-last 1
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed fill:3 save:3 wait:committed close
    eventually is_remote 3
    let_go() {
        tool verify --tier nvme run
        grep -q "run@1	.*	\(partial\|corrupt\)	" "$OUT"
    }
    eventually let_go
    job --ranks 3 open read:1/1 close # some of it from memory
    out_count "read:1/1 ok id=1/1 version=1" 3
    # Its segments serve a later save, and the daemon's next life meets that.
    job --ranks 2 open load fill:4 save:4 wait:committed close
    stop_daemon
    start_daemon --remote-every 1 --local-last 1
    job --ranks 2 open read:1/1 load close
    out_count "read:1/1 ok id=1/1 version=1 .*read from the remote tier" 2
    stop_daemon
    ! grep -i " error " "$BATS_TEST_TMPDIR/daemon.log" || complain "errors"
    tool_is 0 scrub
    for depth in "" --quick; do
        tool_is 0 verify $depth
        out_has "run@1	generation 1	ok	.*	remote$"
        out_has "run@1	generation 1	remote	.*	nvme$"
        out_lacks "	partial	"
    done
    tool_is 0 verify --json run@1
    is "$(field nvme result) $(field remote result)" "remote ok" "the results"
    tool_is 3 where --tier nvme run@1
    out_has "	(gone|recycled|cut)$"
    tool_is 0 ls --json
    is "$(jq -r 'select(.damaged == true) | .step' "$OUT")" "" "damaged ones"
}

# Ranks 0 and 1 on a node with the local store $LOCAL, 2 and 3 on another.
saves_on_two_nodes() {
    local script=(open fill:1 save:1 wait:committed)
    SECOND=$BATS_TEST_TMPDIR/second
    export CKPT_REMOTE_EVERY=1
    start_job --part 0/4 --token t --ranks 2 "${script[@]}" close
    CKPT_LOCAL=$SECOND timeout 100 "$JOB" --home "$HOME_DIR" --part 2/4 \
        --token t --ranks 2 "${script[@]}" close >"$OUT.b" 2>&1 3>&- ||
        complain "the other node: $(cat "$OUT.b")"
    end_job
    is "$status" 0 "this node's exit status"
    eventually is_remote 1
    wait_quiet
    eventually eval '[ -z "$(daemon_pid "$SECOND")" ]'
}

@test "of two nodes one is gone: the other loads all, its own from its drive" {
    saves_on_two_nodes
    rm -rf "$SECOND"
    tool_is 0 verify run@1
    out_has "	partial	.*	nvme$"
    out_has "	ok	.*	remote$"
    loads_well 3
    out_has "bytes of it were read from the remote tier"
    # Less than all of it.
    remote=$(sed -n 's/.* step 1: \([0-9]*\) bytes of it were read.*/\1/p' "$OUT" | head -1)
    all=$(sed -n 's/.* read_bytes=\([0-9]*\) .*/\1/p' "$OUT" | head -1)
    at_most "$((remote + 1))" "$all" "remote bytes"
    rm -rf "$LOCAL"
    loads_well 2
}

@test "of two nodes one is gone, and its share has no copy: that is said" {
    saves_on_two_nodes
    second=$(python3 -c 'import sys; print(open(sys.argv[1], "rb").read()[32:48].hex())' \
        "$SECOND/STORE")
    rm -rf "$SECOND" "$HOME_DIR"/runs/run/remote/*."$second"
    job_fails --ranks 2 open load close
    out_count "load error EIO .*step 1, rank [23], tensor .*another local store.*; no copy of it is in the remote tier" 2
    wait_quiet
    tool_is 3 verify run@1
    out_has "no copy of the share of .* is in the remote tier"
}

@test "doctor fails on the newest checkpoint only if no tier has it" {
    saves_remote
    mv "$LOCAL" "$LOCAL.away"
    tool_is 0 doctor
    out_lacks "^latest"
    out_lacks "does not exist"
    mv "$LOCAL.away" "$LOCAL"
    for copy in "$HOME_DIR"/runs/run/data/*; do
        truncate -s 5000 "$copy"
    done
    tool_is 0 doctor
    out_has "^latest +warn .*in the remote tier: .*truncated"
    mv "$LOCAL" "$LOCAL.away"
    tool_is 1 doctor
    out_has "^latest +FAIL .*newest checkpoint"
}

# minimal_to LAST: it goes on for a hundred steps, to LAST; a step adds 1.
minimal_to() {
    "$BUILD_DIR/bin/minimal" "$HOME_DIR" >"$OUT" 2>&1 3>&- ||
        complain "minimal failed"
    out_has "^step $1: weights are $1\$"
    wait_quiet
}

@test "the README's trainer counts from the step that was loaded" {
    CKPT_REMOTE_EVERY=1 minimal_to 100
    tool_is 0 wait --state remote --timeout 20 minimal@100
    minimal_to 200
    rm -rf "$LOCAL"
    minimal_to 200
    tool_is 0 show minimal@200/3
}
