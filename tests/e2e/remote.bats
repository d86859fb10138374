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
