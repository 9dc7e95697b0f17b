"""One mesh on the graphics card, drawn with new vertices again and again; all of it on the OpenGL thread.

On a software rasteriser, shading with 4x multisampling takes most of the time: every covered pixel of every triangle is
shaded, hidden or not. Inner sides, which are nearly all hidden, are therefore drawn by a simpler program.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.rendering.gl_context import open_gl
from utils.rendering.head_paint import Skin
from utils.rendering.stage import Stage, backdrop

if TYPE_CHECKING:
    import moderngl

SHADERS = Path(__file__).with_name("shaders")
BOTH_SIDES = "const bool BOTH_SIDES = {};"  # false: mesh.frag draws the outer sides alone
SAMPLES = 4  # per pixel, for smooth edges; fewer where OpenGL has fewer


class MeshDrawing:
    """Buffers, programs and pictures of one skin on one stage. Make and use it on the OpenGL thread."""

    def __init__(self, skin: Skin, stage: Stage) -> None:
        """Raises UserError without OpenGL (with the packages to install)."""
        self.stage, self.context = stage, open_gl()
        self.context.gc()  # frees what earlier drawings have left
        uv = np.zeros((len(skin.paint), 2), np.float32) if skin.uv is None else skin.uv
        fixed = self.context.buffer(np.hstack([skin.paint, uv]).astype(np.float32).tobytes())
        faces = self._indices(skin.faces)
        self._moving = self.context.buffer(reserve=len(skin.paint) * 6 * 4, dynamic=True)
        self._texture = None if skin.image is None else _texture(self.context, skin.image)
        content = [(self._moving, "3f 3f", "position", "normal"), (fixed, "4f 2f", "color_0", "texcoord_0")]
        head = _constants(skin, stage) + shading_code(stage)
        solid = 3 * (len(skin.faces) - skin.blended)
        inner = faces if skin.inner is None else self._indices(skin.faces[skin.inner])
        self._sides = [  # (hidden sides, what draws the others, its number of corners)
            (hidden, self.context.vertex_array(self._program(name, head), content, these, skip_errors=True), count)
            for name, hidden, these, count in (
                ("mesh", "back", faces, solid),
                ("inside", "front", inner, solid if skin.inner is None else 3 * len(skin.inner)),
            )
        ]
        self._over, self._blended = None, (3 * skin.blended, solid)
        if skin.blended:
            soft = head.replace(BOTH_SIDES.format("false"), BOTH_SIDES.format("true"))
            self._over = self.context.vertex_array(self._program("mesh", soft), content, faces, skip_errors=True)
        self._behind = self._backdrop(head)
        self._smooth, self._flat = _framebuffer(stage.size, SAMPLES), _framebuffer(stage.size, 0)

    def _backdrop(self, head: str) -> moderngl.VertexArray | None:
        found = backdrop(self.stage)
        if found is None:
            return None
        fixed = self.context.buffer(np.hstack([found.vertices, found.colours]).tobytes())
        content = [(fixed, "3f 3f", "position", "color_0")]
        return self.context.vertex_array(self._program("backdrop", head), content, self._indices(found.faces))

    def _indices(self, faces: np.ndarray) -> moderngl.Buffer:
        return self.context.buffer(faces.astype(np.uint32).tobytes())

    def _program(self, name: str, head: str) -> moderngl.Program:
        """`name`.vert and `name`.frag below `head`."""
        vertex, fragment = (head + (SHADERS / f"{name}.{kind}").read_text() for kind in ("vert", "frag"))
        return self.context.program(vertex_shader=vertex, fragment_shader=fragment)

    def draw(self, data: np.ndarray) -> np.ndarray:
        """positions ++ unit normals (N, 6) float32 -> uint8 (size, size, 3) RGB, the top row first."""
        context, size = self.context, self.stage.size
        self._moving.write(data)
        self._smooth.use()
        self._smooth.clear(*self.stage.background, 1.0)
        context.enable_only(context.DEPTH_TEST | context.CULL_FACE)
        if self._texture is not None:
            self._texture.use()
        for hidden, side, count in self._sides:
            context.cull_face = hidden
            side.render(vertices=count)
        context.disable(context.CULL_FACE)
        if self._behind is not None:  # after the head, which hides much of it
            self._behind.render()
        if self._over is not None:
            context.enable(context.BLEND)
            self._smooth.depth_mask = False  # layers of hair do not hide one another
            self._over.render(vertices=self._blended[0], first=self._blended[1])
            self._smooth.depth_mask = True
        context.copy_framebuffer(self._flat, self._smooth)  # averages each pixel's samples
        pixels = self._flat.read(components=3, alignment=1)
        return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)[::-1]


def _constants(skin: Skin, stage: Stage) -> str:
    """Camera and image, as constants: software rasterisers shade a third faster than with uniforms."""
    image = "" if skin.image is None else "#define HAS_BASE_COLOR_TEX\nuniform sampler2D IMAGE;\n"
    return f"""#version 330 core
{image}const vec3 CAMERA = {_made("vec3", stage.pose[:3, 3])};
const mat4 TO_SCREEN = {_made("mat4", stage.to_screen.T)};
{BOTH_SIDES.format("false")}
"""


def shading_code(stage: Stage) -> str:
    """shading.glsl below the stage's lights; CAMERA must stand above it. The web page's view has it as well."""
    towards = ", ".join(_made("vec3", light.towards) for light in stage.lights)
    radiance = ", ".join(_made("vec3", light.intensity * np.array(light.colour)) for light in stage.lights)
    lights = f"""const vec3 AMBIENT = {_made("vec3", stage.ambient)};
const int LIGHTS = {len(stage.lights)};
const vec3 TO_LIGHT[LIGHTS] = vec3[]({towards});
const vec3 RADIANCE[LIGHTS] = vec3[]({radiance});
vec3 to_light(int i) {{ return TO_LIGHT[i]; }}
vec3 radiance(int i) {{ return RADIANCE[i]; }}
"""
    return lights + (SHADERS / "shading.glsl").read_text()


def _made(kind: str, numbers) -> str:
    return f"{kind}({', '.join(repr(float(x)) for x in np.ravel(numbers))})"


@functools.cache
def _framebuffer(size: int, samples: int) -> moderngl.Framebuffer:
    """Colour and depth of size x size pixels, shared by all drawings of a size; samples 0: colour alone, readable."""
    context = open_gl()
    possible = min(samples, context.max_samples)
    colour = context.renderbuffer((size, size), 4, samples=possible)
    depth = context.depth_renderbuffer((size, size), samples=possible) if samples else None
    return context.framebuffer([colour], depth)


def _texture(context: moderngl.Context, image: np.ndarray) -> moderngl.Texture:
    """uint8 (h, w, 3) RGB, its top row at v = 1, with smaller copies against flicker."""
    height, width = image.shape[:2]
    texture = context.texture((width, height), 3, np.ascontiguousarray(image[::-1]), alignment=1)
    texture.build_mipmaps()
    return texture
