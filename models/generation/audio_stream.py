"""Audio features of speech of any length in bounded memory: one pass measures its level, a second encodes it in chunks.

An encoder that works on short windows (Whisper) gives the same features as for the whole recording, up to rounding. One
that attends to everything (HuBERT, wav2vec 2.0) does so for recordings of one chunk; longer ones are encoded in chunks
that overlap by `_CONTEXT` frames on either side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.audio.log_mel import LEVEL_BLOCK
from models.generation.speech import Heard
from models.generation.tongue import TongueReader
from models.networks.talker import Talker
from utils.cuda_graph import Replayed
from utils.media.audio import STD_FLOOR
from utils.timebase import plan_windows, samples_per_frame

_CONTEXT = 125  # frames (5 s) on either side of a chunk that an encoder without windows sees
_CHUNK = 1000  # frames (40 s) per chunk
_SPOKEN = 0.01  # fraction of the loudest block's power; see `level_speech`


@dataclass(frozen=True)
class Loudness:
    """What a level follows from; see `AudioScale`."""

    mean: float
    std: float
    speech_rms: float


class AudioScale:
    """Mean, standard deviation and speech level of the audio so far; keeps 16 bytes per 50 ms."""

    def __init__(self) -> None:
        self.n_samples = 0
        self._blocks = np.zeros((256, 2))  # sum and sum of squares of 50 ms blocks, with room for more
        self._n_blocks = 0
        self._rest = np.zeros(0, np.float32)

    def push(self, audio: np.ndarray) -> None:
        """Add the next samples (n,)."""
        self.n_samples += len(audio)
        joined = np.concatenate([self._rest, audio])
        whole = len(joined) // LEVEL_BLOCK * LEVEL_BLOCK
        if whole:
            blocks = joined[:whole].reshape(-1, LEVEL_BLOCK).astype(np.float64)
            self._append(np.stack([blocks.sum(axis=1), np.square(blocks).sum(axis=1)], axis=1))
        self._rest = joined[whole:].copy()

    def _append(self, sums: np.ndarray) -> None:
        end = self._n_blocks + len(sums)
        if end > len(self._blocks):
            self._blocks = np.concatenate([self._blocks, np.zeros((max(end, len(self._blocks)), 2))])
        self._blocks[self._n_blocks : end] = sums
        self._n_blocks = end

    def sums(self) -> np.ndarray:
        """Sum and sum of squares of every block, (n_blocks + 1, 2); the last block may be short or empty."""
        last = self._rest.astype(np.float64)
        return np.concatenate([self._blocks[: self._n_blocks], [[last.sum(), np.square(last).sum()]]])

    def loudness(self) -> Loudness:
        """Of the audio so far."""
        return Loudness(self.mean, self.std, self.speech_rms)

    @property
    def mean(self) -> float:
        return float(self.sums()[:, 0].sum()) / max(1, self.n_samples)

    @property
    def std(self) -> float:
        """The unbiased standard deviation, as in `utils.media.audio.standardise`."""
        squares = float(self.sums()[:, 1].sum()) - self.n_samples * self.mean**2
        return math.sqrt(max(0.0, squares) / max(1, self.n_samples - 1))

    @property
    def speech_rms(self) -> float:
        """RMS of the blocks within 20 dB of the loudest, as in `level_speech`."""
        sums, mean = self.sums(), self.mean
        counts = np.full(len(sums), LEVEL_BLOCK)
        counts[-1] = len(self._rest)
        power = np.maximum(sums[:, 1] - 2 * mean * sums[:, 0] + counts * mean**2, 0) / LEVEL_BLOCK
        return math.sqrt(power[power >= _SPOKEN * power.max()].mean())


@dataclass(frozen=True)
class Level:
    """Mean of a recording, and the factor that gives it the level that an encoder expects."""

    mean: float
    factor: float

    def scaled(self, audio: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Float32 samples (n,) scaled, into `out` if given."""
        out = np.subtract(audio, self.mean, out=out, dtype=np.float32)
        out *= np.float32(self.factor)
        return out


@dataclass(frozen=True)
class Span:
    """A stretch of scaled audio, and what lies around it."""

    before: np.ndarray
    """Samples before it, whole frames, at most `SpanEncoder.margin`."""
    core: np.ndarray
    """Its samples, whole frames; for chunks, whole windows."""
    after: np.ndarray
    """Samples after it, like `before`."""


