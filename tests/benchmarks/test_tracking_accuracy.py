"""The tracker's benchmark on motion that is known to be late, and to have other blinks; nothing is filmed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.tracking.accuracy import UNITS, blinks, compare
from benchmarks.tracking.films import Cinema, bundled, cases


def test_late_motion_is_found_late_and_otherwise_alike():
    true = bundled("big_mouth", 100)
    order = np.maximum(np.arange(100) - 2, 0)
    late = replace(true, exp=true.exp[order], pose=true.pose[order])
    found = compare(Cinema(), cases()[0], true, SimpleNamespace(motion=late, confidence=np.ones(100)))
    assert found["lag"] == pytest.approx(2, abs=0.1)
    assert found["jaw.gain"] == pytest.approx(1, abs=0.1) and found["mouth.r"] < 0.95
    assert {f"{name}.error" for name in ("jaw", "mouth", "yaw", *UNITS)} <= found.keys()


def test_blinks_may_be_two_frames_late_and_no_more():
    true, found = np.zeros(60), np.zeros(60)
    for frame in (10, 30, 50):
        true[frame : frame + 3] = 0.9
    found[12:15] = found[33:36] = 0.9
    assert blinks(true, found) == (3, 1, 1)


def test_every_style_is_filmed_in_both_looks():
    films = cases()
    assert len(films) == 18 and {film.scene.look for film in films[:14]} == {"skin", "clay"}
    assert [film.fps for film in films[14:]] == [25, 25, 50, 25]
