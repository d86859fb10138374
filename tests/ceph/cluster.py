#!/usr/bin/python3
"""A real Ceph cluster for tests: one monitor, three OSDs (BlueStore on sparse
files), cephx, a replicated pool and an erasure-coded one. Each daemon, and the
command, is in a network namespace of its own (tests/lib/netns.py); where there
can be none, all are on an address of 127/8 that is the cluster's. So several
clusters run side by side.

    cluster.py DIR run [HOST...] -- COMMAND...     start, run the command, stop;
                                       the command's exit status. Each HOST is
                                       one more member of the network, for who
                                       finds it by DIR/net
    cluster.py DIR speed -- COMMAND... the same with one OSD that has all in its
                                       memory, and no namespaces: for timings
    cluster.py DIR in MEMBER -- COMMAND...     in the namespace of client, a
                                       HOST, mon.a, osd.N or router
    cluster.py DIR start | stop        by hand, without namespaces
    cluster.py DIR kill-osd N          SIGKILL
    cluster.py DIR hang-osd N          SIGSTOP; wake-osd N: SIGCONT
    cluster.py DIR restart-osd N       start it (again)
    cluster.py DIR kill-mon | hang-mon | wake-mon | restart-mon
    cluster.py DIR fill | unfill       the cluster is full: writes are refused
    cluster.py DIR wait                until both pools answer
    cluster.py DIR lose FROM TO        what one member sends to another does not
                                       arrive; carry FROM TO: it does again;
                                       "cluster" are all daemons
    cluster.py DIR dump NAMESPACE      a line for each object there: pool, name,
                                       digest of what it holds; and for each key
                                       of a catalogue
    cluster.py DIR primary POOL NAMESPACE OBJECT   which OSD answers for it
    cluster.py DIR spoil POOL NAMESPACE OBJECT     other bytes in all copies
    cluster.py DIR flip N OBJECT       flip a bit of the copy of an object that
                                       a stopped OSD has

DIR is made by start and removed by stop. The command of run finds in its
environment CKPT_CEPH_DIR, CKPT_CEPH_CONF, CKPT_CEPH_USER (a key that can read
and write namespaces ckpt* of both pools, and nothing else), CKPT_TEST_RADOS,
the name of a home, and CKPT_CEPH_NO_NET: why there are no namespaces, or empty.

Everything ends with run, also when it is interrupted or its parent dies; if it
is killed, the kernel kills what it has started: the command, and all daemons,
since those that others want to have (re)started are started by it. Missing
programs: exit status 77, and which.
"""
import ctypes
import hashlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                             "..", "lib"))
from netns import ROUTER, Network, why_not  # noqa: E402

OSDS = 3
NEEDED = ("ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool",
          "ceph-objectstore-tool")
POOLS = ("meta", "data")
USER = "ckptd"
CLIENT = "client"
PATIENCE_S = 240  # with a cluster, on a busy machine
DAEMONS = ("mon.a",) + tuple(f"osd.{i}" for i in range(OSDS))
# Small writes of a disk that turns are deferred: they go into a log first, which
# is carried out anew after a crash. That can bring back what was removed, over a
# block that is another object's by then (tracker.ceph.com/issues/68060): of an
# OSD that was killed often, a shard that is -EIO to read, and an object lost. So
# nothing is deferred, as on an SSD.
CONF = """[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:{mon}:{port}]
keyring = {dir}/$name.keyring
run_dir = {dir}
admin_socket = ""
log_file = {dir}/$name.log
log_to_stderr = false
err_to_stderr = false
log_flush_on_exit = false
crash_dir = {dir}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
ms_bind_msgr1 = false
ms_async_op_threads = 1
osd_pool_default_size = 3
osd_pool_default_min_size = 2
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
plugin_dir = /usr/lib/{arch}/ceph
[client]
log_file = ""
[mon]
mon_data = {dir}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 0
mon_allow_pool_delete = true
mon_osd_min_down_reporters = 1
mon_osd_down_out_interval = 0
mon_osd_adjust_heartbeat_grace = false
osd_heartbeat_grace = 4
paxos_propose_interval = 0.1
paxos_min_wait = 0.02
[osd]
osd_data = {dir}/osd.$id
osd_objectstore = bluestore
osd_class_load_list = *
osd_memory_target = 939524096
bluestore_block_size = 6442450944
bluestore_block_preallocate_file = false
bluestore_prefer_deferred_size_hdd = 0
bluestore_cache_autotune = false
bluestore_cache_size = 33554432
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
osd_heartbeat_interval = 1
osd_heartbeat_grace = 4
osd_max_markdown_count = 100000
osd_max_object_name_len = 2048
osd_fast_fail_on_connection_refused = true
osd_scrub_begin_hour = 0
osd_scrub_end_hour = 0
osd_recovery_sleep = 0
"""
FAST = """[global]
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
ms_async_op_threads = 3
[osd]
osd_objectstore = memstore
memstore_device_bytes = 8589934592
"""
ADDRESS = """[{name}]
public_addr = {addr}
cluster_addr = {addr}
"""


