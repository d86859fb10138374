#!/usr/bin/env python3
"""The golden home of every released version stays readable, byte by byte.

Compares what read_ckpt.py (written from FORMAT.md alone) finds in v1 with
expected.json, checks that damage anywhere is refused, and that make_golden
still writes the very same bytes. Prints TAP; run by tests/run.sh.
"""
import contextlib
import filecmp
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import read_ckpt  # noqa: E402

GOLDEN = os.path.join(HERE, "v1")
HOME = os.path.join(GOLDEN, "home")
FLIPS = 300


def expected():
    with open(os.path.join(GOLDEN, "expected.json"), encoding="utf-8") as f:
        return json.load(f)


def found(home):
    """What the reader finds, as its --json prints it."""
    runs = read_ckpt.runs_in(home, [])
    return {name: read_ckpt.summary(run) for name, run in runs.items()}


@contextlib.contextmanager
def scratch():
    folder = tempfile.mkdtemp()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_runs_saves_and_latest_are_as_written():
    want, got = expected(), found(HOME)
    assert list(got) == [want["run"]], list(got)
    assert got["golden"]["saves"] == want["saves"]
    assert got["golden"]["latest"] == want["latest"]


def test_every_tensor_and_value_is_as_written():
    want, got = expected()["checkpoints"], found(HOME)["golden"]["checkpoints"]
    assert sorted(got) == sorted(want)
    for save, checkpoint in want.items():
        for kind in ("tensors", "values"):
            for name, value in checkpoint[kind].items():
                assert got[save][kind].get(name) == value, (save, name)
            assert len(got[save][kind]) == len(checkpoint[kind])


def test_command_line_writes_raw_files():
    reader = os.path.join(HERE, "read_ckpt.py")
    with scratch() as folder:
        done = subprocess.run(
            [sys.executable, reader, HOME, "golden@latest", "--out", folder],
            check=True, capture_output=True, text=True)
        want = expected()["checkpoints"][expected()["latest"]]["tensors"]
        for name, (_, _, sha256) in want.items():
            with open(os.path.join(folder, name + ".raw"), "rb") as f:
                assert read_ckpt.sha256(f.read()) == sha256, name
            assert sha256 in done.stdout


def test_an_aborted_or_removed_save_is_absent():
    run = read_ckpt.runs_in(HOME, [])["golden"]
    for save, state in expected()["saves"].items():
        if state == "committed":
            continue
        try:
            run.read(save)
        except read_ckpt.Absent as error:
            assert state in str(error)
        else:
            raise AssertionError(save)


def test_names_that_do_not_parse_are_ignored():
    with scratch() as folder:
        home = os.path.join(folder, "home")
        shutil.copytree(HOME, home)
        run = os.path.join(home, "runs", "golden")
        for name in ("decision/" + expected()["latest"] + "0",
                     "gen/000000009", "load/00000003.1.junk", "tomb/x"):
            with open(os.path.join(run, name), "wb") as f:
                f.write(b"junk")
        assert found(home) == found(HOME)


def test_a_load_of_its_own_generation_is_no_origin():
    # A load record of the newest generation, which has no save: kind 9.
    body = struct.pack("<IIQIiIH", 3, 1, 500, 1, 0, 1, 0)
    data = struct.pack("<8sIIQQ", b"CKPTRECD", 9, 1, 48 + len(body), 0) + body
    with scratch() as folder:
        home = os.path.join(folder, "home")
        shutil.copytree(HOME, home)
        with open(os.path.join(home, "runs/golden/load/00000003.9"), "wb") as f:
            f.write(data + read_ckpt.digest(data))
        assert found(home) == found(HOME)


