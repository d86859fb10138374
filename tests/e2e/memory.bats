#!/usr/bin/env bats
# tests/e2e/memory.bats - a state four times the arena stays within the budget,
# and a daemon that lingers serves from memory.

load ../lib/e2e

teardown() {
    e2e_teardown
    [ -z "${idle:-}" ] || exec {idle}>&-
}

# look PID: its state's letter in $state and its anonymous memory now, in KiB,
# in $kib, empty while it has none; fails once it is gone. The file is read in
# one go: `read` would seek back to the end of each line, and the text in
# front of that may be another one by then.
look() {
    local lines line
    state= kib=
    mapfile -t lines <"/proc/$1/status" || return
    for line in "${lines[@]}"; do
        case $line in
        State:*) [[ $line =~ ^State:[[:space:]]*([A-Za-z]) ]] &&
            state=${BASH_REMATCH[1]} ;;
        RssAnon:*) kib=${line//[!0-9]/} ;;
        esac
    done
    [ -n "$state" ]
} 2>/dev/null

# watch NAME PID: writes the peak to a file until the process has ended. One
# that is ending has no memory any more.
watch() {
    local peak=0
    while look "$2" && [[ $state != [ZX] ]]; do
        if [ "${kib:-0}" -gt "$peak" ]; then
            peak=$kib
            echo "$peak" >"$BATS_TEST_TMPDIR/peak.$1"
        fi
        # A pause without a process: nobody writes there.
        read -r -t 0.003 -u "$idle" _ || true
    done
    [ ! -d "/proc/$2" ] || [[ $state == [ZX] ]]
}

# start_watch NAME PID: what it has now goes to a file, too.
start_watch() {
    look "$2"
    at_least "${kib:-0}" 1 "KiB of $1"
    echo "$kib" >"$BATS_TEST_TMPDIR/before.$1"
    watch "$1" "$2" 3>&- &
    watchers+=($!)
}

# end_watch: all that was watched has ended, and each was watched until then.
end_watch() {
    local pid
    for pid in "${watchers[@]}"; do
        wait "$pid" || complain "a sampler died: status $?"
    done
}

# Watches the daemon and each rank of the job in the background.
watch_all() {
    local pid rank=0 job
    watchers=()
    mkfifo "$BATS_TEST_TMPDIR/idle"
    exec {idle}<>"$BATS_TEST_TMPDIR/idle"
    eventually eval '[ "$(grep -c " open ok" "$OUT")" -eq 2 ]'
    job=$(pgrep -P "$job_pid")
    for pid in $(pgrep -P "$job"); do
        start_watch "rank$rank" "$pid"
        rank=$((rank + 1))
    done
    is $rank 2 "ranks"
    start_watch daemon "$daemon"
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
    stop_daemon
    end_watch
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
    stop_daemon
    end_watch
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
