#!/usr/bin/env bats
# tests/e2e/scrub_remote.bats - the remote tier is read again too: what is bad
# there is no REMOTE any more, every verb that shows or waits says so, and what
# doctor advises mends it.

load ../lib/e2e

setup() {
    e2e_setup
    LOCAL=$BATS_TEST_TMPDIR/drive
    export CKPT_LOCAL=$LOCAL
}

# saves_remote STEP...: those are REMOTE, and their daemon gone.
saves_remote() {
    local step
    local -a steps=()

    for step in "$@"; do
        steps+=("fill:$step" "save:$step" wait:committed)
    done
    CKPT_REMOTE_EVERY=1 job --ranks 2 open "${steps[@]}" close
    for step in "$@"; do
        eventually is_marked "$step"
    done
    wait_quiet
}

is_marked() {
    compgen -G "$HOME_DIR/runs/run/remote/*-*0$1-0001" >/dev/null
}

# remote_place STEP FIELD...: fields of the remote place of the first chunk.
remote_place() {
    local step=$1
    shift
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --tier remote --json "run@$step" |
        head -1 | jq -r "[$(printf '.%s,' "$@" | sed 's/,$//')] | @tsv"
}

# The steps whose remote copy is on record as damaged, and those REMOTE.
damaged() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --json |
        jq -r 'select(.damaged_remote) | .step' | paste -sd' '
}

remote() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --json |
        jq -r 'select(.state == "REMOTE") | .step' | paste -sd' '
}

# What doctor says mends it, done to the letter.
follow_doctor() {
    local fix

    tool_is 1 doctor
    fix=$(grep -o "ckpt cp run@[0-9/]* --to '[^']*'" "$OUT" | head -1)
    [ -n "$fix" ] || complain "no fix: $(cat "$OUT")"
    PATH=$BUILD_DIR/bin:$PATH CKPT_HOME=$HOME_DIR sh -c "$fix" >"$OUT" 2>&1 3>&- ||
        complain "$(cat "$OUT")"
}

@test "what is bad there is said by all, and mended as doctor says" {
    saves_remote 1 2
    tool_is 0 scrub
    is "$(cut -f1,3,6 "$OUT" | tr '\t\n' ' ;')" \
        "run@1 ok remote;run@1 ok nvme;run@2 ok remote;run@2 ok nvme;" "lines"
    read -r file offset <<<"$(remote_place 2 file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 4 scrub
    out_has "scrub: run@2/1: data/.* at $offset: .*tensor t00 bytes 0-"
    out_has "^run@2	generation 1	corrupt	.*	remote"
    out_has "^run@2	generation 1	ok	.*	nvme"
    is "$(damaged); $(remote)" "2; 1" "damaged; REMOTE"
    out_has "scrub: to mend it in the remote tier: ckpt cp run@2/1 --to "
    out_lacks "in the local store"
    mkdir "$BATS_TEST_TMPDIR/to"
    tool_is 0 cp --dry-run run@2 --to "$BATS_TEST_TMPDIR/to"
    out_has "run@2/1: a scrub found bad bytes in the remote tier; ckpt verify"
    tool_is 0 ls
    out_has "^run	2	1	COMMITTED	.*	latest damaged-remote	node-local: .*; what is in the remote tier is damaged"
    tool_is 0 show run@2
    out_has "^state    COMMITTED: node-local"
    out_has "^damaged  remote: run@2/1: data/.* at $offset"
    tool_is 4 wait --state remote --timeout 5 run@2
    out_has "run@2: its copy in the remote tier was found damaged: ckpt cp run@2/1 --to "
    tool_is 4 drain run@2
    tool_is 0 wait --state remote --timeout 5 run@1
    job --ranks 3 open load close
    out_count "load ok id=2/1 version=2" 3
    wait_quiet
    follow_doctor
    is "$(damaged); $(remote)" "; 1 2" "damaged; REMOTE"
    tool_is 0 scrub
    tool_is 0 doctor
    # Of a whole run that is passed over which is good, and only that.
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 4 scrub run@2
    tool_is 0 cp --all run --to "$HOME_DIR"
    is "$(damaged); $(remote)" "; 1 2" "damaged; REMOTE"
    truncate -s 100 "$HOME_DIR/$file"
    tool_is 4 verify run@2
    out_has "is cut off: not even a page is left"
    out_has "verify: to mend it in the remote tier: ckpt cp run@2/1 --to "
}

@test "it stays on record until it was read and good" {
    saves_remote 1
    read -r file offset <<<"$(remote_place 1 file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 4 scrub --tier remote
    tool_is 4 verify
    tool_is 0 scrub --tier nvme
    is "$(damaged)" "1" "damaged"
    tool_is 4 scrub --resume --json
    is "$(jq -r '"\(.kind) \(.tier) \(.result)"' "$OUT" | paste -sd' ')" \
        "scrub remote corrupt scrub nvme ok" "objects"
    tool_is 4 scrub --resume
    out_has "1 of 1 were read by this pass before: it is complete"
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 0 scrub --tier remote
    is "$(damaged); $(remote)" "; 1" "damaged; REMOTE"
    tool_is 2 scrub --resume --tier remote
    tool_is 2 scrub --tier memory
}

