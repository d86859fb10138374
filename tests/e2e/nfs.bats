#!/usr/bin/env bats
# tests/e2e/nfs.bats - a home in a shared directory, the local store on a local
# drive: whole jobs whose home lies on a mount that misbehaves as NFS does
# (tests/nfs/double.h), and on a real server where the kernel has NFS.

load ../lib/e2e

DOUBLE_PIDS=()

setup() {
    e2e_setup
    LOCAL=$BATS_TEST_TMPDIR/local
    export CKPT_LOCAL=$LOCAL
    SERVER=$BATS_TEST_TMPDIR/server
    mkdir -m 700 "$SERVER"
}

teardown() {
    unmount_all
    e2e_teardown
}

# mount_double NAME [KNOB=VALUE]...: the server's folder at $BATS_TEST_TMPDIR/NAME
mount_double() {
    local name=$1 at=$BATS_TEST_TMPDIR/$1
    shift
    [ -w /dev/fuse ] || skip "no FUSE: /dev/fuse cannot be opened"
    [ -x "$BUILD_DIR/tests/nfs_double" ] ||
        skip "the double of NFS is not built: libfuse3-dev is missing"
    mkdir -p "$at"
    rm -f "$at.control"
    "$BUILD_DIR/tests/nfs_double" "$SERVER" "$at" "$at.control" "$@" \
        >"$at.counts" 2>&1 3>&- &
    DOUBLE_PIDS+=($!)
    eventually grep -q mounted "$at.counts"
}

unmount_all() {
    local at pid
    while read -r at; do
        umount -l "$at"
    done < <(awk -v under="$BATS_TEST_TMPDIR/" \
        'index($2, under) == 1 { print $2 }' /proc/self/mounts)
    for pid in "${DOUBLE_PIDS[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
    DOUBLE_PIDS=()
}

# happened NAME KNOB: the double at NAME did that, as its counts say.
happened() {
    grep -qE "^$2 [1-9]" "$BATS_TEST_TMPDIR/$1.counts" ||
        complain "$2 never happened: $(tr '\n' ';' <"$BATS_TEST_TMPDIR/$1.counts")"
}

# What a client may remember, and answers that get lost.
CACHES=(absence-ms=60000 presence-ms=60000 attr-ms=60000 list-ms=60000)
LOST=(lost-link=400 lost-create=150 lost-mkdir=300 lost-unlink=200 only-eexist=1)

# Trains, dies, restores, goes on, removes: everything that a home is for.
whole_job() {
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed fill:3 save:3 wait:staged die
    wait_quiet
    job --ranks 2 open load fill:4 save:4 wait:committed fill:5 save:5 \
        wait:committed close
    wait_quiet
    tool_is 0 verify run@latest
    tool_is 0 pin run@2
    tool_is 0 gc --keep-last 1 --yes
    wait_quiet
    job --ranks 4 open load close
    out_count " load ok" 4
    wait_quiet
    tool_is 0 ls --json
    is "$(jq -r .step "$OUT" | paste -sd' ')" "2 3 5" "the pinned, the parent and the last"
    tool_is 0 doctor
    [ -d "$LOCAL/seg" ] || complain "no segments in $LOCAL"
    is "$(find "$HOME_DIR/" -name seg)" "" "segments in the home"
}

@test "a whole job with its home on a mount that loses answers and remembers" {
    mount_double a "${CACHES[@]}" "${LOST[@]}" seed=3
    HOME_DIR=$BATS_TEST_TMPDIR/a
    whole_job
    out_has "home.*, shared"
    is "$(find "$SERVER" -name '.nfs*')" "" "silly names"
    unmount_all
    happened a lost-link
    happened a lost-create
    happened a absence-ms
}

@test "ckpt cp onto a mount that loses answers and remembers, killed and gone on with" {
    local folder=$HOME_DIR state=(--tensors 6 --rows 768 --columns 1024)
    job --ranks 2 "${state[@]}" open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    wait_quiet
    mount_double a "${CACHES[@]}" "${LOST[@]}" seed=5
    mount_double b "${CACHES[@]}"
    CKPT_HOME=$folder timeout -s KILL 2 "$BUILD_DIR/bin/ckpt" cp --rate 6M run@1 \
        --to "$BATS_TEST_TMPDIR/a" >"$OUT" 2>&1 3>&- && complain "done too soon"
    HOME_DIR=$folder tool_is 0 cp --all run --to "$BATS_TEST_TMPDIR/a"
    out_count "	copied	1 files" 2
    rm -rf "$LOCAL" "$folder"
    HOME_DIR=$BATS_TEST_TMPDIR/b # another machine
    tool_is 0 verify --deep
    job --ranks 3 "${state[@]}" open load close
    out_count "load ok id=2/1 version=2 " 3
    wait_quiet
    unmount_all
    happened a lost-link
    happened a lost-create
}

