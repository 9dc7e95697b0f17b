"""What is in a video file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds in a file."""

    width: int
    height: int
    fps: float
    n_frames: int
    seconds: float
    """Of the picture."""
    codec: str
    pixel_format: str
    colour_space: int
    """1 is BT.709."""
    audio_codec: str | None
    audio_seconds: float


def probe(path: str | Path) -> VideoInfo:
    """Decode a video completely and report what is in it."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        n_frames = sum(1 for _ in container.decode(video))
    with av.open(str(path)) as container:
        video, context = container.streams.video[0], container.streams.video[0].codec_context
        voice = container.streams.audio[0] if container.streams.audio else None
        assert video.average_rate
        fps = float(video.average_rate)
        heard = sum(f.samples / f.sample_rate for f in container.decode(voice)) if voice else 0.0
        return VideoInfo(
            context.width, context.height, fps, n_frames, n_frames / fps, context.name, context.pix_fmt or "",
            int(context.colorspace), voice.codec_context.name if voice else None, heard,
        )  # fmt: skip
