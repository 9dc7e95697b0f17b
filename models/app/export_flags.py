"""Command-line flags of exports, and the exporter that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import Exporter, parse_formats
from models.heads.flame import Flame
from utils.config import flag
from utils.exports.rig import check_fps
from utils.rendering.looks import Look
from utils.timebase import FPS


@dataclass(frozen=True)
class ExportFlags:
    """Files for other programs, beside the video."""

    export: str | None = flag(None, known=tuple(FORMATS))
    """Also write these formats beside the video: comma separated {known}, or all."""
    export_fps: float = FPS
    """Frames per second of exported files."""
    match: Path | None = None
    """Landmarks for livelink of a FLAME head without any: flame_static_embedding.pkl, or npz with lmk68, or with
    open_head and head."""


def exporter_from(flags: ExportFlags, flame: Flame, look: Look) -> Exporter | None:
    """An exporter for the formats of the flags, in the look of the video; None without --export.

    Raises:
        UserError: an unknown format, one that does not suit this head, or a rate out of range.
    """
    if flags.export is None:
        return None
    formats = parse_formats(flags.export)
    check_fps(flags.export_fps)
    for name in formats:
        FORMATS[name].check_head(flame.head)
    options = ExportOptions(flags.export_fps, look.texture, look.head, look.dressed, match=flags.match)
    return Exporter(flame, formats, options)
