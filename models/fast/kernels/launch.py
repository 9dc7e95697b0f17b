# pyright: basic, reportOptionalCall=false
# An older Triton lacks two functions, which are compiled only where they exist.
"""Launch options of the kernels, overlapping where the GPU allows it, and the norm that several kernels use."""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

try:
    from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait
except ImportError:  # an older Triton
    gdc_launch_dependents = gdc_wait = None
FEW_ROWS = 1024  # tokens; up to here a kernel does not fill the GPU, so the next one may prepare beside it


@functools.cache
def can_overlap(device: torch.device) -> bool:
    """Whether a kernel may prepare while the one before runs: on NVIDIA GPUs from Hopper on (ROCm is also "cuda")."""
    is_cuda = device.type == "cuda" and torch.version.cuda is not None
    return gdc_wait is not None and is_cuda and torch.cuda.get_device_capability(device) >= (9, 0)


def launch(x: Tensor, warps: int = 4, stages: int = 3, few: bool | None = None) -> dict[str, int | bool]:
    """Launch options for a kernel on tokens like x (B, T, d).

    The next kernel may prepare beside it if its programs are `few` (default: if the tokens are); beside many programs
    it would take the place of working ones.
    """
    few = x.numel() // x.shape[-1] <= FEW_ROWS if few is None else few
    overlap = few and x.element_size() == 2 and can_overlap(x.device)
    return {"OVERLAP": overlap, "num_warps": warps, "num_stages": stages} | ({"launch_pdl": True} if overlap else {})


@triton.jit
def take_turn(OVERLAP: tl.constexpr):
    """Let the next kernel prepare, and wait for the one before (programmatic dependent launch, Hopper and later).

    A kernel must call this before it reads what earlier kernels write, or overwrites what they read.
    """
    if OVERLAP:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def normalised(x, weight, bias, inside, size, eps):
    """LayerNorm of one row x (BLOCK,) with `size` numbers inside; the others become their `bias`."""
    mean = tl.sum(x, axis=0) / size
    centred = tl.where(inside, x - mean, 0.0)
    return centred * tl.rsqrt(tl.sum(centred * centred, axis=0) / size + eps) * weight + bias


@triton.jit
def normalised_rows(x, weight, bias, inside, size, eps):
    """The same for rows x (R, BLOCK)."""
    mean = tl.sum(x, axis=1)[:, None] / size
    centred = tl.where(inside[None, :], x - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=1)[:, None] / size + eps)
    return centred * scale * weight[None, :] + bias[None, :]
