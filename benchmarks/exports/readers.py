"""Vertices of exported files as other programs read them. A new reader is a function here, and a line in
`formats.checks`; `missing` names those that are not installed.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from utils.exports.surface import Surface
from utils.timebase import FPS

FRAMES = (0, 57, 123, 200, 249)
HERE = Path(__file__).resolve().parent


def blender(path: Path, frames: tuple[int, ...] = FRAMES) -> np.ndarray:
    """(frames, vertices, 3) metres, in Blender's order (`blender_order`)."""
    out = path.with_suffix(".npy")
    script = HERE / "in_blender.py"
    command = ["blender", "--background", "--python", str(script), "--", str(path), str(out), *map(str, frames)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return np.load(out)


def blender_order(surface: Surface) -> np.ndarray:
    """(vertices,) the head's vertices as Blender's importer orders them: each material's, without unused ones."""
    return np.concatenate([surface.expand[np.unique(surface.faces[faces])] for faces in surface.faces_of().values()])


def three(path: Path, modules: Path) -> np.ndarray:
    """(FRAMES, vertices, 3) metres; without an image in the file, which would need a browser."""
    out = path.with_suffix(".bin")
    command = ["node", str(HERE / "in_three.mjs"), str(path), str(out), *(str(f / FPS) for f in FRAMES)]
    subprocess.run(command, check=True, capture_output=True, cwd=modules, timeout=300)
    return np.fromfile(out).reshape(len(FRAMES), -1, 3)


def validator(path: Path, modules: Path) -> str:
    """What Khronos' validator counts."""
    command = ["node", str(HERE / "in_validator.cjs"), str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, cwd=modules, timeout=300, text=True).stdout
    issues = json.loads(answer)
    return f"{issues['numErrors']} errors, {issues['numWarnings']} warnings, {issues['numInfos']} infos"


def usd(path: Path) -> np.ndarray:
    """(FRAMES, vertices, 3) metres."""
    from pxr import Gf, Usd, UsdGeom, UsdSkel

    stage = Usd.Stage.Open(str(path))
    UsdSkel.BakeSkinning(UsdSkel.Root(stage.GetPrimAtPath("/Head")), Gf.Interval(0, max(FRAMES)))
    points = UsdGeom.Mesh(stage.GetPrimAtPath("/Head/Mesh")).GetPointsAttr()
    return np.stack([np.array(points.Get(frame)) for frame in FRAMES])


def trimesh_obj(path: Path) -> np.ndarray:
    """Vertices by their place in the file: trimesh splits them at texture seams, so they are read without faces."""
    import trimesh

    lines = [line for line in path.read_text().splitlines() if line.startswith("v ")]
    points = trimesh.load(trimesh.util.wrap_as_stream("\n".join(lines)), file_type="obj", process=False)
    return np.asarray(points.vertices)[None]


def trimesh_glb(path: Path) -> np.ndarray:
    """The mesh without animation, (1, vertices, 3); all materials share its vertices, so that the first will do."""
    import trimesh

    return np.asarray(next(iter(trimesh.load(path, process=False).geometry.values())).vertices)[None]


def missing(modules: Path | None) -> list[str]:
    """Readers that a check would leave out."""
    return [
        name
        for name, found in (
            ("Blender", shutil.which("blender")),
            ("three.js and gltf-validator (--node_modules)", modules is not None and shutil.which("node")),
            ("usd-core", importlib.util.find_spec("pxr")),
        )
        if not found
    ]
