# pyright: basic, reportOptionalCall=false
# An older Triton lacks two functions, which are compiled only where they exist.
"""How the kernels are launched, one beside the other where that is allowed, and the norm that several of them take."""

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
FEW_ROWS = 1024  # tokens: as long as a kernel does not fill the GPU, the next one may get ready beside it


@functools.cache
def can_overlap(device: torch.device) -> bool:
    """Whether a kernel may get ready beside the one before it: on GPUs from Hopper on (ROCm is called cuda as well)."""
    is_cuda = device.type == "cuda" and torch.version.cuda is not None
    return gdc_wait is not None and is_cuda and torch.cuda.get_device_capability(device) >= (9, 0)


def launch(x: Tensor, warps: int = 4, stages: int = 3, few: bool | None = None) -> dict[str, int | bool]:
    """Launch options for a kernel on tokens like x (B, T, d).

    The next kernel may get ready beside it if its programs are `few` (default: if the tokens are); beside many it
    would take the place of working ones.
    """
    few = x.numel() // x.shape[-1] <= FEW_ROWS if few is None else few
    overlap = few and x.element_size() == 2 and can_overlap(x.device)
    return {"OVERLAP": overlap, "num_warps": warps, "num_stages": stages} | ({"launch_pdl": True} if overlap else {})


@triton.jit
def take_turn(OVERLAP: tl.constexpr):
    """Let the next kernel get ready, and wait for the one before (programmatic dependent launch, Hopper and later).

    Whatever a kernel before this one writes, or reads and this one overwrites, comes after this call.
    """
    if OVERLAP:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def normalised(x, weight, bias, inside, size, eps):
    """LayerNorm of one row x (BLOCK,), of which `size` numbers are inside; the others become `bias` there."""
    mean = tl.sum(x, axis=0) / size
    centred = tl.where(inside, x - mean, 0.0)
    return centred * tl.rsqrt(tl.sum(centred * centred, axis=0) / size + eps) * weight + bias


@triton.jit
def normalised_rows(x, weight, bias, inside, size, eps):
    """The same of rows x (R, BLOCK)."""
    mean = tl.sum(x, axis=1)[:, None] / size
    centred = tl.where(inside[None, :], x - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=1)[:, None] / size + eps)
    return centred * scale * weight[None, :] + bias[None, :]
