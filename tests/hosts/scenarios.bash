# tests/hosts/scenarios.bash - what a job on three hosts (hosts.py) must do,
# wherever its home is. Each host has its own processes, daemon and local store,
# and two ranks. A suite says what the home is ($HOME_DIR), starts the hosts by
# start_hosts(), calls hosts_setup() and hosts_teardown(), and may have ways of
# its own for a host to be away.

HOSTS=tests/hosts/hosts.py
NAMES=(host0 host1 host2)

# start_hosts [MAKER...]: MAKER is what runs hosts.py, if not this suite.
start_hosts() {
    export HOSTS_DIR=$BATS_FILE_TMPDIR/hosts
    "$@" "$HOSTS" "$HOSTS_DIR" run "${NAMES[@]}" -- \
        sh -c 'echo up >"$HOSTS_DIR.up" && exec sleep 36000' \
        >"$HOSTS_DIR.log" 2>&1 3>&- &
    echo $! >"$HOSTS_DIR.pid"
    until [ -s "$HOSTS_DIR.up" ] ||
        ! kill -0 "$(cat "$HOSTS_DIR.pid")" 2>/dev/null; do
        sleep 0.1
    done
}

# After e2e_setup, before anything else changes what JOB is.
hosts_setup() {
    ON_HOST=$JOB CKPT_ON_HOST=$BUILD_DIR/bin/ckpt
    # State that is large enough to be told apart by its bytes.
    LARGE=(--tensors 12 --rows 512 --columns 1024)
    rounds=2 limit=150
    [ -z "${CKPT_TEST_LONG:-}" ] || rounds=20 limit=600 # seconds of a part
    decide=4000
    export CKPT_REMOTE_EVERY=1
}

hosts_teardown() {
    local name
    for name in "${NAMES[@]}"; do
        host thaw $name 2>/dev/null || true # a test kills them
    done
}

host() {
    "$HOSTS" "$HOSTS_DIR" "$@"
}

# Away, and back late: as one that hangs.
away() {
    host freeze "$1"
}

back() {
    host thaw "$1"
}

local_of() {
    echo "$BATS_TEST_TMPDIR/local$1"
}

# It is gone with all that was on it; another one of that name is empty.
destroy() {
    host crash host$1
    rm -rf "$(local_of $1)"
}

# part HOST FIRST/WORLD ARGUMENT...: two ranks of a job there, in the
# background; output in $OUT.HOST. The jobs of one token are one.
part() {
    local i=$1 ranks=$2
    shift 2
    : >"$OUT.$i"
    timeout -k 5 $limit "$HOSTS" "$HOSTS_DIR" on host$i -- \
        "$ON_HOST" --home "$HOME_DIR" --local "$(local_of $i)" \
        --token "$token" --ranks 2 --part "$ranks" "$@" >"$OUT.$i" 2>&1 3>&- &
    part[i]=$!
}

