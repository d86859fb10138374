#!/usr/bin/env bats
# tests/e2e/remote.bats - what people see of the remote tier, and wait for:
# states and their failure domains, waiting, draining by hand, sweeping.

load ../lib/e2e

# remote_job EVERY COMMAND...: a job whose steps go to the home's remote tier.
remote_job() {
    local every=$1
    shift
    CKPT_REMOTE_EVERY=$every job "$@"
}

@test "ls, show, list: REMOTE, and where it is; the others lie on nodes" {
    remote_job 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    wait_quiet
    tool_is 0 ls
    is "$(cut -f2,4,12 "$OUT" | tail -2 | tr '\t\n' ' ;')" \
        "1 COMMITTED node-local: lost with its node;2 REMOTE in $HOME_DIR, read back;" \
        "the table"
    tool_is 0 ls --json
    is "$(jq -r '"\(.state) \(.failure_domain)"' "$OUT" | tail -1)" \
        "REMOTE in $HOME_DIR, read back" "the last line"
    tool_is 0 show run@2
    out_has "^state    REMOTE: in $HOME_DIR, read back$"
    tool_is 0 show run@1
    out_has "^state    COMMITTED: node-local: lost with its node$"
    tool_is 0 show --json run@2
    is "$(jq -r '"\(.state) \(.failure_domain)"' "$OUT")" \
        "REMOTE in $HOME_DIR, read back" "show --json"
    job open list close
    out_has "list ok count=2 2/1=REMOTE 1/1$"
}

@test "ckpt_wait: REMOTE, also of two daemons; in words what is not sent there" {
    remote_job 2 --ranks 2 open fill:2 save:2 wait:remote fill:3 save:3 \
        wait:committed "?wait:remote" close
    out_count "^[01] wait:remote ok" 2
    out_count "wait:remote error .*multiples of 2" 2
    tool_is 0 ls --json
    is "$(jq -r '"\(.step) \(.state)"' "$OUT" | paste -sd' ')" \
        "2 REMOTE 3 COMMITTED" "states"
    job open fill:5 save:5 wait:committed "?wait:remote" close
    out_has "wait:remote error .*remote_every"
}

# Ranks 0 and 1 of a job, each with a local store of its own.
@test "ckpt_wait: the share of another daemon is waited for, and its loss survived" {
    local a=$BATS_TEST_TMPDIR/a b=$BATS_TEST_TMPDIR/b first second
    mkdir "$a" "$b"
    export CKPT_REMOTE_EVERY=1
    timeout -k 5 100 "$JOB" --home "$HOME_DIR" --local "$a" --token t \
        --part 0/2 open fill:1 save:1 wait:committed "mark:$a/committed" \
        wait:remote close >"$OUT" 2>&1 3>&- &
    first=$!
    timeout -k 5 100 "$JOB" --home "$HOME_DIR" --local "$b" --token t \
        --part 1/2 open fill:1 save:1 wait:committed close >"$OUT.b" 2>&1 3>&- &
    second=$!
    eventually test -e "$a/committed"
    kill -KILL "$(daemon_pid "$a")" || true
    wait "$first" || complain "the first: $?"
    wait "$second" || complain "the second: $(cat "$OUT.b")"
    out_has "wait:remote ok"
    tool_is 0 ls
    out_has "	REMOTE	"
}

@test "wait: what is there, what is not, what is not sent, what will never be" {
    remote_job 2 --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:remote barrier 1:die fill:9 save:9 "?wait:committed" close
    wait_quiet
    tool_is 0 wait run@1
    out_has "^run@1	generation 1	COMMITTED	node-local: lost with its node$"
    tool_is 0 wait --state remote --timeout 5 run@latest
    out_has "^run@2	generation 1	REMOTE	in $HOME_DIR, read back$"
    tool_is 0 wait --state remote --json run@2/1
    is "$(jq -r '"\(.step) \(.state)"' "$OUT")" "2 REMOTE" "json"
    tool_is 1 wait --state remote run@1
    out_has "only steps that are multiples of 2 are"
    tool_is 10 wait run@9
    out_has "run@9 was aborted: .*rank 1"
    tool_is 10 wait --timeout 0.2 run@7
    out_has "run@7 is not there yet"
    tool_is 10 wait nobody@1
    tool_is 2 wait run
    tool_is 2 wait run@1 --each
    tool_is 2 wait run@1 --exec true
    tool_is 2 wait run@1 --state local
    tool_is 2 wait run@1 --timeout soon
}

