"""The .usda file, read and evaluated from its text with the formulas of UsdSkel, against our decoder."""

import ast
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.heads.flame import load_flame
from utils.exports.rig import make_rig
from utils.exports.surface import make_surface
from utils.exports.usd import joint_paths, write_usd
from utils.motion_file import load_motion, load_shape
from utils.runs.run_dir import ROOT


class Usda:
    def __init__(self, path: Path) -> None:
        self.text = path.read_text()

    @functools.cache  # noqa: B019 - one object per module
    def value(self, name: str, after: str = ""):
        """The Python value of an attribute: numbers, tuples, lists, or {time: ...}."""
        start = self.text.index(f"{name} = ", self.text.index(after)) + len(name) + 3
        if self.text[start] == "{":
            return ast.literal_eval(self.text[start : self.text.index("\n        }", start)] + "}")
        return ast.literal_eval(self.text[start : self.text.index("\n", start)].removesuffix(" ("))

    def vertices(self, frame: int) -> np.ndarray:
        """Blend shapes first, then skinning; USD's matrices act on row vectors."""
        points = np.array(self.value("point3f[] points"))
        names = self.value("uniform token[] blendShapes")
        weights = self.value("blendShapeWeights.timeSamples")[frame]
        for name, weight in zip(names, weights, strict=True):
            where = f'def BlendShape "{name}"'
            rows = self.value("uniform int[] pointIndices", where)
            points[rows] += weight * np.array(self.value("uniform vector3f[] offsets", where)).reshape(-1, 3)
        joints = self.value("uniform token[] joints")
        bind = np.array(self.value("uniform matrix4d[] bindTransforms"))
        world = []
        for j, joint in enumerate(joints):
            local = np.eye(4)
            local[:3, :3] = row_matrix(self.value("rotations.timeSamples")[frame][j])
            local[3, :3] = self.value("translations.timeSamples")[frame][j]
            parent = joint.rpartition("/")[0]
            world.append(local @ world[joints.index(parent)] if parent else local)
        skin = np.stack([np.linalg.inv(b) @ w for b, w in zip(bind, world)])
        weight = np.array(self.value("primvars:skel:jointWeights")).reshape(len(points), -1)
        index = np.array(self.value("primvars:skel:jointIndices")).reshape(len(points), -1)
        homogeneous = np.c_[points, np.ones(len(points))]
        return np.einsum("vk,vx,vkxy->vy", weight, homogeneous, skin[index])[:, :3]


def row_matrix(quaternion: tuple) -> np.ndarray:
    """w x y z -> rotation for row vectors (the transpose of the usual)."""
    w, x, y, z = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)],
        [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)],
        [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    flame = load_flame(None)
    motion = load_motion(ROOT / "demo/input/motion/large_head_movements.npz")
    motion = replace(motion, exp=motion.exp[100:130], pose=motion.pose[100:130],
                     shape=load_shape(ROOT / "demo/input/coef/male_broad.npy"))  # fmt: skip
    path = tmp_path_factory.mktemp("usd") / "head.usda"
    write_usd(path, make_rig(flame.head, motion), make_surface(flame.head))
    return Usda(path), flame, motion


def test_file_equals_decoder(scene):
    usda, flame, motion = scene
    with torch.no_grad():
        parts = (np.tile(motion.shape, (len(motion), 1)), motion.exp, motion.pose)
        expected = flame(*(torch.from_numpy(part) for part in parts)).numpy()
    for frame in (0, 29):
        assert np.abs(usda.vertices(frame) - expected[frame]).max() < 0.05e-3
    assert np.abs(expected[0] - expected[29]).max() > 2e-3


def test_scene_description(scene):
    usda, flame, motion = scene
    for line in ('defaultPrim = "Head"', "endTimeCode = 29", "timeCodesPerSecond = 25", 'upAxis = "Y"'):
        assert line in usda.text
    assert usda.value("uniform token[] joints") == joint_paths() == [
        "root", "root/neck", "root/neck/jaw", "root/neck/eye_left", "root/neck/eye_right"]  # fmt: skip
    assert usda.value("uniform token[] blendShapes")[:50] == flame.head.exp_names
    assert len(usda.value("rotations.timeSamples")) == len(motion)
    assert usda.text.count("{") == usda.text.count("}")


def test_texture_lies_beside(tmp_path, scene):
    from PIL import Image

    _, flame, motion = scene
    Image.new("RGB", (4, 4)).save(tmp_path / "paint.png")
    write_usd(tmp_path / "a.usda", make_rig(flame.head, motion), make_surface(flame.head, tmp_path / "paint.png"))
    assert "@./a_skin.png@" in (tmp_path / "a.usda").read_text()
    assert (tmp_path / "a_skin.png").read_bytes() == (tmp_path / "paint.png").read_bytes()
