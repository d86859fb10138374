#!/usr/bin/env bats
# tests/e2e/bad_input.bats - what is wrong is refused with a message that names
# the thing and a typed error, and nothing is lost by it.

load ../lib/e2e

# A checkpoint of step 1, which must be there, and whole, whatever comes.
first_save() {
    job --ranks 2 "$@" open fill:1 save:1 wait:committed close
    wait_quiet
}

still_loads() {
    job --ranks 2 "$@" open load
    out_count "load ok id=1/1 version=1" 2
    wait_quiet
}

@test "a missing home is named" {
    job_fails --home "$BATS_TEST_TMPDIR/nowhere" open
    out_has "open error ENOENT .*$BATS_TEST_TMPDIR/nowhere"
    tool_is 10 ls --home "$BATS_TEST_TMPDIR/nowhere"
    out_has "$BATS_TEST_TMPDIR/nowhere"
    [ ! -e "$BATS_TEST_TMPDIR/nowhere" ]
}

@test "a home that is a file, or none at all, is refused" {
    touch "$BATS_TEST_TMPDIR/file"
    job_fails --home "$BATS_TEST_TMPDIR/file" open
    out_has "open error ENOTDIR .*$BATS_TEST_TMPDIR/file"
    status=0
    env -u CKPT_HOME "$JOB" open >"$OUT" 2>&1 || status=$?
    is $status 1 "exit status"
    out_has "open error EINVAL .*CKPT_HOME"
    status=0
    env -u CKPT_HOME "$BUILD_DIR/bin/ckpt" ls >"$OUT" 2>&1 || status=$?
    is $status 2 "exit status"
    out_has "CKPT_HOME"
}

@test "a local store may lie in a new home; other folders are named" {
    LOCAL=$HOME_DIR/seg
    mkdir "$LOCAL"
    tool_is 0 doctor --local "$LOCAL"
    tool_is 1 doctor
    rmdir "$LOCAL"
    job --ranks 2 --local "$LOCAL" open fill:1 save:1 wait:committed close
    wait_quiet
    job --ranks 2 --local "$LOCAL" open load close
    out_count "load ok id=1/1 version=1" 2
    wait_quiet
    tool_is 0 verify --local "$LOCAL"
    # Any other folder may be somebody's.
    HOME_DIR=$BATS_TEST_TMPDIR/full
    mkdir -p "$HOME_DIR/segments" "$HOME_DIR/deep"
    for at in "$HOME_DIR/seg" "$HOME_DIR/deep/seg"; do
        job_fails --local "$at" open
        out_has "open error ENOTEMPTY .*no home: it has (segments|deep)"
    done
}

@test "a home of another owner is refused" {
    need_root
    first_save
    chown 65534:65534 "$HOME_DIR"
    job_fails --ranks 2 open
    out_count "open error E(PERM|ACCES) .*$HOME_DIR.* 65534" 2
    tool_is 1 pin run@1
    out_has "$HOME_DIR.*65534"
    tool_is 0 ls
    chown 0:0 "$HOME_DIR"
    still_loads
}

@test "a local store of another owner is refused" {
    need_root
    first_save
    chown 65534:65534 "$LOCAL"
    job_fails --ranks 2 open
    out_count "open error .*$LOCAL.* 65534" 2
    chown 0:0 "$LOCAL"
    still_loads
}

@test "a local store behind a symlink is served if it is ours, else refused" {
    first_save
    mv "$LOCAL" "$BATS_TEST_TMPDIR/elsewhere"
    ln -s "$BATS_TEST_TMPDIR/elsewhere" "$LOCAL"
    still_loads
    rm "$LOCAL"
    ln -s "$BATS_TEST_TMPDIR/nowhere" "$LOCAL"
    job_fails --ranks 2 open
    out_count "open error ENOENT .*$LOCAL" 2
    rm "$LOCAL"
    mv "$BATS_TEST_TMPDIR/elsewhere" "$LOCAL"
    still_loads
}

@test "symlinks inside of a home or local store are not followed" {
    first_save
    mv "$HOME_DIR/runs/run" "$BATS_TEST_TMPDIR/elsewhere"
    ln -s "$BATS_TEST_TMPDIR/elsewhere" "$HOME_DIR/runs/run"
    job_fails --ranks 2 open
    out_count "open error (ELOOP|ENOTDIR) .*run" 2
    tool ls run
    at_least $status 1 "exit status"
    rm "$HOME_DIR/runs/run"
    mv "$BATS_TEST_TMPDIR/elsewhere" "$HOME_DIR/runs/run"
    # Nothing is written through one.
    echo precious >"$BATS_TEST_TMPDIR/precious"
    mv "$LOCAL/seg/000001" "$BATS_TEST_TMPDIR/segment"
    ln -s "$BATS_TEST_TMPDIR/precious" "$LOCAL/seg/000001"
    run_job --ranks 2 open "?load" fill:2 save:2 "?wait:committed" close
    wait_quiet
    is "$(cat "$BATS_TEST_TMPDIR/precious")" precious "the file"
    rm "$LOCAL/seg/000001"
    mv "$BATS_TEST_TMPDIR/segment" "$LOCAL/seg/000001"
    job --ranks 2 --resume 1/1 open load
    out_count "load ok id=1/1 version=1" 2
}

