"""Sinusoidal positional tables, and the two ways of adding them to a sequence."""

import math

import torch
from torch import Tensor, nn

# How a sinusoidal table is added to a sequence of L tokens:
#   per_frame            row i is added to token i (what the paper describes; new models),
#   sequence_length_row  row L is added to every token (what the published weights were trained with, so that
#                        the network cannot see the order of tokens).
POSITIONAL_ENCODINGS = ("per_frame", "sequence_length_row")


def sinusoidal_rows(positions: Tensor, dim: int) -> Tensor:
    """pe[p, 2i] = sin(p 10000^(-2i/d)), pe[p, 2i+1] = cos(same). positions (N,) -> (N, dim)."""
    frequency = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    angle = positions.to(torch.float32)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :dim]


class SinusoidalEncoding(nn.Module):
    """Add sinusoidal positions to (B, L, D), then dropout."""

    MAX_LENGTH = 599  # the published table has 600 rows and row L must exist

    table: Tensor  # (MAX_LENGTH + 1, dim)

    def __init__(self, dim: int, mode: str, dropout: float = 0.1) -> None:
        super().__init__()
        if mode not in POSITIONAL_ENCODINGS:
            raise ValueError(f"positional encoding {mode!r} is unknown; use one of {', '.join(POSITIONAL_ENCODINGS)}")
        self.mode = mode
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("table", sinusoidal_rows(torch.arange(self.MAX_LENGTH + 1), dim), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        if length > self.MAX_LENGTH:
            raise ValueError(f"sequence of {length} tokens is too long; at most {self.MAX_LENGTH} are supported")
        rows = self.table[:length] if self.mode == "per_frame" else self.table[length]
        return self.dropout(x + rows)
