"""What visitors' files hold: speech, and the style of a motion or a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.app.style_files import style_from_file
from models.generation.style_extractor import StyleExtractor
from utils.errors import UserError
from utils.media.audio import load_audio
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.timebase import SAMPLE_RATE
from utils.trackers.landmarker import is_installed

MAX_SECONDS, MAX_MOTION_BYTES = 60, 20_000_000
MAX_VIDEO_SECONDS = 30  # of a video that gives a style
MOTION_FILES = (".npz", ".csv", ".json")  # files that can give a style, besides videos


def style_of_file(path: Path, extractor: StyleExtractor | None) -> np.ndarray:
    """A visitor's file -> the style vector (d,) of its most typical 4 seconds.

    Raises:
        UserError: no style encoder, too large, of another kind than MOTION_FILES, or without usable motion.
    """
    if extractor is None:
        raise UserError("your own style: this model's style encoder is missing; choose a bundled style")
    video = path.suffix.lower() in VIDEO_SUFFIXES
    if video and not is_installed():
        raise UserError("your own style: MediaPipe is not installed here (docs/data.md); give a motion file")
    if not video and path.suffix.lower() not in MOTION_FILES:
        raise UserError(f"your own style: {path.name} must be one of {', '.join(style_files())}")
    if not video and path.stat().st_size > MAX_MOTION_BYTES:  # the page limits all uploads
        raise UserError(f"your own style: {path.name} is larger than {MAX_MOTION_BYTES / 1e6:g} MB; cut it")
    try:
        return _named(lambda given: style_from_file(given, extractor, MAX_VIDEO_SECONDS)[0], path)
    except UserError as error:  # the list of what every format needs is too long for a page
        reason, long, _ = str(error).partition(". Found: ")
        raise UserError(
            reason + (f"; give one of {', '.join(MOTION_FILES)} as the page says" if long else "")
        ) from error


def style_files() -> tuple[str, ...]:
    """Suffixes of the files that a style may be taken from, on this machine."""
    return MOTION_FILES + (tuple(VIDEO_SUFFIXES) if is_installed() else ())


def speech_of_file(path: Path) -> np.ndarray:
    """Speech (n,) at 16 kHz; a small file may hold hours, so decoding ends where it is too long."""
    audio = _named(lambda name: load_audio(name, max_seconds=MAX_SECONDS), path)
    if len(audio) < SAMPLE_RATE // 2:
        raise UserError("speech: shorter than half a second; record a little more")
    return audio


def _named(read, path: Path):
    """Errors about an uploaded file name it without the server's folders."""
    try:
        return read(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error