class SpanEncoder:
    """Encodes a stretch of a recording from its samples and those around it."""

    def __init__(self, model: Talker, whole: bool = True, reader: TongueReader | None = None) -> None:
        """
        Args:
            whole: encode as if the recording were one piece; else each window alone (`--no_context_audio_feat`).
            reader: hears the tongue.
        """
        self.model, self.reader, self.unit = model, reader, samples_per_frame(model.config.fps)
        self.windows = model.audio_encoder.windows if whole else None
        context = _CONTEXT if whole else 0
        window = model.config.n_motions
        # Frames of context on either side.
        self.margin = -(-self.windows.surroundings // self.unit) if self.windows else context
        step = math.lcm(window, self.windows.frames) if self.windows else window
        self.chunk = -(-_CHUNK // step) * step if whole else window  # frames

    @cached_property
    def one_window(self) -> Callable[[Tensor], Tensor]:
        """(B, samples) of a window each, in pinned memory for a GPU -> (B, frames, hidden_size), by CUDA graphs.

        On a GPU, the next call overwrites the result.
        """
        windows, device = self.windows, self.model.device
        assert windows is not None, "an encoder with windows"
        if device.type != "cuda":
            return lambda audio: windows.encode(audio, 1)
        return Replayed(lambda audio: windows.encode(audio, 1), device)

    def level(self, scale: AudioScale | Loudness, least_rms: float = 0.0) -> Level:
        """How a recording is scaled for the encoder; its level counts as `least_rms` or more."""
        if self.windows:
            factor = self.windows.level / max(scale.speech_rms, least_rms, 1e-8)
        else:
            factor = 1 / (max(scale.std, least_rms) + STD_FLOOR)
        return Level(scale.mean, factor)

    def scaled(self, audio: np.ndarray, scale: AudioScale, least_rms: float = 0.0) -> np.ndarray:
        """Samples (n,) scaled for the encoder by the recording's level, which counts as `least_rms` or more."""
        return self.level(scale, least_rms).scaled(audio)

    def __call__(self, span: Span) -> Heard:
        """What is heard in a span."""
        return Heard.of(self.model, self.encoded(span), self.reader)

    @torch.no_grad()
    def encoded(self, span: Span) -> Tensor:
        """The audio encoder's output (n, hidden_size) of a span."""
        n_frames = len(span.core) // self.unit
        if self.windows is None:
            return self._alone(span, n_frames)
        n_windows = -(-n_frames // self.windows.frames)
        return self.windows.encode(self._surrounded(span, n_windows)[None], n_windows)[0, :n_frames]

    @cached_property
    def silence(self) -> Tensor:
        """Features (L, F) of a window of silence."""
        quiet, nothing = np.zeros(self.model.config.n_motions * self.unit, np.float32), np.zeros(0, np.float32)
        return self(Span(nothing, quiet, nothing)).features

    def _alone(self, span: Span, n_frames: int) -> Tensor:
        audio = torch.from_numpy(np.concatenate([span.before, span.core, span.after])).to(self.model.device)
        first = len(span.before) // self.unit
        return self.model.audio_encoder(audio[None], len(audio) // self.unit)[0, first : first + n_frames]

    def _surrounded(self, span: Span, n_windows: int) -> Tensor:
        """The samples (surroundings + n_windows windows + surroundings,) that a span's features depend on."""
        assert self.windows is not None
        around, before = self.windows.surroundings, span.before[-self.windows.surroundings :]
        audio = torch.from_numpy(np.concatenate([before, span.core, span.after])).to(self.model.device)
        left = around - len(before)
        right = left + n_windows * self.windows.frames * self.unit + 2 * around
        return F.pad(audio, (left, max(0, right - left - len(audio))))[: right - left]


def feature_windows(
    model: Talker,
    blocks: Iterable[np.ndarray],
    scale: AudioScale,
    whole: bool = True,
    reader: TongueReader | None = None,
) -> Iterator[Heard]:
    """What is heard in a recording's windows, one after the other: `Speech.encode` for recordings of hours.

    Args:
        blocks: the recording's raw samples, in pieces of any size.
        scale: of the whole recording, from the first pass.
        whole, reader: see `SpanEncoder`.
    """
    encoder = SpanEncoder(model, whole, reader)
    unit, window = encoder.unit, model.config.n_motions
    total = plan_windows(scale.n_samples, window, model.config.fps).padded_frames
    padded = _padded(blocks, lambda audio: encoder.scaled(audio, scale), total * unit, model.config.pad_mode)
    held, first, done = np.zeros(0, np.float32), 0, 0  # samples held, the first one's frame, frames done
    while done < total:
        end = min(done + encoder.chunk, total)
        wanted = (min(end + encoder.margin, total) - first) * unit
        while len(held) < wanted:
            held = np.concatenate([held, next(padded)])
        a, b = (done - first) * unit, (end - first) * unit
        heard = encoder(Span(held[:a], held[a:b], held[b:wanted]))
        yield from (heard.part(start, start + window) for start in range(0, end - done, window))
        done = end
        keep = max(first, done - encoder.margin)
        held, first = held[(keep - first) * unit :].copy(), keep


def _padded(
    blocks: Iterable[np.ndarray], scaled, n_samples: int, mode: str, size: int = 160_000
) -> Iterator[np.ndarray]:
    """Scale the blocks, cut or pad them to n_samples (scaled silence is 0), in pieces of about `size`."""
    pieces, held, given, last = [], 0, 0, 0.0
    for block in blocks:
        part = scaled(block[: n_samples - given - held])
        pieces.append(part)
        held += len(part)
        last = part[-1] if len(part) else last
        if held >= size:
            yield np.concatenate(pieces)
            given, held, pieces = given + held, 0, []
    fill = last if mode == "replicate" else 0.0
    yield np.concatenate([*pieces, np.full(n_samples - given - held, fill, np.float32)])