@test "names of runs stay inside the home" {
    for name in ../run a/b .hidden .. . "with space" "" $'new\nline' \
        "$(printf 'x%.0s' $(seq 300))"; do
        job_fails --run "$name" open
        out_has "open error EINVAL .*run"
    done
    tool_is 2 ls ../run
    tool_is 2 show a/b@1
    [ -z "$(ls "$HOME_DIR")" ] || complain "something was made"
    job --run "a.good_name-1" open fill:1 save:1 wait:committed
}

@test "several ranks need a token" {
    job_fails --ranks 2 --token "" open
    out_count "open error EINVAL .*world_size 2 without a token" 2
    job --ranks 1 --token "" open fill:1 save:1 wait:committed
}

@test "a second process for a rank and token is stale" {
    start_job --ranks 2 --token one open fill:1 save:1 wait:committed \
        hold:"$BATS_TEST_TMPDIR/go" fill:2 save:2 wait:committed close
    first=$job_pid
    eventually eval '[ "$(grep -c "wait:committed ok" "$OUT")" -eq 2 ]'
    mv "$OUT" "$OUT.first"
    job_fails --ranks 2 --token one open
    out_count "open error ESTALE .*rank [01] .*joined" 2
    touch "$BATS_TEST_TMPDIR/go"
    wait "$first"
    is "$(grep -c "save:2 ok" "$OUT.first")" 2 "saves of the first"
    # The token of a generation that was closed.
    job --ranks 2 --token two open load
    job_fails --ranks 2 --token one open
    out_count "open error ESTALE" 2
    is "$(saves)" "1/1 2/1" "what is committed"
}

@test "another world size or layout under the same token is refused" {
    job --ranks 2 --token one open fill:1 save:1 wait:committed
    job_fails --ranks 3 --token one open
    out_has "2 open error EINVAL .*3 ranks.* has 2"
    out_lacks "open ok"
}

@test "a rank that never comes: the save aborts at the deadline and names it" {
    job --world 3 --ranks 2 --decide-ms 1500 open fill:1 save:1 \
        "?wait:committed" close
    out_count "wait:committed error CKPT_EABORTED .*rank 2" 2
    is "$(saves)" "" "what is committed"
}

@test "a step that was committed is not saved again" {
    job --ranks 2 open fill:5 save:5 wait:committed fill:6 "?save:5" \
        barrier fill:7 save:7 wait:committed close
    out_count "save:5 error CKPT_ECONFLICT .*step 5" 2
    job --ranks 2 open load read:5/1
    out_count "load ok id=7/1 version=7" 2
    out_count "read:5/1 ok id=5/1 version=5" 2
}

@test "steps do not decrease within a generation" {
    job --ranks 2 open fill:5 save:5 wait:committed "?save:4" barrier \
        save:6 wait:committed close
    out_count "save:4 error CKPT_ECONFLICT .*step 4.*5" 2
    is "$(saves)" "5/1 6/1" "what is committed"
}

@test "two savers of one step that disagree: the save aborts" {
    job --ranks 2 --layout replica open fill:1 save:1 wait:committed barrier \
        0:fill:2 1:fill:3 save:2 "?wait:committed" barrier fill:4 save:3 \
        wait:committed close
    # Replicas that differ, and extra state of the whole job that does.
    out_count "wait:committed error CKPT_EABORTED" 2
    is "$(saves)" "1/1 3/1" "what is committed"
    [[ $(reasons) == *versions* ]] || complain "the reason: $(reasons)"
}

@test "ranks that save different steps: abort, not a mixture" {
    job --ranks 2 --decide-ms 1500 open fill:1 save:1 wait:committed barrier \
        fill:2 "0:?save:2" "1:?save:3" "?wait:committed:20000" barrier fill:4 \
        save:4 wait:committed close
    out_has "3 error CKPT_EABORTED|wait:committed:20000 error CKPT_EABORTED"
    is "$(saves)" "1/1 4/1" "what is committed"
}

