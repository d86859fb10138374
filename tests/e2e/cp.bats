#!/usr/bin/env bats
# tests/e2e/cp.bats - ckpt cp: a checkpoint in another home, or in the remote
# tier of its own: the same bytes that a daemon's drain leaves, nothing to be
# seen before all is there, from any healthy copy, and never over what is
# another's.

load ../lib/e2e

# 18 MiB, in nine chunks or more.
STATE="--tensors 6 --rows 768 --columns 1024"

# A home with checkpoints of steps 1 and 2, whose versions are their steps: made
# once, a copy for each test.
setup() {
    e2e_setup
    TO=$BATS_TEST_TMPDIR/to
    mkdir "$TO"
    if ! [ -d "$BATS_FILE_TMPDIR/home" ]; then
        job --ranks 2 $STATE open fill:1 save:1 wait:committed fill:2 save:2 \
            wait:committed close
        wait_quiet
        cp -a "$HOME_DIR" "$BATS_FILE_TMPDIR/home"
    fi
    rm -rf "$HOME_DIR"
    cp -a "$BATS_FILE_TMPDIR/home" "$HOME_DIR"
}

# at HOME COMMAND...: a command of this file with that home as the home.
at() {
    local HOME_DIR=$1 LOCAL=$1/local
    shift
    "$@"
}

# loads HOME STEP RANKS: a job of so many ranks resumes there, bit for bit.
loads() {
    at "$1" job --ranks "$3" $STATE open load close
    out_count "load ok id=$2/[0-9]+ version=$2 " "$3"
    at "$1" wait_quiet
}

# All that is in a home but leases, by name and content.
picture() {
    (cd "$1" && find . -type f ! -name ckptd.log ! -path '*/lease/*' \
        -print0 | sort -z | xargs -0r sha256sum)
}

# said FIELD: of the lines that --json printed.
said() {
    local what=$1
    case $what in
    \"*) ;;
    *) what=.$what ;;
    esac
    grep '^{' "$OUT" | jq -r "$what"
}

# The remote files of a step in a home.
remote_files() {
    find "$1/runs/run/data" -name "*-$(printf %020d "$2")-*" | sort
}

@test "another home: the source may go, any layout resumes, in a generation of its own" {
    tool_is 0 cp run@2 --to "$TO"
    out_has "^run@2	generation 1	copied	1 files	[0-9]+	[0-9]+ written	$TO$"
    for home in "$HOME_DIR" "$TO"; do # by the reader that knows the format alone
        python3 "$ROOT/tests/golden/read_ckpt.py" --out "$home.out" "$home" \
            run@latest >/dev/null 3>&-
    done
    diff -r "$HOME_DIR.out" "$TO.out"
    rm -rf "$HOME_DIR"
    at "$TO" tool_is 0 ls
    out_has "^run	2	1	REMOTE	.*	latest	in $TO, read back$"
    at "$TO" tool_is 0 verify --deep
    loads "$TO" 2 2
    loads "$TO" 2 3
    at "$TO" job --ranks 1 $STATE open parent load fill:3 save:3 \
        wait:committed close
    out_has "parent ok .*2/1"
    at "$TO" wait_quiet
    at "$TO" tool_is 0 ls
    is "$(tail -n +2 "$OUT" | cut -f2-4 | tr '\t\n' ' ;')" \
        "2 1 REMOTE;3 4 COMMITTED;" "what is there"
}

@test "a process of the very start that saved it is told so there, and starts nothing afresh" {
    rm -rf "$HOME_DIR"
    mkdir "$HOME_DIR"
    job --ranks 2 --token t open fill:1 save:1 wait:committed close
    wait_quiet
    tool_is 0 cp run@1 --to "$TO"
    at "$TO" job_fails --ranks 2 --token t open load close
    out_count "open error ESTALE .*joined generation 1" 2
    at "$TO" job --ranks 2 --token u open load close
    out_count "load ok id=1/1 version=1 " 2
    # Where a load went back to an older one, that is its origin there as well.
    at "$TO" job --ranks 2 --token v open load close
    mkdir "$TO.2"
    at "$TO" job --ranks 2 --token w open load fill:2 save:2 wait:committed close
    at "$TO" wait_quiet
    at "$TO" tool_is 0 cp run@2 --to "$TO.2"
    [ -s "$TO.2/runs/run/load/00000004.0" ] || [ -s "$TO.2/runs/run/load/00000004.1" ] ||
        complain "no load: $(find "$TO.2" -type f)"
}

