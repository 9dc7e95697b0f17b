"""Metrics on arrays small enough to compute by hand."""

import json
import math

import numpy as np
import pytest
import torch

from models.metrics import head
from models.metrics.catalogue import METRICS, formula
from models.metrics.lips import ClosureRule, acceleration, closures, largest_distance
from models.metrics.output import rows
from models.metrics.results import Results
from models.metrics.score import Quotient
from models.metrics.style import Gallery, cosine, principal_plane
from models.metrics.style_judge import StyleJudge
from models.metrics.upper_face import count_blinks, dynamics, lids_shut
from utils.errors import UserError
from utils.speech import Phone, read_phones, write_phones

# Lips


def test_largest_distance_is_the_worst_vertex_of_each_frame():
    truth = torch.zeros(2, 3, 3)
    predicted = torch.zeros(1, 2, 3, 3)
    predicted[0, 0, 1] = torch.tensor([3.0, 0.0, 4.0])  # 5
    predicted[0, 0, 2] = torch.tensor([0.0, 2.0, 0.0])
    predicted[0, 1, 0] = torch.tensor([1.0, 2.0, 2.0])  # 3
    assert largest_distance(predicted, truth).tolist() == [[5.0, 3.0]]


def test_acceleration_of_known_motion():
    """x = t^2 / 2 accelerates by 1 everywhere, uniform motion not at all: mean 0.5 over two vertices."""
    t = torch.arange(6.0)
    vertices = torch.zeros(6, 2, 3)
    vertices[:, 0, 1], vertices[:, 1, 2] = t**2 / 2, 3 * t
    assert torch.allclose(acceleration(vertices), torch.full((4,), 0.5))


def phone(name: str, first: int, last: int) -> Phone:
    """A phone on frames first..last-1."""
    return Phone(name, first / 25, last / 25)


def test_closures_by_hand():
    opening = np.full(20, 5.0)
    opening[[3, 9]] = 0.9
    phones = [phone("sil", 0, 2), phone("b", 2, 5), phone("aa", 5, 7), phone("m", 7, 8), phone("p", 10, 12),
              phone("t", 12, 20)]  # fmt: skip
    strict = closures(opening, phones, ClosureRule(1.0, 0))
    assert (strict.found, strict.expected) == (1, 3)  # b only
    wide = closures(opening, phones, ClosureRule(1.0, 1))
    assert (wide.found, wide.expected) == (2, 3)  # p's neighbour is frame 9; m's are 6 and 8
    assert closures(opening, phones, ClosureRule(0.8, 1)).found == 0


def test_closures_by_chance_are_counted_over_speech_only():
    """Shut all through the pause, once in 10 frames of speech: windows of 1 frame, 1 in 10."""
    opening = np.full(20, 5.0)
    opening[:10], opening[15] = 0.0, 0.0
    phones = [phone("sil", 0, 10), phone("aa", 10, 12), phone("b", 12, 13), phone("iy", 13, 20)]
    found = closures(opening, phones, ClosureRule(1.0, 0))
    assert (found.found, found.expected, found.by_chance) == (0, 1, pytest.approx(0.1))


def test_phones_beyond_the_end_do_not_count():
    found = closures(np.zeros(10), [phone("m", 8, 12), phone("b", 10, 12), phone("p", 30, 31)], ClosureRule())
    assert (found.found, found.expected) == (1, 1)


def test_frames_of_a_phone():
    assert list(Phone("b", 0.04, 0.12).frames()) == [1, 2]
    assert list(Phone("b", 0.05, 0.055).frames()) == [1]  # too short for a frame's middle: the one around it


def test_phones_file_and_its_errors(tmp_path):
    phones = {"a/000": [Phone("sil", 0.0, 0.5), Phone("m", 0.5, 0.625)], "b/001": []}
    write_phones(tmp_path / "p.jsonl", phones)
    assert read_phones(tmp_path / "p.jsonl") == phones
    with pytest.raises(UserError, match="no such file"):
        read_phones(tmp_path / "q.jsonl")
    (tmp_path / "q.jsonl").write_text('{"clip": "a", "phones": [["m", 0]]}\n')
    with pytest.raises(UserError, match="line 1"):
        read_phones(tmp_path / "q.jsonl")


@pytest.mark.parametrize(
    ("spelt", "name"),
    [("AA1", "aa"), ("HH", "hh"), ("er0", "er"), ("M", "m"), ("B_B", "b"), ("AY2_E", "ay"), ("SIL", "sil"),
     ("sp", "sil"), ("", "sil"), ("<eps>", "sil"), ("+NOISE+", "+noise+")],
)  # fmt: skip
def test_phones_in_capitals_and_with_stress(tmp_path, spelt, name):
    (tmp_path / "p.jsonl").write_text(json.dumps({"clip": "a", "phones": [[spelt, 0, 1]]}) + "\n")
    assert read_phones(tmp_path / "p.jsonl") == {"a": [Phone(name, 0, 1)]}


