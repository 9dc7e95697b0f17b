"""One mesh on the graphics card, drawn with new vertices again and again; all of it on the OpenGL thread.

Import this module after `gl_context.open_gl`: it imports PyOpenGL, whose platform must have been chosen by then.
What takes the time on a software rasteriser is shading with 4x multisampling: it shades every covered pixel of every
triangle, hidden or not. So inner sides, which are nearly all hidden, are drawn by a light program of their own.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from OpenGL import GL

from utils.rendering.head_paint import Skin

SHADERS = Path(__file__).with_name("shaders")
SAMPLES = 4  # per pixel, for smooth edges; fewer where OpenGL has fewer
_FLOAT, _UVEC = np.dtype(np.float32).itemsize, GL.GL_UNSIGNED_INT
_MOVING = ((0, 3, 0), (1, 3, 3))  # (attribute, components, offset) in floats: position, normal
_FIXED = ((2, 4, 0), (3, 2, 4))  # paint, uv


@dataclass(frozen=True)
class Stage:
    """What stands around the mesh, in world coordinates."""

    view: np.ndarray  # (4, 4) world to camera
    projection: np.ndarray  # (4, 4)
    lights: tuple  # of (unit direction the light travels (3,), colour (3,), intensity)
    ambient: tuple[float, float, float]
    background: tuple[float, float, float]
    size: int  # pixels


class MeshDrawing:
    """Buffers, programs and pictures of one skin on one stage. Make and use it on the OpenGL thread."""

    def __init__(self, skin: Skin, stage: Stage) -> None:
        self.stage, self.n_indices = stage, skin.faces.size
        self._textured = skin.image is not None
        self._texture = _texture(skin.image) if self._textured else None
        head = "#version 330 core\n" + ("#define HAS_BASE_COLOR_TEX\n" if self._textured else "") + _constants(stage)
        self._programs = [_program(name, head) for name in ("mesh", "inside")]
        self._vertices = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._vertices)
        uv = np.zeros((len(skin.paint), 2), np.float32) if skin.uv is None else skin.uv
        self._moving = _buffer(GL.GL_ARRAY_BUFFER, np.zeros((len(skin.paint), 6), np.float32), _MOVING)
        self._fixed = _buffer(GL.GL_ARRAY_BUFFER, np.hstack([skin.paint, uv]), _FIXED)
        self._faces = _buffer(GL.GL_ELEMENT_ARRAY_BUFFER, skin.faces.astype(np.uint32))
        samples = min(SAMPLES, GL.glGetIntegerv(GL.GL_MAX_SAMPLES))
        self._smooth, self._flat = _framebuffer(stage.size, samples), _framebuffer(stage.size, 0)

    def close(self) -> None:
        """Free what is this drawing's alone."""
        GL.glDeleteBuffers(3, [self._moving, self._fixed, self._faces])
        GL.glDeleteVertexArrays(1, [self._vertices])
        for program in self._programs:
            GL.glDeleteProgram(program)
        if self._textured:
            GL.glDeleteTextures([self._texture])

    def draw(self, data: np.ndarray) -> np.ndarray:
        """positions ++ unit normals (N, 6) float32 -> uint8 (size, size, 3) RGB, the top row first."""
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._smooth)
        GL.glViewport(0, 0, self.stage.size, self.stage.size)
        GL.glClearColor(*self.stage.background, 1.0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT | GL.GL_DEPTH_BUFFER_BIT)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glBindVertexArray(self._vertices)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._moving)
        GL.glBufferData(GL.GL_ARRAY_BUFFER, data.nbytes, data, GL.GL_STREAM_DRAW)
        if self._textured:
            GL.glBindTexture(GL.GL_TEXTURE_2D, self._texture)
        for program, hidden in zip(self._programs, (GL.GL_BACK, GL.GL_FRONT)):
            GL.glUseProgram(program)
            GL.glCullFace(hidden)
            GL.glDrawElements(GL.GL_TRIANGLES, self.n_indices, _UVEC, None)
        return self._read()

    def _read(self) -> np.ndarray:
        size = self.stage.size
        box = (0, 0, size, size)
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._smooth)
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._flat)
        GL.glBlitFramebuffer(*box, *box, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)  # averages each pixel's samples
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._flat)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        pixels = GL.glReadPixels(*box, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
        return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)[::-1]


