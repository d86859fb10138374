#!/usr/bin/env bats
# tests/e2e/disk_full.bats - a drive that is full: said early, the last
# checkpoint stays, and saving goes on once there is room.

load ../lib/e2e

setup() {
    e2e_setup
    DISK=$BATS_TEST_TMPDIR/disk
}

teardown() {
    e2e_teardown
    ! mountpoint -q "$DISK" || umount "$DISK"
}

# A drive of so many MiB at $DISK.
make_disk() {
    [ "$(id -u)" -eq 0 ] || skip "needs root, to mount a small drive"
    mkdir "$DISK"
    truncate -s "$1M" "$DISK.img"
    mkfs.ext4 -q -F -O ^has_journal "$DISK.img" >/dev/null 2>&1 ||
        skip "no mkfs.ext4 on this machine"
    mount -o loop "$DISK.img" "$DISK" 2>/dev/null ||
        skip "loop devices cannot be mounted here"
    rmdir "$DISK/lost+found"
}

# 18 MiB.
STATE="--tensors 6 --rows 768 --columns 1024"

@test "a full local drive: -ENOSPC early, the checkpoint before is intact" {
    make_disk 64
    job --ranks 2 --local "$DISK/local" $STATE open fill:1 save:1 \
        wait:committed close
    eventually eval '[ -z "$(daemon_pid "$DISK/local")" ]'
    fallocate -l 34M "$DISK/ballast"
    started=$(date +%s)
    job --ranks 2 --local "$DISK/local" $STATE open load fill:2 "?save:2" \
        "?wait:committed" close
    at_most $(($(date +%s) - started)) 15 "seconds"
    out_count "load ok id=1/1 version=1" 2
    out_has "2 error|wait:committed error (CKPT_EABORTED|ENOSPC) .*(No space|no room)"
    grep -E "No space|no room" "$OUT" | grep -q "$DISK/local" ||
        complain "the drive is not named"
    is "$(saves)" "1/1" "what is committed"
    eventually eval '[ -z "$(daemon_pid "$DISK/local")" ]'
    tool_is 0 verify --local "$DISK/local"
    rm "$DISK/ballast"
    job --ranks 2 --local "$DISK/local" $STATE open load fill:3 save:3 \
        wait:committed close
    out_count "load ok id=1/1 version=1" 2
    job --ranks 2 --local "$DISK/local" $STATE open load close
    out_count "load ok id=3/3 version=3" 2
    eventually eval '[ -z "$(daemon_pid "$DISK/local")" ]'
}

@test "a home that is full: ckpt drain and the daemon say so, once" {
    make_disk 32
    mkdir "$DISK/home"
    export CKPT_LOCAL=$BATS_TEST_TMPDIR/drive CKPT_HOME=$DISK/home
    job --home "$DISK/home" --ranks 2 $STATE open fill:1 save:1 wait:committed close
    fallocate -l 20M "$DISK/ballast"
    HOME_DIR=$DISK/home tool_is 1 drain run@1
    out_has "run@1: .*: No space left on device"
    HOME_DIR=$DISK/home tool_is 11 drain --timeout 4 run@1
    out_has "run@1: .* still to be copied .*: No space left on device.: call again"
    log=$CKPT_LOCAL/ckptd.log
    grep -q "not in the remote tier yet: .*: No space left on device; it is tried again" \
        "$log" || complain "$(tail -3 "$log")"
    ! grep -q "device: No space left" "$log" "$OUT" || complain "it is said twice"
    rm "$DISK/ballast"
    HOME_DIR=$DISK/home tool_is 0 drain run@1
    eventually eval '[ -z "$(daemon_pid "$CKPT_LOCAL")" ]'
}

