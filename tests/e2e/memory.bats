#!/usr/bin/env bats
# tests/e2e/memory.bats - a state four times the arena stays within the budget,
# and a daemon that lingers serves from memory.

load ../lib/e2e

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
    [ -z "${idle:-}" ] || exec {idle}>&-
}

# anonymous PID: its anonymous memory now, in KiB, in $kib; fails once it is
# gone.
anonymous() {
    local key value _
    kib=
    while read -r key value _; do
        [ "$key" = RssAnon: ] && kib=$value
    done <"/proc/$1/status" 2>/dev/null
    [ -n "$kib" ]
} 2>/dev/null

# watch NAME PID: writes the peak to a file while the process lives.
watch() {
    local peak=0
    while anonymous "$2"; do
        if [ "$kib" -gt "$peak" ]; then
            peak=$kib
            echo "$peak" >"$BATS_TEST_TMPDIR/peak.$1"
        fi
        # A pause without a process: nobody writes there.
        read -r -t 0.003 -u "$idle" _ || true
    done
}

# Watches the daemon and each rank of the job in the background.
watch_all() {
    local pid rank=0 job
    mkfifo "$BATS_TEST_TMPDIR/idle"
    exec {idle}<>"$BATS_TEST_TMPDIR/idle"
    eventually eval '[ "$(grep -c " open ok" "$OUT")" -eq 2 ]'
    job=$(pgrep -P "$job_pid")
    for pid in $(pgrep -P "$job"); do
        anonymous "$pid"
        echo "$kib" >"$BATS_TEST_TMPDIR/before.$rank"
        watch "rank$rank" "$pid" 3>&- &
        rank=$((rank + 1))
    done
    is $rank 2 "ranks"
    anonymous "$daemon"
    echo "$kib" >"$BATS_TEST_TMPDIR/before.daemon"
    watch daemon "$daemon" 3>&- &
    watcher=$!
}

# Of a daemon's arenas; each memfd once, however many descriptors there are.
arena_bytes() {
    find "/proc/$1/fd" -lname '/memfd:*' -exec stat -L -c '%i %s' {} + |
        sort -u | awk '{ s += $2 } END { printf "%.0f", s }'
}

grown_kib() {
    echo $(($(cat "$BATS_TEST_TMPDIR/peak.$1") - $2))
}

@test "a state four times the arena: 64 MiB more in ckptd, 32 in a rank" {
    [ -z "$SANITIZED" ] || skip "a sanitizer's own memory is counted too"
    start_daemon --linger 60
    # 96 MiB per rank.
    start_job --ranks 2 --lazy --arena 25165824 --tensors 6 --rows 8192 \
        --columns 1024 --layout rows open bytes hold:"$BATS_TEST_TMPDIR/go" \
        fill:1 save:1 fence set:0 wait:committed fill:2 save:2 fence \
        wait:committed close
    watch_all
    touch "$BATS_TEST_TMPDIR/go"
    arena=$(arena_bytes "$daemon")
    end_job
    is "$status" 0 "exit status of the job"
    at_most $arena $((2 * 25165824)) "bytes of arenas"
    daemon_kib=$(grown_kib daemon "$(cat "$BATS_TEST_TMPDIR/before.daemon")")
    at_most "$daemon_kib" 65536 "KiB more in ckptd"
    for rank in 0 1; do
        buffers=$(($(sed -n "s/^$rank bytes ok //p" "$OUT") / 1024))
        at_least $buffers 98304 "KiB of buffers"
        rank_kib=$(grown_kib rank$rank $buffers)
        at_most "$rank_kib" 32768 "KiB more in rank $rank"
        echo "# rank $rank: $rank_kib KiB beyond its buffers" >&3
    done
    echo "# ckptd: $daemon_kib KiB" >&3
    stop_daemon
}

@test "the same in a load of another layout from a cold store" {
    [ -z "$SANITIZED" ] || skip "a sanitizer's own memory is counted too"
    job --ranks 3 --arena 16777216 --tensors 6 --rows 8192 --columns 1024 \
        open fill:1 save:1 wait:committed close
    wait_quiet
    start_daemon --linger 60
    start_job --ranks 2 --arena 25165824 --tensors 6 --rows 8192 \
        --columns 1024 --layout columns open bytes \
        hold:"$BATS_TEST_TMPDIR/go" load close
    watch_all
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    is "$status" 0 "exit status of the job"
    out_count "load ok id=1/1 version=1" 2
    daemon_kib=$(grown_kib daemon "$(cat "$BATS_TEST_TMPDIR/before.daemon")")
    at_most "$daemon_kib" 65536 "KiB more in ckptd"
    for rank in 0 1; do
        buffers=$(($(sed -n "s/^$rank bytes ok //p" "$OUT") / 1024))
        rank_kib=$(grown_kib rank$rank $buffers)
        at_most "$rank_kib" 32768 "KiB more in rank $rank"
        echo "# rank $rank: $rank_kib KiB beyond its buffers" >&3
    done
    echo "# ckptd: $daemon_kib KiB" >&3
    stop_daemon
}

@test "killed ranks come back: the newest save is loaded from memory" {
    export CKPT_LINGER=60
    job --ranks 2 --tensors 6 --rows 1024 --columns 1024 open fill:1 save:1 \
        wait:committed fill:2 save:2 wait:committed barrier die
    first=$(daemon_pid)
    job --ranks 2 --tensors 6 --rows 1024 --columns 1024 open load close
    out_count "load ok id=2/1 version=2 .* read_bytes=0 " 2
    is "$(daemon_pid)" "$first" "the daemon"
    # In another layout too.
    job --ranks 3 --tensors 6 --rows 1024 --columns 1024 open load close
    out_count "load ok id=2/1 version=2" 3
    kill -TERM "$first"
    wait_quiet
}

@test "arenas after a restart are as large as before by the second save" {
    export CKPT_LINGER=60
    local arena=25165824 go=$BATS_TEST_TMPDIR/go
    start_job --ranks 2 --arena $arena open fill:1 save:1 wait:committed \
        barrier hold:"$go" die
    eventually eval '[ "$(saves)" = "1/1" ]'
    before=$(arena_bytes "$(daemon_pid)")
    at_least "$before" $((arena * 3 / 2)) "bytes of arenas"
    touch "$go"
    end_job
    rm "$go"
    start_job --ranks 2 --arena $arena open load fill:2 save:2 wait:committed \
        fill:3 save:3 wait:committed hold:"$go" close
    eventually eval '[ "$(saves)" = "1/1 2/2 3/2" ]'
    is "$(arena_bytes "$(daemon_pid)")" "$before" "bytes of arenas"
    touch "$go"
    end_job
    is "$status" 0 "exit status of the job"
    out_count "load ok id=1/1 version=1 .* read_bytes=0 " 2
    kill -TERM "$(daemon_pid)"
    wait_quiet
}

@test "with its segments gone, memory still serves; without both, it is said" {
    export CKPT_LINGER=60
    job --ranks 2 open fill:1 save:1 wait:committed barrier die
    rm "$LOCAL"/seg/*
    job --ranks 2 open load close
    out_count "load ok id=1/1 version=1 .* read_bytes=0 " 2
    kill -TERM "$(daemon_pid)"
    wait_quiet
    job --ranks 2 open "?load" close
    out_count "load error [A-Z_]+ .*step 1" 2
}

@test "a daemon without linger reads the media" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    job --ranks 2 open load close
    out_lacks "read_bytes=0 "
}
