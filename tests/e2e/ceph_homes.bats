#!/usr/bin/env bats
# tests/e2e/ceph_homes.bats - homes in RADOS on a real cluster
# (tests/ceph/cluster.py): whole jobs, the tools, copying, an OSD and a cluster that stop
# during a save, and what is said where there is no home to be had.

load ../lib/e2e
load ../lib/ceph

setup() {
    e2e_setup
    ceph_setup
    ceph_enter
    # Of each test its own.
    HOME_DIR=${CKPT_TEST_RADOS/\/ckpt/\/ckpt-$BATS_TEST_NUMBER}
    LOCAL=$BATS_TEST_TMPDIR/local
    export CKPT_LOCAL=$LOCAL
}

# What a test that failed has left broken must not fail the next ones.
teardown() {
    e2e_teardown
    [ -s "$DIR.env" ] && [ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
    cluster wake-mon || true
    for i in 0 1 2; do
        cluster wake-osd $i || cluster restart-osd $i || true
    done
    cluster unfill
}

# doctor HOME: its exit status in $status, what it said in $OUT.
doctor() {
    status=0
    timeout -k 5 100 "$BUILD_DIR/bin/ckpt" doctor --home "$1" >"$OUT" 2>&1 3>&- ||
        status=$?
}

# diagnoses HOME SEEN FIX: doctor fails, and says these.
diagnoses() {
    doctor "$1"
    is "$status" 1 "exit status of doctor"
    out_has "^ceph +FAIL .*$2"
    out_has "fix: .*$3"
}

@test "doctor says whether a home in RADOS can be had, and what to do" {
    doctor "$HOME_DIR"
    is "$status" 0 "exit status of doctor"
    out_has '^ceph +ok .*records in pool meta, blobs in pool data'
    out_has '^ceph speed +ok .*an object created, read and removed in'
    out_has '^home +ok .*the first trainer makes it'
    sed 's/key = .*/key = AQBVZ0Jn0gAAABAAbad0bad0bad0bad0bad0bA==/' \
        "$DIR/client.ckptd.keyring" >"$BATS_TEST_TMPDIR/keyring"
    sed "s,^keyring = .*,keyring = $BATS_TEST_TMPDIR/keyring," \
        "$CKPT_CEPH_CONF" >"$BATS_TEST_TMPDIR/conf"
    diagnoses "${HOME_DIR/$CKPT_CEPH_CONF/$BATS_TEST_TMPDIR/conf}" \
        'the monitors \(.*:6789.*\) do not take the key of client.ckptd' \
        'ceph auth get client.ckptd'
    diagnoses "${HOME_DIR/user=ckptd/user=nobody}" \
        'no key for client.nobody' 'ceph auth get client.nobody'
    diagnoses "${HOME_DIR/meta/nopool}" 'pool nopool is not there' \
        'ceph osd pool create nopool'
    diagnoses "${HOME_DIR/\/ckpt/\/other}" 'the key may not do this' \
        'ceph auth caps client.ckptd .*pool=meta namespace=other'
    diagnoses "${HOME_DIR/conf=*&/conf=/no/such.conf&}" \
        '/no/such.conf' 'conf=PATH'
}

@test "without librados its package is named" {
    mkdir "$BATS_TEST_TMPDIR/lib"
    echo broken >"$BATS_TEST_TMPDIR/lib/librados.so.2"
    export LD_LIBRARY_PATH=$BATS_TEST_TMPDIR/lib
    diagnoses "$HOME_DIR" 'RADOS needs librados' 'apt-get install librados2'
    tool_is 1 ls
    out_has 'apt-get install librados2'
}

@test "a cluster that does not answer is told in time, and holds up nobody" {
    patience 2
    cluster hang-mon
    start_daemon --rados
    start_job --ranks 1 open
    mkdir "$BATS_TEST_TMPDIR/folder"
    began=$SECONDS
    timeout 50 "$JOB" --home "$BATS_TEST_TMPDIR/folder" --ranks 1 open fill:1 \
        save:1 wait:committed close >"$OUT.folder" 2>&1 3>&-
    at_most $((SECONDS - began)) 1 "seconds in which another home is used"
    [ ! -s "$OUT" ] || complain "the home in RADOS was opened too early"
    end_job
    out_has 'open error ETIMEDOUT .*the monitors .* did not answer in time'
    stop_daemon
    began=$SECONDS
    tool ls
    cluster wake-mon
    is "$status" 1 "exit status of ls"
    out_has 'the monitors \(.*\) did not answer in time .*see `ceph -s`'
    at_most $((SECONDS - began)) 6 "seconds"
}

has_daemon() {
    [ -n "$(daemon_pid)" ]
}

# refuses WORDS [ARGUMENT]...: ckpt_open does.
refuses() {
    local words=$1
    shift
    job_fails "$@" open
    out_has "open error $words"
}

@test "a job in RADOS is saved, its daemon killed, and loaded in another layout" {
    job --ranks 2 open fill:1 save:1 wait:committed close
    wait_quiet
    start_job --ranks 2 open load fill:2 save:2 wait:committed \
        mark:"$BATS_TEST_TMPDIR/saved" hold:"$BATS_TEST_TMPDIR/go" \
        fill:3 save:3 wait:committed close
    eventually test -e "$BATS_TEST_TMPDIR/saved"
    kill -KILL "$(daemon_pid)"
    eventually has_daemon
    touch "$BATS_TEST_TMPDIR/go"
    end_job
    is "$status" 0 "exit status of the job"
    job --ranks 3 open load fill:4 save:4 wait:committed close
    out_count "load ok id=3/2 version=3" 3
    is "$(saves)" "1/1 2/2 3/2 4/3" "checkpoints"
    # The options in another order, or none where the home knows better, are the
    # same home.
    HOME_DIR="rados://meta/ckpt-$BATS_TEST_NUMBER?user=ckptd&conf=$CKPT_CEPH_CONF"
    job --ranks 1 open load close
    out_count "load ok id=4/3 version=4" 1
}

@test "all verbs know a home in RADOS, with the local store and without" {
    job --ranks 2 open fill:1 save:1 wait:committed fill:2 save:2 \
        wait:committed close
    job --ranks 2 open load fill:3 save:3 wait:committed close
    wait_quiet
    tool_is 0 ls
    out_count '^run' 3
    tool_is 0 show run@latest:t00
    tool_is 0 verify --deep
    out_count '\sok\s' 3
    tool_is 0 where run@2
    tool_is 0 scrub
    tool_is 0 scrub --resume
    tool_is 0 pin run@1
    tool_is 0 gc --keep-last 1 --yes
    is "$(saves)" "1/1 2/1 3/2" "checkpoints: pinned, the parent, the newest"
    tool_is 0 unpin run@1
    tool_is 0 gc --keep-last 1 --yes
    is "$(saves)" "2/1 3/2" "checkpoints"
    tool_is 0 doctor
    out_has '^run +ok +run: 2 checkpoints'
    tool_is 10 show run@1
    # From a machine that has the key and nothing else.
    unset CKPT_LOCAL
    tool_is 0 ls --json
    tool_is 0 show run@3
    tool_is 3 verify run@3
    out_has 'no local store is named'
    tool doctor
    out_has '^local store +warn'
}

@test "what keeps a trainer from its home in RADOS is told by ckpt_open and doctor" {
    (
        unset CKPT_LOCAL
        refuses 'EINVAL .*segments cannot lie in RADOS: .*CKPT_LOCAL'
    )
    HOME_DIR=${HOME_DIR/meta/nopool} refuses \
        'ENOENT .*rados://nopool/.* pool nopool is not there .*ceph osd pool create'
    HOME_DIR=${HOME_DIR/\/ckpt/\/other} refuses \
        "EPERM .*pool meta: .* the key may not do this .*ceph auth caps client.ckptd"
    HOME_DIR=${HOME_DIR/user=ckptd/user=nobody} refuses \
        'ENOENT .*no key for client.nobody'
    HOME_DIR=rados://meta/a/b refuses 'EINVAL .*namespace .a/b.'
    job --ranks 1 open close
    cluster fill
    until run_job --ranks 1 open close && [ $status -eq 1 ]; do sleep 0.2; done
    out_has "open error ENOSPC .*: No space left on device"
    HOME_DIR=${HOME_DIR/\/ckpt-/\/ckpt-new-} refuses \
        'ENOSPC .*pool meta: .*full .*ceph df'
    diagnoses "$HOME_DIR" 'pool meta: creating an object: full' 'ceph df'
    cluster unfill
    cluster wait
    job --ranks 1 open fill:1 save:1 wait:committed close
}

@test "what was copied to the data pool outlives the node" {
    export CKPT_REMOTE_EVERY=1
    job --ranks 2 open fill:1 save:1 wait:remote close
    wait_quiet
    tool_is 0 ls --json
    out_has '"state":"REMOTE"'
    rm -r "$LOCAL"
    tool_is 0 verify --deep
    job --ranks 3 open load fill:2 save:2 wait:remote close
    out_count "load ok id=1/1 version=1 .*from the remote tier" 3
}

@test "what rots in the data pool is found, said, and copied anew" {
    local space=ckpt-$BATS_TEST_NUMBER
    export CKPT_REMOTE_EVERY=1
    job --ranks 2 open fill:1 save:1 wait:remote close
    wait_quiet
    tool_is 0 scrub
    is "$(cut -f1,3,6 "$OUT" | tr '\t\n' ' ;')" "run@1 ok remote;run@1 ok nvme;" "lines"
    read -r pool object _ <<<"$(cluster dump "$space" | grep -F data/00000001- | head -1)"
    is "$pool" data "its pool"
    cluster spoil "$pool" "$space" "$object"
    tool_is 4 scrub
    out_has "^run@1	generation 1	corrupt	.*	remote"
    tool_is 0 ls
    out_has "^run	1	1	COMMITTED	.*damaged-remote"
    tool_is 1 doctor
    out_has "damaged +FAIL +a scrub found, remote: run@1/1: data/"
    out_has "fix: ckpt cp run@1/1 --to '$(sed 's/[?]/[?]/g' <<<"$HOME_DIR")'"
    tool_is 0 cp run@1 --to "$HOME_DIR"
    tool_is 0 ls
    out_has "^run	1	1	REMOTE	"
    rm -r "$LOCAL"
    tool_is 0 scrub
    tool_is 0 verify --deep
}

@test "ckpt cp: from a folder into RADOS, killed and gone on with, and back" {
    local rados=$HOME_DIR folder=$BATS_TEST_TMPDIR/folder state=(
        --tensors 12 --rows 1024 --columns 1024) # 48 MiB: several blobs
    mkdir "$folder" "$folder.2"
    HOME_DIR=$folder job --ranks 2 "${state[@]}" open fill:1 save:1 \
        wait:committed close
    HOME_DIR=$folder wait_quiet
    HOME_DIR=$folder tool_is 0 cp --dry-run --json run@1 --to "$rados"
    is "$(grep '^{' "$OUT" | jq -r .files)" 4 "blobs"
    CKPT_HOME=$folder timeout -s KILL 2 "$BUILD_DIR/bin/ckpt" cp --rate 12M \
        run@1 --to "$rados" >"$OUT" 2>&1 3>&- && complain "it was done too soon"
    tool_is 0 ls --json
    is "$(grep -cE 'COMMITTED|REMOTE' "$OUT" || true)" 0 "checkpoints there"
    HOME_DIR=$folder tool_is 0 cp --json run@1 --to "$rados"
    is "$(grep '^{' "$OUT" | jq -r '"\(.result) \(.files)"')" "copied 4" "result"
    at_most "$(grep '^{' "$OUT" | jq -r .files_written)" 3 "blobs that were written"
    HOME_DIR=$folder tool_is 0 cp --json run@1 --to "$rados"
    is "$(grep '^{' "$OUT" | jq -r '"\(.result) \(.files_written)"')" "there 0" \
        "once more"
    rm -rf "$folder" "$LOCAL"
    tool_is 0 verify --deep
    tool_is 0 ls
    out_has "^run	1	1	REMOTE	"
    job --ranks 3 "${state[@]}" open load close
    out_count "load ok id=1/1 version=1 " 3
    wait_quiet
    tool_is 0 cp --json run@1 --to "$folder.2"
    is "$(grep '^{' "$OUT" | jq -r '"\(.result) \(.files)"')" "copied 1" "back"
    HOME_DIR=$folder.2 job --ranks 1 "${state[@]}" open load close
    out_count "load ok id=1/1 version=1 " 1
}

@test "a daemon that was not started for RADOS says how to get one that was" {
    start_daemon
    refuses "EOPNOTSUPP .*pid $daemon.* without --rados .*start it with --rados"
    stop_daemon
    start_daemon --rados
    job --ranks 1 open fill:1 save:1 wait:committed close
    stop_daemon
}

# CKPT_TEST_CEPH=1 (make test-ceph) has it hang before, which takes Ceph longer
# to notice.
@test "an OSD that hangs or dies during saves delays them, and nothing is lost" {
    start_job --ranks 2 open fill:1 save:1 wait:committed \
        mark:"$BATS_TEST_TMPDIR/one" hold:"$BATS_TEST_TMPDIR/hung" \
        fill:2 save:2 wait:committed:60000 \
        mark:"$BATS_TEST_TMPDIR/two" hold:"$BATS_TEST_TMPDIR/dead" \
        fill:3 save:3 wait:committed:60000 close
    eventually test -e "$BATS_TEST_TMPDIR/one"
    [ -z "${CKPT_TEST_CEPH:-}" ] || cluster hang-osd 1
    began=$SECONDS
    touch "$BATS_TEST_TMPDIR/hung"
    eventually test -e "$BATS_TEST_TMPDIR/two"
    cluster kill-osd 2
    touch "$BATS_TEST_TMPDIR/dead"
    if [ -n "${CKPT_TEST_CEPH:-}" ]; then
        echo "# figure: a save took $((SECONDS - began)) s while an OSD hung" >&3
        cluster wake-osd 1
    fi
    end_job
    cluster restart-osd 2
    is "$status" 0 "exit status of the job"
    job --ranks 3 open load close
    out_count "load ok id=3/1 version=3" 3
    cluster wait
}

@test "a cluster that goes away during a save: errors in time, and no loss" {
    patience 1 # a request: 4.5 s, and one operation more
    start_job --ranks 2 open fill:1 save:1 wait:committed \
        mark:"$BATS_TEST_TMPDIR/saved" hold:"$BATS_TEST_TMPDIR/go" \
        fill:2 save:2 mark:"$BATS_TEST_TMPDIR/begun" \
        "?wait:committed:100000" mark:"$BATS_TEST_TMPDIR/told" \
        hold:"$BATS_TEST_TMPDIR/back" fill:3 save:3 wait:committed close
    eventually test -e "$BATS_TEST_TMPDIR/saved"
    cluster hang-mon
    for i in 0 1 2; do cluster hang-osd $i; done
    began=$SECONDS
    started=$(date +%s%N)
    touch "$BATS_TEST_TMPDIR/go"
    eventually test -e "$BATS_TEST_TMPDIR/begun"
    held=$((($(date +%s%N) - started) / 1000000))
    echo "# figure: ranks went on $held ms after the cluster had gone away" >&3
    at_most $held 2000 "milliseconds that the ranks were held"
    until [ -e "$BATS_TEST_TMPDIR/told" ] || [ $((SECONDS - began)) -gt 60 ]; do
        sleep 0.2
    done
    took=$((SECONDS - began))
    cluster wake-mon
    for i in 0 1 2; do cluster wake-osd $i; done
    echo "# figure: ranks were told after $took s that the cluster is away" >&3
    at_most $took 15 "seconds until the ranks were told"
    touch "$BATS_TEST_TMPDIR/back"
    end_job
    is "$status" 0 "exit status of the job"
    out_count "wait:committed:100000 error CKPT_EABORTED .*rados://meta/ckpt-$BATS_TEST_NUMBER: Connection timed out" 2
    is "$(saves)" "1/1 3/1" "checkpoints"
    is "$(saves ABORTED)" "2/1" "what was aborted"
    job --ranks 1 open load close
    out_count "load ok id=3/1 version=3" 1
}

@test "what a network loses of a daemon's changes no decision" {
    [ -z "$CKPT_CEPH_NO_NET" ] || skip "$CKPT_CEPH_NO_NET"
    rounds=1
    [ -z "${CKPT_TEST_LONG:-}" ] || rounds=6
    patience 1
    start_job --ranks 2 open fill:1 save:1 wait:committed \
        mark:"$BATS_TEST_TMPDIR/saved" storm:10:$((rounds * 20)):60000 close
    eventually test -e "$BATS_TEST_TMPDIR/saved"
    for round in $(seq $rounds); do
        cut="cluster client"
        [ $((round % 3)) -ne 2 ] || cut="client cluster"
        random 10
        sleep 0.$random
        cluster lose $cut
        sleep 7
        cluster carry $cut
    done
    end_job
    is "$status" 0 "exit status of the job"
    cp "$OUT" "$OUT.storm"
    committed=" $(saves) " aborted=" $(saves ABORTED) "
    while read -r step code; do
        case $code in
        ok) [[ $committed == *" $step/1 "* ]] ;;
        CKPT_EABORTED) [[ $committed != *" $step/1 "* ]] ;;
        *) true ;;
        esac || complain "a rank was told of step $step: $code; $committed"
    done < <(sed -nE -e 's/.* saved:([0-9]+) ok$/\1 ok/p' \
        -e 's/.* saved:([0-9]+) error ([A-Z_]+) .*/\1 \2/p' "$OUT.storm")
    echo "# figure: $rounds times cut off, $(grep -cE 'saved:.* ok' \
        "$OUT.storm") ranks were told COMMITTED, $(grep -c 'CKPT_EABORTED' \
        "$OUT.storm") ABORTED" >&3
    newest=$(echo $committed | tr ' ' '\n' | sort -n | tail -1)
    job --ranks 2 open load close
    out_count "load ok id=$newest " 2
}
