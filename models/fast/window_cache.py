"""The constants of a window, for the cached denoiser and the kernels around the network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from models.diffusion.window import Branches


@dataclass(frozen=True)
class WindowCache:
    """The constants of a window; N samples, R guidance branches (B = R N, branch by branch), P + L frames.

    Constants of the memory are stored once per distinct memory (M = memories N) if a kernel looks them up, else M = B.
    """

    branches: Branches
    person: Tensor  # (persons N, d): person tokens without the step
    frames: Tensor  # (N, P + L, d): frame tokens without the noisy motion
    keys: list[Tensor]  # per layer (M, heads, P + L, d / heads)
    values: list[Tensor]  # the same
    cross: list[Tensor]  # per layer, known cross-attention (M, 1 + P + L, d), or its bias (d,) alone

    def tensors(self) -> list[Tensor]:
        return [self.person, self.frames, *self.keys, *self.values, *self.cross]

    def copy_(self, other: WindowCache) -> None:
        """Copy another window's constants into these tensors."""
        assert self.branches == other.branches
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)

    def clone(self) -> WindowCache:
        return WindowCache(
            self.branches,
            self.person.clone(),
            self.frames.clone(),
            *([tensor.clone() for tensor in tensors] for tensors in (self.keys, self.values, self.cross)),
        )