def die(status, words):
    print("cluster.py: " + words, file=sys.stderr)
    sys.exit(status)


def die_with_parent(number):
    ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


class Cluster:
    def __init__(self, path):
        self.dir = os.path.abspath(path)
        self.conf = self.dir + "/ceph.conf"
        self.tied = False  # daemons die with this process
        self.made = False  # the folder is this process's
        self.is_fast = False
        self.pools = POOLS
        self.hosts = []
        self.net = None
        if os.path.exists(self.dir + "/net"):
            self.net = Network.find(self.dir + "/net")

    def enter(self, member):
        """This process into a member's network."""
        if self.net:
            self.net.enter(member)

    # Daemons.

    def pid_of(self, name):
        """The pid of a daemon of this cluster that is running, or None."""
        try:
            with open(f"{self.dir}/{name}.pid") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline") as file:
                words = file.read().split("\0")
            with open(f"/proc/{pid}/stat") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError):
            return None
        return pid if self.conf in words and state != "Z" else None

    def launch(self, name):
        """By the process of run, if there is one, so that it ends with that."""
        if self.pid_of(name):
            return
        if self.tied or not os.path.exists(self.dir + "/wanted"):
            self.spawn(name)
            return
        with open(self.dir + "/wanted", "w") as wanted:
            wanted.write(name + "\n")
        for _ in range(PATIENCE_S * 50):
            if self.pid_of(name):
                return
            time.sleep(0.02)
        die(1, f"{name} was not started")

    def tie(self, member):
        """Of a child, before it becomes what it is to be."""
        self.enter(member)
        if self.tied:
            die_with_parent(signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def spawn(self, name):
        kind, ident = name.split(".")

        with open(f"{self.dir}/{name}.out", "ab") as out:
            child = subprocess.Popen(
                ["ceph-" + kind, "-f", "-i", ident, "-c", self.conf],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=lambda: self.tie(name))
        with open(f"{self.dir}/{name}.pid", "w") as file:
            file.write(str(child.pid))

    def signal(self, name, number):
        pid = self.pid_of(name)
        if not pid:
            die(1, f"{name} is not running")
        os.kill(pid, number)

    def end(self, name):
        pid = self.pid_of(name)
        if not pid:
            return
        os.kill(pid, signal.SIGKILL)
        # What it has under way to its disk ends first.
        for _ in range(PATIENCE_S * 50):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
            if not self.pid_of(name):
                return
            time.sleep(0.02)
        die(1, f"{name} does not die")

    def stop(self):
        if not self.made and not os.path.exists(self.conf):
            die(1, f"there is no cluster in {self.dir}")
        for name in DAEMONS:
            self.end(name)
        shutil.rmtree(self.dir, ignore_errors=True)

    # Starting.

    def tool(self, *words):
        done = subprocess.run(words, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True,
                              env=dict(os.environ, CEPH_CONF=self.conf))
        if done.returncode != 0:
            die(1, f"{' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout

    def free_address(self):
        while True:
            addr = "127.%d.%d.%d" % tuple(random.randint(2, 250)
                                          for _ in range(3))
            with socket.socket() as probe:
                try:
                    probe.bind((addr, 6789))
                    return addr
                except OSError:
                    continue

    def write_conf(self):
        self.fsid = str(uuid.uuid4())
        address = self.net.address if self.net else dict.fromkeys(
            DAEMONS, self.free_address())
        self.mon = address["mon.a"]
        arch = os.uname().machine + "-linux-gnu"
        with open(self.conf, "w") as file:
            file.write(CONF.format(fsid=self.fsid, mon=self.mon, port=6789,
                                   dir=self.dir, arch=arch))
            file.write(FAST if self.is_fast else "")
            for name in DAEMONS:
                file.write(ADDRESS.format(name=name, addr=address[name]))

    def keys(self):
        """All keys, in the monitor's own keyring: it takes them over."""
        limited = ", ".join(f"allow rw pool={pool} namespace=ckpt*"
                            for pool in POOLS)
        full = {"mon": "allow *", "osd": "allow *", "mgr": "allow *"}
        users = {"mon.": {"mon": "allow *"}, "client.admin": full,
                 f"client.{USER}": {"mon": "allow r", "osd": limited}}
        for i in range(OSDS):
            users[f"osd.{i}"] = {"mon": "allow profile osd",
                                 "osd": "allow *", "mgr": "allow profile osd"}
        lines = {}
        for name, caps in users.items():
            key = self.tool("ceph-authtool", "--gen-print-key").strip()
            lines[name] = f"[{name}]\n\tkey = {key}\n" + "".join(
                f'\tcaps {kind} = "{cap}"\n' for kind, cap in caps.items())
            path = f"{self.dir}/{name.rstrip('.')}.keyring"
            with open(path, "w") as file:
                file.write(lines[name])
        with open(self.dir + "/all.keyring", "w") as file:
            file.write("\n".join(lines.values()))

    def make_dir(self):
        missing = [name for name in NEEDED if not shutil.which(name)]
        if missing:
            die(77, "missing: " + " ".join(missing) + " (Debian: apt-get "
                "install ceph-mon ceph-osd ceph-common)")
        os.makedirs(self.dir)
        self.made = True
        os.chmod(self.dir, 0o700)

    def start(self):
        if not self.made:
            self.make_dir()
        self.write_conf()
        self.keys()
        os.rename(self.dir + "/mon.keyring", self.dir + "/mon.a.keyring")
        self.tool("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a",
                  f"[v2:{self.mon}:6789]", self.dir + "/monmap")
        self.tool("ceph-mon", "--mkfs", "-i", "a", "-c", self.conf, "--monmap",
                  self.dir + "/monmap", "--keyring", self.dir + "/all.keyring")
        self.launch("mon.a")
        with self.admin() as client:
            self.make_osds(client)
            self.make_pools(client)
        self.wait()

    def make_osds(self, client):
        making = []
        for i in range(1 if self.is_fast else OSDS):
            ident = str(uuid.uuid4())
            self.command(client, prefix="osd new", uuid=ident, id=i)
            os.mkdir(f"{self.dir}/osd.{i}")
            making.append(subprocess.Popen(
                ["ceph-osd", "-i", str(i), "-c", self.conf, "--mkfs",
                 "--osd-uuid", ident],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL))
        for i, child in enumerate(making):
            if child.wait() != 0:
                die(1, f"ceph-osd --mkfs of osd.{i} failed: "
                    f"{self.dir}/osd.{i}.log")
            self.launch(f"osd.{i}")

    def make_pools(self, client):
        self.command(client, prefix="osd pool create", pool="meta", pg_num=8,
                     pgp_num=8, pool_type="replicated")
        if "data" in self.pools:
            self.make_erasure_coded(client)
        for pool in self.pools:
            self.command(client, prefix="osd pool application enable",
                         pool=pool, app="ckptd")

    def make_erasure_coded(self, client):
        self.command(client, prefix="osd erasure-code-profile set",
                     name="ckpt", profile=["k=2", "m=1",
                                           "crush-failure-domain=osd"])
        self.command(client, prefix="osd pool create", pool="data", pg_num=8,
                     pgp_num=8, pool_type="erasure",
                     erasure_code_profile="ckpt")
        # One OSD of three may die.
        self.command(client, prefix="osd pool set", pool="data",
                     var="min_size", val="2")

    # Talking to it.

    def admin(self):
        """From the router, which no fault cuts off."""
        import rados
        self.enter(ROUTER)
        return rados.Rados(conffile=self.conf, rados_id="admin", conf={
            "client_mount_timeout": str(PATIENCE_S),
            "rados_mon_op_timeout": str(PATIENCE_S),
            "rados_osd_op_timeout": "2"})

    def command(self, client, **words):
        code, out, text = client.mon_command(json.dumps(words), b"")
        if code != 0:
            die(1, f"{words}: {code} {text}")
        return out

    def wait(self):
        """Until every placement group of both pools takes a write."""
        import rados
        until = time.monotonic() + PATIENCE_S
        with self.admin() as client:
            for pool in self.pools:
                with client.open_ioctx(pool) as io:
                    io.set_namespace("probe")
                    for i in range(24):
                        while True:
                            try:
                                io.write_full(f"probe{i}", b"x")
                                break
                            except rados.Error as error:
                                if time.monotonic() > until:
                                    self.give_up(f"pool {pool}: {error}")

    def cut(self, what, sender, receiver):
        """`what` is Network.lose or Network.carry."""
        whole = {"cluster": DAEMONS}
        self.enter(ROUTER)
        for one in whole.get(sender, (sender,)):
            for other in whole.get(receiver, (receiver,)):
                what(self.net, one, other)

    def give_up(self, words):
        gone = [name for name in DAEMONS if not self.pid_of(name)]
        die(1, f"{words}; not running: {' '.join(gone) or 'none'}")

    def fill(self, is_full):
        """Each OSD takes itself for full, or not any more."""
        with self.admin() as client:
            for name, ratio in (("nearfull", 0.85), ("backfillfull", 0.9),
                                ("full", 0.95)):
                self.command(client, prefix=f"osd set-{name}-ratio",
                             ratio=0.0001 if is_full else ratio)

    def dump(self, space):
        with self.admin() as client:
            for pool in self.pools:
                with client.open_ioctx(pool) as io:
                    io.set_namespace(space)
                    for name in sorted(o.key for o in io.list_objects()):
                        what = hashlib.sha256(io.read(name, 1 << 27))
                        for pair in sorted(io.get_xattrs(name)):
                            what.update(repr(pair).encode())
                        print(pool, name, what.hexdigest())
                        if name.startswith("c:"):
                            self.dump_keys(io, pool, name)

    def dump_keys(self, io, pool, name):
        import rados
        with rados.ReadOpCtx() as op:
            keys, _ = io.get_omap_vals(op, "", "", 1 << 20)
            io.operate_read_op(op, name)
            for key, value in keys:
                what = hashlib.sha256(value or b"")
                print(pool, f"{name}/{key}", what.hexdigest())

    def primary(self, pool, space, name):
        with self.admin() as client:
            found = json.loads(self.command(client, prefix="osd map", pool=pool,
                                            nspace=space, object=name,
                                            format="json"))
        print(found["acting_primary"])

    def spoil(self, pool, space, name):
        """As nobody's key but the administrator's can."""
        with self.admin() as client, client.open_ioctx(pool) as io:
            io.set_namespace(space)
            data = io.read(name, 1 << 24)
            io.write_full(name, bytes([data[0] ^ 1]) + data[1:])

    def flip(self, osd, name):
        """A bit of what this OSD, which is stopped, has of an object."""
        if self.pid_of(f"osd.{osd}"):
            die(1, f"osd.{osd} is running")
        store = ["ceph-objectstore-tool", "--no-mon-config", "--data-path",
                 f"{self.dir}/osd.{osd}"]
        found = []
        for _ in range(5):  # the first listing after a SIGKILL may lack some
            lines = self.tool(*store, "--op", "list").splitlines()
            found = [line for line in lines
                     if json.loads(line)[1]["oid"] == name]
            if found:
                break
        if not found:
            die(1, f"osd.{osd} has no {name} among {len(lines)} objects")
        place, entry = json.loads(found[0])
        path = self.dir + "/flip"
        words = store + ["--pgid", place, json.dumps(entry)]
        self.tool(*words, "get-bytes", path)
        with open(path, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        self.tool(*words, "set-bytes", path)
        os.unlink(path)

    def run(self, command):
        self.tied = True

        def interrupted(number, _frame):
            raise KeyboardInterrupt(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupted)
        die_with_parent(signal.SIGTERM)
        child = None
        try:
            self.start_run()
            child = subprocess.Popen(command,
                                     preexec_fn=lambda: self.tie(CLIENT))
            return self.serve(child)
        except KeyboardInterrupt:
            if child:
                child.terminate()
                child.wait()
            return 130
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if self.made:
                self.stop()

    def start_run(self):
        began = time.monotonic()
        reason = "it is for timings" if self.is_fast else why_not()
        if reason and self.hosts:
            die(77, reason)
        self.make_dir()
        if not reason:
            self.net = Network.make((CLIENT, *self.hosts) + DAEMONS)
            self.net.publish(self.dir + "/net")
        os.mkfifo(self.dir + "/wanted")
        self.start()
        os.environ.update(
            CKPT_CEPH_DIR=self.dir, CKPT_CEPH_CONF=self.conf,
            CKPT_CEPH_USER=USER, CKPT_CEPH_NO_NET=reason or "",
            CKPT_TEST_RADOS=f"rados://meta/ckpt?data_pool={self.pools[-1]}&"
            f"conf={self.conf}&user={USER}")
        print(f"# figure: a cluster in {time.monotonic() - began:.1f} s",
              flush=True)

    def serve(self, child):
        """Starts the daemons that others want, until the child ends."""
        ended = os.pidfd_open(child.pid)
        # For writing too, so that it is never at its end.
        wanted = os.open(self.dir + "/wanted", os.O_RDWR | os.O_CLOEXEC)
        while True:
            ready, _, _ = select.select([wanted, ended], [], [])
            if wanted in ready:
                for name in os.read(wanted, 4096).decode().split():
                    if not self.pid_of(name):
                        self.spawn(name)
            if ended in ready:
                return child.wait()


def main():
    if len(sys.argv) < 3:
        die(2, __doc__)
    cluster = Cluster(sys.argv[1])
    verb, rest = sys.argv[2], sys.argv[3:]
    if verb in ("run", "speed") and "--" in rest[:-1]:
        at = rest.index("--")
        cluster.hosts = rest[:at]
        if verb == "speed":
            cluster.is_fast, cluster.pools = True, POOLS[:1]
        sys.exit(cluster.run(rest[at + 1:]))
    if verb == "in" and len(rest) > 2 and rest[1] == "--":
        cluster.enter(rest[0])
        os.execvp(rest[2], rest[2:])
    numbers = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP,
               "wake": signal.SIGCONT}
    what, _, whom = verb.partition("-")
    name = "mon.a" if whom == "mon" else f"osd.{rest[0]}" if rest else ""
    if verb in ("start", "stop", "wait") and not rest:
        getattr(cluster, verb)()
    elif what in numbers and whom in ("osd", "mon") and name:
        if what == "kill":
            cluster.end(name)
        else:
            cluster.signal(name, numbers[what])
    elif what == "restart" and whom in ("osd", "mon") and name:
        cluster.launch(name)
    elif verb in ("fill", "unfill"):
        cluster.fill(verb == "fill")
    elif verb == "flip" and len(rest) == 2:
        cluster.flip(*rest)
    elif verb in ("lose", "carry") and len(rest) == 2 and cluster.net:
        cluster.cut(getattr(Network, verb), *rest)
    elif verb == "dump" and len(rest) == 1:
        cluster.dump(*rest)
    elif verb in ("primary", "spoil") and len(rest) == 3:
        getattr(cluster, verb)(*rest)
    else:
        die(2, __doc__)


if __name__ == "__main__":
    main()
