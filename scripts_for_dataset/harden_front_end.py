"""Train the Whisper front end to hear through noise: its features of disturbed speech become those of clean speech.

    python -m scripts_for_dataset.harden_front_end data/syn data/people -o robust.safetensors --seconds 500 \\
        --talkers embedded embedded-no_head --closures 3

Self-distillation: the teacher is the bundled encoder, which hears the speech as it is; the student starts as a copy and
hears it in noise, among voices, in rooms or by telephone, or, in one clip of five, as it is. Networks that were trained
on the teacher's features go on working on the student's. Clips whose pauses are loud are left out: a teacher that hears
noise teaches noise. With `--talkers` the error of what their first layer makes of the features counts as much as that
of the features. The file is written anew every `SAVE_SECONDS`, so that little is lost with an interrupted run;
`--start` goes on from such a file.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datasets.clip_store import ClipStore
from models.audio.log_mel import LEVEL_BLOCK
from models.audio.whisper import WHISPER_WEIGHTS, WhisperEncoder
from models.heads.flame import load_flame
from models.training.front_end_lesson import LENGTH, Lesson, Speech, closures, first_layers, training_pair
from models.training.lips import LipOpening
from utils.atomic import atomic_path, check_output
from utils.config import check_least, positional, read_flags, required
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.timebase import SAMPLE_RATE
from utils.training.randomness import Randomness

log = logging.getLogger(__name__)
LOUDEST_PAUSE_DB = -30.0  # level of a clip's quietest blocks of 50 ms, a tenth of them, against its loudest tenth
HELD = 64  # windows of val.txt for the errors that are reported
WARM, GRADIENT_NORM, SAVE_SECONDS = 0.03, 1.0, 100.0  # share of the run in which the learning rate rises


@dataclass(frozen=True, kw_only=True)
class HardenFlags:
    """All flags."""

    data_root: tuple[Path, ...] = positional(metavar="data_root")
    """Data sets with train.txt and val.txt; best of clean speech (--no_augment when they are made)."""
    output: Path = required("-o")
    """safetensors to write."""
    teacher: Path = WHISPER_WEIGHTS
    """Weights whose features of clean speech are learnt."""
    start: Path | None = None
    """Weights to start from; without it the teacher's."""
    talkers: tuple[str, ...] = ()
    """Experiments in experiments/DPT of talkers on this front end."""
    closures: float = 0.0
    """How much more the short closures of the lips count, if the motion is of the open head: noisy features lean to the
    sounds that are more frequent than p, b and m."""
    steps: int = 8000
    """Optimiser steps."""
    seconds: float | None = None
    """Train this long instead of --steps; the learning rate falls accordingly."""
    batch_size: int = 256
    """Windows of 4 s."""
    lr: float = 5e-4
    """Highest learning rate."""
    blend: float = 1.0
    """How far from the teacher's to the trained weights those lie that are written (Wortsman et al. 2022): below 1,
    clean speech of unknown kinds changes less."""
    every: int = 500
    """Steps between reports."""
    seed: int = 0
    """Of crops and noise."""
    device: str = "auto"
    """auto, cuda or cpu; cuda computes products in bf16."""

    def check(self) -> None:
        """Raises UserError for an output of another kind or that cannot be written, or a number out of range."""
        if self.output.suffix != ".safetensors":
            raise UserError(f"--output {self.output}: must end in .safetensors")
        check_output(self.output)
        if not 0 < self.blend <= 1:
            raise UserError(f"--blend {self.blend}: must be above 0 and at most 1")
        check_least(self, closures=0, steps=1, seconds=1, batch_size=2, lr=0, every=1)


