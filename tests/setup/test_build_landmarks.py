"""Landmarks are placed on a head without names, from made-up projections; the open head's file is never replaced."""

import numpy as np
import pytest
import torch

from models.heads.flame import Flame
from models.tracking.embedding import EMBEDDING
from setup import build_landmarks
from setup.build_landmarks import Renders, place, random_coefficients
from tests.support.flame_like_head import flame_like

FRAMES, LANDMARKS = 12, 20


def test_landmarks_of_flame_are_found_on_its_triangles():
    head, order = flame_like()
    flame = Flame(head)
    shape, exp, pose = random_coefficients(flame, FRAMES, np.random.default_rng(0))
    assert exp.abs().mean() > 0.2 and not torch.equal(exp[0], exp[1])
    with torch.no_grad():
        projected = flame(shape, 0.1 * exp, pose)[..., :2].numpy() * 2000
    with np.load(EMBEDDING) as file:
        vertices, weights = np.argsort(order)[file["vertices"][:LANDMARKS]], file["weights"][:LANDMARKS]
    seen = np.einsum("nc,kncx->knx", weights, projected[:, vertices])
    corners, found, errors = place(Renders(seen, projected), head)
    again = np.einsum("nc,kncx->knx", found, projected[:, corners])
    outside = np.arange(LANDMARKS) != 13  # that vertex looks into the mouth
    assert errors[outside].max() < 0.05 and np.abs(again - seen)[:, outside].max() < 0.2
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_the_open_heads_file_is_not_for_another_head(capsys):
    before = EMBEDDING.stat().st_mtime_ns
    with pytest.raises(SystemExit):
        build_landmarks.main(["--head", "flame.pkl"])
    assert "name one for --head" in capsys.readouterr().err and EMBEDDING.stat().st_mtime_ns == before
