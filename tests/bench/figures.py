"""figures.py - what is measured, each figure against its reference.

A figure opens what it needs, gives pairs (ours, reference), both in seconds for
one slice, one after the other in either order, and closes. `bytes_ours` and
`bytes_reference` turn seconds into rates where the unit is one.
"""

import shutil

from parts import (CHUNK_BYTES, EXTENT_BYTES, LOAD_DEPTH, MIB, SAVE_DEPTH, Ceph,
                   Daemon, Rank, can_drop_caches, drop_caches, fio)
from stats import median

SLICE_BYTES = 240 * MIB  # one segment: it holds a little less than 256 MiB
WARM_UP_SAVES = 6
DATA = "seeded Gaussian bf16"
IO = f"fio io_uring, O_DIRECT, {EXTENT_BYTES}-byte blocks, registered " \
     "buffers and file"


def milliseconds(samples):
    return f"{median(samples) * 1000:.1f} ms"


class Figure:
    """What all have in common. `floor`: what this version is held to."""

    needs = ()  # programs
    floor = None
    unit = "ms"
    better = "lower"
    bytes_ours = bytes_reference = None
    state_bytes = SLICE_BYTES

    def __init__(self, place):
        self.place = place
        self.daemon = self.rank = None

    def open(self):
        self.daemon = Daemon(self.place)
        self.rank = Rank(self.place, self.state_bytes)

    def close(self):
        if self.rank:
            self.rank.stop()
        if self.daemon:
            self.daemon.stop()

    def pair(self, ours_first):
        if ours_first:
            ours = self.ours()
            return ours, self.reference()
        reference = self.reference()
        return self.ours(), reference

    def show(self, seconds, size):
        """In the figure's unit."""
        return seconds * 1000 if size is None else size / seconds / 1e9

    def ratio(self, ours, reference):
        if self.bytes_ours is None:
            return ours / reference
        return self.bytes_ours / ours / (self.bytes_reference / reference)


class Saving(Figure):
    """Saves that overwrite the segments of removed ones."""

    def open(self):
        super().open()
        self.phases = []
        self.rank.ask("open bench 1")
        for _ in range(WARM_UP_SAVES):
            self.save()
        self.segment_count = len(self.place.segments())
        self.phases = []

    def save(self):
        at = self.rank.ask("save")
        self.phases.append(at)
        self.daemon.wait_quiet()
        return at[-1]

    def ours(self):
        return self.save()

    def phase_note(self):
        names = ("ckpt_save returned", "STAGED", "LOCAL", "COMMITTED")
        text = ", ".join(
            f"{name} after {milliseconds([at[i] for at in self.phases])}"
            for i, name in enumerate(names))
        grown = len(self.place.segments()) - self.segment_count
        if grown > 0:
            text += f"; {grown} segments were new and not recycled"
        return text


class PersistRaw(Saving):
    id = "persist_raw"
    target, better, unit, floor = 0.97, "higher", "GB/s", 0.8
    needs = ("fio",)
    reference_is = f"{IO}, depth {SAVE_DEPTH}: overwrite of a file on the " \
        "same disk, then fsync"
    bytes_ours = SLICE_BYTES
    extents = SLICE_BYTES // CHUNK_BYTES
    bytes_reference = extents * EXTENT_BYTES

    def open(self):
        super().open()
        self.file = self.place.path("overwritten")
        for _ in range(2):  # the first write allocates
            self.reference()

    def reference(self):
        return fio(self.file, "write", self.extents, SAVE_DEPTH)

    def note(self):
        return (f"{DATA}, 240 MiB state, codec raw, every chunk changed, "
                f"recycled segments; {self.phase_note()}")


class RestoreCold(Figure):
    id = "restore_cold"
    target, better, unit, floor = 0.95, "higher", "GB/s", 0.8
    needs = ("fio",)
    reference_is = f"{IO}, depth {LOAD_DEPTH}: read of the same segment"
    bytes_ours = SLICE_BYTES
    extents = SLICE_BYTES // CHUNK_BYTES
    bytes_reference = extents * EXTENT_BYTES

    def open(self):
        super().open()
        self.rank.ask("open bench 0")
        self.rank.ask("save")
        self.rank.ask("close")
        self.restart()
        self.segment = self.place.segments()[0]

    def restart(self):
        """So that nothing is left in the daemon's memory."""
        self.daemon.stop()
        self.daemon = None
        drop_caches()
        self.daemon = Daemon(self.place)

    def ours(self):
        self.restart()
        self.rank.ask("open bench 0")
        self.daemon.wait_quiet()
        seconds = self.rank.ask("load")[0]
        self.rank.ask("close")
        self.daemon.wait_quiet()
        return seconds

    def reference(self):
        drop_caches()
        return fio(self.segment, "read", self.extents, LOAD_DEPTH,
                   offset=4096)

    def note(self):
        caches = "page cache dropped, O_DIRECT" if can_drop_caches() else \
            "page cache not dropped (that takes root): O_DIRECT on both sides"
        return (f"{DATA}, 240 MiB state, codec raw, daemon restarted for each "
                f"load, {caches}; making the arena is in our time")


