#!/usr/bin/python3
"""Several hosts on one machine: each has a network, processes, mounts and a name
of its own, and a folder DIR/NAME; the files are common to all.

    hosts.py DIR run [--net FILE] NAME... -- COMMAND...     make the hosts, run
                                             the command, end all; the command's
                                             exit status. With --net their
                                             networks are the members of those
                                             names of one that others made
                                             (netns.py)
    hosts.py DIR on NAME -- COMMAND...       the command on that host
    hosts.py DIR freeze NAME | thaw NAME     everything on it stands still
    hosts.py DIR crash NAME                  everything on it is killed

A host that is frozen is to the others what one is that hangs, or is away and
comes back late: what it was about to do, it does then.

Everything ends with run, also when it is interrupted, killed, or its parent
dies. Where there can be no namespaces: exit status 77, and why.
"""
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "lib"))
from netns import Network, call, libc, open_ns, why_not  # noqa: E402

NUMBERS = {"freeze": signal.SIGSTOP, "thaw": signal.SIGCONT,
           "crash": signal.SIGKILL}


def die(status, words):
    print("hosts.py: " + words, file=sys.stderr)
    sys.exit(status)


def die_with_parent(number):
    libc.prctl(1, number)  # PR_SET_PDEATHSIG


def first_process(name):
    """Of a host; it lives as long as the host, and reaps."""
    subprocess.run(["hostname", name], check=True)
    print("up", flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigtimedwait([signal.SIGCHLD], 1)


class Hosts:
    def __init__(self, path):
        self.dir = os.path.abspath(path)

    # Making them.

    def boot(self, net, name):
        def tie():
            net.enter(name)
            die_with_parent(signal.SIGKILL)

        os.makedirs(f"{self.dir}/{name}", mode=0o700, exist_ok=True)
        host = subprocess.Popen(
            ["unshare", "--uts", "--mount", "--pid", "--mount-proc", "--fork",
             "--kill-child=KILL", sys.executable, os.path.abspath(__file__),
             self.dir, "first-process", name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            preexec_fn=tie)
        if host.stdout.readline() != "up\n":
            die(1, f"{name} does not come up")
        with open(f"{self.dir}/{name}.pid", "w") as file:
            file.write(str(host.pid))

    def run(self, names, net_file, command):
        reason = None if net_file else why_not()
        if reason:
            die(77, reason)

        def interrupted(number, _frame):
            sys.exit(128 + number)  # and with this process all that it made

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupted)
        die_with_parent(signal.SIGTERM)
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        net = Network.find(net_file) if net_file else Network.make(names)
        for name in names:
            self.boot(net, name)
        return subprocess.run(
            command, preexec_fn=lambda: die_with_parent(signal.SIGKILL)
        ).returncode

    # What is on them.

    def first(self, name):
        """The pid, here, of a host's first process."""
        with open(f"{self.dir}/{name}.pid") as file:
            pid = file.read()
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return int(file.read())

    def on(self, name, command):
        """Ends with it: nsenter would stand still with what it has started."""
        first, here = self.first(name), os.getcwd()
        kinds = ["net", "uts", "pid", "mnt"]
        if os.geteuid() != 0:
            kinds.insert(0, "user")
        spaces = [open_ns(f"/proc/{first}/ns/{kind}") for kind in kinds]
        root = open_ns(f"/proc/{first}/root")
        for space in spaces:
            call("setns", space, 0)
        if os.geteuid() == 0:  # as a mount namespace is entered it is lost
            os.fchdir(root)
            os.chroot(".")
        os.chdir(here)
        child = subprocess.Popen(
            command, preexec_fn=lambda: die_with_parent(signal.SIGKILL))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda got, _: child.send_signal(got))
        status = child.wait()
        return status if status >= 0 else 128 - status

    def processes(self, name):
        """The pids, here, of all but the first."""
        first = self.first(name)
        space = os.readlink(f"/proc/{first}/ns/pid")
        found = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") == space:
                    found.add(int(pid))
            except OSError:
                continue  # it has ended
        return found - {first}

    def signal(self, name, number):
        """To all, and to those that they made meanwhile."""
        told = set()
        while fresh := self.processes(name) - told:
            for pid in fresh:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            told |= fresh


def main():
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    before, command = words[:at], words[at + 1:]
    if len(before) < 3 or (before[1] in ("run", "on")) != bool(command):
        die(2, __doc__)
    hosts, verb, names = Hosts(before[0]), before[1], before[2:]
    if verb == "run":
        net_file = None
        if names[0] == "--net":
            net_file, names = names[1], names[2:]
        sys.exit(hosts.run(names, net_file, command))
    if len(names) != 1:
        die(2, __doc__)
    if verb == "on":
        sys.exit(hosts.on(names[0], command))
    elif verb == "first-process":
        first_process(names[0])
    elif verb in NUMBERS:
        hosts.signal(names[0], NUMBERS[verb])
    else:
        die(2, __doc__)


if __name__ == "__main__":
    main()
