"""The measures of tracked people, on landmarks and tracks that are made up."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from benchmarks.people.halves import found, halves, styles
from benchmarks.people.tracking import LIDS, at_onsets, blinks, brow_heights, measured, needed_words, people, within
from models.tracking.embedding import LandmarkHead
from models.tracking.solver import Camera, Frames, Person, project
from utils.errors import UserError
from utils.heads.head_file import load_head_file

NAMES = ["browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight"]
FRAMES = 100


@dataclass
class MadeUp:
    """What `measured` needs of a Take."""

    seen: np.ndarray
    opening: np.ndarray
    blinking: np.ndarray  # (T,) whether the lids are seen shut
    exp: np.ndarray
    clip: str = "ann/one"

    @property
    def brows(self) -> np.ndarray:
        return np.stack([self.exp[:, 0], -self.exp[:, 0]])

    @property
    def film(self) -> SimpleNamespace:
        return SimpleNamespace(times=np.arange(FRAMES) / 25)

    @property
    def fitted(self) -> SimpleNamespace:
        return SimpleNamespace(exp=self.exp, residual=np.full(FRAMES, 0.4))

    @property
    def measures(self) -> np.ndarray:
        values = np.tile(np.linspace(0, 1, FRAMES)[:, None], (1, 8))
        values[:, LIDS] = np.where(self.blinking, 1.0, 10.0)[:, None]
        return values


def take(shift: float = 0.0, tracked_blinks: tuple[int, ...] = (20, 60)) -> MadeUp:
    seen = 5 + 5 * np.sin(np.arange(FRAMES) / 4)
    blinking, exp = np.zeros(FRAMES, bool), np.zeros((FRAMES, len(NAMES)))
    for frame in (20, 60):
        blinking[frame : frame + 3] = True
    for frame in tracked_blinks:
        exp[frame : frame + 3, 1:3] = 1
    exp[:, 0] = exp[:, 3] = exp[:, 4] = np.linspace(0, 1, FRAMES)
    return MadeUp(seen, seen + shift, blinking, exp)


def test_a_perfect_tracker_has_perfect_figures():
    row = measured("ann", [take()], {"ann/one": [["bin", 0.75, 1.0], ["red", 1.0, 1.2]]}, NAMES)
    seen = take().seen
    assert row.onsets == 1 and row.kept == (seen[seen <= 1.5] <= 1).mean()  # seen shut up to 1.5 mm, tracked up to 1 mm
    assert row.r == pytest.approx(1) and row.gain == pytest.approx(1) and row.offset == pytest.approx(0)
    assert (row.blinks, row.false_blinks) == (1, 0)
    assert row.smile == pytest.approx(1) and row.brow == pytest.approx(1) and row.residual == pytest.approx(0.4)
    assert row.inner_brows == pytest.approx(-1)


def test_lips_left_open_and_wrong_blinks_show():
    row = measured("ann", [take(shift=2.0, tracked_blinks=(20, 90))], {"ann/one": [["blue", 0.75, 1.0]]}, NAMES)
    assert row.offset == pytest.approx(2) and row.kept == 0 and row.shut == 0
    assert (row.blinks, row.false_blinks) == (0.5, 0.5)


def test_onsets_of_b_and_p_alone_count_and_only_near_frames():
    found = at_onsets(take(), [["bin", 0.76, 1], ["at", 1.0, 1.1], ["p", 3.0, 3.2], ["please", 99.0, 99.5]])
    seen = take().seen
    assert found == [(seen[17:22].min(),) * 2, (seen[73:78].min(),) * 2]


def test_brows_are_seen_as_tracked_whatever_the_turn_of_the_head():
    head = LandmarkHead(load_head_file(None))
    exp, pose, camera = np.zeros((30, 50), np.float32), np.zeros((30, 6), np.float32), Camera(500.0, (0.0, 0.0))
    exp[:, (head.head.exp_names or []).index("browInnerUp")] = np.linspace(0, 1, 30) ** 2
    pose[:, 0] = 0.2 * np.sin(np.arange(30))
    turn, nothing = Rotation.from_rotvec(pose[:, :3]).as_matrix(), torch.zeros(100).double()
    place = torch.tensor([[0, 0, -2.0]]).double().expand(30, 3)
    frames = Frames(torch.from_numpy(exp).double(), torch.zeros(30).double(), torch.from_numpy(turn), place)
    points = project(head, camera, Person(nothing, torch.zeros(1, 3).double()), frames).numpy()
    seen, tracked = brow_heights(head, SimpleNamespace(points=points), SimpleNamespace(exp=exp, pose=pose))
    assert np.corrcoef(seen, tracked)[0, 1] > 0.98 and np.ptp(tracked) > 1
    assert np.ptp(seen) == pytest.approx(np.ptp(tracked), rel=0.15)


def test_correlation_within_clips_skips_what_does_not_move():
    rising, still = np.arange(10.0), np.zeros(10)
    assert within([rising, still], [2 * rising + 3, rising]) == pytest.approx(1)
    assert np.isnan(within([still], [rising]))
    assert blinks([take(tracked_blinks=())], NAMES) == (0, 0)


def test_folders_without_videos_or_words_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no words\.jsonl"):
        needed_words(tmp_path / "faces")
    (tmp_path / "words.jsonl").write_text('{"clip": "ann/0", "words": [["bin", 0.1, 0.2]]}\n{"clip": 3}\n')
    with pytest.raises(UserError, match=r"words\.jsonl:2: is not"):
        needed_words(tmp_path)
    with pytest.raises(UserError, match="holds no <person>/<clip> videos"):
        people(tmp_path, 5)
    (tmp_path / "ann").mkdir()
    for k in range(7):
        (tmp_path / "ann" / f"{k}.mp4").touch()
    assert [path.stem for path in people(tmp_path, 3)["ann"]] == ["0", "2", "4"]


def test_styles_of_halves():
    """People are found where both halves of their clips move alike; what lasts is taken off on demand."""
    rng = np.random.default_rng(0)
    still = [SimpleNamespace(exp=np.full((60, 3), level, np.float32), pose=np.zeros((60, 6), np.float32))
             for level in (0.2, 0.2, 0.4, 0.4)]  # fmt: skip
    one, other = halves(still, lasting=True)
    assert len(one) == len(other) == 120 and one.exp.mean() == pytest.approx(0.3)
    assert halves(still[:2], lasting=False)[0].exp.max() == 0
    manners = np.repeat(3 * np.eye(4), 2, axis=0)
    people_styles = [styles(one, lambda motion, start, m=m: rng.normal(m, 0.1), 100) for m in manners]
    assert all(len(x) == 1 and np.linalg.norm(x) == pytest.approx(1) for x in people_styles)
    pairs = list(zip(people_styles[::2], people_styles[1::2]))
    assert found(pairs) == (1.0, 8)
    mixed = [(a, pairs[k - 1][1]) for k, (a, _) in enumerate(pairs)]
    assert found(mixed)[0] == 0
    with pytest.raises(UserError, match="a style needs 121; give more"):
        styles(one, lambda motion, start: motion.exp[0], 121)
