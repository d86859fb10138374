#!/usr/bin/env bats
# tests/e2e/attacks.bats - attacks from a second user and from hostile clients.
#
# All tests share one daemon and one well-behaved job of two ranks. Each test is
# one attack: it says which refusal the attack must get, and that the job then
# saves its next step through the same daemon (`blocked`). At the end the job
# closes, all that it saved is verified, and the attacks are counted and named.
# Attacks on whole folders have a home of their own; the job goes on beside.

load ../lib/e2e

STEPS=70

attack() {
    timeout -k 5 60 python3 "$BATS_TEST_DIRNAME/../attacks/attack.py" "$@" \
        >"$OUT" 2>&1 3>&- || complain "attack $*: exit status $?"
}

# The same as a user who owns nothing here.
attack_as_other() {
    need_root
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        timeout -k 5 60 python3 "$WORK/attacks/attack.py" "$@" \
        >"$OUT" 2>&1 3>&- || complain "attack $*: exit status $?"
}

setup_file() {
    e2e_paths
    WORK=$(mktemp -d "/tmp/ckptd-attacks.XXXXXX")
    chmod 755 "$WORK"
    mkdir "$WORK/bin" "$WORK/home" "$WORK/attacks"
    cp "$BUILD_DIR/bin/ckptd" "$BUILD_DIR/bin/ckpt" "$JOB" "$WORK/bin"
    cp "$BATS_TEST_DIRNAME/../attacks/attack.py" "$WORK/attacks"
    SOCKET=$WORK/home/local/ckptd.sock
    LOG=$WORK/daemon.log
    "$CKPTD" --foreground --local "$WORK/home/local" >"$LOG" 2>&1 3>&- &
    DAEMON=$!
    commands="open fill:1 save:1 wait:committed 0:mark:$WORK/done.1"
    for i in $(seq 2 $STEPS); do
        commands+=" hold:$WORK/go.$i fill:$i save:$i wait:committed"
        commands+=" 0:mark:$WORK/done.$i"
    done
    # shellcheck disable=SC2086 # a list of commands
    "$JOB" --home "$WORK/home" --ranks 2 --keep-last 3 $commands close \
        >"$WORK/job" 2>&1 3>&- &
    NEIGHBOUR=$!
    echo 1 >"$WORK/step"
    export WORK SOCKET LOG DAEMON NEIGHBOUR
    eventually test -e "$WORK/done.1"
    # Those take ten seconds: they begin here and are looked at in the end.
    for what in trickle half; do
        python3 "$WORK/attacks/attack.py" trickle "$SOCKET" $what 0.6 \
            >"$WORK/$what" 2>&1 3>&- &
    done
}

teardown_file() {
    kill -KILL "$NEIGHBOUR" 2>/dev/null || true
    kill -TERM "$DAEMON" 2>/dev/null || true
    BATS_TEST_TMPDIR=$WORK OPEN_DIR=$WORK e2e_teardown
}

# refused REGEX: the attack got this answer, and no other.
refused() {
    out_has "^refused $1"
    out_lacks "^(greeted|joined|goes on|frame)"
}

# The job beside saves its next step.
goes_on() {
    local step
    step=$(($(cat "$WORK/step") + 1))
    echo $step >"$WORK/step"
    [ "$step" -le $STEPS ] || complain "more attacks than steps"
    kill -0 "$DAEMON" || complain "the daemon is gone: $(tail -3 "$LOG")"
    touch "$WORK/go.$step"
    eventually test -e "$WORK/done.$step" ||
        complain "the job beside: $(tail -3 "$WORK/job")"
    [ "$(grep -c "wait:committed ok" "$WORK/job")" -ge $((2 * step - 1)) ] ||
        complain "the job beside: $(tail -3 "$WORK/job")"
}

blocked() {
    goes_on
    echo "$BATS_TEST_DESCRIPTION" >>"$WORK/blocked"
}

logged() {
    grep -qE -- "$1" "$LOG" || complain "no line of the log matches: $1"
}

# Size of the daemon's memory in KiB, and how many descriptors it has.
rss() {
    awk '/^VmRSS/ { print $2 }' "/proc/$DAEMON/status"
}

descriptors() {
    find "/proc/$DAEMON/fd" -type l | wc -l
}

decision() {
    find "$HOME_DIR/runs/run/decision" -name "*$1-0001"
}

