#!/usr/bin/env bats
# tests/ceph/ceph_hosts.bats - a job on three hosts (tests/hosts/hosts.py) with
# its home in a real cluster (cluster.py), whose network they are on: all that
# tests/e2e/hosts.bats has, and hosts that are cut off from the cluster: before
# they have voted, after that, and to die. What has been decided without them is
# read by the administrator, byte for byte, before they are back and after.

load ../lib/e2e
load ../lib/ceph
load ../lib/netns
load ../hosts/scenarios

setup_file() {
    HOSTS_DIR=$BATS_FILE_TMPDIR/hosts
    export HOSTS_DIR
    start_cluster "${NAMES[@]}" -- "$HOSTS" "$HOSTS_DIR" run \
        --net "$BATS_FILE_TMPDIR/cluster/net" "${NAMES[@]}" --
}

setup() {
    e2e_setup
    ceph_setup
    hosts_setup
    CEPH_LOAD=$BUILD_DIR/tests/ceph_load CEPH_ONE=$BUILD_DIR/tests/ceph_one
    CEPH_GHOST=$BUILD_DIR/tests/ceph_ghost
    ceph_enter
    SPACE=ckpt-$BATS_TEST_NUMBER # of each test its own
    HOME_DIR=${CKPT_TEST_RADOS/\/ckpt/\/$SPACE}
    patience 2 # a request: 9 s, and one operation more
}

teardown() {
    local name
    hosts_teardown
    [ -z "${load:-}" ] || kill -KILL $load 2>/dev/null || true
    e2e_teardown
    for name in "${NAMES[@]}"; do
        reconnect $name 2>/dev/null || true
    done
}

disconnect() {
    cluster lose "$1" cluster
    cluster lose cluster "$1"
}

reconnect() {
    cluster carry "$1" cluster || true # half a cut is mended as well
    cluster carry cluster "$1"
}

# Hosts of these suites hang or are cut off, as it comes.
away() {
    random 2
    [ $random -eq 0 ] || disconnect "$1"
    [ $random -eq 1 ] || host freeze "$1"
    gone=$random
}

back() {
    [ $gone -eq 0 ] || reconnect "$1"
    [ $gone -eq 1 ] || host thaw "$1"
}

# die_cut_off HOST ROUND: in a second, what it sends having got lost since before.
# In odd rounds it stands still, and its kernel keeps what was sent; in others it
# is dead, and little of that outlives its connections. By `come_late HOST` that
# arrives.
die_cut_off() {
    sleep 1
    [ $(($2 % 2)) -eq 0 ] || host freeze "$1"
    [ $(($2 % 2)) -eq 1 ] || host crash "$1"
}

come_late() {
    cluster carry "$1" cluster
}

# start_save_without RANK: on all hosts, but that rank comes to it by `release
# late`; begun.HOST is there once a rank of that host has begun it. Every rank
# tells what became of it, and after `release on` one more save is committed.
start_save_without() {
    before=(open fill:1 save:1 wait:remote fill:2)
    start_ready "$1:hold:$BATS_TEST_TMPDIR/go.late" "?save:2" \
        mark:"$BATS_TEST_TMPDIR/begun.@" "?wait:committed" barrier \
        mark:"$BATS_TEST_TMPDIR/told.@" hold:"$BATS_TEST_TMPDIR/go.on" \
        fill:3 save:3 wait:committed close
    release 0 1 2
    seen begun.0 begun.1 begun.2
}

# snapshot FILE: every object of this home, by the digest of what it holds, and
# every key of its catalogues.
snapshot() {
    cluster dump $SPACE >"$BATS_TEST_TMPDIR/dump" || complain "no dump: $?"
    grep -q ' r:runs/run/RUN ' "$BATS_TEST_TMPDIR/dump" || complain "an empty dump"
    LC_ALL=C sort "$BATS_TEST_TMPDIR/dump" >"$BATS_TEST_TMPDIR/$1"
}

# unchanged: all that was there is what it was (nothing removes in these tests);
# what has come meanwhile is in $come, objects' names.
unchanged() {
    local lost
    snapshot now
    lost=$(LC_ALL=C comm -23 "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/now")
    [ -z "$lost" ] || complain "these were written over, or removed: $lost"
    come=$(LC_ALL=C comm -13 "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/now" |
        awk '{ print $2 }')
}

# two_have_voted STEP: until then, of that step of the first generation.
two_have_voted() {
    local vote tries
    vote=r:runs/run/vote/$(printf '%08x-%020d' 1 "$1")
    for tries in $(seq 40); do
        snapshot votes
        [ "$(grep -c " $vote" "$BATS_TEST_TMPDIR/votes")" -lt 2 ] || return 0
        sleep 0.2
    done
    cat "$OUT".[012] >"$OUT"
    complain "$vote: two did not vote, $tries times"
}

@test "what three hosts save, three hosts load, and two in another layout" {
    three_save_three_and_two_load
}

@test "hosts are destroyed: the rest goes on in other layouts, from drives and home" {
    lost_hosts_leave_the_rest
}

@test "a save whose third host hangs is aborted at its deadline, by its name" {
    hung_host_aborts
}

