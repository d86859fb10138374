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
