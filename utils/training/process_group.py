"""One process or many (`accelerate launch`, torchrun): what they are, and what only the first one does."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch

from utils.devices import PRECISION_SPELLINGS, pick_device
from utils.errors import UserError
from utils.training.elastic import init_method

if TYPE_CHECKING:
    from accelerate import Accelerator

# Settings of `accelerate launch` under which a process would not train the whole network on its own items.
_OTHER_WAYS = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}  # fmt: skip
_ON_CPU = "ACCELERATE_USE_CPU"
# Variables by which accelerate and torch know that a process is one of several.
_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "TORCHELASTIC_USE_AGENT_STORE")
# Of DistributedDataParallel: the sums are the gradients, without a copy; 32 MB are sent at once, enough for the link's
# full speed and little to wait for at the end.
_GRADIENTS = {"static_graph": True, "gradient_as_bucket_view": True, "bucket_cap_mb": 32}
Result = TypeVar("Result")
log = logging.getLogger(__name__)


def start_processes(device: str = "auto", precision: str = "fp32", captured: bool = False) -> Accelerator:
    """The processes of this run, each with its device.

    Args:
        device: 'auto' (GPU if there is one), 'cuda', 'cuda:N' (one process only) or 'cpu'.
        precision: one of PRECISIONS. 'tf32' rounds products to about three digits; 'bf16' and 'fp16' are autocast,
            with weights, optimiser and losses in single precision.
        captured: sums over the processes will be captured in CUDA graphs.

    Raises:
        UserError: the device is absent, or cannot do fp16; a setting of `accelerate launch` that cannot be followed.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    precision = PRECISION_SPELLINGS.get(precision, precision)
    check_launch_settings(device, precision)
    device = "cpu" if device == "auto" and _is_on(_ON_CPU) else device
    chosen = pick_device(device)
    if precision == "fp16" and chosen.type == "cpu":
        raise UserError("--precision fp16: needs a GPU; use bf16 or fp32")
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    AcceleratorState._reset_state(reset_partial_state=True)  # another run in this Python process had its own
    if captured:  # NCCL's watchdog would ask for the state of what is only recorded
        os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "0"  # torchrun sets 1
    # Others wait while one has more to validate, or saves.
    waiting = InitProcessGroupKwargs(init_method=init_method(), timeout=timedelta(hours=2))
    return Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision=precision if precision in ("bf16", "fp16") else "no",
        dynamo_backend="no",
        kwargs_handlers=[waiting, DistributedDataParallelKwargs(**_GRADIENTS)],
    )


def check_launch_settings(device: str, precision: str) -> None:
    """Warn of what `accelerate launch` (or `accelerate config`) says and our flags override.

    Raises:
        UserError: it asks for another way of training, or for something that would change the gradient.
    """
    for name, what in _OTHER_WAYS.items():
        if _is_on(name):
            raise UserError(f"accelerate launch: {what} is not used here; every process trains the whole network. "
                            "Turn it off with `accelerate config`, or start with torchrun")  # fmt: skip
    batches = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if batches != "1":
        raise UserError(f"accelerate launch: gradient accumulation of {batches}; set it back to 1, and give "
                        f"--gradient_accumulation_steps {batches} to this program")  # fmt: skip
    if _is_on(_ON_CPU) and device.startswith("cuda"):
        raise UserError(f"--device {device}: accelerate launch says --cpu; leave one of them out")
    if os.environ.get("RANK", "0") != "0":
        return
    mixed, compiler = (os.environ.get(f"ACCELERATE_{name}", "no") for name in ("MIXED_PRECISION", "DYNAMO_BACKEND"))
    if mixed not in ("no", precision):
        log.warning("accelerate launch: mixed precision %s is not used; --precision %s decides", mixed, precision)
    if compiler.lower() != "no":
        log.warning("accelerate launch: dynamo backend %s is not used; give --compile to this program", compiler)


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on", "y", "t")


def end_processes() -> None:
    """Leave the process group at the end of training."""
    gc.collect()  # NCCL would wait for ever for captured graphs that use it
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def alone(device: str) -> Iterator[str]:
    """Within, this process is the only one of its run, whatever launcher has started it; gives its own device's name.

    Raises:
        UserError: the device is absent.
    """
    device = "cpu" if device == "auto" and _is_on(_ON_CPU) else device
    if pick_device(device).type == "cuda":
        device = f"cuda:{torch.cuda.current_device()}"
    known = {name: os.environ.pop(name) for name in _LAUNCHED if name in os.environ}
    try:
        yield device
    finally:
        os.environ.update(known)


def first_after_all(processes: int) -> bool:
    """Wait until all processes of a launcher have come here; True for the first of them, False for the others.

    False at once where they cannot wait for each other: the launcher gives no address (srun), or started others.
    """
    from torch import distributed

    given = {"MASTER_ADDR", "MASTER_PORT", "RANK"} <= os.environ.keys()  # batch scripts for srun set some of them
    if not given or os.environ.get("WORLD_SIZE") != str(processes):
        return False
    waiting = timedelta(days=30)  # a launcher ends those whose partner failed
    distributed.init_process_group("gloo", init_method=init_method(), timeout=waiting)
    try:
        distributed.barrier()
        return distributed.get_rank() == 0
    finally:
        distributed.destroy_process_group()


def gathered(found: dict[int, Result]) -> dict[int, Result]:
    """What all processes have found, by number and in the order of the numbers; every process gets it."""
    if torch.distributed.is_initialized():
        parts: list = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, found)
        found = {number: value for part in parts for number, value in part.items()}
    return dict(sorted(found.items()))


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