@test "a host that is cut off during a save: aborted by its name, and followed late" {
    token=a start_save_without 5
    local cut=$SECONDS
    disconnect host2
    release late # so it votes, to nobody
    seen told.0 told.1
    at_most $((SECONDS - cut)) 20 "seconds"
    cat "$OUT.0" "$OUT.1" >"$OUT"
    out_count "wait:committed error CKPT_EABORTED .*step 2: .*host2.* had not \
voted within 4000 ms" 4
    is "$(committed) and $(saves ABORTED)" "1/1 and 2/1" "saves"
    snapshot before
    reconnect host2
    echo "# figure: host2 was cut off for $((SECONDS - cut)) s" >&3
    seen told.2
    cp "$OUT.2" "$OUT"
    out_count "wait:committed error CKPT_EABORTED .*step 2: " 2
    unchanged
    is "$(committed) and $(saves ABORTED)" "1/1 and 2/1" "saves"
    release on
    end_parts 0 1 2
    is $status 0 "failed parts"
    out_count "save:3 ok" 6
    out_count "wait:committed ok" 6
    eventually is_remote 3/1
    is "$(committed) and $(saves ABORTED)" "1/1 3/1 and 2/1" "saves"
    all_load 3/1
}

@test "a host that is cut off once it has voted: committed, and followed late" {
    decide=60000
    token=a start_save_without 0
    two_have_voted 2
    disconnect host2
    release late
    seen told.0 told.1
    cat "$OUT.0" "$OUT.1" >"$OUT"
    out_count "wait:committed ok" 4
    is "$(committed)" "1/1 2/1" "saves"
    [ ! -e "$BATS_TEST_TMPDIR/told.2" ] || complain "host2 cannot know: $(cat "$OUT.2")"
    snapshot before
    reconnect host2
    seen told.2
    cp "$OUT.2" "$OUT"
    out_count "wait:committed ok" 2
    unchanged
    release on
    end_parts 0 1 2
    is $status 0 "failed parts"
    out_count "wait:committed ok" 12
    eventually is_remote 3/1
    all_load 3/1
}

# Its vote was on its way. That it comes late is no wonder; that anything changes
# which others have decided would be one.
@test "what a host that died cut off had sent changes nothing that others decided" {
    local round start late=0
    for round in $(seq $((1 + rounds / 10))); do
        start=$((3 * round - 2))
        token=a-$round start_save_without 5
        cluster lose host2 cluster
        release late
        die_cut_off host2 $round
        kill "${part[0]}" "${part[1]}"
        end_parts 0 1
        # Two go on without it: what was undecided is aborted.
        token=b-$round on_hosts "0 1" --decide-ms $decide open load fill:2 \
            save:2 wait:remote close
        out_count "load ok id=1/$start version=1" 4
        [[ " $(saves ABORTED) " == *" 2/$start "* ]] || complain "$(saves ABORTED)"
        snapshot before
        come_late host2
        sleep 10
        host crash host2
        end_parts 2
        unchanged
        late=$((late + $(echo "$come" | grep -c . || true)))
        token=c-$round on_hosts "0 1 2" open load close
        out_count "load ok id=2/$((start + 1)) version=2" 6
        unchanged
    done
    echo "# figure: $round hosts died cut off, $late of their objects and keys came late" >&3
    at_least $late 1 "what came late"
}

# How many names of their own those who died have claimed.
ghosts() {
    "$CEPH/cluster.py" "$DIR" in client -- "$CEPH_ONE" list runs/ghost |
        grep -c '^[0-9]*-'
}

# Until the load has come that many rounds further.
rounds_pass() {
    local from
    from=$(od -An -tu4 "$CKPT_TEST_ROUNDS")
    eventually eval '[ $(od -An -tu4 "$CKPT_TEST_ROUNDS") -ge '$((from + $1))' ]'
}

# The oracle is ceph_load's: its clients are on host0 and host1, and one on host2
# claims what they claim, and dies with its claims on their way.
@test "what hosts claim that are cut off, hang and die takes nothing from others" {
    local i ghost round before names=0
    export CKPT_TEST_RADOS=$HOME_DIR CKPT_TEST_ROUNDS=$BATS_TEST_TMPDIR/rounds
    "$CEPH/cluster.py" "$DIR" in client -- "$CEPH_LOAD" \
        $(for i in 0 1; do echo /proc/$(cat "$HOSTS_DIR/host$i.pid")/ns/net; done) \
        >"$OUT.load" 2>&1 3>&- &
    load=$!
    RANDOM_SEED=3
    # On a busy machine it takes more of them until something comes late.
    for round in 1 2 3 4 5 6 7 8; do
        [ $round -le $((2 + rounds / 10)) ] || [ $names -eq 0 ] || break
        : >"$OUT.ghost"
        host on host2 -- "$CEPH_GHOST" >"$OUT.ghost" 2>&1 3>&- &
        ghost=$!
        eventually grep -q opened "$OUT.ghost"
        random 10
        sleep 1.$random
        cluster lose host2 cluster
        [ $((round % 2)) -eq 0 ] || disconnect host1
        die_cut_off host2 $round
        if [ $((round % 2)) -eq 1 ]; then
            sleep 3 # longer than a claim waits for its answer
            reconnect host1
        fi
        rounds_pass 4 # others have decided
        before=$(ghosts)
        come_late host2
        sleep 10
        host crash host2
        wait $ghost || true
        names=$((names + $(ghosts) - before))
    done
    kill -TERM $load
    wait $load || complain "the load: $? $(cat "$OUT.load")"
    grep '^# figure' "$OUT.load" >&3
    echo "# figure: of clients that died cut off, $names of their own names came late" >&3
    grep -q " 0 violations" "$OUT.load"
    at_least $names 1 "names that came late"
}

@test "hosts that are away and come back late change no decision" {
    late_hosts_change_nothing 1000
}

@test "a host that is away while the rest start anew resumes from nothing else" {
    away_while_the_rest_starts_anew
}

@test "nothing of hosts whose maker is killed remains" {
    nothing_remains "$(cat "$DIR.pid")"
}
