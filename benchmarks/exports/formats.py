"""Exports: time and size per format for a minute of motion, and what independent readers make of the files.

    python -m benchmarks.exports.formats [--seconds 60] [-o exports.json]
    python -m benchmarks.exports.formats --seconds 10 --check --node_modules FOLDER

`--check` writes each file once and compares vertices with the decoder (largest distance, mm): .glb evaluated by Blender
(in the PATH) and by three.js, read without animation by trimesh, validated by Khronos' gltf-validator (three.js and the
validator in FOLDER/node_modules, from npm); .usda baked by usd-core (from PyPI); .obj read by Blender and trimesh.
Readers that are not installed are left out, and named.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Flags, column, read_flags, table, text_table, write_json
from models.exports.formats import ExportOptions
from models.exports.motion_export import export, parse_formats
from models.heads.flame import Flame, load_flame
from utils.config import flag
from utils.errors import UserError, cli
from utils.motion_file import Motion, load_motion
from utils.rendering.looks import dress
from utils.runs.run_dir import ROOT
from utils.timebase import FPS

MOTION = ROOT / "demo" / "input" / "motion" / "large_head_movements.npz"
HERE = Path(__file__).resolve().parent
FRAMES = (0, 57, 123, 200, 249)


@dataclass(frozen=True, kw_only=True)
class ExportFlags(Flags):
    """What is written, and who reads it."""

    seconds: float = 60
    """Of motion."""
    formats: str = "all"
    """Comma separated; docs/exports.md has the list."""
    compare: bool = flag(False, "--check")
    """Compare with independent readers instead of timing."""
    node_modules: Path | None = None
    """Folder in which three and gltf-validator were installed."""
    output: Path | None = flag(None, "-o")
    """JSON file, as --json."""

    def __post_init__(self) -> None:
        if self.seconds * FPS <= max(FRAMES):
            raise UserError(f"--seconds {self.seconds}: must be at least {(max(FRAMES) + 1) / FPS}")


@dataclass(frozen=True)
class Written:
    """One format in one look."""

    format: str = column("format")
    look: str = column("look")
    seconds: float = column("seconds", "{:.2f}")
    MB: float = column("MB", "{:.2f}")
    files: int = column("files")


def long_motion(seconds: float) -> Motion:
    """A bundled motion, played to and fro until it is long enough."""
    motion = load_motion(MOTION)
    n = round(seconds * FPS)
    order = np.resize(np.concatenate([np.arange(len(motion)), np.arange(len(motion))[::-1]]), n)
    return replace(motion, exp=motion.exp[order], pose=motion.pose[order])


def timed(motion: Motion, flame: Flame, formats: tuple[str, ...], folder: Path) -> list[Written]:
    """Seconds and megabytes per format."""
    rows = []
    for name in formats:
        for look in ("clay", "skin") if name in ("glb", "usd") else ("clay",):
            dressed = dress(flame.head, look)
            options = ExportOptions(texture=dressed.texture, drawn_head=dressed.head)
            start = time.perf_counter()
            (path,) = export(motion, flame, (name,), folder / look, options)
            seconds = time.perf_counter() - start
            files = list(path.iterdir()) if path.is_dir() else [path]
            size = sum(file.stat().st_size for file in files) / 1e6
            rows.append(Written(name, look, seconds, size, len(files)))
            if path.is_dir():
                shutil.rmtree(path)
    return rows


def decoded(flame: Flame, motion: Motion) -> np.ndarray:
    """(len(FRAMES), V, 3) metres."""
    frames = list(FRAMES)
    parts = (np.tile(motion.shape, (len(frames), 1)), motion.exp[frames], motion.pose[frames])
    with torch.no_grad():
        return flame(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)).numpy()


def checks(motion: Motion, flame: Flame, folder: Path, modules: Path | None) -> list[dict]:
    """What each independent reader finds; "distance_mm" or "found"."""
    dressed = dress(flame.head, "skin")
    options = ExportOptions(texture=dressed.texture, drawn_head=dressed.head)
    glb, usd, obj = export(motion, flame, ("glb", "usd", "obj"), folder / "skin", options)
    (clay,) = export(motion, flame, ("glb",), folder / "clay")
    expected, results = decoded(flame, motion), []

    def compare(reader: str, file: Path, found: np.ndarray, goal: np.ndarray) -> None:
        distance = 1000 * np.linalg.norm(found[:, : goal.shape[1]] - goal, axis=2).max()
        results.append({"reader": reader, "file": file.name, "distance_mm": float(distance)})

    if shutil.which("blender"):
        compare("Blender", glb, _blender(glb, FRAMES), expected)
        compare("Blender", obj, _blender(obj / f"{FRAMES[1]:06d}.obj", (0,)), expected[1:2])
    if modules is not None and shutil.which("node"):
        compare("three.js", clay, _three(clay, modules), expected)  # images would need a browser
        results.extend(
            {"reader": "gltf-validator", "file": f.name, "found": _validator(f, modules)} for f in (glb, clay)
        )
    if importlib.util.find_spec("pxr"):
        compare("usd-core", usd, _usd(usd), expected)
    compare("trimesh, at rest", glb, _trimesh_scene(glb, flame), _at_rest(flame, motion))
    compare("trimesh", obj, _trimesh(obj / f"{FRAMES[1]:06d}.obj"), expected[1:2])
    return results


def _blender(path: Path, frames: tuple[int, ...]) -> np.ndarray:
    out = path.with_suffix(".npy")
    script = HERE / "in_blender.py"
    command = ["blender", "--background", "--python", str(script), "--", str(path), str(out), *map(str, frames)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return np.load(out)


def _three(path: Path, modules: Path) -> np.ndarray:
    out = path.with_suffix(".bin")
    command = ["node", str(HERE / "in_three.mjs"), str(path), str(out), *(str(f / FPS) for f in FRAMES)]
    subprocess.run(command, check=True, capture_output=True, cwd=modules, timeout=300)
    return np.fromfile(out).reshape(len(FRAMES), -1, 3)


def _validator(path: Path, modules: Path) -> str:
    command = ["node", str(HERE / "in_validator.cjs"), str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, cwd=modules, timeout=300, text=True).stdout
    issues = json.loads(answer)
    return f"{issues['numErrors']} errors, {issues['numWarnings']} warnings, {issues['numInfos']} infos"


def _usd(path: Path) -> np.ndarray:
    from pxr import Gf, Usd, UsdGeom, UsdSkel

    stage = Usd.Stage.Open(str(path))
    UsdSkel.BakeSkinning(UsdSkel.Root(stage.GetPrimAtPath("/Head")), Gf.Interval(0, max(FRAMES)))
    points = UsdGeom.Mesh(stage.GetPrimAtPath("/Head/Mesh")).GetPointsAttr()
    return np.stack([np.array(points.Get(frame)) for frame in FRAMES])


def _trimesh(path: Path) -> np.ndarray:
    """Vertices by their place in the file: trimesh splits them at texture seams, so they are read without faces."""
    import trimesh

    lines = [line for line in path.read_text().splitlines() if line.startswith("v ")]
    points = trimesh.load(trimesh.util.wrap_as_stream("\n".join(lines)), file_type="obj", process=False)
    return np.asarray(points.vertices)[None]


def _trimesh_scene(path: Path, flame: Flame) -> np.ndarray:
    """The mesh without animation, (1, V, 3); the vertices that texture seams repeat come after the head's own."""
    import trimesh

    (mesh,) = trimesh.load(path, process=False).geometry.values()
    return np.asarray(mesh.vertices)[None, : flame.head.n_vertices]


def _at_rest(flame: Flame, motion: Motion) -> np.ndarray:
    """The decoder's head (1, V, 3) with the motion's shape, no expression and no rotation."""
    with torch.no_grad():
        return flame(torch.from_numpy(motion.shape)[None], torch.zeros(1, 50), torch.zeros(1, 6)).numpy()


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


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ExportFlags, __doc__, argv)
    motion, flame = long_motion(flags.seconds), load_flame(None)
    with tempfile.TemporaryDirectory() as folder:
        if flags.compare:
            rows = checks(motion, flame, Path(folder), flags.node_modules)
            print(text_table([("reader", "file", "largest distance"), *map(_check_cells, rows)]))
            print("left out:", ", ".join(missing(flags.node_modules)) or "nothing")
        else:
            rows = timed(motion, flame, parse_formats(flags.formats), Path(folder))
            print(table(rows))
    write_json(flags.output or flags.json, {"seconds": flags.seconds, "rows": rows})


def _check_cells(row: dict) -> tuple[str, str, str]:
    return row["reader"], row["file"], row.get("found") or f"{row['distance_mm']:.5f} mm"


if __name__ == "__main__":
    main()
