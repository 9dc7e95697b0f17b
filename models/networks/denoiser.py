"""The denoising network: a transformer decoder over motion that attends to aligned audio features (section 3.3)."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_decoder import decode, decoder_layer
from models.networks.positional import SinusoidalEncoding, sinusoidal_rows


@dataclass(frozen=True)
class DenoiserConfig:
    """Sizes of the denoising network."""

    motion_dim: int
    person_dim: int  # shape, or shape ++ style
    n_diff_steps: int = 500
    feature_dim: int = 512
    n_heads: int = 8
    n_layers: int = 8
    mlp_ratio: int = 4
    n_motions: int = 100
    n_prev_motions: int = 10
    align_mask_width: int = 1
    use_indicator: bool = False
    learnable_positions: bool = True
    positional_encoding: str = "per_frame"  # only without learnable positions
    dropout: float = 0.1

    @property
    def n_frames(self) -> int:
        return self.n_prev_motions + self.n_motions


def alignment_mask(n_frames: int, width: int) -> Tensor | None:
    """(1 + n_frames, n_frames) bool, True = blocked: frame i attends to memory j with |i - j| < width, token 0 to all.

    None for width <= 0: every token attends to all memory.
    """
    if width <= 0:
        return None
    frame = torch.arange(n_frames)
    blocked = (frame[:, None] - frame[None, :]).abs() >= width
    return torch.cat([torch.zeros(1, n_frames, dtype=torch.bool), blocked])


class Denoiser(nn.Module):
    """One evaluation of the network. Parameter names are those of the published checkpoints."""

    step_table: Tensor  # (T + 1, dim)
    mask: Tensor | None

    def __init__(self, config: DenoiserConfig, fast: bool = True) -> None:
        """`fast` uses `fast_decoder` in training where it applies; False always uses PyTorch's decoder."""
        super().__init__()
        self.config, self.fast = config, fast
        self._run_layer = decoder_layer
        dim = config.feature_dim
        self.diff_step_map = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.person_proj = nn.Linear(config.person_dim, dim)
        self.feature_proj = nn.Linear(config.motion_dim + int(config.use_indicator), dim)
        if config.learnable_positions:
            self.PE = nn.Parameter(0.02 * torch.randn(1, 1 + config.n_frames, dim))
        else:
            self.positions = SinusoidalEncoding(dim, config.positional_encoding, config.dropout)
        layer = nn.TransformerDecoderLayer(
            dim, config.n_heads, dim * config.mlp_ratio, config.dropout, activation="gelu", batch_first=True
        )
        self.transformer = nn.TransformerDecoder(layer, config.n_layers)
        self.motion_dec = nn.Sequential(nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, config.motion_dim))
        steps = torch.arange(config.n_diff_steps + 1)
        self.register_buffer("step_table", sinusoidal_rows(steps, dim), persistent=False)
        self.register_buffer("mask", alignment_mask(config.n_frames, config.align_mask_width), persistent=False)

    def set_dropout(self, probability: float) -> None:
        """Set the dropout probability, which may differ from that of the checkpoint."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability
            elif isinstance(module, nn.MultiheadAttention):
                module.dropout = probability

    def compile_layers(self, **options: Any) -> None:
        """Compile one function for all transformer layers, in a fraction of the time of the whole network.

        It has fixed sizes, because training has only a few kinds of batches. With PyTorch's decoder the network is
        compiled whole. Options are as for `torch.compile`.
        """
        if self.fast and self.config.align_mask_width == 1:
            self._run_layer = torch.compile(decoder_layer, dynamic=False, **options)
        else:
            self.compile(**options)

    def forward(self, motion: Tensor, memory: Tensor, person: Tensor, step: Tensor, indicator: Tensor | None) -> Tensor:
        """Predict the clean motion (or the noise) of previous and current frames.

        Args:
            motion: (B, P + L, D), previous motion then the noisy window.
            memory: (B, P + L, F), audio features of the same frames.
            person: (B, person_dim), shape or shape ++ style.
            step: (B,) diffusion steps, 0..T.
            indicator: (B, L), 1 for a real frame, 0 for padding; None without `use_indicator`.

        Returns:
            (B, P + L, D).
        """
        if indicator is not None:
            flag = F.pad(indicator, (self.config.n_prev_motions, 0))
            motion = torch.cat([motion, flag[..., None]], dim=-1)
        person_token = self.person_proj(person) + self.diff_step_map(self.step_table[step])
        tokens = torch.cat([person_token[:, None], self.feature_proj(motion)], dim=1)
        tokens = tokens + self.PE[:, : tokens.shape[1]] if self.config.learnable_positions else self.positions(tokens)
        # Without gradients this stays the plain twin of models.fast.cached_denoiser, which inference uses.
        if self.fast and self.config.align_mask_width == 1 and torch.is_grad_enabled():
            tokens = decode(self.transformer, tokens, memory, self._run_layer)
        else:
            tokens = self.transformer(tokens, memory, memory_mask=self.mask)
        # The losses take differences over time, of which 16 bit rounding would be a large part.
        with torch.autocast(tokens.device.type, enabled=False):
            return self.motion_dec(tokens[:, 1:].to(self.feature_proj.weight.dtype))
