"""Features -> motion, window by window with carried context (paper section 3.4), for files and streams alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from models.diffusion.guidance import Guidance
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import SamplerConfig, gaussian_noise, solver_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine, EngineConfig
from models.generation.speech import Speech
from models.networks.person import Person
from models.networks.talker import Talker


@dataclass(frozen=True)
class GenerationConfig:
    """The settings of a generation run."""

    guidance: Guidance = field(default_factory=Guidance)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    whole_audio: bool = True
    """Encode the whole file at once; False: window by window (`--no_context_audio_feat`)."""
    fresh_noise: bool = False
    """Draw a new x_T for every window. The published sampler reuses the first one; a deterministic solver would then
    repeat motion that speech does not determine (turns of the head, blinks) every 4 s."""
    progress: bool = False
    """Show a progress bar."""


class Sample:
    """The state of one sample between two windows, from which its next window continues."""

    def __init__(
        self, model: Talker, person: Person[Tensor], seed: int, start: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """
        Args:
            person: normalised shape (100,) and style (d_style,).
            start: motion (P, D) and audio features (P, F) before the first window; None: the learnt start.
        """
        self.person = person.only(model.config.available)
        self.generator = torch.Generator(model.device).manual_seed(seed)
        self.x_T: Tensor | None = None  # (L, D)
        learnt_motion, learnt_audio = model.start(1)
        self.motion, self.audio = start or (learnt_motion[0], learnt_audio[0])

    def draw(self, size: tuple[int, int], fresh: bool) -> Tensor:
        """The noise x_T (L, D) of the next window: a new one if `fresh`, else that of the first window."""
        if self.x_T is None or fresh:
            self.x_T = torch.randn(size, generator=self.generator, device=self.generator.device)
        return self.x_T

    def advance(self, motion: Tensor, audio: Tensor) -> None:
        """Continue after the generated motion (n, D) of features (n, F)."""
        n_prev = len(self.motion)
        self.motion = torch.cat([self.motion, motion])[-n_prev:]
        self.audio = torch.cat([self.audio, audio])[-n_prev:]


class WindowGenerator:
    """Generates the next window of one or many samples in one batch."""

    def __init__(self, model: Talker, config: GenerationConfig, engine: Engine | None = None) -> None:
        """
        Args:
            engine: an existing engine of this model and guidance; None: make a new one.
        """
        options = model.config
        self.model, self.config = model, config
        self.engine = engine or Engine(model, config.guidance, config.engine)
        schedule = Schedule.make(options.diff_schedule, options.n_diff_steps)
        self.steps = solver_steps(config.sampler, schedule, options.target)
        self._motion_dim = options.layout.motion_dim

    @torch.no_grad()
    def __call__(self, samples: Sequence[Sample], audio: Sequence[Tensor] | Tensor, valid: Sequence[int]) -> Tensor:
        """Normalised motion (B, L, D) of every sample's next window. The samples do not advance.

        Args:
            samples: B samples between two windows.
            audio: for each sample, the features (L, F) of its window.
            valid: for each sample, the number of real frames; the rest is padding.
        """
        size = len(audio[0]), self._motion_dim
        x_T = torch.stack([sample.draw(size, self.config.fresh_noise) for sample in samples])
        noise = gaussian_noise([sample.generator for sample in samples], self.model.device)
        return self.engine.run(self._conditions(samples, audio, valid), self.steps, x_T, noise)

    def _conditions(
        self, samples: Sequence[Sample], audio: Sequence[Tensor] | Tensor, valid: Sequence[int]
    ) -> Conditions:
        return Conditions(
            audio=audio if isinstance(audio, Tensor) else torch.stack(list(audio)),
            prev_audio=torch.stack([sample.audio for sample in samples]),
            prev_motion=torch.stack([sample.motion for sample in samples]),
            person=self._persons([sample.person for sample in samples]),
            indicator=indicator(self.model, valid, len(audio[0])),
        )

    def _persons(self, persons: list[Person[Tensor]]) -> Person[Tensor]:
        """The persons as one batch; null vectors replace missing conditions if only some have them."""
        given = [person.given for person in persons]
        conditions = {}
        for name in dict.fromkeys(name for one in given for name in one):
            null = self.model.null(name)[0, 0]
            conditions[name] = torch.stack([one.get(name, null) for one in given])
        return Person(torch.stack([person.shape for person in persons]), **conditions)


@dataclass(frozen=True)
class Item:
    """One sample to draw. Items of any length share batches, and do not affect each other."""

    speech: Speech
    person: Person[Tensor]
    seed: int
    start: tuple[Tensor, Tensor] | None = None
    """Motion (P, D) and audio features (P, F) before the first window; None: the learnt start."""


class _Running:
    """An item, and the windows generated so far."""

    def __init__(self, model: Talker, item: Item) -> None:
        self.speech, self.made = item.speech, []
        self.sample = Sample(model, item.person, item.seed, item.start)

    @property
    def left(self) -> int:
        """Windows still to generate."""
        return len(self.speech.windows) - len(self.made)

    @property
    def audio(self) -> Tensor:
        """Features (L, F) of the next window."""
        return self.speech.windows[len(self.made)]

    @property
    def valid(self) -> int:
        """Real frames from the next window on."""
        return self.speech.n_frames - len(self.made) * self.speech.windows.shape[1]

    def advance(self, motion: Tensor) -> None:
        self.sample.advance(motion, self.audio)
        self.made.append(motion)


@torch.no_grad()
def generate_batch(generator: WindowGenerator, items: Sequence[Item], batch_size: int = 32) -> list[Tensor]:
    """Motion of many items, with windows of different items in one batch.

    Each round generates the next window of the `batch_size` items with the most windows left, so that batches stay
    full. An item's result is the same as if it were generated alone, up to rounding.

    Args:
        items: what to generate; samples of one utterance may share its `Speech`.
        batch_size: items per batch; the network sees each item once per guidance branch.

    Returns:
        Per item, in the order given, normalised motion (n_frames, D).
    """
    running = [_Running(generator.model, item) for item in items]
    for batch in _rounds(running, batch_size, generator.config.progress):
        motion = generator([r.sample for r in batch], [r.audio for r in batch], [r.valid for r in batch])
        for r, window in zip(batch, motion):
            r.advance(window)
    return [torch.cat(r.made)[: r.speech.n_frames] for r in running]


def _rounds(running: list[_Running], batch_size: int, progress: bool) -> Iterator[list[_Running]]:
    with tqdm(total=sum(r.left for r in running), desc="generating", unit="window", disable=not progress) as shown:
        while any(r.left for r in running):
            batch = sorted((r for r in running if r.left), key=lambda r: -r.left)[:batch_size]
            yield batch
            shown.update(len(batch))


def indicator(model: Talker, valid: Sequence[int], length: int | None = None) -> Tensor | None:
    """(B, length): 1 for the first `valid` frames of each window; None for a model without indicator."""
    if not model.config.use_indicator:
        return None
    frames = torch.arange(length or model.config.n_motions)
    return (frames < torch.tensor(valid)[:, None]).float().to(model.device, non_blocking=True)
