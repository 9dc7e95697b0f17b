"""Where computations run, and how precisely."""

from __future__ import annotations

import os

import numpy as np
import torch

from utils.errors import UserError

# Of matrix products. tf32: numbers in single precision, products rounded to 10 bits; fp16 has as many, bf16 has 7.
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
PRECISION_SPELLINGS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def _begin_on_own_gpu(device: str) -> None:
    """Select this process's GPU early: otherwise all processes of a machine would take memory on its first GPU."""
    local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
    if device in ("auto", "cuda") and local < torch.cuda.device_count():
        torch.cuda.set_device(local)


def pick_device(name: str) -> torch.device:
    """'auto' takes the GPU when there is one; of several, a process that torchrun or srun started takes its own.

    Raises:
        UserError: the device is unknown or absent.
    """
    _begin_on_own_gpu(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: not available here; use cpu, or auto") from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # graphs and our kernels run on the current one
    return device


class OnItsWay:
    """A tensor that is copied to the host while both go on."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._host, self._event = tensor, None
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    @property
    def ready(self) -> bool:
        """Whether it has arrived."""
        return self._event is None or self._event.query()

    def numpy(self) -> np.ndarray:
        """The numbers; waits for them."""
        if self._event is None:
            return self._host.numpy()
        self._event.synchronize()
        return self._host.numpy().copy()  # pinned memory is for the next one
