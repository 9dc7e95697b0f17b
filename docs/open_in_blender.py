"""Opens an exported .glb in Blender: 25 fps, the right length, the speech, a light and a camera.

    blender --python docs/open_in_blender.py -- head.glb [picture.png FRAME]

Runs inside Blender (tried with 3.4), or as a program where the bpy package is installed (tried with 5.0). With a
picture's name it renders one frame and, with --background, quits.
"""

import sys
from pathlib import Path

import bpy
import numpy

if not hasattr(numpy, "bool"):  # Debian's Blender 3.4 beside NumPy 1.24
    numpy.bool = bool

FPS = 25


def open_glb(path: Path) -> None:
    """An empty file with the head in it; the timeline ends with its last key, speech is in the sequencer."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = FPS  # before importing: keys are placed by it
    bpy.ops.import_scene.gltf(filepath=str(path))
    scene.frame_start = 0
    scene.frame_end = round(max(action.frame_range[1] for action in bpy.data.actions))
    speech = path.with_suffix(".wav")
    if speech.is_file():
        editor = scene.sequence_editor_create()
        strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # before 4.4
        strips.new_sound("speech", str(speech), channel=1, frame_start=0)
        scene.sync_mode = "AUDIO_SYNC"


def light_and_camera() -> None:
    """A portrait: long lens in front of the face, a large soft light at its upper right."""
    scene = bpy.context.scene
    lens = bpy.data.cameras.new("camera")
    lens.lens = 90
    lens.clip_start = 0.01
    camera = bpy.data.objects.new("camera", lens)
    camera.location, camera.rotation_euler = (0, -0.85, 0.0), (1.5708, 0, 0)
    lamp = bpy.data.objects.new("light", bpy.data.lights.new("light", "AREA"))
    lamp.data.energy, lamp.data.size = 13, 0.4
    lamp.location, lamp.rotation_euler = (-0.4, -0.9, 0.35), (1.2, 0, -0.42)
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.36, 0.36, 0.38, 1)
    scene.view_settings.view_transform = "Standard"  # the colours of the texture, as in the videos
    for thing in (camera, lamp):
        scene.collection.objects.link(thing)
    scene.camera = camera


def render(path: Path, frame: int) -> None:
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 48
    scene.cycles.use_denoising = False  # Debian builds without the denoiser
    scene.render.resolution_x = scene.render.resolution_y = 512
    scene.render.filepath = str(path)
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :]
    open_glb(Path(given[0]).resolve())
    light_and_camera()
    if len(given) == 3:
        render(Path(given[1]).resolve(), int(given[2]))
