"""Streaming against whole files: quality, smoothness at the seams, speed and latency for every hop.

    python -m benchmarks.speed.live [--hops 0.2 0.4 0.6 1 2 4] [--look_ahead 0.2] [--short 25] [--heard 50] [--steps 4]
                                    [--samples 1] [--json out.json]

The recordings of demo/input/audio with transcripts, style normal. The rows `file` are whole recordings at once.
Columns: closure recall, correlation and lag as in `benchmarks.speech.speech_scores`; opening at open vowels, mm;
standard deviation of the head's rotation, degrees (mean of the axes); mean speed and acceleration of the motion (RMS
over the normalised coefficients) at the seams of hops or windows over those elsewhere, 1 is a seam that is no seam;
audio per time of computing; seconds from the first sound to the first frames, and from a frame's sound to the frame in
the long run (hop, look ahead and computing).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import column, machine, publish
from benchmarks.speech.real_speech import read_clips, score_motions
from benchmarks.speech.speech_scores import Clip, pool
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.diffusion.solvers import SamplerConfig
from models.generation.live import LIVE_SAMPLER, LIVE_STEPS, LiveConfig, LiveTalker
from models.generation.windows import GenerationConfig
from models.networks.person import Person
from utils.errors import cli
from utils.motion_file import Motion, joined
from utils.reports.wording import counted
from utils.timebase import FPS, SAMPLE_RATE

HOPS = (0.2, 0.4, 0.6, 1.0, 2.0, 4.0)
BLOCK = 1600  # samples given at a time


@dataclass(frozen=True, kw_only=True)
class LiveFlags(ModelFlags):
    """What is compared."""

    hops: Sequence[float] = HOPS
    """Seconds."""
    look_ahead: float = LiveConfig().look_ahead
    """Seconds."""
    short: int | None = None
    """Frames that the network sees of a hop (default: whole windows)."""
    heard: int | None = None
    """Frames that the audio encoder hears at once (default: whole windows)."""
    recordings: str | None = None
    """Only these, comma separated."""

    def check(self) -> None:
        super().check()
        self.ways()

    def ways(self) -> list[LiveConfig]:
        """Raises UserError: a hop that cannot be."""
        return [LiveConfig(hop, look_ahead=self.look_ahead, short=self.short, heard=self.heard) for hop in self.hops]


@dataclass(frozen=True)
class LiveRow:
    """One way of generating; the last two are of streams."""

    way: str = column("")
    recall_1: float = column("recall_1", "{:.0%}")
    correlation: float = column("correlation", "{:.3f}")
    lag: float = column("lag", "{:.2f}")
    vowel_mm: float = column("vowel_mm", "{:.1f}")
    head_degrees: float = column("head_degrees", "{:.2f}")
    seam_speed: float = column("seam_speed", "{:.2f}")
    seam_acceleration: float = column("seam_acceleration", "{:.2f}")
    times_real_time: float = column("times_real_time", "{:.1f}")
    first_s: float = column("first_s", "{:.2f}", default=math.nan)
    delay_s: float = column("delay_s", "{:.2f}", default=math.nan)


@dataclass(frozen=True)
class Take:
    """One generated motion, where its pieces join, and the seconds that each took."""

    motion: Motion
    seams: np.ndarray
    seconds: list[float]


def whole(subject: Subject, audio: np.ndarray, style: np.ndarray | None, config: GenerationConfig, seed: int) -> Take:
    """The file at once."""
    began = time.perf_counter()
    (motion,) = subject.animator(audio, Person(subject.shape, style), config, [seed])
    window = subject.animator.model.config.n_motions
    return Take(motion, np.arange(window, len(motion), window), [time.perf_counter() - began])


def streamed(talker: LiveTalker, audio: np.ndarray) -> Take:
    """The file in blocks."""
    pieces, seconds = [], []
    for block in [*np.split(audio, range(BLOCK, len(audio), BLOCK)), None]:
        began = time.perf_counter()
        made = talker.finish() if block is None else talker.push(block)
        pieces += made
        seconds += [time.perf_counter() - began] if made else []
    return Take(joined(pieces), np.cumsum([len(piece) for piece in pieces])[:-1], seconds)


def seam_ratios(subject: Subject, take: Take) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Speed at seams and elsewhere, acceleration likewise: per frame, RMS over the normalised coefficients."""
    codec = subject.animator.codec
    exp, pose = (torch.from_numpy(x).to(codec.stats.exp_mean) for x in (take.motion.exp, take.motion.pose))
    motion = codec.encode(exp, pose).numpy(force=True)
    speed = np.sqrt(np.square(np.diff(motion, axis=0)).mean(1))  # i: from frame i to i + 1
    acceleration = np.sqrt(np.square(np.diff(motion, 2, axis=0)).mean(1))  # i: around frame i + 1
    at = take.seams[(take.seams >= 2) & (take.seams < len(motion) - 1)]
    both = np.unique(np.concatenate([at - 2, at - 1]))
    return speed[at - 1], np.delete(speed, at - 1), acceleration[both], np.delete(acceleration, both)


