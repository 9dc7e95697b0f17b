# pyright: basic, reportArgumentType=false, reportCallIssue=false
# Triton's types ask for tl.constexpr where a kernel is given plain numbers, and for as many of them as it can count.
"""Two CUDA kernels around the network in a sampling step: from x to its tokens, and from its output to the next x.

They replace eighteen small kernels. Plain twins: `CachedDenoiser.tokens`, `Guidance.combine`, `solvers.run_steps`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.fast.kernels.launch import launch, take_turn
from models.fast.window_cache import WindowCache

_FRAMES, _COLUMNS, _UNITS = 16, 64, 128  # size of a program's tile
_PRECISION = "tf32x3"  # single precision on tensor cores


@triton.jit
def _tokens_kernel(
    x, weight, frames, person, table, tickets, line, out,
    before, window, dim, size, stride, samples,
    PERSONS: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr, DIM: tl.constexpr,
    PRECISION: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Tokens (persons N, 1 + before + window, size). Program (column tile, frame tile, sample).

    Each program draws a ticket that tells this step's row of the table, so that no separate kernel has to count.
    """
    n = tl.program_id(2)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    programs = tl.num_programs(0) * tl.num_programs(1) * tl.num_programs(2)
    take_turn(OVERLAP)
    now = tl.atomic_add(tickets, 1) // programs
    frame = tl.program_id(1) * FRAMES + tl.arange(0, FRAMES)
    i = tl.arange(0, DIM)
    total, inside = before + window, column < size
    shown = (frame >= before) & (frame < total)
    noisy = x + (n * window + frame - before)[:, None] * dim + i[None, :]
    noisy = tl.load(noisy, mask=shown[:, None] & (i < dim)[None, :], other=0.0).to(weight.dtype.element_ty)
    matrix = weight + column[None, :] * dim + i[:, None]
    matrix = tl.load(matrix, mask=inside[None, :] & (i < dim)[:, None], other=0.0)
    here = (frame < total)[:, None] & inside[None, :]
    token = tl.load(frames + (n * total + frame)[:, None] * size + column[None, :], mask=here, other=0.0)
    token = tl.dot(noisy, matrix, input_precision=PRECISION) + token.to(tl.float32)
    for who in tl.static_range(PERSONS):
        item = who * samples + n
        place = out + (item * (1 + total) + 1 + frame)[:, None] * size + column[None, :]
        tl.store(place, token.to(out.dtype.element_ty), mask=here)
    if tl.program_id(1) == 0:
        step = tl.load(table + now * stride + 6 + column, mask=inside, other=0.0)
        for who in tl.static_range(PERSONS):
            item = who * samples + n
            first = tl.load(person + item * size + column, mask=inside, other=0.0) + step
            tl.store(out + item * (1 + total) * size + column, first.to(out.dtype.element_ty), mask=inside)
        if (tl.program_id(0) == 0) & (n == 0):
            tl.store(line, now)


