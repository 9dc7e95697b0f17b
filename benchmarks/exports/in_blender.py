"""Inside Blender: vertices of an imported .glb or .obj as it evaluates them (for `benchmarks.exports.formats --check`).

    blender --background --python benchmarks/exports/in_blender.py -- head.glb out.npy FRAME [FRAME ...]

Writes (frames, vertices, 3) metres in glTF's axes.
"""

import sys
from pathlib import Path

import bpy
import numpy

if not hasattr(numpy, "bool"):  # Debian's Blender 3.4 beside NumPy 1.24
    numpy.bool = bool


def evaluated(frame: int) -> numpy.ndarray:
    """World positions (V, 3) after shape keys and armature. Blender's z is up: its (x, y, z) is glTF's (x, z, -y)."""
    bpy.context.scene.frame_set(frame)
    graph = bpy.context.evaluated_depsgraph_get()
    (thing,) = (o for o in bpy.data.objects if o.type == "MESH" and len(o.data.vertices) > 1000)
    thing = thing.evaluated_get(graph)
    mesh = thing.to_mesh()
    points = numpy.empty(3 * len(mesh.vertices))
    mesh.vertices.foreach_get("co", points)
    matrix = numpy.array(thing.matrix_world)
    points = points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    return points[:, [0, 2, 1]] * [1, 1, -1]


if __name__ == "__main__":
    path, out, *frames = sys.argv[sys.argv.index("--") + 1 :]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = 25
    if Path(path).suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=path)
    else:
        bpy.ops.wm.obj_import(filepath=path)
    numpy.save(out, numpy.stack([evaluated(int(frame)) for frame in frames]))
