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
    grep -qE "step 2 \(generation 1\) is REMOTE: every byte is in $HOME_DIR, [0-9.]+ s after it was committed; ([0-9]+) bytes, of which \\1 from here in [0-9.]+ s$" \
        "$LOCAL/ckptd.log" || complain "no such line in the log"
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
    tool_is 10 wait --state remote run@1
    out_has "only steps that are multiples of 2 are; ckpt drain run@1/1, on each"
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

@test "drain: the newest goes now, whatever the policy, and a named one too" {
    job open fill:1 save:1 wait:committed fill:2 save:2 wait:committed close
    wait_quiet
    tool_is 0 drain run
    out_has "^run@2	generation 1	copied	REMOTE	in $HOME_DIR, read back$"
    wait_quiet
    tool_is 0 ls
    is "$(cut -f2,4 "$OUT" | tail -2 | tr '\t\n' ' ;')" "1 COMMITTED;2 REMOTE;" states
    tool_is 0 drain --json
    is "$(jq -r '"\(.step) \(.result) \(.state)"' "$OUT")" "2 remote REMOTE" again
    is_quiet || complain "a daemon for nothing"
    tool_is 0 drain --timeout 20 run@1
    out_has "^run@1	generation 1	copied	REMOTE	"
    tool_is 10 drain run@7
    tool_is 10 drain nobody
    # A daemon that serves a job does it as well.
    start_job open fill:3 save:3 wait:committed "mark:$BATS_TEST_TMPDIR/m" \
        "hold:$BATS_TEST_TMPDIR/go" wait:remote close
    eventually test -e "$BATS_TEST_TMPDIR/m"
    OUT=$OUT.tool
    tool_is 0 drain run@3
    out_has "^run@3	.*REMOTE"
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    is "$status" 0 "the job"
}

@test "drain: each node its share; elsewhere there is nothing to do" {
    local a=$BATS_TEST_TMPDIR/a b=$BATS_TEST_TMPDIR/b first
    mkdir "$a" "$b"
    timeout -k 5 100 "$JOB" --home "$HOME_DIR" --local "$a" --token t \
        --part 0/2 open fill:1 save:1 wait:committed close >"$OUT" 2>&1 3>&- &
    first=$!
    timeout -k 5 100 "$JOB" --home "$HOME_DIR" --local "$b" --token t \
        --part 1/2 open fill:1 save:1 wait:committed close >"$OUT.b" 2>&1 3>&-
    wait "$first"
    tool_is 0 drain --local "$BATS_TEST_TMPDIR/nowhere" run
    out_has "no local store at $BATS_TEST_TMPDIR/nowhere"
    [ ! -e "$BATS_TEST_TMPDIR/nowhere" ] || complain "it was made"
    tool_is 0 drain --local "$a" run
    out_has "^run@1	.*	copied	COMMITTED	node-local: lost with any of 2 nodes; to be drained on $(hostname) \(.*\)$"
    tool_is 0 drain --local "$a" run
    out_has "	copied	COMMITTED	"
    tool_is 0 drain --local "$b" run
    out_has "	copied	REMOTE	"
    job --run other open fill:1 save:1 wait:committed close
    tool_is 0 drain --local "$a" other
    out_has "^other@1	.*nothing here	COMMITTED	"
}

@test "drain: not in time is 11, with what is left, and the next call goes on" {
    job open fill:1 save:1 wait:committed close
    wait_quiet
    : >"$HOME_DIR/runs/run/data" # no folder: nothing can be copied
    tool_is 11 drain --timeout 1 run
    out_has "run@1: all of it is still to be copied \(.*\): call again"
    tool_is 1 drain run
    out_has "run@1: "
    rm "$HOME_DIR/runs/run/data"
    tool_is 0 drain --timeout 30 run
    out_has "	copied	REMOTE	"
}

# drain_at SOCKET ARGUMENT...: where it listens; output in $OUT.SOCKET.
drain_at() {
    local status=0
    CKPT_HOME=$HOME_DIR CKPT_SOCKET=$BATS_TEST_TMPDIR/$1 timeout 30 \
        "$BUILD_DIR/bin/ckpt" drain "${@:2}" >"$OUT.$1" 2>&1 3>&- ||
        status=$?
    echo "exit status $status after $SECONDS s" >>"$OUT.$1"
}

