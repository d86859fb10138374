#!/usr/bin/env bats
# tests/e2e/capture.bats - what is saved is the state at the save, whatever the
# trainer writes as soon as it may.

load ../lib/e2e

BIG="--tensors 6 --rows 2048 --columns 1024"

@test "CAPTURE_NOW state may be written as soon as ckpt_save returns" {
    for arena in 0 4194304; do
        rm -rf "$HOME_DIR"
        mkdir "$HOME_DIR"
        job --ranks 2 $BIG --arena $arena open fill:1 save:1 set:7 \
            fence wait:committed fill:2 save:2 set:8 fence wait:committed close
        job --ranks 2 $BIG open load read:1/1 close
        out_count "load ok id=2/1 version=2" 2
        out_count "read:1/1 ok id=1/1 version=1" 2
    done
}

@test "UNTIL_FENCE state may be written as soon as ckpt_fence returns" {
    for arena in 0 4194304; do
        rm -rf "$HOME_DIR"
        mkdir "$HOME_DIR"
        job --ranks 2 $BIG --lazy --arena $arena open fill:1 save:1 fence \
            set:7 wait:committed fill:2 save:2 fence set:8 wait:committed close
        job --ranks 2 $BIG open load read:1/1 close
        out_count "load ok id=2/1 version=2" 2
        out_count "read:1/1 ok id=1/1 version=1" 2
    done
}

@test "a save before the last was fenced is refused, and loses nothing" {
    job --ranks 2 --lazy --arena 4194304 --tensors 6 --rows 8192 \
        --columns 1024 open fill:1 save:1 "?save:2" fence wait:committed \
        barrier fill:3 save:3 fence wait:committed close
    out_count "save:2 error EBUSY .*step 1 " 2
    is "$(saves)" "1/1 3/1" "what is committed"
    job --ranks 2 --tensors 6 --rows 8192 --columns 1024 open load read:1/1
    out_count "load ok id=3/1 version=3" 2
    out_count "read:1/1 ok id=1/1 version=1" 2
}

@test "every step of a quick run is what it was" {
    steps=
    for step in $(seq 12); do
        steps="$steps fill:$step save:$step fence set:99"
    done
    job --ranks 2 --lazy open $steps wait:committed close
    wait_quiet
    is "$(saves | wc -w)" 12 "committed saves"
    reads=
    for step in $(seq 12); do
        reads="$reads read:$step/1"
    done
    job --ranks 3 open $reads close
    for step in $(seq 12); do
        out_count "read:$step/1 ok id=$step/1 version=$step " 3
    done
}

@test "planes and raw codecs bring back the same bytes" {
    for codec in auto raw planes; do
        rm -rf "$HOME_DIR"
        mkdir "$HOME_DIR"
        job --ranks 2 --codec $codec open fill:1 save:1 wait:committed close
        job --ranks 3 open load close
        out_count "load ok id=1/1 version=1" 3
    done
}
