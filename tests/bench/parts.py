"""parts.py - the processes of a measurement, and the disk under it.

Workplace: a folder on the disk that is measured, with a home in it, removed at
the end. Daemon: ckptd in the foreground on that home. Rank: build/bench/rank,
driven line by line. fio(): one slice of the reference. Every process that is
started here is ended here; whatever fails raises Failure with words.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

MIB = 1 << 20
CHUNK_BYTES = 2 * MIB
EXTENT_BYTES = CHUNK_BYTES + 4096  # a chunk and its header page: one write
SAVE_DEPTH = 32  # chunks that ckptd has under way: the reference has as many
LOAD_DEPTH = 16
READY_S = 30
QUIET_S = 0.03  # the daemon's thread was not scheduled for that long
QUIET_LIMIT_S = 60


class Failure(Exception):
    pass


def build_folder():
    return os.path.abspath(os.environ.get("B", "build"))


class Workplace:
    def __init__(self, parent):
        os.makedirs(parent, exist_ok=True)
        self.root = tempfile.mkdtemp(prefix="bench-", dir=parent)
        self.home = os.path.join(self.root, "home")
        self.local = os.path.join(self.home, "local")
        os.makedirs(self.home, mode=0o700)

    def path(self, name):
        return os.path.join(self.root, name)

    def segments(self):
        folder = os.path.join(self.local, "seg")
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


class Daemon:
    def __init__(self, place):
        self.log_path = place.path("ckptd.log")
        with open(self.log_path, "ab") as log:
            begin = log.tell()
            self.process = subprocess.Popen(
                [os.path.join(build_folder(), "bin", "ckptd"), "--foreground",
                 "--local", place.local],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_ready(begin)

    def _wait_ready(self, begin):
        deadline = time.monotonic() + READY_S
        while b"serves local store" not in self._log(begin):
            if self.process.poll() is not None or time.monotonic() > deadline:
                words = self._log(begin).decode(errors="replace").strip()
                self.stop()
                raise Failure(f"ckptd does not start: {words}")
            time.sleep(0.005)

    def _log(self, begin):
        with open(self.log_path, "rb") as log:
            log.seek(begin)
            return log.read()

    def _activity(self):
        """What its engine's thread has done so far."""
        pid = self.process.pid
        if self.process.poll() is not None:
            raise Failure(f"ckptd has ended with {self.process.returncode}")
        with open(f"/proc/{pid}/task/{pid}/status") as status:
            return [line for line in status if "ctxt_switches" in line]

    def wait_quiet(self):
        """Until nothing of the last save (reading back, removing) goes on."""
        deadline = time.monotonic() + QUIET_LIMIT_S
        seen = self._activity()
        while True:
            time.sleep(QUIET_S)
            last, seen = seen, self._activity()
            if last == seen:
                return
            if time.monotonic() > deadline:
                raise Failure(f"ckptd is not quiet after {QUIET_LIMIT_S} s")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(READY_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Driven:
    """A program that is told what to do, line by line."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        **options)
        self._answer("start")

    def _answer(self, what):
        line = self.process.stdout.readline()
        while line.startswith("#"):  # words of what has started it
            line = self.process.stdout.readline()
        line = line.split(None, 1)
        if not line or line[0] != "ok":
            words = line[1].strip() if len(line) > 1 else "it has ended"
            self.stop()
            raise Failure(f"{what}: {words}")
        return [float(word) for word in line[1].split()] if line[1:] else []

    def ask(self, command):
        """The numbers of the answer."""
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer tells
        return self._answer(command)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Rank(Driven):
    def __init__(self, place, state_bytes):
        super().__init__([os.path.join(build_folder(), "bench", "rank"),
                          place.home, str(state_bytes)],
                         env=dict(os.environ, CKPT_LINGER="0"))


class Ceph(Driven):
    """A cluster with all in memory, and build/bench/objects on it."""

    CLUSTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..",
                           "ceph", "cluster.py")

    def __init__(self, place, object_bytes, count, depth, requests):
        """`requests` of ours under way; `depth` of rados bench."""
        self.dir = place.path("ceph")
        self.bytes, self.count, self.depth = object_bytes, count, depth
        super().__init__([self.CLUSTER, self.dir, "speed", "--",
                          os.path.join(build_folder(), "bench", "objects"),
                          str(object_bytes), str(count), str(requests)])

    def osd_cpu(self):
        """Seconds that its OSD has computed."""
        with open(self.dir + "/osd.0.pid") as file:
            pid = file.read()
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rados(self, *words):
        """(what it says, the processor's seconds that it took)"""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            ["rados", "-c", self.dir + "/ceph.conf", "--id", "ckptd", "-p",
             "meta", "-N", "ckpt-bench", "--run-name", "run", *words],
            capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise Failure(f"rados {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout, (after.ru_utime + after.ru_stime -
                             before.ru_utime - before.ru_stime)

    def rados_bench(self, kind):
        """(seconds, the processor's seconds) for `count` objects."""
        words = ["bench", "600", kind, "-t", str(self.depth), "--format",
                 "json"]
        if kind == "write":
            words += ["-b", str(self.bytes), "-O", str(self.bytes),
                      "--max-objects", str(self.count), "--no-cleanup"]
        text, cpu = self.rados(*words)
        told = json.loads(text[text.index("{"):])
        done = told.get("total_writes_made") or told.get("total_reads_made")
        if int(done) != self.count:
            raise Failure(f"rados bench: {done} objects, not {self.count}")
        return float(told["total_time_run"]), cpu


def fio(path, kind, extents, depth, offset=0):
    """Seconds for `extents` blocks of a chunk's extent; writes are synced."""
    size = extents * EXTENT_BYTES
    command = [
        "fio", "--name=slice", f"--filename={path}", f"--rw={kind}",
        f"--bs={EXTENT_BYTES}", f"--offset={offset}", f"--size={size}",
        "--ioengine=io_uring", f"--iodepth={depth}", "--direct=1",
        "--fixedbufs", "--registerfiles", "--output-format=json",
    ]
    command += ["--end_fsync=1"] if kind == "write" else ["--readonly"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"fio: {done.stderr.strip() or done.stdout.strip()}")
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    if job["error"] or job[kind]["io_bytes"] != size:
        raise Failure(f"fio: error {job['error']}, {job[kind]['io_bytes']} of "
                      f"{size} bytes")
    return job[kind]["runtime"] / 1000


def can_drop_caches():
    return os.access("/proc/sys/vm/drop_caches", os.W_OK)


def drop_caches():
    """Everything written; the page cache empty, where we are allowed to."""
    os.sync()
    if can_drop_caches():
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("3\n")
