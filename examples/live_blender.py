"""Blender follows a live head: Live Link Face packets move shape keys and head of an imported ARKit model.

    python -m web.serve --livelink 127.0.0.1
    blender head.blend --python examples/live_blender.py      (or run it in Blender's text editor)

Meshes with shape keys of ARKit's names follow, as those of our glb exports have them, and an armature's head. Every
packet counts, so there should be one session. It runs inside Blender (tried with the bpy package 5.0), without this
project's packages.
"""

import socket
import struct

PORT, RATE = 11111, 1 / 50
HEADS = ("Head", "head", "root")  # bones that turn the head; ours is root
# Unreal's order, in which the packets are.
_NAMES = (
    "eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft eyeBlinkRight "
    "eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight jawForward jawLeft "
    "jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight mouthSmileLeft mouthSmileRight "
    "mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight mouthStretchLeft mouthStretchRight "
    "mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthPressLeft mouthPressRight "
    "mouthLowerDownLeft mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight browDownLeft browDownRight "
    "browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight noseSneerLeft "
    "noseSneerRight tongueOut"
)
NAMES = _NAMES.split()


def decoded(packet: bytes) -> tuple[dict[str, float], tuple[float, float, float]]:
    """52 values by name; yaw, pitch and roll of the head, radians."""
    values = struct.unpack(">61f", packet[-244:])
    return dict(zip(NAMES, values)), values[52:55]


def show(values: dict[str, float], head: tuple[float, float, float]) -> None:
    """Set the shape keys of all meshes, and turn the heads of all armatures."""
    import bpy
    from mathutils import Matrix

    for mesh in bpy.data.meshes:
        for key in mesh.shape_keys.key_blocks if mesh.shape_keys else ():
            if key.name in values:
                key.value = values[key.name]
    yaw, pitch, roll = head
    turn = Matrix.Rotation(yaw, 3, "Z") @ Matrix.Rotation(pitch, 3, "X") @ Matrix.Rotation(-roll, 3, "Y")
    for armature in (one for one in bpy.data.objects if one.type == "ARMATURE"):
        bones = [armature.pose.bones[name] for name in HEADS if name in armature.pose.bones]
        for bone in bones[:1]:
            rest = bone.bone.matrix_local.to_3x3()
            bone.rotation_mode = "QUATERNION"
            bone.rotation_quaternion = (rest.inverted() @ turn @ rest).to_quaternion()


def listen() -> None:
    """Take the newest packet every 1/50 s."""
    import bpy

    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", PORT))
    udp.setblocking(False)

    def step() -> float:
        packet = b""
        try:
            while True:
                packet = udp.recv(2000)
        except BlockingIOError:
            if len(packet) > 244:
                show(*decoded(packet))
        return RATE

    bpy.app.timers.register(step, persistent=True)


if __name__ == "__main__":
    listen()
