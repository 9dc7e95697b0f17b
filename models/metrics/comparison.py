"""How sure the figures are: bootstrap intervals over clips and over speakers, and paired tests between methods.

Clips of one speaker are alike, so intervals and tests over speakers are the honest ones: a speaker's clips are drawn,
or exchanged, together. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 15; Holm, "A
Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics, 1979.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.metrics.catalogue import METRICS
from models.metrics.results import Results, value
from models.metrics.sets import SETS

UNITS = ("clips", "speakers")
RESAMPLES, EXCHANGES = 2000, 9999
LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True)
class Sums:
    """A method's parts of a metric's pooled quotient, one row for each unit (clip or speaker)."""

    metric: str
    numerator: np.ndarray  # (K, S)
    denominator: np.ndarray  # (K, S)

    def __len__(self) -> int:
        return len(self.numerator)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """The metric, averaged over samples, if the units count with these weights: (R, K) -> (R,)."""
        return np.nanmean(value(self.metric, weights @ self.numerator, weights @ self.denominator), axis=1)

    def averaged(self) -> Sums:
        """Both averaged over samples: (K, 1)."""
        return Sums(self.metric, *(x.mean(1, keepdims=True) for x in (self.numerator, self.denominator)))


@dataclass(frozen=True)
class Interval:
    """A confidence interval from `n` units; NaN from fewer than two."""

    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Test:
    """A paired comparison of two methods on the clips that count for both."""

    metric: str
    a: str
    b: str
    difference: float  # a - b
    interval: dict[str, Interval]  # unit -> of the difference
    p: dict[str, float]  # unit -> two-sided, see `exchange_test`
    p_holm: dict[str, float]  # unit -> corrected for the number of pairs of methods


@dataclass(frozen=True)
class Comparison:
    """Intervals and tests of a whole evaluation."""

    intervals: dict[str, dict[str, dict[str, Interval]]]  # method -> metric -> unit
    tests: list[Test]


def compare(results: Results, methods: Sequence[str], others: Sequence[str]) -> Comparison:
    """Intervals of all methods, and tests of all pairs of `methods`, or of a single one against `others`."""
    counted = [name for name in results.metrics() if name not in SETS]
    pairs = list(itertools.combinations(methods, 2)) or [(a, b) for a in methods for b in others]
    intervals = {method: {} for method in results.methods}
    for method, metric in itertools.product(results.methods, counted):
        if clips := counting(results, method, metric):
            sums = {unit: sums_of(results, method, metric, clips, unit) for unit in UNITS}
            intervals[method][metric] = {unit: bootstrap_interval(one) for unit, one in sums.items()}
    tests = []
    for metric in counted:
        found = [_test(results, metric, a, b) for a, b in pairs]
        tests += with_holm([test for test in found if test is not None])
    return Comparison(intervals, tests)


def counting(results: Results, method: str, metric: str) -> list[str]:
    """The clips of a method that count for a metric."""
    clips = results.quotients.get(method, {})
    return [clip for clip, each in clips.items() if metric in each and each[metric].denominator.any()]


def sums_of(results: Results, method: str, metric: str, clips: Sequence[str], unit: str) -> Sums:
    """A method's sums over each unit of these clips, for the samples that all of them have."""
    found = [results.quotients[method][clip][metric] for clip in clips]
    n = min(len(quotient.numerator) for quotient in found)
    names = list(clips) if unit == "clips" else [clip.rpartition("/")[0] for clip in clips]  # speakers
    rows = {name: i for i, name in enumerate(dict.fromkeys(names))}
    member = [rows[name] for name in names]
    sums = [np.zeros((len(rows), n)) for _ in range(2)]
    for into, part in zip(sums, ("numerator", "denominator")):
        np.add.at(into, member, np.stack([getattr(quotient, part)[:n] for quotient in found]))
    return Sums(metric, *sums)


def bootstrap_interval(sums: Sums, minus: Sums | None = None) -> Interval:
    """Percentile interval of a metric, or of its difference to `minus`, whose units are the same."""
    if len(sums) < 2:
        return Interval(np.nan, np.nan, len(sums))
    weights = _drawn(len(sums))
    values = sums.values(weights) - (0 if minus is None else minus.values(weights))
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(sums))


@functools.lru_cache(maxsize=4)
def _drawn(n: int) -> np.ndarray:
    """How often each of n units is drawn, in each resample: (RESAMPLES, n)."""
    return np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)


@functools.lru_cache(maxsize=4)
def _exchanged(n: int) -> np.ndarray:
    """Which of n units change sides: all ways (2^n, n) if these are few, else random ones after the way as it is."""
    if 2**n <= EXCHANGES + 1:
        return np.array(list(itertools.product((0.0, 1.0), repeat=n)))
    random = np.random.default_rng(_SEED).integers(0, 2, (EXCHANGES, n))
    return np.concatenate([np.zeros((1, n)), random])


def from_best(metric: str, values: np.ndarray) -> np.ndarray:
    """The distance from the best value, for metrics that have one; otherwise the value."""
    best = {"closest to 1": 1.0, "closest to 0": 0.0}.get(METRICS[metric].better)
    return values if best is None else np.abs(values - best)


def exchange_test(a: Sums, b: Sums) -> float:
    """Two-sided p of a paired permutation test: the methods are exchanged in any units, and the metric computed again.

    The statistic is the difference of the pooled values, for metrics with a best value of their distances from it, with
    numerators and denominators averaged over samples. For means this is the sign-flip test of the units' differences.
    """
    parts = np.concatenate(
        [part for one in (a.averaged(), b.averaged()) for part in (one.numerator, one.denominator)], 1
    )
    gone = _exchanged(len(a)) @ parts  # what changes sides: numerator and denominator of a, then of b
    kept = parts.sum(0) - gone
    values = [value(a.metric, kept[:, own] + gone[:, 2 - own], kept[:, own + 1] + gone[:, 3 - own]) for own in (0, 2)]
    gaps = np.abs(from_best(a.metric, values[0]) - from_best(a.metric, values[1]))
    return float(np.mean(gaps >= gaps[0] - 1e-9 * np.abs(values).max()))  # the first way is the methods as they are


def _test(results: Results, metric: str, a: str, b: str) -> Test | None:
    """None: no clip counts for both."""
    theirs = set(counting(results, b, metric))
    clips = [clip for clip in counting(results, a, metric) if clip in theirs]
    if not clips:
        return None
    found = {unit: [sums_of(results, method, metric, clips, unit) for method in (a, b)] for unit in UNITS}
    whole = np.ones((1, len(clips)))
    difference = float(found["clips"][0].values(whole)[0] - found["clips"][1].values(whole)[0])
    intervals = {unit: bootstrap_interval(*pair) for unit, pair in found.items()}
    p = {unit: exchange_test(*pair) for unit, pair in found.items()}
    return Test(metric, a, b, difference, intervals, p, {})


def with_holm(tests: Sequence[Test]) -> list[Test]:
    """The tests of one metric with p values that hold for all of its pairs together."""
    corrected = {unit: holm([test.p[unit] for test in tests]) for unit in UNITS}
    return [replace(test, p_holm={unit: corrected[unit][i] for unit in UNITS}) for i, test in enumerate(tests)]


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected by Holm's procedure, in the given order."""
    order, largest, corrected = np.argsort(p, kind="stable"), 0.0, [1.0] * len(p)
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
