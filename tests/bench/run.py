#!/usr/bin/env python3
"""run.py - the benchmark: each figure a ratio against a reference that is
measured in the same run on the same disk, in turn, slice by slice.

A figure goes on until the 95 % interval of the median ratio is narrower than
+-3 %, or its time (10 minutes) is over. Prints one table and writes
build/bench/results.json. The exit status says whether everything could be
measured, not whether targets were reached.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time

from figures import FIGURES, why_not
from parts import Failure, Workplace, build_folder
from stats import interval, is_narrow, median, verdict

LOOK_GROWTH = 1.2  # look at the interval when there are that many more pairs


def parse(arguments):
    ids = [figure.id for figure in FIGURES]
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--id", choices=ids, help="only this figure")
    p.add_argument("--seconds", type=float, default=600,
                   help="at most this long for each figure (600)")
    p.add_argument("--dir", default=os.path.join(build_folder(), "bench"),
                   help="a folder on the disk to measure (build/bench)")
    return p.parse_args(arguments)


def say(text):
    print(text, file=sys.stderr, flush=True)


def filesystem(path):
    """(type, device) of the file system that holds path."""
    best = ("", "?", "?")
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            device, point, kind = line.split()[:3]
            inside = os.path.realpath(path) + "/"
            if inside.startswith(point.rstrip("/") + "/") and \
                    len(point) >= len(best[0]):
                best = (point, kind, device)
    return best[1:]


def machine(path):
    model = platform.machine()
    with open("/proc/cpuinfo") as cpus:
        for line in cpus:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    kind, device = filesystem(path)
    return (f"{os.cpu_count()} x {model}, {memory:.0f} GiB, "
            f"Linux {platform.release()}, {kind} on {device}")


def git(*arguments):
    root = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["git", "-C", root, *arguments], check=False,
                          capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit():
    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "HEAD") or "unknown") + \
        (" with changes" if changed else "")


def measure_pairs(figure, seconds):
    """[(ours, reference)] in seconds, until narrow enough or out of time."""
    begin = time.monotonic()
    pairs, look_at = [], 3
    while True:
        pairs.append(figure.pair(ours_first=len(pairs) % 2 == 0))
        spent = time.monotonic() - begin
        if spent < seconds and len(pairs) < look_at:
            continue
        look_at = max(len(pairs) + 1, int(len(pairs) * LOOK_GROWTH))
        ratios = [figure.ratio(*pair) for pair in pairs]
        low, high = interval(ratios)
        say(f"  {figure.id}: {median(ratios):.3f} [{low:.3f}, {high:.3f}], "
            f"{len(pairs)} pairs, {spent:.0f} s")
        if spent >= seconds or is_narrow(ratios, low, high):
            return pairs, low, high


def floor_note(figure, low, high):
    if figure.floor is None:
        return ""
    words = verdict(low, high, figure.floor, figure.better)
    return f"; this version's floor of {figure.floor}: {words}"


def measure(kind, options):
    place = Workplace(options.dir)
    figure = kind(place)
    try:
        figure.open()
        pairs, low, high = measure_pairs(figure, options.seconds)
        note = figure.note() + floor_note(figure, low, high)
    finally:
        figure.close()
        place.close()
    ours = median([pair[0] for pair in pairs])
    reference = median([pair[1] for pair in pairs])
    return {
        "id": figure.id,
        "ratio": median([figure.ratio(*pair) for pair in pairs]),
        "low": low,
        "high": high,
        "target": figure.target,
        "better": figure.better,
        "verdict": verdict(low, high, figure.target, figure.better),
        "ours": figure.show(ours, figure.bytes_ours),
        "reference": figure.show(reference, figure.bytes_reference),
        "unit": figure.unit,
        "reference_is": figure.reference_is,
        "pairs": len(pairs),
        "note": note,
    }


def table(results):
    rows = [("id", "ratio", "95 % interval", "target", "verdict", "ours",
             "reference", "unit", "pairs")]
    for r in results:
        sign = ">=" if r["better"] == "higher" else "<="
        rows.append((r["id"], f"{r['ratio']:.3f}",
                     f"{r['low']:.3f} .. {r['high']:.3f}",
                     f"{sign} {r['target']}", r["verdict"],
                     f"{r['ours']:.3g}", f"{r['reference']:.3g}", r["unit"],
                     str(r["pairs"])))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
             for row in rows]
    lines += [f"{r['id']}: against {r['reference_is']}. {r['note']}."
              for r in results]
    return "\n".join(lines)


def write_results(options, results):
    path = os.path.join(build_folder(), "bench", "results.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    document = {
        "machine": machine(options.dir),
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "results": results,
    }
    with open(path + ".new", "w") as out:
        json.dump(document, out, indent=2)
        out.write("\n")
    os.replace(path + ".new", path)
    return path


def main(arguments):
    options = parse(arguments)
    results, failed = [], False
    os.makedirs(options.dir, exist_ok=True)
    if filesystem(options.dir)[0] == "tmpfs":
        say(f"{options.dir} is a tmpfs: give --dir on a disk")
        return 2
    for kind in FIGURES:
        lacking = why_not(kind)
        if options.id not in (None, kind.id):
            continue
        if lacking:
            print(f"left out: {kind.id} ({lacking})")
            failed = failed or options.id is not None
            continue
        try:
            results.append(measure(kind, options))
        except Failure as failure:
            print(f"{kind.id}: could not be measured: {failure}")
            failed = True
    print(f"{machine(options.dir)}, {commit()}")
    print(table(results))
    say(f"written: {write_results(options, results)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
