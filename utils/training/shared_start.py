"""All processes of a run begin with the same network and the same state of its training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from utils.errors import UserError
from utils.training.train_step import Learner


def check_start(learner: Learner) -> None:
    """Compare all that training starts from; the first process's weights reach the others later (`Learner.shared`).

    Raises:
        UserError: processes loaded different networks, steps or optimiser states; all of them raise it.
    """
    if learner.accelerator.num_processes == 1:
        return
    weights = dict(learner.network.state_dict())
    if learner.average is not None:
        weights |= {f"average.{name}": value for name, value in learner.average.state_dict().items()}
    optimizer = _optimizer_state(learner)
    _agree("sizes", _differing_sizes(learner.step, {**weights, **optimizer}))
    _agree("values", [name for name, value in optimizer.items() if not torch.equal(_of_first(value), value)])


def _optimizer_state(learner: Learner) -> dict[str, Tensor]:
    """Its tensors by name; none before the first step."""
    states = [learner.optimizer.state.get(parameter, {}) for parameter in learner.parameters]
    return {
        f"optimizer.{i}.{name}": value
        for i, state in enumerate(states)
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def _differing_sizes(step: int, tensors: Mapping[str, Tensor]) -> list[str]:
    """What is not as in the first process: the step, and tensors by their shapes (which decide what can be sent)."""
    ours = {"step": (step,), **{name: tuple(value.shape) for name, value in tensors.items()}}
    first: list = [ours]
    torch.distributed.broadcast_object_list(first, src=0)
    return [name for name in ours | first[0] if ours.get(name) != first[0].get(name)]


def _of_first(value: Tensor) -> Tensor:
    """The first process's value."""
    received = value.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.broadcast(received, src=0)
    return received


def _agree(what: str, differing: list[str]) -> None:
    """UserError in every process if some process found a difference."""
    found: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, differing)
    for process, names in enumerate(found):
        if names:
            raise UserError(
                f"process {process} starts from another network than process 0 ({what} of {names[0]}, {len(names)} in "
                "all); give every machine the same flags and the same checkpoint"
            )
