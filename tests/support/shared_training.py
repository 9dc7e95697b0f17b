"""Under torchrun: processes start from the first one's weights; a step of two is that of one on all items."""

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import nn

from benchmarks.speed.workload import Mode, RandomItems, Workload
from utils.errors import UserError
from utils.training.data_order import Share
from utils.training.process_group import end_processes, start_processes
from utils.training.shared_start import check_start
from utils.training.train_step import Learner, StepConfig, make_update

CONFIG = StepConfig(lr=0.1, grad_clip=0.7, ema_decay=0.5)


def loss_of(net, dropped):
    """The first layer counts always, the second unless it is dropped (it is computed then as well), the third never."""
    return lambda x: ((net[0](x) + torch.where(torch.tensor(dropped), 0, net[1](x))).square().mean(), {})


def compare(accelerator, n_batches):
    rank, processes = accelerator.process_index, accelerator.num_processes
    torch.manual_seed(rank)
    network = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)])
    torch.manual_seed(0)
    alone = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)])
    learner = Learner(network, CONFIG, accelerator)
    update = make_update(learner, loss_of(network, dropped=rank == 1))
    optimizer = torch.optim.Adam(alone.parameters(), lr=0.1)
    for _ in range(4):
        items = torch.randn(n_batches * processes * 4, 3)
        learner.set_rates()
        means = update([batch.chunk(processes)[rank] for batch in items.chunk(n_batches)])
        optimizer.zero_grad()
        for batch in items.chunk(n_batches):
            for process, part in enumerate(batch.chunk(processes)):
                (loss_of(alone, process == 1)(part)[0] / n_batches / processes).backward()
        norm = nn.utils.clip_grad_norm_(alone.parameters(), 0.7)
        optimizer.step()
        torch.testing.assert_close(means["grad_norm"], norm)
        for found, expected in zip(network.parameters(), alone.parameters()):
            torch.testing.assert_close(found, expected)


class Summed(Learner):
    """Averages the gradients by hand, after all backward passes of a step."""

    def shared(self, loss):
        return loss

    def apply_gradients(self):
        for parameter in self.parameters:
            assert parameter.grad is not None
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self.accelerator.num_processes
        return super().apply_gradients()


def compare_talker(n_batches):
    """The denoiser and HuBERT, of which most layers are dropped in every pass; no parameter lacks its gradient."""
    config = StepConfig(lr=1e-3, grad_clip=1, ema_decay=0.9)
    workload = Workload("tiny", Mode(), "cpu", config)
    workload.model.audio_encoder.backbone.config.layerdrop = 0.6
    twin = copy.copy(workload)
    twin.model = copy.deepcopy(workload.model)
    twin.learner = Summed(twin.model, config, workload.accelerator)
    twin.update = make_update(twin.learner, twin.loss)
    share = Share(workload.accelerator.process_index, workload.accelerator.num_processes)
    items = RandomItems(16, workload.model.config.n_motions, workload.device)
    batches = [items.batches(1, share=share) for _ in range(2)]
    for _ in range(6):  # whose clips are cut short in three ways
        ours, expected = workload.step(batches[0], n_batches), twin.step(batches[1], n_batches)
        for name, value in expected.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=0, msg=lambda text, name=name: name + text)
    if n_batches == 1:  # then sums are formed in the same order
        for (name, value), other in zip(workload.model.state_dict().items(), twin.model.state_dict().values()):
            assert torch.equal(value, other), name


def started(accelerator, seed):
    """A learner whose weights follow from a seed."""
    torch.manual_seed(seed)
    return Learner(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), CONFIG, accelerator)


def compare_start(accelerator):
    rank = accelerator.process_index
    learner, first = started(accelerator, seed=rank), started(accelerator, seed=0)
    check_start(learner)
    updates = [make_update(one, lambda x, one=one: (one.network(x).sum(), {})) for one in (learner, first)]
    for part in ("network", "average"):
        for name, value in getattr(first, part).state_dict().items():
            assert torch.equal(getattr(learner, part).state_dict()[name], value), (part, name)
    for update in updates:
        update([torch.ones(2, 3)])
    check_start(learner)  # the same optimiser state, made by the same gradients
    learner.optimizer.state[learner.parameters[0]]["exp_avg"] += rank
    refused(learner, "process 1 starts from another network than process 0 (values of optimizer.0.exp_avg, 1 in all)")
    learner.step = rank
    refused(learner, "(sizes of step, 1 in all)")


def refused(learner, message):
    """Every process says why."""
    try:
        check_start(learner)
    except UserError as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"not refused: {message}")


if __name__ == "__main__":
    accelerator = start_processes("cpu")
    compare_start(accelerator)
    for bucket_mb in (1, 4 / 2**20):  # all gradients together, every one alone
        for n_batches in (1, 2, 3):
            accelerator.ddp_handler.bucket_cap_mb = bucket_mb
            compare(accelerator, n_batches)
    for n_batches in (1, 2):
        compare_talker(n_batches)
    print(f"process {accelerator.process_index} of {accelerator.num_processes}: as one")
    end_processes()
