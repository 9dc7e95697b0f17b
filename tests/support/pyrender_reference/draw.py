"""The same pictures by pyrender, rebuilt for every frame, one program for both sides: the plain twin of the renderer.

python -m tests.support.pyrender_reference.draw VERTICES.npy SIZE PICTURES.npy [TEXTURE]

A process of its own, because pyrender's context and ours do not share one.
"""

import os
import sys
from pathlib import Path

import numpy as np

from utils.heads.head_file import load_head_file
from utils.rendering.gl_context import on_gl_thread, open_gl
from utils.rendering.head_paint import painted, textured
from utils.rendering.renderer import AMBIENT, FIELD_OF_VIEW, LIGHTS, VertexNormals, frame_head


def scene(head, skin, vertices: np.ndarray):
    """A pyrender scene of the head with these vertices (V, 3)."""
    import pyrender

    data = np.hstack([vertices, VertexNormals(head.faces, len(vertices))(vertices)])[skin.expand]
    texture = None if skin.image is None else pyrender.Texture(source=skin.image, source_channels="RGB")
    primitive = pyrender.Primitive(
        positions=data[:, :3], normals=data[:, 3:], texcoord_0=skin.uv, color_0=skin.paint, indices=skin.faces,
        material=pyrender.MetallicRoughnessMaterial(baseColorTexture=texture, doubleSided=True, alphaMode="OPAQUE"),
    )  # fmt: skip
    primitive._is_transparent = False  # alpha is gloss here
    found = pyrender.Scene(bg_color=(1.0, 1.0, 1.0, 1.0), ambient_light=np.array(AMBIENT))
    found.add(pyrender.Mesh([primitive]))
    (near, far), pose = frame_head(head.v_template)
    found.add(pyrender.PerspectiveCamera(yfov=np.deg2rad(FIELD_OF_VIEW), znear=near, zfar=far), pose=pose)
    for direction, colour, intensity in LIGHTS:
        light = pyrender.DirectionalLight(color=np.array(colour), intensity=intensity)
        found.add(light, pose=facing(np.array(direction)))
    return found


def facing(towards: np.ndarray) -> np.ndarray:
    """Pose (4, 4) whose -z axis runs from direction `towards` to the origin, the way pyrender's lights shine."""
    z = towards / np.linalg.norm(towards)
    x = np.cross((0.0, 1.0, 0.0), z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = x, np.cross(z, x), z
    return pose


def main(vertices: str, size: str, pictures: str, texture: str | None = None) -> None:
    """Draw every row of the vertices file."""
    on_gl_thread(open_gl).result()  # chooses EGL_DEVICE_ID
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    os.environ.setdefault("PYGLET_HEADLESS", "1")
    import pyrender
    import pyrender.renderer
    from pyrender.shader_program import ShaderProgramCache

    pyrender.renderer.MAX_N_LIGHTS = len(LIGHTS)  # the default 4 drops the fifth silently
    head = load_head_file()
    skin = textured(head, Path(texture)) if texture else painted(head)
    renderer = pyrender.OffscreenRenderer(int(size), int(size))
    renderer._renderer._program_cache = ShaderProgramCache(shader_dir=str(Path(__file__).parent))
    drawn = [renderer.render(scene(head, skin, frame))[0] for frame in np.load(vertices)]
    np.save(pictures, np.stack(drawn))


if __name__ == "__main__":
    main(*sys.argv[1:])
