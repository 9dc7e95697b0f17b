# pyright: basic, reportArgumentType=false, reportCallIssue=false
# Triton's types ask for tl.constexpr where a kernel is given plain numbers, and for as many of them as it can count.
"""CUDA kernels for the products of a decoder layer that are slow in libraries.

One window has 333 tokens. Its attention takes longer to set up than to compute. The feed-forward's second product is
long and narrow, so the norm that follows adds its partial sums instead of a separate kernel. In float32, libraries do
not use the tensor cores, on which three TF32 products of the numbers' upper and lower halves make one float32 product.
Plain twins: the methods of `CachedDenoiser`'s layers, and of `FrozenLinear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.fast.kernels.launch import FEW_ROWS, launch, take_turn


@dataclass(frozen=True)
class Tile:
    """The tile of a product that one program computes."""

    rows: int
    columns: int = 0
    step: int = 64
    splits: int = 1
    warps: int = 4
    stages: int = 4


# Measured on an H100 with few tokens (one window) and with many (eight windows).
ATTENTION, ATTENTION_FLOAT32 = Tile(64, stages=1), Tile(32, stages=1)
DOWN, DOWN_FLOAT32 = Tile(64, 64, splits=2), Tile(64, 64, 32, splits=8, stages=3)
FLOAT32, FLOAT32_WIDE, FLOAT32_MANY = Tile(32, 64, stages=3), Tile(64, 32, stages=2), Tile(64, 64, 32)
_LONGEST = 128  # tokens


@triton.jit
def _attention_kernel(
    qkv, out, tokens, first, size,
    TOKENS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """ROWS queries of head h of item b. Program (query tile, h, b). qkv (B, tokens, 3 size), out (B, queries, size)."""
    h, b = tl.program_id(1), tl.program_id(2)
    t, i = tl.arange(0, TOKENS), tl.arange(0, WIDTH)
    asking = first + tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel, stride = h * WIDTH + i, 3 * size
    take_turn(OVERLAP)
    start = qkv + b * tokens * stride + channel[None, :]
    inside, shown = (t < tokens)[:, None], (asking < tokens)[:, None]
    query = tl.load(start + asking[:, None] * stride, mask=shown, other=0.0)
    key = tl.load(start + size + t[:, None] * stride, mask=inside, other=0.0)
    value = tl.load(start + 2 * size + t[:, None] * stride, mask=inside, other=0.0)
    scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * (WIDTH**-0.5)
    scores = tl.where((t < tokens)[None, :], scores, float("-inf"))
    scores = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    attended = tl.dot(scores.to(value.dtype), value, input_precision=PRECISION) / tl.sum(scores, axis=1)[:, None]
    place = out + (b * (tokens - first) + asking - first)[:, None] * size + channel[None, :]
    tl.store(place, attended.to(out.dtype.element_ty), mask=shown)


@triton.jit
def _partial_product_kernel(
    x, weight, out, rows, size_out,
    SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, SPLITS: tl.constexpr,
    PRECISION: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """out (SPLITS, rows, size_out): x (rows, SIZE) W^T, each over a part of SIZE. Program (column, row, part)."""
    split = tl.program_id(2)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    k = split * (SIZE // SPLITS) + tl.arange(0, STEP)
    inside = row[:, None] < rows
    x_at = x + row[:, None] * SIZE + k[None, :]
    w_at = weight + column[None, :] * SIZE + k[:, None]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    take_turn(OVERLAP)
    for _ in range(0, SIZE // SPLITS, STEP):
        part = tl.load(x_at, mask=inside, other=0.0)
        total = tl.dot(part, tl.load(w_at), total, input_precision=PRECISION)
        x_at += STEP
        w_at += STEP
    tl.store(out + (split * rows + row[:, None]) * size_out + column[None, :], total, mask=inside)


@triton.jit
def _float32_kernel(
    x, weight, bias, out, rows, size_out, x_row, out_row,
    SIZE: tl.constexpr, KIND: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """out (rows, size_out) = x (rows, SIZE) W^T + bias, its GELU, or out + x W^T. Program (column, row)."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.arange(0, STEP)
    inside = row[:, None] < rows
    x_at = x + row[:, None] * x_row + k[None, :]
    w_at = weight + column[None, :] * SIZE + k[:, None]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    take_turn(OVERLAP)
    for _ in range(0, SIZE, STEP):
        part = tl.load(x_at, mask=inside, other=0.0)
        total = tl.dot(part, tl.load(w_at), total, input_precision="tf32x3")
        x_at += STEP
        w_at += STEP
    place = out + row[:, None] * out_row + column[None, :]
    if KIND == "add":
        total += tl.load(place, mask=inside, other=0.0)
    else:
        total += tl.load(bias + column)[None, :]
    if KIND == "gelu":
        total = 0.5 * total * (1 + tl.erf(total * 0.7071067811865476))
    tl.store(place, total, mask=inside)


