#!/usr/bin/python3
"""Faults of a real cluster under load.

    storm.py LOAD [--kills N] [--monitors N] [--fulls N] [--hangs N]
             [--blackouts N] [--partitions N] [--seed N]

On the cluster of CKPT_CEPH_DIR. LOAD is the program ceph_load, whose oracle is
exact. In random order:

    kill      an OSD by SIGKILL, started again after a while
    hang      an OSD by SIGSTOP for longer than an operation may take, so that
              what timed out is carried out later
    blackout  all OSDs so
    partition the network loses what some members send to others: one of CUTS,
              each in its turn; that it does is seen, and so that all else
              arrives
    monitor   killed, and started again
    full      the cluster refuses what adds to it

Then everything is well again, and the load compares what is there with what it
was told. Exit status: the load's.
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import CLIENT, DAEMONS, OSDS, Cluster, die_with_parent  # noqa: E402
from netns import ROUTER  # noqa: E402

HANG_S = 3.5  # an operation of the load may take 2 s
APART_S = 7  # daemons notice after 4 s
ARRIVES_S = 20  # unless it is lost
CUTS = {  # what does not arrive: from whom, to whom
    "client and cluster": [("client", "all"), ("all", "client")],
    "client to cluster": [("client", "all")],
    "cluster to client": [("all", "client")],
    "client and one OSD": [("client", "one"), ("one", "client")],
    "client to one OSD": [("client", "one")],
    "one OSD to client": [("one", "client")],
    "OSD and OSD": [("one", "other"), ("other", "one")],
    "OSD to OSD": [("one", "other")],
    "monitor and all": [("mon", "rest"), ("rest", "mon")],
    "one OSD and all": [("one", "rest"), ("rest", "one")],
}


def kill(cluster, rng):
    name = f"osd.{rng.randrange(OSDS)}"
    cluster.end(name)
    time.sleep(rng.uniform(0.2, 3))
    cluster.launch(name)
    cluster.wait()


def hang_these(cluster, names, seconds):
    for name in names:
        cluster.signal(name, signal.SIGSTOP)
    time.sleep(seconds)
    for name in names:
        cluster.signal(name, signal.SIGCONT)
    cluster.wait()


def hang(cluster, rng):
    hang_these(cluster, [f"osd.{rng.randrange(OSDS)}"], HANG_S)


def blackout(cluster, _rng):
    hang_these(cluster, [f"osd.{i}" for i in range(OSDS)], HANG_S)


def cut_of(shape, rng):
    """[(from, to)] of members."""
    one, other = rng.sample(DAEMONS[1:], 2)
    whole = {"client": [CLIENT], "all": DAEMONS, "mon": DAEMONS[:1],
             "one": [one], "other": [other], "rest": (CLIENT,) + DAEMONS}
    return [(sender, receiver) for a, b in CUTS[shape] for sender in whole[a]
            for receiver in whole[b] if sender != receiver]


def check_carries(net, cut):
    members = (CLIENT,) + DAEMONS
    for sender in members:
        for receiver in members:
            if sender == receiver:
                continue
            is_lost = (sender, receiver) in cut
            if net.carries(sender, receiver, 0.2 if is_lost else ARRIVES_S) == is_lost:
                sys.exit(f"the network {'carries' if is_lost else 'loses'} "
                         f"what {sender} sends to {receiver}")


def partition(cluster, rng):
    if not cluster.net:
        sys.exit("no partitions: " + os.environ["CKPT_CEPH_NO_NET"])
    if not partition.shapes:
        partition.shapes = rng.sample(list(CUTS), len(CUTS))
    cut = cut_of(partition.shapes.pop(), rng)
    for sender, receiver in cut:
        cluster.net.lose(sender, receiver)
    until = time.monotonic() + (
        HANG_S if all(CLIENT in pair for pair in cut) else APART_S)
    check_carries(cluster.net, cut)
    time.sleep(max(0, until - time.monotonic()))
    for sender, receiver in cut:
        cluster.net.carry(sender, receiver)
    check_carries(cluster.net, [])
    cluster.wait()


partition.shapes = []


def monitor(cluster, rng):
    cluster.end("mon.a")
    time.sleep(rng.uniform(0.2, 3))
    cluster.launch("mon.a")
    cluster.wait()


def full(cluster, _rng):
    cluster.fill(True)
    time.sleep(6)  # an OSD tells the monitor every few seconds
    cluster.fill(False)
    cluster.wait()


FAULTS = {"kills": kill, "hangs": hang, "blackouts": blackout,
          "partitions": partition, "monitors": monitor, "fulls": full}


# Of the cluster's log; of errors; of a read without enough shards.
COMPLAINT = re.compile(
    r"\[ERR\]| [0-9a-f]{8,16} -1 (?!Falling back)|not enough shards"
    r"|total_chunk_size")


def complaints(cluster):
    """What the daemons found wrong."""
    for name in DAEMONS:
        with open(f"{cluster.dir}/{name}.log", errors="replace") as log:
            found = [line for line in log if COMPLAINT.search(line)]
        for line in found[-20:]:
            print(f"{name}: {line.rstrip()[:300]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("load")
    parser.add_argument("--seed", type=int, default=1)
    for name in FAULTS:
        parser.add_argument("--" + name, type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    cluster = Cluster(os.environ["CKPT_CEPH_DIR"])
    plan = [name for name in FAULTS for _ in range(getattr(options, name))]
    rng.shuffle(plan)
    cluster.enter(CLIENT)
    load = subprocess.Popen(
        [options.load], preexec_fn=lambda: die_with_parent(signal.SIGKILL))
    cluster.enter(ROUTER)
    try:
        time.sleep(1)
        for name in plan:
            FAULTS[name](cluster, rng)
            time.sleep(rng.uniform(0, 1))
            if load.poll() is not None:
                print(f"the load ended early, after {name}")
                sys.exit(load.returncode or 1)
        load.send_signal(signal.SIGTERM)
        status = load.wait(timeout=600)
        if status != 0:
            complaints(cluster)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    print("# figure: " + ", ".join(f"{getattr(options, name)} {name}"
                                   for name in FAULTS))
    sys.exit(status)


if __name__ == "__main__":
    main()
