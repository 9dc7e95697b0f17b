"""Misalignment in time and metrics of whole sets, against cases worked out by hand."""

import numpy as np
import pytest

from models.heads.flame import load_flame
from models.metrics.measure import HeadMeasure
from models.metrics.regions import find_regions
from models.metrics.results import Results
from models.metrics.score import Quotient, sampled
from models.metrics.sets import SETS, WINDOW, Described, MotionSets, described, frechet_distance, intensity_correlation
from models.metrics.suite import MODEL, TRUTH, Suite
from models.metrics.warping import misalignments, slopes, turning_points, warping_path
from utils.motion_file import Motion
from utils.speech import SpokenClip


def mouth(n: int, late: float = 0.0) -> np.ndarray:
    """(n,) mm: a syllable every 10 frames, no two alike."""
    t = np.arange(n) - late
    return 5 - 5 * np.cos(2 * np.pi * t / 10) * (1 + 0.3 * np.sin(t / 7))


def test_slopes_by_hand():
    # ((3 - 1) + (7 - 1) / 2) / 2 = 2.5; ((7 - 3) + (5 - 3) / 2) / 2 = 2.5
    np.testing.assert_allclose(slopes(np.array([1.0, 3.0, 7.0, 5.0])), [2.5, 2.5, 2.5, 2.5])


def test_path_of_equal_tracks_is_the_diagonal():
    track = np.random.default_rng(0).standard_normal(30)
    assert warping_path(track, track) == [(i, i) for i in range(30)]


def test_path_by_hand():
    """The bump of a comes a frame later; the path waits for it and catches up."""
    a, b = np.array([0.0, 0, 1, 0]), np.array([0.0, 1, 0, 0])
    path = warping_path(a, b)
    assert (2, 1) in path and sum((a[i] - b[j]) ** 2 for i, j in path) == 0
    assert path[0] == (0, 0) and path[-1] == (3, 3)


def test_path_keeps_within_reach():
    a, b = np.zeros(20), np.zeros(20)
    a[15] = b[5] = 1
    assert max(abs(i - j) for i, j in warping_path(a, b, reach=3)) <= 3


def test_turning_points_leave_out_small_ones():
    track = np.array([0.0, 10, 0.5, 0.6, 0.4, 10, 0])
    assert turning_points(track).tolist() == [1, 4, 5]


@pytest.mark.parametrize("late", [-3, 0, 2])
def test_a_shifted_mouth_is_off_by_its_shift(late):
    found = misalignments(mouth(100, late), mouth(100))
    assert np.median(found) == pytest.approx(abs(late), abs=0.1)


def test_size_does_not_matter_and_stillness_says_nothing():
    np.testing.assert_allclose(misalignments(3 * mouth(60), mouth(60)), 0)
    assert len(misalignments(np.zeros(60), mouth(60))) == len(misalignments(mouth(4), mouth(4))) == 0


def test_described_by_hand():
    track = np.zeros((1, 2 * WINDOW + 7, 1))
    track[0, WINDOW : 2 * WINDOW, 0] = np.arange(WINDOW) % 2
    assert described(track)[0].tolist() == [[0, 0, 0], [0.5, 0.5, 1]]


def test_frechet_distance_of_one_dimension_by_hand():
    """(m - m')^2 + (s - s')^2."""
    a = np.tile([[0.0], [2.0]], (20, 1))
    b = 3 * a + 5
    spread = a.std(ddof=1)
    assert frechet_distance(a, b) == pytest.approx((1 - 8) ** 2 + (spread - 3 * spread) ** 2)
    assert np.isnan(frechet_distance(a[:5], b))


def test_frechet_distance_of_turned_sets():
    """Covariances diag(4, 1) and diag(1, 4) commute: the distance is (2 - 1)^2 + (1 - 2)^2 in units of the variance."""
    corners = np.tile([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], (10, 1))
    unit = corners.var(0, ddof=1)[0]
    assert frechet_distance(corners * [2, 1], corners * [1, 2]) == pytest.approx(2 * unit)
    assert frechet_distance(corners, corners) == pytest.approx(0, abs=1e-9)


