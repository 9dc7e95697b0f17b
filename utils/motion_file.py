"""Motion and shape files: npz with `exp` (T, >=50), `pose` (T, 6), `shape`, `tongue` (T, 2); npy with a shape."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import write_npz
from utils.coefs import N_EXP, N_POSE, N_SHAPE
from utils.errors import UserError
from utils.reading.array_file import read_npy, read_npz
from utils.timebase import FPS

log = logging.getLogger(__name__)
FLAME_2020, FLAME_2023, OPEN_HEAD, UNKNOWN_FLAME = "FLAME 2020", "FLAME 2023", "open head", "FLAME of unknown version"
HEAD_MODELS = (FLAME_2020, FLAME_2023, OPEN_HEAD)  # whose coefficients a motion may hold
STILL = 1e-6  # radians; recorded heads turn by more, even if they hold still
_MOST_OPEN, _MOST_SHUT = 0.8, 0.3  # radians of the jaw that speech never reaches, open and pressed
_TABLES, _IMPORT = (".csv", ".tsv", ".json"), "python -m scripts_for_dataset.import_coefs"
_OLD_NAMES = {"open_head": OPEN_HEAD}  # in older files of this project
# Sizes of shapes: ours; FLAME 2020/2023's whole identity; identity ++ expression. Only the first 100 are used.
_SPECTRE = ("cam", "tex", "light")  # arrays of trackers that fit FLAME
SHAPE_SIZES = (N_SHAPE, 300, 400)


@dataclass(frozen=True)
class Motion:
    """FLAME coefficients of one sequence, raw (not normalised), 25 fps."""

    exp: np.ndarray  # (T, 50) float32
    pose: np.ndarray  # (T, 6) float32: global rotation ++ jaw, axis-angle in radians
    shape: np.ndarray | None = None  # (100,) float32
    source: str = "motion"  # for messages
    head_model: str = ""  # that the coefficients belong to: one of `HEAD_MODELS`, or a file's own name; "": unknown
    tongue: np.ndarray | None = None  # (T, 2) float32, `utils.heads.tongue.TONGUE_UNITS`; for drawing and glb, usd

    def __len__(self) -> int:
        return len(self.exp)

    @property
    def is_flame(self) -> bool:
        """Whether the coefficients are known to be FLAME's, which mean little to the open head."""
        return self.head_model.startswith("FLAME")

    @property
    def has_head_motion(self) -> bool:
        """Whether the head moves at all. One that never does was not recorded (or was left out by `--no_head`)."""
        return len(self) > 0 and bool(np.ptp(self.pose[:, :3], axis=0).max() > STILL)

    @property
    def shape_or_average(self) -> np.ndarray:
        """(100,) float32: the motion's shape, or zeros, the average head, if it has none."""
        return np.zeros(N_SHAPE, np.float32) if self.shape is None else self.shape

    def cut(self, frames: int | slice) -> Motion:
        """The first `frames` frames, or those of a slice."""
        kept = frames if isinstance(frames, slice) else slice(frames)
        tongue = None if self.tongue is None else self.tongue[kept]
        return replace(self, exp=self.exp[kept], pose=self.pose[kept], tongue=tongue)

    def without_head_motion(self) -> Motion:
        """The same face and jaw on a head that does not turn: pose[:, :3] is 0."""
        pose = self.pose.copy()
        pose[:, :3] = 0
        return replace(self, pose=pose)

    def save(self, path: str | Path, extra: dict[str, np.ndarray] | None = None) -> None:
        """Write an npz with exp, pose, fps, shape and tongue if there are any, and the arrays of `extra`; if the head
        model is known, also head_model and source."""
        arrays: dict[str, Any] = {"exp": self.exp, "pose": self.pose, **(extra or {}), "fps": np.float32(FPS)}
        arrays |= {name: getattr(self, name) for name in ("shape", "tongue") if getattr(self, name) is not None}
        if self.head_model:
            arrays |= {"head_model": np.array(self.head_model), "source": np.array(Path(self.source).name or "unknown")}
        write_npz(path, arrays)


def joined(pieces: list[Motion]) -> Motion:
    """Consecutive pieces as one motion, with the shape of the first."""
    exp, pose = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("exp", "pose"))
    driven = any(piece.tongue is not None for piece in pieces)
    still = [np.zeros((len(piece), 2), np.float32) if piece.tongue is None else piece.tongue for piece in pieces]
    return replace(pieces[0], exp=exp, pose=pose, tongue=np.concatenate(still) if driven else None)