def owned_bytes():
    """Files whose every byte some save owns, and what they belong to."""
    for folder, _, names in os.walk(HOME):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), HOME)
            parts = path.split(os.sep)
            if parts[0] == "local" and parts[-1] != "STORE":
                # 000003 belongs to the save that was removed.
                if parts[-1] != "000003":
                    yield path
            elif parts[0] == "STORE" or parts[-1] in ("STORE", "RUN"):
                yield path
            elif parts[2] in ("decision", "manifest", "tomb"):
                removed = expected()["saves"].get(parts[3]) == "removed"
                if parts[2] == "tomb" or not removed:
                    yield path


def test_a_flipped_bit_anywhere_is_refused():
    rng = random.Random(1)
    files = sorted(owned_bytes())
    sizes = [os.path.getsize(os.path.join(HOME, path)) for path in files]
    with scratch() as folder:
        home = os.path.join(folder, "home")
        shutil.copytree(HOME, home)
        for i in range(FLIPS):
            # Each file at least once, then by size.
            k = i if i < len(files) else rng.choices(range(len(files)), sizes)[0]
            path = os.path.join(home, files[k])
            at, bit = rng.randrange(sizes[k]), 1 << rng.randrange(8)
            with open(path, "r+b") as f:
                f.seek(at)
                old = f.read(1)[0]
                f.seek(at)
                f.write(bytes([old ^ bit]))
            try:
                found(home)
            except read_ckpt.Corrupt:
                pass
            else:
                raise AssertionError("%s: byte %d passed" % (files[k], at))
            with open(path, "r+b") as f:
                f.seek(at)
                f.write(bytes([old]))
        assert found(home)["golden"]["latest"] == expected()["latest"]


def test_a_truncated_segment_or_manifest_is_refused():
    with scratch() as folder:
        for path in sorted(owned_bytes()):
            home = os.path.join(folder, "home")
            shutil.copytree(HOME, home)
            full = os.path.join(home, path)
            os.truncate(full, os.path.getsize(full) - 1)
            try:
                found(home)
            except read_ckpt.Corrupt:
                pass
            else:
                raise AssertionError(path)
            shutil.rmtree(home)


def test_a_swapped_segment_is_refused():
    with scratch() as folder:
        home = os.path.join(folder, "home")
        shutil.copytree(HOME, home)
        seg = os.path.join(home, "local", "seg")
        shutil.copy(os.path.join(seg, "000004"), os.path.join(seg, "000002"))
        try:
            found(home)
        except read_ckpt.Corrupt as error:
            assert "recycled" in str(error)
        else:
            raise AssertionError("000004 passed as 000002")


def differences(compared, at=""):
    for name in compared.left_only + compared.right_only:
        yield os.path.join(at, name)
    _, differ, odd = filecmp.cmpfiles(compared.left, compared.right,
                                      compared.common_files, shallow=False)
    for name in differ + odd:
        yield os.path.join(at, name)
    for name, below in compared.subdirs.items():
        yield from differences(below, os.path.join(at, name))


def test_make_golden_still_writes_the_same_bytes():
    build = os.environ.get("BUILD_DIR", os.path.join(HERE, "../../build"))
    with scratch() as folder:
        subprocess.run([os.path.join(build, "tests", "make_golden"), folder],
                       check=True)
        with open(os.path.join(folder, "expected.json"), encoding="utf-8") as f:
            lz4 = json.load(f)["lz4"]
        if lz4 != expected()["lz4"]:
            return "liblz4 %d compresses otherwise than %d" % (
                lz4, expected()["lz4"])
        differ = list(differences(filecmp.dircmp(GOLDEN, folder)))
        assert not differ, differ
    return None


def main():
    tests = [(name[5:].replace("_", " "), test)
             for name, test in globals().items() if name.startswith("test_")]
    failed = 0
    print("1..%d" % len(tests))
    for number, (name, test) in enumerate(tests, 1):
        try:
            skip = test()
            print("ok %d - %s%s" % (number, name,
                                    " # skip " + skip if skip else ""))
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print("not ok %d - %s" % (number, name))
            print("# %s: %s" % (type(error).__name__, error))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