@test "what it writes is what a daemon's drain writes" {
    rm -rf "$HOME_DIR"
    mkdir "$HOME_DIR"
    CKPT_REMOTE_EVERY=1 job --ranks 8 --tensors 64 --rows 40 --columns 40 \
        open fill:1 save:1 wait:committed close
    wait_quiet
    ls "$HOME_DIR"/runs/run/manifest/*.0 >/dev/null # not within the decision
    tool_is 0 cp run@1 --to "file://$TO"
    for name in $(cd "$HOME_DIR" && find runs/run/remote runs/run/data \
        runs/run/decision runs/run/manifest runs/run/gen runs/run/member \
        -type f); do
        case $name in
        */data/*) # its header page says which home
            cmp <(tail -c +4097 "$HOME_DIR/$name") <(tail -c +4097 "$TO/$name")
            ;;
        *.*.*.* | */remote/*.* | */decision/* | */gen/* | */manifest/* | \
            */member/*)
            cmp "$HOME_DIR/$name" "$TO/$name"
            ;;
        esac
    done
    is "$(cd "$TO/runs/run" && ls | tr '\n' ' ')" \
        "RUN closed data decision gen lease manifest member remote " "folders there"
    is "$(find "$TO/runs/run/lease" -type f)" "" "leases left there"
    rm -rf "$HOME_DIR"
    at "$TO" job --ranks 3 --tensors 64 --rows 40 --columns 40 open load close
    out_count "load ok id=1/1 version=1 " 3
}

@test "its own home: into the remote tier, as a drain by hand" {
    tool_is 0 cp --json run@1 --to "$HOME_DIR"
    is "$(said result)" copied "result"
    tool_is 0 ls
    out_has "^run	1	1	REMOTE	"
    [ ! -e "$HOME_DIR/runs/run/closed" ] || complain "the generation was closed"
    picture "$HOME_DIR" >"$OUT.before"
    tool_is 0 cp --json run@1 --to "$HOME_DIR/."
    is "$(said result) $(said bytes_written)" "there 0" "once more"
    picture "$HOME_DIR" >"$OUT.after"
    cmp "$OUT.before" "$OUT.after"
    rm -rf "$LOCAL"
    loads "$HOME_DIR" 1 3
}

@test "killed again and again it goes on, and nothing is to be seen before the end" {
    kills=0
    while [ $kills -lt 3 ]; do
        # Two chunks go at once, then one each half second.
        "$BUILD_DIR/bin/ckpt" cp --home "$HOME_DIR" run@1 --to "$TO" \
            --rate 24M >"$OUT" 2>&1 3>&- &
        pid=$!
        case $kills in
        0) sleep 0.05 ;; # wherever that is
        1) eventually test -e "$TO/runs/run/data" ;;
        2) eventually eval '[ -n "$(remote_files "$TO" 1)" ]' ;;
        esac
        kill -KILL $pid 2>/dev/null || true
        wait $pid || true
        at "$TO" tool ls --json
        is "$(grep -cE 'COMMITTED|REMOTE' "$OUT" || true)" 0 "checkpoints there"
        kills=$((kills + 1))
    done
    file=$(remote_files "$TO" 1)
    # Half of it stays, the rest is as a crash leaves it.
    dd if=/dev/zero of="$file" bs=1M seek=9 count=9 conv=notrunc status=none
    tool_is 0 cp --json run@1 --to "$TO"
    is "$(said result)" copied "result"
    at_least "$(said bytes)" $((18 << 20)) "bytes"
    rm -rf "$HOME_DIR"
    loads "$TO" 1 3
}

@test "gc there leaves alone what is being copied, and sweeps what was given up" {
    tool_is 0 cp run@2 --to "$TO"
    loads "$TO" 2 1 # and the generation of what is to come is over
    "$BUILD_DIR/bin/ckpt" cp --home "$HOME_DIR" run@1 --to "$TO" --rate 4M \
        >"$OUT.cp" 2>&1 3>&- &
    pid=$!
    eventually eval '[ -n "$(remote_files "$TO" 1)" ]'
    at "$TO" tool_is 0 gc --yes
    out_lacks "remote file"
    kill -KILL $pid
    wait $pid || true
    at "$TO" tool_is 0 gc --yes # until its lease is dead
    out_lacks "remote file"
    rm "$TO"/runs/run/lease/*
    at "$TO" tool_is 0 gc --yes
    out_has "^remote file	runs/run/data/.*-00000000000000000001-"
    tool_is 0 cp run@1 --to "$TO"
    at "$TO" tool_is 0 verify --deep
}

@test "a drain and a cp of one checkpoint do not spoil each other's files" {
    start_daemon --drain-rate 6M
    CKPT_REMOTE_EVERY=3 job --ranks 2 $STATE open load fill:3 save:3 \
        wait:committed close
    eventually eval '[ -n "$(remote_files "$HOME_DIR" 3)" ]'
    tool_is 11 cp run@3 --to "$HOME_DIR"
    out_has "data/.*: somebody else is writing it; repeat this later"
    tool_is 0 wait --state remote --timeout 60 run@3
    tool_is 0 cp --json run@3 --to "$HOME_DIR"
    is "$(said result) $(said files_written)" "there 0" "result"
    # The other way round: the daemon comes again once cp has done it.
    "$BUILD_DIR/bin/ckpt" cp --home "$HOME_DIR" run@1 --to "$HOME_DIR" \
        --rate 6M >"$OUT.cp" 2>&1 3>&- &
    pid=$!
    eventually eval '[ -n "$(remote_files "$HOME_DIR" 1)" ]'
    tool_is 0 drain --timeout 60 run@1
    status=0
    wait $pid || status=$?
    is "$status" 0 "exit status of cp"
    tool_is 0 verify --deep --tier remote run@1
    tool_is 0 verify --deep --tier remote run@3
    stop_daemon
}

@test "what a daemon encoded on its way: kept, mended, and copied on" {
    local pid dull=(--tensors 6 --rows 768 --columns 1024 --dull --codec raw)
    rm -rf "$HOME_DIR"
    mkdir "$HOME_DIR"
    start_daemon --drain-rate 2M
    CKPT_REMOTE_EVERY=1 job "${dull[@]}" open fill:1 save:1 wait:committed close
    # Killed in its midst; another cp than its own goes on, and keeps what is
    # there.
    eventually eval '[ -n "$(remote_files "$HOME_DIR" 1)" ]'
    pid=$(daemon_pid "$LOCAL")
    kill -KILL "$pid"
    wait "$daemon" || true
    # A write of the dead, still under way, holds the file's lock.
    eventually tool_is 0 cp run@1 --to "$HOME_DIR"
    tool_is 0 verify --deep run@1
    out_count "	ok	" 2
    # Whole, by a daemon.
    rm -rf "$HOME_DIR"
    mkdir "$HOME_DIR"
    CKPT_REMOTE_EVERY=1 job "${dull[@]}" open fill:1 save:1 wait:remote close
    wait_quiet
    file=$(remote_files "$HOME_DIR" 1)
    at_most "$(stat -c %s "$file")" $((13 << 20)) "bytes of 18 MiB"
    tail -c +4097 "$file" >"$OUT.good" # its header page says its first length
    for at in 100 5000 $((5 << 20)); do
        flip "$file" "$at"
        tool_is 4 verify --tier remote run@1
        tool_is 0 cp --json run@1 --to "$HOME_DIR"
        is "$(said result) $(said files_written)" "mended 1" "result"
        cmp <(tail -c +4097 "$file") "$OUT.good" || complain "not what it was"
    done
    rm "$file"
    tool_is 0 cp run@1 --to "$HOME_DIR"
    cmp <(tail -c +4097 "$file") "$OUT.good" || complain "not what it was"
    truncate -s 8M "$file"
    tool_is 0 cp run@1 --to "$HOME_DIR"
    cmp <(tail -c +4097 "$file") "$OUT.good" || complain "not what it was"
    # The drive is lost: it is all that there is.
    rm -rf "$LOCAL"
    cp "$file" "$OUT.whole"
    truncate -s 8M "$file"
    tool_is 3 cp run@1 --to "$HOME_DIR"
    out_has "it is cut off, and what is left of it may be the only copy"
    is "$(stat -c %s "$file")" $((8 << 20)) "bytes that are left"
    cp "$OUT.whole" "$file"
    tool_is 0 cp run@1 --to "$TO"
    rm -rf "$HOME_DIR"
    at "$TO" job --ranks 3 "${dull[@]}" open load close
    out_count "load ok id=1/1 version=1 " 3
}

@test "what is there and good is not written again" {
    tool_is 0 cp run@1 --to "$TO"
    tool_is 0 cp run@2 --to "$TO"
    rm "$TO"/runs/run/decision/*-00000000000000000001-* \
        "$TO"/runs/run/remote/*-00000000000000000001-* # as before its end
    file=$(remote_files "$TO" 1)
    inode=$(stat -c %i "$file")
    flip "$file" $((12 << 20))
    tool_is 0 cp --json run@1 --to "$TO"
    is "$(said result)" copied "result"
    at_most "$(said bytes_written)" $(((2 << 20) + 8192)) "bytes written"
    is "$(stat -c %i "$file")" "$inode" "its inode"
    rm -rf "$HOME_DIR"
    loads "$TO" 2 3
    at "$TO" job --resume 1 --ranks 2 $STATE open load close
    out_count "load ok id=1/1 version=1 " 2
}

@test "bytes that went bad in the destination are mended; a run passes over what is there" {
    tool_is 0 cp --all --json run --to "$TO"
    is "$(said 'result' | tr '\n' ' ')" "copied copied " "results"
    cp -a "$TO" "$TO.good"
    for at in 100 5000 $((9 << 20)); do # header pages, and a payload
        flip "$(remote_files "$TO" 1)" "$at"
        tool_is 0 cp --all --json run --to "$TO"
        is "$(said 'result' | tr '\n' ' ')" "there there " "results of a run"
        tool_is 0 cp --json run@1 --to "$TO"
        is "$(said result) $(said files_written)" "mended 1" "result"
        cmp "$(remote_files "$TO" 1)" "$(remote_files "$TO.good" 1)"
    done
    truncate -s 1M "$(remote_files "$TO" 1)"
    tool_is 0 cp run@1 --to "$TO"
    cmp "$(remote_files "$TO" 1)" "$(remote_files "$TO.good" 1)"
    rm "$(remote_files "$TO" 1)"
    tool_is 0 cp run@1 --to "$TO"
    cmp "$(remote_files "$TO" 1)" "$(remote_files "$TO.good" 1)"
    table=$(ls "$TO"/runs/run/remote/*-00000000000000000001-*.*)
    flip "$table" 300
    tool_is 0 cp run@1 --to "$TO"
    out_has "remote/.*; it is written anew"
    cmp "$table" "$TO.good/${table#"$TO/"}"
    job --ranks 2 $STATE open load fill:3 save:3 wait:committed close
    wait_quiet
    tool_is 0 cp --json run --to "$TO"
    is "$(said step) $(said result)" "3 copied" "the latest"
}

@test "a damaged chunk comes from the remote copy, or is named" {
    read -r file offset <<<"$(place run@1 file offset)"
    tool_is 0 cp run@1 --to "$HOME_DIR"
    flip "$LOCAL/$file" $((offset + 4096 + 77)) 3
    tool_is 0 cp --json run@1 --to "$TO"
    is "$(said result) $(said chunks_from_remote)" "copied 1" "result"
    out_has "$file at $offset: .*; its copy in the remote tier is taken"
    mkdir "$TO.2"
    flip "$(remote_files "$HOME_DIR" 1)" $((4096 + 4096 + 77))
    tool_is 4 cp --json run@1 --to "$TO.2"
    is "$(said result)" corrupt "result"
    out_has "run@1/1: no healthy copy: $LOCAL/$file at $offset: .*; in the remote tier: .*/runs/run/data/.* at 4096: .*tensor t00 bytes 0-"
    at "$TO.2" tool ls --json
    is "$(grep -cE 'COMMITTED|REMOTE' "$OUT" || true)" 0 "checkpoints there"
    # Another's healthy copy is as good: the one that was made first.
    tool_is 0 cp --home "$TO" run@1 --to "$HOME_DIR" --json
    is "$(said result)" mended "result"
    tool_is 0 cp run@1 --to "$TO.2"
    loads "$TO.2" 1 2
}