@test "a wrong dtype or shape on load is told by tensor, on all ranks" {
    first_save
    job --ranks 2 open 1:fault:dtype "?load" barrier 1:fault:none load
    out_count "load error CKPT_ESHAPE .*t00.*(I32|U32)" 2
    out_count "load ok id=1/1 version=1" 2
    job --ranks 2 open 0:fault:shape "?load" barrier 0:fault:none load
    out_count "load error CKPT_ESHAPE .*t00.*65" 2
    out_count "load ok id=1/1 version=1" 2
    still_loads
}

@test "a tensor that nobody saved is named, on all ranks" {
    first_save
    job --ranks 2 open 1:fault:name "?load" barrier 1:fault:none load
    out_count "load error ENOENT .*tensor nobody" 2
    out_count "load ok id=1/1 version=1" 2
}

@test "more dimensions than there are is refused by the call" {
    first_save
    job --ranks 2 open load 0:fault:ndim "?save:2" close
    out_has "0 save:2 error (CKPT_ESHAPE|EINVAL) .*t00.*9"
    still_loads
}

@test "a hole in what the ranks cover aborts, by tensor and index" {
    first_save
    job --ranks 2 open load 0:fault:hole fill:2 save:2 "?wait:committed" \
        barrier 0:fault:none fill:3 save:3 wait:committed close
    out_count "wait:committed error CKPT_EABORTED .*t00.*31" 2
    is "$(saves)" "1/1 3/2" "what is committed"
    [[ $(reasons) == *t00* ]] || complain "the reason: $(reasons)"
    is "$(saves ABORTED)" "2/2" "what was aborted"
}

@test "claims that overlap abort, by tensor and ranks" {
    first_save
    job --ranks 2 open load 0:fault:overlap fill:2 save:2 "?wait:committed" \
        barrier 0:fault:none fill:3 save:3 wait:committed close
    out_count "wait:committed error CKPT_EABORTED .*t00.*rank" 2
    is "$(saves)" "1/1 3/2" "what is committed"
}

@test "a dtype that ranks do not agree on aborts, by tensor" {
    first_save
    job --ranks 2 open load 1:fault:dtype fill:2 save:2 "?wait:committed" close
    out_count "wait:committed error CKPT_EABORTED .*t00" 2
    still_loads
}

@test "bad flags of the binaries end with 2 and name the flag" {
    tool_is 2
    tool_is 2 nonsense
    out_has "no such verb"
    tool_is 2 ls --nonsense
    out_has "nonsense"
    tool_is 2 ls a b
    tool_is 2 show
    out_has "^ckpt show: a target is missing$"
    out_has "^usage: ckpt show \[--json\] RUN@STEP"
    tool_is 2 show --all run@1
    # The ways of calling a verb are lines of their own.
    for words in "wait" "wait --keep-last 3 run@1" "wait run@1:t00"; do
        # shellcheck disable=SC2086 # a verb and its options
        tool_is 2 $words
        out_has "^usage: ckpt wait .* RUN@STEP$"
        out_has "^  ckpt wait --each .*--timeout S\]$"
        out_lacks "\?"
    done
    tool_is 2 verify --quick --deep
    tool_is 2 gc --keep-last many
    out_has "many"
    tool_is 2 scrub --rate 0
    tool_is 2 scrub --rate 10MB
    out_has "10MB"
    tool_is 2 show run@first
    out_has "run@first"
    tool_is 2 ls --home rados://pool
    out_has "home rados://pool: rados://POOL/NAMESPACE: no namespace"
    for flags in "--nonsense" "" "--local $LOCAL --linger soon" \
        "--local $LOCAL --log-level loud" "--local $LOCAL extra" "--local" \
        "--local $LOCAL --drain-rate 10X" "--local $LOCAL --linger 5K"; do
        status=0
        timeout 10 "$CKPTD" $flags >"$OUT" 2>&1 3>&- || status=$?
        is $status 2 "ckptd $flags: exit status"
        out_has "ckptd: "
    done
    for flags in --help --version; do
        "$CKPTD" $flags >"$OUT"
        "$BUILD_DIR/bin/ckpt" $flags >>"$OUT"
    done
}

@test "a second daemon for a local store ends with 11" {
    start_daemon
    status=0
    timeout 10 "$CKPTD" --foreground --local "$LOCAL" >"$OUT" 2>&1 3>&- ||
        status=$?
    is $status 11 "exit status"
    out_has "another ckptd serves"
    job --ranks 2 open fill:1 save:1 wait:committed
    stop_daemon
}

