#!/usr/bin/env bats
# tests/e2e/corrupt.bats - damaged files: verify names file, tensor and range
# and exits 4; a load falls back to the older checkpoint on all ranks and says
# so; wrong bytes are never handed over.

load ../lib/e2e

two_saves() {
    job --ranks 2 "$@" open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    wait_quiet
}

decision_of() {
    echo "$HOME_DIR"/runs/run/decision/*"$1"
}

falls_back_to_1() {
    job --ranks 3 open load
    out_count "load ok id=1/1 version=1 .* attempts=2 note=.*step 2.*" 3
    wait_quiet
}

@test "a flipped byte of a segment: verify 4, names file, tensor and range" {
    two_saves
    read -r file offset stored <<<"$(place run@2 file offset stored_bytes)"
    flip "$LOCAL/$file" $((offset + 4096 + 100))
    tool_is 4 verify
    out_has "to mend it in the local store: ckpt verify --repair run@2/"
    out_has "run@2/1: $file at $offset: .*tensor t00 bytes 0-"
    tool_is 4 verify --json run@2
    is "$(jq -r '"\(.result) \(.corrupt)"' "$OUT" 2>/dev/null | head -1)" \
        "corrupt 1" "what verify says"
    tool_is 0 verify run@1
    falls_back_to_1
    tool_is 0 ls
}

@test "a flipped byte anywhere in a chunk's extent is found" {
    two_saves
    read -r file offset stored <<<"$(place run@2 file offset stored_bytes)"
    # Of the header, its padding, the first and the last byte, the padding.
    for at in 0 20 4095 4096 $((stored / 2)) $((stored - 1)); do
        flip "$LOCAL/$file" $((offset + at))
        tool_is 4 verify --deep run@2
        flip "$LOCAL/$file" $((offset + at))
        tool_is 0 verify --deep run@2
    done
}

@test "a truncated segment and one that is gone" {
    two_saves
    read -r file offset <<<"$(place run@2 file offset)"
    cp -p --sparse=never "$LOCAL/$file" "$BATS_TEST_TMPDIR/segment"
    truncate -s $((offset + 5000)) "$LOCAL/$file"
    tool_is 4 verify run@2
    out_has "$file"
    falls_back_to_1
    cp "$BATS_TEST_TMPDIR/segment" "$LOCAL/$file"
    job --ranks 2 --resume 2/1 open load
    wait_quiet
    rm "$LOCAL/$file"
    tool_is 3 verify run@2
    out_has "$file: No such file"
    job --ranks 2 --resume 2/1 open load
    out_count "load ok id=1/1 version=1 .* note=.*step 2" 2
}

@test "a damaged decision: verify and ls exit 4 and name it" {
    two_saves
    decision=$(decision_of 2-0001)
    bytes=$(stat -c %s "$decision")
    cp "$decision" "$BATS_TEST_TMPDIR/decision"
    for at in 0 8 64 $((bytes / 2)) $((bytes - 1)); do
        flip "$decision" "$at"
        tool_is 4 verify run@2
        out_has "decision/.*2-0001|run@2"
        tool_is 4 ls
        tool_is 0 verify run@1
        tool_is 1 doctor
        out_has "FAIL .*run@2"
        flip "$decision" "$at"
        tool_is 0 verify
    done
    for size in 0 10 $((bytes - 1)); do
        truncate -s "$size" "$decision"
        tool_is 4 verify
        cp "$BATS_TEST_TMPDIR/decision" "$decision"
    done
    cat "$BATS_TEST_TMPDIR/decision" "$BATS_TEST_TMPDIR/decision" >"$decision"
    tool_is 4 verify
}

@test "a decision that cannot be read is not called damaged" {
    two_saves
    decision=$(decision_of 2-0001)
    mv "$decision" "$BATS_TEST_TMPDIR/decision"
    mkdir "$decision"
    tool_is 1 ls
    out_has "^run	2	1	UNREADABLE.*Is a directory"
    out_has "^ckpt ls: run@2/1: .*decision.*2-0001.*Is a directory"
    tool_is 1 verify
    out_has "run@2/1: .*Is a directory"
    tool_is 1 gc --keep-last 1 --yes
    out_has "nothing is removed"
    rmdir "$decision"
    mv "$BATS_TEST_TMPDIR/decision" "$decision"
    tool_is 0 verify
}

@test "with a damaged decision the load falls back on all ranks" {
    two_saves
    decision=$(decision_of 2-0001)
    flip "$decision" $(($(stat -c %s "$decision") / 2))
    job --ranks 3 open load fill:3 save:3 wait:committed
    out_count "load ok id=1/1 version=1 .* attempts=1 note=step 2/1: its decision cannot be read: passed over" 3
    wait_quiet
    [[ " $(saves) " == *" 3/2 "* ]] || complain "committed: $(saves)"
    # Nothing is collected while a record cannot be read.
    tool gc --yes --keep-last 1
    job --ranks 2 --resume 1/1 open load
    out_count "load ok id=1/1 version=1" 2
}

@test "a manifest in parts that is damaged is told" {
    many="--tensors 64 --rows 64 --columns 16 --layout flat"
    job --ranks 16 $many open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    wait_quiet
    part=$(find "$HOME_DIR/runs/run/manifest" -name '*2-0001*' | head -1)
    [ -n "$part" ] || complain "the manifest is not in parts"
    tool_is 0 verify
    flip "$part" $(($(stat -c %s "$part") / 2))
    tool_is 4 verify --deep run@2
    job --ranks 2 $many open load
    out_count "load ok id=1/1 version=1 .* note=.*step 2" 2
    wait_quiet
    flip "$part" $(($(stat -c %s "$part") / 2))
    truncate -s 4096 "$part"
    tool_is 4 verify run@2
    rm "$part"
    tool verify run@2
    [ $status -ge 3 ] || complain "verify: exit status $status"
}

@test "when every copy is damaged the load fails on all ranks, with the cause" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 5000))
    job --ranks 3 open "?load" close
    out_count "load error CKPT_ECORRUPT .*$file" 3
    tool_is 4 verify
    # A fresh start is still possible.
    job --ranks 2 --resume none open fill:5 save:5 wait:committed close
    job --ranks 2 open load
    out_count "load ok id=5/3 version=5" 2
}

@test "a swapped or older segment is not taken for the newer" {
    two_saves
    read -r one <<<"$(place run@1 file)"
    read -r two <<<"$(place run@2 file)"
    [ "$one" != "$two" ] || skip "both saves share one segment"
    cp "$LOCAL/$one" "$LOCAL/$two"
    tool verify run@2
    [ $status -ge 3 ] || complain "verify: exit status $status"
    job --ranks 2 --resume 2/1 open load
    out_count "load ok id=1/1 version=1" 2
}

@test "a record of another version is refused by name" {
    two_saves
    decision=$(decision_of 2-0001)
    printf '\377' | dd of="$decision" bs=1 seek=8 conv=notrunc 2>/dev/null
    tool verify run@2
    [ $status -ge 1 ] || complain "verify: exit status $status"
    out_has "run@2|decision"
}

@test "a random flip in what the checkpoint owns is found, every time" {
    two_saves
    RANDOM_SEED=31
    rounds=30
    [ -z "${CKPT_TEST_LONG:-}" ] || rounds=500
    read -r file offset stored <<<"$(place run@2 file offset stored_bytes)"
    decision=$(decision_of 2-0001)
    bytes=$(stat -c %s "$decision")
    for round in $(seq $rounds); do
        random $((stored + bytes))
        if [ "$random" -lt "$bytes" ]; then
            target=$decision at=$random
        else
            target=$LOCAL/$file at=$((offset + random - bytes))
        fi
        flip "$target" "$at"
        tool verify --deep run@2
        is $status 4 "verify after a flip of byte $at of $target"
        flip "$target" "$at"
    done
    tool_is 0 verify --deep
}
