"""One call for all formats: a motion on a head -> files for Blender, Unreal, the browser and FLAME tools."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models.exports.arkit_fit import FitOptions, FitReport, fit_arkit
from models.exports.arkit_pairs import find_pairs
from models.heads.decode import motion_vertices
from models.heads.flame import Flame
from utils.atomic import atomic_path, make_folder
from utils.errors import UserError
from utils.exports import tables
from utils.exports.arkit import ArkitTrack, has_arkit_expressions, read_off
from utils.exports.glb import write_glb
from utils.exports.livelink import write_livelink
from utils.exports.rig import Rig, make_rig, resampled
from utils.exports.sequences import obj_encoder, ply_encoder, write_sequence
from utils.exports.surface import make_surface
from utils.exports.usd import write_usd
from utils.heads.head_file import HeadFile, load_head_file
from utils.motion_file import Motion
from utils.timebase import FPS, SAMPLE_RATE

log = logging.getLogger(__name__)

# Name of the format -> what is appended to the output's stem.
ENDINGS = {
    "livelink": "_livelink.csv",
    "glb": ".glb",
    "usd": ".usda",
    "npz": "_coef.npz",
    "vhap": "_vhap.npz",
    "smplx": "_smplx.npz",
    "csv": ".csv",
    "obj": "_obj",
    "ply": "_ply",
}
FORMATS = tuple(ENDINGS)


@dataclass(frozen=True)
class ExportOptions:
    """How a motion is written."""

    fps: float = FPS
    """Frames per second of the files."""
    texture: Path | None = None
    """Texture image on the head's UVs, for glb and usd."""
    drawn_head: HeadFile | None = None
    """The head with other UVs or colours (`utils.rendering.looks`), for glb, usd, obj and ply; None: as it is."""
    audio: np.ndarray | Iterable[np.ndarray] | None = None
    """Speech (n,) at 16 kHz, whole or in pieces; a wav is put beside glb and usd, which carry no sound."""
    match: Path | None = None
    """File of landmarks or corresponding vertices for the ARKit fit of FLAME heads (`models.exports.arkit_pairs`)."""
    fit: FitOptions = field(default_factory=FitOptions)


def parse_formats(text: str) -> tuple[str, ...]:
    """`glb,livelink` -> names, each once; `all` is every format that needs no FLAME coefficients.

    Raises:
        UserError: an unknown name, or none.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return tuple(name for name in FORMATS if name not in ("vhap", "smplx"))
    unknown = [name for name in names if name not in ENDINGS]
    if unknown or not names:
        what = repr(unknown[0]) if unknown else "nothing"
        raise UserError(f"--format: {what} is not a format; use {', '.join(FORMATS)} or all")
    return tuple(dict.fromkeys(names))


def export_path(out: str | Path, name: str) -> Path:
    """The file or folder of one format; `out` is the path without ending."""
    out = Path(out)
    return out.with_name(out.name + ENDINGS[name])


def export(
    motion: Motion, flame: Flame, formats: tuple[str, ...], out: str | Path, options: ExportOptions | None = None
) -> list[Path]:
    """Write a motion (raw coefficients with a shape, 25 fps) in several formats -> the files and folders written.

    Raises:
        UserError: a format that this head cannot have, a path that cannot be written, or unusable options.
    """
    options = options or ExportOptions()
    _check_head(motion, flame)
    job = _Job(motion, flame, options)
    written = []
    for name in formats:
        path = export_path(out, name)
        make_folder(path.parent)
        job.write(name, path)
        written.append(path)
    if options.audio is not None and {"glb", "usd"} & set(formats):
        written.append(_write_wav(Path(out).with_name(Path(out).name + ".wav"), options.audio))
    return written


def _check_head(motion: Motion, flame: Flame) -> None:
    """A motion that names its head should be shown on it; coefficients of one head mean nothing on another."""
    ours = has_arkit_expressions(flame.head)
    if motion.head_model and (motion.head_model == "open head") != ours:
        log.warning(
            "%s holds coefficients of %s, but the head is %s: the result will look wrong; give the right --head",
            motion.source,
            motion.head_model,
            flame.head.name,
        )


def arkit_track(flame: Flame, motion: Motion, options: ExportOptions) -> tuple[ArkitTrack, FitReport | None]:
    """ARKit values: read off the open head's expressions, fitted for any other head (with a report)."""
    if has_arkit_expressions(flame.head):
        return read_off(flame.head, motion, options.fps), None
    pairs = find_pairs(load_head_file(None), flame.head, options.match)
    return fit_arkit(flame, motion, pairs, options.fps, options.fit)


@dataclass(frozen=True)
class Exporter:
    """What a generating program carries along: every finished motion goes out in these formats."""

    flame: Flame
    formats: tuple[str, ...]
    options: ExportOptions = field(default_factory=ExportOptions)

    def write(self, motion: Motion, out: Path, audio: np.ndarray | Iterable[np.ndarray]) -> list[Path]:
        """Export one motion with its speech and say what was written; `out` is the path without ending.

        Raises:
            UserError: see `export`.
        """
        written = export(motion, self.flame, self.formats, out, replace(self.options, audio=audio))
        for path in written:
            log.info("wrote %s", path)
        return written


class _Job:
    """One motion at its final rate; what several formats share is made once."""

    def __init__(self, motion: Motion, flame: Flame, options: ExportOptions) -> None:
        self.original, self.flame, self.options = motion, flame, options
        self.motion = resampled(motion, options.fps)
        self.head = options.drawn_head or flame.head
        self._rig: Rig | None = None

    @property
    def rig(self) -> Rig:
        if self._rig is None:
            self._rig = make_rig(self.flame.head, self.motion, self.options.fps)
        return self._rig

    def write(self, name: str, path: Path) -> None:
        options, motion, head = self.options, self.motion, self.flame.head
        if name == "livelink":
            track, report = arkit_track(self.flame, motion, options)
            if report is not None:
                log.info("%s", report.text())
            write_livelink(path, track)
        elif name == "glb":
            write_glb(path, self.rig, make_surface(self.head, options.texture), path.stem)
        elif name == "usd":
            write_usd(path, self.rig, make_surface(self.head, options.texture))
        elif name == "csv":
            tables.write_table(path, motion, head, options.fps)
        elif name == "npz":
            tables.write_own(path, self.original, head)
        elif name == "obj":
            encode = obj_encoder(make_surface(self.head), head.n_vertices)
            write_sequence(path, motion_vertices(self.flame, motion), encode)
        elif name == "ply":
            write_sequence(path, motion_vertices(self.flame, motion), ply_encoder(self.head))
        else:
            layout = {"vhap": tables.vhap_arrays, "smplx": tables.smplx_arrays}[name]
            tables.write_npz(path, layout(motion, head, options.fps))


def _write_wav(path: Path, audio: np.ndarray | Iterable[np.ndarray]) -> Path:
    import soundfile

    blocks = [audio] if isinstance(audio, np.ndarray) else audio
    with (
        atomic_path(path) as temporary,
        soundfile.SoundFile(temporary, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as file,
    ):
        for block in blocks:
            file.write(block)
    return path