@test "a daemon's folder that cannot be is named" {
    status=0
    timeout 10 "$CKPTD" --local "$BATS_TEST_TMPDIR/no/where" >"$OUT" 2>&1 3>&- ||
        status=$?
    is $status 1 "exit status"
    out_has "$BATS_TEST_TMPDIR/no/where"
    job_fails --socket "$BATS_TEST_TMPDIR/no.sock" --open-ms 500 open
    out_has "open error ETIMEDOUT .*no.sock"
    job_fails --local "$BATS_TEST_TMPDIR/no/where" open
    out_has "open error ENOENT .*$BATS_TEST_TMPDIR/no/where"
}

@test "a limit on the size of files is told, with what to do" {
    # An arena of 4 MiB, then segments of more than it.
    for limits in "2000 4194304 arena" "12000 4194304 seg/"; do
        read -r limit arena what <<<"$limits"
        rm -rf "$LOCAL" "$HOME_DIR"
        mkdir "$HOME_DIR"
        status=0
        (
            ulimit -f "$limit"
            exec timeout 60 "$JOB" --home "$HOME_DIR" --arena "$arena" \
                --tensors 6 --rows 2048 --columns 1024 open fill:1 save:1 \
                wait:committed close 2>&1 3>&- | cat >"$OUT"
        ) || status=$?
        out_has "error (EFBIG|CKPT_EABORTED) .*$what.*File too large; .*ulimit -f"
        wait_quiet
    done
    # Nobody died of it, and without the limit it works.
    job --ranks 2 open fill:1 save:1 wait:committed close
}

@test "a run that is removed under its job: nothing more is committed" {
    start_daemon
    start_job open fill:1 save:1 wait:committed \
        hold:"$BATS_TEST_TMPDIR/go" fill:2 "?save:2" "?wait:committed" close
    eventually grep -q "wait:committed ok" "$OUT"
    rm -rf "$HOME_DIR/runs/run"
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    out_has "error .*runs/run/RUN is gone"
    out_count "wait:committed ok" 1
    job_fails open
    out_has "open error ENOENT .*removed while this daemon knew the run"
    stop_daemon
    job open fill:1 save:1 wait:committed close
    out_has "wait:committed ok"
}

@test "output that cannot be written is told by all verbs" {
    first_save
    for verb in "ls" "ls --json" "show run@1" "where run@1" "verify run@1" \
        "gc" "doctor" "--help" "--version"; do
        status=0
        CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" $verb >/dev/full 2>"$OUT" ||
            status=$?
        is $status 1 "ckpt $verb: exit status"
        out_has "standard output cannot be written: No space left|cannot print"
    done
}

@test "a tensor is refused where whole checkpoints are meant" {
    first_save
    for verb in "verify run@1:nonsense" "verify run@1:t00" "pin run@1:t00" \
        "unpin run@1:t00" "gc run@1:t00" "ls run@1:t00"; do
        tool_is 2 $verb
        out_has "takes whole checkpoints, no tensor"
    done
    tool_is 0 show run@1:t00
}

@test "a rank that is no number is refused, by its variable" {
    for variable in CKPT_RANK RANK WORLD_SIZE; do
        status=0
        env "$variable=abc" timeout 20 "$BUILD_DIR/bin/minimal" "$HOME_DIR" \
            >"$OUT" 2>&1 3>&- || status=$?
        is $status 1 "exit status"
        out_has "$variable=abc is no number"
    done
    [ -z "$(ls "$HOME_DIR")" ] || complain "something was made"
}

@test "a home is a path or a file: URL, for trainers as for ckpt" {
    job --home "file://$HOME_DIR" --ranks 2 open fill:1 save:1 wait:committed \
        close
    wait_quiet
    tool_is 0 verify --home "file://$HOME_DIR"
    tool_is 0 doctor --home "file://$HOME_DIR"
    job_fails --home rados://pool open
    out_has "open error EINVAL .*rados://pool: segments cannot lie in RADOS"
}

@test "with a long home, a message still ends with its cause" {
    local deep=$HOME_DIR part
    part=$(printf 'x%.0s' $(seq 200))
    while [ ${#deep} -lt 700 ]; do
        deep=$deep/$part
    done
    mkdir -p "$deep"
    job_fails --home "$deep/nowhere" open
    out_has "open error ENOENT .*No such file or directory; make the directory"
    mkdir "$deep/somebodys"
    job_fails --home "$deep" open
    out_has "open error ENOTEMPTY .*no home: it has somebodys"
}

@test "stores of several ranks: the save says what a load needs" {
    job --ranks 1 --token one --local "$BATS_TEST_TMPDIR/a" open fill:1 save:1 \
        wait:committed close
    job_fails --ranks 1 --local "$BATS_TEST_TMPDIR/b" open load
    out_has "load error .*another local store .*on host $(hostname).*CKPT_LOCAL"
}
