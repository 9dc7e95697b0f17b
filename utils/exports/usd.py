"""A talking head as .usda: UsdSkel skeleton, blend shapes and their animation, as plain text that needs no library.

Specification: OpenUSD, schemas UsdGeom and UsdSkel. Metres, y up; quaternions w x y z; matrices act on row vectors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.atomic import atomic_path, write_text
from utils.exports.glb import NEGLIGIBLE
from utils.exports.rig import Rig
from utils.exports.surface import SKIN, Material, Surface, linear_colours, smooth_normals
from utils.heads.joints import JOINTS, PARENTS
from utils.reading.array_file import read_bytes
from utils.rendering.head_paint import CLAY

_HEADER = """#usda 1.0
(
    defaultPrim = "Head"
    doc = "DiffPoseTalk"
    startTimeCode = 0
    endTimeCode = {last}
    timeCodesPerSecond = {fps:g}
    framesPerSecond = {fps:g}
    metersPerUnit = 1
    upAxis = "Y"
)

def SkelRoot "Head" (
    prepend apiSchemas = ["SkelBindingAPI"]
)
{{
"""


def write_usd(path: str | Path, rig: Rig, surface: Surface) -> None:
    """Write a .usda; a texture image is copied beside it.

    Raises:
        UserError: the path cannot be written.
    """
    path = Path(path)
    texture = None
    if surface.image is not None:
        texture = f"{path.stem}_skin{surface.image.suffix.lower()}"
        with atomic_path(path.with_name(texture)) as temporary:
            temporary.write_bytes(read_bytes(surface.image))
    subsets = _subsets_of(surface)
    parts = [
        _HEADER.format(last=rig.n_frames - 1, fps=rig.fps),
        _skeleton(rig),
        _animation(rig),
        _mesh(rig, surface, subsets),
        _material("Skin", SKIN, surface, texture),
        *(_material(s.name, s.material, surface, None if s.painted else texture) for s in subsets[1:]),
        "}\n",
    ]
    write_text(path, "".join(parts), encoding="ascii")


def joint_paths() -> list[str]:
    """UsdSkel names joints by their path from the root."""
    paths: list[str] = []
    for name, parent in zip(JOINTS, PARENTS):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def _skeleton(rig: Rig) -> str:
    local = rig.joints - np.where(np.array(PARENTS)[:, None] < 0, 0, rig.joints[list(PARENTS)])
    return f"""    def Skeleton "Skeleton" (
        prepend apiSchemas = ["SkelBindingAPI"]
    )
    {{
        uniform token[] joints = {_tokens(joint_paths())}
        uniform matrix4d[] bindTransforms = [{", ".join(_shift(p) for p in rig.joints)}]
        uniform matrix4d[] restTransforms = [{", ".join(_shift(p) for p in local)}]
        rel skel:animationSource = </Head/Animation>
    }}

"""


def _animation(rig: Rig) -> str:
    quaternions = rig.rotations[:, :, [3, 0, 1, 2]]
    return f"""    def SkelAnimation "Animation"
    {{
        uniform token[] joints = {_tokens(joint_paths())}
        uniform token[] blendShapes = {_tokens([t.name for t in rig.targets])}
        half3[] scales = [{", ".join(["(1, 1, 1)"] * len(JOINTS))}]
        quatf[] rotations.timeSamples = {_samples(quaternions)}
        float3[] translations.timeSamples = {_samples(rig.translations)}
        float[] blendShapeWeights.timeSamples = {_samples(rig.target_weights())}
    }}

"""


def _mesh(rig: Rig, surface: Surface, subsets: list[_Subset]) -> str:
    faces = surface.expand[surface.faces]
    normals = smooth_normals(rig.rest, faces)
    low, high = rig.rest.min(0), rig.rest.max(0)
    names = [_identifier(t.name) for t in rig.targets]
    return f"""    def Mesh "Mesh" (
        prepend apiSchemas = ["SkelBindingAPI", "MaterialBindingAPI"]
    )
    {{
        uniform token subdivisionScheme = "none"
        uniform bool doubleSided = true
        float3[] extent = {_rows(np.stack([low, high]))}
        int[] faceVertexCounts = [{", ".join(["3"] * len(faces))}]
        int[] faceVertexIndices = {_numbers(faces.ravel())}
        point3f[] points = {_rows(rig.rest)}
        normal3f[] normals = {_rows(normals)} (
            interpolation = "vertex"
        )
{_paint(surface)}        int[] primvars:skel:jointIndices = {_numbers(np.tile(np.arange(len(JOINTS)), len(rig.rest)))} (
            elementSize = {len(JOINTS)}
            interpolation = "vertex"
        )
        float[] primvars:skel:jointWeights = {_numbers(rig.weights.ravel())} (
            elementSize = {len(JOINTS)}
            interpolation = "vertex"
        )
        matrix4d primvars:skel:geomBindTransform = {_shift(np.zeros(3))}
        rel skel:skeleton = </Head/Skeleton>
        uniform token[] skel:blendShapes = {_tokens([t.name for t in rig.targets])}
        rel skel:blendShapeTargets = [{", ".join(f"</Head/Mesh/{name}>" for name in names)}]
        rel material:binding = </Head/Skin>

{_subset_prims(subsets)}{"".join(_blend_shape(rig, k, name) for k, name in enumerate(names))}    }}

"""


def _paint(surface: Surface) -> str:
    """Texture coordinates per face corner, colours per vertex (of the head, without seam copies)."""
    lines = ""
    if surface.uv is not None:
        corners = _rows(surface.uv[surface.faces.ravel()])
        lines += f"        texCoord2f[] primvars:st = {corners} ({_interpolated('faceVarying')})\n"
    if surface.colours is not None:
        linear = _rows(linear_colours(surface.colours[: int(surface.expand.max()) + 1]))
        lines += f"        color3f[] primvars:displayColor = {linear} ({_interpolated('vertex')})\n"
    if surface.alpha is not None:
        alpha = _numbers(surface.alpha[: int(surface.expand.max()) + 1])
        lines += f"        float[] primvars:displayOpacity = {alpha} ({_interpolated('vertex')})\n"
    return lines


@dataclass(frozen=True)
class _Subset:
    """The faces of one material."""

    name: str
    material: Material
    faces: np.ndarray
    painted: bool  # a colour per vertex instead of the texture: a preview surface cannot multiply both


def _subsets_of(surface: Surface) -> list[_Subset]:
    """All faces by material, the skin's first: some readers ignore the mesh's own material where there are subsets.
    Faces on a single point of the texture show only their colour, as "Painted..." where their material has textured
    faces as well."""
    if surface.materials is None or surface.uv is None:
        return []
    corners = surface.uv[surface.faces]
    flat = (np.ptp(corners, axis=1) == 0).all(1) & (surface.image is not None)
    found = []
    for material, faces in surface.faces_of().items():
        name, painted, textured = material.name.capitalize(), faces[flat[faces]], faces[~flat[faces]]
        if len(textured):
            found.append(_Subset(name, material, textured, False))
        if len(painted):
            name = "Painted" + (name if material != SKIN else "") if len(textured) else name
            found.append(_Subset(name, material, painted, True))
    return found


def _subset_prims(found: list[_Subset]) -> str:
    family = '        uniform token subsetFamily:materialBind:familyType = "nonOverlapping"\n\n' if found else ""
    return family + "".join(
        f"""        def GeomSubset "{subset.name}" (
            prepend apiSchemas = ["MaterialBindingAPI"]
        )
        {{
            uniform token elementType = "face"
            uniform token familyName = "materialBind"
            int[] indices = {_numbers(subset.faces)}
            rel material:binding = </Head/{subset.name}>
        }}

"""
        for subset in found
    )


def _interpolated(how: str) -> str:
    return f'\n            interpolation = "{how}"\n        '


def _blend_shape(rig: Rig, k: int, name: str) -> str:
    target = rig.targets[k]
    reach = max(1.0, float(np.abs(target.weights).max(initial=0)))
    rows = np.flatnonzero(np.linalg.norm(target.offsets, axis=1) * reach > NEGLIGIBLE)
    return f"""        def BlendShape "{name}"
        {{
            uniform vector3f[] offsets = {_rows(target.offsets[rows])}
            uniform int[] pointIndices = {_numbers(rows)}
        }}

"""


def _material(name: str, material: Material, surface: Surface, texture: str | None) -> str:
    at = f"/Head/{name}"
    clay = ", ".join(f"{c:.4f}" for c in linear_colours(np.array(CLAY)))
    source, reader = f"color3f inputs:diffuseColor = ({clay})", ""
    if texture is not None:
        source = f"color3f inputs:diffuseColor.connect = <{at}/Image.outputs:rgb>"
        reader = _shader("Image", "UsdUVTexture", [
            f"asset inputs:file = @./{texture}@", 'token inputs:sourceColorSpace = "sRGB"',
            f"float2 inputs:st.connect = <{at}/Reader.outputs:result>", "float3 outputs:rgb"])  # fmt: skip
        reader += _shader("Reader", "UsdPrimvarReader_float2", [
            'string inputs:varname = "st"', "float2 outputs:result"])  # fmt: skip
    elif surface.colours is not None:
        source = f"color3f inputs:diffuseColor.connect = <{at}/Reader.outputs:result>"
        reader = _shader("Reader", "UsdPrimvarReader_float3", [
            'string inputs:varname = "displayColor"', "float3 outputs:result"])  # fmt: skip
    opacity = "float inputs:opacity = 1"
    if material.blended:
        opacity = f"float inputs:opacity.connect = <{at}/Alpha.outputs:result>"
        reader += _shader("Alpha", "UsdPrimvarReader_float", [
            'string inputs:varname = "displayOpacity"', "float outputs:result"])  # fmt: skip
    preview = _shader("Surface", "UsdPreviewSurface", [
        source, opacity, f"float inputs:roughness = {material.roughness:g}", "float inputs:metallic = 0",
        f"float inputs:ior = {1.5 if material.mirrors else 1:g}", "token outputs:surface"])  # fmt: skip
    return f"""    def Material "{name}"
    {{
        token outputs:surface.connect = <{at}/Surface.outputs:surface>

{preview}{reader}    }}
"""


def _shader(name: str, kind: str, lines: list[str]) -> str:
    body = "".join(f"            {line}\n" for line in [f'uniform token info:id = "{kind}"', *lines])
    return f'        def Shader "{name}"\n        {{\n{body}        }}\n\n'


def _identifier(name: str) -> str:
    """A prim name: letters, digits, underscores, not starting with a digit."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{name}" if name[:1].isdigit() else name


def _tokens(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _shift(position: np.ndarray) -> str:
    x, y, z = (f"{p:.9g}" for p in position)
    return f"( (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), ({x}, {y}, {z}, 1) )"


def _numbers(values: np.ndarray) -> str:
    """(n,) -> [a, b, ...]; floats with 7 significant digits, as float32 has."""
    if values.dtype.kind == "f":
        return "[" + ", ".join(map("%.7g".__mod__, values.tolist())) + "]"
    return "[" + ", ".join(map(str, values.tolist())) + "]"


def _rows(values: np.ndarray) -> str:
    """(n, k) -> [(a, b, c), ...]."""
    pattern = "(" + ", ".join(["%.7g"] * values.shape[1]) + ")"
    return "[" + ", ".join(pattern % tuple(row) for row in values.tolist()) + "]"


def _samples(values: np.ndarray) -> str:
    """(T, n) or (T, n, k) -> time samples by frame number."""
    text = _numbers if values.ndim == 2 else _rows
    return "{\n" + "".join(f"            {t}: {text(value)},\n" for t, value in enumerate(values)) + "        }"
