"""One training pass of the denoising network over a pair of consecutive clips (paper section 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.diffusion.schedule import Schedule
from models.networks.conditions import dropped_conditions
from models.networks.person import Person
from models.networks.style_encoder import StyleEncoder
from models.networks.talker import Talker
from models.training.audio_noise import with_noise
from models.training.losses import MotionLoss
from utils.coefs import N_EXP
from utils.timebase import samples_per_frame
from utils.training.randomness import Randomness


@dataclass(frozen=True)
class ObjectiveConfig:
    """Settings of the training pairs; field names are the published flags of `main_dpt.py`."""

    use_context_audio_feat: bool = False
    """Encode the audio of both clips in one 8 s pass."""
    trunc_prob1: float = 0.3
    """Probability that a batch's first clips are cut short."""
    trunc_prob2: float = 0.4
    """Probability that a batch's second clips are cut short."""
    person_noise: float = 0.0
    """Relative noise on head shape and style in training, so that the network does not memorise speakers."""
    style_swap: Sequence[float] = ()
    """Share of the training samples that are given a style from another folder of --data_root: that of the clip of the
    batch that is most alike. One number, or one for each folder. Styles then say how a person moves, not which folder
    a clip comes from."""
    audio_noise: float = 0.0
    """Share of the training pairs whose sound is given another tone and noise (0 to 25 dB), anew at every step."""
    teacher_steps: int = 4
    """With --distilled_steps: ddim steps of the teacher that one step of the student replaces."""


# For each clip of the pair: None (whole), or the valid length in [1, L) of every sample (B,).
Ends = list[Tensor | None]


def truncate(x: Tensor, ends: Tensor | None, unit: int, mode: str) -> Tensor:
    """Pad x (B, L * unit, ...) from frame ends[b] on, with zeros or with the last valid entry; None: all valid."""
    if ends is None:
        return x
    stop = ends * unit
    keep = torch.arange(x.shape[1], device=x.device) < stop[:, None]
    keep = keep.view(*keep.shape, *[1] * (x.dim() - 2))
    last = x[torch.arange(len(x), device=x.device), stop - 1][:, None] if mode == "replicate" else x.new_zeros(())
    return torch.where(keep, x, last)


def to(end: Tensor | None, device: torch.device) -> Tensor | None:
    return None if end is None else end.to(device, non_blocking=True)


class TalkerObjective:
    """Batch of clip pairs -> unweighted loss terms.

    Both clips of every pair go through the denoiser as one batch (first clips, then second clips): the second
    clip's context is the ground truth, so it does not wait for the first.
    """

    def __init__(
        self, config: ObjectiveConfig, schedule: Schedule, loss: MotionLoss, style_encoder: StyleEncoder | None
    ) -> None:
        self.config, self.schedule, self.loss, self.style_encoder = config, schedule, loss, style_encoder

    def __call__(
        self, model: Talker, batch: dict[str, Tensor], random: Randomness, ends: Ends | None = None
    ) -> dict[str, Tensor]:
        """Unweighted loss terms, each averaged over the two clips; only the second clip has a transition term.

        Args:
            model: in training or eval mode, possibly under autocast; the losses themselves are in single precision.
            batch: audio (B, 2, n_samples), motion (B, 2, L, D), shape (B, 2, L, 100), standardised and normalised;
                for style_swap also source (B, 2, L), the number of the folder.
            random: source of steps, noise, dropped conditions, and `ends` if they are not given.
            ends: where the clips end, from `draw_ends`, on the batch's device.
        """
        options, motion, device = model.config, batch["motion"], batch["motion"].device
        size, batch = len(motion), self.heard(model, batch, random)
        ends = [to(end, device) for end in ends or self.draw_ends(size, options.n_motions, random)]
        truth = [truncate(motion[:, i], ends[i], 1, options.pad_mode) for i in (0, 1)]
        prev = motion[:, 0, -options.n_prev_motions :]  # from the untruncated first clip
        shape = batch["shape"][:, 0, 0]

        u = random.uniform(size, len(options.columns), clips=2)
        dropped = dropped_conditions(options.conditions, options.cfg_mode, u)
        step = random.integers(1, options.n_diff_steps + 1, size, clips=2)
        noise = random.normal(size, *motion.shape[2:], clips=2)

        start_motion, start_audio = model.start(size)
        audio, prev_audio = self._audio_features(model, batch["audio"], ends)
        audio = torch.where(dropped["audio"][:, None, None], model.null("audio"), audio)
        noisy = self.schedule.q_sample(torch.cat(truth), step, noise)
        output = model.denoising_net(
            torch.cat([torch.cat([start_motion, prev]), noisy], dim=1),
            torch.cat([torch.cat([start_audio, prev_audio]), audio], dim=1),
            model.person_vector(without(model, self._person(model, batch, random), dropped)),
            step,
            self._indicator(model, ends, truth),
        )
        first, second = output.float().chunk(2)
        with torch.autocast(device.type, enabled=False):  # differences of vertices need full precision
            return average_clips(
                self.loss(first, truth[0], None, noise[:size], shape, ends[0]),
                self.loss(second, truth[1], prev, noise[size:], shape, ends[1]),
            )

    def draw_ends(self, size: int, n_frames: int, random: Randomness) -> Ends:
        """Draw where the clips of a batch are cut short, the only random choice that changes the work of a step.

        It is drawn on the host before the pass, so that the pass never waits for the device.
        """
        ends: Ends = []
        for probability in (self.config.trunc_prob1, self.config.trunc_prob2):
            cut = torch.rand((), generator=random.common).item() < probability
            ends.append(random.integers(1, n_frames, size, on_host=True) if cut else None)
        return ends

    def heard(self, model: Talker, batch: dict[str, Tensor], random: Randomness) -> dict[str, Tensor]:
        """The batch with its audio (B, 2, n) as the network hears it: in training, perhaps noisy."""
        if not (model.training and self.config.audio_noise):
            return batch
        audio = batch["audio"]
        return batch | {"audio": with_noise(audio.flatten(1), self.config.audio_noise, random).view_as(audio)}

    def _audio_features(self, model: Talker, audio: Tensor, ends: Ends) -> tuple[Tensor, Tensor]:
        """Features of both clips (2B, L, F), and the second clip's context (B, P, F), detached and never truncated."""
        options = model.config
        unit, n_frames = samples_per_frame(options.fps), options.n_motions
        cut = [truncate(audio[:, i], ends[i], unit, options.pad_mode) for i in (0, 1)]
        if self.config.use_context_audio_feat:
            # One 8 s pass. A first clip that was cut short has nothing after it, and is encoded separately.
            both = model.encode_audio(torch.cat([audio[:, 0], cut[1]], dim=1), 2 * n_frames)
            whole, second = both.split(n_frames, dim=1)
            first = whole if ends[0] is None else model.encode_audio(cut[0], n_frames)
        else:
            first, second = model.encode_audio(torch.cat(cut), n_frames).chunk(2)
            with torch.no_grad():
                whole = first if ends[0] is None else model.encode_audio(audio[:, 0], n_frames)
        return torch.cat([first, second]), whole[:, -options.n_prev_motions :].detach()

    def _person(self, model: Talker, batch: dict[str, Tensor], random: Randomness) -> Person[Tensor]:
        """The persons (2B): the pair's shape and, for each clip, the style of the OTHER clip of the pair."""
        blur, motion, style = self.config.person_noise if model.training else 0.0, batch["motion"], None
        shape = blurred(batch["shape"][:, 0, 0].repeat(2, 1), blur, random)
        if self.style_encoder is not None:
            with torch.no_grad():
                style = blurred(self.style_encoder(torch.cat([motion[:, 1], motion[:, 0]])), blur, random)
            if model.training and self.config.style_swap:
                source = batch["source"][:, 0, 0]
                style = swapped(style, nearest(motion, source), shares_of(source, self.config.style_swap), random)
        return Person(shape, style).only(model.config.available)

    @staticmethod
    def _indicator(model: Talker, ends: Ends, truth: list[Tensor]) -> Tensor | None:
        if not model.config.use_indicator:
            return None
        ones = [x.new_ones(x.shape[:2]) for x in truth]
        return torch.cat([truncate(one, end, 1, "zero") for one, end in zip(ones, ends)])


