#!/bin/sh
# tools/demo.sh - a trainer saves while it trains, is killed, and goes on.
#
# Usage: B=build sh tools/demo.sh        (make demo builds first)
#
# Trains a small language model without interruption; trains it again on four
# ranks and kills them all at a random moment; goes on with two ranks in one
# layout and then in another, and draws both losses; at last kills and resumes
# a third training in one layout, which must end with the very bytes of the
# first. Exits with 1 when anything is not as it should be. Everything happens
# in a folder of its own under TMPDIR, which is removed at the end.
set -u

B=${B:-build}
here=$(cd "$(dirname "$0")" && pwd -P) || exit 1
train_lm=$B/bin/train_lm
ckpt=$B/bin/ckpt
steps=120
job= # mpirun's pid while a training runs

# The private daemon that a trainer starts ends with its last trainer.
export CKPT_LINGER=0
unset CKPT_HOME CKPT_LOCAL CKPT_SOCKET

say() {
    printf '\n== %s\n' "$*"
}

die() {
    printf '\ndemo: %s\n' "$*" >&2
    exit 1
}

# The ranks are mpirun's children.
ranks() {
    grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2>/dev/null |
        sed 's,/proc/\([0-9]*\)/status,\1,'
}

# What else runs for this demo: the daemon has our folder in its arguments.
daemons() {
    grep -lF "$tmp" /proc/[0-9]*/cmdline 2>/dev/null |
        sed 's,/proc/\([0-9]*\)/cmdline,\1,' | grep -vx "$$"
}

clean_up() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$job" ]; then
        kill "$job" 2>/dev/null
        wait "$job" 2>/dev/null
    fi
    tries=0
    while [ -n "$(daemons)" ] && [ $tries -lt 50 ]; do
        [ $tries -ne 20 ] || kill $(daemons) 2>/dev/null
        sleep 0.1
        tries=$((tries + 1))
    done
    rm -rf "$tmp"
    exit $status
}

for program in "$train_lm" "$ckpt" "$B/bin/ckptd"; do
    [ -x "$program" ] || die "$program is missing: run make demo"
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ckptd-demo.XXXXXX") || exit 1
trap clean_up EXIT
trap 'exit 130' INT TERM
home=$tmp/home
mkdir "$home" || exit 1

# launch RANKS RUN LOG FLAGS...: start a training in the background.
launch() {
    count=$1 run=$2 log=$tmp/$3.tsv
    shift 3
    : >>"$log"
    sh "$here/mpirun_local.sh" -n "$count" "$train_lm" --home "$home" \
        --run "$run" --log "$log" --save-every 10 "$@" \
        >"$tmp/out" 2>"$tmp/err" &
    job=$!
}

# The last step in the log.
step_now() {
    awk 'END { print $1 + 0 }' "$log"
}

# show TEXT STEP STEPS: a bar on a terminal.
show() {
    [ -t 2 ] || return 0
    awk -v text="$1" -v step="$2" -v steps="$3" 'BEGIN {
        bar = ""
        for (i = 0; i < 40; i++)
            bar = bar (i * steps < 40 * step ? "#" : ".")
        printf "\r%-22s [%s] step %d of %d ", text, bar, step, steps
    }' >&2
}

show_end() {
    if [ -t 2 ]; then
        printf '\n' >&2
    else
        printf '%s: step %d\n' "$1" "$2" >&2
    fi
}

# finish TEXT STEPS: wait for the training; its last line goes to $final.
finish() {
    while kill -0 "$job" 2>/dev/null; do
        show "$1" "$(step_now)" "$2"
        sleep 0.2
    done
    wait "$job"
    status=$?
    job=
    show "$1" "$(step_now)" "$2"
    show_end "$1" "$(step_now)"
    if [ $status -ne 0 ]; then
        cat "$tmp/out" "$tmp/err" >&2
        die "$1: the training ended with $status"
    fi
    final=$(grep '^final ' "$tmp/out") || die "$1: no final line"
    grep -h '^resumed ' "$tmp/err"
    printf '%s\n' "$final"
}

# finish_resumed TEXT STEPS: the same for a training that must not begin anew.
finish_resumed() {
    finish "$@"
    grep -q '^resumed ' "$tmp/err" || die "$1: it began anew"
}

# random LOW HIGH: a number, both included.
random() {
    number=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    echo $((number % ($2 - $1 + 1) + $1))
}

# kill_at_random TEXT: SIGKILL to every rank of the training, at a random step
# and a random moment after it, with at least one checkpoint behind it.
kill_at_random() {
    target=$(random 25 80)
    while [ "$(step_now)" -lt "$target" ] ||
        ! grep -q ' is committed' "$tmp/err"; do
        kill -0 "$job" 2>/dev/null || {
            cat "$tmp/err" >&2
            die "$1: the training ended by itself"
        }
        show "$1" "$(step_now)" "$steps"
        sleep 0.05
    done
    sleep "0.0$(random 10 99)"
    victims=$(ranks "$job")
    # shellcheck disable=SC2086 # a list of pids
    kill -KILL $victims || die "$1: no ranks to kill"
    wait "$job" 2>/dev/null
    job=
    show_end "$1" "$(step_now)"
    printf 'SIGKILL to ranks %s at %s, after step %d\n' \
        "$(echo $victims)" "$(date +%H:%M:%S)" "$(step_now)"
}

say "uninterrupted, 4 ranks (dp=2 tp=2): the reference"
launch 4 reference reference --dp 2 --tp 2 --steps $steps
finish reference $steps
reference=${final##* }

say "the same on 4 ranks (dp=2 tp=2), killed at a random moment"
launch 4 demo part1 --dp 2 --tp 2 --steps $steps
kill_at_random killed

say "what is left: ckpt ls, ckpt verify"
"$ckpt" --home "$home" ls demo || die "ckpt ls failed"
"$ckpt" --home "$home" verify demo@latest || die "ckpt verify failed"

middle=$(($(step_now) + 20))
say "go on with 2 ranks as pp=2, to step $middle"
launch 2 demo part2 --pp 2 --steps $middle
finish_resumed "pp=2" $middle

say "and with 2 ranks as tp=2, to step $steps"
launch 2 demo part3 --tp 2 --steps $steps
finish_resumed "tp=2" $steps

say "loss: . reference, 1 dp=2 tp=2 until killed, 2 pp=2, 3 tp=2"
awk -f "$here/plot_loss.awk" "$tmp/reference.tsv" "$tmp/part1.tsv" \
    "$tmp/part2.tsv" "$tmp/part3.tsv" | tee "$tmp/plot"
awk '/at most/ { if ($(NF - 4) + 0 > 1) exit 1 }' "$tmp/plot" ||
    die "the loss strays more than 1 % from the reference"

say "killed and resumed in one layout (dp=2 tp=2): the same bytes?"
launch 4 same same1 --dp 2 --tp 2 --steps $steps
kill_at_random killed
launch 4 same same2 --dp 2 --tp 2 --steps $steps
finish_resumed resumed $steps
echo "reference $reference"
echo "resumed   ${final##* }"
[ "${final##* }" = "$reference" ] || die "the states differ"
printf '\nThe states are identical, bit for bit.\n'
