"""The rules of `visemes` as a differentiable function of their own parameters, fitted to mouths of real people.

`Rule.channels` is the twin of `visemes.mouth_curves` in torch, for many clips at once. Openings, widths and protrusions
of the lips and the jaw's angle are compared as functions of time. People differ in the size of their movements, so
correlations count, and mean and deviation of the opening besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from scripts_for_dataset.synthetic import visemes
from scripts_for_dataset.synthetic.levers import Levers
from scripts_for_dataset.synthetic.pauses import DEEP
from scripts_for_dataset.synthetic.style import SpeakerStyle
from scripts_for_dataset.synthetic.visemes import CHANNEL, CHANNELS, GROUPS, VISEMES, Segments, Table
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.timebase import FPS

_STYLE = SpeakerStyle()
_OVERSAMPLING = visemes.OVERSAMPLING


@dataclass(frozen=True)
class Spoken:
    """Phones of one clip as the rules see them, and what does not depend on their parameters."""

    segments: Segments
    pauses: np.ndarray  # (K, 2) start and end of the silences before the phrases
    seen: np.ndarray  # (F, 4): opening, width, protrusion in mm, jaw in radians
    talker: int


@dataclass(frozen=True)
class Batch:
    """N clips of F frames, S segments each (padded with segments of no weight)."""

    viseme: Tensor  # (N, S)
    start: Tensor
    end: Tensor
    jaw: Tensor
    there: Tensor  # (N, S) 1 or 0
    close: Tensor  # (N, T) at the fine rate
    tuck: Tensor
    pauses: Tensor  # (N, K, 2), padded with pauses of no length
    seen: Tensor  # (N, F, 4)
    talker: Tensor  # (N,)


def batch_of(clips: Sequence[Spoken]) -> Batch:
    """The clips as one batch, all cut to the shortest of them."""
    size = max(len(clip.segments.viseme) for clip in clips)
    n_frames, most = min(len(clip.seen) for clip in clips), max(len(clip.pauses) for clip in clips)

    def padded(values: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack([np.pad(v, (0, size - len(v))) for v in values]))

    def level(name: str) -> Tensor:
        time = (np.arange(n_frames * _OVERSAMPLING) + 0.5) / (FPS * _OVERSAMPLING)
        ramp = visemes.ramp_of(_STYLE)
        spans = [(c.segments.start[c.segments.of(name)], c.segments.end[c.segments.of(name)]) for c in clips]
        return torch.from_numpy(np.stack([visemes.plateaus(time, *span, ramp) for span in spans]))

    return Batch(
        viseme=padded([c.segments.viseme for c in clips]),
        start=padded([c.segments.start - visemes.VISUAL_LEAD for c in clips]),
        end=padded([c.segments.end - visemes.VISUAL_LEAD for c in clips]),
        jaw=padded([c.segments.jaw for c in clips]),
        there=padded([np.ones(len(c.segments.viseme), np.float32) for c in clips]),
        close=level("PP"),
        tuck=level("FF"),
        pauses=torch.from_numpy(
            np.stack([np.pad(c.pauses, {0: (0, most - len(c.pauses))}) for c in clips]).astype(np.float32)
        ),
        seen=torch.from_numpy(np.stack([c.seen[:n_frames] for c in clips]).astype(np.float32)),
        talker=torch.tensor([c.talker for c in clips]),
    )


class Rule(torch.nn.Module):
    """Targets (V, C) and dominances (G, V, 3) as parameters, kept positive."""

    def __init__(self, table: Table, factor: float, n_talkers: int) -> None:
        super().__init__()
        self.start_targets = torch.from_numpy(table.targets)
        self.start_dominance = torch.from_numpy(np.stack([table.dominance[group] for group in GROUPS]))
        self.start_breath = torch.tensor(astuple(table.breath))
        self.log_breath = torch.nn.Parameter(torch.zeros(7))
        self.depth = torch.nn.Parameter(torch.ones(n_talkers))
        self.change = torch.nn.Parameter(torch.zeros_like(self.start_targets))
        self.log_gain = torch.nn.Parameter(torch.zeros_like(self.start_dominance))
        self.factor = factor

    def targets(self) -> Tensor:
        return (self.start_targets + self.change).clamp(min=0)

    def dominance(self) -> Tensor:
        return self.start_dominance * self.log_gain.exp()

    def forward(self, batch: Batch, levers: Levers) -> Tensor:
        """(N, F, 4): opening, width, protrusion in mm, jaw in radians."""
        channels, closure = self.channels(batch)
        breath = self.breaths(batch) * self.depth[batch.talker, None]
        size = self.breath()
        lift = torch.zeros(len(CHANNELS), 2)
        lift[CHANNEL["mouthLowerDown"], 0], lift[CHANNEL["mouthUpperUp"], 1] = 1, 1
        channels = channels + (breath * (1 - closure))[..., None] * (lift @ size[1:3])
        jaw = channels[..., 0] + size[0] * breath
        tracks = levers(channels, jaw * JAW_OPEN_RADIANS, self.factor * closure * jaw)
        return torch.cat([tracks, jaw[..., None] * JAW_OPEN_RADIANS], -1)

    def breath(self) -> Tensor:
        """(7,) as `Breath`."""
        return self.start_breath * self.log_breath.exp()

    def breaths(self, batch: Batch) -> Tensor:
        """(N, F), the twin of `pauses.breaths`."""
        _, _, _, rise, peak, close, fall = self.breath()
        time = (torch.arange(batch.seen.shape[1]) + 0.5) / FPS
        end, start = batch.pauses[:, :, None].unbind(-1)
        length = start - end
        depth = (length / DEEP).clamp(0.35, 1) * (length > 0)
        open_time = torch.minimum(rise, 0.5 * length).clamp(min=1e-3)
        peak = torch.minimum(peak, 0.5 * length)
        opening = _min_jerk(time, start - peak - open_time, open_time)
        inhale = opening - _min_jerk(time, start - torch.minimum(close, peak), fall)
        return (depth * inhale).amax(1).clamp(min=0)

    def channels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The twin of `mouth_curves` for the style normal: channels (N, F, C), closure (N, F)."""
        fine = self._soften(self._coarticulate(batch))
        close, tuck = batch.close, batch.tuck
        scale = torch.ones_like(fine)
        for name, share in visemes.PARTING:
            scale[..., CHANNEL[name]] = 1 - share * close
        floor = torch.zeros_like(fine)
        floor[..., CHANNEL["mouthPress"]] = visemes.PRESS * close
        floor[..., CHANNEL["mouthRollLower"]] = visemes.TUCK_ROLL * tuck
        fine = torch.maximum(fine * scale, floor)
        n, frames = len(fine), fine.shape[1] // _OVERSAMPLING
        fine, shut = fine.view(n, frames, _OVERSAMPLING, -1), close.view(n, frames, -1)
        full, instant = shut.amax(-1) > 0.998, shut.argmax(-1)
        held = fine.gather(2, instant[..., None, None].expand(-1, -1, 1, fine.shape[-1]))[:, :, 0]
        mean = fine.mean(2)
        lips = torch.cat([mean[..., :2], torch.where(full[..., None], held, mean)[..., 2:]], -1)
        closure = torch.where(full, torch.ones_like(shut[..., 0]), shut.mean(-1))
        tucked = visemes.TUCK_CLOSURE * tuck.view(n, frames, -1).mean(-1)
        return lips.clamp(0, 1), torch.maximum(closure, tucked)

    def _coarticulate(self, batch: Batch) -> Tensor:
        targets = self.targets()[batch.viseme]
        length = batch.end - batch.start
        silent = batch.viseme == VISEMES.index("sil")
        brief = (1 - (length - 0.15) / 0.35).clamp(0, 1)
        jaw = torch.where(silent, _STYLE.rest_open + visemes.BRIEF_OPEN * brief, targets[..., 0] * batch.jaw)
        targets = torch.cat([jaw[..., None], targets[..., 1:]], -1)
        time = (torch.arange(batch.close.shape[1]) + 0.5) / (FPS * _OVERSAMPLING)
        middle = (batch.start + batch.end) / 2
        half = torch.maximum(length / 4, length / 2 - 0.12).clamp(min=0.005)
        offset = time[None, :, None] - middle[:, None]
        away = (offset.abs() - half[:, None]).clamp(min=0)
        worth = batch.there * (0.35 + length / 0.08).clamp(max=1)
        parts = []
        for table, columns in zip(self.dominance(), GROUPS.values()):
            strength, lead, lag = table[batch.viseme].unbind(-1)
            distance = away / torch.where(offset < 0, lead[:, None], lag[:, None])
            weight = (strength * worth)[:, None] * torch.exp(-2.3 * distance * (distance + 1e-9).sqrt())
            parts.append(weight @ targets[..., columns] / (weight.sum(-1, keepdim=True) + 0.02))
        return torch.cat(parts, -1)

    def _soften(self, curves: Tensor) -> Tensor:
        sigma = visemes.LOW_PASS * _STYLE.mouth_smoothness * FPS * _OVERSAMPLING
        radius = int(np.ceil(2.5 * sigma))
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
        flat = torch.nn.functional.pad(curves.transpose(1, 2), (radius, radius), mode="replicate").flatten(0, 1)
        smooth = torch.nn.functional.conv1d(flat[:, None], (kernel / kernel.sum())[None, None])
        return smooth.view(len(curves), curves.shape[-1], -1).transpose(1, 2)


