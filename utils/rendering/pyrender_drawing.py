"""The same pictures through pyrender: `--renderer pyrender`.

pyrender brings scene, camera, lights, buffers and the picture; the project's shaders replace its own, because the looks
are made of them. One program draws both sides of the mesh, lit per pixel. All of it happens on the thread "pyrender".
"""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UserError
from utils.rendering.gl_context import APT, FAST, gl_thread, open_gl
from utils.rendering.head_paint import UNLIT, Skin
from utils.rendering.mesh_drawing import SHADERS
from utils.rendering.stage import Light, Stage, backdrop

if TYPE_CHECKING:
    import pyrender

MAX_LIGHTS = 8  # of a kind; pyrender's own 4 would drop the fifth silently
INSTEAD = "or use --renderer fast"


class PyrenderDrawing:
    """pyrender's scene of one skin on one stage. Make and use it on the thread "pyrender"."""

    def __init__(self, skin: Skin, stage: Stage) -> None:
        """Raises UserError without OpenGL or pyrender (with the packages to install)."""
        self.size, self._offscreen = stage.size, open_pyrender()
        import pyrender

        uv = np.zeros((len(skin.paint), 2), np.float32) if skin.uv is None else skin.uv
        self._rows = np.hstack([np.zeros((len(uv), 6)), uv, skin.paint]).astype(np.float32)  # as pyrender lays them out
        texture = None if skin.image is None else pyrender.Texture(source=skin.image, source_channels="RGB")
        self._primitives = [_primitive(faces, self._rows, texture, mode) for mode, faces in _pieces(skin).items()]
        self._scene = _scene(self._primitives, stage)

    def draw(self, data: np.ndarray) -> np.ndarray:
        """positions ++ unit normals (N, 6) float32 -> uint8 (size, size, 3) RGB, the top row first."""
        from OpenGL import GL

        self._rows[:, :6] = data
        for primitive in self._primitives:
            primitive.positions, primitive.normals = data[:, :3], data[:, 3:]
            if primitive._in_context():  # else pyrender sends all rows: first frame, or another scene came between
                GL.glBindBuffer(GL.GL_ARRAY_BUFFER, primitive._buffers[0])
                GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, self._rows.nbytes, self._rows)
        self._offscreen.viewport_width = self._offscreen.viewport_height = self.size
        pictures = self._offscreen.render(self._scene)
        assert pictures is not None  # off screen, there are always pictures
        return pictures[0]


@functools.cache
def open_pyrender() -> pyrender.OffscreenRenderer:
    """The process's only pyrender context, on the thread "pyrender"; it is kept, because closing one closes all others.

    Raises:
        UserError: no OpenGL or pyrender (with the packages to install).
    """
    gl_thread(FAST).submit(open_gl).result()  # a device that works, in EGL_DEVICE_ID
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")  # before the import
    os.environ.setdefault("PYGLET_HEADLESS", "1")
    try:
        import pyrender.renderer
        from pyrender.shader_program import ShaderProgramCache

        pyrender.renderer.MAX_N_LIGHTS = MAX_LIGHTS
        offscreen: Any = pyrender.OffscreenRenderer(16, 16)
    except ImportError as error:
        reason = f"{error.name or error} cannot be imported; pip install pyrender-maintained trimesh, {INSTEAD}"
        raise UserError(f"--renderer pyrender: {reason}") from error
    except Exception as error:  # whatever a driver throws
        raise UserError(f"--renderer pyrender: no OpenGL ({error!r}); {APT}, {INSTEAD}") from error
    # What __del__ calls when the process ends and PyOpenGL is dismantled already:
    offscreen.delete = offscreen._renderer.delete = offscreen._platform.delete_context = lambda: None
    offscreen._renderer._program_cache = ShaderProgramCache(shader_dir=_shader_folder().name)
    return offscreen


@functools.cache
def _shader_folder() -> tempfile.TemporaryDirectory:
    """The project's shaders as whole files, which pyrender reads when it first needs them."""
    folder = tempfile.TemporaryDirectory(prefix="pyrender_shaders_")
    head = "#version 330 core\n" + "".join((SHADERS / name).read_text() for name in ("pyrender.glsl", "shading.glsl"))
    for name in ("mesh.vert", "mesh.frag"):
        (Path(folder.name) / name).write_text(head + (SHADERS / name).read_text())
    return folder


def _pieces(skin: Skin) -> dict[str, np.ndarray]:
    """Faces by how they are drawn."""
    solid = len(skin.faces) - skin.blended
    if skin.inner is None:
        return {"both sides": skin.faces}
    one_side = np.setdiff1d(np.arange(solid), skin.inner)
    return {"both sides": skin.faces[skin.inner], "one side": skin.faces[one_side], "blended": skin.faces[solid:]}


def _primitive(faces: np.ndarray, rows: np.ndarray, texture: pyrender.Texture | None, mode: str) -> pyrender.Primitive:
    import pyrender

    material = pyrender.MetallicRoughnessMaterial(
        baseColorTexture=texture, doubleSided=mode != "one side", alphaMode="BLEND" if mode == "blended" else "OPAQUE"
    )
    primitive = pyrender.Primitive(
        positions=rows[:, :3], normals=rows[:, 3:6], texcoord_0=rows[:, 6:8], color_0=rows[:, 8:],
        indices=faces, material=material,
    )  # fmt: skip
    primitive._is_transparent = mode == "blended"  # the colour's fourth number is gloss
    if mode == "blended":
        _leave_depth(primitive)
    return primitive


def _leave_depth(primitive: pyrender.Primitive) -> None:
    """Layers of hair do not hide one another."""
    from OpenGL import GL

    bind, unbind = primitive._bind, primitive._unbind

    def begin() -> None:
        bind()
        GL.glDepthMask(GL.GL_FALSE)

    def end() -> None:
        unbind()
        GL.glDepthMask(GL.GL_TRUE)

    primitive._bind, primitive._unbind = begin, end


def _scene(primitives: list[pyrender.Primitive], stage: Stage) -> pyrender.Scene:
    import pyrender

    behind = backdrop(stage)
    if behind is not None:
        rows = np.zeros((len(behind.vertices), 12), np.float32)
        rows[:, :3], rows[:, 8:11], rows[:, 11] = behind.vertices, behind.colours, UNLIT - 1  # opaque
        primitives = [*primitives, _primitive(behind.faces, rows, None, "both sides")]
    scene = pyrender.Scene(bg_color=(*stage.background, 1.0), ambient_light=np.array(stage.ambient))
    for primitive in primitives:
        scene.add(pyrender.Mesh([primitive]))
    camera = pyrender.PerspectiveCamera(yfov=np.deg2rad(stage.fov), znear=stage.near, zfar=stage.far)
    scene.add(camera, pose=stage.pose)
    for light in stage.lights:
        lamp = pyrender.DirectionalLight(color=np.array(light.colour), intensity=light.intensity)
        scene.add(lamp, pose=_pose(light))
    return scene


def _pose(light: Light) -> np.ndarray:
    """Pose (4, 4) whose -z axis runs from the light to the origin, the way pyrender's lights shine."""
    x = np.cross((0.0, 1.0, 0.0), light.towards)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = x, np.cross(light.towards, x), light.towards
    return pose
