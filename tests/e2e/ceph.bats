#!/usr/bin/env bats
# tests/e2e/ceph.bats - the back end for RADOS over a real cluster
# (tests/ceph/cluster.py): the conformance suites of storage/store.h, a key that
# reaches its namespaces only, errors in words, and faults under load with an
# exact oracle. CKPT_TEST_CEPH=1 (make test-ceph) is all of it: 50 kills of OSDs,
# 20 of the monitor, 10 times full, 10 partitions of the network, 10 hangs, 10
# blackouts, and rot.

load ../lib/ceph
load ../lib/netns

setup() {
    ceph_setup
    HOME_URL=$CKPT_TEST_RADOS
}

# client COMMAND...: where the cluster's client is; its output is in $output.
client() {
    run timeout 250 "$CEPH/cluster.py" "$DIR" in client -- "$@"
}

# one ARGUMENTS...: ceph_one.
one() {
    client timeout 60 "$BUILD_DIR/tests/ceph_one" "$@"
}

figures() {
    printf '%s\n' "$output" | grep '^# figure' >&3 || true
}

storm() {
    run timeout 2400 "$CEPH/storm.py" "$BUILD_DIR/tests/ceph_load" "$@"
    figures
    [ "$status" -eq 0 ] || { echo "$output" | tail -n 200 >&2; return 1; }
    says " 0 violations"
}

# A monitor that does not answer ends the opening in time.
hung_monitor() {
    cluster hang-mon
    began=$SECONDS
    one put a text
    cluster wake-mon
    [ "$status" -eq 1 ]
    says "open -110"
    says "monitors"
    [ $((SECONDS - began)) -lt 30 ]
}

# One bad copy heals, all bad is an error in time.
rot() {
    export CKPT_TEST_RADOS=${HOME_URL/\/ckpt/\/ckpt-rot}
    one put rot "what will rot"
    says "result 0"
    bad=$(cluster primary meta ckpt-rot r:rot)
    cluster kill-osd "$bad"
    cluster flip "$bad" r:rot
    cluster restart-osd "$bad"
    cluster wait
    # Writes do not wait for it to be back.
    for _ in $(seq 240); do
        [ "$(cluster primary meta ckpt-rot r:rot)" != "$bad" ] || break
        sleep 0.5
    done
    [ "$(cluster primary meta ckpt-rot r:rot)" = "$bad" ]
    # Ceph mends what it reads; until it has, there may be no answer.
    for _ in $(seq 10); do
        began=$SECONDS
        one get rot
        [ $((SECONDS - began)) -lt 30 ]
        case $output in
        *"result -110"*) ;;
        *) break ;;
        esac
    done
    says "what will rot"
    says "result 13"
    cluster spoil meta ckpt-rot r:rot
    one get rot
    echo "# figure: all copies bad: $(echo "$output" | tail -n 1)" >&3
    says "result -4001"
}

@test "every record and blob does over a cluster what store.h says" {
    # Blobs in the erasure-coded pool, and in that of the records.
    for CKPT_TEST_RADOS in "$HOME_URL" "${HOME_URL/data_pool=data&/}"; do
        export CKPT_TEST_RADOS
        for suite in records blobs; do
            client "$BUILD_DIR/tests/test_store_$suite"
            [ "$status" -eq 0 ] || { echo "$output" >&2; return 1; }
            says "RADOS: "
        done
    done
}

@test "a key that is limited to a pool and a namespace reaches nothing else" {
    export CKPT_TEST_RADOS=${HOME_URL/\/ckpt/\/other}
    one put a text
    [ "$status" -eq 1 ]
    says "open -1: rados://meta/other as client.ckptd"
    says "osd 'allow rw pool=meta namespace=other, allow rw pool=data namespace=other'"
}

@test "an erasure-coded pool is refused for records, in words" {
    export CKPT_TEST_RADOS=${HOME_URL/meta/data}
    one put a text
    [ "$status" -eq 1 ]
    says "pool data holds no catalogues"
}

@test "a user without a key, a pool and a file that are not there, are named" {
    CKPT_TEST_RADOS=${HOME_URL/user=ckptd/user=nobody}
    export CKPT_TEST_RADOS
    one put a text
    says "client.nobody"
    CKPT_TEST_RADOS=${HOME_URL/meta/nopool}
    one put a text
    says "pool nopool"
    CKPT_TEST_RADOS="rados://meta/ckpt?conf=/no/such.conf"
    one put a text
    says "/no/such.conf"
}

@test "faults under load leave nothing untrue, and nobody waiting" {
    set -- --kills 1
    [ -z "$CKPT_CEPH_NO_NET" ] || set -- "$@" --blackouts 1
    [ -z "${CKPT_TEST_CEPH:-}" ] ||
        set -- --kills 50 --monitors 20 --fulls 10 --hangs 10 --blackouts 10
    storm "$@"
    [ -n "${CKPT_TEST_CEPH:-}" ] || return 0
    hung_monitor
    rot
}

# A client that is cut off is answered in time, and can close; opening fails.
cut_off() {
    export CKPT_TEST_RADOS=${HOME_URL/\/ckpt/\/ckpt-off}
    for shape in answers requests; do
        cut="cluster client" out=$BATS_TEST_TMPDIR/$shape
        [ $shape = answers ] || cut="client cluster"
        timeout 60 "$CEPH/cluster.py" "$DIR" in client -- \
            "$BUILD_DIR/tests/ceph_one" when "$out.go" put $shape text \
            >"$out" 2>&1 3>&- &
        until grep -q opened "$out"; do sleep 0.1; done
        cluster lose $cut
        touch "$out.go"
        began=$SECONDS
        wait $!
        output=$(cat "$out")
        says "result -110"
        [ $((SECONDS - began)) -lt 25 ]
        one get $shape
        says "open -110"
        cluster carry $cut
        one get $shape
        # Whether it was done is not known, and it may be done late.
        case $output in
        *text* | *"result -2"* | *"result -110"*) ;;
        *) says "an answer that is true" ;;
        esac
    done
}

@test "a network that loses what some send leaves nothing untrue, and nobody waiting" {
    [ -z "$CKPT_CEPH_NO_NET" ] || skip "$CKPT_CEPH_NO_NET"
    set -- --partitions 1 --seed 5 # answers are lost
    [ -z "${CKPT_TEST_CEPH:-}" ] || set -- --partitions 10
    export CKPT_TEST_RADOS=${HOME_URL/\/ckpt/\/ckpt-cut}
    storm "$@"
    [ -z "${CKPT_TEST_CEPH:-}" ] || cut_off
}

@test "nothing of a cluster whose maker is killed remains" {
    pid=$(cat "$DIR.pid")
    spaces=$(cluster in router -- readlink /proc/self/ns/net
        for name in client mon.a osd.0 osd.1 osd.2; do
            cluster in $name -- readlink /proc/self/ns/net
        done)
    [ -n "$CKPT_CEPH_NO_NET" ] ||
        [ "$(printf '%s\n' "$spaces" | sort -u | wc -l)" -eq 6 ]
    command=$(cat "$DIR.command")
    cluster kill-osd 1
    cluster restart-osd 1
    kill -KILL "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        left=$(grep -ls "$DIR/[c]eph.conf" /proc/[0-9]*/cmdline || true)
        ! kill -0 "$command" 2>/dev/null || left+=" the command"
        [ -n "$CKPT_CEPH_NO_NET" ] || left+=$(holders "$spaces")
        [ -n "$left" ] || return 0
        sleep 0.5
    done
    echo "left: $left" >&2
    return 1
}
