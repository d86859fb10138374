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
    ceph_enter
    SPACE=ckpt-$BATS_TEST_NUMBER # of each test its own
    HOME_DIR=${CKPT_TEST_RADOS/\/ckpt/\/$SPACE}
    patience 1 # a request: 4.5 s, and one operation more
}

teardown() {
    local name
    hosts_teardown
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

# start_save_without RANK: on all hosts, but that rank comes to it by `release
# late`; begun.HOST is there once a rank of that host has begun it. Every rank
# tells what became of it, and after `release on` one more save is committed.
start_save_without() {
    token=a
    before=(open fill:1 save:1 wait:committed fill:2)
    start_ready "$1:hold:$BATS_TEST_TMPDIR/go.late" "?save:2" \
        mark:"$BATS_TEST_TMPDIR/begun.@" "?wait:committed" barrier \
        mark:"$BATS_TEST_TMPDIR/told.@" hold:"$BATS_TEST_TMPDIR/go.on" \
        fill:3 save:3 wait:committed close
    release 0 1 2
    seen begun.0 begun.1 begun.2
}

# snapshot FILE: every object of this home, by the digest of what it holds.
snapshot() {
    cluster dump $SPACE | LC_ALL=C sort >"$BATS_TEST_TMPDIR/$1"
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

# has_voted STEP COUNT: so many daemons, for that step of the first generation.
has_voted() {
    snapshot votes
    [ "$(grep -c "r:runs/run/vote/$(printf '%08x-%020d' 1 "$1")" \
        "$BATS_TEST_TMPDIR/votes")" -ge "$2" ]
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
    start_save_without 5
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
    out_count "wait:committed ok" 12
    eventually is_remote 3/1
    is "$(committed) and $(saves ABORTED)" "1/1 3/1 and 2/1" "saves"
    all_load 3/1
}

@test "a host that is cut off once it has voted: committed, and followed late" {
    decide=60000
    start_save_without 0
    eventually has_voted 2 2
    disconnect host2
    release late
    seen told.0 told.1
    cat "$OUT.0" "$OUT.1" >"$OUT"
    out_count "wait:committed ok" 8
    is "$(committed)" "1/1 2/1" "saves"
    [ ! -e "$BATS_TEST_TMPDIR/told.2" ] || complain "host2 cannot know: $(cat "$OUT.2")"
    snapshot before
    reconnect host2
    seen told.2
    cp "$OUT.2" "$OUT"
    out_count "wait:committed ok" 4
    unchanged
    release on
    end_parts 0 1 2
    is $status 0 "failed parts"
    out_count "wait:committed ok" 18
    eventually is_remote 3/1
    all_load 3/1
}

# What it had sent before it died arrives when its link is back. That a vote of
# the dead comes late is no wonder; that a decision changes would be one.
@test "what a host that died cut off had sent changes nothing that others decided" {
    local round first newest late=0
    RANDOM_SEED=7
    for round in $(seq $((1 + rounds / 5))); do
        # Three generations a round: the second one saves it.
        first=$((round * 100)) newest=$((round * 100 + 99))/$((3 * round - 1))
        token=a-$round
        before=(open "?load" fill:$round)
        start_ready storm:$first:90:60000 close
        release 0 1 2
        random 10
        sleep 1.$random
        cluster lose host2 cluster
        random 10
        sleep 0.$random
        host crash host2
        kill "${part[0]}" "${part[1]}"
        end_parts 0 1 2
        # Two go on without it: what was undecided is aborted.
        token=b-$round on_hosts "0 1" --decide-ms $decide open load \
            fill:${newest%/*} save:${newest%/*} wait:remote close
        all_quiet
        snapshot before
        cluster carry host2 cluster
        sleep 10
        unchanged
        late=$((late + $(echo "$come" | grep -c . || true)))
        token=c-$round on_hosts "0 1 2" open load close
        out_count "load ok id=$newest " 6
        unchanged
    done
    echo "# figure: $round hosts died cut off, $late of their objects came late" >&3
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
