"""The shipped open head: counts, jaw and lip figures, symmetry, masks, landmarks, colours."""

import numpy as np
import pytest
import torch

from models.heads.flame import Flame
from models.heads.mouth import mouth_opening, solve_mouth_close
from utils.errors import UserError
from utils.heads.head_file import OPEN_HEAD_FILE, load_head_file
from utils.heads.joints import JAW, LEFT_EYE

FULL_OPENING = 0.4193  # radians of the face unit jawOpen


@pytest.fixture(scope="module")
def flame():
    return Flame(load_head_file())


def _pose(*jaw):
    pose = torch.zeros(len(jaw), 6)
    pose[:, 3] = torch.tensor(jaw)
    return pose


def _exp(flame, n=1, **values):
    exp = torch.zeros(n, 50)
    for name, value in values.items():
        exp[:, flame.head.exp_names.index(name)] = torch.as_tensor(value)
    return exp


def test_counts(flame):
    head = flame.head
    assert head.v_template.shape == (5090, 3) and head.faces.shape == (9868, 3)
    assert head.shapedirs.shape == (5090, 3, 100) and head.expdirs.shape == (5090, 3, 50)
    assert len(head.exp_names) == 50 and head.exp_names == sorted(head.exp_names)
    assert not {"jawOpen", "tongueOut"} & set(head.exp_names)
    assert OPEN_HEAD_FILE.stat().st_size < 3e6


def test_size_and_frame(flame):
    """Metres, y up, z forward, face towards +z, an adult's head."""
    v = flame.head.v_template
    assert 0.14 < np.ptp(v[:, 0]) < 0.2 and 0.25 < np.ptp(v[:, 1]) < 0.33
    joints = (flame.head.j_regressor @ v).round(3)
    np.testing.assert_allclose(joints[LEFT_EYE], [0.031, 0.034, 0.026], atol=1e-3)
    np.testing.assert_allclose(joints[JAW], [0, -0.0173, -0.0313], atol=1e-3)
    assert v[flame.head.landmark("nose_tip"), 2] == v[:, 2].max()


def test_jaw_opens_the_mouth(flame):
    vertices = flame(torch.zeros(4, 100), torch.zeros(4, 50), _pose(0.05, 0.1, 0.2, 0.3))
    height = 1e3 * mouth_opening(vertices, flame.head)
    torch.testing.assert_close(height, torch.tensor([4.44, 8.90, 17.53, 25.69]), atol=0.05, rtol=0)
    lips = vertices[:, [flame.head.landmark("upper_inner_lip"), flame.head.landmark("lower_inner_lip")]]
    distance = 1e3 * (lips[:, 0] - lips[:, 1]).norm(dim=1)
    torch.testing.assert_close(distance, torch.tensor([4.6, 8.9, 18.0, 27.0]), atol=0.1, rtol=0)


def test_lips_are_closed_at_rest(flame):
    opening = mouth_opening(flame(torch.zeros(1, 100), torch.zeros(1, 50), _pose(0.0)), flame.head)
    assert -0.5e-3 < opening.item() < 0.2e-3


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_mouth_close_seals_the_lips_along_their_width(flame, share):
    vertices = flame(torch.zeros(1, 100), _exp(flame, mouthClose=share), _pose(share * FULL_OPENING))
    v = 1e3 * vertices[0]
    # Middle and the landmarks half way to the corners: upper 61..63 against lower 67..65.
    gap = v[flame.head.lmk68[[61, 62, 63]], 1] - v[flame.head.lmk68[[67, 66, 65]], 1]
    assert gap.min() > -1.0 and gap.max() < 0.3


def test_solved_closure_for_any_identity(flame):
    shape = torch.randn(32, 100, generator=torch.Generator().manual_seed(0))
    angle = torch.linspace(0.02, 0.4, 32)
    coefficient = solve_mouth_close(flame, shape, angle)
    closed = mouth_opening(flame(shape, _exp(flame, 32, mouthClose=coefficient), _pose(*angle.tolist())), flame.head)
    fixed = _exp(flame, 32, mouthClose=angle / FULL_OPENING)
    unsolved = mouth_opening(flame(shape, fixed, _pose(*angle.tolist())), flame.head)
    assert closed.abs().max() < 2e-5
    assert unsolved.abs().max() > 1e-3  # identity matters: this is why there is a solver
    mean = solve_mouth_close(flame, torch.zeros(1, 100), torch.tensor([0.2]))
    assert abs(mean.item() - 0.2 / FULL_OPENING) < 0.03


def test_solver_needs_the_expression(flame):
    class Nameless:
        head = type("Head", (), {"exp_names": None, "name": "generic_model"})

    with pytest.raises(UserError, match="generic_model: no expression named mouthClose"):
        solve_mouth_close(Nameless(), torch.zeros(1, 100), torch.zeros(1))


