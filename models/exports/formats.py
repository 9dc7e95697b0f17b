"""The table of export formats. To add one: a row of `FORMATS`, and its writer in utils/exports/."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from models.exports.arkit_fit import FitOptions, fit_arkit
from models.exports.arkit_pairs import find_pairs
from models.heads.decode import motion_vertices
from models.heads.flame import Flame
from utils.errors import UserError
from utils.exports import tables
from utils.exports.arkit import arkit_of_open_head, has_arkit_expressions
from utils.exports.glb import write_glb
from utils.exports.livelink import write_livelink
from utils.exports.rig import Rig, make_rig, resampled
from utils.exports.sequences import obj_encoder, ply_encoder, write_sequence
from utils.exports.surface import Surface, make_surface
from utils.exports.usd import write_usd
from utils.heads.head_file import HeadFile, load_head_file
from utils.media.audio import Audio
from utils.motion_file import Motion
from utils.timebase import FPS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportOptions:
    """Settings of the written files."""

    fps: float = FPS
    """Frames per second of the files."""
    texture: Path | None = None
    """Texture image on the head's UVs, for glb and usd."""
    drawn_head: HeadFile | None = None
    """The head with other UVs or colours (`utils.rendering.looks`), for glb, usd, obj and ply; None: the plain head."""
    dressed: HeadFile | None = None
    """The open head with teeth, hair, lashes and bust (`utils.heads.dressed_head`), for glb and usd; None: bare."""
    audio: Audio | None = None
    """Speech, written as a wav beside glb and usd, which carry no sound: a `Sound`, or mono samples at 16 kHz."""
    match: Path | None = None
    """File of landmarks or corresponding vertices for the ARKit fit of FLAME heads (`models.exports.arkit_pairs`)."""
    fit: FitOptions = field(default_factory=FitOptions)


class ExportJob:
    """One motion at the files' frame rate, with the parts that several formats share."""

    def __init__(self, motion: Motion, flame: Flame, options: ExportOptions) -> None:
        """motion: raw coefficients at 25 fps.

        Raises:
            UserError: a frame rate out of range.
        """
        self.original, self.flame, self.options, self.head = motion, flame, options, flame.head
        self.motion = resampled(motion, options.fps)
        self.drawn_head = options.drawn_head or flame.head

    @cached_property
    def rig(self) -> Rig:
        """The animated head of glb and usd."""
        return make_rig(self.options.dressed or self.head, self.motion, self.options.fps)

    @cached_property
    def surface(self) -> Surface:
        """The surface of the dressed or the drawn head, with the texture."""
        return make_surface(self.options.dressed or self.drawn_head, self.options.texture)


def _livelink(path: Path, job: ExportJob) -> None:
    """Write ARKit values: the open head's expressions, or weights fitted to any other head."""
    options = job.options
    if has_arkit_expressions(job.head):
        track = arkit_of_open_head(job.head, job.motion, options.fps)
    else:
        pairs = find_pairs(load_head_file(None), job.head, options.match)
        track, report = fit_arkit(job.flame, job.motion, pairs, options.fps, options.fit)
        log.info("%s", report.text())
    write_livelink(path, track)


def _vhap(path: Path, job: ExportJob) -> None:
    tables.write_floats(path, tables.vhap_arrays(job.motion))


def _smplx(path: Path, job: ExportJob) -> None:
    tables.write_floats(path, tables.smplx_arrays(job.motion, job.options.fps))


def _obj(path: Path, job: ExportJob) -> None:
    encode = obj_encoder(make_surface(job.drawn_head), job.head.n_vertices)
    write_sequence(path, motion_vertices(job.flame, job.motion), encode)


def _ply(path: Path, job: ExportJob) -> None:
    write_sequence(path, motion_vertices(job.flame, job.motion), ply_encoder(job.drawn_head))


@dataclass(frozen=True)
class ExportFormat:
    """A file, or a folder with a file per frame, that a motion can be written as."""

    name: str  # as in --format
    ending: str  # appended to the output's path
    write: Callable[[Path, ExportJob], None]  # raises UserError
    needs_flame: bool = False  # holds coefficients that only FLAME can use
    needs_wav: bool = False  # carries no sound, so the speech is written beside it
    is_folder: bool = False

    @property
    def suffix(self) -> str:
        """Suffix of the file, or of the files in the folder."""
        return f".{self.name}" if self.is_folder else "." + self.ending.rpartition(".")[2]

    def check_head(self, head: HeadFile) -> None:
        """Raises UserError for a format that needs FLAME's coefficients if the head is the open head."""
        if self.needs_flame and has_arkit_expressions(head):
            raise UserError(
                f"--format {self.name}: {head.name}'s coefficients are not FLAME's and would mean nothing there; "
                "export livelink, glb or usd, or use a model trained on FLAME with --head"
            )


FORMATS = {
    row.name: row
    for row in (
        ExportFormat("livelink", "_livelink.csv", _livelink),
        ExportFormat("glb", ".glb", lambda path, job: write_glb(path, job.rig, job.surface, path.stem), needs_wav=True),
        ExportFormat("usd", ".usda", lambda path, job: write_usd(path, job.rig, job.surface), needs_wav=True),
        ExportFormat("npz", "_coef.npz", lambda path, job: tables.write_coefficients(path, job.original, job.head)),
        ExportFormat("vhap", "_vhap.npz", _vhap, needs_flame=True),
        ExportFormat("smplx", "_smplx.npz", _smplx, needs_flame=True),
        ExportFormat("csv", ".csv", lambda path, job: tables.write_table(path, job.motion, job.head, job.options.fps)),
        ExportFormat("obj", "_obj", _obj, is_folder=True),
        ExportFormat("ply", "_ply", _ply, is_folder=True),
    )
}
