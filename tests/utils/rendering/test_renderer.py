"""Pictures of heads: framing, lights, colours, the fast vertex update against a rebuilt scene, and threads."""

import dataclasses
import gc
import os
import sys
import threading
from types import SimpleNamespace

import moderngl
import numpy as np
import pytest
from PIL import Image

from models.heads.flame import load_flame
from tests.support.backdrop import covered, empty_picture
from utils.errors import UserError
from utils.heads.head_file import load_head_file
from utils.rendering import gl_context, stage
from utils.rendering.gl_context import FAST, gl_thread
from utils.rendering.renderer import Renderer, RenderStyle, VertexNormals
from utils.rendering.stage import frame_head

SIZE = 128


@pytest.fixture(scope="module")
def head():
    return load_head_file()


@pytest.fixture
def fresh_gl(monkeypatch):
    """`open_gl` opens anew; monkeypatch, which afterwards gives EGL_DEVICE_ID back."""
    monkeypatch.setattr(gl_context, "open_gl", gl_context.open_gl.__wrapped__)
    monkeypatch.setenv("EGL_DEVICE_ID", "")
    monkeypatch.delenv("EGL_DEVICE_ID")
    return monkeypatch


def posed(jaw: float = 0.0, yaw: float = 0.0, smile: float = 0.0) -> np.ndarray:
    """(V, 3) float32 of the open head."""
    import torch

    flame = load_flame()
    exp, pose = torch.zeros(1, 50), torch.zeros(1, 6)
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        exp[0, flame.head.exp_names.index(name)] = smile
    pose[0, 3], pose[0, 1] = jaw, yaw
    with torch.no_grad():
        return flame(torch.zeros(1, 100), exp, pose)[0].numpy()


def draw(head, *vertices: np.ndarray, **style) -> list[np.ndarray]:
    return list(Renderer(head, RenderStyle(**{"size": SIZE, **style})).frames(np.stack(vertices)))


def test_pictures_are_uint8_and_the_head_fills_them(head):
    (picture,) = draw(head, head.v_template)
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    rows, columns = np.where(covered(picture))
    assert 1 <= rows.min() <= 0.10 * SIZE, "crown cut off or much empty space above"
    assert abs((columns.min() + columns.max()) / 2 - SIZE / 2) < 0.03 * SIZE, "not in the middle"
    assert 0.35 < covered(picture).mean() < 0.75


@pytest.mark.parametrize("scale", [0.5, 1.0, 10.0])
def test_any_head_is_framed_alike(head, scale):
    """A head in other units, elsewhere in space, gives the same picture."""
    other = dataclasses.replace(head, v_template=head.v_template * np.float32(scale) + np.float32(0.25))
    (expected,), (picture,) = draw(head, head.v_template), draw(other, other.v_template)
    difference = np.abs(expected.astype(int) - picture)
    assert (difference > 24).mean() < 0.01  # the mouth's darkness is in metres, so not all is equal


def test_updating_the_buffer_equals_rebuilding_the_scene(head):
    poses = [posed(), posed(jaw=0.25), posed(yaw=0.5, smile=1.0)]
    updated = draw(head, *poses)
    for pose, picture in zip(poses, updated):
        (rebuilt,) = draw(head, pose)
        assert np.abs(rebuilt.astype(int) - picture).max() <= 1
    assert np.abs(updated[0].astype(int) - updated[1]).max() > 50  # and the mouth did open


def test_two_renderers_take_turns(head):
    """Another head drawn in between frees the first one's buffers on the card; it must come back."""
    a, b = posed(), posed(jaw=0.3)
    white, black = Renderer(head, RenderStyle(size=SIZE)), Renderer(head, RenderStyle(size=SIZE - 32, black_bg=True))
    first = next(white.frames(a[None]))
    other = next(black.frames(b[None]))
    again = list(white.frames(np.stack([b, a])))
    assert other.shape == (SIZE - 32, SIZE - 32, 3)
    np.testing.assert_array_equal(first, again[1])
    assert np.abs(first.astype(int) - again[0]).max() > 50


