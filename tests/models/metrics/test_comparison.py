"""Intervals and tests against what is known: coverage on drawn data, scipy, and cases worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from models.metrics import comparison
from models.metrics.comparison import Sums, bootstrap_interval, compare, exchange_test, from_best, holm, sums_of
from models.metrics.results import Results
from models.metrics.score import Quotient


def means(values: np.ndarray, metric: str = "opening_correlation") -> Sums:
    """A metric that is a mean over units (K,)."""
    return Sums(metric, values[:, None], np.ones((len(values), 1)))


def talk(rng: np.random.Generator, speakers: int = 30, clips: int = 6) -> Results:
    """Errors whose mean is 2: speakers differ by 0.5 and clips of one speaker by 0.5, in clips of 100 to 300 frames."""
    results, offsets = Results(), rng.normal(2, 0.5, speakers)
    for speaker, offset in enumerate(offsets):
        for clip in range(clips):
            frames = rng.integers(100, 301)
            results.add("m", f"s{speaker}/{clip}", {"lve": Quotient.of(frames * rng.normal(offset, 0.5), frames)})
    return results


def test_intervals_over_speakers_cover_the_truth_and_those_over_clips_do_not():
    """95 % intervals of 200 drawn data sets: over speakers about 95 % hold the true mean, over clips far fewer."""
    rng, hits = np.random.default_rng(1), {"clips": 0, "speakers": 0}
    for _ in range(200):
        results = talk(rng)
        for unit in hits:
            found = bootstrap_interval(sums_of(results, "m", "lve", list(results.quotients["m"]), unit))
            hits[unit] += found.low <= 2 <= found.high
    assert 180 <= hits["speakers"] <= 198
    assert hits["clips"] < 150


def test_the_interval_is_scipys():
    values = np.random.default_rng(2).exponential(1, 40)
    found = bootstrap_interval(means(values))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=0).confidence_interval
    assert (found.low, found.high) == (pytest.approx(theirs.low, abs=0.02), pytest.approx(theirs.high, abs=0.02))
    assert found.n == 40


def test_intervals_of_one_unit_and_of_a_constant():
    assert np.isnan(bootstrap_interval(means(np.array([3.0]))).low)
    assert bootstrap_interval(means(np.full(5, 3.0))).low == bootstrap_interval(means(np.full(5, 3.0))).high == 3


def test_the_interval_of_a_difference_is_paired():
    """The methods differ by exactly 0.1 in clips that differ much from each other."""
    values = np.random.default_rng(3).normal(0, 5, 20)
    found = bootstrap_interval(means(values + 0.1), means(values))
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))


@pytest.mark.parametrize("n", [8, 60])
def test_exchange_is_scipys_permutation_test(n):
    """All 2^8 ways, and random ones of 2^60."""
    rng = np.random.default_rng(4)
    a = rng.normal(0, 1, n)
    b = a + rng.normal(0.25, 1, n)
    theirs = stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", n_resamples=20000, rng=0,
        vectorized=True,
    )  # fmt: skip
    found = exchange_test(means(a), means(b))
    assert found == pytest.approx(theirs.pvalue, abs=1e-12 if n == 8 else 0.02)
    assert found == exchange_test(means(b), means(a))


def test_exchange_agrees_with_wilcoxon_on_a_clear_and_on_no_difference():
    rng = np.random.default_rng(5)
    a, noise = rng.normal(0, 1, 100), rng.normal(0, 0.3, 100)
    assert exchange_test(means(a), means(a + 0.2 + noise)) < 0.001
    assert stats.wilcoxon(a, a + 0.2 + noise).pvalue < 0.001
    assert exchange_test(means(a), means(a + noise)) > 0.2 and stats.wilcoxon(a, a + noise).pvalue > 0.2


def test_false_alarms_are_as_frequent_as_promised():
    """No difference, but clips of a speaker differ alike: 5 % of tests over speakers, far more of those over clips."""
    rng, alarms = np.random.default_rng(6), {"clips": 0, "speakers": 0}
    for _ in range(200):
        results, offsets = Results(), rng.normal(0, 1, 12)
        for i, offset in enumerate(offsets):
            for clip in range(8):
                results.add("a", f"{i}/{clip}", {"lve": Quotient.of(rng.normal(2, 0.2))})
                results.add("b", f"{i}/{clip}", {"lve": Quotient.of(rng.normal(2 + offset, 0.2))})
        for unit in alarms:
            pair = [sums_of(results, name, "lve", list(results.quotients["a"]), unit) for name in "ab"]
            alarms[unit] += exchange_test(*pair) <= 0.05
    assert 2 <= alarms["speakers"] <= 20
    assert alarms["clips"] > 60


def test_the_pooled_quotient_is_tested_not_the_mean_of_clips():
    """a is worse in one long clip, better in three short ones: pooled over frames it is worse."""
    frames = np.array([[1000.0], [10], [10], [10]])
    a, b = (Sums("lve", frames * np.array(e)[:, None], frames) for e in ([2, 1, 1, 1], [1, 2, 2, 2]))
    whole = np.ones((1, 4))
    assert a.values(whole) - b.values(whole) == pytest.approx((1000 - 30) / 1030)
    assert exchange_test(a, b) == 2 / 16 * 8  # the long clip decides: every exchange has a gap at least as large


def test_metrics_with_a_best_value_are_compared_by_their_distance_from_it():
    assert from_best("jitter", np.array([0.5, 1.5, 1.0])).tolist() == [0.5, 0.5, 0.0]
    assert from_best("lve", np.array([0.5])).tolist() == [0.5]
    low, high = np.full(10, 0.9), np.full(10, 1.1)
    assert exchange_test(means(low, "jitter"), means(high, "jitter")) == 1.0
    assert exchange_test(means(low), means(high)) == 2 / 2**10


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_comparison_of_methods_and_of_one_with_the_baselines():
    results, rng = Results(), np.random.default_rng(7)
    for clip in (f"s{i % 7}/{i}" for i in range(21)):
        for method, error in {"truth": 0.0, "model": 1.0, "theirs": 2.0, "mean pose": 4.0}.items():
            noise = rng.normal(0, 0.1, (2 if method == "model" else 1))
            results.add(method, clip, {"lve": Quotient.of(100 * (error + noise), 100)})
    results.add("model", "s0/0", {"mod": Quotient.of([1.0, 1.0])})
    found = compare(results, ["model", "theirs"], ["mean pose"])
    (test,) = found.tests
    assert (test.metric, test.a, test.b) == ("lve", "model", "theirs")
    assert test.difference == pytest.approx(-1, abs=0.1)
    assert test.p["speakers"] == test.p_holm["speakers"] == 2 / 2**7 and test.p["clips"] < 0.001
    assert test.interval["speakers"].low < test.difference < test.interval["speakers"].high < 0
    assert found.intervals["model"]["lve"]["speakers"].n == 7 and found.intervals["model"]["lve"]["clips"].n == 21
    assert list(found.intervals["theirs"]) == ["lve"] and np.isnan(found.intervals["model"]["mod"]["clips"].low)
    alone = compare(results, ["model"], ["theirs", "mean pose"])
    assert [(test.a, test.b) for test in alone.tests] == [("model", "theirs"), ("model", "mean pose")]
    assert [test.p_holm["speakers"] for test in alone.tests] == [4 / 2**7, 4 / 2**7]


def test_resamples_are_the_same_for_equal_numbers_of_units():
    first = comparison._drawn(9)
    comparison._drawn.cache_clear()
    assert (first == comparison._drawn(9)).all() and (first.sum(1) == 9).all()
