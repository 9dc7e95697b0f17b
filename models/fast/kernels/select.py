"""Which kernels a device is served by."""

import functools
import importlib.util
import logging
from types import ModuleType

import torch

log = logging.getLogger(__name__)


def kernels_for(device: torch.device) -> ModuleType | None:
    """`models.fast.kernels.products` where our CUDA kernels run; not every PyTorch comes with Triton."""
    if device.type != "cuda" or torch.version.cuda is None or importlib.util.find_spec("triton") is None:
        return None
    if not _kernels_run(device):
        return None
    from models.fast.kernels import products as fused_products

    return fused_products


@functools.cache
def _kernels_run(device: torch.device) -> bool:
    """Whether one of them does: Triton needs a C compiler, and knows GPUs from Ampere on."""
    from models.fast.kernels.token_wise import norm_of_sum

    try:
        x = torch.zeros(1, 1, 16, device=device)
        return not norm_of_sum(x, None, (x[0, 0], x[0, 0], 1e-5)).any().item()
    except Exception as error:  # whatever compiler and driver may say
        reason = str(error).strip().splitlines() or [type(error).__name__]
        log.warning("PyTorch's own kernels are used, which are slower; Triton's fail here: %s", reason[0])
        return False