def test_any_thread_may_draw(head):
    expected = draw(head, posed())[0]
    found = []
    threads = [threading.Thread(target=lambda: found.append(draw(head, posed())[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for picture in found:
        np.testing.assert_array_equal(picture, expected)


def test_background(head):
    """A soft gradient, light behind the face and symmetric, or black; the head hides it."""
    (grey,), (black,) = draw(head, head.v_template), draw(head, head.v_template, black_bg=True)
    assert (black[0] == 0).all()
    alone = empty_picture(SIZE).astype(int)
    np.testing.assert_array_equal(grey[0], alone[0])
    assert alone[SIZE // 2, SIZE // 2].min() > 244 and 195 < alone[0, 0].min() < 210
    assert np.abs(alone - alone[::-1, ::-1]).max() <= 1
    assert np.abs(np.diff(alone, axis=0)).max() <= 2 and np.abs(np.diff(alone, axis=1)).max() <= 2  # no edge in it
    shown = (black > 12).any(axis=2)
    assert (covered(grey) == shown).mean() > 0.98


def test_edges_are_antialiased(head):
    (picture,) = draw(head, head.v_template, black_bg=True)
    row = picture[SIZE // 3, :, 1].astype(int)
    inside = np.flatnonzero(row)
    edge = [picture[r, np.flatnonzero(picture[r, :, 1])[0], 1] for r in range(20, 100)]
    assert row[inside[len(inside) // 2]] > 100
    assert sum(value < 90 for value in edge) > 10, "no partly covered pixels along the outline"


@pytest.mark.parametrize("light", range(5))
def test_each_light_lights(head, light, monkeypatch):
    """Without any one of the lights the picture must get darker."""
    full = draw(head, head.v_template)[0].astype(int)
    dark = [(d, c, 0.0 if i == light else strength) for i, (d, c, strength) in enumerate(stage.LIGHTS)]
    monkeypatch.setattr(stage, "LIGHTS", tuple(dark))
    without = draw(head, head.v_template)[0].astype(int)
    assert (without <= full + 1).all()
    assert (full - without).max() > 5


def test_the_open_mouth_is_dark_with_teeth(head):
    (shut, wide) = draw(head, posed(), posed(jaw=0.3), size=256)
    changed = (np.abs(shut.astype(int) - wide).sum(axis=2) > 30) & covered(wide)
    brightness = wide[changed].max(axis=1)
    assert (brightness < 110).mean() > 0.05, "no dark inside of the mouth"
    grey = np.ptp(wide.astype(int), axis=2) < 25
    assert (changed & grey & (wide[..., 1] > 120)).sum() > 20, "no teeth"


def test_head_without_colours_is_clay(head):
    plain = dataclasses.replace(head, vertex_colours=None, masks={})
    (picture,) = draw(plain, plain.v_template)
    assert np.ptp(picture[SIZE // 2, SIZE // 2].astype(int)) < 60
    assert picture[SIZE // 2, SIZE // 2].min() > 90


def test_texture_covers_the_head(head, tmp_path):
    assert head.uv is not None
    green = np.zeros((32, 32, 3), np.uint8)
    green[:] = (40, 200, 40)
    Image.fromarray(green).save(tmp_path / "green.png")
    (picture,) = draw(head, head.v_template, texture=tmp_path / "green.png")
    skin = picture[covered(picture)].astype(int)
    assert (skin[:, 1] > skin[:, 0] + 20).mean() > 0.9
    pair = draw(head, posed(), posed(jaw=0.2), texture=tmp_path / "green.png")
    (alone,) = draw(head, posed(jaw=0.2), texture=tmp_path / "green.png")
    assert np.abs(pair[1].astype(int) - alone).max() <= 1  # uv survive the in-place update


def test_texture_goes_where_the_uv_say(head, tmp_path):
    """A texture painted by height must come out by height: neither flipped nor torn at the seams."""
    height = head.v_template[:, 1]
    uv = np.stack([np.full(len(height), 0.5), (height - height.min()) / np.ptp(height)], axis=1).astype(np.float32)
    other = dataclasses.replace(head, uv=uv, ft=head.faces)
    ramp = np.repeat(np.linspace(255, 0, 256).astype(np.uint8)[:, None], 4, axis=1)  # bright at the top
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    (picture,) = draw(other, head.v_template, texture=tmp_path / "ramp.png")
    column = picture[10 : SIZE - 10, SIZE // 2, 1].astype(int)
    assert column[:20].mean() > column[-20:].mean() + 80


def test_texture_mistakes(head, tmp_path):
    (tmp_path / "no.png").write_text("no image")
    with pytest.raises(UserError, match="no such image"):
        Renderer(head, RenderStyle(texture=tmp_path / "missing.png"))
    with pytest.raises(UserError, match="not a readable image"):
        Renderer(head, RenderStyle(texture=tmp_path / "no.png"))
    with pytest.raises(UserError, match="no texture coordinates"):
        Renderer(dataclasses.replace(head, uv=None, ft=None), RenderStyle(texture=tmp_path / "no.png"))


def test_wrong_sizes(head):
    for size in (0, 15, 641):
        with pytest.raises(UserError, match="even number"):
            RenderStyle(size=size)
    with pytest.raises(ValueError, match="vertices must be"):
        next(Renderer(head).frames(np.zeros((2, 7, 3), np.float32)))


def test_normals_against_the_plain_loop(head):
    rng = np.random.default_rng(0)
    vertices = head.v_template[:300] + rng.normal(0, 1e-3, (300, 3)).astype(np.float32)
    faces = rng.integers(0, 299, (200, 3))  # vertex 299 is in no face
    expected = np.zeros((300, 3))
    for a, b, c in faces:
        expected[[a, b, c]] += 0  # keep the loop below plain: np indexing with repeats would drop duplicates
        for corner in (a, b, c):
            expected[corner] += np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
    length = np.linalg.norm(expected, axis=1, keepdims=True)
    normals = VertexNormals(faces, 300)(vertices)
    known = length[:, 0] > 1e-9
    np.testing.assert_allclose(normals[known], (expected / np.maximum(length, 1e-20))[known], atol=1e-3)
    assert (normals[299] == 0).all()


def test_sphere_normals_point_outwards():
    import trimesh

    ball = trimesh.creation.icosphere(3)
    normals = VertexNormals(np.asarray(ball.faces), len(ball.vertices))(np.asarray(ball.vertices, np.float32))
    assert (np.sum(normals * ball.vertices, axis=1) > 0.999).all()


def test_camera_stands_before_the_head():
    template = np.array([[-0.1, -0.2, -0.1], [0.1, 0.2, 0.1]])
    (near, far), pose = frame_head(template)
    assert pose[2, 3] > 0.1 + near
    assert far > pose[2, 3] + 0.1
    np.testing.assert_allclose(pose[:3, :3], np.eye(3))


def test_without_opengl_the_packages_are_named(fresh_gl):
    fresh_gl.setattr(gl_context, "LIBRARIES", {"libegl": "libNoEGL.so.1", "libgl": "libGL.so.1"})
    with pytest.raises(UserError, match="libNoEGL.*libegl1 libgl1 libxrender1"):
        gl_context.open_gl()


def test_without_moderngl_it_is_named(fresh_gl):
    fresh_gl.setitem(sys.modules, "moderngl", None)
    with pytest.raises(UserError, match="moderngl is not installed; pip install"):
        gl_context.open_gl()


def test_the_first_device_that_works_is_taken(fresh_gl):
    """Devices that give no context are passed over, unless EGL_DEVICE_ID names one."""
    tried = []

    def second_only(device_index: int, **wanted):
        tried.append(device_index)
        if device_index != 1:
            raise Exception(f"no context on {device_index}")
        return SimpleNamespace(info={"GL_RENDERER": "a card"}, version_code=330)

    fresh_gl.setattr(moderngl, "create_context", second_only)
    gl_context.open_gl()
    assert tried == [0, 1] and os.environ["EGL_DEVICE_ID"] == "1"
    fresh_gl.setenv("EGL_DEVICE_ID", "5")
    with pytest.raises(UserError, match="no context on 5"):
        gl_context.open_gl()
    assert tried == [0, 1, 5]


def test_a_dropped_drawing_is_freed(head):
    """Whichever thread drops a renderer, the next one to be made frees its buffers."""
    draw(head, head.v_template)
    gc.collect()
    context = gl_thread(FAST).submit(gl_context.open_gl).result()
    left = len(context.objects)
    assert left >= 7  # 3 buffers, 2 programs, 2 arrays
    kept = Renderer(head, RenderStyle(size=SIZE))
    next(kept.frames(head.v_template[None]))
    assert len(context.objects) == 0
