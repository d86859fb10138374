#!/bin/sh
# tests/nfs/uml.sh - what needs a real NFS, on a kernel of its own.
#
# Where this machine's kernel has no NFS, one that runs as a process does
# (Debian: user-mode-linux): its root is this machine's, read-only, and its disk
# a file. It serves and mounts NFS by real.sh and runs there test_store_nfs and
# the tests of nfs.bats that are about a real server. Two minutes or so.
#
# Usage: [B=build] [UML=linux.uml] [UML_MODULES=DIR] sh tests/nfs/uml.sh
#   UML_MODULES  where its modules are (/usr/lib/uml/modules)
set -u

cd "$(dirname "$0")/../.." || exit 1
root=$(pwd -P)
build=$root/${B:-build}
modules=${UML_MODULES:-/usr/lib/uml/modules}
uml=$(command -v "${UML:-linux.uml}") || {
    echo "no linux.uml (Debian: user-mode-linux)"
    exit 77
}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/ckptd-uml-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

truncate -s 2G "$work/disk"
mkfs.ext4 -q -F "$work/disk" || exit 1
mkdir "$work/out"

# The first process there. $work/out is where it tells how it went.
cat >"$work/init" <<EOF
#!/bin/sh
export PATH='$PATH' LD_LIBRARY_PATH='${LD_LIBRARY_PATH:-}' HOME=/root B='${B:-build}'
mount -t proc proc /proc
mount -t sysfs sysfs /sys
ln -s /proc/self/fd /dev/fd
mkdir /dev/shm
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/disk /mnt/out /mnt/modules/lib
ln -s '$modules' /mnt/modules/lib/modules
# Without a counter of changes a client cannot tell two changes of one tick of
# the server's clock apart (ARCHITECTURE.md).
mount -t ext4 -o iversion /dev/ubda /mnt/disk
mount -t hostfs none /mnt/out -o '$work/out'
[ -d /var/lib/nfs ] || { mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/nfs; }
mkdir /mnt/disk/nfs /mnt/disk/tmp
export TMPDIR=/mnt/disk/tmp MODULES=/mnt/modules BUILD_DIR='$build'
cd '$root'
sh tests/nfs/real.sh run /mnt/disk/nfs sh -c '
    "\$BUILD_DIR/tests/test_store_nfs" &&
    bats --formatter tap -f "real server" tests/e2e/nfs.bats' >/mnt/out/log 2>&1
echo \$? >/mnt/out/status
sync
halt -f
EOF
chmod 755 "$work/init"

timeout -k 5 "${UML_LIMIT_S:-600}" "$uml" mem=1G root=/dev/root \
    rootfstype=hostfs rootflags=/ ro ubd0="$work/disk" init="$work/init" \
    con=null con0=null,fd:1 quiet </dev/null >"$work/console" 2>&1
status=$(cat "$work/out/status" 2>/dev/null)
cat "$work/out/log" 2>/dev/null
[ -n "$status" ] || {
    tail -n 20 "$work/console"
    echo "uml.sh: that kernel ended without an answer"
    exit 1
}
exit "$status"
