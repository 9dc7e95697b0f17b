"""Pictures and sound into one mp4 (H.264 + AAC), through PyAV's own FFmpeg: no system ffmpeg needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import atomic_path, check_output
from utils.errors import UserError
from utils.media.audio import Audio, Sound, as_sound
from utils.media.sound_file import MARK
from utils.timebase import SAMPLE_RATE

AUDIO_RATE = 48_000  # that every AAC player supports
RATE_PER_CHANNEL = 64_000  # bits per second
# Layouts as FFmpeg calls them -> AAC's; channels without a name are averaged.
NAMED = {
    **{name: name for name in ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")},
    "5.0(side)": "5.0",
    "5.1(side)": "5.1",
    "7.1(wide)": "7.1",
    "2.1": "stereo",
    "quad": "stereo",
    "6.1": "5.1",
}
CHUNK = 1024  # samples per AAC frame
SILENCE = 65_536  # samples of padding at a time
BT709, LIMITED = 1, 1  # FFmpeg's numbers: colour matrix/primaries/transfer, and 16-235 range


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    n_frames: int,
    fps: int,
    audio: Audio | None,
    sample_rate: int = SAMPLE_RATE,
) -> None:
    """Encode frames uint8 (H, W, 3) RGB and their sound; the file appears whole or not at all.

    Args:
        path: of the mp4.
        frames: at least one picture, all of one even size; taken one at a time, so a long clip needs little memory.
        n_frames: number of frames; the sound is padded with silence or cut to their length.
        fps: pictures per second.
        audio: a `Sound` with its own rate and channels, mono float (n,), or its pieces in order; None: a silent film
            without audio stream.
        sample_rate: of mono audio, Hz.

    Raises:
        UserError: `path` cannot be written or does not end in .mp4.
        ValueError: a frame of the wrong kind, or another number of frames than `n_frames`.
    """
    check_video_path(path)
    if n_frames < 1:
        raise ValueError(f"a video needs at least one frame, got n_frames={n_frames}")
    sound = None if audio is None else _of_length(as_sound(audio, sample_rate), Fraction(n_frames, fps))
    with atomic_path(path) as temporary:
        _encode(temporary, _checked(frames, n_frames), fps, sound)


def check_video_path(path: str | Path) -> None:
    """Find out before long work whether a video can be written there.

    Raises:
        UserError: the path cannot be written, or does not end in .mp4.
    """
    if Path(path).suffix.lower() != ".mp4":
        raise UserError(f"{path}: the output must end in .mp4; rename it")
    check_output(path)


def _of_length(sound: Sound, seconds: Fraction) -> Sound:
    """The sound padded or cut to the video's length."""
    return replace(sound, pieces=_fitted(sound.pieces, round(seconds * sound.sample_rate)))


