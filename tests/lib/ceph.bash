# tests/lib/ceph.bash - a real Ceph cluster (tests/ceph/cluster.py) for a suite:
# started before its first test, ended after its last. Without Ceph the tests
# are skipped, and say what is missing.

CEPH=tests/ceph

setup_file() {
    export DIR=$BATS_FILE_TMPDIR/cluster
    "$CEPH/cluster.py" "$DIR" run -- \
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
        *missing:*) skip "no Ceph: ${why#*cluster.py: }" ;;
        esac
        echo "no cluster: $why" >&2
        return 1
    fi
    # shellcheck disable=SC1091
    . "$DIR.env"
}

# cut_client lose|carry answers|requests: what goes to the client, or comes from
# it.
cut_client() {
    local member
    for member in mon.a osd.0 osd.1 osd.2; do
        case $2 in
        answers) cluster "$1" $member client ;;
        requests) cluster "$1" client $member ;;
        esac
    done
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