def load_motion(path: str | Path) -> Motion:
    """Read a motion npz.

    Raises:
        UserError: missing or unreadable file, missing keys, wrong sizes, another frame rate than 25, or values that
            are not finite.
    """
    path = Path(path)
    if path.suffix.lower() in _TABLES:
        raise UserError(
            f"{path}: is not a motion npz; {_IMPORT} {path} {path.with_suffix('.npz').name} makes one of it"
        )
    arrays = read_npz(path)
    for key in ("exp", "pose"):
        if key not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise UserError(f"{path}: has no '{key}' (found: {found}); a motion npz needs exp (T, 50) and pose (T, 6), "
                            f"and {_IMPORT} makes one of trackers' files")  # fmt: skip
    exp, pose = (_finite(arrays[key], f"{path}: {key}") for key in ("exp", "pose"))
    if exp.ndim != 2 or exp.shape[1] < N_EXP:
        raise UserError(f"{path}: exp is {exp.shape}, not (T, {N_EXP}) or wider; store one row per frame")
    if pose.ndim != 2 or pose.shape[1] != N_POSE or len(pose) != len(exp):
        raise UserError(f"{path}: pose is {pose.shape}, not ({len(exp)}, {N_POSE}): global rotation and jaw per frame")
    if not len(exp):
        raise UserError(f"{path}: holds no frames; record or export it again")
    shape = _as_shape(arrays["shape"], f"{path}: shape") if "shape" in arrays else None
    tongue = _finite(arrays["tongue"], f"{path}: tongue") if "tongue" in arrays else None
    if tongue is not None and tongue.shape != (len(exp), 2):
        raise UserError(f"{path}: tongue is {tongue.shape}, not ({len(exp)}, 2): tongueOut and tongueUp per frame")
    fps = arrays.get("fps")
    if fps is not None and (fps.dtype.kind not in "fiu" or fps.size != 1 or abs(float(fps.item()) - FPS) > 0.01):
        raise UserError(f"{path}: has fps {fps}, not {FPS}; make it {FPS} with scripts_for_dataset.import_coefs")
    model = arrays.get("head_model", arrays.get("head"))
    name = str(model.item()) if model is not None and model.ndim == 0 and model.dtype.kind == "U" else ""
    motion = Motion(exp[:, :N_EXP], pose, shape, str(path), head_model_name(name), tongue)
    for doubt in doubts(motion):
        log.warning("%s: %s", path, doubt)
    return motion


def doubts(motion: Motion) -> list[str]:
    """Warnings of numbers that are in another unit: degrees, or normalised coefficients (mean 0, deviation 1)."""
    if not len(motion):
        return []
    low, high = np.quantile(motion.pose[:, 3], (0.05, 0.95))
    if low < -_MOST_SHUT and high > _MOST_SHUT:
        return ["its jaw opens to both sides, so these look like normalised coefficients; store raw ones"]
    turned = np.quantile(np.abs(motion.pose[:, :3]).max(axis=1), 0.95)
    if max(abs(low), abs(high)) > _MOST_OPEN or turned > 2 * np.pi:
        return [f"its rotations (jaw up to {max(abs(low), abs(high)):.2g}, head {turned:.2g}) look like degrees; store "
                "radians, or import it with import_coefs --notation axis_angle_degrees"]  # fmt: skip
    if motion.head_model == OPEN_HEAD and np.quantile(motion.exp, 0.05) < -_MOST_SHUT:
        return ["its expressions are far below 0, which the open head's never are; are they FLAME's, or normalised?"]
    return []


def head_model_name(text: str) -> str:
    """A file's name for its head model -> the name used today."""
    return _OLD_NAMES.get(text, text)


def load_shape(path: str | Path, open_head: bool = False) -> np.ndarray:
    """Read a head shape (100,) from an npy, or from the first frame of the `shape` in an npz.

    `open_head`: the shape is for the open head, so one that is known to be FLAME's is warned of.

    Raises:
        UserError: missing or unreadable file, fewer than 100 numbers, or values that are not finite.
    """
    path, flame = Path(path), False
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if "shape" not in arrays:
            raise UserError(
                f"{path}: has no 'shape' (found: {', '.join(sorted(arrays)) or 'nothing'}); give another file"
            )
        shape = arrays["shape"]
        flame = str(arrays.get("head_model", "")).startswith("FLAME") or not arrays.keys().isdisjoint(_SPECTRE)
    else:
        shape = read_npy(path)
    if open_head and (flame or shape.shape[-1:] in ((300,), (400,))):
        log.warning("%s: is a shape of FLAME, which means nothing to the open head; give FLAME's file with --head, or "
                    "a bundled shape with -c", path)  # fmt: skip
    return _as_shape(shape, str(path))


def load_style(path: str | Path, size: int) -> np.ndarray:
    """Read a style vector (size,) from an npy.

    Raises:
        UserError: missing or unreadable file, the wrong size, or values that are not finite.
    """
    style = _finite(read_npy(Path(path)), str(path)).reshape(-1)
    if len(style) != size:
        raise UserError(f"{path}: has {len(style)} numbers, but this model's styles have {size}; extract it again")
    return style


def _finite(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise UserError(f"{what}: holds {array.dtype}, not numbers; store float32")
    with np.errstate(over="ignore"):  # too large for float32: infinite, and refused as such
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{what}: has NaN or infinite values; repair or cut the data")
    return array


def _as_shape(array: np.ndarray, what: str) -> np.ndarray:
    array = _finite(array, what)
    first = array[(0,) * (array.ndim - 1)] if array.ndim and array.size else array.reshape(-1)
    if len(first) not in SHAPE_SIZES:
        sizes = ", ".join(map(str, SHAPE_SIZES))
        raise UserError(f"{what}: has {len(first)} numbers, not the {sizes} shape coefficients of a FLAME head")
    return first[:N_SHAPE]
