"""A training step of the denoiser on random data, plain or in the faster forms, in one process or several.

The networks are full size (`--size full`: HuBERT base and the default denoiser) or the shipped models' (`embedded`),
with random weights, so that nothing needs to be downloaded; the time of a step does not depend on the weights.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.diffusion.schedule import Schedule
from models.heads.flame import load_flame
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.networks.talker import TalkerConfig, build_talker
from models.training.losses import LossConfig, MotionLoss
from models.training.objective import Ends, ObjectiveConfig, TalkerObjective
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.timebase import samples_per_frame
from utils.training.data_order import EndlessBatches, Share, to_device
from utils.training.process_group import start_processes
from utils.training.randomness import Randomness
from utils.training.train_step import Learner, StepConfig, step_maker

_TINY_AUDIO = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
_TINY = {"feature_dim": 32, "n_heads": 2, "n_layers": 2, "n_diff_steps": 8, "n_motions": 20, "n_prev_motions": 5}
_EMBEDDED = {"feature_dim": 256, "n_layers": 6, "audio_model": "whisper"}
_SIZES = {"full": {}, "embedded": _EMBEDDED, "tiny": _TINY}
SIZES = tuple(_SIZES)


@dataclass(frozen=True)
class Mode:
    """How the step is computed."""

    # models.audio.hubert_fast, models.networks.fast_decoder; False: the transformers library's and PyTorch's own
    fast: bool = True
    vertex_space: bool = True  # vertex losses without vertices
    precision: str = "fp32"
    compile: bool = False
    graph: bool = False


PLAIN = Mode(fast=False, vertex_space=False)
MODES = {
    "plain fp32": PLAIN,
    "plain tf32": Mode(False, False, "tf32"),
    "plain bf16": Mode(False, False, "bf16"),
    "vertex space fp32": Mode(fast=False),
    "fast fp32": Mode(),
    "fast tf32": Mode(precision="tf32"),
    "fast bf16": Mode(precision="bf16"),
    "fast bf16 compiled": Mode(precision="bf16", compile=True),
    "fast bf16 graph": Mode(precision="bf16", graph=True),
    "fast bf16 compiled graph": Mode(precision="bf16", compile=True, graph=True),
}
CPU_MODES = ("plain fp32", "vertex space fp32", "fast fp32", "fast bf16")


class Workload:
    """A network in training, its loss, and random items to train on."""

    def __init__(self, size: str, mode: Mode, device: str, config: StepConfig | None = None, seed: int = 0) -> None:
        self.accelerator = start_processes(device, mode.precision, mode.graph)
        self.device = self.accelerator.device
        torch.manual_seed(seed)
        options = TalkerConfig(style_enc_ckpt="random", use_indicator=True, **_SIZES[size])
        self.model = build_talker(options, _TINY_AUDIO if size == "tiny" else None).to(self.device).train()
        self.model.audio_encoder.fast = mode.fast
        self.model.denoising_net.fast = mode.fast
        style_encoder = StyleEncoder(StyleEncoderConfig()).to(self.device).eval().requires_grad_(False)
        flame = load_flame(None).to(self.device)
        codec = MotionCodec(CoefLayout(), CoefStats.identity()).to(self.device)
        loss = MotionLoss(LossConfig(), "sample", codec, flame, compressed=mode.vertex_space)
        schedule = Schedule.make(options.diff_schedule, options.n_diff_steps).to(self.device)
        self.objective = TalkerObjective(ObjectiveConfig(), schedule, loss, style_encoder)
        self.random = Randomness(seed, self.device, self.accelerator.process_index, self.accelerator.num_processes)
        self.learner = Learner(self.model, config or StepConfig(), self.accelerator)
        if mode.compile:
            self._compile()
        self.update = step_maker(mode.graph, self.accelerator, [self.random.device])(self.learner, self.loss)

    def _compile(self) -> None:
        self.model.denoising_net.compile_layers()
        self.model.audio_encoder.compile_layers()
        self.objective.loss.compile()

    def loss(self, prepared: tuple[dict[str, Tensor], Ends]) -> tuple[Tensor, dict[str, Tensor]]:
        batch, ends = prepared
        terms = self.objective(self.model, batch, self.random, ends)
        return self.objective.loss.config.total(terms), terms

    def prepare(self, batch: dict[str, Tensor], ends: Ends | None = None) -> tuple[dict[str, Tensor], Ends]:
        if ends is None:
            ends = self.objective.draw_ends(len(batch["motion"]), self.model.config.n_motions, self.random)
        return to_device(batch, self.device), to_device(ends, self.device)

    def step(self, batches: Iterator[dict[str, Tensor]], number: int = 1) -> dict[str, Tensor]:
        """One optimiser step, as the trainer does it."""
        self.random.begin(self.learner.step)
        losses = self.update([self.prepare(next(batches)) for _ in range(number)])
        self.learner.step += 1
        return losses

    def warm_up(self, batches: Iterator[dict[str, Tensor]], times: int = 5) -> None:
        """Every kind of step (which clips of the batch are cut short) until it is compiled and captured.

        The kinds take turns, so that several eager steps precede the first capture.
        """
        for cuts in times * list(itertools.product((False, True), repeat=2)):
            batch = next(batches)
            size = len(batch["motion"])
            ends = [torch.randint(1, self.model.config.n_motions, (size,)) if cut else None for cut in cuts]
            self.update([self.prepare(batch, ends)])

    def evaluation(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Loss terms without dropout, for the same random numbers in every mode; with gradients, as in training."""
        self.model.eval()
        random, size = Randomness(1, self.device), len(batch["motion"])
        with self.accelerator.autocast():
            ends = self.objective.draw_ends(size, self.model.config.n_motions, random)
            terms = self.objective(self.model, to_device(batch, self.device), random, ends)
        self.model.train()
        return {name: value.item() for name, value in terms.items()}


