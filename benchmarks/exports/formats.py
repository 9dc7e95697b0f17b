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
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.exports import readers
from benchmarks.exports.readers import FRAMES
from benchmarks.report import Flags, column, read_flags, table, text_table, write_json
from models.exports.formats import ExportOptions
from models.exports.motion_export import export, parse_formats
from models.heads.flame import Flame, load_flame
from utils.config import flag
from utils.errors import UserError, cli
from utils.exports.surface import make_surface
from utils.motion_file import Motion, load_motion
from utils.rendering.looks import dress
from utils.runs.run_dir import ROOT
from utils.timebase import FPS

MOTION = ROOT / "demo" / "input" / "motion" / "large_head_movements.npz"


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
    """Seconds and megabytes per format; glb and usd also with a texture, and dressed, as the programs write them."""
    rows = []
    for name in formats:
        for look, options in looks(flame).items() if name in ("glb", "usd") else [("clay", ExportOptions())]:
            start = time.perf_counter()
            (path,) = export(motion, flame, (name,), folder / look, options)
            seconds = time.perf_counter() - start
            files = list(path.iterdir()) if path.is_dir() else [path]
            size = sum(file.stat().st_size for file in files) / 1e6
            rows.append(Written(name, look, seconds, size, len(files)))
            if path.is_dir():
                shutil.rmtree(path)
    return rows


def looks(flame: Flame) -> dict[str, ExportOptions]:
    """The motion mesh, the same with a texture, and the dressed head."""
    skin = dress(flame.head, "skin")
    return {
        "clay": ExportOptions(),
        "skin": ExportOptions(texture=skin.texture, drawn_head=skin.head),
        "dressed": ExportOptions(texture=skin.texture, drawn_head=skin.head, dressed=skin.dressed),
    }


def decoded(flame: Flame, motion: Motion) -> np.ndarray:
    """(len(FRAMES), V, 3) metres."""
    frames = list(FRAMES)
    parts = (np.tile(motion.shape, (len(frames), 1)), motion.exp[frames], motion.pose[frames])
    with torch.no_grad():
        return flame(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)).numpy()


def checks(motion: Motion, flame: Flame, folder: Path, modules: Path | None) -> list[dict]:
    """What each independent reader finds; "distance_mm" or "found"."""
    results: list[dict] = []

    def compare(reader: str, file: Path, found: np.ndarray, goal: np.ndarray) -> None:
        distance = 1000 * np.linalg.norm(found[:, : goal.shape[1]] - goal, axis=2).max()
        results.append({"reader": reader, "file": file.name, "distance_mm": float(distance)})

    for name, options in looks(flame).items():
        head = options.dressed or options.drawn_head or flame.head
        decoder, surface = Flame(head), make_surface(head, options.texture)
        goal = decoded(decoder, motion)
        glb, usd = export(motion, flame, ("glb", "usd"), folder / name, options)
        if shutil.which("blender"):
            compare("Blender", glb, readers.blender(glb), goal[:, readers.blender_order(surface)])
        if modules is not None and shutil.which("node"):
            results.append({"reader": "gltf-validator", "file": glb.name, "found": readers.validator(glb, modules)})
            (plain,) = export(motion, flame, ("glb",), folder / f"{name}_no_image", replace(options, texture=None))
            compare("three.js", plain, readers.three(plain, modules), goal)
        if importlib.util.find_spec("pxr"):
            compare("usd-core", usd, readers.usd(usd), goal)
        compare("trimesh, at rest", glb, readers.trimesh_glb(glb), _at_rest(decoder, motion))
    (obj,) = export(motion, flame, ("obj",), folder / "clay")
    frame, goal = obj / f"{FRAMES[1]:06d}.obj", decoded(flame, motion)[1:2]
    if shutil.which("blender"):
        compare("Blender", frame, readers.blender(frame, (0,)), goal)
    compare("trimesh", frame, readers.trimesh_obj(frame), goal)
    return results


def _at_rest(flame: Flame, motion: Motion) -> np.ndarray:
    """The decoder's head (1, V, 3) with the motion's shape, no expression and no rotation."""
    with torch.no_grad():
        return flame(torch.from_numpy(motion.shape)[None], torch.zeros(1, 50), torch.zeros(1, 6)).numpy()


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ExportFlags, __doc__, argv)
    motion, flame = long_motion(flags.seconds), load_flame(None)
    with tempfile.TemporaryDirectory() as folder:
        if flags.compare:
            rows = checks(motion, flame, Path(folder), flags.node_modules)
            print(text_table([("reader", "file", "largest distance"), *map(_check_cells, rows)]))
            print("left out:", ", ".join(readers.missing(flags.node_modules)) or "nothing")
        else:
            rows = timed(motion, flame, parse_formats(flags.formats), Path(folder))
            print(table(rows))
    write_json(flags.output or flags.json, {"seconds": flags.seconds, "rows": rows})


def _check_cells(row: dict) -> tuple[str, str, str]:
    return row["reader"], row["file"], row.get("found") or f"{row['distance_mm']:.5f} mm"


if __name__ == "__main__":
    main()
