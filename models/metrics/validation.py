"""The main metrics on a handful of clips, cheap enough to run during training."""

from __future__ import annotations

from collections.abc import Sequence

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
from models.metrics.score import ClipTruth
from models.networks.style_encoder import StyleEncoder
from models.networks.talker import Talker
from utils.coefs import MotionCodec
from utils.speech import SpokenClip

_STEPS = 10  # ddim steps, enough to compare checkpoints
SCALARS = (
    "lve", "opening_correlation", "sync_lag", "opening_ratio", "closure_recall", "jitter", "head_std_pitch",
    "head_std_yaw", "head_std_roll",
)  # fmt: skip


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
    def drawn(self, model: Talker) -> list[Sampled]:
        """Generate motions of all clips.

        The model is in eval mode meanwhile. Only the samples' own random generators are used.
        """
        training, options = model.training, model.config
        draw = self.draw
        if draw is None:
            guidance = Guidance(options.conditions, options.cfg_mode)
            sampler = SamplerConfig("ddim", options.distilled_steps or min(_STEPS, options.n_diff_steps))
            engine = EngineConfig(graph=False)  # these weights are used once, so a graph would not pay
            draw = Draw(GenerationConfig(guidance, sampler, engine=engine), n_samples=1, batch_size=64)
        model.eval()
        try:
            seeds = [first_seed(draw.seed, index) for index in range(len(self.clips))]
            return Predictor(model, self.codec, draw)(self.clips, self.styles, seeds)
        finally:
            model.train(training)

    @torch.no_grad()
    def score(self, drawn: Sequence[Sampled]) -> tuple[dict[str, float], list[Tracks]]:
        """Metric -> value pooled over clips and averaged over samples, if it has one; and the clips' tracks."""
        results, tracks = Results(), []
        for clip, truth, motion in zip(self.clips, self.truths, drawn):
            quotients, found = truth.score(motion, ClosureRule())
            results.add("model", clip.name, quotients)
            tracks.append(found)
        pooled = results.pooled("model")
        scalars = {name: pooled[name]["mean"] for name in SCALARS if pooled.get(name, {}).get("mean") is not None}
        return scalars, tracks

    def __call__(self, model: Talker) -> dict[str, float]:
        """The metrics of a model."""
        return self.score(self.drawn(model))[0]
