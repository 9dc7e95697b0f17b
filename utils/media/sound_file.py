"""The sound of any file as it was recorded: its own rate and channels, on the picture's clock, damaged parts filled.

PyAV decodes: torchaudio's readers need a system FFmpeg.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.errors import UserError
from utils.media.adts import AdtsReader, adts_reader
from utils.media.timeline import MISSING_END, Clock, Piece, Timeline

# The containers that are opened. None of them can name other files or addresses, as concat, HLS, DASH or SDP do.
DEMUXERS = (
    "wav,w64,aiff,au,caf,flac,mp3,aac,amr,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,avi,flv,mpegts,mpeg,ac3,eac3"
)
OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "", "max_streams": "100"}
RATES = (1000, 1_000_000)  # Hz; a file of a few bytes at 1 Hz would be hours
SILENCE = 1e-4  # peaks below this (-80 dB) hold no speech
SURVEYED = 60  # seconds that decide between tracks, and between mean and loudest channel
OPPOSED = 0.1  # energy of the channels' mean, of the loudest channel's, below which they cancel each other
SHOUT = 100.0  # a peak of float samples above this is no sound of full scale 1 but whole numbers
WIDTHS = (15, 23, 31)  # bits of their full scales
USUAL = {
    "1 channels": "mono",
    "2 channels": "stereo",
    "6 channels": "5.1",
    "8 channels": "7.1",
}  # of wavs without names
UNKNOWN_SIZE = 0x7FFF0000  # bytes of sound; programs that write a wav into a pipe promise at least so many
MARK = "made by DiffPoseTalk"  # comment in videos and wavs that this project writes
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}[^/]")


@dataclass(frozen=True)
class SoundPart:
    """Which sound of a file is read, and where its time begins."""

    track: int | None = None
    """Number of the audio track, from 1; None: the first that can be decoded and is not silent."""
    clock: Clock = "picture"
    """What is time 0: the first picture of a video, or its first sample."""


@dataclass(frozen=True)
class Track:
    """One audio track of a file."""

    path: Path
    index: int = 0  # among the audio tracks
    channel: int | None = None  # the one that is heard where the mean would cancel; None: the mean
    scale: float = 1.0  # that makes full scale 1
    notes: tuple[str, ...] = ()

    def mono(self, piece: np.ndarray) -> np.ndarray:
        """(c, n) -> float32 (n,). FFmpeg's down-mix would scale stereo by 0.7071 per channel."""
        if self.channel is not None and self.channel < len(piece):
            return piece[self.channel].astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are refused by the reader
            return piece.mean(axis=0, dtype=np.float64).astype(np.float32)


def check_sound_file(path: Path) -> None:
    """Raises UserError unless the path is a regular file that can be read and is not empty."""
    try:
        exists = path.exists()
    except OSError as error:  # a name of thousands of letters
        raise UserError(f"{str(path)[:80]}: cannot be read ({error.strerror}); check the path") from error
    if not exists and _ADDRESS.match(str(path)):
        raise UserError(f"{path}: is an address, not a file; download it first")
    if not exists:
        raise UserError(f"{path}: no such audio file; check the path")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not an audio file; name one file in it")
    if not path.is_file():
        raise UserError(
            f"{path}: is a device or pipe, not an audio file; name a file, or read it with demo.py --stream"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); give a recording")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: may not be read (permission denied); change its permissions")


def find_track(path: Path, number: int | None = None) -> Track:
    """The track to read: `number` (from 1), or the first that can be decoded and is not silent.

    Raises:
        UserError: no such track, none at all, or none that can be decoded.
    """
    with path.open("rb") as handle, opened(handle, str(path)) as container:
        streams = container.streams.audio
        named = [_described(stream) for stream in streams]
        simple = [s.codec_context is not None and s.codec_context.channels == 1 for s in streams]
        floating = [s.codec_context is not None and s.codec_context.name.startswith("pcm_f") for s in streams]
    if not named:
        raise UserError(f"{path}: has no audio stream; give a file with sound")
    if number is not None and not 1 <= number <= len(named):
        raise UserError(f"--audio_track {number}: {path} has {len(named)} audio tracks; give 1 to {len(named)}")
    if len(named) == 1 and simple[0] and not floating[0]:
        return Track(path, notes=_broken_off(path))
    track = _first_heard(path, range(len(named)) if number is None else [number - 1], floating)
    if len(named) == 1:
        return replace(track, notes=(*_broken_off(path), *track.notes))
    rule = "" if number else ", the first that is not silent"
    note = f"has {len(named)} audio tracks ({', '.join(named)}): {track.index + 1} is read{rule} (--audio_track)"
    return replace(track, notes=(note, *track.notes))


