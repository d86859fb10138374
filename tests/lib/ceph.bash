# tests/lib/ceph.bash - a real Ceph cluster (tests/ceph/cluster.py) for a suite:
# started before its first test, ended after its last. Without Ceph the tests
# are skipped, and say what is missing.

CEPH=tests/ceph

setup_file() {
    start_cluster --
}

# start_cluster [HOST...] -- [COMMAND...]: what the cluster is there for is run by
# COMMAND.
start_cluster() {
    export DIR=$BATS_FILE_TMPDIR/cluster
    "$CEPH/cluster.py" "$DIR" run "$@" \
        sh -c 'export -p | grep " CKPT_" >"$CKPT_CEPH_DIR.tmp" &&
            echo $$ >"$CKPT_CEPH_DIR.command" &&
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
    rm -rf "$DIR" # a test kills who would
}

cluster() {
    "$CEPH/cluster.py" "$DIR" "$@"
}

# In setup(): the environment that cluster.py describes, or skip.
ceph_setup() {
    if ! [ -s "$DIR.env" ]; then
        why=$(tail -n 1 "$DIR.log")
        case $why in
        *missing:* | *"no network namespaces"*)
            skip "no Ceph: ${why#*cluster.py: }"
            ;;
        esac
        echo "no cluster: $why" >&2
        return 1
    fi
    # shellcheck disable=SC1091
    . "$DIR.env"
}

# patience SECONDS: of librados in this test, by the option that Ceph's
# configuration has for it.
patience() {
    {
        cat "$CKPT_CEPH_CONF"
        printf '[client]\nrados_mon_op_timeout = %s\nrados_osd_op_timeout = %s\n' \
            "$1" "$1"
    } >"$BATS_TEST_TMPDIR/patience.conf"
    HOME_DIR=${HOME_DIR/$CKPT_CEPH_CONF/$BATS_TEST_TMPDIR/patience.conf}
}

# What e2e.bash runs of BUILD_DIR, runs where the cluster's client is.
ceph_enter() {
    local real=$BUILD_DIR program
    BUILD_DIR=$BATS_TEST_TMPDIR/in-client
    mkdir -p "$BUILD_DIR/bin" "$BUILD_DIR/tests"
    for program in bin/ckpt bin/ckptd tests/job; do
        printf '#!/bin/sh\nexec "%s" "%s" in client -- "%s" "$@"\n' \
            "$ROOT/$CEPH/cluster.py" "$DIR" "$real/$program" \
            >"$BUILD_DIR/$program"
        chmod +x "$BUILD_DIR/$program"
    done
    JOB=$BUILD_DIR/tests/job CKPTD=$BUILD_DIR/bin/ckptd
}

# says TEXT: $output has it.
says() {
    case $output in
    *"$1"*) ;;
    *)
        echo "not said: $1; but: $output" >&2
        return 1
        ;;
    esac
}
