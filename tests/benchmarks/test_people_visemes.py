"""A lip reader on people and on the model: tracks of the mouth, rows, and a whole run on a cache."""

import json

import numpy as np
import pytest

from benchmarks.people import visemes
from benchmarks.people.mouth_scores import ruler_openings
from benchmarks.people.recordings import Recording
from datasets.splits import split_of
from models.heads.flame import load_flame
from models.metrics.viseme_reader import CLASSES
from models.tracking.embedding import LandmarkHead
from utils.coefs import N_EXP
from utils.motion_file import Motion
from utils.speech import Phone


def talking(seed: int, n: int = 75) -> Motion:
    pose = np.zeros((n, 6), np.float32)
    pose[:, 3] = 0.1 + 0.1 * np.sin(np.arange(n) + seed)
    return Motion(np.zeros((n, N_EXP), np.float32), pose)


def test_tracks_of_the_mouth():
    head = LandmarkHead(load_flame().head)
    tracks = visemes.mouth_tracks(head, talking(0))
    opening = ruler_openings(head, [talking(0)])[0]
    assert np.corrcoef(tracks[:, 0], opening)[0, 1] == pytest.approx(1)
    assert tracks.shape == (75, 5) and 20 < tracks[:, 1].mean() < 80 and (tracks[:, 2] > tracks[:, 0]).all()
    funnel = Motion(np.zeros((1, N_EXP), np.float32), np.zeros((1, 6), np.float32))
    rest = visemes.mouth_tracks(head, funnel)[0]
    funnel.exp[0, (head.head.exp_names or []).index("mouthPucker")] = 1
    moved = visemes.mouth_tracks(head, funnel)[0]
    assert moved[1] < rest[1] and moved[3] > rest[3]  # narrower, and further forward


def test_a_mouths_tracks_are_standardised():
    """A mouth twice as large gives the same examples."""
    tracks, phones = [np.random.default_rng(0).standard_normal((30, 5))], [[Phone("b", 0.4, 0.5)]]
    (small, _), (large, _) = (visemes.standardised([k * track + k for track in tracks], phones) for k in (1, 2))
    np.testing.assert_allclose(small, large, rtol=1e-5)


def test_rows_by_hand():
    people, model = np.zeros((2, 8, 8), int)
    people[0, 0], model[0, :2] = 4, (1, 3)
    row, mean = visemes.rows_of(people, model)
    assert (row.viseme, row.phones, row.people, row.model, row.confused) == (
        "lips shut", 4, 1, 0.25, "lip at teeth 75%",
    )  # fmt: skip
    assert mean.phones == 4 and mean.model == 0.25


def test_phones_of_a_recording_without_words():
    assert visemes.phones_of(Recording("a/1", np.zeros(16_000, np.float32), np.zeros(25), talking(0))) == []


def test_a_whole_run(tmp_path, monkeypatch, capsys):
    names = {kind: next(f"a/{k}" for k in range(1000) if split_of(f"a/{k}") == kind) for kind in ("train", "test")}
    for seed, clip in enumerate((*names.values(), "b/1")):
        audio = (0.1 * np.random.default_rng(seed).standard_normal(640 * 75)).astype(np.float32)
        Recording(clip, audio, np.ones(75), talking(seed), [("bin", 0.4, 0.8)]).save(tmp_path / f"{clip}.npz")
    phones = [Phone(spoken.split()[0], 0.2 + 0.3 * k, 0.4 + 0.3 * k) for k, spoken in enumerate(CLASSES.values())]
    monkeypatch.setattr(visemes, "phones_of", lambda recording: phones)
    visemes.main(["--cache", str(tmp_path), "--trained=a", "--steps=2", "--device=cpu", "--samples=1",
                  "--json", str(tmp_path / "out.json")])  # fmt: skip
    found = json.loads((tmp_path / "out.json").read_text())
    assert np.sum(found["people"]) == np.sum(found["model"]) == 2 * len(CLASSES)
    assert "mean over classes" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        visemes.main(["--cache", str(tmp_path), "--steps=2", "--device=cpu", "--samples=1"])