def _broken_off(path: Path) -> tuple[str, ...]:
    """A note if a wav holds less sound than its header says, which FFmpeg passes over."""
    with path.open("rb") as handle:
        riff, rate = handle.read(12), 0
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            return ()
        while len(head := handle.read(8)) == 8:
            size, begin = int.from_bytes(head[4:], "little"), handle.tell()
            if head[:4] == b"fmt ":
                rate = int.from_bytes(handle.read(12)[8:], "little")  # bytes per second
            elif head[:4] == b"data":
                there = path.stat().st_size - begin
                if size >= UNKNOWN_SIZE or size - there <= MISSING_END * rate or not rate:
                    return ()
                return (f"it breaks off: its header promises {size / rate:.1f} s, {there / rate:.1f} s are there",)
            handle.seek(begin + size + size % 2)
    return ()


def _described(stream) -> str:
    """Language or title, and the channels."""
    name = stream.metadata.get("title") or stream.language
    layout = "unknown codec" if stream.codec_context is None else stream.codec_context.layout.name
    return f"{name} {layout}" if name and name != "und" else layout


def _first_heard(path: Path, indices: Iterable[int], floating: list[bool]) -> Track:
    """The first of these tracks that is heard, else the first that can be decoded.

    Raises:
        UserError: none can be decoded.
    """
    silent, problem = None, None
    for index in indices:
        survey = _Survey()
        try:
            for piece in decode(Track(path, index), "sound", []):
                survey.push(piece)
                if survey.seconds > SURVEYED and survey.peak >= SILENCE and not floating[index]:
                    break
        except UserError as error:
            problem = problem or error
            continue
        if survey.peak >= SILENCE:
            return survey.applied(Track(path, index))
        silent = silent or Track(path, index)
    if silent is None:
        raise problem or UserError(f"{path}: has no audio that can be decoded; convert it to wav or flac")
    return silent


class _Survey:
    """Measures a track: its peak, and whether the mean of its channels is a fair picture of them."""

    def __init__(self) -> None:
        self.energy, self.mean, self.peak, self.seconds = np.zeros(0), 0.0, 0.0, 0.0

    def push(self, piece: Piece) -> None:
        """Add decoded samples."""
        if len(self.energy) != len(piece.samples):
            self.energy, self.mean = np.zeros(len(piece.samples)), 0.0
        with np.errstate(all="ignore"):  # samples that are not finite are refused by the reader
            self.energy = self.energy + np.square(piece.samples, dtype=np.float64).sum(axis=1)
            self.mean += float(np.square(piece.samples.mean(axis=0, dtype=np.float64)).sum())
        self.peak = max(self.peak, float(np.abs(piece.samples).max(initial=0)))
        self.seconds += piece.samples.shape[1] / piece.rate

    def applied(self, track: Track) -> Track:
        """The track with the channel and the scale to use, and notes that say so.

        Raises:
            UserError: the samples are neither sound nor whole numbers.
        """
        notes = []
        if len(self.energy) > 1 and self.mean < OPPOSED * self.energy.max():
            track = replace(track, channel=int(self.energy.argmax()))
            notes.append(f"the mean of its {len(self.energy)} channels is faint (opposite phase, or one of many): "
                         f"channel {int(self.energy.argmax()) + 1}, the loudest, is heard")  # fmt: skip
        if np.isfinite(self.peak) and self.peak > 2.0 ** WIDTHS[-1]:
            raise UserError(f"{track.path}: its float samples go up to {self.peak:.2g}; sound ends at 1, and whole "
                            "numbers of 32 bits at 2.1e+09: export it again")  # fmt: skip
        if np.isfinite(self.peak) and self.peak > SHOUT:
            bits = next((bits for bits in WIDTHS if self.peak <= 2.0**bits), WIDTHS[-1])
            track = replace(track, scale=2.0**-bits)
            notes.append(f"its float samples are whole numbers of {bits + 1} bits: divided by {2**bits}")
        return replace(track, notes=tuple(notes))