@test "of a run, one that cannot be copied does not keep the others from it" {
    read -r file offset <<<"$(place run@1 file offset)"
    flip "$LOCAL/$file" $((offset + 4096))
    tool_is 4 cp --all --json run --to "$TO"
    is "$(said '"\(.step) \(.result)"' | tr '\n' ' ')" "1 corrupt 2 copied " \
        "results"
    loads "$TO" 2 1
}

@test "chunks on another node: its name; each node copies its own, the last one ends it" {
    local one=$BATS_TEST_TMPDIR/n1 two=$BATS_TEST_TMPDIR/n2
    rm -rf "$HOME_DIR"
    mkdir "$HOME_DIR"
    start_job --ranks 2 --local "$one" --part 0/4 --token t $STATE \
        open fill:1 save:1 wait:committed close
    timeout 100 "$JOB" --home "$HOME_DIR" --local "$two" --part 2/4 --token t \
        --ranks 2 $STATE open fill:1 save:1 wait:committed close \
        >"$OUT.2" 2>&1 3>&-
    end_job
    is "$status" 0 "exit status of the job"
    eventually eval '[ -z "$(daemon_pid "$one")$(daemon_pid "$two")" ]'
    picture "$HOME_DIR" >"$OUT.before"
    tool_is 3 cp --dry-run --local "$one" run@1 --to "$TO"
    tool_is 3 cp run@1 --to "$TO"
    out_has "run@1/1: .* out of reach, .*; folder '$HOME_DIR/local' does not exist"
    tool_is 3 cp --json --local "$one" run@1 --to "$TO"
    is "$(said result) $(said files_written)" "partial 1" "result"
    out_count "run@1/1: [0-9]+ chunks are out of reach, in local store [0-9a-f]{32} of node $(hostname), and not in the remote tier" 1
    at "$TO" tool ls --json
    is "$(grep -cE 'COMMITTED|REMOTE' "$OUT" || true)" 0 "checkpoints there"
    picture "$HOME_DIR" >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "the source was changed"
    tool_is 0 cp --json --local "$two" run@1 --to "$TO"
    is "$(said result) $(said files) $(said files_written)" "copied 2 1" "result"
    # With tables, neither is needed.
    tool_is 0 cp --home "$TO" run@1 --to "$HOME_DIR"
    rm -rf "$one" "$two"
    mkdir "$TO.2"
    tool_is 0 cp run@1 --to "$TO.2"
    loads "$TO.2" 1 3
}