one_save() {
    job --ranks 2 "$@" open fill:1 save:1 wait:committed close
    wait_quiet
}

two_saves() {
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    wait_quiet
}

falls_back_to_1() {
    job --ranks 2 open load
    out_count "load ok id=1/1 version=1 .* attempts=2 note=.*step 2.*" 2
    wait_quiet
}

#
# The socket.
#

@test "another user's connection stops at the folder" {
    attack_as_other knock "$SOCKET"
    refused "EACCES"
    blocked
}

@test "another user's connection, let through to the socket" {
    need_root
    chmod 711 "$WORK/home/local"
    chmod 666 "$SOCKET"
    attack_as_other knock "$SOCKET"
    chmod 600 "$SOCKET"
    chmod 700 "$WORK/home/local"
    refused "EPERM this daemon serves uid 0 only"
    logged "refused a connection of uid 65534 .*serves uid 0 only"
    blocked
}

@test "a forged daemon of another user listens first" {
    need_root
    open_folder
    mkdir -m 777 "$OPEN_DIR/sockets"
    setpriv --reuid 65534 --regid 65534 --clear-groups timeout 60 python3 \
        "$WORK/attacks/attack.py" listen "$OPEN_DIR/sockets/s" \
        "$OPEN_DIR/sockets/ready" >"$OPEN_DIR/forger" 2>&1 3>&- &
    eventually test -e "$OPEN_DIR/sockets/ready" ||
        complain "$(cat "$OPEN_DIR/forger")"
    job_fails --socket "$OPEN_DIR/sockets/s" open
    out_has "open error EPERM .*belongs to uid 65534, we are uid 0"
    eventually grep -q "heard 0 bytes" "$OPEN_DIR/forger"
    blocked
}

@test "something that is no socket lies at the socket's path" {
    echo precious >"$BATS_TEST_TMPDIR/precious"
    ln -s precious "$BATS_TEST_TMPDIR/link"
    for path in precious link; do
        status=0
        timeout 10 "$CKPTD" --local "$LOCAL" --socket "$BATS_TEST_TMPDIR/$path" \
            >"$OUT" 2>&1 3>&- || status=$?
        is $status 1 "exit status"
        out_has "cannot listen on .*$path: there is something that is no socket"
    done
    is "$(cat "$BATS_TEST_TMPDIR/precious")" precious "the file"
    blocked
}

@test "another protocol" {
    attack bytes "$SOCKET" http
    refused "EBADMSG this is not a frame"
    blocked
}

@test "a frame of 4 GiB" {
    before=$(rss)
    attack bytes "$SOCKET" oversized
    refused "EBADMSG this is not a frame"
    at_most "$(rss)" $((before + 4096)) "memory in KiB"
    blocked
}

@test "a frame of a type that there is not" {
    attack bytes "$SOCKET" unknown
    refused "EBADMSG this is not a frame"
    blocked
}

@test "a HELLO without the magic number" {
    attack bytes "$SOCKET" magic
    refused "EPROTO this is no HELLO"
    blocked
}

@test "a version of the protocol that is to come" {
    attack bytes "$SOCKET" future
    refused "CKPT_EVERSION .*versions 7 to 9 .*install the same release"
    blocked
}

@test "a SAVE before HELLO" {
    attack bytes "$SOCKET" order
    refused "EPROTO SAVE is not allowed before HELLO"
    blocked
}

@test "a daemon's own frame sent to it" {
    attack bytes "$SOCKET" reply
    refused "EPROTO a frame of type 3 is not a rank's to send"
    blocked
}

@test "descriptors without end" {
    before=$(descriptors)
    mkfifo "$BATS_TEST_TMPDIR/end"
    python3 "$WORK/attacks/attack.py" descriptors "$SOCKET" 250 20 \
        <"$BATS_TEST_TMPDIR/end" >"$OUT" 2>&1 3>&- &
    exec 9>"$BATS_TEST_TMPDIR/end"
    eventually grep -q "^connection" "$OUT"
    out_has "^greeted" # of 5,000 none was kept: the connection is one
    at_most "$(descriptors)" $((before + 1)) "descriptors"
    exec 9>&-
    blocked
}