def _min_jerk(time: Tensor, start: Tensor, duration: Tensor) -> Tensor:
    """(..., F), as `head_motion.min_jerk`."""
    x = ((time - start) / duration).clamp(0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


@dataclass(frozen=True)
class FitConfig:
    """Weights of the fit; found on the talkers that are fitted."""

    steps: int = 130
    rate: float = 0.02
    width: float = 0.2
    protrusion: float = 0.1
    jaw: float = 0.3
    size: float = 0.4  # of mean and deviation
    press: float = 0.03  # of shut lips at SHUT mm
    near_targets: float = 0.15  # how much the targets stay where they were
    near_times: float = 0.2


SHUT = -0.8  # mm of the ruler that lips are pressed to; leaves a network some room


def speech_mask(batch: Batch) -> Tensor:
    """(N, F) 1 during speech, and one frame before and after it."""
    spoken = (batch.viseme != VISEMES.index("sil")) & (batch.there > 0)
    first = torch.where(spoken, batch.start, torch.inf).amin(1, keepdim=True) * FPS
    last = torch.where(spoken, batch.end, 0.0).amax(1, keepdim=True) * FPS
    frame = torch.arange(batch.seen.shape[1])
    return ((frame >= first.floor() - 1) & (frame < last.ceil() + 2)).float()


def correlations(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """(N,) Pearson over the frames of mask (N, F)."""
    n = mask.sum(1, keepdim=True)
    a, b = ((x - (x * mask).sum(1, keepdim=True) / n) * mask for x in (a, b))
    return (a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1) + 1e-6).sqrt()


def fit(rule: Rule, levers: Levers, talkers: Sequence[Batch], weights: Tensor, config: FitConfig) -> None:
    """Change the rule's parameters such that its mouths move like the talkers', who count by `weights` (sum 1)."""
    free, fitted = _free(rule), torch.stack([batch.talker[0] for batch in talkers])
    groups = [
        {"params": [rule.change], "lr": config.rate / 2},
        {"params": [rule.log_gain, rule.log_breath], "lr": config.rate},
        {"params": [rule.depth], "lr": 2 * config.rate},
    ]
    optimiser = torch.optim.Adam(groups)
    for _ in tqdm(range(config.steps), desc="fit"):
        loss = weights @ torch.stack([_unlike(rule(batch, levers), batch, config) for batch in talkers])
        loss = loss + config.near_targets * (rule.change**2).sum() / 4 + config.near_times * (rule.log_gain**2).mean()
        loss = loss + 0.2 * (rule.depth[fitted].mean() - 1) ** 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            rule.change.mul_(free)
            rule.change.clamp_(min=-rule.start_targets)
            rule.log_gain.clamp_(-1, 1)
            rule.depth.clamp_(0.1)


def _free(rule: Rule) -> Tensor:
    """(V, C) 1 where a target may change: units that a viseme had; lips that spread in vowels that are not rounded,
    and part in rounded ones. What landmarks see badly (press, pucker of ou, upper lip of f) stays, and so do
    the face at rest and aa.
    """
    free = (rule.start_targets > 0).float()
    for viseme in visemes.VOWELS:
        more = ("mouthLowerDown",) if viseme in visemes.ROUNDED else ("mouthSmile", "mouthStretch")
        free[VISEMES.index(viseme), [CHANNEL[name] for name in more]] = 1
    free[VISEMES.index("PP"), CHANNEL["mouthPress"]] = 0
    free[VISEMES.index("ou"), CHANNEL["mouthPucker"]] = 0
    free[VISEMES.index("FF"), CHANNEL["mouthUpperUp"]] = 0
    free[[VISEMES.index("sil"), VISEMES.index("aa")]] = 0  # GRID says aa only in the letter r
    return free


def _unlike(tracks: Tensor, batch: Batch, config: FitConfig) -> Tensor:
    """How far (N, F, 4) is from what was seen."""
    seen, speech = batch.seen, speech_mask(batch)
    always = torch.ones_like(speech)

    def apart(k: int, mask: Tensor) -> Tensor:
        return 1 - correlations(tracks[..., k], seen[..., k], mask).mean()

    shape = apart(0, always) + apart(0, speech) + config.jaw * apart(3, always)
    shape = shape + config.width * apart(1, speech) + config.protrusion * apart(2, speech)
    size = sum(((tracks[..., k].std() - seen[..., k].std()) / seen[..., k].std()) ** 2 for k in (0, 3))
    size = size + ((tracks[..., 0].mean() - seen[..., 0].mean()) / seen[..., 0].std()) ** 2
    shut = batch.close.view(*seen.shape[:2], -1).amax(-1) > 0.998
    return shape + config.size * size + config.press * ((tracks[..., 0][shut] - SHUT) ** 2).mean()
