"""The set of kernels that runs on a device."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # Triton does not come with every PyTorch
    from models.fast.kernels.step import FusedStep
    from models.fast.kernels.token_wise import CrossAttention

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KernelSet:
    """Our CUDA kernels, and whether each accepts given tensors; see the modules of the functions."""

    cross_attention: type[CrossAttention]
    norm_of_sum: Callable[[Tensor, Tensor | None, tuple[Tensor, Tensor, float]], Tensor]
    attention: Callable[[Tensor, int, int], Tensor]
    can_attend: Callable[[Tensor, int], bool]
    partial_products: Callable[[Tensor, Tensor], Tensor]
    can_split: Callable[[Tensor, Tensor], bool]
    float32_product: Callable[[Tensor, Tensor, Tensor | None, Tensor, str], Tensor]
    can_multiply: Callable[[Tensor, Tensor], bool]
    fused_step: type[FusedStep]


def all_kernels() -> KernelSet:
    """All kernels, whether or not they run on this machine. Imports Triton."""
    from models.fast.kernels import products, step, token_wise

    return KernelSet(
        token_wise.CrossAttention,
        token_wise.norm_of_sum,
        products.attention,
        products.can_attend,
        products.partial_products,
        products.can_split,
        products.float32_product,
        products.can_multiply,
        step.FusedStep,
    )


def kernels_for(device: torch.device) -> KernelSet | None:
    """The kernels for this device; None: use PyTorch's."""
    if device.type != "cuda" or torch.version.cuda is None or importlib.util.find_spec("triton") is None:
        return None
    return _probed(device)


@functools.cache
def _probed(device: torch.device) -> KernelSet | None:
    """The kernels if one of them runs: Triton needs a C compiler, and an Ampere GPU or later."""
    try:
        kernels, x = all_kernels(), torch.zeros(1, 1, 16, device=device)
        return None if kernels.norm_of_sum(x, None, (x[0, 0], x[0, 0], 1e-5)).any().item() else kernels
    except Exception as error:  # any error of the compiler or driver
        reason = str(error).strip().splitlines() or [type(error).__name__]
        log.warning("using PyTorch's kernels, which are slower, because Triton fails here: %s", reason[0])
        return None
