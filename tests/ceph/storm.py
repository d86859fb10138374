#!/usr/bin/python3
"""Faults of a real cluster under load.

    storm.py LOAD [--kills N] [--monitors N] [--fulls N] [--hangs N]
             [--blackouts N] [--seed N]

Runs inside `cluster.py DIR run`. LOAD is the program ceph_load, whose oracle is
exact. In random order:

    kill      an OSD by SIGKILL, started again after a while
    hang      an OSD by SIGSTOP for longer than an operation may take, so that
              what timed out is carried out later
    blackout  all OSDs so, which is what a client sees when it is cut off
    monitor   killed, and started again
    full      the cluster refuses what adds to it

Then everything is well again, and the load compares what is there with what it
was told. Exit status: the load's.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import OSDS, Cluster  # noqa: E402

HANG_S = 3.5  # an operation of the load may take 2 s


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
          "monitors": monitor, "fulls": full}


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
    load = subprocess.Popen([options.load])
    try:
        time.sleep(1)
        for name in plan:
            FAULTS[name](cluster, rng)
            time.sleep(rng.uniform(0, 1))
            if load.poll() is not None:
                print(f"the load ended early, after {name}")
                sys.exit(load.returncode or 1)
        load.send_signal(signal.SIGTERM)
        status = load.wait(timeout=240)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    print("# figure: " + ", ".join(f"{getattr(options, name)} {name}"
                                   for name in FAULTS))
    sys.exit(status)


if __name__ == "__main__":
    main()
