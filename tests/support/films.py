"""Small films and recordings with clicks at known times, as cameras, phones and damaged disks leave them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLICKS = (0.5, 1.0, 2.0)  # seconds after the sound begins


@dataclass(frozen=True)
class Film:
    """What is written: when picture and sound begin, and which packets of the sound are lost."""

    picture: float | None = 0.0  # seconds; None: no picture
    sound: float = 0.0
    lost: tuple[int, ...] = ()
    codec: str = "aac"
    video: str = "libx264"
    rate: int = 48_000
    seconds: int = 3


def clicks(rate: int = 48_000, seconds: int = 3) -> np.ndarray:
    """float32 (n,): a faint tone with loud clicks of 4 ms at `CLICKS`."""
    x = 0.01 * np.sin(2 * np.pi * 300 * np.arange(seconds * rate) / rate)
    for time in CLICKS:
        start = round(time * rate)
        x[start : start + round(0.004 * rate)] = 0.8
    return x.astype(np.float32)


def write_film(path: Path, film: Film = Film(), tracks: list[np.ndarray] | None = None) -> Path:  # noqa: B008
    """A film with one audio track of clicks, or these tracks: float32 (c, n) each."""
    tracks = [clicks(film.rate, film.seconds)[None]] if tracks is None else tracks
    packets = []
    with av.open(str(path), "w") as container:
        video = None if film.picture is None else container.add_stream(film.video, rate=25)
        voices = [container.add_stream(film.codec, rate=film.rate, layout=layout(track)) for track in tracks]
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            for i in range(film.seconds * 25):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), i, np.uint8), "rgb24").reformat(
                    format="yuv420p"
                )
                frame.pts, frame.time_base = i + round(film.picture * 25), Fraction(1, 25)
                packets += video.encode(frame)
            packets += video.encode(None)
        for voice, track in zip(voices, tracks):
            made = encoded(voice, track, film)
            packets += [packet for k, packet in enumerate(made) if k not in film.lost]
        for packet in sorted((p for p in packets if p.dts is not None), key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def layout(track: np.ndarray) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1"}[len(track)]


def encoded(voice, track: np.ndarray, film: Film) -> list:
    """Packets of one audio track."""
    form = voice.codec_context.codec.audio_formats[0].name
    resampler = av.AudioResampler(format=form, layout=layout(track), rate=film.rate)
    size, made = voice.codec_context.frame_size or 1024, []
    for start in range(0, track.shape[1], size):
        piece = np.ascontiguousarray(track[:, start : start + size])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout(track))
        frame.sample_rate, frame.pts = film.rate, start + round(film.sound * film.rate)
        frame.time_base = Fraction(1, film.rate)
        for part in resampler.resample(frame):
            made += voice.encode(part)
    return made + voice.encode(None)


def click_times(audio: np.ndarray, rate: int = 16_000) -> np.ndarray:
    """When the clicks in float (n,) begin, seconds."""
    loud = np.flatnonzero(np.abs(audio) > 0.35)
    return loud[np.diff(loud, prepend=-rate) > 0.1 * rate] / rate
