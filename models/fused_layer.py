"""Two CUDA kernels that take the place of five to seven between a decoder layer's self-attention and feed-forward.

On a GPU a sampling step of one window is a chain of small kernels, and most of its time lies between them. With
alignment width 1 all that happens there is a matter of single tokens: frames look their cross-attention up, and the
person token attends the memory, for which `_person_kernel` needs one program per head. Plain twin:
`CachedDenoiser`'s `norm2(cross_attention(norm1(x)))`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _normalised(x, weight, bias, inside, size, eps):
    """LayerNorm of one row x (BLOCK,), of which `size` numbers are inside; the others become `bias` there."""
    mean = tl.sum(x, axis=0) / size
    centred = tl.where(inside, x - mean, 0.0)
    return centred * tl.rsqrt(tl.sum(centred * centred, axis=0) / size + eps) * weight + bias


@triton.jit
def _person_kernel(
    x, weight, bias, query_weight, query_bias, keys, values, out_weight, out, eps,
    x_batch, kv_batch, kv_head, kv_row, frames, size, width,
    BLOCK: tl.constexpr, FRAMES: tl.constexpr, WIDTH: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """out[b, h] (size,): what head h adds to the person token of item b. Program (b, h).

    A chain of short sums whose time is waiting for memory: all that does not depend on x is asked for first (EARLY;
    the output matrix only where the registers hold it, too).
    """
    b, h = tl.program_id(0), tl.program_id(1)
    at, i, t = tl.arange(0, BLOCK), tl.arange(0, WIDTH), tl.arange(0, FRAMES)
    head, inside = h * width + i, at < size
    matrix = (i[:, None] < width) & inside[None, :]
    queries = tl.load(query_weight + head[:, None] * size + at[None, :], mask=matrix, other=0.0)
    place = b * kv_batch + h * kv_head + t[:, None] * kv_row + i[None, :]
    memory = (t[:, None] < frames) & (i[None, :] < width)
    key = tl.load(keys + place, mask=memory, other=0.0)
    value = tl.load(values + place, mask=memory, other=0.0)
    back = out_weight + at[:, None] * size + head[None, :]
    matrix = inside[:, None] & (i[None, :] < width)
    if EARLY:
        outputs = tl.load(back, mask=matrix, other=0.0)

    row = tl.load(x + b * x_batch + at, mask=inside, other=0.0).to(tl.float32)
    gain = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + at, mask=inside, other=0.0).to(tl.float32)
    row = _normalised(row, gain, shift, inside, size, eps)
    query = tl.sum(queries.to(tl.float32) * row[None, :], axis=1)
    query += tl.load(query_bias + head, mask=i < width, other=0.0).to(tl.float32)
    scores = tl.sum(key.to(tl.float32) * query[None, :], axis=1)
    scores = tl.where(t < frames, scores * tl.rsqrt(width.to(tl.float32)), float("-inf"))
    scores = tl.exp(scores - tl.max(scores, axis=0))
    attended = tl.sum(value.to(tl.float32) * scores[:, None], axis=0) / tl.sum(scores, axis=0)
    if not EARLY:
        outputs = tl.load(back, mask=matrix, other=0.0)
    added = tl.sum(outputs.to(tl.float32) * attended[None, :], axis=1)
    tl.store(out + (b * tl.num_programs(1) + h) * size + at, added, mask=inside)


@triton.jit
def _norms_kernel(
    x, known, partial, first_weight, first_bias, second_weight, second_bias, out, first_eps, second_eps,
    tokens, size, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One token a program: norm, plus its cross-attention, norm. HEADS = 0: there is no person token."""
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < size
    value = tl.load(x + row * size + at, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(first_weight + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(first_bias + at, mask=inside, other=0.0).to(tl.float32)
    value = _normalised(value, weight, bias, inside, size, first_eps)
    value += tl.load(known + row * size + at, mask=inside, other=0.0).to(tl.float32)
    if HEADS > 0:
        person = inside & (row % tokens == 0)
        for h in range(HEADS):
            value += tl.load(partial + ((row // tokens) * HEADS + h) * size + at, mask=person, other=0.0)
    weight = tl.load(second_weight + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(second_bias + at, mask=inside, other=0.0).to(tl.float32)
    value = _normalised(value, weight, bias, inside, size, second_eps)
    tl.store(out + row * size + at, value, mask=inside)


@dataclass(frozen=True)
class CrossAttention:
    """What the kernels need of a layer; all contiguous, of the tokens' type."""

    first_norm: tuple[Tensor, Tensor, float]  # weight, bias, eps
    second_norm: tuple[Tensor, Tensor, float]
    query_weight: Tensor  # (d, d)
    query_bias: Tensor  # (d,)
    out_weight: Tensor  # (d, d)
    heads: int

    def __call__(self, x: Tensor, keys: Tensor, values: Tensor, known: Tensor, person: bool) -> Tensor:
        """norm2(norm1(x) + cross-attention).

        Args:
            x: (B, T, d) contiguous sums of tokens and self-attention.
            keys, values: (B, heads, M, d / heads) of the memory, alike in strides.
            known: (B, T, d) contiguous cross-attention of the frames; for the person its bias.
            person: whether the first token is the person's, which attends the memory.
        """
        batch, tokens, size = x.shape
        block = triton.next_power_of_2(size)
        partial = self._of_person(x, keys, values, block) if person else x
        out = torch.empty_like(x)
        (w1, b1, eps1), (w2, b2, eps2) = self.first_norm, self.second_norm
        _norms_kernel[batch * tokens,](
            x, known, partial, w1, b1, w2, b2, out, eps1, eps2, tokens, size, self.heads if person else 0, block
        )
        return out

    def _of_person(self, x: Tensor, keys: Tensor, values: Tensor, block: int) -> Tensor:
        """(B, heads, d) float32: what each head adds to the person tokens."""
        (batch, _, size), (frames, width) = x.shape, keys.shape[2:]
        assert keys.stride() == values.stride() and keys.stride(3) == 1
        out = torch.empty(batch, self.heads, size, dtype=torch.float32, device=x.device)
        weight, bias, eps = self.first_norm
        _person_kernel[batch, self.heads](
            x, weight, bias, self.query_weight, self.query_bias, keys, values, self.out_weight, out, eps,
            x.stride(0), *keys.stride()[:3], frames, size, width,
            block, triton.next_power_of_2(frames), triton.next_power_of_2(width), x.element_size() == 2, num_warps=16,
        )  # fmt: skip
        return out