def test_blink_closes_the_eye(flame):
    vertices = flame(torch.zeros(2, 100), _exp(flame, 2, eyeBlinkLeft=torch.tensor([0.0, 1.0])), _pose(0.0, 0.0))
    upper, lower = flame.head.lmk68[[43, 44]], flame.head.lmk68[[47, 46]]
    gap = 1e3 * (vertices[:, upper, 1] - vertices[:, lower, 1]).mean(1)
    assert gap[0] > 5 and abs(gap[1]) < 1.5


def test_left_and_right_are_symmetric(flame):
    v, lmk = flame.head.v_template, flame.head.lmk68
    for right, left in [(0, 16), (17, 26), (36, 45), (31, 35), (48, 54), (60, 64)]:
        np.testing.assert_allclose(v[lmk[right]] * [-1, 1, 1], v[lmk[left]], atol=1e-5)
        assert v[lmk[left], 0] > 0
    for name in ("ear", "eye_region", "eyeball"):
        assert flame.head.mask(f"left_{name}").sum() == flame.head.mask(f"right_{name}").sum()


def test_masks(flame):
    head = flame.head
    assert all(m.shape == (5090,) and m.dtype == bool and m.any() for m in head.masks.values())
    assert head.mask("lips").sum() == 418
    assert not (head.mask("upper_face") & (head.mask("lips") | head.mask("lower_face"))).any()
    assert (head.mask("left_eyeball") == (head.weights[:, LEFT_EYE] == 1)).all()
    assert (head.mask("teeth") & head.mask("mouth_interior")).sum() == head.mask("teeth").sum()
    assert (head.weights[head.mask("boundary"), JAW] == 0).all()


def test_upper_face_ignores_speech_and_lips_do_not(flame):
    moved = (flame(torch.zeros(1, 100), torch.zeros(1, 50), _pose(0.2))[0].numpy() - flame.head.v_template) * 1e3
    moved = np.linalg.norm(moved, axis=1)
    assert moved[flame.head.mask("upper_face")].max() < 0.8
    assert moved[flame.head.mask("lips")].max() > 15


def test_landmarks_are_distinct_and_named(flame):
    lmk = flame.head.lmk68
    assert len(set(lmk.tolist())) == 68 and lmk.min() >= 0 and lmk.max() < 5090
    assert (flame.head.landmark("upper_inner_lip"), flame.head.landmark("lower_inner_lip")) == (520, 523)
    assert flame.head.landmark("chin") == lmk[8]
    v = flame.head.v_template[lmk]
    assert v[8, 1] == v[:17, 1].min()  # the chin is the lowest of the jaw line
    assert (np.diff(v[:17, 0]) > 0).all()  # jaw line from image left to right
    assert v[19, 1] > v[37, 1] > v[30, 1] > v[51, 1] > v[57, 1] > v[8, 1]


def test_identity_is_unit_variance_and_ordered(flame):
    size = np.linalg.norm(flame.head.shapedirs, axis=(0, 1))
    assert (np.diff(size) < 1e-4).all()
    rms = 1e3 * size[0] / np.sqrt(5090)
    assert 2.5 < rms < 4  # mm per standard deviation


def test_random_identities_keep_their_lips_closed(flame):
    shape = torch.randn(64, 100, generator=torch.Generator().manual_seed(1))
    opening = 1e3 * mouth_opening(flame(shape, torch.zeros(64, 50), torch.zeros(64, 6)), flame.head)
    assert opening.abs().max() < 0.6


def test_colours(flame):
    colours, head = flame.head.vertex_colours, flame.head
    assert colours.shape == (5090, 3) and colours.min() >= 0 and colours.max() <= 1
    skin, lips = colours[head.mask("scalp")].mean(0), colours[head.lmk68[[51, 57, 62, 66]]].mean(0)
    assert lips.mean() < skin.mean() and lips[0] / lips[1] > skin[0] / skin[1]  # darker and redder
    inside = head.mask("mouth_interior") & ~head.mask("teeth") & ~head.mask("tongue")
    assert np.median(colours[inside].mean(1)) < 0.25
    assert colours[head.mask("left_eyeball")].max() > 0.9 and colours[head.mask("left_eyeball")].min() < 0.1
    assert (colours[head.mask("teeth")].max(0) > 0.75).all()


def test_texture_coordinates(flame):
    head = flame.head
    assert head.ft.shape == head.faces.shape and head.ft.max() < len(head.uv)
    assert head.uv.min() >= 0 and head.uv.max() <= 1


@pytest.mark.parametrize("region", ["scalp", "forehead", "left_eyeball", "right_eyeball"])
def test_triangles_face_outwards(flame, region):
    v, f = flame.head.v_template.astype(float), flame.head.faces
    inside = v[flame.head.mask(region)].mean(0)
    if "eyeball" not in region:
        inside = np.array([0, 0.06, -0.03])
    chosen = flame.head.mask(region)[f].all(1)
    a, b, c = (v[f[chosen, k]] for k in range(3))
    assert ((np.cross(b - a, c - a) * (a - inside)).sum(1) > 0).all()
