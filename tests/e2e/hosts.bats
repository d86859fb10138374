#!/usr/bin/env bats
# tests/e2e/hosts.bats - a job on three hosts (tests/hosts/hosts.py), each with
# its own processes, daemon and local store, and one home in a folder that all
# of them reach: saved and loaded by all, decided without a host that hangs, and
# nothing undone by it when it comes back.

load ../lib/e2e
load ../lib/netns

HOSTS=tests/hosts/hosts.py

setup_file() {
    export DIR=$BATS_FILE_TMPDIR/hosts
    "$HOSTS" "$DIR" run host0 host1 host2 -- \
        sh -c 'echo up >"$DIR.up" && exec sleep 36000' \
        >"$DIR.log" 2>&1 3>&- &
    echo $! >"$DIR.pid"
    until [ -s "$DIR.up" ] || ! kill -0 "$(cat "$DIR.pid")" 2>/dev/null; do
        sleep 0.1
    done
}

teardown_file() {
    kill -TERM "$(cat "$DIR.pid")" 2>/dev/null || true
}

setup() {
    if ! [ -s "$DIR.up" ]; then
        why=$(tail -n 1 "$DIR.log")
        case $why in
        *"no network namespaces"*) skip "${why#hosts.py: }" ;;
        esac
        echo "no hosts: $why" >&2
        return 1
    fi
    e2e_setup
    export CKPT_REMOTE_EVERY=1
}

teardown() {
    for i in 0 1 2; do
        host thaw host$i 2>/dev/null || true # the last test kills them
    done
    e2e_teardown
}

host() {
    "$HOSTS" "$DIR" "$@"
}

# part HOST WORLD ARGUMENT...: two ranks of a job of WORLD on that host, in the
# background; output in $OUT.HOST. The jobs of one token are one.
part() {
    local i=$1 world=$2
    shift 2
    : >"$OUT.$i"
    timeout -k 5 150 "$HOSTS" "$DIR" on host$i -- \
        "$JOB" --home "$HOME_DIR" --local "$BATS_TEST_TMPDIR/local$i" \
        --token "$token" --ranks 2 --part $((2 * i))/$world "$@" \
        >"$OUT.$i" 2>&1 3>&- &
    part[i]=$!
}

# end_parts HOST...: to their end; all output in $OUT, in $status how many
# failed.
end_parts() {
    local i
    status=0
    for i in "$@"; do
        wait "${part[i]}" || status=$((status + 1))
    done
    cat "${@/#/$OUT.}" >"$OUT"
}

# on_all ARGUMENT...: a job of six ranks, each of which must have done all.
on_all() {
    local i
    for i in 0 1 2; do
        part $i 6 "$@"
    done
    end_parts 0 1 2
    [ $status -eq 0 ] || complain "$status parts failed: $*"
}

# Those that have been decided for, in the remote tier already or not.
committed() {
    echo "$(saves) $(saves REMOTE)" | xargs -n1 | sort -n | paste -sd' '
}

# is_remote STEP [GENERATION]: every byte of that save is in the home too.
is_remote() {
    [ -e "$HOME_DIR/runs/run/remote/$(printf '%08x-%020d-0001' "${2:-1}" "$1")" ]
}

# Three parts of a job up to the file ready.HOST; release lets them go on.
start_ready() {
    local i
    for i in 0 1 2; do
        part $i 6 --decide-ms ${decide:-4000} "${before[@]}" barrier \
            mark:"$BATS_TEST_TMPDIR/ready.$i" hold:"$BATS_TEST_TMPDIR/go.$i" \
            "$@"
    done
    for i in 0 1 2; do
        eventually test -e "$BATS_TEST_TMPDIR/ready.$i"
    done
}

release() {
    touch "${@/#/$BATS_TEST_TMPDIR/go.}"
}

@test "what three hosts save, three hosts load, and two in another layout" {
    token=a on_all open fill:1 save:1 wait:remote close
    out_count "wait:remote ok" 6
    token=b on_all open load close
    out_count "load ok id=1/1 version=1" 6
    token=c
    for i in 0 1; do
        part $i 4 --layout rows open load close
    done
    end_parts 0 1
    out_count "load ok id=1/1 version=1" 4
}

# All daemons have done what they had to and ended.
all_quiet() {
    for i in 0 1 2; do
        eventually [ -z "$(daemon_pid "$BATS_TEST_TMPDIR/local$i")" ]
    done
}

