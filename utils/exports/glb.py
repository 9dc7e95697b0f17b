"""A talking head as one .glb: mesh, named morph targets, skeleton, and their animation (Blender, three.js, Unreal).

Written with the conventions of glTF 2.0: metres, y up, the face towards +z, quaternions x y z w.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.atomic import atomic_path
from utils.exports.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfWriter
from utils.exports.rig import Rig
from utils.exports.surface import Material, Surface, linear_colours, smooth_normals
from utils.heads.joints import JOINTS, NECK, PARENTS, ROOT_JOINT
from utils.reading.array_file import read_bytes
from utils.rendering.head_paint import CLAY

# Offsets whose largest effect in this motion is below this are left out (metres). All 50 targets together stay below
# 50 * 0.3 um = 0.015 mm in the worst case.
NEGLIGIBLE = 3e-7
NEGLIGIBLE_NORMAL = 0.004  # radians, about 1/4 degree
NORMALS_BYTES = 3_000_000  # morphed normals larger than this are left out: readers then keep the neutral face's
SPECULAR = "KHR_materials_specular"
_INFLUENCES = 4  # joints per vertex in glTF


def write_glb(path: str | Path, rig: Rig, surface: Surface, title: str = "head") -> None:
    """Write the file.

    Raises:
        UserError: the path cannot be written.
    """
    writer = GltfWriter()
    joints = _skeleton(writer, rig)
    mesh = writer.add("meshes", _mesh(writer, rig, surface, title))
    skin = writer.add("skins", _skin(writer, rig, joints))
    head = writer.add("nodes", {"name": title, "mesh": mesh, "skin": skin})
    writer.add("animations", _animation(writer, rig, joints, head))
    writer.add("scenes", {"name": title, "nodes": [joints[ROOT_JOINT], head], "extras": {"fps": rig.fps}})
    writer.content["scene"] = 0
    with atomic_path(path) as temporary:
        temporary.write_bytes(writer.to_bytes())


def _skeleton(writer: GltfWriter, rig: Rig) -> list[int]:
    """Joint nodes in rest position -> their node numbers."""
    for j, name in enumerate(JOINTS):
        rest = rig.joints[j] - (rig.joints[PARENTS[j]] if j else 0)
        children = [child for child, parent in enumerate(PARENTS) if parent == j]
        node = {"name": name, "translation": rest.astype(float).tolist()}
        writer.add("nodes", node | ({"children": children} if children else {}))
    return list(range(len(JOINTS)))


def _skin(writer: GltfWriter, rig: Rig, joints: list[int]) -> dict:
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINTS), 1, 1))
    inverse[:, 3, :3] = -rig.joints  # column-major: the last stored row is the translation
    return {"joints": joints, "skeleton": joints[ROOT_JOINT], "inverseBindMatrices": writer.accessor(inverse)}


def _mesh(writer: GltfWriter, rig: Rig, surface: Surface, title: str) -> dict:
    index_type = np.uint16 if len(surface.expand) <= 65535 else np.uint32
    normals = smooth_normals(rig.rest, _on_head(surface))
    joint, weight = influences(rig.weights)
    attributes = {
        "POSITION": writer.accessor(rig.rest[surface.expand], ARRAY_BUFFER),
        "NORMAL": writer.accessor(normals[surface.expand], ARRAY_BUFFER),
        "JOINTS_0": writer.accessor(joint[surface.expand], ARRAY_BUFFER),
        "WEIGHTS_0": writer.accessor(weight[surface.expand], ARRAY_BUFFER),
    }
    if surface.uv is not None:
        flipped = np.stack([surface.uv[:, 0], 1 - surface.uv[:, 1]], axis=1).astype(np.float32)  # v from the top
        attributes["TEXCOORD_0"] = writer.accessor(flipped, ARRAY_BUFFER)
    if surface.colours is not None:
        attributes["COLOR_0"] = writer.accessor(_colours(surface.colours, surface.alpha), ARRAY_BUFFER, normalised=True)
    shared = {"attributes": attributes, "targets": _targets(writer, rig, surface, normals)}
    colour = _base_colour(writer, surface)
    primitives = [
        shared
        | {
            "indices": writer.accessor(surface.faces[faces].ravel().astype(index_type), ELEMENT_ARRAY_BUFFER),
            "material": writer.add("materials", _material(writer, material, colour)),
        }
        for material, faces in surface.faces_of().items()
    ]
    names = [target.name for target in rig.targets]
    start = [float(target.weights[0]) for target in rig.targets]
    return {"name": title, "primitives": primitives, "weights": start, "extras": {"targetNames": names}}


def _on_head(surface: Surface) -> np.ndarray:
    """Faces (F, 3) in the head's vertex numbers, so that normals are smooth across texture seams."""
    return surface.expand[surface.faces]


