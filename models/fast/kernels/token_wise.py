# pyright: basic, reportArgumentType=false, reportCallIssue=false
# Triton's types ask for tl.constexpr where a kernel is given plain numbers, and for as many of them as it can count.
"""CUDA kernels for the token-wise work of a decoder layer.

One replaces five to seven kernels between self-attention and feed-forward; another sums and normalises the result of
the feed-forward. On a GPU a sampling step of one window is a chain of small kernels, and most of its time lies between
them. With alignment width 1 this work is independent for each token: frames look up their cross-attention, and the
person token attends to the memory, in other programs of `_cross_kernel` than the frames. Plain twin: `CachedDenoiser`'s
`norm2(cross_attention(norm1(x)))`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.diffusion.window import Branches
from models.fast.kernels.launch import FEW_ROWS, launch, normalised, normalised_rows, take_turn

_ONE_WAVE = 128  # programs that run at once, one per multiprocessor
_MOST_ITEMS = 1 << 15  # more items would overflow a kernel's indices


@triton.jit
def _seen_by(item, which, samples):
    """Index of the person or memory that an item's branch sees, for the same sample; `which`: see `_packed`."""
    return ((which >> (item // samples * 4)) & 15) * samples + item % samples


@triton.jit
def _person(
    x, known, partial, tickets, first_weight, first_bias, query_weight, query_bias, keys, values, out_weight,
    second_weight, second_bias, out, first_eps, second_eps, persons, memories, samples,
    tokens, kv_batch, kv_head, kv_row, frames, size, width,
    HEADS: tl.constexpr, BLOCK: tl.constexpr, FRAMES: tl.constexpr, WIDTH: tl.constexpr,
    EARLY: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Attention head h of the person token of item b, in program (b, h); the last head of an item adds up all heads.

    This chain of short sums mostly waits for memory, so everything is loaded as early as possible (the output matrix
    EARLY if the registers hold it, else as soon as the query's matrix has left them).
    """
    program = tl.program_id(0)
    b, h = program // HEADS, program % HEADS
    person, memory = _seen_by(b, persons, samples), _seen_by(b, memories, samples)
    at, i, t = tl.arange(0, BLOCK), tl.arange(0, WIDTH), tl.arange(0, FRAMES)
    channel, inside, token = h * width + i, at < size, person * tokens * size + at
    if not OVERLAP:
        row = tl.load(x + token, mask=inside, other=0.0).to(tl.float32)
    matrix = (i[:, None] < width) & inside[None, :]
    queries = tl.load(query_weight + channel[:, None] * size + at[None, :], mask=matrix, other=0.0)
    place = memory * kv_batch + h * kv_head + t[:, None] * kv_row + i[None, :]
    there = (t[:, None] < frames) & (i[None, :] < width)
    key = tl.load(keys + place, mask=there, other=0.0)
    value = tl.load(values + place, mask=there, other=0.0)
    back = out_weight + at[:, None] * size + channel[None, :]
    matrix = inside[:, None] & (i[None, :] < width)
    if EARLY:
        outputs = tl.load(back, mask=matrix, other=0.0)
    weight = tl.load(first_weight + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(first_bias + at, mask=inside, other=0.0).to(tl.float32)
    take_turn(OVERLAP)
    if OVERLAP:
        row = tl.load(x + token, mask=inside, other=0.0).to(tl.float32)
    row = normalised(row, weight, bias, inside, size, first_eps)
    query = tl.sum(queries.to(tl.float32) * row[None, :], axis=1)
    query += tl.load(query_bias + channel, mask=i < width, other=0.0).to(tl.float32)
    if not EARLY:
        outputs = tl.load(back, mask=matrix, other=0.0)
    scores = tl.sum(key.to(tl.float32) * query[None, :], axis=1)
    scores = tl.where(t < frames, scores * tl.rsqrt(width.to(tl.float32)), float("-inf"))
    scores = tl.exp(scores - tl.max(scores, axis=0))
    attended = tl.sum(value.to(tl.float32) * scores[:, None], axis=0) / tl.sum(scores, axis=0)
    added = tl.sum(outputs.to(tl.float32) * attended[None, :], axis=1)
    tl.store(partial + program * size + at, added, mask=inside)
    weight = tl.load(second_weight + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(second_bias + at, mask=inside, other=0.0).to(tl.float32)
    row += tl.load(known + memory * tokens * size + at, mask=inside, other=0.0).to(tl.float32)
    tl.debug_barrier()  # this program's numbers must be written before it draws its ticket
    if tl.atomic_add(tickets + b, 1) == HEADS - 1:
        tl.store(tickets + b, 0)
        for head in tl.static_range(HEADS):
            theirs = partial + (b * HEADS + head) * size + at
            row += tl.load(theirs, mask=inside, other=0.0, cache_modifier=".cg")  # bypasses this multiprocessor's cache
        row = normalised(row, weight, bias, inside, size, second_eps)
        tl.store(out + b * tokens * size + at, row.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _frames(
    x, known, first_weight, first_bias, second_weight, second_bias, out, first_eps, second_eps,
    persons, memories, samples, tile, first, tokens, size,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """ROWS frame tokens of tile number `tile`, counted item by item; frames are the tokens from `first` on."""
    tiles = tl.cdiv(tokens - first, ROWS)
    item, token = tile // tiles, first + tile % tiles * ROWS + tl.arange(0, ROWS)
    at = tl.arange(0, BLOCK)
    inside, place = at < size, token[:, None] * size + at[None, :]
    here, whole = (token < tokens)[:, None] & inside[None, :], tokens * size
    weight = tl.load(first_weight + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(first_bias + at, mask=inside, other=0.0).to(tl.float32)
    added = known + _seen_by(item, memories, samples) * whole + place
    added = tl.load(added, mask=here, other=0.0).to(tl.float32)
    take_turn(OVERLAP)
    rows = x + _seen_by(item, persons, samples) * whole + place
    rows = tl.load(rows, mask=here, other=0.0).to(tl.float32)
    rows = normalised_rows(rows, weight, bias, inside, size, first_eps) + added
    weight = tl.load(second_weight + at, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(second_bias + at, mask=inside, other=0.0).to(tl.float32)
    rows = normalised_rows(rows, weight, bias, inside, size, second_eps)
    tl.store(out + item * whole + place, rows.to(out.dtype.element_ty), mask=here)


@triton.jit
def _cross_kernel(
    x, known, partial, tickets, first_weight, first_bias, query_weight, query_bias, keys, values, out_weight,
    second_weight, second_bias, out, first_eps, second_eps, persons, memories, samples,
    items, tokens, kv_batch, kv_head, kv_row, frames, size, width,
    HEADS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, FRAMES: tl.constexpr, WIDTH: tl.constexpr,
    EARLY: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Norm, cross-attention, norm. The first programs are the person tokens' heads; HEADS = 0: no person token."""
    people, first = items * HEADS, 1 if HEADS > 0 else 0
    if tl.program_id(0) >= people:
        _frames(
            x, known, first_weight, first_bias, second_weight, second_bias, out, first_eps, second_eps,
            persons, memories, samples, tl.program_id(0) - people, first, tokens, size, ROWS, BLOCK, OVERLAP,
        )  # fmt: skip
    elif HEADS > 0:
        _person(
            x, known, partial, tickets, first_weight, first_bias, query_weight, query_bias, keys, values, out_weight,
            second_weight, second_bias, out, first_eps, second_eps, persons, memories, samples,
            tokens, kv_batch, kv_head, kv_row, frames, size, width, HEADS, BLOCK, FRAMES, WIDTH, EARLY, OVERLAP,
        )  # fmt: skip


@triton.jit
def _norm_kernel(
    x, partial, weight, bias, out, eps, rows, size,
    SPLITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """LayerNorm of x plus partial sums (SPLITS, rows, size). Program: ROWS tokens."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    at = tl.arange(0, BLOCK)
    inside = at < size
    place, here = row * size + at[None, :], (row < rows) & inside[None, :]
    gain = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + at, mask=inside, other=0.0).to(tl.float32)
    take_turn(OVERLAP)
    value = tl.load(x + place, mask=here, other=0.0).to(tl.float32)
    for split in tl.static_range(SPLITS):
        value += tl.load(partial + split * rows * size + place, mask=here, other=0.0)
    value = normalised_rows(value, gain, shift, inside, size, eps)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=here)


def norm_of_sum(x: Tensor, partial: Tensor | None, norm: tuple[Tensor, Tensor, float]) -> Tensor:
    """LayerNorm of x (B, T, d) plus partial sums (S, B T, d), float32; norm: weight, bias, eps."""
    (batch, tokens, size), (weight, bias, eps) = x.shape, norm
    rows, splits, out = batch * tokens, 0 if partial is None else len(partial), torch.empty_like(x)
    tile, warps = _rows_of_program(rows)
    _norm_kernel[triton.cdiv(rows, tile),](
        x, x if partial is None else partial, weight, bias, out, eps, rows, size,
        splits, tile, triton.next_power_of_2(size), **launch(x, warps),
    )  # fmt: skip
    return out


def _rows_of_program(rows: int) -> tuple[int, int]:
    """Tokens of a norm's program, and its warps: few tokens are spread over the whole GPU."""
    return (1, 1) if rows <= FEW_ROWS else (2, 2)


@dataclass(frozen=True)
class CrossAttention:
    """A layer's cross-attention block. All tensors are contiguous and of the tokens' type."""

    first_norm: tuple[Tensor, Tensor, float]  # weight, bias, eps
    second_norm: tuple[Tensor, Tensor, float]
    query_weight: Tensor  # (d, d)
    query_bias: Tensor  # (d,)
    out_weight: Tensor  # (d, d)
    heads: int
    tickets: Tensor = field(init=False)  # (items or more,) int32, zeros between launches

    def __post_init__(self) -> None:
        tickets = torch.zeros(_MOST_ITEMS, dtype=torch.int32, device=self.query_weight.device)
        object.__setattr__(self, "tickets", tickets)

    def __call__(
        self, x: Tensor, keys: Tensor, values: Tensor, known: Tensor, person: bool, branches: Branches
    ) -> Tensor:
        """norm2(norm1(x) + cross-attention) of R branches with N samples each, (R N, T, d).

        Args:
            x: (persons N, T, d) contiguous sums of tokens and self-attention.
            keys, values: (memories N, heads, M, d / heads), with equal strides.
            known: (memories N, T, d) contiguous; cross-attention of the frames, and its bias for the person.
            person: whether the first token is the person's, which attends to the memory.
            branches: which person and memory each branch sees.
        """
        assert keys.stride() == values.stride() and keys.stride(3) == 1
        (items, tokens, size), (frames, width) = x.shape, keys.shape[2:]
        samples = items // branches.persons
        batch = samples * len(branches.person_of)
        assert batch <= len(self.tickets)
        (w1, b1, eps1), (w2, b2, eps2) = self.first_norm, self.second_norm
        out = x.new_empty(batch, tokens, size)
        heads, tile = self.heads if person else 0, _cross_tile(out, self.heads, person)
        partial = torch.empty(batch, heads, size, dtype=torch.float32, device=x.device) if person else x
        _cross_kernel[batch * (heads + triton.cdiv(tokens - person, tile.rows)),](
            x, known, partial, self.tickets, w1, b1, self.query_weight, self.query_bias, keys, values,
            self.out_weight, w2, b2, out, eps1, eps2, _packed(branches.person_of), _packed(branches.memory_of), samples,
            batch, tokens, *keys.stride()[:3], frames, size, width,
            heads, tile.rows, triton.next_power_of_2(size), triton.next_power_of_2(frames),
            triton.next_power_of_2(width), tile.early, **launch(out, tile.warps),
        )  # fmt: skip
        return out


def _packed(which: tuple[int, ...]) -> int:
    """One number with four bits per branch."""
    return sum(k << 4 * branch for branch, k in enumerate(which))


@dataclass(frozen=True)
class _CrossTile:
    """The tile of a cross-attention block that one program computes."""

    warps: int
    rows: int  # tokens per program for frames
    early: bool = False  # whether the output matrix is loaded first as well


def _cross_tile(x: Tensor, heads: int, person: bool) -> _CrossTile:
    """As many programs as run at once, each with as many registers as possible."""
    rows, few = x.shape[0] * x.shape[1], x.shape[0] * heads <= _ONE_WAVE
    if not person:
        return _CrossTile(1, 1) if rows <= FEW_ROWS else _CrossTile(2, 2)
    if x.element_size() == 4:
        return _CrossTile(16, 8)
    return _CrossTile(8, 4, early=True) if few else _CrossTile(4, 8)
