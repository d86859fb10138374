"""stats.py - medians, their bootstrapped interval, and the verdict.

Pure functions. The interval is the 95 % percentile interval of the median over
resamples drawn with a fixed seed, so that equal pairs give equal intervals.
"""

import random

RESAMPLES = 2000
CONFIDENCE = 0.95
HALF_WIDTH_MAX = 0.03  # of the median: narrow enough to stop
PAIRS_MIN = 10  # fewer prove nothing, however narrow


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def interval(values, seed=1):
    """(low, high) of the median."""
    draw = random.Random(seed)
    medians = sorted(
        median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    cut = round((1 - CONFIDENCE) / 2 * RESAMPLES)
    return medians[cut], medians[-1 - cut]


def is_narrow(values, low, high):
    if len(values) < PAIRS_MIN:
        return False
    return (high - low) / 2 <= HALF_WIDTH_MAX * abs(median(values))


def verdict(low, high, target, better):
    """Reached if the whole interval reaches the target, missed if none does."""
    if better == "lower":
        low, high, target = -high, -low, -target
    if low >= target:
        return "reached"
    return "missed" if high < target else "not resolved"
