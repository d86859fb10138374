#!/usr/bin/env bats
# tests/e2e/service.bats - what confines a daemon: its own filter over system
# calls, what it says of it, and the systemd unit: how it scores, and that a
# daemon works under what the unit takes away.

load ../lib/e2e

setup() {
    e2e_setup
    UNIT=$ROOT/tools/packaging/ckptd@.service.in
}

# status PID FIELD: of its main thread.
status_of() {
    awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

# Every thread of the daemon has a filter; built with a sanitizer, it has none.
is_filtered() {
    local task
    for task in "/proc/$1/task"/*; do
        is "$(awk '$1 == "Seccomp:" { print $2 }' "$task/status")" 2 "Seccomp of $task"
    done
}

mode() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" doctor --json |
        jq -r 'select(.check == "daemon") | .seen'
}

saves_and_loads() {
    job --ranks 2 "$@" open fill:1 save:1 wait:committed close
    job --ranks 3 "$@" open load fill:2 save:2 wait:committed close
    out_count "load ok id=1/1 version=1" 3
}

@test "system calls are filtered in every thread, and the mode says so" {
    start_daemon
    saves_and_loads
    if [ -z "$SANITIZED" ]; then
        is_filtered "$daemon"
        is "$(status_of "$daemon" NoNewPrivs)" 1 "NoNewPrivs"
        seen=$(mode)
        [[ $seen == *"; system calls are filtered" ]] || complain "mode: $seen"
    else
        seen=$(mode)
        [[ $seen == *"not filtered (not in this build)" ]] ||
            complain "mode: $seen"
    fi
    stop_daemon
    # A private one, and one that works on threads.
    start_job open fill:3 save:3 wait:committed \
        hold:"$BATS_TEST_TMPDIR/go" close
    eventually grep -q "wait:committed ok" "$OUT"
    [ -n "$SANITIZED" ] || is_filtered "$(daemon_pid)"
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    wait_quiet
    CKPTD="$BUILD_DIR/tests/no_uring $CKPTD"
    $CKPTD --foreground --local "$LOCAL" >"$BATS_TEST_TMPDIR/threads.log" 2>&1 3>&- &
    daemon=$!
    eventually test -S "$LOCAL/ckptd.sock"
    job open load fill:4 save:4 wait:committed close
    [ -n "$SANITIZED" ] || is_filtered "$daemon"
    stop_daemon
}

@test "where seccomp is refused the daemon works, and says so" {
    "$BUILD_DIR/tests/confined" deny seccomp "$CKPTD" --foreground \
        --local "$LOCAL" >"$BATS_TEST_TMPDIR/daemon.log" 2>&1 3>&- &
    daemon=$!
    eventually test -S "$LOCAL/ckptd.sock"
    saves_and_loads
    if [ -z "$SANITIZED" ]; then
        seen=$(mode)
        [[ $seen == *"not filtered (refused: Operation not permitted)" ]] ||
            complain "mode: $seen"
        grep -q "warn daemon: system calls are not filtered" \
            "$BATS_TEST_TMPDIR/daemon.log"
    fi
    stop_daemon
}

# scores FILE...: these make the unit.
scores() {
    local score
    cat "$@" | sed "s,@PREFIX@,$BUILD_DIR,; s,%i,alice,g" \
        >"$BATS_TEST_TMPDIR/ckptd@.service"
    systemd-analyze security --offline=true --no-pager \
        "$BATS_TEST_TMPDIR/ckptd@.service" >"$OUT" 2>&1 || true
    score=$(sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p' "$OUT")
    out_lacks "ignoring|Unknown"
    echo "# figure: systemd exposure score of ${*##*/}: $score (at most 2.0)" >&3
    awk -v score="${score:-10}" 'BEGIN { exit !(score <= 2.0) }' ||
        complain "the score is ${score:-not told}"
}

@test "the systemd unit scores at most 2.0, and so with the network for RADOS" {
    command -v systemd-analyze >/dev/null ||
        skip "no systemd-analyze on this machine (package systemd)"
    scores "$UNIT"
    scores "$UNIT" "$ROOT/tools/packaging/rados.conf.in"
}

# Prints the system calls of a group of systemd's, its groups resolved.
calls_of() {
    local name
    systemd-analyze syscall-filter "$1" 2>/dev/null |
        sed -n 's/^ \+\([@a-z0-9_-]*\).*/\1/p' | while read -r name; do
        case $name in
        @*) calls_of "$name" ;;
        *) echo "$name" ;;
        esac
    done
}

