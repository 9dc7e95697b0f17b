"""One call for all formats: a motion on a head -> files for Blender, Unreal, the browser and FLAME tools."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.exports.formats import FORMATS, ExportJob, ExportOptions
from models.heads.flame import Flame
from utils.atomic import atomic_path, make_folder
from utils.errors import UserError
from utils.exports.arkit import warn_of_other_head
from utils.exports.tables import TABLE_START
from utils.media.audio import Audio, as_sound
from utils.media.sound_file import MARK, is_result
from utils.motion_file import Motion

log = logging.getLogger(__name__)


def parse_formats(text: str) -> tuple[str, ...]:
    """`glb,livelink` -> distinct names; `all` means every format that needs no FLAME coefficients.

    Raises:
        UserError: an unknown name, or no name.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return tuple(name for name, row in FORMATS.items() if not row.needs_flame)
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        what = repr(unknown[0]) if unknown else "nothing"
        raise UserError(f"--format: {what} is not a format; use {', '.join(FORMATS)} or all")
    return tuple(dict.fromkeys(names))


def export_path(out: str | Path, name: str) -> Path:
    """The file or folder of one format; `out` is the path without ending."""
    out = Path(out)
    return out.with_name(out.name + FORMATS[name].ending)


def files_of(out: str | Path, formats: tuple[str, ...]) -> list[Path]:
    """Every file and folder that `export` may write, the speech and the texture beside them included."""
    out = Path(out)
    rows = [FORMATS[name] for name in formats]
    speech = [".wav"] if any(row.needs_wav for row in rows) else []
    textures = [f"_skin{kind}" for kind in (".png", ".jpg", ".jpeg")] if "usd" in formats else []
    return [out.with_name(out.name + ending) for ending in (*(row.ending for row in rows), *speech, *textures)]


def check_foreign(files: Iterable[Path]) -> None:
    """Raises UserError for a wav or csv beside the outputs that this project did not write: no flag names it."""
    for file in files:
        foreign = file.suffix == ".wav" and file.is_file() and not is_result(file)
        if file.suffix == ".csv" and not file.name.endswith(FORMATS["livelink"].ending) and file.is_file():
            with file.open("rb") as handle:
                foreign = not handle.readline(100).startswith(TABLE_START.encode())
        if foreign:
            raise UserError(f"{file}: exists and was not made here; choose another output, or move it")


def export(
    motion: Motion, flame: Flame, formats: tuple[str, ...], out: str | Path, options: ExportOptions | None = None
) -> list[Path]:
    """Write a motion (raw coefficients, 25 fps) in several formats -> the files and folders written.

    Raises:
        UserError: a format that does not suit this head, a path that cannot be written, or unusable options.
    """
    options = options or ExportOptions()
    warn_of_other_head(motion, flame.head)
    rows = [FORMATS[name] for name in formats]
    for row in rows:
        row.check_head(flame.head)
    job = ExportJob(motion, flame, options)
    written = []
    for row in rows:
        path = export_path(out, row.name)
        make_folder(path.parent)
        row.write(path, job)
        written.append(path)
    if options.audio is not None and any(row.needs_wav for row in rows):
        written.append(_write_wav(Path(out).with_name(Path(out).name + ".wav"), options.audio))
    return written


@dataclass(frozen=True)
class Exporter:
    """Writes every finished motion of a program in these formats."""

    flame: Flame
    formats: tuple[str, ...]
    options: ExportOptions = field(default_factory=ExportOptions)

    def write(self, motion: Motion, out: Path, audio: Audio) -> list[Path]:
        """Export one motion with its speech and log the files; `out` is the path without ending.

        Raises:
            UserError: see `export`.
        """
        written = export(motion, self.flame, self.formats, out, replace(self.options, audio=audio))
        for path in written:
            log.info("wrote %s", path)
        return written


def _write_wav(path: Path, audio: Audio) -> Path:
    """The sound with its own rate and channels, 16 bit."""
    import soundfile

    sound = as_sound(audio)
    pieces = iter(sound.pieces)
    first = next(pieces)
    with (
        atomic_path(path) as temporary,
        soundfile.SoundFile(temporary, "w", sound.sample_rate, len(first), "PCM_16", format="WAV") as file,
    ):
        file.comment = MARK
        for piece in itertools.chain([first], pieces):
            file.write(piece.T)
    return path