def row(way: str, subject: Subject, clips: list[Clip], takes: list[list[Take]]) -> LiveRow:
    """Figures of one way of generating; takes: per sample, per clip."""
    pooled = [
        pool([score_motions(subject, clip, [take.motion])[0] for clip, take in zip(clips, sample)]) for sample in takes
    ]
    every = [take for sample in takes for take in sample]
    parts = [np.concatenate(x) for x in zip(*(seam_ratios(subject, take) for take in every))]
    audio = sum(len(clip.audio) for clip in clips) * len(takes) / SAMPLE_RATE
    return LiveRow(
        way, *(float(np.mean([p[key] for p in pooled])) for key in ("recall_1", "correlation", "lag", "vowel_mm")),
        float(np.mean([np.rad2deg(take.motion.pose[:, :3].std(0)).mean() for take in every])),
        *(float(parts[i].mean() / parts[i + 1].mean()) for i in (0, 2)),
        audio / sum(sum(take.seconds) for take in every),
    )  # fmt: skip


def with_delays(row: LiveRow, live: LiveConfig, takes: list[list[Take]]) -> LiveRow:
    """Until the first frames, and until a frame in the long run."""
    every = [take for sample in takes for take in sample]
    first, later = np.median([take.seconds[0] for take in every]), np.median([s for t in every for s in t.seconds[1:]])
    return replace(row, first_s=float(min(live.first_hop, live.hop) + live.look_ahead + first),
                   delay_s=float(live.hop + live.look_ahead + later))  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(LiveFlags, __doc__, argv)
    flags, subject, config, style = session.flags, session.subject, session.config, session.subject.style("normal")
    clips = read_clips(INPUT / "audio", flags.recordings)
    few = replace(config, sampler=SamplerConfig(LIVE_SAMPLER, flags.sampling.steps or LIVE_STEPS))
    person, rows = Person(subject.shape, style), []
    LiveTalker(subject.animator, person, few).warm_up()
    for settings in dict.fromkeys([config, few]):
        takes = [[whole(subject, c.audio, style, settings, i) for c in clips] for i in range(flags.samples)]
        sampler = settings.sampler
        rows.append(row(f"file, {sampler.steps} {sampler.name} steps", subject, clips, takes))
    for live in tqdm(flags.ways(), unit="hop"):
        takes = [
            [streamed(LiveTalker(subject.animator, person, few, live, seed), clip.audio) for clip in clips]
            for seed in range(flags.samples)
        ]
        way = f"hop {live.hop:g} s, {few.sampler.steps} {few.sampler.name} steps"
        rows.append(with_delays(row(way, subject, clips, takes), live, takes))
    seconds = sum(len(clip.audio) for clip in clips) / SAMPLE_RATE
    title = f"{machine(subject.animator.model.device)}: {counted(len(clips), 'recording')}, {seconds:.0f} s, {FPS} fps"
    publish(title, rows, flags.json, model=subject.name, look_ahead=flags.look_ahead)


if __name__ == "__main__":
    main()
