#!/usr/bin/env bats
# tests/e2e/repair.bats - ckpt verify --repair: heals what has a healthy copy
# and nothing else, never by itself, never in place.

load ../lib/e2e

# All that is in the home, by name and content.
picture() {
    (cd "$HOME_DIR" && find . -type f ! -name ckptd.log ! -path '*/lease/*' \
        -print0 | sort -z | xargs -0 sha256sum)
}

# The same content at two places: two runs that saved the same.
two_copies() {
    job --ranks 2 "$@" open fill:1 save:1 wait:committed close
    job --ranks 2 --run other "$@" open fill:1 save:1 wait:committed close
    wait_quiet
}

loads_well() {
    job --ranks 2 "$@" open load close
    out_count "load ok id=1/1 version=1" 2
    wait_quiet
}

@test "a chunk's bytes from another checkpoint with the same content" {
    two_copies
    read -r file offset stored <<<"$(place run@1 file offset stored_bytes)"
    read -r copy copy_at <<<"$(place other@1 file offset)"
    cp -p "$LOCAL/$file" "$BATS_TEST_TMPDIR/good"
    flip "$LOCAL/$file" $((offset + 4096 + 100)) 500
    picture >"$OUT.before"
    tool_is 4 verify
    picture >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "verify alone changed something"
    tool_is 4 verify --repair --dry-run run@1
    out_has "^can be repaired	$file at $offset from $copy at $copy_at .other@1/1. .tensor t00"
    picture >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "--dry-run changed something"
    tool_is 0 verify --repair run@1
    out_has "^repaired	$file at $offset from $copy at $copy_at .other@1/1. .tensor t00"
    out_has "^run@1	generation 1	ok"
    cmp "$LOCAL/$file" "$BATS_TEST_TMPDIR/good" || complain "not what it was"
    tool_is 0 verify --deep
    loads_well
}

@test "the same of encoded chunks, as JSON" {
    job --codec planes open set:7 save:1 wait:committed close
    job --codec planes --run other open set:7 save:1 wait:committed close
    wait_quiet
    read -r file offset codec <<<"$(place run@1 file offset codec)"
    is "$codec" "planes+lz4" "the codec"
    cp -p "$LOCAL/$file" "$BATS_TEST_TMPDIR/good"
    flip "$LOCAL/$file" $((offset + 4096 + 10)) 50
    tool_is 0 verify --repair --json run@1
    is "$(grep '"repair"' "$OUT" | jq -r '"\(.run) \(.step) \(.file) \(.offset) \(.result)"')" \
        "run 1 $file $offset repaired" "what was repaired"
    cmp "$LOCAL/$file" "$BATS_TEST_TMPDIR/good" || complain "not what it was"
    tool_is 0 verify --deep
}

@test "header pages and padding follow from the manifest" {
    job --ranks 2 --rows 63 open fill:1 save:1 wait:committed close
    wait_quiet
    read -r file offset stored raw <<<"$(place run@1 file offset stored_bytes raw_bytes)"
    at_least $((stored - 4096)) $((raw + 1)) "bytes with padding"
    cp -p "$LOCAL/$file" "$BATS_TEST_TMPDIR/good"
    for at in "$offset" $((offset + 4095)) $((offset + stored - 1)) \
        $((offset + 4096 + raw)); do
        flip "$LOCAL/$file" "$at"
        tool_is 4 verify run@1
        tool_is 0 verify --repair run@1
        out_has "^repaired	$file at $offset from its own payload"
        cmp "$LOCAL/$file" "$BATS_TEST_TMPDIR/good" || complain "not what it was"
    done
    loads_well --rows 63
}

@test "a segment's header page" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" 20 8
    tool_is 4 verify run@1
    tool_is 0 verify --repair run@1
    out_has "^repaired	$file at 0 from the manifest, and the chunks behind it"
    tool_is 0 verify --deep
    loads_well
}

@test "a segment that was cut off, from copies" {
    two_copies
    read -r file offset stored <<<"$(place run@1 file offset stored_bytes)"
    truncate -s $((offset + 8192)) "$LOCAL/$file"
    tool_is 4 verify run@1
    tool_is 0 verify --repair run@1
    out_has "^repaired	$file at $offset from"
    loads_well
}