def _fitted(pieces: Iterable[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    given, channels = 0, 1
    for piece in pieces:
        if given == n_samples:
            return
        part, channels = np.clip(piece[:, : n_samples - given], -1, 1).astype(np.float32), len(piece)
        given += part.shape[1]
        yield part
    while given < n_samples:
        silence = np.zeros((channels, min(SILENCE, n_samples - given)), np.float32)
        given += silence.shape[1]
        yield silence


def _checked(frames: Iterable[np.ndarray], n_frames: int) -> Iterator[np.ndarray]:
    size, count = None, 0
    for count, frame in enumerate(frames, 1):
        size = size or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != size:
            raise ValueError(f"frame {count - 1}: expected uint8 {size}, got {frame.dtype} {frame.shape}")
        if frame.shape[0] % 2 or frame.shape[1] % 2:
            raise ValueError(f"frame {count - 1}: H.264 needs even sides, got {frame.shape[:2]}")
        if count > n_frames:
            break
        yield frame
    if count != n_frames:
        raise ValueError(f"got {'more' if count > n_frames else count} frames, n_frames said {n_frames}")


def _encode(path: Path, frames: Iterator[np.ndarray], fps: int, sound: Sound | None) -> None:
    """Mux picture after picture, each with the sound up to its time, so that players need not seek."""
    import av

    first = next(frames)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = MARK
        video = _video_stream(container, first.shape, fps)
        voice = None if sound is None else _Voice(container, sound)
        for index, frame in enumerate(itertools.chain([first], frames)):
            container.mux(video.encode(_picture(frame, index, fps)))
            if voice:
                voice.write_until(Fraction(index + 1, fps))
        container.mux(video.encode(None))
        if voice:
            voice.finish()


def _video_stream(container, shape: tuple[int, int, int], fps: int):
    stream = container.add_stream("libx264", rate=fps, options={"crf": "17", "preset": "veryfast"})
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"  # the only layout every player decodes
    stream.thread_count = 0
    context = stream.codec_context
    context.time_base = Fraction(1, fps)
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED
    return stream


def _picture(frame: np.ndarray, index: int, fps: int):
    """RGB -> BT.709 limited-range YUV with its presentation time."""
    import av

    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    picture = picture.reformat(
        format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
    )
    picture.pts, picture.time_base = index, Fraction(1, fps)
    return picture


class _Voice:
    """Feeds a track into a container's AAC stream piece by piece."""

    def __init__(self, container, sound: Sound) -> None:
        import av

        self.container, self.sound, self.written = container, sound, 0
        self.pieces, self.held = iter(sound.pieces), np.zeros((0, 0), np.float32)
        self.layout = sound.layout if sound.layout in NAMED else "mono"
        layout = NAMED.get(sound.layout, "mono")
        rate = RATE_PER_CHANNEL * max(av.AudioLayout(layout).nb_channels, 2)
        self.stream = container.add_stream("aac", rate=AUDIO_RATE, layout=layout, options={"b": str(rate)})
        self.resampler = av.AudioResampler(format="fltp", layout=layout, rate=AUDIO_RATE)

    def write_until(self, seconds: Fraction) -> None:
        """Encode whole chunks of the sound up to this time."""
        end = int(seconds * self.sound.sample_rate)
        while end - self.written >= CHUNK and self._write(CHUNK):
            continue

    def _write(self, most: int) -> bool:
        """Encode up to `most` samples; False at the end of the sound."""
        import av

        while self.held.shape[1] < most:
            piece = next(self.pieces, None)
            if piece is None:
                break
            self.held = np.concatenate([self.held, piece], axis=1) if self.held.size else piece
        if not self.held.shape[1]:
            return False
        piece, self.held = self.held[:, :most], self.held[:, most:]
        if len(piece) != av.AudioLayout(self.layout).nb_channels:
            piece = piece.mean(axis=0, keepdims=True)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout=self.layout)
        frame.sample_rate, frame.pts = self.sound.sample_rate, self.written
        frame.time_base = Fraction(1, self.sound.sample_rate)
        self.written += piece.shape[1]
        self._mux(self.resampler.resample(frame))
        return True

    def finish(self) -> None:
        """Encode what is left and flush resampler and encoder."""
        while self._write(CHUNK):
            continue
        self._mux(self.resampler.resample(None))
        self._mux([None])

    def _mux(self, frames: list) -> None:
        for frame in frames:
            self.container.mux(self.stream.encode(frame))


def write_animation(path: str | Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """A looping .webp or .gif of uint8 (H, W, 3) frames without sound, for web pages."""
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    if not pictures:
        raise ValueError("an animation needs at least one frame")
    if Path(path).suffix.lower() not in (".webp", ".gif"):
        raise UserError(f"{path}: the animation must end in .webp or .gif; rename it")
    with atomic_path(path) as temporary:
        options: dict[str, Any] = {"quality": 75, "method": 4} if temporary.suffix == ".webp" else {"optimize": True}
        pictures[0].save(
            temporary, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0, **options
        )
