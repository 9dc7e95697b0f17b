"""The ARKit fit on a head whose right answer is known (tests/support/flame_like_head.py)."""

from dataclasses import replace

import numpy as np
import pytest

from models.exports.arkit_fit import FitOptions, fit_arkit
from models.exports.arkit_pairs import find_pairs, similarity
from models.heads.flame import Flame
from tests.support.flame_like_head import SCALE, flame_like, in_its_terms
from utils.errors import UserError
from utils.exports.arkit import arkit_of_open_head
from utils.heads.head_file import load_head_file
from utils.motion_file import Motion, load_motion, load_shape
from utils.runs.run_dir import ROOT


@pytest.fixture(scope="module")
def motion() -> Motion:
    found = load_motion(ROOT / "demo/input/motion/big_mouth.npz")
    return replace(found, exp=found.exp[:120], pose=found.pose[:120], shape=np.zeros(100, np.float32))


@pytest.fixture(scope="module")
def truth(motion):
    return arkit_of_open_head(load_head_file(None), motion)


def test_known_weights_are_found(motion, truth):
    head, _ = flame_like()
    track, report = fit_arkit(Flame(head), in_its_terms(motion))
    assert report.rms_mm < 0.1 < report.motion_mm
    assert report.explained > 0.99
    assert report.n_pairs > 1500
    assert np.abs(track.weights - truth.weights).mean() < 0.01
    assert np.abs(track.column("jawOpen") - truth.column("jawOpen")).max() < 0.03
    for name in ("mouthSmileLeft", "browInnerUp", "eyeBlinkLeft", "mouthClose"):
        assert np.abs(track.column(name) - truth.column(name)).max() < 0.1, name
    assert track.weights.min() >= 0 and track.weights.max() <= 1
    np.testing.assert_allclose(track.angles[:, :3], truth.angles[:, :3], atol=1e-6)
    np.testing.assert_allclose(track.angles[:, 3:], truth.angles[:, 3:], atol=0.03)
    assert f"{report.rms_mm:.2f} mm" in report.text()


def test_another_persons_face(motion, truth):
    """Landmarks on a face of another form: the pairs are then only approximate."""
    open_head = load_head_file(None)
    shape = load_shape(ROOT / "demo/input/coef/female_round.npy")
    face = replace(open_head, exp_names=None, v_template=open_head.v_template + open_head.shapedirs @ shape)
    track, report = fit_arkit(Flame(face), motion)
    assert report.n_pairs > 800
    assert report.explained > 0.95
    assert np.corrcoef(track.column("jawOpen"), truth.column("jawOpen"))[0, 1] > 0.98


def test_smoothing_smooths(motion):
    head, _ = flame_like()
    noisy = replace(
        motion, exp=motion.exp + np.random.default_rng(0).normal(0, 0.1, motion.exp.shape).astype(np.float32)
    )
    rough, fine = (
        fit_arkit(Flame(head), in_its_terms(noisy), options=FitOptions(smooth=s))[0].weights for s in (0.0, 1.0)
    )
    assert np.abs(np.diff(fine, axis=0)).mean() < 0.5 * np.abs(np.diff(rough, axis=0)).mean()


def test_pairs_are_right_where_they_can_be_checked():
    head, order = flame_like()
    pairs = find_pairs(load_head_file(None), head)
    assert (order[pairs.head_vertices] == pairs.open_vertices).mean() > 0.999
    np.testing.assert_allclose(pairs.linear, SCALE * np.eye(3), atol=1e-3)


def test_similarity_finds_rotation_and_scale():
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    points, turn = rng.normal(size=(20, 3)), 0.7 * Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()
    np.testing.assert_allclose(similarity(points, points @ turn.T + [1, 2, 3]), turn, atol=1e-12)


def test_pairs_from_files(tmp_path):
    """Pairs, landmark vertices, and FLAME's landmarks on triangles give the same."""
    open_head, (head, order) = load_head_file(None), flame_like()
    expected = find_pairs(open_head, head)
    bare = replace(head, lmk68=None)
    np.savez(tmp_path / "pairs.npz", open_head=expected.open_vertices, head=expected.head_vertices)
    np.savez(tmp_path / "lmk.npz", lmk68=head.lmk68)
    triangle = np.array([int(np.argmax((head.faces == v).any(1))) for v in head.lmk68[17:]])
    corner = (head.faces[triangle] == head.lmk68[17:, None]).astype(float)
    np.savez(tmp_path / "flame.npz", lmk_face_idx=triangle, lmk_b_coords=corner)
    for name, share in (("pairs", 1.0), ("lmk", 1.0), ("flame", 0.8)):
        found = find_pairs(open_head, bare, tmp_path / f"{name}.npz")
        assert (order[found.head_vertices] == found.open_vertices).mean() > 0.95, name
        assert len(found.open_vertices) >= share * len(expected.open_vertices), name


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"open_head": np.arange(300), "head": np.arange(299)}, "is not"),
        ({"open_head": np.arange(300), "head": np.arange(300) + 10**6}, "is not"),
        ({"open_head": np.arange(300), "head": np.arange(300) - 5}, "is not"),
        ({"open_head": np.arange(5), "head": np.arange(5)}, "only 5"),
        ({"lmk68": np.arange(60)}, "is not"),
        ({"something": np.arange(60)}, "is not"),
    ],
)
def test_unusable_files(tmp_path, arrays, message):
    head, _ = flame_like()
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(UserError, match=message):
        find_pairs(load_head_file(None), head, tmp_path / "m.npz")


def test_no_landmarks_no_file(tmp_path):
    head = replace(flame_like()[0], lmk68=None)
    with pytest.raises(UserError, match="--match"):
        find_pairs(load_head_file(None), head)
    with pytest.raises(UserError, match="no such file"):
        find_pairs(load_head_file(None), head, tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="not readable"):
        find_pairs(load_head_file(None), head, tmp_path / "bad.npz")