@test "without a healthy copy: said, exit 4, nothing changed" {
    two_copies
    read -r file offset <<<"$(place run@1 file offset)"
    read -r copy copy_at <<<"$(place other@1 file offset)"
    flip "$LOCAL/$file" $((offset + 4096 + 100))
    flip "$LOCAL/$copy" $((copy_at + 4096 + 200))
    picture >"$OUT.before"
    tool_is 4 verify --repair
    out_has "^no copy	$file at $offset .tensor t00 bytes 0-"
    out_has "^no copy	$copy at $copy_at .tensor t00 bytes 0-"
    out_lacks "^repaired"
    picture >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "something was changed"
    rm "$LOCAL/$copy"
    tool_is 4 verify --repair run@1
    tool_is 3 verify --repair other@1
    [ ! -e "$LOCAL/$copy" ] || complain "a segment was made up"
}

@test "of several bad chunks those with a copy are healed" {
    shape="--tensors 8 --rows 512 --columns 2048"
    # shellcheck disable=SC2086
    job --ranks 2 $shape open fill:1 save:1 wait:committed close
    # One tensor differs: what lies with it has no copy.
    # shellcheck disable=SC2086
    job --ranks 2 --run other $shape open fill:1 touch:0:9 save:1 \
        wait:committed close
    wait_quiet
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --json run@1 |
        jq -r '"\(.file) \(.offset)"' >"$BATS_TEST_TMPDIR/places"
    count=$(wc -l <"$BATS_TEST_TMPDIR/places")
    at_least "$count" 6 "chunks"
    while read -r file offset; do
        flip "$LOCAL/$file" $((offset + 5000)) 10
    done <"$BATS_TEST_TMPDIR/places"
    tool_is 4 verify --repair run@1
    healed=$(grep -c '^repaired' "$OUT")
    helpless=$(grep -c '^no copy' "$OUT")
    at_least "$healed" 1 "chunks healed"
    at_least "$helpless" 1 "chunks without a copy"
    is $((healed + helpless)) "$count" "chunks"
    tool_is 4 verify --json run@1
    is "$(jq -r .corrupt "$OUT" 2>/dev/null | head -1)" "$helpless" "what is left"
}

@test "while a daemon serves the store: 11, nothing changed" {
    two_copies
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 4096 + 100))
    start_daemon
    picture >"$OUT.before"
    tool_is 11 verify --repair run@1
    out_has "a daemon serves $LOCAL: nothing was changed"
    picture >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "something was changed"
    stop_daemon
    tool_is 0 verify --repair run@1
}

@test "killed at any moment: the old file or the new one" {
    shape="--tensors 6 --rows 1024 --columns 4096"
    # shellcheck disable=SC2086
    two_copies $shape
    read -r file offset <<<"$(place run@1 file offset)"
    good=$(sha256sum <"$LOCAL/$file")
    flip "$LOCAL/$file" $((offset + 4096 + 100))
    bad=$(sha256sum <"$LOCAL/$file")
    olds=0 news=0 turns=12
    [ -z "${CKPT_TEST_LONG:-}" ] || turns=60
    for turn in $(seq $turns); do
        random 250
        timeout -s KILL "0.$(printf %03d $((random + 5)))" \
            "$BUILD_DIR/bin/ckpt" verify --repair --home "$HOME_DIR" run@1 \
            >"$OUT" 2>&1 3>&- || true
        now=$(sha256sum <"$LOCAL/$file")
        if [ "$now" = "$good" ]; then
            news=$((news + 1))
            flip "$LOCAL/$file" $((offset + 4096 + 100))
        else
            is "$now" "$bad" "the file after a kill, turn $turn"
            olds=$((olds + 1))
        fi
    done
    echo "# old $olds, new $news"
    at_least $olds 1 "kills that left the old file"
    tool_is 0 verify --repair run@1
    tool_is 0 gc --yes
    [ ! -e "$LOCAL/seg/repair" ] || complain "a rest stays behind"
    # shellcheck disable=SC2086
    loads_well $shape
}

@test "what a repair that was cut short left is swept" {
    two_copies
    head -c 8192 /dev/zero >"$LOCAL/seg/repair"
    tool_is 0 gc --yes
    out_has "^segment	seg/repair"
    [ ! -e "$LOCAL/seg/repair" ]
    tool_is 0 verify
}

@test "options of verify that do not go together" {
    tool_is 2 verify --repair --quick
    tool_is 2 verify --dry-run
    tool_is 2 ls --repair
}
