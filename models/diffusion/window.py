"""The conditions of a window, and the part of them that each guidance branch sees."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from models.diffusion.guidance import Guidance
from models.networks.person import Person
from models.networks.talker import Talker


@dataclass(frozen=True)
class Conditions:
    """The inputs of a batch of windows."""

    audio: Tensor  # (B, L, F) features of the window
    prev_audio: Tensor  # (B, P, F)
    prev_motion: Tensor  # (B, P, D)
    person: Person[Tensor]  # normalised shape (B, 100), style (B, d_style)
    indicator: Tensor | None  # (B, L)

    def map(self, change: Callable[[Tensor], Tensor]) -> Conditions:
        """These conditions with every tensor changed."""
        return Conditions(
            change(self.audio),
            change(self.prev_audio),
            change(self.prev_motion),
            self.person.map(change),
            None if self.indicator is None else change(self.indicator),
        )

    def __getitem__(self, index: Tensor) -> Conditions:
        """The conditions of the windows with these indices."""
        return self.map(lambda value: value[index])


@dataclass(frozen=True)
class Branches:
    """Which of the distinct persons and audio memories each of R guidance branches sees."""

    person_of: tuple[int, ...]
    memory_of: tuple[int, ...]

    @property
    def persons(self) -> int:
        """The number of distinct persons."""
        return max(self.person_of) + 1

    def separated(self) -> Branches:
        """The branches, each with its own person: after the first cross-attention they differ by their memory."""
        return replace(self, person_of=tuple(range(len(self.person_of))))


@dataclass(frozen=True)
class BranchInputs:
    """The inputs of a window's guidance branches, for N samples."""

    branches: Branches
    memories: list[Tensor]  # distinct audio memories (N, P + L, F)
    person: Tensor  # (persons N, person_dim), distinct ones
    prev_motion: Tensor  # (N, P, D)
    indicator: Tensor | None  # (N, L)

    def map(self, change: Callable[[Tensor], Tensor]) -> BranchInputs:
        """These inputs with every tensor changed."""
        indicator = None if self.indicator is None else change(self.indicator)
        rest = change(self.person), change(self.prev_motion), indicator
        return BranchInputs(self.branches, [change(memory) for memory in self.memories], *rest)

    def copy_(self, other: BranchInputs) -> None:
        """Copy the inputs of n <= N samples into these tensors' first samples."""
        n = len(other.prev_motion)
        for mine, theirs in zip(self._by_sample(), other._by_sample(), strict=True):
            mine[:, :n].copy_(theirs)

    def _by_sample(self) -> list[Tensor]:
        """Views (., N, ...)."""
        given = [*self.memories, self.prev_motion, *([] if self.indicator is None else [self.indicator])]
        return [self.person.unflatten(0, (self.branches.persons, -1)), *(tensor[None] for tensor in given)]


def with_folding(guidance: Guidance, model: Talker) -> Guidance:
    """The guidance, folded into the network if the model is distilled.

    Raises:
        ValueError: a distilled network does not offer this guidance.
    """
    guidance = guidance.among(model.config.available)
    if not model.config.distilled_steps:
        return guidance
    return guidance.folded_into(model.config.conditions, model.config.cfg_mode)


def persons(model: Talker, given: Conditions, guidance: Guidance, seen: Sequence[Collection[str]]) -> Tensor:
    """Inputs of the person tokens of branches that see these conditions, (len(seen) B, person_dim)."""
    if guidance.folded:
        scales = _row(tuple(float(guidance.scales[name]) for name in model.config.columns), given.audio.device)
        return model.person_vector(given.person, scales.expand(len(given.audio), -1))
    return torch.cat([model.person_vector(given.person.only(names)) for names in seen])


@lru_cache(64)
def _row(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """(1, n); kept, since copying numbers to a GPU waits for all that it does."""
    return torch.tensor([numbers], device=device)


def branch_inputs(model: Talker, given: Conditions, guidance: Guidance) -> BranchInputs:
    """The inputs of `CachedDenoiser`, which needs each distinct audio memory and person only once."""
    branches, heard = guidance.branches(), guidance.distinct("audio")
    seen = [frozenset(model.config.of_person) & names for names in branches]
    distinct = list(dict.fromkeys(seen))
    null_audio = model.null("audio").expand_as(given.audio)
    return BranchInputs(
        Branches(
            person_of=tuple(distinct.index(names) for names in seen),
            memory_of=tuple(heard.index("audio" in names) for names in branches),
        ),
        memories=[torch.cat([given.prev_audio, given.audio if audio else null_audio], dim=1) for audio in heard],
        person=persons(model, given, guidance, distinct),
        prev_motion=given.prev_motion,
        indicator=given.indicator,
    )
