"""What float16 and 8 bit integers cost an exported talker: closures, correlation, difference, speed (docs/onnx.md).

    python -m setup.export_onnx -o onnx
    python -m benchmarks.exports.onnx_cost --folder onnx [--samples 4] [--json out.json]

Every recording of transcripts.tsv is animated by PyTorch and by each variant in onnxruntime, with the same noise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import Spread, text_table, write_json
from benchmarks.speech.real_speech import measure_table, read_clips, score_motions
from benchmarks.speech.speech_scores import Clip, ClipScore, summary
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.app.bundled import DEFAULT_STYLE
from setup.onnx_export.player import OnnxTalker
from utils.config import required
from utils.errors import UserError, cli
from utils.motion_file import Motion

COLUMNS = ("recall_1", "chance_1", "vowel_mm", "correlation", "lag")
Animate = Callable[[Clip, int], Motion]  # clip, seed -> motion


@dataclass(frozen=True, kw_only=True)
class CostFlags(ModelFlags):
    """What is compared."""

    folder: Path = required()
    """Folder that `python -m setup.export_onnx` wrote."""
    exp_name: str = "embedded-fast"
    """Experiment in experiments/DPT (or a prefix): the one that was exported."""
    samples: int = 4
    """Samples of each clip."""
    recordings: str | None = None
    """Only these, comma separated."""

    def check(self) -> None:
        super().check()
        if not (self.folder / "talker.json").is_file():
            raise UserError(f"--folder {self.folder}: holds no talker.json; write it with python -m setup.export_onnx")


def noise_of(talker: OnnxTalker, n_samples: int, seed: int) -> np.ndarray:
    """The noise (windows, L, D) that `Sample` draws for a recording."""
    length, width = talker.about["n_motions"], talker.about["motion_dim"]
    generator = torch.Generator().manual_seed(seed)
    windows = max(1, -(-(n_samples // talker.unit) // length))
    return np.stack([torch.randn(length, width, generator=generator).numpy() for _ in range(windows)])


def in_onnx(subject: Subject, talker: OnnxTalker, style: str) -> Animate:
    """The exported talker as a function."""

    def animate(clip: Clip, seed: int) -> Motion:
        motion = talker.motion(clip.audio, style, noise_of(talker, len(clip.audio), seed))
        return subject.animator.decode(torch.from_numpy(motion), subject.shape)

    return animate


def measured(subject: Subject, clips: list[Clip], animate: Animate, samples: int) -> tuple[list[list[Motion]], float]:
    """The motions of every clip, and how many times faster than real time they were made."""
    began = time.perf_counter()
    made = [[animate(clip, seed) for seed in range(samples)] for clip in tqdm(clips, leave=False)]
    seconds = samples * sum(len(clip.audio) for clip in clips) / 16000
    return made, seconds / (time.perf_counter() - began)


def largest_difference(made: list[list[Motion]], wanted: list[list[Motion]]) -> float:
    """Of any coefficient, as a fraction of the largest one."""
    pairs = [(a, b) for mine, theirs in zip(made, wanted) for a, b in zip(mine, theirs)]
    arrays = [(np.hstack([a.exp, a.pose]), np.hstack([b.exp, b.pose])) for a, b in pairs]
    return max(float(np.abs(a - b).max()) for a, b in arrays) / max(float(np.abs(b).max()) for _, b in arrays)


def scored(subject: Subject, clips: list[Clip], made: list[list[Motion]]) -> dict[str, Spread]:
    """Measures of all samples."""
    by_clip: list[list[ClipScore]] = [score_motions(subject, clip, motions) for clip, motions in zip(clips, made)]
    return summary(zip(*by_clip))


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(CostFlags, __doc__ or "", argv)
    flags, subject, style = session.flags, session.subject, Path(DEFAULT_STYLE).stem
    clips = read_clips(INPUT / "audio", flags.recordings)
    about = json.loads((flags.folder / "talker.json").read_text())
    if "window" not in about["graphs"]:
        raise UserError(f"--folder {flags.folder}: holds no distilled talker; export one, such as embedded-fast")
    vector, ways = subject.style(style), {}

    def in_torch(clip: Clip, seed: int) -> Motion:
        return subject.motions(clip.audio, vector, session.config, 1, seed)[0]

    ways["PyTorch"] = in_torch
    for variant in about["graphs"]["window"]["variants"]:
        ways[variant] = in_onnx(subject, OnnxTalker(flags.folder, variant), style)
    rows, speeds, wanted = {}, [("", "times real time", "largest difference")], None
    for name, animate in ways.items():
        made, speed = measured(subject, clips, animate, flags.samples)
        wanted = wanted or made
        rows[name] = scored(subject, clips, made)
        speeds.append((name, f"{speed:.1f}", f"{largest_difference(made, wanted):.1g}"))
    print(measure_table(rows, COLUMNS))
    print(text_table(speeds))
    write_json(flags.json, {name: {key: vars(one) for key, one in row.items()} for name, row in rows.items()})


if __name__ == "__main__":
    main()
