#!/bin/sh
# tools/bootstrap.sh - from a fresh Debian 12 to a built and tested ckptd.
#
# Usage: sh tools/bootstrap.sh build|demo|test|test-long|test-ceph|bench|lint
#
# Asks dpkg which of the target's packages are missing, installs those with
# apt-get (as root, or through sudo), and runs `make TARGET` in the root of
# the repository. On a prepared machine it needs neither root nor a network.
set -u

target=${1:-}
root=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
lock_wait_s=${CKPT_APT_WAIT_S:-600}

say() {
    printf 'bootstrap: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

build='gcc libc6-dev make pkg-config liburing-dev liblz4-dev libxxhash-dev
    libssl-dev libjansson-dev libopenmpi-dev openmpi-bin'
test="$build libcmocka-dev libseccomp-dev bats python3 jq procps systemd clang
    libclang-rt-dev libfuse3-dev fuse3 iproute2"
case $target in
build) packages=$build goal=all ;;
demo) packages=$build goal=demo ;;
test) packages=$test goal=test ;;
test-long) packages=$test goal=test-long ;;
test-ceph)
    packages="$test ceph-mon ceph-osd ceph-common librados-dev"
    goal=test-ceph
    ;;
bench) packages="$build python3 fio" goal=bench ;;
lint) packages="$test clang-format clang-tidy cppcheck" goal=lint ;;
*)
    echo "usage: sh tools/bootstrap.sh" \
        "build|demo|test|test-long|test-ceph|bench|lint" >&2
    exit 2
    ;;
esac

# Prints those of "$@" that are not installed.
missing_of() {
    for package in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
        installed) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

# Runs "$@" with its output in $log, and shows that time passes: on a terminal
# in one line, else a line each half minute.
with_progress() {
    what=$1
    shift
    "$@" >"$log" 2>&1 &
    child=$!
    spent=0
    while kill -0 $child 2>/dev/null; do
        if [ -t 2 ]; then
            printf '\rbootstrap: %s ... %d s ' "$what" $spent >&2
        elif [ $((spent % 30)) -eq 0 ]; then
            say "$what ... $spent s"
        fi
        sleep 1
        spent=$((spent + 1))
    done
    [ -t 2 ] && printf '\n' >&2
    wait $child
}

# apt-get, waiting while another package manager holds the lock.
apt() {
    what=$1
    shift
    waited=0
    while :; do
        with_progress "$what" $sudo env DEBIAN_FRONTEND=noninteractive \
            LC_ALL=C apt-get -q -o Acquire::Retries=3 "$@" && return 0
        grep -qE 'Could not get lock|Unable to (lock|acquire)' "$log" ||
            return 1
        [ $waited -ge "$lock_wait_s" ] && return 1
        holder=$(sed -n 's/.*held by process \([0-9]* ([^)]*)\).*/\1/p' \
            "$log" | head -n 1)
        say "another package manager works (${holder:-unknown process});" \
            "waiting, $waited of $lock_wait_s s"
        sleep 5
        waited=$((waited + 5))
    done
}

# Says what went wrong, by package, and ends.
apt_failed() {
    tail -n 20 "$log" >&2
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 ||
            say "no source in /etc/apt offers $package: add the Debian 12" \
                "main repository (deb.debian.org/debian bookworm main)"
    done
    grep -qE 'Could not resolve|Connection (failed|timed out)|Failed to fetch' \
        "$log" "$log.update" && say "the package mirror could not be" \
        "reached: check the network, http_proxy, and the mirror in /etc/apt"
    grep -qE 'not enough free space|No space left' "$log" &&
        say "the disk is full: free some space (apt-get clean helps)"
    grep -qE 'Could not get lock|Unable to (lock|acquire)' "$log" &&
        say "the lock was not released within $lock_wait_s s: see which" \
            "process holds it, or set CKPT_APT_WAIT_S"
    die "not installed: $*. Then run: sh tools/bootstrap.sh $target"
}

install_missing() {
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "missing: $*; become root or get sudo, and run:" \
                "apt-get install $*"
        say "asking for sudo to install: $*"
        sudo -v || die "sudo refused; ask an administrator to run:" \
            "apt-get install $*"
        sudo=sudo
    fi
    log=$(mktemp) || exit 1
    trap 'rm -f "$log" "$log.update"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    say "to install: $*"
    # A third-party source that fails to update may not matter: go on and see.
    apt "updating the package lists" update ||
        say "apt-get update failed; going on with the lists there are"
    grep -m 3 -E '^[WE]: ' "$log" >&2
    cp "$log" "$log.update"
    apt "installing $# packages" install -y --no-install-recommends "$@" ||
        apt_failed "$@"
    still=$(missing_of "$@")
    [ -z "$still" ] || die "apt-get succeeded without installing: $still"
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # lists of names
    missing=$(missing_of $packages)
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_missing $missing
else
    say "this is not Debian: install what stands for these yourself:" $packages
fi
[ -z "${log:-}" ] || rm -f "$log" "$log.update"
exec make -C "$root" --no-print-directory -j"$(nproc)" "$goal"
