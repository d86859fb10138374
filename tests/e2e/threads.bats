#!/usr/bin/env bats
# tests/e2e/threads.bats - where io_uring is refused, threads do the I/O, and
# doctor says why.

load ../lib/e2e

setup() {
    e2e_setup
    NO_URING=$BUILD_DIR/tests/no_uring
    ln -s "$BUILD_DIR/bin/ckptd" "$BATS_TEST_TMPDIR/ckptd"
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$NO_URING" "$CKPTD" \
        >"$BATS_TEST_TMPDIR/ckptd.sh"
    chmod +x "$BATS_TEST_TMPDIR/ckptd.sh"
}

@test "a save and a load work on threads" {
    CKPT_DAEMON=$BATS_TEST_TMPDIR/ckptd.sh job --ranks 2 --tensors 6 --rows 1024 \
        --columns 1024 open fill:1 save:1 wait:committed touch:1:2 save:2 \
        wait:committed close
    wait_quiet
    grep -q "threads" "$LOCAL/ckptd.log" || complain "not on threads"
    ! grep -q "io_uring (" "$LOCAL/ckptd.log" || complain "on io_uring"
    CKPT_DAEMON=$BATS_TEST_TMPDIR/ckptd.sh job --ranks 3 --tensors 6 \
        --rows 1024 --columns 1024 open load read:1/1 close
    out_count "load ok id=2/1 version=1" 3
    wait_quiet
    # What one engine wrote, the other reads.
    job --ranks 2 --tensors 6 --rows 1024 --columns 1024 open load fill:3 \
        save:3 wait:committed close
    out_count "load ok id=2/1 version=1" 2
    tool_is 0 verify --deep
}

@test "doctor tells that io_uring is refused, and what to do" {
    job open fill:1 save:1 wait:committed close
    wait_quiet
    status=0
    CKPT_HOME=$HOME_DIR "$NO_URING" "$BUILD_DIR/bin/ckpt" doctor >"$OUT" 2>&1 ||
        status=$?
    is $status 0 "exit status"
    out_has "^io_uring +warn .*(not permitted|seccomp)"
    out_has "fix: .*seccomp"
    CKPT_HOME=$HOME_DIR "$NO_URING" "$BUILD_DIR/bin/ckpt" doctor --json >"$OUT"
    is "$(jq -r 'select(.check == "io_uring") | .result' "$OUT")" warn "its result"
    CKPT_HOME=$HOME_DIR "$NO_URING" "$BUILD_DIR/bin/ckpt" verify >"$OUT"
}

@test "a daemon on threads that is killed loses nothing" {
    export CKPT_DAEMON=$BATS_TEST_TMPDIR/ckptd.sh
    start_job --ranks 2 --tensors 6 --rows 512 --columns 256 --keep-last 3 \
        open fill:1 save:1 wait:committed storm:2:25:30000
    RANDOM_SEED=5
    eventually eval '[ "$(grep -c "wait:committed ok" "$OUT")" -eq 2 ]'
    while kill -0 "$job_pid" 2>/dev/null; do
        random 300
        sleep "0.$(printf %03d "$random")"
        pid=$(daemon_pid)
        [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    done
    end_job
    is "$status" 0 "exit status of the job"
    promised=$(sed -n 's/.*saved:\([0-9]*\) ok$/\1/p' "$OUT" | sort -n | tail -1)
    job --ranks 3 --tensors 6 --rows 512 --columns 256 open load close
    out_count "load ok" 3
    newest=$(sed -n 's,.*load ok id=\([0-9]*\)/.* version=\1 .*,\1,p' "$OUT" | sort -u)
    at_least "$newest" "${promised:-0}" "the step that was loaded"
    wait_quiet
    tool_is 0 verify --deep
}
