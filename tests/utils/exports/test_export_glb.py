"""The rig and the .glb file against our decoder, evaluated by tests/support/glb_reader.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from models.heads.decode import decode
from models.heads.flame import Flame, load_flame
from tests.support.flame_fixtures import tiny_flame
from tests.support.glb_reader import Glb
from utils.errors import UserError
from utils.exports.glb import SPECULAR, influences, write_glb
from utils.exports.rig import make_rig, resampled
from utils.exports.surface import make_surface, smooth_normals
from utils.heads.head_file import load_head_file
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.looks import dress
from utils.runs.run_dir import ROOT

MM = 1e-3


@pytest.fixture(scope="module")
def flame() -> Flame:
    return load_flame(None)


@pytest.fixture(scope="module")
def motion() -> Motion:
    found = load_motion(ROOT / "demo/input/motion/large_head_movements.npz")
    return replace(found, shape=load_shape(ROOT / "demo/input/coef/male_broad.npy"))


@pytest.fixture(scope="module")
def glb(flame, motion, tmp_path_factory) -> Glb:
    path = tmp_path_factory.mktemp("glb") / "head.glb"
    write_glb(path, make_rig(flame.head, motion), make_surface(flame.head), "clip")
    return Glb(path)


def decoded(flame: Flame, motion: Motion, frames: list[int]) -> np.ndarray:
    parts = (np.tile(motion.shape, (len(frames), 1)), motion.exp[frames], motion.pose[frames])
    with torch.no_grad():
        return flame(*(torch.from_numpy(part) for part in parts)).numpy()


def wild_motion(n_exp: int, jaw_x_only: bool) -> Motion:
    """Strong expressions and large rotations about any axis."""
    rng = np.random.default_rng(1)
    pose = rng.normal(size=(6, 6)).astype(np.float32)
    if jaw_x_only:
        pose[:, 4:] = 0
    shape = rng.normal(size=100).astype(np.float32)
    return Motion(rng.normal(size=(6, n_exp)).astype(np.float32), pose, shape)


def test_file_equals_decoder(glb, flame, motion):
    frames = [0, 57, 200, 333, len(motion) - 1]
    expected = decoded(flame, motion, frames)
    errors = [np.abs(glb.vertices(f)[: flame.n_vertices] - v).max() for f, v in zip(frames, expected)]
    assert max(errors) < 0.05 * MM
    assert np.abs(expected[1] - expected[3]).max() > 5 * MM  # there is motion to get wrong


def test_dressed_head_equals_its_decoder(flame, motion, tmp_path):
    """The skin look's file: one set of vertices, an opaque and a blended material; small enough for a page."""
    look = dress(flame.head, "skin", hair="bob")
    units = np.random.default_rng(0).uniform(0, 1, (len(motion), 2)).astype(np.float32)
    motion = replace(motion, tongue=units)
    write_glb(tmp_path / "a.glb", make_rig(look.drawn, motion), make_surface(look.drawn, look.texture))
    found, drawn = Glb(tmp_path / "a.glb"), Flame(look.drawn)
    expected = decode(drawn, motion.cut(slice(200, 201)), motion.shape)[0].numpy()
    assert np.abs(found.vertices(200)[: drawn.n_vertices] - expected).max() < 0.05 * MM
    solid, _, _, soft, rim = primitives = found.document["meshes"][0]["primitives"]
    assert all(part["attributes"] == solid["attributes"] for part in primitives)
    blended = [len(found.array(part["indices"])) for part in (soft, rim)]
    assert min(blended) > 0 and sum(blended) == 3 * look.drawn.finish.blended
    assert len(found.binary) < 6e6


def test_eyes_are_wet_and_the_mouth_mirrors_nothing(flame, motion, tmp_path):
    """Every face is in one material; lights show in the eyes, but not in the depth of the mouth."""
    look = dress(flame.head, "skin", hair="short")
    surface = make_surface(look.drawn, look.texture)
    write_glb(tmp_path / "a.glb", make_rig(look.drawn, motion), surface)
    found = Glb(tmp_path / "a.glb")
    materials = found.document["materials"]
    parts = {materials[part["material"]]["name"]: part for part in found.document["meshes"][0]["primitives"]}
    assert list(parts) == ["skin", "eyes", "mouth", "soft", "rim"]
    corners = {name: surface.expand[found.array(part["indices"]).ravel()] for name, part in parts.items()}
    assert sum(map(len, corners.values())) == look.drawn.faces.size
    masks = look.drawn.masks
    assert (masks["left_eyeball"] | masks["right_eyeball"])[corners["eyes"]].all()
    assert masks["mouth_interior"][corners["mouth"]].all() and len(corners["mouth"]) > 3000
    rough = {material["name"]: material["pbrMetallicRoughness"]["roughnessFactor"] for material in materials}
    assert rough["eyes"] < 0.2 < rough["skin"] < rough["mouth"] == 1
    dull = [material["name"] for material in materials if material.get("extensions")]
    assert dull == ["mouth"] and materials[2]["extensions"] == {SPECULAR: {"specularFactor": 0.0}}
    assert found.document["extensionsUsed"] == [SPECULAR] and "extensionsRequired" not in found.document


def test_seam_copies_lie_on_their_vertices(glb, flame):
    expand = make_surface(flame.head).expand
    points = glb.vertices(100)
    assert len(points) == len(expand) > flame.n_vertices
    np.testing.assert_array_equal(points, points[: flame.n_vertices][expand])