@test "more connections than the quota: the new are refused" {
    limit=$(awk '/open files/ { print $4 }' "/proc/$DAEMON/limits")
    [ "$limit" -le 16384 ] || limit=16384
    python3 "$WORK/attacks/attack.py" flood "$SOCKET" $((limit / 4 + 20)) \
        "$BATS_TEST_TMPDIR/ready" "$BATS_TEST_TMPDIR/go" >"$OUT" 2>&1 3>&- &
    eventually test -e "$BATS_TEST_TMPDIR/ready" || complain "no flood"
    refused "EUSERS this daemon has $((limit / 4)) connections already"
    goes_on # while they are held
    touch "$BATS_TEST_TMPDIR/go"
    wait $!
    attack greet "$SOCKET"
    out_has "^greeted"
    blocked
}

#
# What a client says.
#

@test "a run that climbs out of its home" {
    for run in "../other" ".." "a/b" "/etc" ".hidden"; do
        attack open "$SOCKET" "$WORK/home" "$run"
        refused "EINVAL run '$run': letters, digits"
    done
    blocked
}

@test "a home by a path that climbs, or is relative" {
    for home in "$WORK/home/../../etc" "home" "$WORK/./home" ""; do
        attack open "$SOCKET" "$home" run
        refused "EINVAL home '$home': an absolute path without"
    done
    blocked
}

@test "a folder of somebody's files as a home" {
    mkdir "$BATS_TEST_TMPDIR/files"
    echo precious >"$BATS_TEST_TMPDIR/files/thesis"
    attack open "$SOCKET" "$BATS_TEST_TMPDIR/files" run
    refused "ENOTEMPTY rank 0: home .*not empty and no home: it has thesis"
    is "$(ls "$BATS_TEST_TMPDIR/files")" thesis "what is there"
    blocked
}

@test "a forged rank beyond the job" {
    attack open "$SOCKET" "$WORK/home" hostile token 5 2
    refused "EPROTO an OPEN of [0-9]* bytes does not decode"
    blocked
}

@test "a forged token: a rank that somebody is" {
    start_job --token mine open fill:1 save:1 wait:committed \
        hold:"$BATS_TEST_TMPDIR/go" fill:2 save:2 wait:committed close
    eventually grep -q "wait:committed ok" "$OUT"
    cp "$OUT" "$OUT.first"
    ours=$OUT OUT=$OUT.second
    attack open "$LOCAL/ckptd.sock" "$HOME_DIR" run mine
    refused "ESTALE rank 0: .*joined"
    touch "$BATS_TEST_TMPDIR/go"
    OUT=$ours
    end_job
    is "$status" 0 "exit status of the job"
    out_count "save:2 ok" 1
    blocked
}

@test "a forged generation: the token of one that is over" {
    job --token first open fill:1 save:1 wait:committed close
    job --token second open load close
    wait_quiet
    start_daemon
    attack open "$LOCAL/ckptd.sock" "$HOME_DIR" run first
    refused "ESTALE "
    stop_daemon
    blocked
}

@test "four thousand million tensors" {
    before=$(rss)
    attack frame "$SOCKET" "$WORK/home" table-count
    refused "EPROTO table 1 does not decode: 4 bytes that are no table"
    at_most "$(rss)" $((before + 8192)) "memory in KiB"
    blocked
}

@test "four thousand million boxes" {
    before=$(rss)
    attack frame "$SOCKET" "$WORK/home" box-count
    refused "EPROTO table 1 does not decode: 35 bytes that are no table"
    at_most "$(rss)" $((before + 8192)) "memory in KiB"
    blocked
}

@test "255 dimensions" {
    attack frame "$SOCKET" "$WORK/home" dimensions
    refused "EPROTO table 1 does not decode: 91 bytes that are no table"
    blocked
}

@test "a tensor's name that clears the screen" {
    attack frame "$SOCKET" "$WORK/home" name
    refused "EINVAL .*tensor .not a name.*without control characters"
    blocked
}

@test "four thousand million values" {
    before=$(rss)
    attack frame "$SOCKET" "$WORK/home" values-count
    refused "EBADMSG rank 0 step 1: values: not a list of values"
    at_most "$(rss)" $((before + 8192)) "memory in KiB"
    blocked
}

@test "four thousand million chunks" {
    attack frame "$SOCKET" "$WORK/home" chunks-count
    refused "EPROTO a frame of type 13 and 12 bytes does not decode"
    blocked
}

@test "chunks of a save that is not one's own" {
    attack frame "$SOCKET" "$WORK/home" chunks-save
    refused "EPROTO CHUNKS of save 999, which is not there"
    blocked
}

