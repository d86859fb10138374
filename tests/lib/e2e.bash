# tests/lib/e2e.bash - what the end-to-end suites share.
#
# Each test has a home of its own, runs jobs of build/tests/job (a script of
# commands per job, see tests/progs/job.c) against real daemons, and leaves no
# process behind. A daemon ends when it has nothing to do (CKPT_LINGER=0).

e2e_paths() {
    ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
    BUILD_DIR=${BUILD_DIR:-$ROOT/build}
    JOB=$BUILD_DIR/tests/job
    CKPTD=$BUILD_DIR/bin/ckptd
    umask 022
    export CKPT_LINGER=0 CKPT_DAEMON=$CKPTD
    unset CKPT_HOME CKPT_LOCAL CKPT_SOCKET CKPT_RANK
}

e2e_setup() {
    e2e_paths
    HOME_DIR=$BATS_TEST_TMPDIR/home
    LOCAL=$HOME_DIR/local
    OUT=$BATS_TEST_TMPDIR/out
    # Of AddressSanitizer and its like: slower, and larger.
    case $BUILD_DIR in
    *-address* | *-thread*) SANITIZED=1 ;;
    *) SANITIZED= ;;
    esac
    mkdir "$HOME_DIR"
}

# A suite that needs more has its own, and calls these.
setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# The pids of all processes with this test's folder in their arguments.
our_pids() {
    grep -lsF -e "$BATS_TEST_TMPDIR/" -e "${OPEN_DIR:-$BATS_TEST_TMPDIR}/" \
        /proc/[0-9]*/cmdline |
        sed 's,/proc/\([0-9]*\)/cmdline,\1,' | grep -vx "$$" || true
}

e2e_teardown() {
    local pid
    for pid in $(our_pids); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    wait || true
    [ -z "${OPEN_DIR:-}" ] || rm -rf "$OPEN_DIR"
}

# Fails, showing what was seen.
complain() {
    echo "$*"
    [ ! -s "$OUT" ] || sed 's/^/  out: /' "$OUT"
    [ ! -s "$LOCAL/ckptd.log" ] || tail -n 30 "$LOCAL/ckptd.log" | sed 's/^/  log: /'
    return 1
}

# run_job ARGUMENT...: to its end; output in $OUT, its exit status in $status.
run_job() {
    status=0
    timeout -k 5 150 "$JOB" --home "$HOME_DIR" "$@" >"$OUT" 2>&1 3>&- ||
        status=$?
    [ $status -ne 124 ] && [ $status -ne 137 ] || complain "it hangs: $*"
}

# job ARGUMENT...: every rank must have done all.
job() {
    run_job "$@"
    [ $status -eq 0 ] || complain "job $*: exit status $status"
}

# job_fails ARGUMENT...: some rank must have ended early.
job_fails() {
    run_job "$@"
    [ $status -eq 1 ] || complain "job $*: exit status $status, not 1"
}

# start_job ARGUMENT...: in the background, its pid in $job_pid, output in $OUT,
# emptied before it returns: nobody may take an earlier job's lines for its own.
start_job() {
    : >"$OUT"
    timeout -k 5 150 "$JOB" --home "$HOME_DIR" "$@" >"$OUT" 2>&1 3>&- &
    job_pid=$!
}

# The exit status of the job in the background goes to $status.
end_job() {
    status=0
    wait "$job_pid" || status=$?
}

# out_has REGEX: a line of the output matches.
out_has() {
    grep -qE -- "$1" "$OUT" || complain "no line matches: $1"
}

out_lacks() {
    ! grep -qE -- "$1" "$OUT" || complain "a line matches: $1"
}

# out_count REGEX COUNT: as many lines match.
out_count() {
    local count
    count=$(grep -cE -- "$1" "$OUT") || true
    [ "$count" -eq "$2" ] || complain "$count lines, not $2, match: $1"
}

# is VALUE WANTED WORDS...
is() {
    [ "$1" = "$2" ] || complain "${*:3}: it is '$1', not '$2'"
}

# at_most VALUE LIMIT WORDS...
at_most() {
    [ "$1" -le "$2" ] || complain "${*:3}: $1 is more than $2"
}

at_least() {
    [ "$1" -ge "$2" ] || complain "${*:3}: $1 is less than $2"
}