@pytest.mark.parametrize("jaw_x_only", [True, False])
def test_any_head_and_rotation(tmp_path, jaw_x_only):
    """A FLAME pickle's dense correctives, expressions that move the joints, jaw rotation about all axes."""
    np.savez(tmp_path / "flame.npz", **tiny_flame())
    flame = Flame(load_head_file(tmp_path / "flame.npz"))
    motion = wild_motion(50, jaw_x_only)
    rig = make_rig(flame.head, motion)
    assert len(rig.targets) == 50 + (2 if jaw_x_only else 9)
    write_glb(tmp_path / "a.glb", rig, make_surface(flame.head))
    expected = decoded(flame, motion, list(range(6)))
    found = np.stack([Glb(tmp_path / "a.glb").vertices(f) for f in range(6)])
    assert np.abs(found - expected).max() < 0.05 * MM


def test_names_times_and_size(glb, flame, motion):
    mesh = glb.document["meshes"][0]
    assert mesh["extras"]["targetNames"][:50] == flame.head.exp_names
    assert len(mesh["extras"]["targetNames"]) == len(mesh["weights"]) == len(glb.primitive()["targets"])
    assert [node["name"] for node in glb.document["nodes"]][:5] == ["root", "neck", "jaw", "eye_left", "eye_right"]
    times = glb.array(glb.document["animations"][0]["samplers"][0]["input"]).ravel()
    np.testing.assert_allclose(times, np.arange(len(motion)) / 25, atol=1e-6)
    assert len(glb.binary) < 3e6


def test_bounds_and_alignment(glb):
    for index, accessor in enumerate(glb.document["accessors"]):
        if "min" in accessor:
            values = glb.array(index)
            np.testing.assert_allclose(accessor["min"], values.min(0), rtol=1e-6)
            np.testing.assert_allclose(accessor["max"], values.max(0), rtol=1e-6)
    assert all(view["byteOffset"] % 4 == 0 for view in glb.document["bufferViews"])


def test_morphed_normals_follow_the_surface(glb, flame):
    """Base normal + offset is the normal of the morphed mesh, up to the small offsets that are left out."""
    k, n = flame.head.exp_names.index("cheekPuff"), flame.n_vertices
    attributes, target = glb.primitive()["attributes"], glb.primitive()["targets"][k]
    base, points = (glb.array(attributes[key])[:n] for key in ("NORMAL", "POSITION"))
    expected = smooth_normals(points + glb.array(target["POSITION"])[:n], flame.head.faces)
    assert np.abs(expected - base).max() > 0.3
    np.testing.assert_allclose(base + glb.array(target["NORMAL"])[:n], expected, atol=0.005)


def test_trimesh_opens_it(flame, motion, tmp_path):
    write_glb(tmp_path / "a.glb", make_rig(flame.head, motion), make_surface(flame.head))
    (mesh,) = trimesh.load(tmp_path / "a.glb", process=False).geometry.values()
    assert mesh.vertices.shape == (5310, 3)
    assert mesh.faces.shape == flame.head.faces.shape
    assert mesh.visual.kind == "vertex" or mesh.visual.uv is not None


def test_texture_is_embedded(flame, motion, tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8), (10, 200, 30)).save(tmp_path / "skin.png")
    surface = make_surface(flame.head, tmp_path / "skin.png")
    write_glb(tmp_path / "a.glb", make_rig(flame.head, motion), surface)
    (mesh,) = trimesh.load(tmp_path / "a.glb", process=False).geometry.values()
    assert mesh.visual.material.baseColorTexture.getpixel((0, 0))[:3] == (10, 200, 30)
    np.testing.assert_allclose(mesh.visual.uv, surface.uv, atol=1e-6)  # both count v from the bottom
    with pytest.raises(UserError, match="png or jpg"):
        make_surface(flame.head, tmp_path / "skin.tif")
    with pytest.raises(UserError, match="no texture coordinates"):
        make_surface(replace(flame.head, uv=None), tmp_path / "skin.png")


def test_five_influences_become_four_without_loss():
    weights = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [0.0, 0.0, 1.0, 0.0, 0.0]])
    joint, weight = influences(weights)
    np.testing.assert_allclose(weight.sum(1), 1, atol=1e-7)
    assert weight[0][joint[0] == 1][0] == pytest.approx(0.3)
    assert joint[1].tolist() == [2, 0, 0, 0]


def test_quaternions_have_no_sign_jumps():
    angles = np.linspace(0, 4 * np.pi, 100)
    pose = np.zeros((100, 6), np.float32)
    pose[:, 1] = angles
    rig = make_rig(load_head_file(None), Motion(np.zeros((100, 50), np.float32), pose))
    assert (np.sum(rig.rotations[1:, 0] * rig.rotations[:-1, 0], axis=1) > 0).all()


def test_resampling(motion):
    same = resampled(motion, 25)
    assert same is motion
    double = resampled(motion, 50)
    assert len(double) == 2 * len(motion) - 1
    np.testing.assert_allclose(double.exp[::2], motion.exp, atol=1e-6)
    np.testing.assert_allclose(double.pose[::2], motion.pose, atol=1e-6)
    between = Rotation.from_rotvec(double.pose[101, :3])
    ends = Rotation.from_rotvec(motion.pose[50:52, :3])
    assert (ends[0].inv() * between).magnitude() == pytest.approx((between.inv() * ends[1]).magnitude(), abs=1e-6)
    assert len(resampled(motion, 30)) == int((len(motion) - 1) / 25 * 30 + 1e-6) + 1
    with pytest.raises(UserError, match="--fps"):
        resampled(motion, float("nan"))