@test "a slot that was not granted" {
    attack slot "$SOCKET" "$WORK/home" 4294967295
    refused "EPROTO CHUNKS of step 1: chunk 0 is in a slot that is not there"
    attack slot "$SOCKET" "$WORK/home" 2
    refused "EPROTO CHUNKS of step 1: chunk 0 is in a slot that was not granted"
    blocked
}

@test "a vote on a load that there is not" {
    attack frame "$SOCKET" "$WORK/home" vote-load
    out_has "^frame 28" # passed over: the next request is answered
    blocked
}

@test "a save of a table that was not sent" {
    attack frame "$SOCKET" "$WORK/home" table-absent
    refused "ENOENT rank 0 step 1: table 7 was not given"
    blocked
}

#
# Shared memory.
#

@test "the shared memory is not to be shrunk, grown or sealed" {
    attack resize "$DAEMON"
    out_has "^shrink EPERM grow EPERM seal EPERM$"
    out_lacks "done"
    blocked
}

@test "cached slots rewritten: the copy on the drive is loaded" {
    start_daemon
    job --ranks 2 open fill:1 save:1 wait:committed
    attack scribble "$daemon" 0
    out_has "^scribbled"
    job --ranks 2 open load close
    out_count "load ok id=1/1 version=1" 2
    stop_daemon
    tool_is 0 verify --deep
    blocked
}

@test "the shared memory punched" {
    start_daemon
    job --ranks 2 open fill:1 save:1 wait:committed
    attack punch "$daemon"
    out_has "^punched"
    job --ranks 2 open load fill:2 save:2 wait:committed close
    out_count "load ok id=1/1 version=1" 2
    stop_daemon
    tool_is 0 verify --deep
    blocked
}

@test "the shared memory rewritten under saves: only those are spoilt" {
    start_daemon
    job --ranks 2 open fill:1 save:1 wait:committed close
    start_job --ranks 2 open load storm:2:30 close
    ours=$OUT OUT=$OUT.attack
    attack scribble "$daemon" 1.5
    OUT=$ours
    end_job
    kill -0 "$daemon" || complain "the daemon is gone"
    tool verify --deep
    [ "$status" -eq 0 ] || [ "$status" -eq 4 ] ||
        complain "verify: exit status $status"
    tool_is 0 verify --deep run@1
    job --ranks 2 --resume 1/1 open load fill:90 save:90 wait:committed close
    out_count "load ok id=1/1 version=1" 2
    tool_is 0 verify --deep run@90
    stop_daemon
    blocked
}

#
# Folders and links.
#

@test "a home of another user" {
    need_root
    one_save
    chown 65534:65534 "$HOME_DIR"
    job_fails --ranks 2 open
    out_count "open error EPERM .*$HOME_DIR' belongs to uid 65534" 2
    chown 0:0 "$HOME_DIR"
    blocked
}

@test "a home that others may write" {
    one_save
    for mode in 775 757; do
        chmod $mode "$HOME_DIR"
        job_fails --ranks 2 open
        out_count "open error EPERM .*others may write to folder '$HOME_DIR' .mode $mode.: close it to them first .chmod go-w" 2
        tool_is 1 pin run@1
        tool_is 1 doctor
        out_has "chmod go-w"
    done
    blocked
}

@test "a local store that others may write" {
    one_save
    for mode in 770 707; do
        chmod $mode "$LOCAL"
        job_fails --ranks 2 open
        out_count "open error EPERM .*local store.*others may write to folder '$LOCAL'" 2
    done
    blocked
}

@test "another user made the local store first, with links in it" {
    need_root
    open_folder
    echo precious >"$OPEN_DIR/precious"
    mkdir -m 777 "$OPEN_DIR/scratch"
    run_as_other sh -c "mkdir -m 755 $OPEN_DIR/scratch/store &&
        ln -s $OPEN_DIR/precious $OPEN_DIR/scratch/store/ckptd.log &&
        ln -s $OPEN_DIR/precious $OPEN_DIR/scratch/store/lock"
    job_fails --local "$OPEN_DIR/scratch/store" open
    out_has "open error EPERM .*local store.*belongs to uid 65534"
    is "$(cat "$OPEN_DIR/precious")" precious "the file"
    is "$(ls "$OPEN_DIR/scratch/store" | wc -l)" 2 "files there"
    blocked
}

