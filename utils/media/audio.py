"""Reading speech from any container PyAV knows, 16 bit FLAC for the data sets, and the networks' standardisation."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from utils.errors import UserError
from utils.media.sound_file import SILENCE, SoundPart, Track, check_sound_file, decode, find_track
from utils.media.timeline import Piece
from utils.timebase import SAMPLE_RATE

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
MAX_HOURS = 4  # in memory at once: 0.9 GB
STD_FLOOR = 1e-5  # added to standard deviations, so that silence stays finite
FULL_SCALE = 32768  # 16 bit, as FLAC holds it
MAX_RATIO = 1000  # samples per byte of a FLAC; digital silence has about 350
SampleType = Literal["float32", "int16"]


def load_audio(
    path: str | Path,
    sample_rate: int = SAMPLE_RATE,
    max_seconds: float = 3600 * MAX_HOURS,
    part: SoundPart = SoundPart(),  # noqa: B008 - frozen
    notes: list[str] | None = None,
) -> np.ndarray:
    """Decode the sound of any wav, flac, mp3, m4a, ogg, mp4, webm ... file.

    Args:
        path: the file; any sample rate and channel count (channels are averaged).
        sample_rate: of the result, in Hz.
        max_seconds: a longer recording is refused while it is read.
        part: which track, and what is time 0 (the first picture of a video, by default).
        notes: gets a line for whatever was chosen, moved, mended or filled; None: the lines are logged.

    Returns:
        float32 (n,), about -1 to 1 (resampling and float files may overshoot a little).

    Raises:
        UserError: missing, a folder, unreadable, without an audio stream, empty, silent, too long, damaged beyond use
            or holding NaN/inf.
    """
    pieces, count = [], 0
    for piece in stream_audio(path, sample_rate, part, notes):
        pieces.append(piece)
        count += piece.size
        if count > max_seconds * sample_rate:
            length = f"{max_seconds / 3600:g} h" if max_seconds >= 3600 else f"{max_seconds:g} s"
            raise UserError(f"{path}: is too long, at most {length} are accepted here; cut it")
    return np.concatenate(pieces)


def stream_audio(
    path: str | Path,
    sample_rate: int = SAMPLE_RATE,
    part: SoundPart = SoundPart(),  # noqa: B008 - frozen
    notes: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """The same file piece by piece: float32 (n,) of any n > 0, so that a recording of hours needs little memory.

    Raises:
        UserError: as `load_audio`; silence is only known at the end of the file.
    """
    path = Path(path)
    check_sound_file(path)
    track = find_track(path, part.track)
    said = list(track.notes)
    yield from checked(resampled(mono(decode(track, part.clock, said), track), sample_rate), str(path))
    if notes is None:
        for note in said:
            log.info("%s: %s", path, note)
    else:
        notes += said


def mono(pieces: Iterable[Piece], track: Track) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, float32 (n,)) of each piece."""
    return ((piece.rate, track.mono(piece.samples)) for piece in pieces)


def checked(pieces: Iterable[np.ndarray], name: str) -> Iterator[np.ndarray]:
    """The pieces that hold samples.

    Raises:
        UserError: a sample that is not finite; at the end: no samples, or silence.
    """
    count, peak = 0, 0.0
    for piece in pieces:
        if not np.isfinite(piece).all():
            raise UserError(f"{name}: the audio holds NaN or infinite samples; export it again")
        if piece.size:
            count, peak = count + piece.size, max(peak, float(np.abs(piece).max()))
            yield piece
    if count == 0:
        raise UserError(f"{name}: the audio is empty (0 samples); give a recording")
    if peak < SILENCE:
        raise UserError(f"{name}: the audio is silent (every sample below {SILENCE:g}); check the recording level")


@dataclass(frozen=True)
class Sound:
    """Sound at one rate, to be written: float32 pieces (c, n) in -1 to 1."""

    pieces: Iterable[np.ndarray]
    sample_rate: int = SAMPLE_RATE
    layout: str = "mono"
    """FFmpeg's name of the channels."""


Audio = Sound | np.ndarray | Iterable[np.ndarray]  # a Sound, or mono samples (n,), whole or in pieces


def as_sound(audio: Audio, sample_rate: int = SAMPLE_RATE) -> Sound:
    """Mono samples (n,), whole or in pieces, as a `Sound`; a `Sound` stays as it is."""
    if isinstance(audio, Sound):
        return audio
    pieces = [audio] if isinstance(audio, np.ndarray) else audio
    return Sound((piece[None] for piece in pieces), sample_rate)