@test "wait: a step that comes, and who has not done its part" {
    local waiting
    mkdir "$BATS_TEST_TMPDIR/b"
    start_job --ranks 1 open fill:1 save:1 wait:committed \
        "hold:$BATS_TEST_TMPDIR/go" fill:3 save:3 wait:committed close
    eventually test -e "$HOME_DIR/runs/run/RUN"
    CKPT_HOME=$HOME_DIR timeout 60 "$BUILD_DIR/bin/ckpt" wait run@3 \
        >"$BATS_TEST_TMPDIR/w" 2>&1 3>&- &
    waiting=$!
    eventually grep -qs "run@3 is not there yet" "$BATS_TEST_TMPDIR/w"
    touch "$BATS_TEST_TMPDIR/go"
    wait "$waiting" || complain "wait: $? $(cat "$BATS_TEST_TMPDIR/w")"
    grep -q "^run@3	generation 1	COMMITTED" "$BATS_TEST_TMPDIR/w" || complain "$(cat "$BATS_TEST_TMPDIR/w")"
    end_job
    # A share that is not there: its daemon is named, by host.
    remote_job 1 --ranks 1 open fill:4 save:4 wait:remote close
    wait_quiet
    rm "$HOME_DIR"/runs/run/remote/*-00000000000000000004-*
    tool_is 11 wait --state remote --timeout 0.2 run@4
    out_has "run@4 is COMMITTED, not REMOTE, waiting for $(hostname) \([0-9a-f]{8}\)$"
}

@test "wait --each: a command for every one from now on, once, in order" {
    local hook="$BATS_TEST_TMPDIR/hook" log="$BATS_TEST_TMPDIR/log" each status
    job open fill:1 save:1 wait:committed close
    cat >"$hook" <<'H'
echo "$CKPT_RUN $CKPT_STEP $CKPT_GENERATION $CKPT_STATE $CKPT_HOME" >>"$1"
ls "$CKPT_HOME/runs/run/lease" | grep -q . || echo "no lease" >>"$1"
[ "$CKPT_STEP" != 3 ] || exit 7
H
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" wait --each \
        --exec "sh $hook $log" run >"$BATS_TEST_TMPDIR/w" 2>&1 3>&- &
    each=$!
    sleep 1.5
    job open fill:2 save:2 wait:committed fill:3 save:3 wait:committed close
    eventually grep -qs "^run 3 2" "$log"
    job --resume 2 open load fill:3 save:3 wait:committed close
    eventually grep -qs "^run 3 3" "$log"
    kill -TERM "$each"
    status=0
    wait "$each" || status=$?
    is "$status" 130 "the exit status"
    is "$(paste -sd';' "$log")" \
        "run 2 2 COMMITTED $HOME_DIR;run 3 2 COMMITTED $HOME_DIR;run 3 3 COMMITTED $HOME_DIR" \
        "what ran"
    is "$(grep -c "run@3: ended with 7: sh $hook" "$BATS_TEST_TMPDIR/w")" 2 \
        "failures told"
}

@test "wait --each: before the run is there; lines; REMOTE; a signal meets the command" {
    local each status=0
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" wait --each --state remote \
        --json run >"$BATS_TEST_TMPDIR/w" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
    each=$!
    eventually grep -qs "no run 'run'.*waiting" "$BATS_TEST_TMPDIR/err"
    remote_job 2 open fill:1 save:1 wait:committed fill:2 save:2 wait:remote close
    eventually grep -qs REMOTE "$BATS_TEST_TMPDIR/w"
    kill -INT "$each"
    wait "$each" || status=$?
    is "$status" 130 "the exit status"
    is "$(jq -r '"\(.step) \(.state)"' "$BATS_TEST_TMPDIR/w")" "2 REMOTE" lines
    tool_is 11 wait --each --timeout 1 run
    out_has "no further checkpoint in time"
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" wait --each run \
        --exec "touch $BATS_TEST_TMPDIR/begun; exec sleep 100" \
        >"$BATS_TEST_TMPDIR/w" 2>&1 3>&- &
    each=$!
    sleep 1.5
    job open fill:3 save:3 wait:committed close
    eventually test -e "$BATS_TEST_TMPDIR/begun"
    kill -TERM "$each"
    status=0
    wait "$each" || status=$?
    is "$status" 130 "the exit status"
    grep -q "killed by signal 15" "$BATS_TEST_TMPDIR/w" || complain "$(cat "$BATS_TEST_TMPDIR/w")"
}