def smooth_motion(n: int, frames: int, generator: torch.Generator) -> Tensor:
    """(n, frames, 54) random: white noise would make the velocity terms dwarf all others."""
    noise = torch.randn(n, frames + 9, 54, generator=generator)
    return torch.nn.functional.avg_pool1d(noise.transpose(1, 2), 10, 1).transpose(1, 2)


class RandomItems:
    """A pool of random training items on a device; batches follow the trainer's data order."""

    def __init__(self, n_items: int, n_motions: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(5)
        n = n_motions * samples_per_frame()
        motion = 2 * smooth_motion(n_items, 2 * n_motions, generator)
        shape = torch.randn(n_items, 1, 1, 100, generator=generator).expand(-1, 2, n_motions, -1)
        audio = torch.randn(n_items, 2, n, generator=generator)
        items = {"audio": audio, "motion": motion.unflatten(1, (2, n_motions)), "shape": shape}
        self.n_items, self._items = n_items, {name: value.to(device) for name, value in items.items()}

    def batches(self, batch_size: int, seed: int = 0, share: Share | None = None) -> Iterator[dict[str, Any]]:
        for keys in EndlessBatches(self.n_items, batch_size, seed, 0, share or Share()):
            chosen = torch.tensor([index for _, index in keys], device=self._items["motion"].device)
            yield {name: values[chosen] for name, values in self._items.items()}


def run_together(command: list[str], processes: int, limit: float = float("inf"), **environment: str) -> int:
    """Run a command in that many processes until all have ended (0), one has failed (its exit code), or for `limit` s.

    Raises:
        TimeoutError: they have not ended in time.
    """
    port = free_port()
    surrounded = [surroundings(rank, processes, port) | environment for rank in range(processes)]
    running = [subprocess.Popen(command, env=one) for one in surrounded]
    try:
        return first_failure(running, limit)
    finally:  # those that wait for one that failed, or for a user who has gone
        for process in running:
            process.kill()
            process.wait()


def first_failure(running: list[subprocess.Popen], limit: float = float("inf")) -> int:
    """Wait until all have ended well (0), or one has not: its exit code; TimeoutError after `limit` seconds."""
    start = time.monotonic()
    while True:
        if time.monotonic() - start > limit:
            raise TimeoutError(f"no end within {limit:.0f} s")
        codes = [process.poll() for process in running]
        failed = [code for code in codes if code]
        if failed or None not in codes:
            return failed[0] if failed else 0
        time.sleep(0.1)


def free_port() -> int:
    """A TCP port of this machine that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def surroundings(rank: int, processes: int, port: int) -> dict[str, str]:
    """What torchrun would set, with addresses that need no name server."""
    found = {**os.environ, "OMP_NUM_THREADS": "1"}
    if processes > 1:
        found |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        found |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return found