# What SystemCallFilter= of the unit allows, and what systemd adds to any list
# so that a program can be started at all.
unit_calls() {
    {
        calls_of @system-service
        calls_of @default
        echo seccomp
    } | sort -u >"$BATS_TEST_TMPDIR/allowed"
    {
        calls_of @privileged
        calls_of @resources
    } | sort -u >"$BATS_TEST_TMPDIR/taken"
    comm -23 "$BATS_TEST_TMPDIR/allowed" "$BATS_TEST_TMPDIR/taken"
    echo execve
}

@test "a daemon works under what the unit takes away" {
    need_root
    [ -z "$SANITIZED" ] || skip "a sanitizer's build needs what the unit takes away"
    command -v systemd-analyze >/dev/null ||
        skip "no systemd-analyze on this machine (package systemd)"
    unshare -m true 2>/dev/null || skip "no mount namespaces here"
    # The test does by hand what these lines of the unit say.
    for line in "SystemCallFilter=@system-service seccomp" \
        "SystemCallFilter=~@privileged @resources" "SystemCallErrorNumber=EPERM" \
        "CapabilityBoundingSet=" "NoNewPrivileges=yes" "ProtectSystem=strict" \
        "PrivateNetwork=yes" "LimitMEMLOCK=infinity" "UMask=0077"; do
        grep -qxF "$line" "$UNIT" || complain "the unit lacks $line"
    done
    open_folder
    cp "$BUILD_DIR/tests/confined" "$OPEN_DIR/bin"
    mkdir -m 755 "$OPEN_DIR/other"
    chown 65534:65534 "$HOME_DIR" "$OPEN_DIR/other"
    unit_calls >"$OPEN_DIR/calls"
    at_least "$(wc -l <"$OPEN_DIR/calls")" 150 "system calls that are allowed"
    grep -qx io_uring_setup "$OPEN_DIR/calls" || complain "no io_uring"
    # All mounts read-only but the home, which is where the local store is.
    cat >"$OPEN_DIR/run" <<'S'
mount --make-rprivate / && mount --bind "$1" "$1" || exit 9
awk '{ print $2 }' /proc/self/mounts | sort -u | while read -r at; do
    [ "$at" = "$1" ] || mount -o remount,bind,ro "$at" 2>/dev/null
done
cd / && umask 077
limits="prlimit --memlock=unlimited --nofile=65536"
$limits true 2>/dev/null || limits= # a container that gives no more
exec $limits setpriv --reuid 65534 --regid 65534 --clear-groups \
    --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs \
    "$2/bin/confined" allow "$2/calls" \
    "$2/bin/ckptd" --foreground --local "$1/local"
S
    unshare -m -n -i sh "$OPEN_DIR/run" "$HOME_DIR" "$OPEN_DIR" \
        >"$BATS_TEST_TMPDIR/daemon.log" 2>&1 3>&- &
    daemon=$!
    eventually test -S "$LOCAL/ckptd.sock" ||
        complain "$(cat "$BATS_TEST_TMPDIR/daemon.log")"
    is "$(status_of $daemon Uid)" 65534 "uid"
    is "$(status_of $daemon CapBnd)" 0000000000000000 "capabilities"
    is "$(status_of $daemon CapEff)" 0000000000000000 "capabilities"
    is "$(status_of $daemon NoNewPrivs)" 1 "NoNewPrivs"
    is "$(status_of $daemon Seccomp_filters)" 2 "filters: the unit's and its own"
    grep -q "io_uring (.*restricted)" "$BATS_TEST_TMPDIR/daemon.log" ||
        complain "$(cat "$BATS_TEST_TMPDIR/daemon.log")"
    for turn in 1 2; do
        run_as_other timeout 100 "$OPEN_DIR/tests/job" --home "$HOME_DIR" \
            --ranks 2 --keep-last 2 open "?load" storm:$((turn * 10)):5 close \
            >"$OUT" 2>&1 || complain "the job failed"
        out_count "saved:[0-9]* ok" 10
    done
    # Anywhere else it can write nothing, and says so.
    status=0
    run_as_other timeout 100 "$OPEN_DIR/tests/job" --home "$OPEN_DIR/other" \
        --local "$LOCAL" open >"$OUT" 2>&1 || status=$?
    is $status 1 "exit status"
    out_has "open error EROFS .*$OPEN_DIR/other"
    kill -TERM $daemon
    wait $daemon
    run_as_other env CKPT_HOME="$HOME_DIR" "$OPEN_DIR/bin/ckpt" verify --deep \
        >"$OUT" 2>&1 || complain "verify"
}
