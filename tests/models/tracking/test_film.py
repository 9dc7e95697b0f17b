"""A head fitted to landmarks whose motion is known: projected through a camera, with noise, losses and outliers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.heads.flame import load_flame
from models.heads.lbs import rotation_matrix
from models.tracking.embedding import EMBEDDING, LANDMARKS, LandmarkHead
from models.tracking.film import WINDOW, Film, FilmFitter, FitOptions
from models.tracking.solver import Camera, Frames, Person, project, solve_banded
from utils.heads.head_file import load_head_file
from utils.heads.joints import ROOT_JOINT

SIZE, FOV = (480, 640), 45.0


@pytest.fixture(scope="module")
def head() -> LandmarkHead:
    return LandmarkHead(load_head_file(None))


def talking(n_frames: int, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """exp and pose of syllables with shut lips between them, two blinks, a head that sways."""
    t = np.arange(n_frames) / 25
    exp, pose = np.zeros((n_frames, len(names))), np.zeros((n_frames, 6))
    pose[:, 3] = 0.25 * np.maximum(np.sin(2 * np.pi * 1.5 * t), 0)
    pose[:, 1], pose[:, 0] = 0.25 * np.sin(2 * np.pi * 0.3 * t), 0.1 * np.sin(2 * np.pi * 0.5 * t)
    exp[:, names.index("mouthPucker")] = 0.5 * np.maximum(np.sin(2 * np.pi * 0.4 * t + 2), 0)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        for middle in (20, 70):
            exp[:, names.index(name)] += np.interp(np.abs(np.arange(n_frames) - middle), [0, 1, 3], [1, 1, 0])
    return exp, pose


def film(head: LandmarkHead, exp: np.ndarray, pose: np.ndarray, noise: float = 0.15, seed: int = 0) -> Film:
    """Landmarks of a person of some identity, 0.7 m before the camera, with noise of some pixels."""
    rng = np.random.default_rng(seed)
    shape = torch.from_numpy(0.6 * rng.standard_normal(head.n_shape))
    n = len(exp)
    rotation = rotation_matrix(torch.from_numpy(pose[:, :3]))
    place = torch.tensor([0.0, -0.1, -0.7], dtype=torch.float64).expand(n, 3)
    frames = Frames(torch.from_numpy(exp), torch.from_numpy(pose[:, 3]), rotation, place)
    person = Person(shape, torch.zeros(len(LANDMARKS), 3, dtype=torch.float64))
    points = project(head, Camera.of(SIZE, FOV), person, frames).numpy()
    return Film(np.arange(n) / 25, points + noise * rng.standard_normal(points.shape), rotation.numpy(), SIZE)


@pytest.fixture(scope="module")
def known(head):
    return talking(100, head.head.exp_names)


@pytest.fixture(scope="module")
def fitted(head, known):
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([film(head, *known)])
    return found


def angles(rotvec):
    return np.degrees(Rotation.from_rotvec(rotvec).as_euler("YXZ"))


def test_points_are_the_heads_own(head):
    """The reduced head says where the whole one's vertices are."""
    torch.manual_seed(0)
    shape, exp, pose = torch.randn(4, 100), torch.rand(4, 50) * 0.5, torch.zeros(4, 6)
    pose[:, 3] = torch.tensor([0, 0.1, 0.2, 0.4])
    flame = load_flame()
    with np.load(EMBEDDING) as file:
        corners, weights = (torch.from_numpy(file[name][list(LANDMARKS)]) for name in ("vertices", "weights"))
    vertices = flame(shape, exp, pose)[:, corners.long()]
    wanted = (vertices * weights[..., None]).sum(2)
    root = torch.from_numpy(head.head.j_regressor[ROOT_JOINT] @ head.head.v_template)
    offset = torch.zeros(len(LANDMARKS), 3).double()
    for k in range(4):
        found = head(shape[k].double(), offset, exp[k : k + 1].double(), pose[k : k + 1, 3].double())
        torch.testing.assert_close(found[0].float(), wanted[k] - root, atol=2e-6, rtol=0)


def test_a_banded_system_is_solved_exactly():
    torch.manual_seed(0)
    b, t, n = 2, 5, 3
    blocks = torch.randn(b, t, n, n).double()
    blocks = blocks @ blocks.transpose(2, 3) + 4 * torch.eye(n)
    coupling, right = torch.rand(b, t - 1, n).double(), torch.randn(b, t, n).double()
    found = solve_banded(blocks, coupling, right)
    for k in range(b):
        whole = torch.block_diag(*blocks[k])
        for i in range(t - 1):
            rows = slice(i * n, i * n + n), slice(i * n + n, i * n + 2 * n)
            whole[rows] = -torch.diag(coupling[k, i])
            whole[rows[::-1]] = -torch.diag(coupling[k, i])
        torch.testing.assert_close(whole @ found[k].flatten(), right[k].flatten())


