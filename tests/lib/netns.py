#!/usr/bin/python3
"""A network of its own for a test: members, each in a network namespace, and a
router between them that can be told to lose what one sends to another.

    netns.py probe     can this process make one? If not: why, and status 77

The namespaces have no names and no files: they are held by descriptors of the
process that made the network, and by the processes in them. When those end,
however they end, the kernel takes everything away. Others find the network
through a file that its maker writes (publish(), find()).

Without privileges it is made inside a user namespace, where the kernel lets us.
"""
import ctypes
import json
import os
import select
import socket
import subprocess
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
ROUTER = "router"
NONE = 77  # status: no network can be made here
SELF_NET = "/proc/self/ns/net"

libc = ctypes.CDLL(None, use_errno=True)


def call(what, *words):
    if getattr(libc, what)(*words) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def open_ns(path):
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def ip(*words, keep=()):
    done = subprocess.run(["ip", *words], text=True, pass_fds=keep,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stdout.strip()}")


def leave():
    """This process, of one thread, into a new network namespace, if need be as
    the root of a new user namespace."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        call("unshare", CLONE_NEWNET)
        return
    except PermissionError:
        call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"),
                       ("gid_map", f"0 {gid} 1")):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


def why_not():
    """What keeps a process from making a network, or None."""
    done = subprocess.run([sys.executable, os.path.abspath(__file__), "probe"],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, NONE):
        sys.exit("netns.py probe failed")
    return done.stdout.strip() or None


class Network:
    """What has been made, for its maker and for others. A process that uses it
    has entered one of its namespaces."""

    def __init__(self, pid, fds):
        self.pid = pid
        self.fds = fds  # of process pid, by member
        self.address = {name: f"10.99.{i}.2"
                        for i, name in enumerate(n for n in fds if n != ROUTER)}

    @classmethod
    def make(cls, members):
        """This process becomes the router."""
        leave()
        fds = {ROUTER: open_ns(SELF_NET)}
        for name in members:
            call("unshare", CLONE_NEWNET)
            fds[name] = open_ns(SELF_NET)
            ip("link", "set", "lo", "up")
            call("setns", fds[ROUTER], CLONE_NEWNET)
        net = cls(os.getpid(), fds)
        ip("link", "set", "lo", "up")
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        for name in members:
            net.plug_in(name)
        return net

    def plug_in(self, name):
        """A cable between a member and the router."""
        addr, fd = self.address[name], self.fds[name]
        gate = addr[:-1] + "1"
        ip("link", "add", "name", name, "type", "veth", "peer", "name", "eth0",
           "netns", f"/proc/self/fd/{fd}", keep=[fd])
        ip("addr", "add", gate + "/30", "dev", name)
        ip("link", "set", "dev", name, "up")
        self.enter(name)
        ip("addr", "add", addr + "/30", "dev", "eth0")
        ip("link", "set", "eth0", "up")
        ip("route", "add", "default", "via", gate)
        self.enter(ROUTER)

    def publish(self, path):
        with open(path + ".new", "w") as file:
            json.dump([self.pid, self.fds], file)
        os.rename(path + ".new", path)

    @classmethod
    def find(cls, path):
        with open(path) as file:
            return cls(*json.load(file))

    def enter(self, name):
        """This thread, and those that it makes from now on."""
        fd = open_ns(f"/proc/{self.pid}/fd/{self.fds[name]}")
        try:
            call("setns", fd, CLONE_NEWNET)
        except PermissionError:
            user = open_ns(f"/proc/{self.pid}/ns/user")
            call("setns", user, CLONE_NEWUSER)
            os.close(user)
            call("setns", fd, CLONE_NEWNET)
        finally:
            os.close(fd)

    # What the router does; the caller is in its namespace.

    def lose(self, sender, receiver):
        """From now on; what is under way arrives, connections live on."""
        self.rule("add", sender, receiver)

    def carry(self, sender, receiver):
        self.rule("del", sender, receiver)

    def rule(self, verb, sender, receiver):
        ip("rule", verb, "from", self.address[sender], "to",
           self.address[receiver], "type", "blackhole")

    def carries(self, sender, receiver, within_s):
        """Whether a datagram arrives."""
        try:
            self.enter(receiver)
            with socket.socket(type=socket.SOCK_DGRAM) as there:
                there.bind((self.address[receiver], 0))
                self.enter(sender)
                with socket.socket(type=socket.SOCK_DGRAM) as here:
                    here.sendto(b"?", there.getsockname())
                    return bool(select.select([there], [], [], within_s)[0])
        finally:
            self.enter(ROUTER)


def main():
    if sys.argv[1:] != ["probe"]:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        net = Network.make(["a", "b"])
        net.lose("a", "b")
    except OSError as error:
        print(f"no network namespaces: {error} (CAP_SYS_ADMIN and "
              "CAP_NET_ADMIN are needed, or user namespaces, and iproute2)")
        sys.exit(NONE)
    if net.carries("a", "b", 0.1) or not net.carries("b", "a", 2):
        sys.exit("what is to be lost arrives, or the other way round")


if __name__ == "__main__":
    main()
