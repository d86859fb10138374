#!/usr/bin/env bats
# tests/e2e/deaths.bats - trainers and daemons that are killed: what was staged
# is committed, what was not is aborted by name, nobody waits for ever, and the
# last checkpoint always loads, bit for bit.

load ../lib/e2e

# 48 MiB in all, which takes a while to write.
BIG="--tensors 6 --rows 2048 --columns 1024"

committed_is() {
    [ "$(saves)" = "$1" ]
}

@test "a save whose trainers are all killed after STAGED is committed" {
    for ranks in 1 4; do
        rm -rf "$HOME_DIR"
        mkdir "$HOME_DIR"
        job --ranks $ranks $BIG open fill:1 save:1 wait:committed \
            fill:2 save:2 wait:staged barrier die
        out_count "save:2 ok" $ranks
        eventually committed_is "1/1 2/1"
        wait_quiet
        job --ranks 2 $BIG open load close
        out_count "load ok id=2/1 version=2" 2
    done
}

@test "the same when the state is larger than the arena" {
    job --ranks 2 --arena 8388608 --lazy $BIG \
        open fill:1 save:1 fence wait:staged barrier die
    eventually committed_is "1/1"
    wait_quiet
    job --ranks 3 $BIG open load close
    out_count "load ok id=1/1 version=1" 3
}

@test "one rank killed after STAGED: the others see COMMITTED" {
    job --ranks 3 $BIG open fill:5 save:5 wait:staged barrier 1:die \
        wait:committed close
    out_count "wait:committed ok" 2
    wait_quiet
    job --ranks 3 $BIG open load
    out_count "load ok id=5/1 version=5" 3
}

@test "a rank killed before STAGED aborts the save, by its name" {
    job --ranks 3 $BIG open fill:1 save:1 wait:committed barrier \
        2:die fill:2 save:2 "?wait:committed" close
    out_count "wait:committed error CKPT_EABORTED .*rank 2" 2
    wait_quiet
    is "$(saves)" "1/1" "what is committed"
    is "$(saves ABORTED)" "2/1" "what was aborted"
    [[ $(reasons) == *"rank 2"* ]] || complain "the reason: $(reasons)"
    tool_is 0 ls run
    out_lacks "ABORTED"
    tool_is 10 show run@2
    out_has "rank 2"
}

@test "a rank killed in the midst of capturing aborts the save" {
    job --ranks 2 --lazy --arena 4194304 --tensors 6 --rows 8192 --columns 1024 \
        open fill:1 save:1 1:die "?fence" "?wait:committed" close
    out_has "0 wait:committed error CKPT_EABORTED .*rank 1"
    wait_quiet
    is "$(saves)" "" "what is committed"
    [[ $(reasons) == *"rank 1"* ]] || complain "the reason: $(reasons)"
}

@test "an aborted save leaves its room to the next" {
    job --ranks 2 $BIG open fill:1 save:1 wait:committed close
    job --ranks 2 $BIG open fill:2 1:die save:2 "?wait:committed" close
    wait_quiet
    job --ranks 2 $BIG open fill:3 save:3 wait:committed close
    wait_quiet
    before=$(segment_bytes)
    for step in 4 5 6; do
        job --ranks 2 $BIG --keep-last 1 open fill:$step 1:die save:$step \
            "?wait:committed" close
        out_has "0 wait:committed error CKPT_EABORTED"
        wait_quiet
    done
    is "$(saves)" "1/1 3/3" "what is committed"
    at_most "$(segment_bytes)" $((before + before / 4)) "bytes of segments"
    job --ranks 2 $BIG open load
    out_count "load ok id=3/3 version=3" 2
}

@test "a closed context keeps what was staged and aborts what was not" {
    job --ranks 2 $BIG open fill:1 save:1 wait:staged close
    eventually committed_is "1/1"
    job --ranks 2 $BIG open fill:2 1:close 0:save:2 "0:?wait:committed"
    out_has "wait:committed error CKPT_EABORTED .*rank 1"
    is "$(saves)" "1/1" "what is committed"
}

