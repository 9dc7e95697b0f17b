"""Fine-tune a model on 60 s of one new person, and measure it on that person's other clips before and after.

    python -m benchmarks.people.fine_tuning --data_root data/synthetic [--exp_name embedded] [--speaker NAME]
                                            [--seconds 60] [--max_iter 600] [--lr 1e-4] [--freeze NAME,...]
                                            [--device cpu] [--json out.json]

The speaker is one of the data set's test split, which no model has seen: the one with the most speech by default. Its
first 60 s become a data set of their own, on which `main_dpt.py --init_from` trains on (the command is printed); what
is left of its clips is generated before and after, in the style of another of its clips. This is the recipe of
docs/training.md as one command.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags
from datasets.clip_store import ClipStore, ClipWriter
from datasets.splits import group_by_person, write_list
from datasets.spoken_clips import long_enough, read_clip
from models.app.bundled import style_encoder_file
from models.diffusion.guidance import Guidance
from models.diffusion.solvers import SamplerConfig
from models.fast.engine import EngineConfig
from models.generation.windows import GenerationConfig
from models.heads.flame import load_flame
from models.metrics.predict import Draw
from models.metrics.validation import Validator
from models.networks.loading import load_style_encoder, load_talker
from models.networks.talker import TalkerConfig
from utils.coefs import MotionCodec
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.reports.wording import counted
from utils.runs.checkpoint import Checkpoint
from utils.runs.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint
from utils.speech import PHONES_FILE, SpokenClip, read_phones
from utils.timebase import FPS

log = logging.getLogger(__name__)
_LEAST = 200  # frames of a training clip: two windows
_DIRECTIONS = {"lve": "lower", "opening_correlation": "higher", "opening_ratio": "1", "closure_recall": "higher"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningFlags(DeviceFlags):
    """Who, from which model, and how."""

    data_root: Path
    """A data set with test.txt; one from make_synthetic_dataset, say."""
    exp_name: str = DEFAULT_EXPERIMENT
    """The model to start from."""
    iter: int | None = None
    """Its iteration; without it the last."""
    speaker: str | None = None
    """Of the test split; without it the one with the most speech."""
    seconds: float = 60
    """To train on."""
    max_iter: int = 600
    """Steps."""
    lr: float = 1e-4
    """Learning rate."""
    batch_size: int = 16
    """Items of a batch."""
    precision: str = "tf32"
    """Of training."""
    freeze: str | None = None
    """Parts that are not trained, by name."""
    use_context_audio_feat: bool = False
    """As the embedded models were trained."""
    num_workers: int = 4
    """Processes that read."""
    samples: int = 4
    """Per clip."""
    sampling_steps: int = 25
    """Of ddim."""
    head: Path | None = None
    """Head model; without it the open head."""
    work: Path = Path("data/fine_tuning")
    """Folder of the person's data set."""


def choose_speaker(store: ClipStore, clips: Sequence[str], name: str | None, seconds: float) -> list[str]:
    """The clips of a speaker that has enough of them.

    Raises:
        UserError: there is none, or not that one.
    """
    groups = group_by_person(long_enough(store, clips, _LEAST))
    length = {person: sum(map(store.n_frames, own)) / FPS for person, own in groups.items()}
    enough = [p for p in groups if length[p] > 1.1 * seconds and len(groups[p]) > 1]
    if name is None and enough:
        name = max(enough, key=length.get)
    if name not in enough:
        raise UserError(f"--speaker {name}: no speaker with more than {1.1 * seconds:.0f} s in two clips or more; "
                        f"with enough: {', '.join(enough[:10]) or 'none'}")  # fmt: skip
    return groups[name]


def split_clips(store: ClipStore, clips: Sequence[str], n_frames: int) -> tuple[dict[str, int], list[str]]:
    """Training clips -> how many of their frames, up to `n_frames` in all; and the clips left for the measurement."""
    training: dict[str, int] = {}
    for clip in clips[:-1]:
        left = n_frames - sum(training.values())
        if left < _LEAST:
            break
        training[clip] = min(left, store.n_frames(clip))
    return training, [clip for clip in clips if clip not in training]


def write_person(folder: Path, store: ClipStore, training: dict[str, int], held_out: list[str]) -> None:
    """A data set of one person. It needs no statistics: those of the model are used."""
    if not (folder / "train.txt").is_file():
        with ClipWriter(folder) as writer:
            for clip, n_frames in training.items() | dict.fromkeys(held_out).items():
                frames = store.read_frames(clip, 0, n_frames or store.n_frames(clip))
                writer.add_clip(clip, frames.audio, frames.coefs)
    write_list(folder / "train.txt", training)
    write_list(folder / "val.txt", held_out)


def network_flags(config: TalkerConfig, style_checkpoint: Path | None) -> list[str]:
    """The flags of main_dpt.py that make the same network."""
    flags = []
    for field in dataclasses.fields(TalkerConfig):
        value = getattr(config, field.name)
        if field.name == "style_enc_ckpt":
            value = None if style_checkpoint is None else str(style_checkpoint)
        elif field.name == "guiding_conditions":
            value = ",".join(config.conditions)
        if isinstance(value, bool):
            flags += [f"--{field.name}"] * value
        elif value is not None and value != field.default:
            flags.append(f"--{field.name}={value}")
    return flags


