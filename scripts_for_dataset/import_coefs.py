"""The output of a face tracker -> a motion npz (25 fps: exp (T, 50), pose (T, 6), shape (100,), fps, head_model).

    python -m scripts_for_dataset.import_coefs IN OUT.npz [--format auto] [--fps 30]

IN is a file or one video's folder. Formats: {formats}. `mica` is a head shape alone, which OUT.npy (100,) gets.
Whatever was guessed, changed or left out is logged line by line.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.atomic import atomic_path, check_apart
from utils.config import positional, read_flags
from utils.errors import UserError, cli
from utils.reports.wording import counted
from utils.timebase import FPS
from utils.trackers.content import Content, load_content
from utils.trackers.flags import ImportFlags
from utils.trackers.formats import NAMES, read_shape
from utils.trackers.to_motion import from_content, import_shape

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImportCoefsFlags:
    """All flags of the program."""

    input: Path = positional(metavar="IN")
    """A tracker's file, or one video's folder."""
    output: Path = positional(metavar="OUT")
    """npz; npy for a head shape alone."""
    shape: Path | None = None
    """Take the head shape from here (MICA's identity.npy, any npz)."""
    files: ImportFlags
    """what the files are"""


def write_shape(content: Content, output: Path, shape: np.ndarray) -> None:
    if output.suffix != ".npy":
        raise UserError(f"{output}: {content.path} is a head shape alone; name the output .npy")
    with atomic_path(output) as temporary:
        np.save(temporary, shape[:100].astype(np.float32))
    log.info("%s: head shape of %d coefficients, the first 100 kept", output, len(shape))


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ImportCoefsFlags, argv, (__doc__ or "").format(formats=", ".join(NAMES)))
    check_apart([flags.output], [flags.input])
    content = load_content(flags.input)
    shape = read_shape(content) if flags.files.format == "auto" else None
    if shape is not None:
        write_shape(content, flags.output, shape)
        return
    if flags.output.suffix != ".npz":
        raise UserError(f"{flags.output}: must end in .npz")
    imported = from_content(content, flags.files.options())
    motion = imported.motion
    if flags.shape:
        motion = replace(motion, shape=import_shape(flags.shape))
    motion.save(flags.output)
    for note in imported.notes:
        log.info("  %s", note)
    known = "" if motion.shape is None else ", with a head shape"
    seconds = len(motion) / FPS
    log.info("%s: %s (%.1f s) of %s, %s%s", flags.output, counted(len(motion), "frame"), seconds, imported.format,
             motion.head_model, known)  # fmt: skip


if __name__ == "__main__":
    main()
