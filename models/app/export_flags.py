"""Command-line flags of exports, and what they mean for a head."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import Exporter, parse_formats
from models.heads.flame import Flame
from utils.exports.rig import check_fps
from utils.rendering.looks import Look
from utils.timebase import FPS


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """--export --export_fps --match."""
    add = parser.add_argument_group("export (docs/exports.md)").add_argument
    add("--export", help=f"also write, beside the video: comma separated {', '.join(FORMATS)}, or all")
    add("--export_fps", type=float, default=FPS, help=f"frames per second of exported files (default: {FPS})")
    add("--match", type=Path, help="for livelink of a FLAME head without landmarks: flame_static_embedding.pkl, or npz "
        "with lmk68, or with open_head and head")  # fmt: skip


def exporter_from(args: argparse.Namespace, flame: Flame, look: Look) -> Exporter | None:
    """What writes the exports the flags ask for, in the look of the video; None without --export.

    Raises:
        UserError: an unknown format, one that this head cannot have, or a rate that no file can have.
    """
    if args.export is None:
        return None
    formats = parse_formats(args.export)
    check_fps(args.export_fps)
    for name in formats:
        FORMATS[name].check_head(flame.head)
    options = ExportOptions(fps=args.export_fps, texture=look.texture, drawn_head=look.head, match=args.match)
    return Exporter(flame, formats, options)
