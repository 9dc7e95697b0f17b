"""The lip reader: windows by hand, classes that can be told apart, counts."""

import numpy as np
import pytest

from models.metrics.viseme_reader import CLASS_OF, CLASSES, REACH, confusion, examples, recalls, trained_reader
from utils.speech import Phone


def test_a_window_is_centred_on_the_phones_middle():
    tracks = np.stack([np.arange(50.0), -np.arange(50.0)], axis=1)
    windows, classes = examples(tracks, [Phone("b", 0.4, 0.48), Phone("aa", 0, 0.04), Phone("iy", 3, 4)])
    assert windows.shape == (2, 2 * (2 * REACH + 1)) and classes.tolist() == [CLASS_OF["b"], CLASS_OF["aa"]]
    assert windows[0, ::2].tolist() == list(range(11 - REACH, 12 + REACH))
    assert windows[1, ::2].tolist() == [0] * (REACH + 1) + list(range(1, REACH + 1))


def test_no_phones_are_no_examples():
    windows, classes = examples(np.zeros((10, 3)), [])
    assert windows.shape == (0, 3 * (2 * REACH + 1)) and len(classes) == 0


def test_every_phone_has_one_class():
    phones = " ".join(CLASSES.values()).split()
    assert len(phones) == len(set(phones)) == len(CLASS_OF)


def test_a_reader_learns_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, len(CLASSES), 400)
    windows = (3 * np.eye(len(CLASSES))[classes] + 0.1 * rng.standard_normal((400, len(CLASSES)))).astype(np.float32)
    reader = trained_reader(windows[:200], classes[:200])
    counts = confusion(reader, windows[200:], classes[200:])
    assert counts.sum() == 200 and recalls(counts).min() > 0.95
    again = trained_reader(windows[:200], classes[:200])
    assert (confusion(again, windows[200:], classes[200:]) == counts).all()


def test_recalls_by_hand():
    counts = np.zeros((8, 8), int)
    counts[0, :2] = 3, 1
    found = recalls(counts)
    assert found[0] == 0.75 and np.isnan(found[1:]).all()


def test_counts_by_hand():
    first_wins = trained_reader(np.zeros((4, 2), np.float32), np.zeros(4, np.int64))
    counts = confusion(first_wins, np.zeros((3, 2), np.float32), np.array([0, 2, 2]))
    assert counts[0, 0] == 1 and counts[2, 0] == 2 and counts.sum() == 3
    assert recalls(counts)[2] == pytest.approx(0)