@test "room that is freed while the trainer runs is used by its next save" {
    make_disk 64
    start_job --ranks 2 --local "$DISK/local" $STATE open fill:1 save:1 \
        wait:committed barrier 0:mark:"$BATS_TEST_TMPDIR/saved" \
        hold:"$BATS_TEST_TMPDIR/full" fill:2 "?save:2" "?wait:committed" \
        barrier 0:mark:"$BATS_TEST_TMPDIR/failed" \
        hold:"$BATS_TEST_TMPDIR/free" fill:3 save:3 wait:committed close
    eventually test -e "$BATS_TEST_TMPDIR/saved"
    fallocate -l 34M "$DISK/ballast"
    touch "$BATS_TEST_TMPDIR/full"
    eventually test -e "$BATS_TEST_TMPDIR/failed"
    rm "$DISK/ballast"
    touch "$BATS_TEST_TMPDIR/free"
    end_job
    is "$status" 0 "exit status of the job"
    is "$(saves)" "1/1 3/1" "what is committed"
    eventually eval '[ -z "$(daemon_pid "$DISK/local")" ]'
}

@test "retention makes room, but never of the only checkpoint" {
    make_disk 80 # three saves of 20 MiB, which keep-last 1 needs
    commands=
    for step in $(seq 12); do
        commands="$commands fill:$step ?save:$step ?wait:committed barrier"
    done
    job --ranks 2 --local "$DISK/local" --keep-last 1 $STATE open $commands close
    eventually eval '[ -z "$(daemon_pid "$DISK/local")" ]'
    committed=$(saves)
    at_least "$(echo "$committed" | wc -w)" 1 "checkpoints that are left"
    # Each waits for what retention is removing.
    out_count "0 wait:committed ok" 12
    job --ranks 2 --local "$DISK/local" $STATE open load close
    out_count "load ok" 2
    eventually eval '[ -z "$(daemon_pid "$DISK/local")" ]'
    tool_is 0 verify --local "$DISK/local"
}

@test "a full home: the save aborts or fails, what was committed is intact" {
    make_disk 16
    mkdir "$DISK/home" "$BATS_TEST_TMPDIR/local"
    HOME_DIR=$DISK/home
    LOCAL=$BATS_TEST_TMPDIR/local
    job --ranks 2 --local "$LOCAL" open fill:1 save:1 wait:committed close
    wait_quiet
    cp /dev/zero "$DISK/ballast" 2>/dev/null || true
    dd if=/dev/zero of="$DISK/ballast2" bs=512 2>/dev/null || true
    run_job --ranks 2 --local "$LOCAL" --open-ms 5000 --decide-ms 5000 open \
        "?load" fill:2 "?save:2" "?wait:committed:20000" close
    out_count "open error ENOSPC .*home $DISK/home.*to close generation 1: No space left" 2
    wait_quiet
    tool_is 0 verify --local "$LOCAL" run@1
    rm "$DISK/ballast" "$DISK/ballast2"
    job --ranks 2 --local "$LOCAL" open load fill:3 save:3 wait:committed close
    out_count "load ok id=1/1 version=1" 2
    wait_quiet
}

@test "gc --keep-last 1 empties a drive on which not a byte is free" {
    [ "$(id -u)" -eq 0 ] || skip "needs root, to mount a small drive"
    mkdir "$DISK"
    mount -t tmpfs -o size=160m tmpfs "$DISK" 2>/dev/null ||
        skip "tmpfs cannot be mounted here"
    mkdir "$DISK/home"
    HOME_DIR=$DISK/home
    LOCAL=$DISK/home/local
    job --ranks 2 $STATE open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed fill:3 save:3 wait:committed close
    wait_quiet
    cp /dev/zero "$DISK/ballast" 2>/dev/null || true
    dd if=/dev/zero of="$DISK/ballast2" bs=512 2>/dev/null || true
    is "$(df --output=avail "$DISK" | tail -n 1 | tr -d ' ')" 0 "room"
    tool_is 0 doctor
    is "$(grep -A1 "^home space .*warn" "$OUT" | grep -c CKPT_LOCAL)" 0 \
        "the home is not moved by CKPT_LOCAL"
    out_count "^home space +warn" 1
    tool_is 0 gc --keep-last 1 --yes
    is "$(saves)" "3/1" "what is committed"
    at_least "$(df --output=avail "$DISK" | tail -n 1 | tr -d ' ')" 18000 "KiB"
    tool_is 0 verify --deep run@3
}