def test_known_motion_is_fitted(head, known, fitted):
    exp, pose = known
    names = head.head.exp_names
    assert fitted.residual.mean() < 0.5
    for axis, gain in ((0, 0.1), (1, 0.1)):
        true, found = angles(pose[:, :3])[:, axis], angles(fitted.pose[:, :3])[:, axis]
        assert np.corrcoef(true, found)[0, 1] > 0.98
        assert found.std() / true.std() == pytest.approx(1, abs=gain)
    assert np.corrcoef(pose[:, 3], fitted.pose[:, 3])[0, 1] > 0.9
    pucker = names.index("mouthPucker")
    assert np.corrcoef(exp[:, pucker], fitted.exp[:, pucker])[0, 1] > 0.8
    assert (fitted.exp >= 0).all() and (fitted.exp[:, names.index("jawLeft")] == 0).all()


def test_the_head_is_found_from_a_wrong_start(head, known):
    """The landmarker underestimates turns by a fifth; without noise the fit must not keep any of that."""
    exp, pose = known
    clean = film(head, exp, pose, noise=0)
    start = Rotation.from_rotvec(0.8 * pose[:, :3]) * Rotation.from_euler("X", 3, degrees=True)
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([replace(clean, rotations=start.as_matrix())])
    assert found.residual.mean() < 0.25
    for axis in (0, 1):
        true, fit = angles(pose[:, :3])[:, axis], angles(found.pose[:, :3])[:, axis]
        assert np.polyfit(true, fit, 1)[0] == pytest.approx(1, abs=0.05)


def test_lips_that_touch_touch(known, fitted):
    shut, wide = known[1][:, 3] == 0, known[1][:, 3] > 0.2
    assert fitted.opening[shut].max() < 1.0 and np.median(fitted.opening[shut]) < 0.3
    assert fitted.opening[wide].min() > 10
    assert np.corrcoef(known[1][:, 3], fitted.opening)[0, 1] > 0.97


def test_blinks_are_whole_and_in_time(head, known, fitted):
    column = head.head.exp_names.index("eyeBlinkLeft")
    assert fitted.exp[[20, 70], column].min() > 0.9
    calm = known[0][:, column] == 0
    assert fitted.exp[calm, column].max() < 0.35


def test_lost_and_outlying_landmarks(head, known, fitted):
    clean = film(head, *known)
    points = clean.points.copy()
    points[40:46] = np.nan
    points[55, :15] += 40  # a tenth of the face is misread in one frame
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([replace(clean, points=points)])
    seen = np.isfinite(points).all(axis=(1, 2))
    assert np.isfinite(found.exp).all() and np.isfinite(found.pose).all()
    assert np.isnan(found.residual[~seen]).all() and np.isfinite(found.residual[seen]).all()
    assert np.abs(angles(found.pose[:, :3]) - angles(fitted.pose[:, :3])).max() < 4
    assert abs(found.opening[56] - fitted.opening[56]) < 1


def test_a_head_beyond_profile_is_not_believed(head, known):
    clean = film(head, *known)
    away = clean.rotations.copy()
    away[80:] = Rotation.from_euler("y", 75, degrees=True).as_matrix()
    assert replace(clean, rotations=away).found.sum() == 80


def test_windows_join_without_a_seam(head):
    exp, pose = talking(WINDOW + 40, head.head.exp_names)
    clean = film(head, exp, pose, noise=0.05)
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([clean])
    assert len(found.exp) == len(exp)
    speed = np.linalg.norm(np.diff(found.pose[:, :3], axis=0), axis=1)
    seam = slice(WINDOW - 10, WINDOW + 2)
    true = np.linalg.norm(np.diff(pose[:, :3], axis=0), axis=1)
    assert (speed[seam] - true[seam]).max() < 0.02


def test_other_frame_rates(head, known):
    """At 50 frames a second the same motion comes out."""
    exp, pose = known
    at = np.arange(2 * len(exp) - 1) / 2
    frames = np.arange(len(exp))
    twice = [np.stack([np.interp(at, frames, column) for column in x.T], axis=1) for x in (exp, pose)]
    clean = replace(film(head, *twice), times=at / 25)
    (found,) = FilmFitter(head, FitOptions(fov=FOV))([clean])
    assert np.corrcoef(found.opening, twice[1][:, 3])[0, 1] > 0.97


def test_a_second_of_rest_is_obeyed(head, known):
    """What a person does at the second of rest is not counted as motion, and auto agrees where lips are shut."""
    clean = film(head, *known)
    rest = float(np.flatnonzero(known[1][:, 3] == 0)[3] / 25)
    (given,) = FilmFitter(head, FitOptions(fov=FOV, rest=(rest,)))([clean])
    at = round(rest * 25)
    assert given.exp[at, head.head.exp_names.index("mouthPucker")] < 0.15
    assert given.opening[at] < 1
