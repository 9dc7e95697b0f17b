"""FLAME as a module: golden vertices, agreement with plain skinning, gradients, properties."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.heads.flame import Flame, load_flame
from models.heads.lbs import rotate_about, rotation_matrix
from tests.support.flame_fixtures import tiny_flame
from tests.support.golden_weights import HERE, array, flame_arrays
from tests.support.plain_skinning import joint_transforms, linear_blend_skinning
from utils.heads.head_file import load_head_file
from utils.heads.joints import JAW


@pytest.fixture(scope="module")
def golden_flame(tmp_path_factory):
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame_arrays())
    return load_flame(path)


@pytest.fixture
def tiny(tmp_path):
    np.savez(tmp_path / "tiny.npz", **tiny_flame())
    return Flame(load_head_file(tmp_path / "tiny.npz"))


def _inputs(batch=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes, scales = (100, 50, 6, 6), (1, 1, 0.4, 0.3)
    return [s * torch.randn(batch, n, generator=generator, dtype=dtype) for n, s in zip(sizes, scales)]


@pytest.mark.parametrize("case", ["verts", "verts_eyes", "verts_noglobal"])
def test_golden(golden_flame, case):
    shape, exp = (torch.tensor(array(f"flame:{key}", (4, n))) for key, n in (("shape", 100), ("exp", 50)))
    pose, eyes = torch.tensor(array("flame:pose", (4, 6), 0.3)), torch.tensor(array("flame:eye", (4, 6), 0.2))
    vertices = golden_flame(shape, exp, pose, eyes if case == "verts_eyes" else None, case != "verts_noglobal")
    with np.load(HERE / "expected_io.npz") as expected:
        wanted, ids = expected[f"flame/{case}"], expected["flame/vertex_ids"]
    assert vertices.shape == (4, 5023, 3)
    np.testing.assert_allclose(vertices[:, ids].numpy(), wanted, atol=1e-6 * np.abs(wanted).max(), rtol=0)


def _plain(flame, shape, exp, pose, eyes):
    """The textbook form: all five joints, all 36 features, full transforms per vertex."""
    head = flame.head
    template, identity, expression, posedirs, regressor, weights = (
        torch.from_numpy(a).double()
        for a in (head.v_template, head.shapedirs, head.expdirs, head.posedirs, head.j_regressor, head.weights)
    )
    weights = weights / weights.sum(1, keepdim=True)
    shaped = template + torch.einsum("vxk,bk->bvx", identity, shape) + torch.einsum("vxk,bk->bvx", expression, exp)
    joints = torch.einsum("jv,bvx->bjx", regressor, shaped)
    full_pose = torch.cat([pose[:, :3], torch.zeros(len(pose), 3), pose[:, 3:], eyes], 1).unflatten(1, (5, 3))
    rotations = rotation_matrix(full_pose)
    feature = (rotations[:, 1:] - torch.eye(3)).flatten(1)
    posed = shaped + torch.einsum("vxk,bk->bvx", posedirs, feature)
    return linear_blend_skinning(posed, weights, *joint_transforms(rotations, joints, head.parents.tolist()))


def test_equals_plain_skinning_with_gradients(tiny):
    flame = tiny.double()
    inputs = [x.requires_grad_() for x in _inputs()]
    upstream = torch.randn(3, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fast, plain = flame(*inputs), _plain(flame, *inputs)
    torch.testing.assert_close(fast, plain, atol=1e-7, rtol=0)  # buffers were rounded to float32 once
    for ours, theirs in zip(*(torch.autograd.grad((v * upstream).sum(), inputs) for v in (fast, plain))):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_gradcheck(tiny):
    flame = tiny.double()
    inputs = [x.requires_grad_() for x in _inputs(batch=1)]
    assert torch.autograd.gradcheck(lambda *x: flame(*x)[:, :4], inputs, atol=1e-6)


def test_gradients_are_finite_at_rest(tiny):
    inputs = [torch.zeros(2, n, requires_grad=True) for n in (100, 50, 6, 6)]
    tiny(*inputs).square().sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in inputs)
    assert all(x.grad.abs().max() > 0 for x in inputs)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-4, 3e-4, 0.1, 3.0])
def test_rotation_matrix_matches_scipy(scale):
    vectors = scale * np.random.default_rng(0).normal(size=(20, 3))
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(rotation_matrix(torch.from_numpy(vectors)).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(rotation_matrix(torch.from_numpy(vectors).float()).numpy(), expected, atol=2e-6)


def test_zero_coefficients_give_the_template(tiny):
    vertices = tiny(torch.zeros(2, 100), torch.zeros(2, 50), torch.zeros(2, 6), torch.zeros(2, 6))
    np.testing.assert_allclose(vertices.numpy(), np.stack([tiny.head.v_template] * 2), atol=1e-7)


def test_global_rotation_is_rigid_about_the_root(tiny):
    flame = tiny.double()
    shape, exp, pose, eyes = _inputs()
    still = flame(shape, exp, pose, eyes, global_rotation=False)
    torch.testing.assert_close(still, flame(shape, exp, torch.cat([torch.zeros(3, 3), pose[:, 3:]], 1), eyes))
    turned = flame(shape, exp, pose, eyes)
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(still, still), atol=1e-6, rtol=0)
    coefficients = torch.cat([shape, exp], 1)
    root = (flame.joint_template + coefficients @ flame.joint_directions)[:, :3]
    torch.testing.assert_close(turned, rotate_about(still, rotation_matrix(pose[:, :3]), root))


def test_autocast_does_not_lower_the_precision(tiny):
    inputs = _inputs(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = tiny(*inputs)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, tiny(*inputs))


def test_no_eye_pose_equals_zero_eye_pose(tiny):
    shape, exp, pose, _ = _inputs(dtype=torch.float32)
    torch.testing.assert_close(tiny(shape, exp, pose), tiny(shape, exp, pose, torch.zeros(3, 6)))


def test_short_shape_is_padded(tiny):
    shape, exp, pose, _ = _inputs(dtype=torch.float32)
    padded = torch.cat([shape[:, :10], torch.zeros(3, 90)], 1)
    torch.testing.assert_close(tiny(shape[:, :10], exp, pose), tiny(padded, exp, pose))


def test_nothing_of_the_head_is_trained_or_saved(tiny):
    assert list(tiny.parameters()) == []
    assert tiny.state_dict() == {}


def test_joint_transforms_move_the_child_with_its_parent():
    joints = torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 2, 0]]])
    quarter = rotation_matrix(torch.tensor([[[0, 0, torch.pi / 2], [0, 0, 0], [0, 0, torch.pi / 2]]]))
    rotation, translation = joint_transforms(quarter, joints, [-1, 0, 1])
    points = torch.tensor([[[0.0, 3, 0]]])  # one above the last joint
    moved = linear_blend_skinning(points, torch.tensor([[0.0, 0, 1]]), rotation, translation)
    torch.testing.assert_close(moved, torch.tensor([[[-2.0, -1, 0]]]), atol=1e-6, rtol=0)


def test_jaw_moves_only_what_it_holds():
    flame = load_flame()
    pose = torch.zeros(1, 6)
    pose[0, 3] = 0.2
    vertices = flame(torch.zeros(1, 100), torch.zeros(1, 50), pose, global_rotation=False)[0].numpy()
    moved = (vertices != flame.head.v_template).any(1)
    held = (flame.head.weights[:, JAW] > 0) | flame.head.posedirs.any((1, 2))
    assert held.sum() > 500
    np.testing.assert_array_equal(moved & ~held, np.zeros(len(held), bool))
