"""report.py BUILD FILE... - lines and branches that were taken, of each FILE.

Asks gcov for the counts that the suites left beside BUILD/obj, and prints a
table and then, as FILE:LINE, every branch that was never taken, with the line.
Exit status 1 if there is one.

Left out are the branches of assertions: those of a statement that begins with
assert( or static_assert(, up to its end. Nothing else is.
"""

import json
import os
import re
import subprocess
import sys

ASSERTION = re.compile(r"^\s*(static_)?assert\(")


def counts(build, source):
    """gcov's entry for one source file, from its object's notes."""
    path = os.path.join(build, "obj", source[:-2] + ".gcda")
    if not os.path.exists(path):
        sys.exit(f"report.py: no suite has reached {source}: no {path}")
    output = subprocess.run(
        ["gcov", "--stdout", "--json-format", "--branch-probabilities", path],
        check=True, capture_output=True, text=True).stdout
    for text in output.splitlines():
        for entry in json.loads(text)["files"]:
            if os.path.normpath(entry["file"]) == source:
                return entry
    sys.exit(f"report.py: gcov knows nothing of {source}")


def assertion_lines(text):
    """Numbers of the lines that belong to an assertion."""
    lines, inside = set(), False
    for number, line in enumerate(text, 1):
        inside = inside or ASSERTION.match(line) is not None
        if inside:
            lines.add(number)
            inside = not line.rstrip().endswith(";")
    return lines


def look(build, source):
    """(lines, lines run, branches, branches taken, left: line numbers)."""
    with open(source, encoding="utf-8") as file:
        text = file.read().splitlines()
    skipped = assertion_lines(text)
    lines = ran = branches = taken = 0
    left = []
    for line in counts(build, source)["lines"]:
        number = line["line_number"]
        lines += 1
        ran += line["count"] > 0
        if number in skipped:
            continue
        for branch in line["branches"]:
            branches += 1
            taken += branch["count"] > 0
            if branch["count"] == 0:
                left.append(number)
        if not line["branches"] and line["count"] == 0:
            left.append(number)
    return lines, ran, branches, taken, [(n, text[n - 1]) for n in left]


def percent(part, whole):
    return 100.0 if whole == 0 else 100.0 * part / whole


def main():
    build, sources = sys.argv[1], sorted(sys.argv[2:])
    everything = []
    total = [0, 0, 0, 0]
    print(f"{'file':<40} {'lines':>6} {'run':>7} {'branches':>9} {'taken':>7}")
    for source in sources:
        lines, ran, branches, taken, left = look(build, source)
        everything += [(source, number, text) for number, text in left]
        total = [a + b for a, b in
                 zip(total, (lines, ran, branches, taken))]
        print(f"{source:<40} {lines:>6} {percent(ran, lines):>6.1f}%"
              f" {branches:>9} {percent(taken, branches):>6.1f}%")
    print(f"{'all':<40} {total[0]:>6} {percent(total[1], total[0]):>6.1f}%"
          f" {total[2]:>9} {percent(total[3], total[2]):>6.1f}%")
    if everything:
        print("\nnot taken:")
        for source, number, text in everything:
            print(f"{source}:{number}: {text.strip()}")
    print(f"\n{len(everything)} not taken")
    sys.exit(1 if everything else 0)


if __name__ == "__main__":
    main()
