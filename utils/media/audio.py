"""Reading speech from any container PyAV knows, 16 bit FLAC for the data sets, and the networks' standardisation.

PyAV decodes and soxr resamples: torchaudio's readers need a system FFmpeg. The channels are averaged here, because
FFmpeg's own down-mix scales stereo by 0.7071 per channel, which would clip or change the level.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from utils.errors import UserError
from utils.timebase import SAMPLE_RATE

if TYPE_CHECKING:
    from torch import Tensor

# The containers that are opened. None of them can name other files or addresses, as concat, HLS, DASH or SDP do.
DEMUXERS = (
    "wav,w64,aiff,au,caf,flac,mp3,aac,amr,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,avi,flv,mpegts,mpeg,ac3,eac3"
)
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "", "max_streams": "100"}
RATES = (1000, 1_000_000)  # Hz; a file of a few bytes at 1 Hz would be hours
MAX_HOURS = 4  # in memory at once: 0.9 GB
SILENCE = 1e-4  # peaks below this (-80 dB) hold no speech
STD_FLOOR = 1e-5  # added to standard deviations, so that silence stays finite
FULL_SCALE = 32768  # 16 bit, as FLAC holds it
MAX_RATIO = 1000  # samples per byte of a FLAC; digital silence has about 350
SampleType = Literal["float32", "int16"]


def load_audio(path: str | Path, sample_rate: int = SAMPLE_RATE, max_seconds: float = 3600 * MAX_HOURS) -> np.ndarray:
    """Decode the first audio stream of any wav, flac, mp3, m4a, ogg, mp4, webm ... file.

    Args:
        path: the file; any sample rate and channel count (channels are averaged).
        sample_rate: of the result, in Hz.
        max_seconds: a longer recording is refused while it is read.

    Returns:
        float32 (n,), about -1 to 1 (resampling and float files may overshoot a little).

    Raises:
        UserError: missing, a folder, unreadable, without an audio stream, empty, silent, too long or holding NaN/inf.
    """
    pieces, count = [], 0
    for piece in stream_audio(path, sample_rate):
        pieces.append(piece)
        count += piece.size
        if count > max_seconds * sample_rate:
            length = f"{max_seconds / 3600:g} h" if max_seconds >= 3600 else f"{max_seconds:g} s"
            raise UserError(f"{path}: is too long, at most {length} are accepted here; cut it")
    return np.concatenate(pieces)


def stream_audio(path: str | Path, sample_rate: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """The same file piece by piece: float32 (n,) of any n > 0, so that a recording of hours needs little memory.

    Raises:
        UserError: as `load_audio`; silence is only known at the end of the file.
    """
    path = Path(path)
    try:
        exists = path.exists()
    except OSError as error:  # a name of thousands of letters
        raise UserError(f"{str(path)[:80]}: cannot be read ({error.strerror}); check the path") from error
    if not exists:
        raise UserError(f"{path}: no such audio file; check the path")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not an audio file; name one file in it")
    if not path.is_file():
        raise UserError(f"{path}: is a device or pipe, not an audio file; name a file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); give a recording")
    count, peak = 0, 0.0
    for piece in resampled(_decoded(path), sample_rate):
        if not np.isfinite(piece).all():
            raise UserError(f"{path}: the audio holds NaN or infinite samples; export it again")
        if piece.size:
            count, peak = count + piece.size, max(peak, float(np.abs(piece).max()))
            yield piece
    if count == 0:
        raise UserError(f"{path}: the audio is empty (0 samples); give a recording")
    if peak < SILENCE:
        raise UserError(f"{path}: the audio is silent (every sample below {SILENCE:g}); check the recording level")


def _decoded(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (sample rate, mono float32 (n,)) per decoded packet, so that only the result is held in memory."""
    import av
    import av.error

    try:
        # an open file, not a name: FFmpeg would take a colon in a name for a protocol
        with path.open("rb") as handle, av.open(handle, "r", options=_OPTIONS) as container:
            if not container.streams.audio:
                raise UserError(f"{path}: has no audio stream; give a file with sound")
            stream = container.streams.audio[0]
            for frame in container.decode(stream):
                if not RATES[0] <= frame.sample_rate <= RATES[1]:
                    raise UserError(
                        f"{path}: declares {frame.sample_rate} samples per second; export it at 16000 to 48000"
                    )
                mono = _mono(frame.to_ndarray(), len(frame.layout.channels), frame.format.is_planar)
                yield frame.sample_rate, mono[: _kept(frame, stream, container.format.name)]
    except PermissionError as error:
        raise UserError(f"{path}: may not be read (permission denied); change its permissions") from error
    except (av.error.FFmpegError, ValueError, ArithmeticError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{path}: not readable as audio ({reason}); convert it to wav or flac") from error


def _kept(frame, stream, container_format: str) -> int:
    """Number of recorded samples in a frame: AAC pads its last frame (128 ms at 8 kHz), and mp4 stores the true end."""
    if "mp4" in container_format and stream.duration and frame.pts is not None and frame.time_base:
        end = (stream.start_time or 0) + stream.duration
        left = round((end * stream.time_base - frame.pts * frame.time_base) * frame.sample_rate)
        if 0 < left < frame.samples:  # a frame wholly beyond the end means that the duration is wrong: keep it
            return left
    return frame.samples


def _mono(samples: np.ndarray, n_channels: int, planar: bool) -> np.ndarray:
    """PyAV frame array -> mean over channels, float32 (n,) with full scale 1."""
    channels = samples if planar else samples.reshape(-1, n_channels).T
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are refused by `stream_audio`
        mono = channels.mean(axis=0, dtype=np.float64)
    if samples.dtype == np.uint8:  # the one unsigned format: 128 is silence
        mono = (mono - 128) / 128
    elif samples.dtype.kind == "i":
        mono /= -float(np.iinfo(samples.dtype).min)
    with np.errstate(invalid="ignore", over="ignore"):
        return mono.astype(np.float32)


def resampled(pieces: Iterator[tuple[int, np.ndarray]], sample_rate: int) -> Iterator[np.ndarray]:
    """(rate, float32 (n,)) pieces through soxr (very high quality); starts again if the rate changes in the file."""
    import soxr

    stream, rate = None, None
    for piece_rate, piece in pieces:
        if piece_rate != rate:
            if stream is not None:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
            rate = piece_rate
            stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, quality="VHQ")
        yield piece if stream is None else stream.resample_chunk(piece)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


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