def _program(name: str, head: str) -> int:
    """Compile `name`.vert and `name`.frag below `head` and the shared lighting."""
    head += (SHADERS / "shading.glsl").read_text()
    program = GL.glCreateProgram()
    for kind, suffix in ((GL.GL_VERTEX_SHADER, "vert"), (GL.GL_FRAGMENT_SHADER, "frag")):
        shader = GL.glCreateShader(kind)
        GL.glShaderSource(shader, head + (SHADERS / f"{name}.{suffix}").read_text())
        GL.glCompileShader(shader)
        if not GL.glGetShaderiv(shader, GL.GL_COMPILE_STATUS):
            raise RuntimeError(f"{name}.{suffix}: {GL.glGetShaderInfoLog(shader)}")
        GL.glAttachShader(program, shader)
        GL.glDeleteShader(shader)  # with its program
    GL.glLinkProgram(program)
    if not GL.glGetProgramiv(program, GL.GL_LINK_STATUS):
        raise RuntimeError(f"{name}: {GL.glGetProgramInfoLog(program)}")
    return program


def _constants(stage: Stage) -> str:
    """The stage in the shaders' language: software rasterisers shade a third faster than with uniforms."""

    def made(kind: str, numbers) -> str:
        return f"{kind}({', '.join(repr(float(x)) for x in np.ravel(numbers))})"

    def listed(vectors) -> str:
        return f"vec3[]({', '.join(made('vec3', vector) for vector in vectors)})"

    to_light = listed(-np.asarray(direction) for direction, *_ in stage.lights)
    radiance = listed(intensity * np.asarray(colour) for _, colour, intensity in stage.lights)
    return f"""const vec3 CAMERA = {made("vec3", np.linalg.inv(stage.view)[:3, 3])};
const mat4 TO_SCREEN = {made("mat4", (stage.projection @ stage.view).T)};
const vec3 AMBIENT = {made("vec3", stage.ambient)};
const int LIGHTS = {len(stage.lights)};
const vec3 TO_LIGHT[LIGHTS] = {to_light};
const vec3 RADIANCE[LIGHTS] = {radiance};
"""


def _buffer(target: int, data: np.ndarray, attributes: tuple = ()) -> int:
    """A buffer with these rows, bound to the current vertex array; attributes: (number, components, offset) each."""
    data = np.ascontiguousarray(data, np.uint32 if target == GL.GL_ELEMENT_ARRAY_BUFFER else np.float32)
    buffer = GL.glGenBuffers(1)
    GL.glBindBuffer(target, buffer)
    GL.glBufferData(target, data.nbytes, data, GL.GL_STATIC_DRAW)
    for number, components, offset in attributes:
        GL.glEnableVertexAttribArray(number)
        where = ctypes.c_void_p(offset * _FLOAT)
        GL.glVertexAttribPointer(number, components, GL.GL_FLOAT, False, data.shape[1] * _FLOAT, where)
    return buffer


@functools.cache
def _framebuffer(size: int, samples: int) -> int:
    """Colour and depth of size x size pixels, shared by all drawings of a size; samples 0: one, readable."""
    framebuffer = GL.glGenFramebuffers(1)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, framebuffer)
    kinds = ((GL.GL_COLOR_ATTACHMENT0, GL.GL_RGBA8), (GL.GL_DEPTH_ATTACHMENT, GL.GL_DEPTH_COMPONENT24))
    for attachment, kind in kinds:
        store = GL.glGenRenderbuffers(1)
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, store)
        GL.glRenderbufferStorageMultisample(GL.GL_RENDERBUFFER, samples, kind, size, size)
        GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, attachment, GL.GL_RENDERBUFFER, store)
    if GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER) != GL.GL_FRAMEBUFFER_COMPLETE:
        raise RuntimeError(f"no framebuffer of {size} pixels with {samples} samples")
    return framebuffer


def _texture(image: np.ndarray) -> int:
    """uint8 (h, w, 3) RGB, its top row at v = 1, with smaller copies against flicker."""
    texture = GL.glGenTextures(1)
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image[::-1])
    GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, GL.GL_RGB8, width, height, 0, GL.GL_RGB, GL.GL_UNSIGNED_BYTE, pixels)
    GL.glGenerateMipmap(GL.GL_TEXTURE_2D)
    for name, value in (
        (GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR_MIPMAP_LINEAR),
        (GL.GL_TEXTURE_MAG_FILTER, GL.GL_LINEAR),
        (GL.GL_TEXTURE_WRAP_S, GL.GL_REPEAT),
        (GL.GL_TEXTURE_WRAP_T, GL.GL_REPEAT),
    ):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)
    return texture