@test "another user's link in the place of the local store" {
    need_root
    open_folder
    mkdir -m 755 "$OPEN_DIR/ours"
    mkdir -m 777 "$OPEN_DIR/scratch"
    run_as_other ln -s "$OPEN_DIR/ours" "$OPEN_DIR/scratch/store"
    job_fails --local "$OPEN_DIR/scratch/store" open
    out_has "open error EPERM .*local store.*a link that uid 65534 made"
    status=0
    timeout 10 "$CKPTD" --local "$OPEN_DIR/scratch/store" >"$OUT" 2>&1 3>&- ||
        status=$?
    is $status 1 "exit status of ckptd"
    out_has "a link that uid 65534 made"
    is "$(ls "$OPEN_DIR/ours" | wc -l)" 0 "files made there"
    blocked
}

@test "the log of the daemon is a link, or a pipe" {
    echo precious >"$BATS_TEST_TMPDIR/precious"
    mkdir -m 700 "$LOCAL"
    ln -s "$BATS_TEST_TMPDIR/precious" "$LOCAL/ckptd.log"
    job_fails open
    out_has "open error ELOOP .*cannot write the log $LOCAL/ckptd.log"
    is "$(cat "$BATS_TEST_TMPDIR/precious")" precious "the file"
    rm "$LOCAL/ckptd.log"
    mkfifo "$LOCAL/ckptd.log"
    job_fails open
    out_has "open error (ENXIO|EINVAL) .*cannot write the log"
    blocked
}

@test "a link in the place of a run, of the segments, of the lock" {
    one_save
    mkdir "$BATS_TEST_TMPDIR/elsewhere"
    for path in "$HOME_DIR/runs/run" "$LOCAL/seg"; do
        mv "$path" "$path.aside"
        ln -s "$BATS_TEST_TMPDIR/elsewhere" "$path"
        job_fails --ranks 2 open
        out_count "open error (ELOOP|ENOTDIR|ECHILD) " 2
        rm "$path"
        mv "$path.aside" "$path"
    done
    mv "$LOCAL/lock" "$BATS_TEST_TMPDIR/lock"
    ln -s "$BATS_TEST_TMPDIR/elsewhere/lock" "$LOCAL/lock"
    job_fails --ranks 2 open
    out_count "open error ECHILD .*lock: Too many levels of symbolic links" 2
    is "$(ls "$BATS_TEST_TMPDIR/elsewhere" | wc -l)" 0 "files made there"
    rm "$LOCAL/lock"
    mv "$BATS_TEST_TMPDIR/lock" "$LOCAL/lock"
    job --ranks 2 open load
    out_count "load ok id=1/1 version=1" 2
    blocked
}

@test "a race of links against saves: nothing is written elsewhere" {
    start_daemon
    job open fill:1 save:1 wait:committed close
    mkdir "$BATS_TEST_TMPDIR/elsewhere" "$BATS_TEST_TMPDIR/elsewhere2"
    start_job open "?load" storm:2:40 close
    ours=$OUT OUT=$OUT.attack
    python3 "$WORK/attacks/attack.py" swap "$LOCAL/seg" \
        "$BATS_TEST_TMPDIR/elsewhere" 1.2 >/dev/null 2>&1 3>&- &
    swapper=$!
    attack swap "$HOME_DIR/runs/run" "$BATS_TEST_TMPDIR/elsewhere2" 1.2
    out_has "^swapped"
    wait $swapper
    OUT=$ours
    end_job
    is "$(find "$BATS_TEST_TMPDIR/elsewhere" "$BATS_TEST_TMPDIR/elsewhere2" \
        -type f | wc -l)" 0 "files elsewhere"
    kill -0 "$daemon" || complain "the daemon is gone"
    kill -TERM "$daemon"
    wait "$daemon" || true
    tool_is 0 verify --deep run@1
    blocked
}