def _precision() -> str:
    """Precision of products of float32 numbers; it has no effect on other types."""
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def can_multiply(x: Tensor, weight: Tensor) -> bool:
    """Whether `float32_product` accepts x (..., in), weight (out, in), and is faster than libraries."""
    exact = x.dtype == torch.float32 and _precision() == "tf32x3"
    return exact and weight.shape[0] % 64 == weight.shape[1] % 64 == 0


def float32_product(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, kind: str) -> Tensor:
    """x (N, in), weight (out, in) -> out (N, out): 'linear' x W^T + b, its 'gelu', or 'add': out + x W^T."""
    (rows, size_in), size_out = x.shape, len(weight)
    tile = FLOAT32_MANY if rows > FEW_ROWS else FLOAT32_WIDE if size_out > 3 * size_in else FLOAT32
    assert x.stride(1) == out.stride(1) == 1
    _float32_kernel[size_out // tile.columns, triton.cdiv(rows, tile.rows)](
        x, weight, weight if bias is None else bias, out, rows, size_out, x.stride(0), out.stride(0),
        size_in, kind, tile.rows, tile.columns, tile.step, **launch(x, tile.warps, tile.stages),
    )  # fmt: skip
    return out


def can_attend(qkv: Tensor, heads: int) -> bool:
    """Whether `attention` accepts qkv (B, T, 3 d)."""
    return qkv.shape[2] // 3 // heads in (16, 32, 64, 128) and qkv.shape[1] <= _LONGEST


def attention(qkv: Tensor, heads: int, first: int) -> Tensor:
    """Self-attention of the tokens from `first` on: queries, keys, values (B, T, 3 d) -> (B, T - first, d)."""
    batch, tokens, size = qkv.shape
    tile = ATTENTION_FLOAT32 if qkv.dtype == torch.float32 else ATTENTION
    out = qkv.new_empty(batch, tokens - first, size // 3)
    _attention_kernel[triton.cdiv(tokens - first, tile.rows), heads, batch](
        qkv, out, tokens, first, size // 3,
        _LONGEST, size // 3 // heads, tile.rows, _precision(), **launch(qkv, tile.warps, tile.stages),
    )  # fmt: skip
    return out


def can_split(x: Tensor, weight: Tensor) -> bool:
    """Whether `partial_products` accepts x (B, T, in), weight (out, in), and is faster than libraries."""
    fits = weight.shape[0] % 64 == weight.shape[1] % 256 == 0 and weight.shape[1] >= 512
    return fits and x.shape[0] * x.shape[1] <= FEW_ROWS


def partial_products(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, T, in), weight (out, in) -> (S, B T, out) float32, whose sum over S is x W^T."""
    rows, (size_out, size_in) = x.shape[0] * x.shape[1], weight.shape
    tile = DOWN_FLOAT32 if x.dtype == torch.float32 else DOWN
    out = torch.empty(tile.splits, rows, size_out, dtype=torch.float32, device=x.device)
    _partial_product_kernel[size_out // tile.columns, triton.cdiv(rows, tile.rows), tile.splits](
        x, weight, out, rows, size_out, size_in, tile.rows, tile.columns, tile.step, tile.splits, _precision(),
        **launch(x, tile.warps, tile.stages),
    )  # fmt: skip
    return out
