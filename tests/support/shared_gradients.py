"""Under torchrun: two processes start from the first one's weights; a step of two is that of one on all items."""

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import nn

from utils.devices import end_processes, start_processes
from utils.errors import UserError
from utils.training import shared_gradients
from utils.training.shared_gradients import SharedGradients
from utils.training.shared_start import share_start
from utils.training.train_step import Learner, StepConfig, make_update

CONFIG = StepConfig(lr=0.1, grad_clip=0.7, ema_decay=0.5)


def loss_of(net, used):
    return lambda x: (sum(net[i](x) for i in used).square().mean(), {})


def compare(accelerator, bucket_bytes):
    rank, processes = accelerator.process_index, accelerator.num_processes
    torch.manual_seed(0)
    network = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)])
    alone = copy.deepcopy(network)
    items = torch.randn(2 * processes * 4, 3)  # two batches of four items a process

    learner = Learner(network, CONFIG, accelerator)
    learner.shared = SharedGradients(learner.parameters, bucket_bytes)
    learner.set_rates()
    ours = [batch.chunk(processes)[rank] for batch in items.chunk(2)]
    # The first layer has a gradient on every process, the second on one, the third on none: like dropped layers.
    used = (0, 1) if rank == 0 else (0,)
    means = make_update(learner, loss_of(network, used))(ours)

    optimizer = torch.optim.Adam(alone.parameters(), lr=0.1)
    for batch in items.chunk(2):
        for process, part in enumerate(batch.chunk(processes)):
            total = loss_of(alone, (0, 1) if process == 0 else (0,))(part)[0]
            (total / 2 / processes).backward()
    norm = nn.utils.clip_grad_norm_(alone.parameters(), 0.7)
    optimizer.step()
    torch.testing.assert_close(means["grad_norm"], norm)
    for found, expected in zip(network.parameters(), alone.parameters()):
        torch.testing.assert_close(found, expected)


def started(accelerator, seed):
    """A learner whose weights follow from a seed."""
    torch.manual_seed(seed)
    return Learner(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), CONFIG, accelerator)


def compare_start(accelerator):
    rank = accelerator.process_index
    learner, first = started(accelerator, seed=rank), started(accelerator, seed=0)
    share_start(learner)
    for part in ("network", "average"):
        for name, value in getattr(first, part).state_dict().items():
            assert torch.equal(getattr(learner, part).state_dict()[name], value), (part, name)
    for one in (learner, first):
        make_update(one, lambda x, one=one: (one.network(x).sum(), {}))([torch.ones(2, 3)])
    share_start(learner)  # the same optimiser state, made by the same gradients
    learner.optimizer.state[learner.parameters[0]]["exp_avg"] += rank
    refused(learner, "process 1 starts from another network than process 0 (values of optimizer.0.exp_avg, 1 in all)")
    learner.step = rank
    refused(learner, "(sizes of step, 1 in all)")


def refused(learner, message):
    """Every process says why."""
    try:
        share_start(learner)
    except UserError as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"not refused: {message}")


if __name__ == "__main__":
    accelerator = start_processes("cpu")
    compare_start(accelerator)
    for bucket_bytes in (1 << 20, 1):  # all in one, every parameter alone
        for shared_gradients._SMALL in (1 << 16, 4):  # as copies, matrices where they are
            compare(accelerator, bucket_bytes)
    print(f"process {accelerator.process_index} of {accelerator.num_processes}: as one")
    end_processes()