@test "a segment that somebody has a second name for" {
    start_daemon
    start_job --keep-last 1 open storm:1:6 mark:"$BATS_TEST_TMPDIR/saved" \
        hold:"$BATS_TEST_TMPDIR/go" storm:7:20 close
    eventually test -e "$BATS_TEST_TMPDIR/saved"
    # What the next saves would recycle in place is somebody's copy as well.
    mkdir "$BATS_TEST_TMPDIR/copy"
    ln "$LOCAL"/seg/* "$BATS_TEST_TMPDIR/copy"
    (cd "$BATS_TEST_TMPDIR/copy" && sha256sum ./*) >"$OUT.before"
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    is "$status" 0 "exit status of the job"
    out_count "saved:[0-9]* ok" 26
    (cd "$BATS_TEST_TMPDIR/copy" && sha256sum ./*) >"$OUT.after"
    cmp "$OUT.before" "$OUT.after" || complain "a copy was written to"
    stop_daemon
    grep -q "Too many links" "$BATS_TEST_TMPDIR/daemon.log" ||
        complain "the refusal is not in the log"
    tool_is 0 verify --deep run
    blocked
}

@test "pipes in the place of records" {
    two_saves
    for path in STORE runs/run/RUN; do
        mv "$HOME_DIR/$path" "$BATS_TEST_TMPDIR/aside"
        mkfifo "$HOME_DIR/$path"
        tool_is 1 verify run || true
        job_fails --ranks 2 open
        out_count "open error EINVAL .*$(basename $path)" 2
        rm "$HOME_DIR/$path"
        mv "$BATS_TEST_TMPDIR/aside" "$HOME_DIR/$path"
    done
    job --ranks 2 open load
    out_count "load ok id=2/1 version=2" 2
    blocked
}

@test "a pipe or a device in the place of a segment" {
    one_save
    mkdir "$BATS_TEST_TMPDIR/aside"
    mv "$LOCAL"/seg/* "$BATS_TEST_TMPDIR/aside"
    for segment in "$BATS_TEST_TMPDIR"/aside/*; do
        mkfifo "$LOCAL/seg/$(basename "$segment")"
    done
    tool verify run@1
    at_least "$status" 1 "exit status of verify"
    out_has "run@1/1: .*Invalid argument"
    job_fails --ranks 2 open load
    out_has "load error .*seg/"
    wait_quiet
    rm "$LOCAL"/seg/*
    if [ "$(id -u)" -eq 0 ] && mknod "$LOCAL/seg/000001" c 1 5; then
        tool verify run@1
        at_least "$status" 1 "exit status of verify"
        rm "$LOCAL/seg/000001"
    fi
    mv "$BATS_TEST_TMPDIR"/aside/* "$LOCAL/seg"
    job --ranks 2 --resume 1/1 open load
    out_count "load ok id=1/1 version=1" 2
    blocked
}

#
# Forged files, with right digests.
#

@test "a manifest whose segments are above the store" {
    two_saves
    file=$(CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --json run@2 |
        head -1 | jq -r .file)
    cp "$(decision 2)" "$BATS_TEST_TMPDIR/decision"
    # Such a forgery is taken as long as its name is one of the store.
    attack forge "$(decision 2)" "$file" "seg/000099"
    tool_is 3 verify run@2
    out_has "$LOCAL/seg/000099: No such file or directory"
    cp --remove-destination "$BATS_TEST_TMPDIR/decision" "$(decision 2)"
    attack forge "$(decision 2)" "$file" "../../../p"
    tool_is 4 verify run@2
    out_has "decision/.*: its manifest: corrupt data"
    falls_back_to_1
    blocked
}

@test "a manifest whose segments are anywhere" {
    two_saves
    file=$(CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --json run@2 |
        head -1 | jq -r .file)
    attack forge "$(decision 2)" "$file" "/etc/hosts"
    tool_is 4 verify run@2
    out_has "decision/.*: its manifest: corrupt data"
    falls_back_to_1
    blocked
}

@test "a manifest with tables beyond its end" {
    two_saves
    cp "$(decision 2)" "$BATS_TEST_TMPDIR/decision"
    for forged in "1 count 0xffffffffffffffff" "5 count 0x100000000" \
        "13 offset 0x7fffffffffffffc0" "4 offset 64"; do
        cp --remove-destination "$BATS_TEST_TMPDIR/decision" "$(decision 2)"
        # shellcheck disable=SC2086 # three words
        attack count "$(decision 2)" $forged
        tool_is 4 verify run@2
        tool_is 4 show run@2
    done
    falls_back_to_1
    blocked
}

@test "a decision under the name of another save" {
    two_saves
    rm "$(decision 2)"
    cp "$(decision 1)" "$(decision 1 | sed 's/1-0001$/2-0001/')"
    tool ls --all
    out_has "^run	2	1	CORRUPT"
    job --ranks 2 open "?load"
    out_lacks "load ok id=2"
    blocked
}

@test "the home's identity replaced" {
    two_saves
    cp "$HOME_DIR/STORE" "$BATS_TEST_TMPDIR/STORE"
    mkdir "$BATS_TEST_TMPDIR/other"
    job --home "$BATS_TEST_TMPDIR/other" open
    cp --remove-destination "$BATS_TEST_TMPDIR/other/STORE" "$HOME_DIR/STORE"
    before=$(segment_bytes)
    run_job --ranks 2 open "?load" fill:3 "?save:3" "?wait:committed" close
    wait_quiet
    tool gc --yes
    cp --remove-destination "$BATS_TEST_TMPDIR/STORE" "$HOME_DIR/STORE"
    at_least "$(segment_bytes)" "$before" "bytes of segments"
    tool_is 0 verify --deep run@1
    tool_is 0 verify --deep run@2
    blocked
}

@test "the local store's identity replaced" {
    two_saves
    cp "$LOCAL/STORE" "$BATS_TEST_TMPDIR/STORE"
    mkdir "$BATS_TEST_TMPDIR/other"
    job --home "$BATS_TEST_TMPDIR/other" open
    cp --remove-destination "$BATS_TEST_TMPDIR/other/local/STORE" "$LOCAL/STORE"
    (cd "$LOCAL/seg" && sha256sum ./*) >"$OUT.before"
    tool_is 3 verify run@2
    out_has "it is in another local store .*CKPT_LOCAL"
    run_job --ranks 2 open "?load" close
    out_lacks "load ok"
    wait_quiet
    (cd "$LOCAL/seg" && sha256sum -c --quiet "$OUT.before") ||
        complain "segments of another store were touched"
    cp --remove-destination "$BATS_TEST_TMPDIR/STORE" "$LOCAL/STORE"
    job --ranks 2 --resume 2/1 open load
    out_count "load ok id=2/1 version=2" 2
    blocked
}

#
# Words.
#

@test "escape sequences in a record do not reach a terminal" {
    one_save
    # Of the note about the job: "test-PID-...".
    attack forge "$(decision 1)" 'test-' '\x1b[2J\x9b'
    for verb in "show run@1" "ls --all" "where run@1" "verify run@1" doctor; do
        # shellcheck disable=SC2086 # a verb and its target
        CKPT_HOME=$HOME_DIR attack terminal "$BUILD_DIR/bin/ckpt" $verb
        out_lacks '\\x(1b|9b|07|08)'
        [ "$verb" != "show run@1" ] || out_has '^job: .\[2J.'
    done
    blocked
}

@test "escape sequences and lines in what a client says stay out of logs and lists" {
    start_daemon
    attack cancel "$LOCAL/ckptd.sock" "$HOME_DIR" \
        "$(printf '\033[2J\033]0;x\007\nforged line \302\233m')"
    out_has "^aborted"
    stop_daemon
    log=$BATS_TEST_TMPDIR/daemon.log
    grep -qF "?[2J?]0;x??forged line" "$log" ||
        complain "the log lacks what was said"
    ! LC_ALL=C grep -qP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' "$log" ||
        complain "control characters in the log"
    ! grep -q '^forged' "$log" || complain "a forged line in the log"
    for verb in "ls --all" "ls --all --json"; do
        # shellcheck disable=SC2086 # a verb and its options
        CKPT_HOME=$HOME_DIR attack terminal "$BUILD_DIR/bin/ckpt" $verb
        out_lacks '\\x(1b|9b|07|08|c2)'
        out_has 'ABORTED.*\[2J.*forged line'
    done
    blocked
}

@test "another user's environment in a program with more rights" {
    need_root
    open_folder
    mkdir -m 755 "$OPEN_DIR/setuid"
    cp "$JOB" "$OPEN_DIR/setuid/job"
    cp "$CKPTD" "$OPEN_DIR/setuid/ckptd"
    chmod 4755 "$OPEN_DIR/setuid/job"
    mkdir -m 777 "$OPEN_DIR/scratch"
    printf '#!/bin/sh\nid -u >%s/scratch/ran\nsleep 5\n' "$OPEN_DIR" \
        >"$OPEN_DIR/scratch/ckptd"
    chmod 755 "$OPEN_DIR/scratch/ckptd"
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        env CKPT_LINGER=0 CKPT_DAEMON="$OPEN_DIR/scratch/ckptd" \
        PATH="$OPEN_DIR/scratch" CKPT_LOCAL="$OPEN_DIR/scratch/store" \
        "$OPEN_DIR/setuid/job" --home "$HOME_DIR" open fill:1 save:1 \
        wait:committed >"$OUT" 2>&1 3>&- || true
    [ ! -e "$OPEN_DIR/scratch/ran" ] || complain "it ran what was not ours"
    [ ! -e "$OPEN_DIR/scratch/store" ] || complain "it used what was not ours"
    out_has "wait:committed ok"
    blocked
}

@test "a program ckptd in the working directory" {
    mkdir "$BATS_TEST_TMPDIR/here" "$BATS_TEST_TMPDIR/there"
    cp "$JOB" "$BATS_TEST_TMPDIR/there/job"
    printf '#!/bin/sh\ntouch %s/ran\n' "$BATS_TEST_TMPDIR" \
        >"$BATS_TEST_TMPDIR/here/ckptd"
    chmod 755 "$BATS_TEST_TMPDIR/here/ckptd"
    status=0
    (cd "$BATS_TEST_TMPDIR/here" && env -u CKPT_DAEMON PATH=".:here:" \
        "$BATS_TEST_TMPDIR/there/job" --home "$HOME_DIR" open) >"$OUT" 2>&1 3>&- ||
        status=$?
    is $status 1 "exit status"
    out_has "open error ENOENT .*no program ckptd found"
    [ ! -e "$BATS_TEST_TMPDIR/ran" ] || complain "it ran"
    blocked
}

@test "another user collects, pins and verifies what is ours" {
    need_root
    open_folder
    job open fill:1 save:1 wait:committed close
    wait_quiet
    chmod -R a+rX "$HOME_DIR"
    find "$HOME_DIR" -type f -printf '%p %s %T@\n' | sort >"$OUT.before"
    for verb in "gc --keep-last 1 --yes" "pin run@1"; do
        status=0
        # shellcheck disable=SC2086 # a verb and its options
        run_as_other env CKPT_HOME="$HOME_DIR" "$OPEN_DIR/bin/ckpt" $verb \
            >"$OUT" 2>&1 || status=$?
        is $status 1 "exit status"
        out_has "belongs to uid 0, and this process runs as uid 65534"
    done
    find "$HOME_DIR" -type f -printf '%p %s %T@\n' | sort >"$OUT.after"
    cmp "$OUT.before" "$OUT.after"
    blocked
}

#
# Those that take their time, and the end.
#

@test "a client that sends a byte at a time" {
    eventually grep -q "^after" "$WORK/trickle"
    cp "$WORK/trickle" "$OUT"
    refused "ETIMEDOUT a frame was not whole in time"
    out_has "^after (9|10|11|12|13) s"
    blocked
}

@test "a client that sends half a frame and waits" {
    eventually grep -q "^after" "$WORK/half"
    cp "$WORK/half" "$OUT"
    refused "ETIMEDOUT a frame was not whole in time"
    logged "a frame was not whole in time .20 of 32 bytes.; cut off"
    blocked
}

@test "all that the job beside saved meanwhile is there" {
    last=$(cat "$WORK/step")
    for i in $(seq "$last" $STEPS); do
        touch "$WORK/go.$i"
    done
    eventually grep -q "^0 close ok" "$WORK/job"
    is "$(grep -c "wait:committed ok" "$WORK/job")" $((2 * STEPS)) "saves"
    ! grep -q " error " "$WORK/job" || complain "$(grep " error " "$WORK/job")"
    kill -TERM "$DAEMON"
    eventually eval '! kill -0 "$DAEMON" 2>/dev/null'
    HOME_DIR=$WORK/home
    tool_is 0 verify --deep run
    count=$(wc -l <"$WORK/blocked")
    echo "# figure: $count attacks blocked, beside a job that saved $STEPS times:" >&3
    paste -sd';' "$WORK/blocked" | sed 's/;/; /g' | fold -s -w 90 |
        sed 's/^/# figure:   /' >&3
    all=$(grep -c '^@test' "$BATS_TEST_FILENAME")
    if [ "$(id -u)" -eq 0 ]; then
        is "$count" $((all - 1)) "attacks blocked"
    fi
    at_least "$count" 30 "attacks blocked"
}
