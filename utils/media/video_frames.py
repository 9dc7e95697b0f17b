"""Pictures of a video file with their times: any container, rate and size; phones' rotation flags are applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".qt", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts"),
    *(".3gp", ".3g2", ".flv", ".wmv", ".asf", ".ogv", ".gif"),
)
MAX_SIDE = 1280  # pixels; larger pictures are scaled down: a face detector looks at far fewer
WHOLE = 0.9  # share of the pictures that a file declares which must be there
MAX_PIXELS = 8192 * 8192  # of a coded picture, refused before it is decoded


@dataclass(frozen=True)
class VideoFrame:
    """One picture, upright."""

    time: float  # seconds from the beginning of the sound, or of the picture if the video is silent
    picture: np.ndarray  # (H, W, 3) uint8 RGB


def read_frames(path: str | Path, max_side: int = MAX_SIDE) -> Iterator[VideoFrame]:
    """Decode a video picture by picture; only one is held. Times increase; pictures that repeat a time are left out.

    Raises:
        UserError: missing, not a video, damaged, or with absurdly large pictures.
    """
    import av
    import av.error

    path = Path(path)
    check_there(path)
    try:
        with av.open(str(path)) as container:
            yield from _increasing(_decoded(container, path, max_side))
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: damaged, or not a video ({reason}); play it, and export it again") from error


def check_there(path: Path) -> None:
    """Raises UserError unless the path is a file that is not empty."""
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a video; name one file in it")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); give a video")


def _stream(container):
    """The first stream of moving pictures, or None."""
    from av.stream import Disposition

    moving = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    return next(moving, None)


def _decoded(container, path: Path, max_side: int) -> Iterator[VideoFrame]:
    stream = _stream(container)
    if stream is None:
        raise UserError(f"{path}: has no moving picture; give a video of a face")
    if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
        size = f"{stream.codec_context.width} x {stream.codec_context.height}"
        raise UserError(f"{path}: pictures of {size} pixels are too large; scale the video down")
    stream.thread_type = "AUTO"
    start = _start(container, stream)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    stretch = float(stream.codec_context.sample_aspect_ratio or 1)  # width of a pixel, of height 1
    index = -1
    for index, frame in enumerate(container.decode(stream)):
        time = index / rate if frame.time is None else frame.time - start
        yield VideoFrame(time, _upright(frame, stretch, max_side))
    if index + 1 < WHOLE * stream.frames:
        raise UserError(f"{path}: breaks off after {index + 1} of {stream.frames} pictures; copy or export it again")


def _start(container, stream) -> float:
    """When the sound begins, seconds on the container's clock: motion and sound must begin together."""
    first = container.streams.audio[0] if container.streams.audio else stream
    begin = first.start_time if first.start_time is not None else stream.start_time
    return float((begin or 0) * (first.time_base or 0))


def _upright(frame, stretch: float, max_side: int) -> np.ndarray:
    """RGB (H, W, 3), square pixels, at most `max_side` high and wide, turned as the file says."""
    width, height = frame.width * (stretch if 0.2 < stretch < 5 else 1), frame.height
    scale = min(1.0, max_side / max(width, height))
    picture = frame.to_ndarray(format="rgb24", width=max(2, round(width * scale)), height=max(2, round(height * scale)))
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def _increasing(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    last = -np.inf
    for frame in frames:
        if frame.time > last:
            last = frame.time
            yield frame