def without(model: Talker, person: Person[Tensor], dropped: Mapping[str, Tensor]) -> Person[Tensor]:
    """Persons (B) with null vectors in place of the conditions that each of them loses: {name: (B,) bool}."""
    kept = {
        name: torch.where(dropped[name][:, None], model.null(name)[0], value) for name, value in person.given.items()
    }
    return replace(person, **kept)


def blurred(x: Tensor, amount: float, random: Randomness) -> Tensor:
    """Vectors (2B, d) of first and second clips with Gaussian noise of `amount` times their root mean square."""
    if amount == 0:
        return x
    noise = random.normal(len(x) // 2, x.shape[1], clips=2)
    return x + amount * x.square().mean(dim=1, keepdim=True).sqrt() * noise


def nearest(motion: Tensor, source: Tensor) -> Tensor:
    """The pair of another source that is most alike: its face, jaw and head move as much (standard deviations, by their
    logarithms), about the same lasting expression and mean opening of the jaw.

    Normalised motion (B, 2, L, D), number of the source (B,) -> index for each pair (B,); its own without others.
    """
    frames = motion.flatten(1, 2)
    spread, lasting = frames.std(dim=1).clamp(min=1e-3).log(), frames.mean(dim=1)
    parts = [spread[:, :N_EXP], spread[:, N_EXP:-1], spread[:, -1:], lasting[:, -1:]]
    marks = [part.mean(1, keepdim=True) for part in parts if part.shape[1]] + [lasting[:, :N_EXP] / N_EXP**0.5]
    mark = torch.cat(marks, dim=1)
    distance = torch.cdist(mark, mark, compute_mode="donot_use_mm_for_euclid_dist")
    distance = distance.masked_fill(source[:, None] == source, torch.inf)
    return torch.where(distance.isinf().all(1), torch.arange(len(source), device=source.device), distance.argmin(1))


def shares_of(source: Tensor, shares: Sequence[float]) -> Tensor:
    """Number of the source (B,) -> its share (B,); one share is that of all sources."""
    share = torch.full(source.shape, shares[0], device=source.device)
    for number, other in enumerate(shares[1:], start=1):
        share = torch.where(source == number, other, share)
    return share


def swapped(style: Tensor, partner: Tensor, share: Tensor, random: Randomness) -> Tensor:
    """Styles (2B, d) of first and second clips; with probability `share` (B,) that of the pair's partner (B,)."""
    other = style.unflatten(0, (2, -1))[:, partner].flatten(0, 1)
    return torch.where(random.uniform(len(partner), 1, clips=2) < share.repeat(2)[:, None], other, style)


def average_clips(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean of each term over the two clips; a term that only the second clip has is kept as it is."""
    return {name: (first[name] + value) / 2 if name in first else value for name, value in second.items()}
