#!/usr/bin/env bats
# tests/e2e/ceph_homes.bats - homes in RADOS on a real cluster
# (tests/ceph/cluster.py), and what is said where there is none to be had.

load ../lib/e2e
load ../lib/ceph

setup() {
    e2e_setup
    ceph_setup
    ceph_enter
    # Of each test its own.
    HOME_DIR=${CKPT_TEST_RADOS/\/ckpt/\/ckpt-$BATS_TEST_NUMBER}
    LOCAL=$BATS_TEST_TMPDIR/local
    export CKPT_LOCAL=$LOCAL
}

# doctor HOME: its exit status in $status, what it said in $OUT.
doctor() {
    status=0
    timeout -k 5 100 "$BUILD_DIR/bin/ckpt" doctor --home "$1" >"$OUT" 2>&1 3>&- ||
        status=$?
}

# diagnoses HOME SEEN FIX: doctor fails, and says these.
diagnoses() {
    doctor "$1"
    is "$status" 1 "exit status of doctor"
    out_has "^ceph +FAIL .*$2"
    out_has "fix: .*$3"
}

@test "doctor says whether a home in RADOS can be had, and what to do" {
    doctor "$HOME_DIR"
    is "$status" 0 "exit status of doctor"
    out_has '^ceph +ok .*records in pool meta, blobs in pool data'
    out_has '^ceph speed +ok .*an object created, read and removed in'
    out_has '^home +ok .*the first trainer makes it'
    sed 's/key = .*/key = AQBVZ0Jn0gAAABAAbad0bad0bad0bad0bad0bA==/' \
        "$DIR/client.ckptd.keyring" >"$BATS_TEST_TMPDIR/keyring"
    sed "s,^keyring = .*,keyring = $BATS_TEST_TMPDIR/keyring," \
        "$CKPT_CEPH_CONF" >"$BATS_TEST_TMPDIR/conf"
    diagnoses "${HOME_DIR/$CKPT_CEPH_CONF/$BATS_TEST_TMPDIR/conf}" \
        'the monitors \(.*:6789.*\) do not take the key of client.ckptd' \
        'ceph auth get client.ckptd'
    diagnoses "${HOME_DIR/user=ckptd/user=nobody}" \
        'no key for client.nobody' 'ceph auth get client.nobody'
    diagnoses "${HOME_DIR/meta/nopool}" 'pool nopool is not there' \
        'ceph osd pool create nopool'
    diagnoses "${HOME_DIR/\/ckpt/\/other}" 'the key may not do this' \
        'ceph auth caps client.ckptd .*pool=meta namespace=other'
    diagnoses "${HOME_DIR/conf=*&/conf=/no/such.conf&}" \
        '/no/such.conf' 'conf=PATH'
    cluster fill
    until doctor "$HOME_DIR" && [ "$status" -eq 1 ]; do sleep 0.2; done
    diagnoses "$HOME_DIR" 'pool meta: creating an object: full' 'ceph df'
    cluster unfill
    cluster wait
}

@test "without librados its package is named" {
    mkdir "$BATS_TEST_TMPDIR/lib"
    echo broken >"$BATS_TEST_TMPDIR/lib/librados.so.2"
    export LD_LIBRARY_PATH=$BATS_TEST_TMPDIR/lib
    diagnoses "$HOME_DIR" 'RADOS needs librados' 'apt-get install librados2'
    tool_is 1 ls
    out_has 'apt-get install librados2'
}

@test "a cluster that does not answer is told within its time" {
    cluster hang-mon
    began=$SECONDS
    tool ls
    cluster wake-mon
    is "$status" 1 "exit status of ls"
    out_has 'the monitors \(.*\) did not answer in time .*see `ceph -s`'
    at_most $((SECONDS - began)) 15 "seconds"
}
