"""Does the style of a tracked video carry over? Speech in each bundled style, and in the style tracked from its film.

    python -m benchmarks.tracking.tracked_styles

Needs MediaPipe. The bundled motions (150 frames) are filmed on identities that the response was not fitted on, tracked,
and the style taken from the first 4 s. The embedded model then says one sentence (seed 0) in both styles.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.subject import Subject
from benchmarks.tracking.accuracy import HELD_OUT, STYLES
from benchmarks.tracking.own_head import INPUT, Cinema, Scene, bundled
from models.diffusion.guidance import Guidance
from models.diffusion.solvers import SamplerConfig
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import GenerationConfig
from utils.config import UserParser
from utils.errors import cli
from utils.media.audio import load_audio
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint
from utils.trackers.video import VideoOptions, motion_of

CLIP, FRAMES, SIZE = "librivox_austen_0890", 150, 256
CONFIG = GenerationConfig(Guidance(audio_scale=1.15, style_scale=1.5), SamplerConfig("ddim", 15), fresh_noise=True)


def traits(subject: Subject, audio: np.ndarray, style: np.ndarray) -> str:
    """90th percentile of the mouth's opening, largest spread of a head angle, mean smile, frown and lowered brows."""
    (motion,) = subject.motions(audio, style, CONFIG, 1)
    opening = np.percentile(subject.openings([motion])[0], 90)
    head = np.degrees(motion.pose[:, :3].std(axis=0)).max()
    names = subject.flame.head.exp_names
    units = (motion.exp[:, names.index(f"{name}Left")].mean() for name in ("mouthSmile", "mouthFrown", "browDown"))
    return f"{opening:8.1f} {head:8.1f} " + " ".join(f"{value:6.2f}" for value in units)


@cli
def main(argv: list[str] | None = None) -> None:
    UserParser(description=__doc__.splitlines()[0]).parse_args(argv)
    subject, cinema = Subject.load(DEFAULT_EXPERIMENT, None, "cpu"), Cinema()
    extractor = StyleExtractor.load(find_checkpoint("SE", DEFAULT_EXPERIMENT, None), None, torch.device("cpu"))
    audio = load_audio(INPUT / "audio" / f"{CLIP}.flac")
    print(f"{'':30} mouth mm  head deg  smile  frown  brows")
    for k, name in enumerate(STYLES):
        seen = cinema.watch(bundled(name, FRAMES), Scene(HELD_OUT[k % len(HELD_OUT)], "skin", SIZE))
        tracked = motion_of(seen, name, VideoOptions()).motion
        print(f"{name:21} bundled  {traits(subject, audio, subject.style(name))}")
        print(f"{'':21} tracked  {traits(subject, audio, extractor(tracked))}", flush=True)


if __name__ == "__main__":
    main()
