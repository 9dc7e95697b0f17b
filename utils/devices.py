"""One process or many (`accelerate launch`, torchrun): device, precision, and what only the first process does."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch

from utils.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

# Of matrix products. tf32: numbers in single precision, products rounded to 10 bits; fp16 has as many, bf16 has 7.
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
PRECISION_SPELLINGS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
Result = TypeVar("Result")


def start_processes(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """The processes of this run, each with its device.

    Args:
        device: 'auto' (GPU if there is one), 'cuda', 'cuda:N' (one process only) or 'cpu'.
        precision: one of PRECISIONS. 'tf32' keeps about three digits of them; 'bf16' and 'fp16' are autocast, with
            weights, optimiser and losses in single precision.

    Raises:
        UserError: the device is absent, or cannot do fp16.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    _begin_on_own_gpu(device)
    precision = PRECISION_SPELLINGS.get(precision, precision)
    chosen = pick_device(device)
    if precision == "fp16" and chosen.type == "cpu":
        raise UserError("--precision fp16: needs a GPU; use bf16 or fp32")
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    AcceleratorState._reset_state(reset_partial_state=True)  # another run in this Python process had its own
    return Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision=precision if precision in ("bf16", "fp16") else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=2))],  # others wait while one validates
    )


def _begin_on_own_gpu(device: str) -> None:
    """Otherwise all of a machine's processes would take memory of its first GPU before each has its own."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device in ("auto", "cuda") and local < torch.cuda.device_count():
        torch.cuda.set_device(local)


def end_processes() -> None:
    """Leave the group of processes, when nothing of the training is needed any more."""
    gc.collect()  # NCCL would wait for ever for captured graphs that use it
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def pick_device(name: str) -> torch.device:
    """'auto' takes the GPU when there is one.

    Raises:
        UserError: the device is unknown or absent.
    """
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


def on_first(accelerator: Accelerator, work: Callable[[], Result]) -> Result:
    """The first process does `work`; all return its result, or raise its UserError."""
    from accelerate.utils import broadcast_object_list

    message: list = [None, None]
    if accelerator.is_main_process:
        try:
            message[0] = work()
        except UserError as error:
            message[1] = str(error)
    if accelerator.num_processes > 1:
        broadcast_object_list(message)
    if message[1] is not None:
        raise UserError(message[1])
    return message[0]