@test "without the drive the remote tier alone is read, and nothing else is damaged" {
    saves_remote 1
    mv "$LOCAL" "$BATS_TEST_TMPDIR/aside"
    tool_is 0 scrub
    is "$(cut -f1,3,6 "$OUT" | tr '\t\n' ' ;')" "run@1 ok remote;" "lines"
    read -r file <<<"$(remote_place 1 file)"
    mv "$HOME_DIR/$file" "$BATS_TEST_TMPDIR/file"
    tool_is 3 scrub
    is "$(grep -c "No such file or directory .*, and all else of this file)" "$OUT")" 1 \
        "how often it is said"
    is "$(damaged)" "1" "damaged"
    tool_is 4 wait --state remote --timeout 5 run@1
    mv "$BATS_TEST_TMPDIR/aside" "$LOCAL"
    follow_doctor
    is "$(damaged); $(remote)" "; 1" "damaged; REMOTE"
    cmp "$HOME_DIR/$file" "$BATS_TEST_TMPDIR/file"
    tool_is 0 verify --deep
    # What is not there is not missed.
    job --ranks 2 open fill:2 save:2 wait:committed close
    wait_quiet
    tool_is 0 scrub --tier remote
    out_has "^1 of 2 are not in the remote tier"
    is "$(cut -f1,3,6 "$OUT" | grep "^run" | tr '\t\n' ' ;')" "run@1 ok remote;" "lines"
}

@test "tables that are gone are damage, of the remote tier alone" {
    saves_remote 1
    rm "$HOME_DIR"/runs/run/remote/*.*
    tool_is 3 scrub
    out_has "^run@1	generation 1	partial	.*	remote"
    out_has "^run@1	generation 1	ok	.*	nvme"
    is "$(grep -c "no copy of the share of $(hostname) (.*) is in the remote tier" "$OUT")" \
        1 "how often it is said"
    is "$(damaged); $(remote)" "1; " "damaged; REMOTE"
    follow_doctor
    is "$(damaged); $(remote)" "; 1" "damaged; REMOTE"
}

@test "a mark that is gone is told, and written as doctor says" {
    saves_remote 1
    tool_is 0 doctor
    out_lacks "warn"
    rm "$HOME_DIR"/runs/run/remote/*-0001
    tool_is 0 doctor
    out_has "remote tier +warn +run@1/1: the shares of all its hosts are there"
    tool_is 0 "$(grep -o "ckpt drain run@1/1" "$OUT" | cut -d' ' -f2)" run@1/1
    eventually is_marked 1
    tool_is 0 doctor
    out_lacks "warn"
    is "$(damaged); $(remote)" "; 1" "damaged; REMOTE"
}

@test "a daemon that is stopped is told, with what helps" {
    start_daemon
    kill -STOP "$daemon"
    tool_is 1 doctor
    kill -CONT "$daemon"
    out_has "daemon +FAIL .*pid $daemon .*: it has not answered for [0-9]* s"
    out_has "fix: .*kill -CONT"
    tool_is 0 doctor
    stop_daemon
}

@test "what was let go here is no damage of the local store" {
    saves_remote 1
    rm "$LOCAL"/seg/*
    tool_is 0 scrub
    read -r file offset <<<"$(remote_place 1 file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 4 scrub
    tool_is 0 ls --json
    is "$(jq -r '"\(.damaged) \(.damaged_remote)"' "$OUT")" "false true" "damaged"
}

@test "a daemon with nothing else to do finds it by itself, and that it was mended" {
    start_daemon --scrub-every 3 --remote-every 1
    job --ranks 2 open fill:1 save:1 wait:committed close
    eventually is_marked 1
    read -r file offset <<<"$(remote_place 1 file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    is_seen() { [ "$(damaged)" = 1 ]; }
    eventually is_seen
    log=$BATS_TEST_TMPDIR/daemon.log
    grep -qE "error engine: scrub of run run step 1 .generation 1., its remote copy: step 1, rank .*, tensor t00: $HOME_DIR/$file at $offset: " \
        "$log" || complain "$(grep scrub "$log")"
    tool_is 0 scrub --tier nvme
    follow_doctor
    is "$(damaged); $(remote)" "; 1" "damaged; REMOTE"
    sleep 3
    is "$(damaged); $(remote)" "; 1" "damaged; REMOTE"
    stop_daemon
}

@test "what is bad there is no second copy: retention holds the last that is" {
    CKPT_REMOTE_EVERY=1 job --ranks 2 open fill:1 save:1 wait:committed \
        fill:2 save:2 wait:committed close
    eventually is_marked 1
    eventually is_marked 2
    wait_quiet
    read -r file offset <<<"$(remote_place 2 file offset)"
    flip "$HOME_DIR/$file" $((offset + 5000))
    tool_is 4 scrub
    tool_is 0 gc --keep-last 1 --yes
    is "$(remote); $(saves)" "1; 2/1" "what is left"
    follow_doctor
    tool_is 0 gc --keep-last 1 --yes
    is "$(remote); $(saves)" "2; " "what is left"
}