def pause_db(audio: np.ndarray) -> float:
    """Level of the quietest tenth of the 50 ms blocks of audio (n,) over that of the loudest tenth."""
    blocks = audio[: len(audio) // LEVEL_BLOCK * LEVEL_BLOCK].astype(np.float32).reshape(-1, LEVEL_BLOCK)
    quiet, loud = np.quantile(blocks.var(axis=1) + 1e-3, (0.1, 0.9))
    return float(10 * np.log10(quiet / loud))


def read_speech(flags: HardenFlags, split: str, device: torch.device) -> Speech:
    """The clean clips of a list.

    Raises:
        UserError: no such list, or too little clean speech.
    """
    found, counts, n, lips = [], [], 0, LipOpening(load_flame())
    for folder in flags.data_root:
        store = ClipStore(folder)
        for clip in tqdm(store.clips(folder / f"{split}.txt"), f"{folder.name} {split}", unit="clip"):
            frames, n = store.read_frames(clip, 0, store.n_frames(clip), "int16"), n + 1
            if len(frames.audio) >= LEVEL_BLOCK and pause_db(frames.audio) <= LOUDEST_PAUSE_DB:
                exp, pose, shape = (torch.from_numpy(frames.coefs[name])[None] for name in ("exp", "pose", "shape"))
                found.append(frames.audio)
                counts.append(1 + flags.closures * closures(lips(exp, pose, shape[:, 0])[0].numpy()))
    length = sum(map(len, found))
    if length < 2 * LENGTH:
        raise UserError(
            f"{flags.data_root[0]}: {split}.txt has less than 10 s of clean speech; give more, with quiet pauses"
        )
    log.info("%s: %d of %d clips are clean, %.2f h", split, len(found), n, length / (3600 * SAMPLE_RATE))
    weights = np.concatenate(counts).astype(np.float16)
    return Speech(torch.from_numpy(np.concatenate(found)).to(device), torch.from_numpy(weights).to(device))


@torch.no_grad()
def save(student: WhisperEncoder, teacher: WhisperEncoder, flags: HardenFlags) -> None:
    """The weights in half precision, `--blend` of the way from the teacher's to the student's."""
    from safetensors.torch import save_file

    before = dict(teacher.named_buffers())
    weights = {name: before[name].lerp(after, flags.blend).half().cpu() for name, after in student.named_buffers()}
    with atomic_path(flags.output) as temporary:
        save_file(weights, temporary, metadata={"source": "openai/whisper tiny.en, hardened", "licence": "MIT"})


def harden(student: WhisperEncoder, lesson: Lesson, speech: Speech, flags: HardenFlags) -> None:
    """Train the student's weights in place, and save them on the way."""
    random, weights = Randomness(flags.seed, speech.audio.device), list(student.buffers())
    optimizer = torch.optim.Adam([w.requires_grad_() for w in weights], flags.lr, fused=speech.audio.is_cuda)
    began = saved = time.monotonic()
    step, done = 0, 0.0
    log.info("before: %s", lesson.report(student))
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = flags.lr * min(1, done / WARM + 0.01) * (1 + math.cos(math.pi * done)) / 2
        random.begin(step)
        loss = lesson.loss(student, training_pair(speech, flags.batch_size, random))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, GRADIENT_NORM)
        optimizer.step()
        step, now = step + 1, time.monotonic()
        done = (now - began) / flags.seconds if flags.seconds else step / flags.steps
        if step in (10, 50) or step % flags.every == 0 or done >= 1:
            seen = f"loss {float(loss.detach()):.4f}; {lesson.report(student)}"
            log.info("step %d, %.0f %%, %.2f steps/s: %s", step, 100 * done, step / (now - began), seen)
        if now - saved > SAVE_SECONDS:
            save(student, lesson.teacher, flags)
            saved = now


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(HardenFlags, argv, (__doc__ or " ").splitlines()[0])
    device = pick_device(flags.device)
    torch.set_float32_matmul_precision("high")
    teacher = WhisperEncoder.load(flags.teacher).to(device)
    student = WhisperEncoder.load(flags.start or flags.teacher).to(device)
    held = read_speech(flags, "val", device)
    starts = torch.linspace(0, held.last, HELD, dtype=torch.float64, device=device).long()
    maps = first_layers(flags.talkers, device)
    lesson = Lesson(teacher, held.cut(starts), Randomness(flags.seed, device), maps)
    harden(student, lesson, read_speech(flags, "train", device), flags)
    save(student, teacher, flags)
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
