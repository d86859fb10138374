#!/usr/bin/env bats
# tests/e2e/user.bats - all of it as an ordinary user, and what another user
# may do: look at what is open to all, and nothing else.

load ../lib/e2e

setup() {
    e2e_setup
    need_root
    open_folder
    chown 65534:65534 "$HOME_DIR"
}

# other_job ARGUMENT...
other_job() {
    status=0
    run_as_other timeout 100 "$OPEN_DIR/tests/job" --home "$HOME_DIR" "$@" \
        >"$OUT" 2>&1 || status=$?
    [ $status -eq 0 ] || complain "job $*: exit status $status"
}

other_tool() {
    status=0
    run_as_other env CKPT_HOME="$HOME_DIR" "$OPEN_DIR/bin/ckpt" "$@" \
        >"$OUT" 2>&1 || status=$?
}

@test "an ordinary user saves, is killed, loads, looks, pins and collects" {
    other_job --ranks 3 --tensors 6 --rows 512 --columns 1024 open fill:1 \
        save:1 wait:committed fill:2 save:2 wait:staged barrier die
    wait_quiet
    other_job --ranks 2 --tensors 6 --rows 512 --columns 1024 open load \
        fill:3 save:3 wait:committed close
    out_count "load ok id=2/1 version=2" 2
    wait_quiet
    for verb in "ls" "show run@3" "where run@3" "verify --deep" "pin run@1" \
        "gc --keep-last 1 --yes" "unpin run@1" "doctor"; do
        other_tool $verb
        is $status 0 "ckpt $verb: exit status"
    done
    other_tool ls
    out_has "^run	1	1	COMMITTED"
    out_has "^run	3	2	COMMITTED"
    is "$(find "$HOME_DIR" ! -user 65534 | wc -l)" 0 "files of others"
}

@test "looking needs read access only, and no daemon" {
    other_job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    # Now everything belongs to us, and is open to read for all.
    chown -R 0:0 "$HOME_DIR"
    chmod -R a+rX,go-w "$HOME_DIR"
    find "$HOME_DIR" -printf '%p %m %s %T@\n' | sort >"$OUT.before"
    for verb in "ls" "ls --all --json" "show run@1" "where run@1:t00" \
        "verify run@1"; do
        other_tool $verb
        is $status 0 "ckpt $verb: exit status"
    done
    [ -z "$(daemon_pid)" ] || complain "a daemon was started"
    find "$HOME_DIR" -printf '%p %m %s %T@\n' | sort >"$OUT.after"
    cmp "$OUT.before" "$OUT.after"
    # What writes is refused, by name.
    for verb in "pin run@1" "gc --keep-last 1 --yes"; do
        other_tool $verb
        is $status 1 "ckpt $verb: exit status"
        out_has "$HOME_DIR"
    done
    find "$HOME_DIR" -printf '%p %m %s %T@\n' | sort >"$OUT.after"
    cmp "$OUT.before" "$OUT.after"
    status=0
    run_as_other "$OPEN_DIR/tests/job" --home "$HOME_DIR" open >"$OUT" 2>&1 ||
        status=$?
    is $status 1 "exit status"
    out_has "open error E(PERM|ACCES) .*$HOME_DIR"
    job open load
    out_has "load ok id=1/1 version=1"
}

# tool_of UID GID ARGUMENT...: that user's ckpt.
tool_of() {
    status=0
    setpriv --reuid "$1" --regid "$2" --clear-groups \
        env CKPT_HOME="$HOME_DIR" "$OPEN_DIR/bin/ckpt" "${@:3}" >"$OUT" 2>&1 \
        3>&- || status=$?
}

@test "who may read the home's folder may look, now and later" {
    chown 0:65534 "$HOME_DIR"
    chmod 2750 "$HOME_DIR"
    umask 077 # which says nothing of a home
    export CKPT_REMOTE_EVERY=1
    job --ranks 2 open fill:1 save:1 wait:remote close
    wait_quiet
    tool_is 0 pin run@1
    job --ranks 3 open load fill:2 save:2 wait:remote close
    wait_quiet
    for verb in "ls --all" "show run@1" "where --tier remote run@1:t00" \
        "verify --tier remote" "wait --timeout 0 --state remote run@2"; do
        # shellcheck disable=SC2086 # a verb and its options
        tool_of 65533 65534 $verb
        is $status 0 "ckpt $verb of the group: exit status"
        out_lacks "denied"
        # shellcheck disable=SC2086
        tool_of 65533 65533 $verb
        is $status 1 "ckpt $verb of another user: exit status"
        out_has "$HOME_DIR.*: Permission denied"
    done
    is "$(find "$HOME_DIR" -path "$LOCAL" -prune -o ! -type l -perm /027 \
        ! -perm 2750 ! -perm 0640 -print | wc -l)" 0 "things of other modes"
    is "$(find "$LOCAL" -perm /077 | wc -l)" 0 "things open in the local store"
    # Nor does the group write.
    tool_of 65533 65534 pin run@2
    is $status 1 "pin: exit status"
    out_has "belongs to uid 0"
}

@test "a home that may not be read is said, not called empty" {
    other_job open fill:1 save:1 wait:committed close
    wait_quiet
    chown -R 0:0 "$HOME_DIR"
    chmod -R go-rwx "$HOME_DIR"
    other_tool ls
    is $status 1 "exit status"
    out_has "$HOME_DIR"
}

@test "what may not be read is not called corrupt, and doctor fails on it" {
    other_job --ranks 2 --tensors 6 --rows 512 --columns 1024 open fill:1 \
        save:1 wait:committed close
    wait_quiet
    chmod 000 "$LOCAL"/seg/*
    other_tool verify run@1
    is $status 1 "verify: exit status"
    out_has "seg/000001.*: Permission denied; .*chmod"
    out_lacks "corrupt|failed before"
    at_least "$(grep -c "Permission denied" "$OUT")" 2 "chunks with the cause"
    other_tool verify --json run@1
    is "$(grep '^{' "$OUT" | jq -r '"\(.result) \(.corrupt) \(.missing)"')" \
        "error 0 0" "what verify says"
    other_tool doctor
    is $status 1 "doctor: exit status"
    out_has "latest +FAIL .*Permission denied"
    chmod 600 "$LOCAL"/seg/*
    chmod 000 "$LOCAL/STORE"
    other_tool verify run@1
    is $status 1 "verify without STORE: exit status"
    out_has "STORE: Permission denied; .*chmod"
    chmod 600 "$LOCAL/STORE"
    chmod 000 "$HOME_DIR/runs"
    other_tool doctor
    is $status 1 "doctor: exit status"
    out_has "runs +FAIL"
    out_has "fix: .*chmod"
    chmod 700 "$HOME_DIR/runs"
    other_tool doctor
    is $status 0 "doctor: exit status"
}

@test "a home of another user is said to be his" {
    chown 0:0 "$HOME_DIR"
    status=0
    run_as_other timeout 20 "$OPEN_DIR/tests/job" --home "$HOME_DIR" open \
        >"$OUT" 2>&1 || status=$?
    is $status 1 "exit status"
    out_has "folder '$HOME_DIR' belongs to uid 0, and this process runs as uid 65534"
}
