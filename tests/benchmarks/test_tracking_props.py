"""Glasses and a beard on our own head: they cover what they should, and nothing else; closures are counted truly."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.tracking import accuracy, worn
from benchmarks.tracking.films import bundled
from benchmarks.tracking.props import DARK, paint_beard, rims, with_glasses
from benchmarks.tracking.worn import shut_kept
from models.heads.flame import load_flame
from utils.heads.head_file import load_head_file
from utils.rendering.looks import SKIN_UV, SKINS, framed_part
from utils.rendering.stage import stage_for

SIZE = 200


@pytest.mark.parametrize("program", [accuracy, worn])
def test_short_films_are_refused(program, capsys):
    with pytest.raises(SystemExit):
        program.main(["--frames", "20"])
    assert "--frames 20: must be at least 100" in capsys.readouterr().err


def test_glasses_frame_the_eyes_and_turn_with_the_head():
    head, motion = load_head_file(None), bundled("normal", 2)
    pose = np.zeros((2, 6), np.float32)
    pose[1, 1] = 0.4  # the head turns to its left, which is on the right of the picture
    stage = stage_for(framed_part(head), SIZE, black_bg=False)
    white = (np.full((SIZE, SIZE, 3), 255, np.uint8) for _ in range(2))
    ahead, turned = with_glasses(white, head, replace(motion, pose=pose), stage.to_screen)
    dark = [np.argwhere((picture < np.array(DARK) + 60).all(axis=2)) for picture in (ahead, turned)]
    assert 0.005 < len(dark[0]) / SIZE**2 < 0.05
    assert dark[0][:, 1].mean() == pytest.approx(SIZE / 2, abs=1)
    assert dark[1][:, 1].mean() > dark[0][:, 1].mean() + 3
    eyes = (head.j_regressor @ head.v_template)[3:5]
    for ring, eye in zip(rims(head, np.zeros(100)), eyes):
        assert (ring.min(0) < eye)[:2].all() and (ring.max(0) > eye)[:2].all()


def test_the_beard_leaves_lips_nose_and_cheeks_bare(tmp_path):
    head = load_head_file(None)
    before, after = (np.asarray(Image.open(p).convert("RGB"), float).mean(axis=2)
                     for p in (SKINS["tan"], paint_beard(head, tmp_path / "beard.png")))  # fmt: skip
    with np.load(SKIN_UV) as file:
        uv = file["uv"]
    corner = np.zeros(head.n_vertices, int)
    corner[head.faces.ravel()] = head.ft.ravel()

    def darker(vertex: int) -> float:
        column, row = (uv[corner[vertex]] * (1, -1) * len(before) + (0, len(before))).astype(int)
        return before[row, column] - after[row, column]

    assert darker(head.landmark("chin")) > 50
    for name in ("upper_inner_lip", "lower_inner_lip", "nose_tip"):
        assert abs(darker(head.landmark(name))) < 5


def test_lips_that_are_tracked_open_are_not_kept_shut():
    cinema, true = SimpleNamespace(flame=load_flame()), bundled("big_mouth", 60)
    shut, kept = shut_kept(cinema, "average", true, SimpleNamespace(motion=true))
    assert shut == kept > 5
    pose = true.pose.copy()
    pose[:, 3] += 0.2
    assert shut_kept(cinema, "average", true, SimpleNamespace(motion=replace(true, pose=pose))) == (shut, 0)
