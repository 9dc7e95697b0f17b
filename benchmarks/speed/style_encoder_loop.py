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
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine, synchronize
from benchmarks.speed.random_store import identity_codec, write_random_store
from datasets.batches import ResidentBatches
from datasets.style_pairs import StylePairs
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.training.losses import nt_xent
from utils.config import UserParser
from utils.devices import pick_device, start_processes
from utils.errors import cli
from utils.training.data_order import EndlessBatches, to_device, training_batches
from utils.training.randomness import Randomness
from utils.training.train_step import Learner, StepConfig, step_maker

_TEMPERATURE, _WARM_UP = 0.1, 6
Loop = Callable[[int], list[float]]  # number of steps -> their losses


@dataclass(frozen=True)
class Row:
    """One loop."""

    loop: str
    steps_per_second: float
    speedup: float
    minutes_for_100k: float
    mean_loss: float


def contrast(encoder: StyleEncoder, batch: Tensor) -> Tensor:
    features = encoder(batch.flatten(0, 1)).unflatten(0, (-1, 2))
    return nt_xent(features[:, 0], features[:, 1], _TEMPERATURE)


def plain_loop(dataset: StylePairs, args, device: torch.device) -> Loop:
    """Epochs of a DataLoader around an eager step."""
    torch.manual_seed(0)
    encoder = StyleEncoder(StyleEncoderConfig()).to(device).train()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-4)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from DataLoader(dataset, args.batch_size, shuffle=True, num_workers=args.workers, drop_last=True)

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


def our_loop(
    dataset: StylePairs, args, device: torch.device, preload: bool, graph: bool = False, precision: str = "fp32",
    compiled: bool = False,
) -> Loop:  # fmt: skip
    """The trainer's loop, without its logs."""
    accelerator = start_processes(args.device, precision)
    torch.manual_seed(0)
    encoder = StyleEncoder(StyleEncoderConfig()).to(device).train()
    if compiled:
        encoder.compile()
    random = Randomness(0, device)
    learner = Learner(encoder, StepConfig(), accelerator)
    update = step_maker(graph, accelerator)(learner, lambda batch: (contrast(encoder, batch), {}))
    if preload:
        batches: Iterator[Any] = ResidentBatches(dataset, device)(EndlessBatches(len(dataset), args.batch_size, 0))
    else:
        batches = training_batches(dataset, args.batch_size, 0, args.workers)

    def run(n_steps: int) -> list[float]:
        pending = []
        for _ in range(n_steps):
            random.begin(learner.step)
            pending.append(update([to_device(next(batches), device)])["total"])
            learner.step += 1
        return torch.stack(pending).tolist()

    return run


def measure(name: str, loop: Loop, n_steps: int, device: torch.device, plain: float | None) -> Row:
    loop(_WARM_UP)
    synchronize(device)
    start = time.perf_counter()
    losses = loop(n_steps)
    rate = n_steps / (time.perf_counter() - start)
    return Row(name, rate, rate / (plain or rate), 100_000 / rate / 60, sum(losses) / len(losses))


def table(rows: list[Row]) -> str:
    lines = [("loop", "steps/s", "x plain", "100k steps, min", "mean loss")]
    for r in rows:
        lines.append((r.loop, f"{r.steps_per_second:.1f}", f"{r.speedup:.1f}", f"{r.minutes_for_100k:.1f}",
                      f"{r.mean_loss:.3f}"))  # fmt: skip
    return text_table(lines)


def measure_all(dataset: StylePairs, args, device: torch.device) -> list[Row]:
    rows = [measure("plain", plain_loop(dataset, args, device), args.steps, device, None)]
    loops: dict[str, tuple] = {"endless workers": (False,), "preload": (True,)}
    if device.type == "cuda":
        loops["preload, compiled, graph, bf16"] = (True, True, "bf16", True)
        loops |= {f"preload, graph, {name}": (True, True, name) for name in ("fp32", "tf32", "bf16")}
    for name, options in loops.items():
        loop = our_loop(dataset, args, device, *options)
        rows.append(measure(name, loop, args.steps, device, rows[0].steps_per_second))
    return rows


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--steps", type=int, default=400, help="timed steps of each loop (default: 400)")
    add("--persons", type=int, default=460, help="in the data set (default: 460)")
    add("--batch_size", type=int, default=32, help="(default: 32)")
    add("--workers", type=int, default=4, help="(default: 4)")
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    add("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        store = write_random_store(Path(folder), args.persons, 12)
        rows = measure_all(StylePairs(store, store.clips(), identity_codec()), args, device)
    title = f"{machine(device)}, torch {torch.__version__}: style encoder, batches of {args.batch_size}"
    print(title, table(rows), sep="\n")
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