# Upper face


def test_dynamics_by_hand():
    """Squared displacements 0, 4 (std 2) and 1, 1 (std 0): mean over two vertices 1."""
    square = torch.tensor([[0.0, 1.0], [4.0, 1.0]], dtype=torch.float64)
    assert dynamics(square.sum(0), square.square().sum(0), 2).item() == pytest.approx(1.0)


def test_blinks():
    shut = np.zeros(100)
    shut[10:14] = [0.6, 1.0, 0.9, 0.1]
    shut[20:26] = [0.6, 0.4, 0.6, 0.3, 0.6, 0.0]  # never below 0.25: one blink
    shut[50] = 0.45  # not a blink
    assert count_blinks(shut) == 2
    assert count_blinks(np.ones(10)) == 0  # eyes kept shut


def test_lids_shut_is_relative_to_open_eyes():
    aperture = np.full(100, 0.01)
    aperture[40:43] = [0.004, 0.0, 0.006]
    assert count_blinks(lids_shut(aperture)) == 1
    assert lids_shut(np.zeros(5)).tolist() == [0] * 5


# Head


def test_speed_is_the_angle_between_frames():
    rotation = np.zeros((3, 3))
    rotation[:, 1] = [0.0, 0.1, 0.3]
    np.testing.assert_allclose(head.rotational_speed(rotation), [2.5, 5.0], rtol=1e-9)
    tiny = np.zeros((2, 3))
    tiny[1, 0] = 1e-9
    np.testing.assert_allclose(head.rotational_speed(tiny), [2.5e-8], rtol=1e-6)


def test_beats_are_where_the_head_turns_around():
    rotation = np.zeros((101, 3))
    rotation[:, 0] = np.cos(2 * np.pi * np.arange(101) / 50)  # speed is least at 0, 25, 50, 75, 100
    assert head.beats(rotation).tolist() == [24, 49, 74] or head.beats(rotation).tolist() == [25, 50, 75]


def test_alignment_by_hand():
    found = head.alignment(np.array([10, 20]), np.array([10, 23, 100]))
    np.testing.assert_allclose(found, [1, math.exp(-0.5), math.exp(-(80**2) / 18)])
    assert head.alignment(np.array([], int), np.array([3, 4])).tolist() == [0, 0]


@pytest.mark.parametrize("hertz", [0.5, 2.0, 5.0])
def test_spectral_centroid_of_a_sine(hertz):
    track = 0.1 * np.sin(2 * np.pi * hertz * np.arange(500) / 25) + 7
    assert head.spectral_centroid(track) == pytest.approx(hertz, abs=0.03)
    assert math.isnan(head.spectral_centroid(np.full(100, 0.3)))


# Style


def gallery_of(n_speakers: int, per_speaker: int, seed: int = 0):
    """Well separated speakers: (styles, clips, speakers)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_speakers, 16))
    speakers = [f"s{i}" for i in range(n_speakers) for _ in range(per_speaker)]
    styles = np.repeat(centres, per_speaker, axis=0) + 0.05 * rng.standard_normal((len(speakers), 16))
    return styles, [f"{s}/{i:03d}" for i, s in enumerate(speakers)], speakers


def top1(styles, clips, speakers, queries) -> float:
    gallery = Gallery(styles, clips, speakers)
    return float(np.mean([gallery.nearest(q, c) == s for q, c, s in zip(queries, clips, speakers)]))


def test_styles_find_their_speaker_and_permuted_ones_only_by_chance():
    styles, clips, speakers = gallery_of(20, 10)
    assert top1(styles, clips, speakers, styles) == 1.0
    permuted = styles[np.random.default_rng(1).permutation(len(styles))]
    assert top1(styles, clips, speakers, permuted) < 0.15  # 1/20


def test_a_clip_does_not_find_itself():
    """Its own reference is the nearest, but left out; a speaker's only reference stays."""
    styles = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [-1.0, 0.0]])
    gallery = Gallery(styles, ["a/0", "a/1", "b/0", "c/0"], ["a", "a", "b", "c"])
    assert gallery.nearest(styles[0], "a/0") == "b"
    assert gallery.nearest(styles[3], "c/0") == "c"
    assert gallery.n_speakers == 3