@test "a full destination: told early, and the rest once there is room" {
    [ "$(id -u)" -eq 0 ] || skip "needs root, to mount a small drive"
    truncate -s 40M "$TO.img"
    mkfs.ext4 -q -F -O ^has_journal "$TO.img" >/dev/null 2>&1 ||
        skip "no mkfs.ext4 on this machine"
    mount -o loop "$TO.img" "$TO" 2>/dev/null ||
        skip "loop devices cannot be mounted here"
    fallocate -l 25M "$TO/lost+found/ballast"
    tool cp run@1 --to "$TO"
    full=$status
    cp "$OUT" "$OUT.full"
    rm "$TO/lost+found/ballast"
    tool cp run@1 --to "$TO"
    again=$status
    is "$(remote_files "$TO" 1 | wc -l)" 1 "files there"
    umount "$TO"
    is "$full $again" "1 0" "exit statuses"
    grep -q "no room for the 18[0-9]* that are to come: No space" "$OUT.full" ||
        complain "not told: $(cat "$OUT.full")"
}

@test "another run of that name, another history, a tomb: refused in words" {
    at "$TO" job --ranks 1 $STATE open fill:9 save:9 wait:committed close
    at "$TO" wait_quiet
    picture "$TO" >"$OUT.before"
    tool_is 1 cp run@1 --to "$TO"
    out_has "$TO has another run of the name run"
    picture "$TO" >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "it changed something"

    # The same run, which went on in both homes.
    mkdir "$TO.2"
    tool_is 0 cp run@1 --to "$TO.2"
    at "$TO.2" job --ranks 1 $STATE open load fill:2 save:2 wait:committed close
    at "$TO.2" wait_quiet
    job --ranks 2 $STATE open load fill:3 save:3 wait:committed close
    wait_quiet
    picture "$TO.2" >"$OUT.before"
    tool_is 1 cp run@3 --to "$TO.2"
    out_has "generation 2 of run run began otherwise in $TO.2"
    picture "$TO.2" >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "it changed something"
    tool_is 0 cp run@1 --to "$TO.2" # of before they went apart

    mkdir "$TO.3"
    tool_is 0 cp --all run --to "$TO.3"
    cp -a "$HOME_DIR" "$HOME_DIR.2"
    at "$HOME_DIR.2" tool_is 0 gc --keep-last 1 --yes
    mkdir -p "$TO.3/runs/run/tomb"
    cp "$HOME_DIR.2"/runs/run/tomb/*-00000000000000000001-* \
        "$TO.3/runs/run/tomb"
    tool_is 1 cp run@1 --to "$TO.3"
    out_has "run@1/1 was removed from $TO.3 .runs/run/tomb/"
}

@test "--dry-run writes nothing and says what there is to do" {
    tool_is 0 cp run@1 --to "$TO"
    picture "$HOME_DIR" >"$OUT.before"
    picture "$TO" >>"$OUT.before"
    tool_is 0 cp --dry-run --all run --to "$TO"
    out_has "^run@1	generation 1	there"
    out_has "^run@2	generation 1	to copy	1 files	([0-9]+)	[1-9][0-9]* to write"
    mkdir "$TO.2"
    tool_is 0 cp --dry-run --json run@2 --to "$TO.2"
    is "$(said 'result + " " + (.files_written | tostring)')" "to copy 1" \
        "what there is to do"
    is "$(ls "$TO.2")" "" "what is there"
    cp -a "$TO" "$TO.3"
    rm "$TO.3"/runs/run/remote/*-0001
    tool_is 0 cp --dry-run --json run@1 --to "$TO.3"
    is "$(said 'result + " " + (.files_written | tostring)')" "to copy 0" \
        "what there is to do where only the mark is missing"
    picture "$HOME_DIR" >"$OUT.after"
    picture "$TO" >>"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "it changed something"
}

@test "what makes no sense is told" {
    tool_is 2 cp run@1
    out_has "where to.*--to HOME"
    tool_is 2 cp --to "$TO"
    tool_is 2 cp --all run@1 --to "$TO"
    tool_is 2 ls --to "$TO"
    tool_is 10 cp run@7 --to "$TO"
    tool_is 10 cp other@1 --to "$TO"
    tool_is 10 cp run@1 --to "$TO/absent"
    out_has "absent"
    touch "$TO/something"
    tool_is 1 cp run@1 --to "$TO"
    out_has "$TO: not empty and no home: it has something"
    tool_is 1 cp run@1 --to "s3://bucket"
}