# tool ARGUMENT...: ckpt on the home; output in $OUT, exit status in $status.
tool() {
    status=0
    CKPT_HOME=$HOME_DIR timeout -k 5 100 "$BUILD_DIR/bin/ckpt" "$@" \
        >"$OUT" 2>"$OUT.err" 3>&- || status=$?
    cat "$OUT.err" >>"$OUT"
}

# tool_is STATUS ARGUMENT...
tool_is() {
    local wanted=$1
    shift
    tool "$@"
    [ "$status" -eq "$wanted" ] ||
        complain "ckpt $*: exit status $status, not $wanted"
}

# saves [STATE]: "STEP/GENERATION" of the saves of run `run` in that state
# (COMMITTED), on one line in the order of ls --all.
saves() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --all --json run |
        jq -r "select(.state == \"${1:-COMMITTED}\") | \"\(.step)/\(.generation)\"" |
        paste -sd' '
}

# Why steps were aborted, one a line.
reasons() {
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" ls --all --json run |
        jq -r 'select(.state == "ABORTED") | .reason'
}

# The pid of the daemon of the local store (or of $1); empty if there is none.
daemon_pid() {
    local local=${1:-$LOCAL} file name
    for file in $(grep -lszxF -- "$local" /proc/[0-9]*/cmdline); do
        name=
        read -r -d '' name 2>/dev/null <"$file" || true
        if [ "${name##*/}" = ckptd ]; then
            file=${file#/proc/}
            echo "${file%/cmdline}"
            return
        fi
    done
}

# Until COMMAND succeeds, at most 30 s.
eventually() {
    local tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || complain "never: $*" || return 1
        sleep 0.05
    done
}

is_quiet() {
    [ -z "$(daemon_pid)" ]
}

# The daemon ends when it has done all that it had to.
wait_quiet() {
    eventually is_quiet
}

# A foreground daemon that stays, its pid in $daemon.
start_daemon() {
    "$CKPTD" --foreground --local "$LOCAL" "$@" \
        >>"$BATS_TEST_TMPDIR/daemon.log" 2>&1 3>&- &
    daemon=$!
    eventually test -S "$LOCAL/ckptd.sock"
}

stop_daemon() {
    kill -TERM "$daemon"
    wait "$daemon"
}

# Bytes allocated to segments.
segment_bytes() {
    local total
    total=$(find "${1:-$LOCAL}/seg" -type f -printf '%b\n' |
        awk '{ s += $1 } END { print s * 512 }')
    echo "$total"
}

# flip FILE OFFSET [COUNT]: turns bytes over.
flip() {
    python3 - "$1" "$2" "${3:-1}" <<'P' 3>&-
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    data = f.read(int(sys.argv[3]))
    f.seek(int(sys.argv[2]))
    f.write(bytes(b ^ 255 for b in data))
P
}

# place RUN@STEP FIELD...: fields of the save's first chunk, on one line.
place() {
    local target=$1
    shift
    CKPT_HOME=$HOME_DIR "$BUILD_DIR/bin/ckpt" where --json "$target" |
        head -1 | jq -r "[$(printf '.%s,' "$@" | sed 's/,$//')] | @tsv"
}

# need_root: for tests that act as several users.
need_root() {
    [ "$(id -u)" -eq 0 ] || skip "needs root, to act as another user"
}

# random LIMIT: the next number of a row that $RANDOM_SEED begins.
random() {
    RANDOM_SEED=$(((${RANDOM_SEED:-1} * 1103515245 + 12345) % 2147483648))
    random=$((RANDOM_SEED / 65536 % $1))
}

# Moves this test to a folder that other users can reach, and have rights in
# as the test gives them.
open_folder() {
    OPEN_DIR=$(mktemp -d "/tmp/ckptd-e2e.XXXXXX")
    chmod 755 "$OPEN_DIR"
    mkdir "$OPEN_DIR/bin" "$OPEN_DIR/tests"
    cp "$BUILD_DIR/bin/ckptd" "$BUILD_DIR/bin/ckpt" "$OPEN_DIR/bin"
    cp "$JOB" "$OPEN_DIR/tests"
    HOME_DIR=$OPEN_DIR/home
    LOCAL=$HOME_DIR/local
    mkdir -m 755 "$HOME_DIR"
}

# run_as_other COMMAND...: as a user who is not root and owns nothing here.
run_as_other() {
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        env CKPT_LINGER=0 CKPT_DAEMON="$OPEN_DIR/bin/ckptd" "$@" 3>&-
}
