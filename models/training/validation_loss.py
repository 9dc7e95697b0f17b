"""The loss terms of the denoising network over a whole validation or test split."""

from __future__ import annotations

from itertools import count
from typing import Any

import torch

from models.networks.talker import Talker
from models.training.objective import TalkerObjective
from utils.training.data_order import Share, evaluation_batches, to_device
from utils.training.process_group import gathered
from utils.training.randomness import Randomness

MEASURED = 16  # pairs that are measured at once, whatever --batch_size is: the published batch


@torch.no_grad()
def validation_loss(
    objective: TalkerObjective,
    model: Talker,
    dataset: Any,
    seed: int,
    share: Share = Share(),  # noqa: B008
) -> dict[str, float]:
    """Mean loss terms over a data set's clip pairs (`MotionPairs`), with the same crops, steps and noise at every call.

    Groups of `MEASURED` pairs share their noise and their cuts, so neither --batch_size nor the number of processes
    matters: each process measures its share of the groups, and all add up the same sums in the same order.
    """
    device, sums = next(model.parameters()).device, {}
    for group, batch in zip(count(share.process, share.processes), evaluation_batches(dataset, MEASURED, 0, share)):
        terms = objective(model, to_device(batch, device), Randomness(seed + group, device))
        means = {"total": objective.loss.config.total(terms), **terms}
        sums[group] = {name: len(batch["motion"]) * value.item() for name, value in means.items()}
    found = gathered(sums).values()
    return {name: sum(group[name] for group in found) / len(dataset) for name in next(iter(found))}
