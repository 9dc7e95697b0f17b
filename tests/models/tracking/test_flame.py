"""A FLAME that is made up is fitted to landmarks of known coefficients, by FLAME's embedding and by our builder's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.tracking.carry import opening_on
from models.tracking.embedding import LandmarkHead, column
from models.tracking.film import Film, FilmFitter, FitOptions
from models.tracking.video import landmark_head
from tests.models.tracking.test_film import FOV, angles, film
from tests.support.made_up_flame import MadeUpFlame, write_flame
from utils.errors import UserError
from utils.heads.landmark_file import FLAME_EMBEDDING
from utils.motion_file import load_motion
from utils.runs.run_dir import ROOT


@pytest.fixture(scope="module")
def flame(tmp_path_factory) -> MadeUpFlame:
    return write_flame(tmp_path_factory.mktemp("flame"))


def opening(head: LandmarkHead, shape: np.ndarray, exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    return opening_on(head, *(torch.from_numpy(x.astype(np.float64)) for x in (shape, exp, jaw))).numpy()


@pytest.mark.parametrize("own", [False, True])
def test_known_coefficients_come_back(flame, own):
    head = landmark_head(flame.model, flame.own if own else None)
    motion = load_motion(ROOT / "demo" / "input" / "motion" / "big_mouth.npz").cut(slice(125, 250))
    exp, pose = flame.coefficients(motion.exp.astype(np.float64)), motion.pose.astype(np.float64)
    shape = 0.6 * np.random.default_rng(1).standard_normal(head.n_shape)
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([film(head, exp, pose, seed=1)])
    true = opening(head, shape, exp, pose[:, 3])
    fitted = opening(head, found.identity, found.exp, found.pose[:, 3])
    assert np.corrcoef(true, fitted)[0, 1] > 0.99 and (fitted - true).std() < 0.7
    assert np.polyfit(true, fitted, 1)[0] == pytest.approx(1, abs=0.05)
    for axis in (0, 1):
        turned, turn = (angles(p[:, :3])[:, axis] for p in (pose, found.pose))
        assert np.polyfit(turned, turn, 1)[0] == pytest.approx(1, abs=0.05)
    assert np.corrcoef(pose[:, 3], found.pose[:, 3])[0, 1] > 0.97
    assert np.corrcoef((exp - exp.mean(0)).ravel(), (found.exp - found.exp.mean(0)).ravel())[0, 1] > 0.6
    assert found.residual.mean() < 0.25 and found.exp.min() < -0.5  # no bounds
    lacking = [column(landmark) for landmark in (152, 468)]  # chin and iris, which FLAME's file lacks
    assert np.isnan(found.points[:, lacking]).all() != own and np.isfinite(found.points[:, column(13)]).all()


def test_lips_that_touch_touch_on_the_persons_own_shape(flame):
    head = landmark_head(flame.model)
    pose = np.zeros((60, 6))
    pose[:, 3] = 0.2 * np.maximum(np.sin(np.arange(60) / 3), 0)
    seen: Film = film(head, np.zeros((60, 50)), pose)
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([seen])
    shut = pose[:, 3] == 0
    on_its_shape = opening(head, found.identity, found.exp, found.pose[:, 3])
    np.testing.assert_allclose(on_its_shape, found.opening, atol=0.05)
    assert on_its_shape[shut].max() < 0.8 and on_its_shape[pose[:, 3] > 0.15].min() > 5


def altered(flame: MadeUpFlame, folder: Path, **changes: np.ndarray | None) -> Path:
    with np.load(flame.embedding) as file:
        arrays = {**file} | changes
    path = folder / "changed.npz"
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"landmark_indices": None}, "lacks landmark_indices"),
        ({"lmk_face_idx": np.full(105, 10**6)}, "names vertices or triangles that generic_model lacks"),
        ({"lmk_face_idx": np.arange(105)}, "belongs to another mesh"),
        ({"lmk_b_coords": np.ones((105, 3))}, "do not sum to 1"),
        ({"lmk_b_coords": np.ones((3, 105))}, "malformed"),
        ({"landmark_indices": np.arange(200, 305)}, "lacks landmarks 33, 263, 13, 14"),
        ({"landmark_indices": np.zeros(105, int)}, "malformed"),
        ({"landmark_indices": np.array(["a"] * 105)}, "not numbers"),
    ],
)
def test_wrong_embeddings(flame, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as error:
        landmark_head(flame.model, altered(flame, tmp_path, **changes))
    assert "changed.npz" in str(error.value) and "\n" not in str(error.value)


def test_a_head_without_an_embedding(flame, tmp_path):
    alone = tmp_path / "generic_model.pkl"
    alone.symlink_to(flame.model)
    with pytest.raises(UserError, match=f"--landmarks .*{FLAME_EMBEDDING}: no such file"):
        landmark_head(alone)
    with pytest.raises(UserError, match="belongs to another mesh"):
        landmark_head(None, flame.own)
