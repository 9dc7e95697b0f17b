"""All formats, and how a file's format is found."""

from __future__ import annotations

import numpy as np

from utils.errors import UserError
from utils.trackers import arkit, artalk, bodies, flame_arrays, frame_files, gagavatar, openface, smirk, vhap
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, as_float

# From the most to the least specific: the first that matches is taken.
TRACKERS: tuple[Format, ...] = (
    *(frame_files.PIXEL3DMM, frame_files.METRICAL, vhap.VHAP, smirk.SMIRK, gagavatar.GAGAVATAR),
    *(arkit.LIVE_LINK, arkit.MEDIAPIPE, arkit.ARKIT, openface.OPENFACE),
    *(bodies.SMPLX, bodies.TALKSHOW, artalk.ARTALK, flame_arrays.EMICA, flame_arrays.EMOCA, flame_arrays.IMAVATAR),
    *(flame_arrays.SPECTRE, flame_arrays.DECA, flame_arrays.PLAIN, flame_arrays.OWN_CSV, flame_arrays.SEPARATE),
)
NAMES = tuple(fmt.name for fmt in TRACKERS)


def identify(content: Content, name: str = "auto") -> Format:
    """The format of a file.

    Raises:
        UserError: an unknown name, or no format matches; the message lists what was found and what each format needs.
    """
    if name != "auto":
        known = {fmt.name: fmt for fmt in TRACKERS}
        if name not in known:
            raise UserError(f"--format {name}: not known; use auto, {', '.join(NAMES)}")
        return known[name]
    if content.frames is not None and not len(content.frames):
        raise UserError(f"{content.path}: holds no frames; track again")
    found = next((fmt for fmt in TRACKERS if fmt.matches(content)), None)
    if found is not None:
        return found
    if flame_arrays.shape_only(content) is not None:
        raise UserError(f"{content.path}: holds only a head shape (as MICA writes it), no motion; give it as --shape")
    raise UserError(f"{content.path}: has no known tracker's arrays. Found: {content.describe()}. docs/data.md has the "
                    "table of what is read; --format NAME says what one format needs")  # fmt: skip


def read_tracked(content: Content, name: str = "auto") -> tuple[Format, Tracked]:
    """The format and the coefficients of a file; UserError as for `identify`, or for damaged content."""
    fmt = identify(content, name)
    try:
        return fmt, fmt.read(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        found = content.describe()
        raise UserError(f"{content.path}: is not {fmt.name} ({fmt.needs}); found: {found}; check --format") from error


def read_shape(content: Content) -> np.ndarray | None:
    """The identity in a file without motion, as MICA writes it: (n,); None for any other file."""
    shape = flame_arrays.shape_only(content)
    return None if shape is None else as_float(shape).reshape(-1, shape.shape[-1])[0]
