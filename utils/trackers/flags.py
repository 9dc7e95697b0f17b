"""Command line flags of `ImportOptions`, for every command that reads trackers' files."""

from __future__ import annotations

import argparse

from utils.errors import UserError
from utils.motion_file import HEAD_MODELS
from utils.rotations import HOW
from utils.trackers.formats import NAMES
from utils.trackers.to_motion import ImportOptions


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """One flag per field of `ImportOptions`."""
    group = parser.add_argument_group("what the files are")
    add = group.add_argument
    add("--format", default="auto", help=f"auto, {', '.join(NAMES)} (default: auto, by content)")
    add("--fps", type=float, help="frames a second of the tracked video (default: as the file says, else 25)")
    add("--notation", default="auto", help=f"of rotations: {HOW} (default: auto, by format and width)")
    add("--head_model", choices=HEAD_MODELS, help="whose coefficients they are (default: the tracker's)")
    add("--full_jaw", action="store_true", help="keep the jaw's sideways rotations (default: its opening only)")
    add(
        "--flip",
        default="",
        metavar="012",
        help="turn the sign of these of the head's numbers, e.g. 0 for yaw in a csv",
    )


def import_options(args: argparse.Namespace) -> ImportOptions:
    """Raises UserError for contradictions."""
    if set(args.flip) - set("012"):
        raise UserError(f"--flip {args.flip}: give digits 0 to 2, the numbers of the head's angles")
    flip = tuple(int(digit) for digit in sorted(set(args.flip)))
    return ImportOptions(args.format, args.fps, args.notation, args.head_model, args.full_jaw, flip)