@test "drain: a socket where no daemon answers is told, soon" {
    job open fill:1 save:1 wait:committed close
    wait_quiet
    cd "$BATS_TEST_TMPDIR"
    timeout 60 python3 - "$BATS_TEST_TMPDIR/" <<'P' 3>&- &
import socket, time
stale = socket.socket(socket.AF_UNIX)
stale.bind("stale")
dumb = socket.socket(socket.AF_UNIX)
dumb.bind("dumb")
dumb.listen(8)
time.sleep(60)
P
    eventually test -S dumb
    SECONDS=0
    drain_at none run &
    drain_at hurried --timeout 1 run &
    drain_at dumb --timeout 7 run &
    drain_at stale run
    for socket in none hurried dumb; do
        eventually grep -q "^exit status" "$OUT.$socket"
    done
    OUT=$OUT.none
    out_has "^ckpt drain: run@1: .*/none: no daemon answered in time; CKPT_SOCKET names it"
    out_has "^exit status 1 after [0-7] s"
    OUT=${OUT%.none}.stale
    out_has "/stale: a socket lies there, but no daemon listens: start ckptd"
    out_has "^exit status 1 after [0-7] s"
    OUT=${OUT%.stale}.hurried
    out_has "all of it is still to be copied \(.*CKPT_SOCKET names it.*\): call again"
    out_has "^exit status 11 after [0-3] s"
    OUT=${OUT%.hurried}.dumb
    out_has "the daemon at $BATS_TEST_TMPDIR/dumb has not answered for 5 s"
    out_has "still to be copied \(the daemon at .*timed out\)"
    out_has "^exit status 11 after ([7-9]|1[0-9]) s"
}

# Steps that have files in the remote tier, and in DIR (remote, data) names.
steps_in() {
    find "$HOME_DIR/runs/run/$1" -type f -printf '%f\n' | cut -d- -f2 | sort -u |
        sed 's/^0*//' | paste -sd' '
}

@test "gc sweeps the remote tier of what is no checkpoint, and nothing else" {
    local data=$HOME_DIR/runs/run/data file
    remote_job 1 open fill:1 save:1 wait:remote fill:2 save:2 wait:remote \
        fill:3 save:3 wait:remote close
    wait_quiet
    is "$(steps_in data)" "1 2 3" "before"
    # Of step 2 a copy that was not finished; one that nobody decided.
    rm "$HOME_DIR"/runs/run/remote/*-00000000000000000002-*
    file=$(basename "$(find "$data" -name '*-00000000000000000003-*' | head -1)")
    cp "$data/$file" "$data/${file/00000000000000000003/00000000000000000099}"
    tool_is 0 gc run
    is "$(grep -c "remote file" "$OUT")" 0 "of the newest generation"
    job open fill:4 save:4 wait:committed close
    wait_quiet
    tool_is 0 gc --keep-last 3 --dry-run run
    out_has "^remote file	runs/run/data/.*-00000000000000000001-"
    out_has "^remote file	runs/run/data/.*-00000000000000000099-"
    out_lacks "data/.*-0000000000000000000[23]-"
    is "$(steps_in data)" "1 2 3 99" "after --dry-run"
    tool_is 0 gc --keep-last 3 --yes run
    is "$(steps_in data)" "2 3" "after"
    is "$(steps_in remote)" "2 3" "records"
    tool_is 0 verify --tier remote run@3
    tool_is 0 gc --yes run
    is "$(steps_in data)" "2 3" "after it again"
}

@test "doctor tells a remote tier that does not come along" {
    remote_job 1 open fill:1 save:1 wait:remote close
    wait_quiet
    tool_is 0 doctor
    out_has "remote tier.*the newest there is step 1"
    rm -r "$HOME_DIR/runs/run/data"
    : >"$HOME_DIR/runs/run/data"
    remote_job 1 open fill:2 save:2 wait:committed fill:3 save:3 \
        wait:committed fill:4 save:4 wait:committed close
    wait_quiet
    tool doctor
    out_has "remote tier.*the last 3 checkpoints that should go there have not, the newest there is step 1; of step 4 wait the shares of: $(hostname)"
    out_has "drain-rate"
    rm "$HOME_DIR/runs/run/data"
    tool_is 0 drain run
    tool doctor
    out_has "remote tier.*the newest there is step 4"
}