# parts "HOST..." ARGUMENT...: of a job of as many ranks as these hosts have.
parts() {
    local hosts=($1) i
    shift
    for i in "${!hosts[@]}"; do
        part ${hosts[i]} $((2 * i))/$((2 * ${#hosts[@]})) "$@"
    done
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

# on_hosts "HOST..." ARGUMENT...: a job there, each rank of which must have done
# all.
on_hosts() {
    parts "$@"
    end_parts $1
    [ $status -eq 0 ] || complain "$status parts failed: $*"
}

# Those that have been decided for, in the remote tier already or not.
committed() {
    echo "$(saves) $(saves REMOTE)" | xargs -n1 | sort -n | paste -sd' '
}

# is_remote STEP/GENERATION: every byte of that save is in the home too.
is_remote() {
    [[ " $(saves REMOTE) " == *" $1 "* ]]
}

# Three parts of a job up to the file ready.HOST; release lets them go on. In what
# follows, @ stands for the host's number.
start_ready() {
    local i
    rm -f "$BATS_TEST_TMPDIR"/{ready,go,begun,told}.*
    for i in 0 1 2; do
        part $i $((2 * i))/6 --decide-ms $decide "${before[@]}" barrier \
            mark:"$BATS_TEST_TMPDIR/ready.$i" hold:"$BATS_TEST_TMPDIR/go.$i" \
            "${@//@/$i}"
    done
    seen ready.0 ready.1 ready.2
}

# release NAME...: what waits for go.NAME goes on.
release() {
    touch "${@/#/$BATS_TEST_TMPDIR/go.}"
}

# seen FILE...: until these marks are there.
seen() {
    local mark
    for mark in "$@"; do
        eventually test -e "$BATS_TEST_TMPDIR/$mark"
    done
}

# All daemons have done what they had to and ended.
all_quiet() {
    local i
    for i in 0 1 2; do
        eventually eval '[ -z "$(daemon_pid "$(local_of '$i')")" ]'
    done
}

# A start of all three that loads STEP/GENERATION, on every rank.
all_load() {
    token=load-$1 on_hosts "0 1 2" open load close
    out_count "load ok id=$1 " 6
}

# loaded HOST: what its daemon read for the last load, in $from_local and
# $from_remote; the rest of that is nobody's.
loaded() {
    from_local=0 from_remote=0
    read -r from_local from_remote < <(sed -nE \
        -e 's/.* load ok .* read_bytes=([0-9]+) .*[ =]([0-9]+) bytes of it were read from the remote tier.*/\1 \2/p' \
        -e 's/.* load ok .* read_bytes=([0-9]+) .*/\1 0/p' "$OUT.$1")
    from_local=$((from_local - from_remote))
    figure+=", host$1 $from_local bytes from its local store and $from_remote from the remote tier"
}

# check_told FILE: what ranks were told of each save of a storm is what was
# decided.
check_told() {
    local committed aborted step code
    committed=" $(committed) " aborted=" $(saves ABORTED) "
    while read -r step code; do
        case $code in
        ok) [[ $committed == *" $step/1 "* ]] ;;
        CKPT_EABORTED) [[ $aborted == *" $step/1 "* ]] ;;
        *) true ;;
        esac || complain "a rank was told of step $step: $code"
    done < <(sed -nE 's/.* saved:([0-9]+) (ok|error ([A-Z_]+)).*/\1 \3\2/p' \
        "$1" | sed 's/error.*//')
}

#
# Scenarios for any home.
#

three_save_three_and_two_load() {
    token=a on_hosts "0 1 2" open fill:1 save:1 wait:remote close
    out_count "wait:remote ok" 6
    token=b on_hosts "0 1 2" open load close
    out_count "load ok id=1/1 version=1" 6
    token=c on_hosts "0 1" --layout rows open load close
    out_count "load ok id=1/1 version=1" 4
}

# A save is sent to the remote tier by hand, and two hosts are lost after each
# other; what is in no remote tier goes with the second.
lost_hosts_leave_the_rest() {
    local i began figure
    unset CKPT_REMOTE_EVERY
    token=a on_hosts "0 1 2" "${LARGE[@]}" open fill:1 save:1 wait:committed close
    all_quiet
    for i in 0 1 2; do
        is "$(saves REMOTE)" "" "what is REMOTE before host$i has sent its share"
        host on host$i -- "$CKPT_ON_HOST" drain --home "$HOME_DIR" \
            --local "$(local_of $i)" --timeout 60 run@1 >"$OUT" 2>&1 3>&- ||
            complain "host$i: drain: $?"
    done
    tool_is 0 wait --state remote --timeout 60 run@1
    all_quiet
    destroy 2
    began=$SECONDS figure="3 hosts, 1 destroyed"
    token=b on_hosts "0 1" "${LARGE[@]}" --layout rows open load fill:2 save:2 \
        wait:committed close
    out_count "load ok id=1/1 version=1 .* attempts=1" 4
    for i in 0 1; do
        loaded $i
        at_least $from_local 1 "bytes from host$i's local store"
        at_least $from_remote 1 "bytes that host$i had from the remote tier"
    done
    echo "# figure: $figure, loaded and saved in $((SECONDS - began)) s" >&3
    all_quiet
    is "$(committed)" "1/1 2/2" "checkpoints"
    # An empty host comes in place of the first that was lost.
    destroy 1
    began=$SECONDS figure="2 hosts, 1 destroyed"
    token=c on_hosts "0 2" "${LARGE[@]}" --layout columns open load fill:3 \
        save:3 wait:committed close
    out_count "load ok id=1/1 version=1 .* attempts=2 note=step 2, " 4
    loaded 0
    at_least $from_remote 1 "bytes that host0 had from the remote tier"
    loaded 2
    is $from_local 0 "bytes from the local store of a new host"
    echo "# figure: $figure, of both steps, loaded and saved in $((SECONDS - began)) s" >&3
    token=d on_hosts "0 2" "${LARGE[@]}" --layout columns open load close
    out_count "load ok id=3/3 version=3 .* attempts=1 note=$" 4
}

hung_host_aborts() {
    token=a
    before=(open fill:1 save:1 wait:committed fill:2)
    start_ready save:2 "?wait:committed" close
    host freeze host2
    local began=$SECONDS
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
    eventually is_remote 1/1
    all_load 1/1
}

# late_hosts_change_nothing PATIENCE_MS: of a rank with each of its saves.
late_hosts_change_nothing() {
    local away newest
    RANDOM_SEED=5
    token=a decide=2000
    before=(open fill:1 save:1 wait:committed)
    start_ready storm:10:$((rounds * 12)):$1 close
    release 0 1 2
    for _ in $(seq $rounds); do
        random 3
        away=host$random
        away $away
        random 20
        sleep $((2 + random / 10)).$((random % 10))
        back $away
        random 10
        sleep 0.$random
    done
    end_parts 0 1 2
    is $status 0 "failed parts"
    cp "$OUT" "$OUT.storm"
    check_told "$OUT.storm"
    echo "# figure: $rounds hosts away, $(grep -cE 'saved:.* ok' \
        "$OUT.storm") ranks were told COMMITTED, $(grep -c 'CKPT_EABORTED' \
        "$OUT.storm") ABORTED" >&3
    newest=$(committed | xargs -n1 | tail -1)
    eventually is_remote "$newest"
    all_load "$newest"
}

away_while_the_rest_starts_anew() {
    token=a on_hosts "0 1 2" open fill:1 save:1 wait:committed close
    eventually is_remote 1/1
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
    token=c on_hosts "0 1" open load fill:5 save:5 wait:committed close
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
    eventually is_remote 5/3
    all_load 5/3
}

# nothing_remains MAKER: when that process is killed.
nothing_remains() {
    local spaces
    spaces=$(for i in 0 1 2; do
        host on host$i -- readlink /proc/self/ns/net /proc/self/ns/pid
    done)
    is "$(printf '%s\n' "$spaces" | sort -u | wc -l)" 6 "namespaces"
    host on host1 -- sh -c 'setsid sleep 36000 & wait' 3>&- &
    disown
    host freeze host2
    kill -KILL "$1"
    eventually eval '[ -z "$(holders "$spaces")" ]'
}
