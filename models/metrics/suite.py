"""All metrics of a clip for all methods: the model, the truth, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure, Sampled
from models.metrics.phone_errors import PhoneErrors, phone_errors
from models.metrics.results import Results
from models.metrics.score import ClipTruth
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


@dataclass
class Suite:
    """Scores clips one after the other and collects results."""

    measure: HeadMeasure
    rule: ClosureRule = field(default_factory=ClosureRule)
    judge: StyleJudge | None = None
    whole: bool = True  # include the measures over all vertices
    show: frozenset[str] = frozenset()  # clips whose curves are kept
    results: Results = field(default_factory=Results)
    phones: PhoneErrors = field(default_factory=PhoneErrors)
    examples: list[Example] = field(default_factory=list)
    styles: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # method -> clip -> (S, d)

    def score(self, clip: SpokenClip, methods: Mapping[str, Sampled]) -> None:
        """Score a clip's motions by method; the truth itself is always one of the methods."""
        truth = ClipTruth(clip, self.measure, self.whole)
        for method, motion in {TRUTH: truth.motion, **methods}.items():
            quotients, tracks = truth.score(motion, self.rule)
            self.results.add(method, clip.name, quotients)
            if clip.phones is not None:
                true = truth.tracks.opening_mm[0]
                self.phones.add(method, clip.name, phone_errors(tracks.opening_mm, true, clip.phones, self.rule))
            turns = motion.pose[..., :3].cpu().numpy()
            described = Described.of(clip.speaker, clip.audio, tracks.opening_mm, tracks.lid_aperture, turns)
            self.results.sets.clips.setdefault(method, {})[clip.name] = described
            if method == MODEL and clip.name in self.show:
                kept = Sampled(motion.exp.cpu(), motion.pose.cpu())
                self.examples.append(Example(clip, kept, tracks.opening_mm, truth.tracks.opening_mm[0]))
            if self.judge is not None and method != OTHER_CLIP:  # whose motion is the style's reference
                self._score_style(self.judge, method, clip, motion)

    def _score_style(self, judge: StyleJudge, method: str, clip: SpokenClip, motion: Sampled) -> None:
        # The truth of a speaker's only clip is judged after the 4 s that its reference was taken from.
        own = method == TRUTH and clip.style_motion.source == clip.name
        styles = judge.styles(motion, judge.encoder.config.n_motions if own else 0)
        self.results.add(method, clip.name, judge.score(styles, clip.name, clip.speaker))
        if styles is not None:
            self.styles.setdefault(method, {})[clip.name] = styles
