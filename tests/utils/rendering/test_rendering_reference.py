"""Pictures against pyrender's of the same scene: the same look, not merely a similar one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.heads.flame import load_flame
from utils.rendering.renderer import Renderer, RenderStyle

SIZE = 320
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def heads():
    """(flame, vertices (5, V, 3)): at rest, mouth wide open, turned, turned with the mouth open, looking up."""
    flame = load_flame(None)
    pose = torch.zeros(5, 6)
    pose[1, 3], pose[2, 1], pose[3, 1], pose[3, 3], pose[4, 0] = 0.4, 0.7, -0.5, 0.3, -0.5
    with torch.no_grad():
        return flame, flame(torch.zeros(5, 100), torch.zeros(5, 50), pose).numpy()


def reference(vertices: np.ndarray, folder: Path, *texture: str) -> np.ndarray:
    np.save(folder / "vertices.npy", vertices)
    command = [sys.executable, "-m", "tests.support.pyrender_reference.draw", "vertices.npy", str(SIZE), "pictures.npy"]
    command[3], command[5] = str(folder / command[3]), str(folder / command[5])
    subprocess.run([*command, *texture], cwd=ROOT, check=True, timeout=120)
    return np.load(folder / "pictures.npy").astype(int)


@pytest.mark.parametrize("kind", ["painted", "textured"])
def test_pictures_are_those_of_pyrender(heads, tmp_path, kind):
    flame, vertices = heads
    texture = []
    if kind == "textured":
        import cv2

        stripes = np.random.default_rng(0).integers(60, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "stripes.png"), cv2.resize(stripes, (512, 512)))
        texture = [str(tmp_path / "stripes.png")]
    expected = reference(vertices, tmp_path, *texture)
    ours = np.stack(list(Renderer(flame.head, RenderStyle(SIZE, False, *texture)).frames(vertices))).astype(int)
    difference = np.abs(ours - expected).max(axis=-1)
    assert (expected < 250).any(axis=-1).mean() > 0.3  # something is drawn
    # Inner sides are lit per vertex instead of per pixel: a few dark pixels in the open mouth may differ.
    assert (difference > 2).mean() < 2e-4
    assert difference.mean() < 0.01
    inner = difference[1]  # the mouth wide open shows most of the inside
    assert (inner > 2).mean() < 1e-3
    assert inner.max() <= 60
