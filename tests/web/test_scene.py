"""web/scene.py and the shaders of web/static: the 3-D view has the videos' light and framing."""

import json

import numpy as np
import pytest

from models.heads.flame import load_flame
from utils.rendering.gl_context import FAST, gl_thread, open_gl
from utils.rendering.looks import dress
from utils.rendering.renderer import Renderer, RenderStyle
from utils.rendering.stage import FIELD_OF_VIEW, LIGHT_GREY
from web.page import STATIC
from web.scene import scene


@pytest.fixture(scope="module")
def stage() -> dict:
    return json.loads(json.dumps(scene(load_flame(None))))


def test_the_camera_is_the_videos(stage):
    pose = Renderer(dress(load_flame(None).head, "skin").drawn, RenderStyle())._stage.pose
    np.testing.assert_allclose(np.add(stage["centre"], [0, 0, stage["distance"]]), pose[:3, 3])
    assert (stage["fov"], stage["background"]) == (FIELD_OF_VIEW, list(LIGHT_GREY))


def test_the_shaders_compile_as_a_browser_has_them(stage):
    """WebGL 2 takes GLSL ES 3.00, which the renderer's shading.glsl must stay within."""
    start = "#version 300 es\nprecision highp float;\nuniform vec3 CAMERA;\n"
    vertex = start + (STATIC / "head.vert").read_text()
    fragment = start + stage["shading"] + (STATIC / "head.frag").read_text()

    def compiled() -> set[str]:
        program = open_gl().program(vertex_shader=vertex, fragment_shader=fragment)
        return set(program)

    names = gl_thread(FAST).submit(compiled).result()
    assert {"position", "normal", "uv", "colour", "CAMERA", "kind", "textured", "turn", "centre"} <= names
    viewer = (STATIC / "viewer.js").read_text()
    assert all(f"'{name}'" in viewer for name in names - {"image"})
