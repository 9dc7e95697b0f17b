"""Frozen Whisper features as an audio front end: `--audio_model whisper` (Radford et al. 2022, tiny.en, MIT licence).

Whisper was trained on real speech of all kinds, so a small network on its features works on recordings even if it was
trained on synthetic voices. The encoder is used in this way:

- The features are the output of the third of four blocks, before the final layer norm. The last block's features
  depend strongly on a sound's place in the window, the third block's only a little, at equal phone accuracy.
- Windows are 4 s long with margins of 0.5 s on both sides, instead of 30 s with padding, and positions count from each
  window's start. So the features of a 4 s training clip and of a whole file agree.
- Three 50 Hz features are stacked per 25 fps frame: frame i spans features 2i, 2i+1 and 2i+2, and 2i+1 lies on its
  centre, so nothing is interpolated.

The weights are bundled with the code: `setup/build_whisper_encoder.py` makes the original's file,
`scripts_for_dataset/harden_front_end.py` has trained it to hear through noise. Training a talker does not change them,
and they are in no checkpoint: they are non-persistent buffers, so `state_dict` and `parameters` are empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.audio.log_mel import HOP, LEVEL, compress, level_speech, mel_power
from models.audio.windows import Windows
from utils.errors import UserError
from utils.timebase import SAMPLE_RATE, samples_per_frame

WHISPER_WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "whisper_tiny_en.safetensors"

WINDOW = 100  # motion frames per window: 4 s
_MARGIN = SAMPLE_RATE // 2  # samples of context on either side
_MEL_PER_FRAME = samples_per_frame() // HOP  # 4; a feature is two of them
_MARGIN_FEATURES = _MARGIN // HOP // 2
EXTRA_MEL = 2  # mel frames beyond the margins, so that the outermost ones do not depend on where a stretch ends
SURROUNDINGS = _MARGIN + EXTRA_MEL * HOP  # samples on either side of a stretch that its features depend on
_STACK = 3
_BATCH = 128  # windows computed at once, which bounds the memory for an hour of audio


@dataclass(frozen=True)
class WhisperSize:
    """Sizes of the encoder; the defaults are those of tiny.en up to its third block."""

    width: int = 384
    n_heads: int = 6
    n_blocks: int = 3
    n_mels: int = 80

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight of the file."""
        d = self.width
        shapes: dict[str, tuple[int, ...]] = {"conv1_weight": (d, self.n_mels, 3), "conv2_weight": (d, d, 3)}
        shapes |= {"conv1_bias": (d,), "conv2_bias": (d,)}
        for i in range(self.n_blocks):
            for name, n_out, n_in in (("qkv", 3 * d, d), ("out", d, d), ("up", 4 * d, d), ("down", d, 4 * d)):
                shapes |= {f"block{i}_{name}_weight": (n_out, n_in), f"block{i}_{name}_bias": (n_out,)}
            for name in ("norm1", "norm2"):
                shapes |= {f"block{i}_{name}_weight": (d,), f"block{i}_{name}_bias": (d,)}
        return shapes