@contextlib.contextmanager
def opened(handle: BinaryIO | AdtsReader, name: str) -> Iterator[Any]:
    """A PyAV container of an open file or pipe, whose problems are UserErrors that name it."""
    import av
    import av.error

    try:
        # an open file, not a name: FFmpeg would take a colon in a name for a protocol
        with av.open(handle, "r", options=OPTIONS) as container:
            yield container
    except (av.error.FFmpegError, ValueError, ArithmeticError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{name}: not readable as audio ({reason}); convert it to wav or flac") from error


def decode(track: Track, clock: Clock, notes: list[str]) -> Iterator[Piece]:
    """Decode a track; what is damaged or missing becomes silence, and `notes` says how much.

    Raises:
        UserError: not readable, an impossible sample rate, or more than MAX_LOST of it is lost.
    """
    with track.path.open("rb") as handle:
        yield from decode_handle(handle, track, clock, notes)


def decode_handle(handle: BinaryIO, track: Track, clock: Clock, notes: list[str]) -> Iterator[Piece]:
    """The same of an open file or a pipe; `track.path` is its name in messages."""
    raw = adts_reader(handle)
    with opened(handle if raw is None else raw, str(track.path)) as container:
        if not container.streams.audio:
            raise UserError(f"{track.path}: has no audio stream; give a file with sound")
        if track.index >= len(container.streams.audio):
            count = len(container.streams.audio)
            raise UserError(f"--audio_track {track.index + 1}: {track.path} has {count} audio tracks; give another")
        stream = container.streams.audio[track.index]
        if stream.codec_context is None:
            raise UserError(f"{track.path}: its sound has an unknown codec; convert it to wav or flac")
        timeline = Timeline(container, stream, clock, raw)
        for frame in timeline.frames(container):
            if not RATES[0] <= frame.sample_rate <= RATES[1]:
                raise UserError(
                    f"{track.path}: declares {frame.sample_rate} samples per second; export it at 16000 to 48000"
                )
            kept = _kept(frame, stream, container.format.name)
            samples = _full_scale(frame)[:, :kept]
            with np.errstate(invalid="ignore", over="ignore"):  # as in `mono`
                samples = samples if track.scale == 1 else samples * np.float32(track.scale)
            layout = USUAL.get(frame.layout.name, frame.layout.name) or ""
            yield from timeline.placed(Piece(frame.sample_rate, samples, layout), frame.time)
        timeline.report(str(track.path), notes)


def _kept(frame, stream, container_format: str) -> int:
    """Number of recorded samples in a frame: AAC pads its last frame (128 ms at 8 kHz), and mp4 stores the true end."""
    if "mp4" in container_format and stream.duration and frame.pts is not None and frame.time_base:
        end = (stream.start_time or 0) + stream.duration
        left = round((end * stream.time_base - frame.pts * frame.time_base) * frame.sample_rate)
        if 0 < left < frame.samples:  # a frame wholly beyond the end means that the duration is wrong: keep it
            return left
    return frame.samples


def _full_scale(frame) -> np.ndarray:
    """PyAV frame -> float32 (c, n) with full scale 1."""
    samples = _planes(frame) if frame.format.is_planar else frame.to_ndarray()
    channels = samples if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels)).T
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are refused by the reader
        if samples.dtype == np.uint8:  # the one unsigned format: 128 is silence
            return (channels.astype(np.float32) - 128) / 128
        if samples.dtype.kind == "i":
            return (channels / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
        return channels.astype(np.float32)


def _planes(frame) -> np.ndarray:
    """Planar frame -> (c, n). With more than 8 channels PyAV 18's `to_ndarray` reads beyond the last plane."""
    from av.audio.frame import format_dtypes

    planes, kind = frame.planes[: frame.layout.nb_channels], format_dtypes[frame.format.name]
    return np.stack([np.frombuffer(plane, kind, frame.samples) for plane in planes])


def has_sound(path: Path) -> bool:
    """Whether a file of any kind holds sound that can be decoded."""
    try:
        check_sound_file(path)
        return next(decode(Track(path), "sound", []), None) is not None
    except (UserError, OSError):
        return False


def is_result(path: Path) -> bool:
    """Whether a video or wav was made by this project (`MARK` is its comment)."""
    try:
        with path.open("rb") as handle, opened(handle, str(path)) as container:
            return container.metadata.get("comment") == MARK
    except (UserError, OSError):
        return False