def own_sound(path: str | Path, part: SoundPart = SoundPart()) -> Sound:  # noqa: B008 - frozen
    """A file's sound at its own rate and with its own channels, for videos and wavs; at the rate of its beginning.

    Raises:
        UserError: as `stream_audio`, once the pieces are read.
    """
    path = Path(path)
    check_sound_file(path)
    track = find_track(path, part.track)
    pieces = decode(track, part.clock, [])
    first = next(pieces, None)
    if first is None:
        raise UserError(f"{path}: the audio is empty (0 samples); give a recording")
    return Sound(_alike(itertools.chain([first], pieces), first), first.rate, first.layout)


def _alike(pieces: Iterable[Piece], first: Piece) -> Iterator[np.ndarray]:
    """Samples (c, n) with the rate and the number of channels of the first piece."""
    shape = len(first.samples)
    same = (replace(p, samples=p.samples if len(p.samples) == shape else np.tile(p.samples.mean(axis=0), (shape, 1)))
            for p in pieces)  # fmt: skip
    return (block.T for block in resampled(((p.rate, p.samples.T) for p in same), first.rate))


def resampled(pieces: Iterator[tuple[int, np.ndarray]], sample_rate: int) -> Iterator[np.ndarray]:
    """(rate, float32 (n,) or (n, c)) pieces through soxr (very high quality); starts again if the rate changes."""
    import soxr

    stream, rate, end = None, None, np.zeros(0, np.float32)
    for piece_rate, piece in pieces:
        if piece_rate != rate:
            if stream is not None:
                yield stream.resample_chunk(end, last=True)
            rate, end = piece_rate, piece[:0]
            channels = piece.shape[1] if piece.ndim > 1 else 1
            stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, channels, quality="VHQ")
        yield piece if stream is None else stream.resample_chunk(piece)
    if stream is not None:
        yield stream.resample_chunk(end, last=True)


def standardise(audio: np.ndarray) -> np.ndarray:
    """(x - mean) / (std + 1e-5) over the whole array, unbiased standard deviation (SPEC section 2); float32 (n,)."""
    x = np.asarray(audio, dtype=np.float32)
    x = x - np.float32(x.mean(dtype=np.float64))  # sums in double precision; the rest is many times faster in single
    variance = np.square(x).sum(dtype=np.float64) / max(x.size - 1, 1)
    return x * np.float32(1 / (np.sqrt(variance) + STD_FLOOR))


def standardise_pcm(pcm: Tensor) -> Tensor:
    """16 bit audio (B, n) -> `standardise` of each row, float32, on the tensor's device, in single precision."""
    x = pcm.float() / FULL_SCALE
    x = x - x.mean(dim=1, keepdim=True)
    return x / (x.std(dim=1, keepdim=True) + STD_FLOOR)


def encode_flac(audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """float (n,) in -1 to 1 (clipped) -> 16 bit mono FLAC bytes, exact to half a quantisation step."""
    import soundfile

    audio = np.asarray(audio)
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise ValueError(f"audio must be finite and one-dimensional, got shape {audio.shape}")
    pcm = np.clip(np.round(audio.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    buffer = io.BytesIO()
    # Level 0.3 of 0 to 1: speech takes a tenth more room than at the usual 0.625, and is decoded in 4/5 of the time.
    soundfile.write(buffer, pcm, sample_rate, format="FLAC", subtype="PCM_16", compression_level=0.3)
    return buffer.getvalue()


def decode_flac_part(
    data: bytes, start: int, stop: int | None, sample_rate: int = SAMPLE_RATE, dtype: SampleType = "float32"
) -> tuple[np.ndarray, int]:
    """FLAC (or wav) bytes of a data set -> (samples start..stop - 1 as far as they exist, total number of samples).

    Args:
        data: the bytes; only the requested part is decoded, and channels are averaged.
        start, stop: in samples; None is the end.
        sample_rate: required, in Hz.
        dtype: float32, or int16 for the samples as they are stored.

    Raises:
        UserError: damaged bytes, another sample rate, or a header that declares more samples than so few bytes can
            hold (memory is taken for the declared number).
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            total, promised, rate = file.frames, file.frames * file.channels, file.samplerate
            if promised > MAX_RATIO * len(data):
                raise UserError(
                    f"data set audio: {promised} samples are too many for {len(data)} bytes; rebuild the data set"
                )
            start = min(start, total)
            if start > 0:
                file.seek(start)
            audio = file.read(min(total if stop is None else stop, total) - start, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UserError(f"data set audio: damaged FLAC ({error}); rebuild the data set") from error
    if rate != sample_rate:
        raise UserError(f"data set audio: sampled at {rate} Hz, not {sample_rate}; rebuild the data set")
    return (audio[:, 0].copy() if audio.shape[1] == 1 else audio.mean(axis=1).astype(dtype)), total
