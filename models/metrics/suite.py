"""All metrics of a clip for all methods: the model, the truth, and the baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure, Sampled
from models.metrics.phone_errors import PhoneErrors, phone_errors
from models.metrics.results import Results
from models.metrics.score import ClipTruth, Quotients
from models.metrics.sets import Described
from models.metrics.style_judge import StyleJudge
from utils.speech import SpokenClip

MODEL, TRUTH, RESAMPLED, OTHER_CLIP, MEAN_POSE = "model", "truth", "resampled", "other clip", "mean pose"
BASELINES = (TRUTH, RESAMPLED, OTHER_CLIP, MEAN_POSE)
LVE_TARGET = 1 / 3  # of the mean pose's LVE, which the shipped model must reach


def lve_ratio(results: Results) -> float | None:
    """The model's LVE relative to the mean pose's; None without that baseline."""
    if MODEL not in results.methods or MEAN_POSE not in results.methods:
        return None
    return results.pooled(MODEL)["lve"]["mean"] / results.pooled(MEAN_POSE)["lve"]["mean"]


@dataclass(frozen=True)
class Example:
    """A clip whose curves and frames the report shows."""

    clip: SpokenClip
    motion: Sampled  # the model's samples, on the CPU
    opening_mm: np.ndarray  # (S, T)
    true_opening_mm: np.ndarray  # (T,)

    @classmethod
    def of(cls, clip: SpokenClip, shown: Mapping[str, np.ndarray]) -> Example:
        """From `ScoredClip.shown`."""
        motion = Sampled(torch.tensor(shown["exp"]), torch.tensor(shown["pose"]))
        return cls(clip, motion, shown["opening_mm"], shown["true_opening_mm"])


@dataclass(frozen=True)
class ScoredClip:
    """What a clip adds to the results, by method."""

    name: str
    quotients: dict[str, Quotients] = field(default_factory=dict)
    described: dict[str, Described] = field(default_factory=dict)
    phones: dict[str, dict[str, Quotients]] = field(default_factory=dict)  # method -> phone
    styles: dict[str, np.ndarray] = field(default_factory=dict)  # (S, d)
    shown: dict[str, np.ndarray] = field(default_factory=dict)  # for the report, if it shows the clip


@dataclass
class Suite:
    """Scores clips, and collects what was found."""

    measure: HeadMeasure
    rule: ClosureRule = field(default_factory=ClosureRule)
    judge: StyleJudge | None = None
    whole: bool = True  # include the measures over all vertices
    show: frozenset[str] = frozenset()  # clips whose curves are kept
    results: Results = field(default_factory=Results)
    phones: PhoneErrors = field(default_factory=PhoneErrors)
    examples: list[Example] = field(default_factory=list)
    styles: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # method -> clip -> (S, d)

    def score(self, clip: SpokenClip, methods: Mapping[str, Sampled]) -> ScoredClip:
        """Score a clip's motions by method; the truth itself is always one of the methods."""
        truth, found = ClipTruth(clip, self.measure, self.whole), ScoredClip(clip.name)
        true = truth.tracks.opening_mm[0]
        for method, motion in {TRUTH: truth.motion, **methods}.items():
            quotients, tracks = truth.score(motion, self.rule)
            if clip.phones is not None:
                found.phones[method] = phone_errors(tracks.opening_mm, true, clip.phones, self.rule)
            exp, pose = motion.exp.cpu().numpy(), motion.pose.cpu().numpy()
            found.described[method] = Described.of(
                clip.speaker, clip.audio, tracks.opening_mm, tracks.lid_aperture, pose[..., :3]
            )
            if method == MODEL and clip.name in self.show:
                found.shown.update(exp=exp, pose=pose, opening_mm=tracks.opening_mm, true_opening_mm=true)
            if self.judge is not None and method != OTHER_CLIP:  # whose motion is the style's reference
                styles = self._styles(self.judge, method, clip, motion)
                quotients |= self.judge.score(styles, clip.name, clip.speaker)
                if styles is not None:
                    found.styles[method] = styles
            found.quotients[method] = quotients
        return found

    def add(self, clips: Iterable[ScoredClip]) -> None:
        """Collect clips; sums are taken, and methods are listed, in their order."""
        for clip in clips:
            for method, quotients in clip.quotients.items():
                self.results.sets.clips.setdefault(method, {})[clip.name] = clip.described[method]
                self.results.add(method, clip.name, quotients)
            for method, phones in clip.phones.items():
                self.phones.add(method, clip.name, phones)
            for method, styles in clip.styles.items():
                self.styles.setdefault(method, {})[clip.name] = styles

    def _styles(self, judge: StyleJudge, method: str, clip: SpokenClip, motion: Sampled) -> np.ndarray | None:
        # The truth of a speaker's only clip is judged after the 4 s that its reference was taken from.
        own = method == TRUTH and clip.style_motion.source == clip.name
        return judge.styles(motion, judge.encoder.config.n_motions if own else 0)