# two_nodes A B: each with a mount and a local store of its own.
two_nodes() {
    local step script=(open)
    HOME_DIR=$1
    for step in 1 2 3 4 5; do
        script+=("fill:$step" "save:$step" wait:committed)
    done
    start_job --part 0/4 --token t --ranks 2 "${script[@]}" close
    CKPT_LOCAL=$BATS_TEST_TMPDIR/other timeout 100 "$JOB" \
        --home "$2" --part 2/4 --token t --ranks 2 \
        "${script[@]}" close >"$OUT.b" 2>&1 3>&- ||
        complain "the other node: $(cat "$OUT.b")"
    end_job
    is "$status" 0 "this node's exit status"
    is "$(grep -c 'wait:committed ok' "$OUT")" 10 "commits here"
    is "$(grep -c 'wait:committed ok' "$OUT.b")" 10 "commits there"
    # What is done here is seen there at once, and the other way round.
    wait_quiet
    for step in 1 2 3; do
        tool_is 0 pin run@$step
        HOME_DIR=$2 tool_is 0 ls --json
        is "$(jq -r 'select(.pinned) | .step' "$OUT")" $step "what is pinned"
        HOME_DIR=$2 tool_is 0 unpin run@$step
        tool_is 0 ls --json
        is "$(jq -r 'select(.pinned) | .step' "$OUT")" "" "what is pinned"
    done
    is "$(jq -r .step "$OUT" | paste -sd' ')" "1 2 3 4 5" "the checkpoints"
}

@test "two nodes commit together over mounts that lose answers and remember" {
    mount_double a "${CACHES[@]}" "${LOST[@]}" seed=4
    mount_double b "${CACHES[@]}" "${LOST[@]}" seed=5
    two_nodes "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
    unmount_all
    happened a lost-link
    happened b lost-link
    happened b absence-ms
}

# Links that are refused, or land late: saves may fail, in words, and whatever
# was told committed loads.
@test "over a network that fails nothing is told that is not so" {
    local i step last=0
    mount_double a "${CACHES[@]}" lost-link=200 fail-link=100 late-link=100 seed=6
    HOME_DIR=$BATS_TEST_TMPDIR/a
    local script=()
    for step in 1 2 3 4 5 6 7 8; do
        script+=("?fill:$step" "?save:$step" "?wait:committed")
    done
    for i in 1 2 3 4 5 6; do
        run_job --ranks 2 open load "${script[@]}" close
        [ $status -ne 0 ] || last=1
        wait_quiet
    done
    saves COMMITTED >"$OUT.saves"
    unmount_all
    happened a late-link
    happened a fail-link
    # The mended network.
    mount_double a "${CACHES[@]}"
    for step in $(cat "$OUT.saves"); do
        job open "read:$step" close
        wait_quiet
    done
    [ -s "$OUT.saves" ] || complain "nothing was committed"
}

@test "a local store is refused there, in words" {
    mount_double a
    HOME_DIR=$BATS_TEST_TMPDIR/a
    unset CKPT_LOCAL
    run_job open close
    is "$status" 1 "the job's exit status"
    out_has "network file system"
    out_has "CKPT_LOCAL"
}

# refused KNOB=VALUE WORDS: by a job and by ckpt doctor.
refused() {
    mount_double a "$1" absence-ms=60000
    HOME_DIR=$BATS_TEST_TMPDIR/a
    run_job open close
    is "$status" 1 "the job's exit status with $1"
    out_has "$2"
    tool doctor
    [ "$status" -ne 0 ] || complain "doctor finds nothing wrong with $1"
    out_has "$2"
    wait_quiet
    unmount_all
}

@test "a home without links, locks or exclusion is refused by name" {
    refused no-link=95 "hard links do not work"
    refused no-link=1 "hard links do not work"
    refused no-lock=37 "file locks \(flock\) do not work"
    refused overwrites=1 "link\(\) does not refuse a name that exists"
}

@test "a whole job, and one of two nodes, with the home on a real server" {
    local why
    if [ -z "${CKPT_TEST_NFS:-}" ]; then
        why=$(sh "$ROOT/tests/nfs/real.sh" check) || skip "$why"
        mkdir "$BATS_TEST_TMPDIR/nfs"
        timeout 250 sh "$ROOT/tests/nfs/real.sh" run "$BATS_TEST_TMPDIR/nfs" \
            bats --formatter tap -f "real server" "$BATS_TEST_FILENAME" 3>&-
        return
    fi
    mkdir -m 700 "$CKPT_TEST_NFS/a/one" "$CKPT_TEST_NFS/a/two"
    HOME_DIR=$CKPT_TEST_NFS/a/one
    whole_job
    two_nodes "$CKPT_TEST_NFS/a/two" "$CKPT_TEST_NFS/b/two"
    is "$(find "$CKPT_TEST_NFS/server" -name '.nfs*' -o -name '.tmp-*')" "" \
        "hidden files"
}