def test_intensity_correlation_is_within_speakers():
    """The loud speaker opens less than the quiet one, but each opens more where he is louder."""
    loudness, openings = np.array([1.0, 2, 3, 10, 11, 12, 50]), np.array([8.0, 9, 10, 1, 2, 3, 0])
    speakers = ["a"] * 3 + ["b"] * 3 + ["alone"]
    assert intensity_correlation(loudness, openings, speakers) == pytest.approx(1)
    assert intensity_correlation(loudness[:6], openings[[2, 1, 0, 5, 4, 3]], speakers[:6]) == pytest.approx(-1)
    assert np.isnan(intensity_correlation(loudness[6:], openings[6:], ["alone"]))
    assert np.isnan(intensity_correlation(loudness[:4], openings[:4], ["a", "a", "b", "b"]))  # each pair would be +-1


def one(seed: int, size: float = 1.0, samples: int = 2) -> Described:
    rng = np.random.default_rng(seed)
    opening = size * np.abs(rng.standard_normal((samples, 10 * WINDOW)))
    return Described.of("s", size * np.ones(100), opening, None, np.zeros((samples, 10 * WINDOW, 3)))


def test_sets_in_the_results():
    results = Results()
    results.sets = MotionSets(clips={
        "truth": {f"{i}": one(i, 1 + i, 1) for i in range(3)}, "model": {f"{i}": one(i + 9, 1 + i) for i in range(3)},
    })  # fmt: skip
    for method in results.sets.clips:
        results.add(method, "0", {"lve": Quotient.of(1.0)})
    truth, model = results.pooled("truth"), results.pooled("model")
    assert truth["frechet_face"]["mean"] == pytest.approx(0, abs=1e-6)
    assert model["frechet_face"]["mean"] > 0.01 and model["frechet_face"]["samples"] == 2
    assert model["slcc"]["mean"] > 0.9 and model["slcc"]["clips"] == 3
    assert "frechet_head" not in model and results.metrics() == ["lve", "slcc", "frechet_face"]


def talking(seed: int, samples: int = 1, n: int = 250) -> tuple[np.ndarray, np.ndarray]:
    """exp (samples, n, 50) and pose (samples, n, 6)."""
    rng = np.random.default_rng(seed)
    pose = 0.1 * np.sin(np.arange(n)[:, None] * rng.uniform(0.1, 0.4, (samples, 1, 6)) + rng.uniform(0, 6))
    pose[..., 3] = np.abs(pose[..., 3]) * (1 + seed % 3)
    return np.zeros((samples, n, 50), np.float32), pose.astype(np.float32)


def test_a_suite_gathers_sets_and_the_best_sample():
    flame = load_flame()
    suite = Suite(HeadMeasure(flame, find_regions(flame.head)), whole=False)
    for seed in range(3):
        exp, pose = talking(seed)
        truth = Motion(exp[0], pose[0], np.zeros(100, np.float32))
        audio = (0.1 * (1 + seed) * np.ones(640 * len(truth))).astype(np.float32)
        clip = SpokenClip(f"ann/{seed}", "ann", audio, truth, truth)
        suite.add([suite.score(clip, {MODEL: sampled(*talking(seed + 7, samples=3), suite.measure.device)})])
    truth, model = suite.results.pooled(TRUTH), suite.results.pooled(MODEL)
    assert set(SETS) <= set(truth) & set(model) and truth["slcc"]["mean"] > 0.9
    for name in SETS[1:]:
        assert truth[name]["mean"] == pytest.approx(0, abs=1e-6) and model[name]["mean"] > 0.1
    assert truth["mtm"]["mean"] == 0 and model["mtm"]["mean"] > 0
    assert "lve_best" not in truth and model["lve_best"]["samples"] == 1
    clips = suite.results.per_clip(MODEL).values()
    assert model["lve_best"]["mean"] == pytest.approx(np.mean([min(clip["lve"]["values"]) for clip in clips]))