# Kills the daemon now and then while the job in the background lives; a slow
# machine's daemon lives longer each time, so that it gets to something.
kill_daemon_often() {
    local limit_ms=$1 pid
    killed=0
    [ -z "$SANITIZED" ] || limit_ms=$((limit_ms * 4))
    eventually eval '[ "$(grep -c "wait:committed ok" "$OUT")" -eq 2 ]'
    while kill -0 "$job_pid" 2>/dev/null; do
        random "$limit_ms"
        sleep "$((random / 1000)).$(printf %03d $((random % 1000)))"
        pid=$(daemon_pid)
        [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null && killed=$((killed + 1))
        limit_ms=$((limit_ms + limit_ms / 16))
    done
    return 0
}

# After a storm: each save ended as it should, the newest is whole.
check_storm() {
    local ranks=$1 count=$2 newest promised
    is "$status" 0 "exit status of the job"
    out_count "saved:" $((ranks * count))
    ! grep "saved:" "$OUT" | grep -vE " ok$| error (CKPT_E|E)[A-Z]+ " ||
        complain "an error without a type"
    promised=$(sed -n 's/.*saved:\([0-9]*\) ok$/\1/p' "$OUT" | sort -n | tail -1)
    cp "$OUT" "$OUT.storm"
    job --ranks 3 "${STORM[@]}" open load close
    out_count "load ok" 3
    newest=$(sed -n 's,.*load ok id=\([0-9]*\)/.* version=\1 .*,\1,p' "$OUT" |
        sort -u)
    at_least "$newest" "${promised:-0}" "the step that was loaded"
    wait_quiet
    is "$(saves UNDECIDED)" "" "what is undecided"
    tool_is 0 verify --deep run
}

@test "the daemon killed at random moments of small saves: nothing is lost" {
    STORM=(--tensors 6 --rows 64 --columns 256)
    RANDOM_SEED=11
    count=180
    [ -z "${CKPT_TEST_LONG:-}" ] || count=400
    start_job --ranks 2 "${STORM[@]}" --keep-last 4 open fill:1 save:1 fence \
        wait:committed storm:2:$count:30000
    kill_daemon_often 200
    end_job
    at_least "$killed" 3 "kills"
    check_storm 2 $count
    echo "# $killed kills, $(grep -c 'saved:.* ok$' "$OUT.storm") of $((2 * count)) acknowledged" >&3
}

@test "the daemon killed while it writes much: nothing is lost" {
    STORM=(--tensors 6 --rows 4096 --columns 1024)
    RANDOM_SEED=12
    count=16
    [ -z "${CKPT_TEST_LONG:-}" ] || count=100
    [ -z "$SANITIZED" ] || count=32 # a save of this size takes seconds there
    start_job --ranks 2 --lazy --arena 16777216 "${STORM[@]}" --keep-last 2 \
        open fill:1 save:1 fence wait:committed storm:2:$count:30000
    kill_daemon_often 900
    end_job
    at_least "$killed" 3 "kills"
    check_storm 2 $count
    echo "# $killed kills, $(grep -c 'saved:.* ok$' "$OUT.storm") of $((2 * count)) acknowledged" >&3
}

@test "daemon and ranks killed together, again and again" {
    STORM=(--tensors 6 --rows 1024 --columns 256)
    RANDOM_SEED=13
    rounds=12
    [ -z "${CKPT_TEST_LONG:-}" ] || rounds=100
    promised=0
    for round in $(seq $rounds); do
        start_job --ranks 2 "${STORM[@]}" --keep-last 3 \
            open "?load" storm:$((round * 1000)):1000
        random 500
        eventually grep -qE "saved:|load" "$OUT"
        sleep "0.$(printf %03d "$random")"
        pid=$(daemon_pid)
        # Both orders.
        if [ $((round % 2)) -eq 0 ]; then
            kill -KILL $(our_pids | grep -vx "${pid:-0}") 2>/dev/null || true
            [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
        else
            [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
            kill -KILL $(our_pids) 2>/dev/null || true
        fi
        end_job
        [ $round -eq 1 ] || out_count "load ok" 2
        is "$(sed -n 's/.*load ok \(id=[^ ]*\) .*/\1/p' "$OUT" | sort -u | wc -l)" \
            $((round > 1)) "different saves that were loaded"
        loaded=$(sed -n 's,.*load ok id=\([0-9]*\)/.*,\1,p' "$OUT" | sort -n | head -1)
        at_least "${loaded:-0}" "$promised" "round $round: the step that was loaded"
        promised=$(sed -n 's/.*saved:\([0-9]*\) ok$/\1/p' "$OUT" | sort -n | tail -1)
        promised=${promised:-${loaded:-0}}
    done
    job --ranks 3 "${STORM[@]}" open load
    out_count "load ok" 3
    is "$(saves UNDECIDED)" "" "what is undecided"
    tool_is 0 verify --deep run
}