class WhisperEncoder(nn.Module):
    """Audio (B, n_samples) of any gain -> features (B, n_frames, 3 * width); an `AudioFrontEnd`."""

    conv1_weight: Tensor
    conv1_bias: Tensor
    conv2_weight: Tensor
    conv2_bias: Tensor

    def __init__(self, weights: dict[str, Tensor], size: WhisperSize | None = None) -> None:
        """
        Args:
            weights: tensors of any float type, by the names of `WhisperSize.shapes`.
            size: of the encoder; None: tiny.en.

        Raises:
            ValueError: a weight is missing or of another shape.
        """
        super().__init__()
        self.size = size or WhisperSize()
        self.hidden_size = _STACK * self.size.width
        for name, shape in self.size.shapes().items():
            if name not in weights or tuple(weights[name].shape) != shape:
                raise ValueError(f"Whisper weights: {name} with shape {shape} is missing; build the file again")
            self.register_buffer(name, weights[name].float(), persistent=False)

    @classmethod
    def load(cls, path: str | Path | None = None) -> WhisperEncoder:
        """An encoder with the bundled weights, or those of another file made by `setup/build_whisper_encoder.py`.

        Raises:
            UserError: missing or damaged file.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = Path(path or WHISPER_WEIGHTS)
        if not path.is_file():
            raise UserError(
                f"{path}: no Whisper weights found; make them with setup/build_whisper_encoder.py, or give no path"
            )
        try:
            return cls(load_file(path))
        except (SafetensorError, ValueError) as error:
            raise UserError(
                f"{path}: not usable ({error}); make the file again with setup/build_whisper_encoder.py"
            ) from error

    @property
    def windows(self) -> Windows:
        """See `AudioFrontEnd`."""
        return Windows(WINDOW, SURROUNDINGS, LEVEL, self.surrounded)

    def compile_layers(self, **options: Any) -> None:
        """Does nothing: no layer is trained."""

    def checkpoint_config(self) -> None:
        """None: the encoder is frozen and stored in no checkpoint."""

    @torch.no_grad()
    def forward(self, audio: Tensor, n_frames: int) -> Tensor:
        """Features of the first `n_frames` motion frames (25 fps) of audio (B, n_samples) at 16 kHz.

        Audio that ends earlier continues as silence. Each row is first scaled to a fixed speech level, since training
        audio is standardised and recordings are not. It is then cut into windows of 100 frames, each with 0.5 s of the
        row's audio (silence beyond its ends) on either side.
        """
        # Single precision even under autocast: the features must not depend on the talker's precision.
        with torch.autocast(audio.device.type, enabled=False):
            return self._features(audio, n_frames)

    def _features(self, audio: Tensor, n_frames: int) -> Tensor:
        n_windows = max(1, -(-n_frames // WINDOW))
        return self._windows(mel_power(_with_margins(audio, n_frames, n_windows), self.size.n_mels))[:, :n_frames]

    @torch.no_grad()
    def surrounded(self, audio: Tensor, n_windows: int) -> Tensor:
        """The same features of a stretch of a longer recording, equal to the whole recording's up to rounding.

        Args:
            audio: (B, n_samples) scaled as `level_speech` scales the whole recording: `SURROUNDINGS` samples, the
                stretch (whole windows, which begins where a window of the recording begins; or a part of one, which
                gives other features, for live speech), `SURROUNDINGS` samples.
            n_windows: number of windows in the stretch.

        Returns:
            (B, n_windows * WINDOW, 3 * width).
        """
        with torch.autocast(audio.device.type, enabled=False):
            return self.with_gradients(audio)[:, : n_windows * WINDOW]

    def with_gradients(self, audio: Tensor) -> Tensor:
        """As `surrounded`, for training the weights (`buffers()`); products have the precision of the autocast."""
        with torch.autocast(audio.device.type, enabled=False):
            mel = mel_power(audio.float(), self.size.n_mels)[:, :, EXTRA_MEL:-EXTRA_MEL]
        return self._windows(mel)

    def _windows(self, mel: Tensor) -> Tensor:
        """Log-mel power (B, n_mels, T) of windows and the margins around them -> (B, frames of all windows, .)."""
        margins = 2 * _MARGIN // HOP
        frames = min(WINDOW, (mel.shape[2] - margins) // _MEL_PER_FRAME)
        windows = mel.unfold(2, frames * _MEL_PER_FRAME + margins, frames * _MEL_PER_FRAME).transpose(
            1, 2
        )  # (B, windows, n_mels, window)
        parts = windows.flatten(0, 1).split(_BATCH)
        encoded = torch.cat([self.encode(compress(part)) for part in parts])
        core = encoded[:, _MARGIN_FEATURES : _MARGIN_FEATURES + 2 * frames + 1]
        stacked = core.unfold(1, _STACK, 2).transpose(2, 3).flatten(2)  # (B * windows, frames, 3 * width)
        return stacked.unflatten(0, windows.shape[:2]).flatten(1, 2)

    def encode(self, mel: Tensor) -> Tensor:
        """Input mel (B, n_mels, 2 L) -> the last block's output (B, L, width)."""
        x = F.gelu(F.conv1d(mel, self.conv1_weight, self.conv1_bias, padding=1))
        x = F.gelu(F.conv1d(x, self.conv2_weight, self.conv2_bias, stride=2, padding=1)).transpose(1, 2)
        x = x + _positions(x.shape[1], self.size.width, x.device)  # from here on in single precision
        for i in range(self.size.n_blocks):
            x = x + self._attention(f"block{i}_", self._norm(f"block{i}_norm1", x))
            hidden = F.gelu(self._linear(f"block{i}_up", self._norm(f"block{i}_norm2", x)))
            x = x + self._linear(f"block{i}_down", hidden)
        return x

    def _attention(self, block: str, x: Tensor) -> Tensor:
        heads = self._linear(block + "qkv", x).unflatten(2, (3, self.size.n_heads, -1))  # (B, L, 3, H, width / H)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        return self._linear(block + "out", F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, getattr(self, name + "_weight"), getattr(self, name + "_bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.size.width,), getattr(self, name + "_weight"), getattr(self, name + "_bias"))


def _with_margins(audio: Tensor, n_frames: int, n_windows: int) -> Tensor:
    """Level each row of (B, n) and pad it with zeros to whole windows and their margins."""
    used = level_speech(audio[:, : n_frames * samples_per_frame()].float())
    missing = n_windows * WINDOW * samples_per_frame() - used.shape[1]
    return F.pad(used, (_MARGIN, _MARGIN + missing))


@cache
def _positions(length: int, width: int, device: torch.device) -> Tensor:
    """Whisper's sinusoids (length, width): all sines, then all cosines, wavelengths 2 pi to 20000 pi."""
    rates = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(device)
