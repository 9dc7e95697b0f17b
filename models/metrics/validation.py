"""The main metrics on a handful of clips, cheap enough to run during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion.guidance import Guidance
from models.diffusion.solvers import SamplerConfig
from models.fast.engine import EngineConfig
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame
from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure, Sampled, Tracks
from models.metrics.predict import Draw, Predictor, first_seed, style_vectors
from models.metrics.regions import find_regions
from models.metrics.results import Results
from models.metrics.score import ClipTruth, Quotients
from models.networks.style_encoder import StyleEncoder
from models.networks.talker import Talker
from utils.coefs import MotionCodec
from utils.speech import SpokenClip
from utils.training.data_order import Share

_STEPS = 10  # ddim steps, enough to compare checkpoints
SCALARS = (
    "lve", "opening_correlation", "sync_lag", "opening_ratio", "closure_recall", "jitter", "head_std_pitch",
    "head_std_yaw", "head_std_roll",
)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """What one clip's motions have given."""

    quotients: Quotients
    tracks: Tracks


class Validator:
    """Scores a talker on the same clips again and again; everything that does not depend on it is computed once."""

    def __init__(
        self,
        clips: Sequence[SpokenClip],
        flame: Flame,
        codec: MotionCodec,
        style: tuple[StyleEncoder, MotionCodec] | None,
        draw: Draw | None = None,
    ) -> None:
        """
        Args:
            clips: some validation clips (10 s each of 4 to 8 speakers are enough), see `datasets.spoken_clips`.
            style: the style encoder with its codec; None for a talker without style input.
            draw: samples, guidance and sampler; default: one sample, default scales, ddim with 10 steps.
        """
        self.clips, self.codec = list(clips), codec
        self.draw = draw
        measure = HeadMeasure(flame, find_regions(flame.head))
        self.truths = [ClipTruth(clip, measure, whole=False) for clip in self.clips]
        motions = [clip.style_motion for clip in self.clips]
        self.styles: Sequence[Tensor | None] = (
            [None] * len(motions) if style is None else list(style_vectors(*style, motions))
        )

    @torch.no_grad()
    def drawn(self, model: Talker, share: Share = Share()) -> dict[int, Sampled]:  # noqa: B008
        """Generate motions of this process's share of the clips, by their numbers.

        The model is in eval mode meanwhile. Only the samples' own random generators are used.
        """
        own = range(len(self.clips))[share.process :: share.processes]
        if not own:
            return {}
        training, options = model.training, model.config
        draw = self.draw
        if draw is None:
            guidance = Guidance(options.conditions, options.cfg_mode)
            sampler = SamplerConfig("ddim", options.distilled_steps or min(_STEPS, options.n_diff_steps))
            engine = EngineConfig(graph=False)  # these weights are used once, so a graph would not pay
            draw = Draw(GenerationConfig(guidance, sampler, engine=engine), n_samples=1, batch_size=64)
        model.eval()
        try:
            clips, styles = [self.clips[i] for i in own], [self.styles[i] for i in own]
            seeds = [first_seed(draw.seed, i) for i in own]
            return dict(zip(own, Predictor(model, self.codec, draw)(clips, styles, seeds)))
        finally:
            model.train(training)

    @torch.no_grad()
    def score(self, drawn: Mapping[int, Sampled]) -> dict[int, Scored]:
        """The scores of motions, by the numbers of their clips."""
        return {i: Scored(*self.truths[i].score(motion, ClosureRule())) for i, motion in drawn.items()}

    def pooled(self, scored: Mapping[int, Scored]) -> dict[str, float]:
        """Metric -> value pooled over all clips and averaged over samples, if it has one."""
        results = Results()
        for i, one in scored.items():
            results.add("model", self.clips[i].name, one.quotients)
        pooled = results.pooled("model")
        return {name: pooled[name]["mean"] for name in SCALARS if pooled.get(name, {}).get("mean") is not None}

    def __call__(self, model: Talker) -> dict[str, float]:
        """The metrics of a model."""
        return self.pooled(self.score(self.drawn(model)))