# A start of all three that loads STEP/GENERATION, on every rank.
all_load() {
    token=load-$1 on_all open load close
    out_count "load ok id=$1 " 6
}

@test "a save whose third host hangs is aborted at its deadline, by its name" {
    token=a
    before=(open fill:1 save:1 wait:committed fill:2)
    start_ready save:2 "?wait:committed" close
    host freeze host2
    began=$SECONDS
    release 0 1 2
    end_parts 0 1
    out_count "wait:committed error CKPT_EABORTED .*step 2: .*host2.* had not \
voted within 4000 ms" 4
    at_most $((SECONDS - began)) 15 "seconds"
    is "$(committed) and $(saves ABORTED)" "1/1 and 2/1" "saves"
    [[ $(reasons) == *host2* ]] || complain "the reason: $(reasons)"
    # It comes back, votes, and learns what was decided without it.
    host thaw host2
    end_parts 2
    is $status 0 "exit status of host2's part"
    out_count "wait:committed error CKPT_EABORTED .*step 2: " 2
    is "$(committed) and $(saves ABORTED)" "1/1 and 2/1" "saves"
    eventually is_remote 1
    all_load 1/1
}

@test "hosts that are away and come back late change no decision" {
    rounds=2
    [ -z "${CKPT_TEST_LONG:-}" ] || rounds=20
    RANDOM_SEED=5
    token=a decide=2000
    before=(open fill:1 save:1 wait:committed)
    start_ready storm:10:$((rounds * 12)):100 close
    release 0 1 2
    for _ in $(seq $rounds); do
        random 3
        away=host$random
        host freeze $away
        random 20
        sleep $((2 + random / 10)).$((random % 10))
        host thaw $away
        random 10
        sleep 0.$random
    done
    end_parts 0 1 2
    is $status 0 "failed parts"
    cp "$OUT" "$OUT.storm"
    committed=" $(committed) " aborted=" $(saves ABORTED) "
    while read -r step code; do
        case $code in
        ok) [[ $committed == *" $step/1 "* ]] ;;
        CKPT_EABORTED) [[ $aborted == *" $step/1 "* ]] ;;
        *) true ;;
        esac || complain "a rank was told of step $step: $code"
    done < <(sed -nE 's/.* saved:([0-9]+) (ok|error ([A-Z_]+)).*/\1 \3\2/p' \
        "$OUT.storm" | sed 's/error.*//')
    echo "# figure: $rounds hosts away, $(grep -cE 'saved:.* ok' \
        "$OUT.storm") ranks were told COMMITTED, $(grep -c 'CKPT_EABORTED' \
        "$OUT.storm") ABORTED" >&3
    newest=$(echo $committed | tr ' ' '\n' | sort -n | tail -1)
    eventually is_remote "${newest%/*}"
    all_load "$newest"
}

@test "a host that is away while the rest start anew resumes from nothing else" {
    token=a on_all open fill:1 save:1 wait:committed close
    eventually is_remote 1
    # Of this start, the third host's part does not come; the rest cannot load.
    token=b
    before=(open)
    start_ready "?load" fill:6 "?save:6" "?wait:committed" close
    host freeze host2
    release 0 1 2
    sleep 1
    ! grep -q "load" "$OUT.0" "$OUT.1" || complain "a load without host2"
    # The job is started again on the others, which save.
    kill "${part[0]}" "${part[1]}"
    end_parts 0 1
    token=c
    for i in 0 1; do
        part $i 4 open load fill:5 save:5 wait:committed close
    done
    end_parts 0 1
    out_count "load ok id=1/1 version=1" 4
    out_count "wait:committed ok" 4
    host thaw host2
    end_parts 2
    # What it was about to load is what the rest of its start would have; the
    # start is over, and nothing of it is saved.
    out_lacks "load ok id=[^1]"
    out_lacks "wait:committed ok"
    out_count "(save:6|wait:committed) error ESTALE" 2
    is "$(committed)" "1/1 5/3" "saves"
    eventually is_remote 5 3
    all_load 5/3
}

@test "nothing of hosts whose maker is killed remains" {
    spaces=$(for i in 0 1 2; do
        host on host$i -- readlink /proc/self/ns/net /proc/self/ns/pid
    done)
    is "$(printf '%s\n' "$spaces" | sort -u | wc -l)" 6 "namespaces"
    host on host1 -- sh -c 'setsid sleep 36000 & wait' 3>&- &
    disown
    host freeze host2
    kill -KILL "$(cat "$DIR.pid")"
    eventually eval '[ -z "$(holders "$spaces")" ]'
}