@triton.jit
def _update_kernel(
    hidden, weight, bias, scales, table, line, x, earlier, noise, window, dim, stride, samples,
    SIZE: tl.constexpr, BRANCHES: tl.constexpr, FRAMES: tl.constexpr, DIM: tl.constexpr, STEP: tl.constexpr,
    PRECISION: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Set x to the next x and `earlier` to this step's value; see `diffusion.solvers`. Program (frame tile, sample).

    The last matrix is linear and the guidance weights add up to 1, so hidden units are combined before it.
    """
    n = tl.program_id(1)
    frame, i, k = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES), tl.arange(0, DIM), tl.arange(0, STEP)
    shown = (frame < window)[:, None]
    out = tl.zeros((FRAMES, DIM), tl.float32)
    take_turn(OVERLAP)
    for start in range(0, SIZE, STEP):
        unit = start + k
        combined = tl.zeros((FRAMES, STEP), tl.float32)
        for branch in tl.static_range(BRANCHES):
            place = hidden + ((branch * samples + n) * window + frame)[:, None] * SIZE + unit[None, :]
            part = tl.load(place, mask=shown & (unit < SIZE)[None, :], other=0.0).to(tl.float32)
            combined += tl.load(scales + branch) * part
        matrix = weight + i[None, :] * SIZE + unit[:, None]
        matrix = tl.load(matrix, mask=(i < dim)[None, :] & (unit < SIZE)[:, None], other=0.0)
        out = tl.dot(combined, matrix, out, input_precision=PRECISION)
    out += tl.load(bias + i, mask=i < dim, other=0.0)[None, :]
    row = table + tl.load(line) * stride  # from_x, from_out, keep, data, previous, noise
    at = (n * window + frame)[:, None] * dim + i[None, :]
    inside = shown & (i < dim)[None, :]
    now = tl.load(x + at, mask=inside, other=0.0)
    value = tl.load(row) * now + tl.load(row + 1) * out
    now = tl.load(row + 2) * now + tl.load(row + 3) * value
    now += tl.load(row + 4) * tl.load(earlier + at, mask=inside, other=0.0)
    now += tl.load(row + 5) * tl.load(noise + at, mask=inside, other=0.0)
    tl.store(x + at, now, mask=inside)
    tl.store(earlier + at, value, mask=inside)


class FusedStep:
    """One step of a solver except the network's layers; the caller owns the tensors of its state."""

    def __init__(
        self, motion_in: Tensor, motion_out: Tensor, bias: Tensor, weights: list[float], table: Tensor, line: Tensor
    ) -> None:
        """
        Args:
            motion_in: (d, D) the matrix from noisy motion to tokens.
            motion_out: (D, h) the network's last matrix.
            bias: (D,) of the last matrix.
            weights: of the guidance branches' predictions; they add up to 1.
            table: (K, 6 + d) each step's numbers, and the vector that it adds to the person token.
            line: (1,) int64, the step's row, which `tokens` sets for `update`; `start` resets it to the first.

        A window must not take more steps than the table has rows: nothing checks that on the device.
        """
        assert abs(sum(weights) - 1) < 1e-4 * sum(map(abs, weights))
        self.motion_in, self.motion_out, self.bias = motion_in, motion_out, bias
        self.table, self.line, self.branches = table, line, len(weights)
        self.scales = torch.tensor(weights, dtype=torch.float32, device=table.device)
        self.tickets = torch.zeros(1, dtype=torch.int32, device=table.device)

    def start(self) -> None:
        """Reset the row before a window's first step."""
        self.tickets.zero_()

    def tokens(self, x: Tensor, cache: WindowCache) -> Tensor:
        """x (N, L, D) -> tokens (persons N, 1 + P + L, d), with the next row of the table."""
        n, window, dim = x.shape
        total, size = cache.frames.shape[1:]
        out = torch.empty(len(cache.person), 1 + total, size, dtype=cache.frames.dtype, device=x.device)
        _tokens_kernel[triton.cdiv(size, _COLUMNS), triton.cdiv(total, _FRAMES), n](
            x, self.motion_in, cache.frames, cache.person, self.table, self.tickets, self.line, out,
            total - window, window, dim, size, self.table.stride(0), n,
            cache.branches.persons, _FRAMES, _COLUMNS, max(16, triton.next_power_of_2(dim)), _PRECISION,
            **launch(out, few=True),
        )  # fmt: skip
        return out

    def update(self, hidden: Tensor, x: Tensor, before: Tensor, noise: Tensor) -> None:
        """Update x (N, L, D) and `before` in place from the hidden units (B, L, h) before the last matrix."""
        (n, window, dim), size = x.shape, hidden.shape[2]
        _update_kernel[triton.cdiv(window, _FRAMES), n](
            hidden, self.motion_out, self.bias, self.scales, self.table, self.line, x, before, noise,
            window, dim, self.table.stride(0), n,
            size, self.branches, _FRAMES, max(16, triton.next_power_of_2(dim)), _UNITS, _PRECISION,
            **launch(hidden, few=True),
        )  # fmt: skip