def _targets(writer: GltfWriter, rig: Rig, surface: Surface, normals: np.ndarray) -> list[dict]:
    """Morph targets without offsets and normals that are too small to see."""
    faces = _on_head(surface)
    found = []
    for target in rig.targets:
        reach = max(1.0, float(np.abs(target.weights).max(initial=0)))
        kept = np.linalg.norm(target.offsets, axis=1) * reach > NEGLIGIBLE
        bent = smooth_normals(rig.rest + target.offsets, faces) - normals
        bent[np.linalg.norm(bent, axis=1) * reach < NEGLIGIBLE_NORMAL] = 0
        found.append((target.offsets * kept[:, None], bent))
    with_normals = sum(12 * int(bent.any(axis=1).sum()) for _, bent in found) < NORMALS_BYTES
    targets = []
    for offsets, bent in found:
        entry = {"POSITION": writer.offsets(offsets[surface.expand].astype(np.float32))}
        if with_normals:
            entry["NORMAL"] = writer.offsets(bent[surface.expand].astype(np.float32))
        targets.append(entry)
    return targets


def influences(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skinning weights (V, 5) -> joints (V, 4) uint8 and weights (V, 4) float32 that sum to 1.

    Exact: where all five joints pull at a vertex, the root's share goes to the neck, which never rotates against it.
    """
    weights = weights.astype(np.float64)
    full = (weights > 0).all(axis=1)
    weights[full, NECK] += weights[full, ROOT_JOINT]
    weights[full, ROOT_JOINT] = 0
    joint = np.argsort(-weights, axis=1, kind="stable")[:, :_INFLUENCES]
    weight = np.take_along_axis(weights, joint, axis=1)
    weight /= weight.sum(1, keepdims=True)
    return np.where(weight > 0, joint, 0).astype(np.uint8), weight.astype(np.float32)


def _colours(srgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """sRGB (N, 3), alpha (N,) -> (N, 4) uint16: rows of 6 bytes would break the 4-byte alignment."""
    rgba = np.ones((len(srgb), 4))
    rgba[:, :3] = linear_colours(srgb)
    if alpha is not None:
        rgba[:, 3] = alpha
    return np.round(rgba * 65535).astype(np.uint16)


def _material(writer: GltfWriter, material: Material, colour: dict) -> dict:
    shading = {"metallicFactor": 0.0, "roughnessFactor": material.roughness} | colour
    found = {"name": material.name, "pbrMetallicRoughness": shading, "doubleSided": True}
    if material.blended:
        found["alphaMode"] = "BLEND"
    if not material.mirrors:
        writer.content["extensionsUsed"] = [SPECULAR]  # readers that do not know it show a faint reflection
        found["extensions"] = {SPECULAR: {"specularFactor": 0.0}}
    return found


def _base_colour(writer: GltfWriter, surface: Surface) -> dict:
    """What all materials have: the texture, or clay under no colours."""
    if surface.image is not None:
        kind = "image/png" if surface.image.suffix.lower() == ".png" else "image/jpeg"
        source = writer.add("images", {"mimeType": kind, "bufferView": writer.view(read_bytes(surface.image))})
        texture = writer.add("textures", {"source": source, "sampler": writer.add("samplers", {})})
        return {"baseColorTexture": {"index": texture}}
    if surface.colours is None:
        return {"baseColorFactor": [*linear_colours(np.array(CLAY)).astype(float).tolist(), 1.0]}
    return {}


def _animation(writer: GltfWriter, rig: Rig, joints: list[int], head: int) -> dict:
    samplers, channels = [], []
    times = writer.accessor(rig.times)

    def channel(node: int, path: str, values: np.ndarray) -> None:
        samplers.append({"input": times, "output": writer.accessor(values), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    for j in range(len(JOINTS)):
        rotates, travels = rig.moving(j)
        if rotates:
            channel(joints[j], "rotation", rig.rotations[:, j])
        if travels:
            channel(joints[j], "translation", rig.translations[:, j])
    channel(head, "weights", rig.target_weights().ravel())
    return {"name": "speech", "samplers": samplers, "channels": channels}