def fine_tune(
    flags: TuningFlags, base: Path, config: TalkerConfig, style: Path | None, n_clips: int
) -> tuple[str, float]:
    """Run the training script; its command and the seconds it took."""
    repeats = -(-4 * flags.batch_size // n_clips)
    name = f"{flags.exp_name}-tuned"
    command = [sys.executable, "main_dpt.py", f"--exp_name={name}", f"--data_root={flags.work / 'data'}",
               f"--init_from={base}", *network_flags(config, style), f"--batch_size={flags.batch_size}",
               f"--repeat_clips={repeats}", f"--lr={flags.lr}", f"--max_iter={flags.max_iter}", "--scheduler=Warmup",
               f"--warm_iter={max(1, flags.max_iter // 10)}", "--ema_decay=0.99", "--grad_clip=1",
               f"--precision={flags.precision}", f"--save_iter={flags.max_iter}", "--val_iter=0", "--val_clips=0",
               "--keep_last=1", f"--num_workers={flags.num_workers}", f"--device={flags.device}",
               "--fresh"]  # fmt: skip
    command += ["--use_context_audio_feat"] * flags.use_context_audio_feat
    command += [f"--freeze={flags.freeze}"] * (flags.freeze is not None)
    printed = shlex.join(["python", *command[1:]])
    log.info(printed)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"fine-tuning failed (exit code {done.returncode}); see above")
    return printed, time.perf_counter() - start


def score(
    checkpoint: Path, clips: list[SpokenClip], style: Path | None, flags: TuningFlags, device: torch.device
) -> dict:
    """The metrics of a model on clips."""
    model, loaded = load_talker(checkpoint)
    codec = MotionCodec(model.config.layout, loaded.stats).to(device)
    encoder = None if style is None else (load_style_encoder(style)[0].to(device), codec)
    sampler = SamplerConfig("ddim", min(flags.sampling_steps, model.config.n_diff_steps))
    guidance = Guidance(model.config.conditions, model.config.cfg_mode)
    config = GenerationConfig(guidance, sampler, engine=EngineConfig(graph=False))
    draw = Draw(config, n_samples=flags.samples, batch_size=64)
    return Validator(clips, load_flame(flags.head).to(device), codec, encoder, draw)(model.to(device))


def spoken(store: ClipStore, clips: list[str], reference: str, phones: Path) -> list[SpokenClip]:
    known = read_phones(phones) if phones.is_file() else None
    return [read_clip(store, clip, reference, known) for clip in clips]


def style_of(checkpoint: Checkpoint) -> Path | None:
    """The model's style encoder; None: it was trained without one.

    Raises:
        UserError: it is not there; the model has no statistics of its own.
    """
    if checkpoint.stats is None:
        raise UserError("--exp_name: a published checkpoint carries no statistics; fine-tune one trained here")
    path = checkpoint.config.get("style_enc_ckpt")
    return None if path is None else style_encoder_file(path)


@dataclasses.dataclass(frozen=True)
class Change:
    """One metric before and after."""

    metric: str = column("metric")
    better: str = column("better")
    before: float = column("before", "{:.4g}")
    after: float = column("after", "{:.4g}")
    change: float = column("change", "{:+.0%}")


def changes(before: dict[str, float], after: dict[str, float]) -> list[Change]:
    """What fine-tuning did to every metric."""
    rows = [(name, value, after.get(name, math.nan)) for name, value in before.items()]
    return [Change(n, _DIRECTIONS.get(n, ""), old, new, new / old - 1 if old else math.nan) for n, old, new in rows]


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(TuningFlags, __doc__, argv)
    device, store = pick_device(flags.device), ClipStore(flags.data_root)
    base = find_checkpoint("DPT", flags.exp_name, flags.iter)
    model, checkpoint = load_talker(base)
    style = style_of(checkpoint)
    clips = choose_speaker(store, store.clips(flags.data_root / "test.txt"), flags.speaker, flags.seconds)
    training, held_out = split_clips(store, clips, round(flags.seconds * FPS))
    flags = dataclasses.replace(flags, work=flags.work.absolute() / clips[0].replace("/", "_"))
    write_person(flags.work / "data", store, training, held_out)
    measured = spoken(store, held_out, next(iter(training)), flags.data_root / PHONES_FILE)
    before = score(base, measured, style, flags, device)
    command, seconds = fine_tune(flags, base, model.config, style, len(training))
    tuned = find_checkpoint("DPT", f"{flags.exp_name}-tuned", None)
    after = score(tuned, measured, style, flags, device)
    n_frames = [sum(c.n_frames for c in measured), sum(training.values())]
    title = (f"{machine(device)}: {clips[0].rpartition('/')[0]}, {n_frames[1] / FPS:.0f} s in "
             f"{counted(len(training), 'clip')} to train on, {n_frames[0] / FPS:.0f} s in {len(held_out)} to measure, "
             f"{flags.max_iter} steps in {seconds:.0f} s")  # fmt: skip
    publish(title, changes(before, after), flags.json, command=command, before=before, after=after)
    print(f"the model: {tuned}")


if __name__ == "__main__":
    main()