class StallLazy(Saving):
    id = "stall_lazy"
    target = 0.05
    reference_is = "one non-temporal copy of the state, one thread"
    factor = 3

    def open(self):
        super().open()
        self.rank.ask(f"calibrate {self.factor}")
        self.stalls = []
        self.steps = []

    def ours(self):
        """Added to a step by a save, against the steps around it."""
        before = self.rank.ask("step")[0]
        saved, *stall = self.rank.ask("save_step")
        self.daemon.wait_quiet()
        after = self.rank.ask("step")[0]
        self.stalls.append(stall)
        self.steps += before, after
        return saved - (before + after) / 2

    def reference(self):
        return self.rank.ask("copy")[0]

    def note(self):
        in_save = milliseconds([stall[0] for stall in self.stalls])
        in_fence = milliseconds([stall[1] for stall in self.stalls])
        return (f"{DATA}, 240 MiB state, UNTIL_FENCE, one computing thread, "
                f"step {milliseconds(self.steps)}; in ckpt_save {in_save}, in "
                f"ckpt_fence {in_fence}")


class SmallSave(Saving):
    id = "small_save"
    target = 2
    state_bytes = MIB
    reference_is = "write + fsync + rename + fsync of the folder, one file"

    def reference(self):
        return self.rank.ask(f"file {self.place.path('one')}")[0]

    def note(self):
        return f"{DATA}, 1 MiB state in 8 tensors; {self.phase_note()}"


class Rados(Figure):
    """Objects into a cluster's memory and out of it."""

    target, better, unit = 0.97, "higher", "GB/s"
    needs = ("ceph-mon", "ceph-osd", "rados")
    object_bytes, count, depth = 4 * MIB, 64, 16
    requests = depth
    bytes_ours = bytes_reference = object_bytes * count
    shape = "64 objects of 4 MiB, 16 under way, one OSD in memory"

    def open(self):
        self.rank = Ceph(self.place, self.object_bytes, self.count, self.depth,
                         self.requests)
        # What the tool takes to start, which is not in its seconds.
        self.start_cpu = median(
            [self.rank.rados("lspools")[1] for _ in range(5)])
        self.cpu = {"ours": [], "theirs": []}

    def timed(self, whose, action):
        """Its seconds; the processor's, its own and with the OSD's, are kept."""
        before = self.rank.osd_cpu()
        seconds, cpu = action()
        cpu = max(0, cpu - self.start_cpu) if whose == "theirs" else cpu
        self.cpu[whose].append((cpu, cpu + self.rank.osd_cpu() - before))
        return seconds

    def cpu_note(self):
        def per_gb(whose, which):
            return median([pair[which] for pair in self.cpu[whose]]) / (
                self.bytes_ours / 1e9)
        words = [f"{name} {per_gb('ours', i):.2f} s/GB, rados bench "
                 f"{per_gb('theirs', i):.2f}" for i, name in
                 enumerate(("processor time of the client", "with the OSD's"))]
        return "; ".join(words)


class RadosPut(Rados):
    id = "rados_put"
    # Of the bytes the store hands 64 MiB to the cluster at once, which are 16
    # objects, as theirs; as many have been copied for librados, and as many
    # requests have their catalogue's keys written first.
    requests = 48
    reference_is = f"rados bench write: {Rados.shape}"

    def open(self):
        super().open()
        self.read_back = []
        for _ in range(2):  # the cluster's memory is touched first
            self.ours()
            self.reference()

    def ours(self):
        seconds = self.timed("ours", lambda: self.rank.ask("send"))
        self.rank.ask("remove")
        self.read_back.append(self.rank.ask("put")[0] / seconds)
        self.rank.ask("remove")
        return seconds

    def reference(self):
        seconds = self.timed("theirs", lambda: self.rank.rados_bench("write"))
        self.rank.rados("cleanup")
        return seconds

    def note(self):
        return (f"{DATA}, catalogue, checksum and seal in our time, "
                f"{self.requests} requests, of which 16 are under way; reading "
                f"back apart: with it {median(self.read_back):.2f} times as "
                f"long; {self.cpu_note()}")


class RadosGet(Rados):
    id = "rados_get"
    reference_is = f"rados bench seq, which compares: {Rados.shape}"

    def open(self):
        super().open()
        self.rank.ask("put")
        self.rank.rados_bench("write")
        self.ours()
        self.reference()

    def ours(self):
        return self.timed("ours", lambda: self.rank.ask("get"))

    def reference(self):
        return self.timed("theirs", lambda: self.rank.rados_bench("seq"))

    def note(self):
        return f"{DATA}, checksums compared; {self.cpu_note()}"


FIGURES = (PersistRaw, RestoreCold, StallLazy, SmallSave, RadosPut, RadosGet)


def why_not(figure):
    """What this machine lacks for it, or None."""
    missing = [name for name in figure.needs if not shutil.which(name)]
    return "not installed: " + ", ".join(missing) if missing else None