def test_cosine_and_plane():
    a = np.array([[3.0, 4.0], [0.0, 2.0]])
    np.testing.assert_allclose(cosine(a, a), [[1, 0.8], [0.8, 1]])
    points = np.array([[0.0, 0, 1], [4, 0, 1], [0, 1, 1], [4, 1, 1]])
    mean, plane = principal_plane(points)
    np.testing.assert_allclose(mean, [2, 0.5, 1])
    np.testing.assert_allclose(plane, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_cosine_to_the_speakers_other_clips_by_hand():
    """Neither the clip itself nor the requested one counts; b has no other clip."""
    styles = np.array([[1.0, 0], [0, 1], [1, 0], [-1, 0], [0, 1]])
    clips, speakers = ["a/0", "a/1", "a/2", "a/3", "b/0"], ["a"] * 4 + ["b"]
    reference = {"a/0": "a/1", "b/0": "b/0"}
    requested = {"a/0": styles[1], "b/0": styles[4]}
    judge = StyleJudge(None, None, Gallery(styles, clips, speakers), requested, reference, {})
    found = judge.score(np.array([[3.0, 4.0]]), "a/0", "a")
    assert found["style_cosine"].numerator == pytest.approx([0.8])
    assert found["style_cosine_others"].numerator == pytest.approx([(0.6 - 0.6) / 2], abs=1e-12)
    assert "style_cosine_others" not in judge.score(np.array([[3.0, 4.0]]), "b/0", "b")


# Pooling


def test_pooled_values_divide_sums():
    results = Results()
    results.add("model", "a", {"lve": Quotient.of([10.0, 20.0], 10), "closure_recall": Quotient.of([1, 1], [2, 2])})
    results.add("model", "b", {"lve": Quotient.of([90.0, 60.0], 30), "closure_recall": Quotient.of([0, 0], [0, 0])})
    pooled = results.pooled("model")
    assert pooled["lve"] == {"mean": 2.25, "std": pytest.approx(math.sqrt(0.125)), "samples": 2, "clips": 2}
    assert pooled["closure_recall"] == {"mean": 0.5, "std": 0.0, "samples": 2, "clips": 1}
    assert results.per_clip("model")["a"]["lve"]["values"] == [1.0, 2.0]
    assert results.per_clip("model")["b"]["closure_recall"]["mean"] is None


def test_groups_of_clips_that_their_methods_share():
    results = Results()
    for method, clips in {"truth": "abc", "model": "abc", "take": "bc", "other": "ab"}.items():
        for clip in clips:
            results.add(method, clip, {"lve": Quotient.of(float(ord(clip) - 96))})
    groups = results.groups()
    assert [("".join(group.clips), group.methods) for group in groups] == [
        ("abc", ["truth", "model"]), ("bc", ["truth", "model", "take"]), ("ab", ["truth", "model", "other"])
    ]  # fmt: skip
    assert results.pooled("model", groups[1].clips)["lve"]["mean"] == 2.5
    assert rows(results, groups[1])[1] == ["clips", "2", "2", "2"]
    results.add("take", "c", {"mod": Quotient.of(1.0)})
    results.add("model", "b", {"mod": Quotient.of(1.0)})
    results.add("model", "c", {"mod": Quotient.of(1.0)})
    assert rows(results, groups[1])[-1] == ["mod [mm]", "-", "1.00", "1.00 (1)"]
    assert rows(results, groups[0])[-1] == ["mod [mm] (2 clips)", "-", "1.00"]


def test_root_metrics_take_the_root_after_pooling():
    results = Results()
    results.add("m", "a", {"lve_rms": Quotient.of(9.0, 1)})
    results.add("m", "b", {"lve_rms": Quotient.of(7.0, 1)})
    assert results.pooled("m")["lve_rms"]["mean"] == pytest.approx(math.sqrt(8))


def test_values_that_do_not_exist_say_nothing():
    results = Results()
    results.add("m", "a", {"opening_correlation": Quotient.of([np.nan, 0.5])})
    results.add("m", "b", {"opening_correlation": Quotient.of([1.0, 0.7])})
    assert results.pooled("m")["opening_correlation"]["mean"] == pytest.approx((1.0 + 0.6) / 2)


def test_csv_has_a_line_for_every_value():
    results = Results()
    results.add("m", "a/000", {"lve": Quotient.of([1.0, 2.0], 1)})
    lines = results.to_csv().splitlines()
    assert lines[0] == "method,clip,metric,unit,mean,std,samples"
    assert lines[1:] == ["m,all,lve,mm,1.5,0.707107,2", "m,a/000,lve,mm,1.5,0.707107,2"]


def test_every_formula_is_complete():
    for name in METRICS:
        text = formula(name, 1.5, 2)
        assert len(text) > 8 and "{closed}" not in text and "{tolerance}" not in text
    assert "<= 1.5 mm" in formula("closure_recall", 1.5, 2) and "+- 2" in formula("closure_recall", 1.5, 2)
