#!/bin/sh
# tests/nfs/real.sh - a real NFS server, and two clients, of this very kernel.
#
#   real.sh check               exits 0, or says what is missing and exits 77
#   real.sh run DIR COMMAND...  in a world of its own (mounts, network, host
#                               name), where DIR/server is exported by NFS 4.2
#                               and mounted at DIR/a and, by a second client
#                               with another address and name, at DIR/b. The
#                               command has CKPT_TEST_NFS=DIR.
#
# DIR must be empty, and lie on a file system that can be exported. MODULES is
# a folder with lib/modules, if it is not /.
set -u

missing() {
    echo "$*"
    exit 77
}

check() {
    [ "$(id -u)" -eq 0 ] || missing "needs root, to mount NFS"
    for module in nfsv4 nfsd veth; do
        modprobe ${MODULES:+-d "$MODULES"} $module 2>/dev/null
    done
    for kind in nfs4 nfsd; do
        grep -qw $kind /proc/filesystems ||
            missing "this kernel has no NFS (no $kind in /proc/filesystems)"
    done
    for tool in mount.nfs4 exportfs rpc.mountd rpc.nfsd ip nsenter unshare; do
        command -v $tool >/dev/null ||
            missing "no $tool (Debian: nfs-kernel-server, iproute2)"
    done
}

serve() {
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /var/lib/nfs
    mkdir -p /var/lib/nfs/v4recovery /var/lib/nfs/sm /run/lock
    : >/var/lib/nfs/etab
    : >/var/lib/nfs/rmtab
    mount -t nfsd nfsd /proc/fs/nfsd || return 1
    # No client is waited for longer than a lease, of 10 s at least.
    echo 10 >/proc/fs/nfsd/nfsv4leasetime
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    exportfs -o rw,no_root_squash,insecure,fsid=0,no_subtree_check \
        "*:$1" 2>/dev/null
    rpc.mountd -F -N 2 -N 3 &
    mountd=$!
    rpc.nfsd -N 3 -V 4.2 --host 10.9.0.1 4
}

# The second client: its own network, joined by a pair of links, and name.
join() {
    hostname one
    ip link set lo up
    unshare -n -u sleep 3600 &
    other=$!
    sleep 1
    nsenter -t $other -u hostname two
    ip link add nfs0 type veth peer name nfs1 netns $other &&
        ip addr add 10.9.0.1/24 dev nfs0 &&
        ip link set nfs0 up &&
        nsenter -t $other -n ip addr add 10.9.0.2/24 dev nfs1 &&
        nsenter -t $other -n ip link set nfs1 up &&
        nsenter -t $other -n ip link set lo up
}

finish() {
    umount -l "$dir/a" "$dir/b" 2>/dev/null
    rpc.nfsd 0
    # shellcheck disable=SC2086 # a pid or nothing
    kill ${mountd:-} ${other:-} 2>/dev/null
}

inside() {
    dir=$1
    shift
    mkdir -m 700 "$dir/server" "$dir/a" "$dir/b" || exit 1
    trap finish EXIT
    join && serve "$dir/server" || exit 1
    mount.nfs4 10.9.0.1:/ "$dir/a" -o vers=4.2 &&
        nsenter -t $other -n -u \
            mount.nfs4 10.9.0.1:/ "$dir/b" -o vers=4.2 || exit 1
    sleep 11 # the grace of a server that has just begun: no locks till then
    CKPT_TEST_NFS=$dir "$@"
}

case ${1:-} in
check) check ;;
run)
    shift
    check
    exec unshare --mount --net --uts --propagation private \
        sh "$0" inside "$@"
    ;;
inside)
    shift
    inside "$@"
    ;;
*)
    echo "usage: real.sh check | run DIR COMMAND..." >&2
    exit 2
    ;;
esac
