"""The two renderers draw the same pictures, not merely similar ones: every look, the mouth, background, lens, turns."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from models.heads.flame import Flame, load_flame
from utils.errors import UserError
from utils.rendering import pyrender_drawing
from utils.rendering.looks import dress, pivot, seen_from
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT

SIZE = 320


@pytest.fixture(scope="module")
def heads():
    """(head, vertices (5, V, 3)): at rest, mouth wide open, turned, turned with the mouth open, looking up."""
    flame = load_flame(None)
    pose = torch.zeros(5, 6)
    pose[1, 3], pose[2, 1], pose[3, 1], pose[3, 3], pose[4, 0] = 0.4, 0.7, -0.5, 0.3, -0.5
    with torch.no_grad():
        return flame.head, flame(torch.zeros(5, 100), torch.zeros(5, 50), pose).numpy()


def draw(head, vertices: np.ndarray, renderer: str, **style) -> np.ndarray:
    """(T, SIZE, SIZE, 3) int."""
    drawn = Renderer(head, RenderStyle(**{"size": SIZE, "renderer": renderer, **style}))
    return np.stack(list(drawn.frames(vertices))).astype(int)


def difference(head, vertices: np.ndarray, **style) -> np.ndarray:
    """(T, SIZE, SIZE) of the two renderers, which must be nearly none.

    Inner sides are lit per vertex instead of per pixel: a few dark pixels in the open mouth may differ."""
    ours, expected = (draw(head, vertices, name, **style) for name in ("fast", "pyrender"))
    assert (np.abs(expected - expected[:1, :1, :1]).max(axis=-1) > 40).mean() > 0.3  # something is drawn
    found = np.abs(ours - expected).max(axis=-1)
    assert (found > 2).mean() < 2e-4
    assert found.mean() < 0.01
    return found


@pytest.mark.parametrize("kind", ["painted", "textured"])
def test_pictures_are_those_of_pyrender(heads, tmp_path, kind):
    head, vertices = heads
    style = {}
    if kind == "textured":
        stripes = np.random.default_rng(0).integers(60, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(stripes).resize((512, 512), Image.Resampling.BILINEAR).save(tmp_path / "stripes.png")
        style = {"texture": tmp_path / "stripes.png"}
    inner = difference(head, vertices, **style)[1]  # the mouth wide open shows most of the inside
    assert (inner > 2).mean() < 1e-3
    assert inner.max() <= 60


@pytest.mark.parametrize("style", [{"black_bg": True}, {"fov": 60.0}], ids=str)
def test_skin_on_any_stage(heads, style):
    head, vertices = heads
    look = dress(head, "skin")
    turned = seen_from(vertices, pivot(head), yaw=25)
    difference(look.head, turned, texture=look.texture, **style)


@pytest.mark.parametrize("hair", ["short", "bob"])
def test_a_dressed_head(heads, hair):
    """Teeth, lashes, bust and hair, whose rims are blended over the rest."""
    look = dress(heads[0], "skin", hair=hair)
    vertices = Flame(look.drawn)(torch.zeros(1, 100), torch.zeros(1, 50), torch.zeros(1, 6)).numpy()
    difference(look.drawn, seen_from(vertices, pivot(look.drawn), yaw=40), texture=look.texture)


def test_pyrender_draws_heads_in_turn(heads):
    """pyrender frees one scene's buffers when another is drawn; sizes, backgrounds and threads do not mix either."""
    head, vertices = heads
    a = Renderer(head, RenderStyle(SIZE, renderer="pyrender"))
    b = Renderer(head, RenderStyle(64, black_bg=True, renderer="pyrender"))
    together = zip(a.frames(vertices), b.frames(vertices[::-1]))
    first, second = (np.stack(pictures) for pictures in zip(*together))
    np.testing.assert_array_equal(first, draw(head, vertices, "pyrender"))
    np.testing.assert_array_equal(second, draw(head, vertices[::-1], "pyrender", size=64, black_bg=True))
    assert np.abs(first[0].astype(int) - first[1]).max() > 50


def test_pyrender_that_is_not_there_is_named(heads, monkeypatch):
    monkeypatch.setattr(pyrender_drawing, "open_pyrender", pyrender_drawing.open_pyrender.__wrapped__)
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(UserError, match="--renderer pyrender.*pip install pyrender-maintained.*--renderer fast"):
        Renderer(heads[0], RenderStyle(renderer="pyrender")).prepare()


def test_a_pyrender_without_opengl_is_one_line():
    """In a process of its own: PyOpenGL chooses its platform only once."""
    script = """
from utils.errors import UserError
from utils.heads.head_file import load_head_file
from utils.rendering.renderer import Renderer, RenderStyle
try:
    Renderer(load_head_file(), RenderStyle(renderer="pyrender")).prepare()
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "PYOPENGL_PLATFORM": "nosuch"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("--renderer pyrender: no OpenGL (") and "apt-get install libegl1" in line, done.stderr


def test_an_unknown_renderer():
    with pytest.raises(UserError, match="--renderer blender.*fast, pyrender"):
        RenderStyle(renderer="blender")
