"""Drive an ARKit avatar: a .glb with ARKit-named morph targets + a csv or json of ARKit's values -> it, animated.

    python export_motion.py take.npz -f livelink
    python -m examples.drive_avatar avatar.glb take_livelink.csv -o talking.glb [--head_node Head]

Any avatar with `targetNames` (Ready Player Me, VRoid with ARKit shapes, Blender exports) will do; names are matched
without regard to case, and `mouthSmile_L` is `mouthSmileLeft`. Avatars without ARKit's shapes are driven by coarser
ones: VRM's expressions (aa, blink, happy), Ready Player Me's mouthOpen and mouthSmile. Its own animations are replaced.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from examples.avatar_shapes import shape_mixes, weights_of
from utils.atomic import atomic_path
from utils.config import positional, read_flags, required
from utils.errors import UserError, cli
from utils.exports.arkit import BLEND_SHAPES, ArkitTrack
from utils.exports.gltf import GltfWriter
from utils.reading.array_file import read_bytes
from utils.reading.json_file import parse_json
from utils.trackers.arkit import read_track

log = logging.getLogger(__name__)
MAGIC, JSON = 0x46546C67, 0x4E4F534A


def read_glb(path: Path) -> tuple[dict, bytearray]:
    """-> document, binary chunk.

    Raises:
        UserError: no such file, or not a glTF 2.0 binary file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    data = read_bytes(path)
    try:
        magic, version, _, size, kind = struct.unpack_from("<5I", data)
        if (magic, version, kind) != (MAGIC, 2, JSON):
            raise ValueError("wrong header")
        document = parse_json(data[20 : 20 + size], str(path))
        binary = bytearray()
        if len(data) > 20 + size:
            (length,) = struct.unpack_from("<I", data, 20 + size)
            binary += data[28 + size : 28 + size + length]
    except (ValueError, struct.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a glTF 2.0 binary file ({error}); give a .glb") from error
    return document, binary


def animate(writer: GltfWriter, track: ArkitTrack, head_node: str | None) -> set[str]:
    """Put the track into the avatar as its only animation -> ARKit shapes that it has.

    Raises:
        UserError: no ARKit morph targets, or no node called `head_node`.
    """
    document = writer.content
    faces = shape_mixes(document)
    if not faces:
        raise UserError("the avatar has no morph targets with names of ARKit, Ready Player Me or VRM; export it with "
                        "them (mesh.extras.targetNames)")  # fmt: skip
    times = writer.accessor(track.times)
    samplers, channels = [], []

    def channel(node: int, path: str, values: np.ndarray) -> None:
        samplers.append({"input": times, "output": writer.accessor(values.astype(np.float32))})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    for node, mixes in faces.items():
        channel(node, "weights", weights_of(mixes, track).ravel())
    if head_node is not None:
        node = find_node(document, head_node)
        rest = Rotation.from_quat(document["nodes"][node].get("rotation", [0, 0, 0, 1]))
        facing = Rotation.from_euler("y", 180 * ("VRM" in document.get("extensions", {})), degrees=True)
        turned = facing * Rotation.from_euler("YXZ", track.angles[:, :3]) * facing.inv() * rest  # VRM 0 faces -z
        channel(node, "rotation", turned.as_quat(canonical=True))
    document["animations"] = [{"name": "speech", "samplers": samplers, "channels": channels}]
    return {shape for mixes in faces.values() for mix in mixes for shape in mix}


def find_node(document: dict, name: str) -> int:
    """Raises UserError if there is none; the message lists the names."""
    names = [node.get("name", "") for node in document.get("nodes", [])]
    if name not in names:
        raise UserError(f"--head_node {name}: no such node; the avatar has {', '.join(filter(None, names[:30]))}")
    return names.index(name)


def drive(avatar: Path, track: ArkitTrack, output: Path, head_node: str | None) -> set[str]:
    """Write a copy of the avatar that moves as in the track -> ARKit shapes that it has.

    Raises:
        UserError: see `read_glb` and `animate`; a document that contradicts itself; the output cannot be written.
    """
    document, binary = read_glb(avatar)
    try:
        writer = GltfWriter(document, bytes(binary))
        known = animate(writer, track, head_node)
        content = writer.to_bytes()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{avatar}: malformed ({error!r}); export it again") from error
    with atomic_path(output) as temporary:
        temporary.write_bytes(content)
    return known


@dataclass(frozen=True)
class AvatarFlags:
    """All flags."""

    avatar: Path = positional()
    """.glb with ARKit-named morph targets."""
    csv: Path = positional()
    """Of Live Link Face, MediaPipe, Audio2Face or export_motion.py -f livelink, or a json (docs/data.md)."""
    output: Path = required("-o")
    """.glb."""
    head_node: str | None = None
    """Joint that the head's rotation goes to (default: none)."""
    fps: float | None = None
    """Frames per second of the csv or json (default: as the file says, else 25)."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(AvatarFlags, argv, (__doc__ or " ").splitlines()[0])
    track = read_track(flags.csv, flags.fps)
    known = drive(flags.avatar, track, flags.output, flags.head_node)
    moving = {name for name in BLEND_SHAPES if np.ptp(track.column(name)) > 0.02}
    log.info("wrote %s: %d frames, %d of 52 ARKit shapes", flags.output, len(track), len(known))
    if moving - known:
        log.info("not on the avatar, though they move: %s", ", ".join(sorted(moving - known)))


if __name__ == "__main__":
    main()
