#!/usr/bin/env bats
# tests/e2e/ceph.bats - the back end for RADOS over a real cluster
# (tests/ceph/cluster.py): the conformance suites of storage/store.h, a key that
# reaches its namespaces only, errors in words, and faults under load with an
# exact oracle. CKPT_TEST_CEPH=1 (make test-ceph) is all of it: 50 kills of OSDs,
# 20 of the monitor, 10 times full, 10 hangs, 10 blackouts, and rot.

CEPH=tests/ceph

setup_file() {
    export DIR=$BATS_FILE_TMPDIR/cluster
    "$CEPH/cluster.py" "$DIR" run -- \
        sh -c 'export -p | grep " CKPT_" >"$CKPT_CEPH_DIR.tmp" &&
            mv "$CKPT_CEPH_DIR.tmp" "$CKPT_CEPH_DIR.env" && exec sleep 36000' \
        >"$DIR.log" 2>&1 3>&- &
    echo $! >"$DIR.pid"
    until [ -s "$DIR.env" ] || ! kill -0 "$(cat "$DIR.pid")" 2>/dev/null; do
        sleep 0.2
    done
    grep '^# figure' "$DIR.log" >&3 || true
}

teardown_file() {
    kill -TERM "$(cat "$DIR.pid")" 2>/dev/null || true
    while kill -0 "$(cat "$DIR.pid")" 2>/dev/null; do
        sleep 0.1
    done
}

setup() {
    if ! [ -s "$DIR.env" ]; then
        why=$(tail -n 1 "$DIR.log")
        case $why in
        *missing:*) skip "no Ceph: ${why#*cluster.py: }" ;;
        esac
        echo "no cluster: $why" >&2
        return 1
    fi
    # shellcheck disable=SC1091
    . "$DIR.env"
    HOME_URL=$CKPT_TEST_RADOS
}

# one ARGUMENTS...: ceph_one; its output is in $output.
one() {
    run timeout 60 "$BUILD_DIR/tests/ceph_one" "$@"
}

says() {
    case $output in
    *"$1"*) ;;
    *)
        echo "not said: $1; but: $output" >&2
        return 1
        ;;
    esac
}

figures() {
    printf '%s\n' "$output" | grep '^# figure' >&3 || true
}

# A monitor that does not answer ends the opening in time.
hung_monitor() {
    "$CEPH/cluster.py" "$DIR" hang-mon
    began=$SECONDS
    one put a text
    "$CEPH/cluster.py" "$DIR" wake-mon
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
    bad=$("$CEPH/cluster.py" "$DIR" primary meta ckpt-rot r:rot)
    "$CEPH/cluster.py" "$DIR" kill-osd "$bad"
    "$CEPH/cluster.py" "$DIR" flip "$bad" r:rot
    "$CEPH/cluster.py" "$DIR" restart-osd "$bad"
    "$CEPH/cluster.py" "$DIR" wait
    [ "$("$CEPH/cluster.py" "$DIR" primary meta ckpt-rot r:rot)" = "$bad" ]
    # Ceph mends what it reads; until it has, there may be no answer.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        one get rot
        case $output in
        *"result -110"*) ;;
        *) break ;;
        esac
    done
    says "what will rot"
    says "result 13"
    "$CEPH/cluster.py" "$DIR" spoil meta ckpt-rot r:rot
    one get rot
    echo "# figure: all copies bad: $(echo "$output" | tail -n 1)" >&3
    says "result -4001"
}

@test "every record and blob does over a cluster what store.h says" {
    for suite in records blobs; do
        run timeout 250 "$BUILD_DIR/tests/test_store_$suite"
        [ "$status" -eq 0 ] || { echo "$output" >&2; return 1; }
        says "RADOS: "
    done
}

@test "a key that is limited to a pool and a namespace reaches nothing else" {
    export CKPT_TEST_RADOS=${HOME_URL/\/ckpt/\/other}
    one put a text
    [ "$status" -eq 1 ]
    says "open -1: rados://meta/other as client.ckptd"
    says "osd 'allow rwx pool=POOL namespace=NAMESPACE'"
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
    set -- --kills 1 --blackouts 1
    [ -z "${CKPT_TEST_CEPH:-}" ] ||
        set -- --kills 50 --monitors 20 --fulls 10 --hangs 10 --blackouts 10
    run timeout 2400 "$CEPH/storm.py" "$BUILD_DIR/tests/ceph_load" "$@"
    figures
    [ "$status" -eq 0 ] || { echo "$output" | tail -n 50 >&2; return 1; }
    says " 0 violations"
    [ -n "${CKPT_TEST_CEPH:-}" ] || return 0
    hung_monitor
    rot
}
