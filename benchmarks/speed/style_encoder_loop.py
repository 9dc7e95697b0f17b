"""The style encoder's training loop: it is so small that the loop around it takes the time.

    python -m benchmarks.speed.style_encoder_loop [--steps 400] [--persons 460] [--device cpu] [--json out.json]

Plain: what a straightforward script does. A DataLoader per epoch, whose workers start anew (an epoch is one item per
person: 14 batches of 32 for the 460 persons of TFHP's training set), an eager step, the loss read after every step.
Then the trainer's own loop, with workers that live on, with the data on the device (--preload), and with the step
replayed from a CUDA graph (--cuda_graph) in each --precision. Columns: steps per second, times plain, minutes for
100,000 steps, and the mean loss of the timed steps (random motion: it shows that all of them learn alike, not how
well).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags, seconds
from benchmarks.speed.data import identity_codec, write_random_store
from datasets.batches import ResidentBatches
from datasets.style_pairs import StylePairs
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.training.losses import nt_xent
from utils.devices import pick_device
from utils.errors import cli
from utils.training.data_order import EndlessBatches, to_device, training_batches
from utils.training.process_group import start_processes
from utils.training.randomness import Randomness
from utils.training.train_step import Learner, StepConfig, step_maker

_TEMPERATURE, _WARM_UP = 0.1, 6
Loop = Callable[[int], list[float]]  # number of steps -> their losses


@dataclass(frozen=True, kw_only=True)
class LoopFlags(DeviceFlags):
    """What is measured."""

    steps: int = 400
    """Timed steps of each loop."""
    persons: int = 460
    """In the data set."""
    batch_size: int = 32
    """Pairs of clips."""
    workers: int = 4
    """Processes that read."""


@dataclass(frozen=True)
class LoopRow:
    """One loop."""

    loop: str = column("loop")
    steps_per_second: float = column("steps/s", "{:.1f}")
    speedup: float = column("x plain", "{:.1f}")
    minutes_for_100k: float = column("100k steps, min", "{:.1f}")
    mean_loss: float = column("mean loss", "{:.3f}")


def contrast(encoder: StyleEncoder, batch: Tensor) -> Tensor:
    features = encoder(batch.flatten(0, 1)).unflatten(0, (-1, 2))
    return nt_xent(features[:, 0], features[:, 1], _TEMPERATURE)


def plain_loop(dataset: StylePairs, flags: LoopFlags, device: torch.device) -> Loop:
    """Epochs of a DataLoader around an eager step."""
    torch.manual_seed(0)
    encoder = StyleEncoder(StyleEncoderConfig()).to(device).train()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-4)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from DataLoader(dataset, flags.batch_size, shuffle=True, num_workers=flags.workers, drop_last=True)

    def run(n_steps: int) -> list[float]:
        losses = []
        for _, batch in zip(range(n_steps), batches()):
            loss = contrast(encoder, batch.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return run


@dataclass(frozen=True)
class Form:
    """How our loop works."""

    preload: bool = False
    graph: bool = False
    precision: str = "fp32"
    compiled: bool = False


def our_loop(dataset: StylePairs, flags: LoopFlags, device: torch.device, form: Form) -> Loop:
    """The trainer's loop, without its logs."""
    accelerator = start_processes(flags.device, form.precision)
    torch.manual_seed(0)
    encoder = StyleEncoder(StyleEncoderConfig()).to(device).train()
    if form.compiled:
        encoder.compile()
    random = Randomness(0, device)
    learner = Learner(encoder, StepConfig(), accelerator)
    update = step_maker(form.graph, accelerator)(learner, lambda batch: (contrast(encoder, batch), {}))
    if form.preload:
        batches: Iterator[Any] = ResidentBatches(dataset, device)(EndlessBatches(len(dataset), flags.batch_size, 0))
    else:
        batches = training_batches(dataset, flags.batch_size, 0, flags.workers)

    def run(n_steps: int) -> list[float]:
        pending = []
        for _ in range(n_steps):
            random.begin(learner.step)
            pending.append(update([to_device(next(batches), device)])["total"])
            learner.step += 1
        return torch.stack(pending).tolist()

    return run


def timed(name: str, loop: Loop, n_steps: int, device: torch.device, plain: float | None) -> LoopRow:
    loop(_WARM_UP)
    losses: list[float] = []
    rate = n_steps / seconds(lambda: losses.extend(loop(n_steps)), device, 1)
    return LoopRow(name, rate, rate / (plain or rate), 100_000 / rate / 60, sum(losses) / len(losses))


def compare(dataset: StylePairs, flags: LoopFlags, device: torch.device) -> list[LoopRow]:
    """The plain loop, then every way of ours."""
    rows = [timed("plain", plain_loop(dataset, flags, device), flags.steps, device, None)]
    forms = {"endless workers": Form(), "preload": Form(preload=True)}
    if device.type == "cuda":
        forms["preload, compiled, graph, bf16"] = Form(True, True, "bf16", True)
        forms |= {f"preload, graph, {name}": Form(True, True, name) for name in ("fp32", "tf32", "bf16")}
    for name, form in forms.items():
        loop = our_loop(dataset, flags, device, form)
        rows.append(timed(name, loop, flags.steps, device, rows[0].steps_per_second))
    return rows


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(LoopFlags, __doc__, argv)
    device = pick_device(flags.device)
    with tempfile.TemporaryDirectory() as folder:
        store = write_random_store(Path(folder), flags.persons, 12)
        rows = compare(StylePairs(store, store.clips(), identity_codec()), flags, device)
    publish(f"{machine(device)}: style encoder, batches of {flags.batch_size}", rows, flags.json)


if __name__ == "__main__":
    main()
