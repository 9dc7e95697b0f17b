"""The person that the talker animates."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)
Other = TypeVar("Other", np.ndarray, Tensor)


@dataclass(frozen=True)
class Person(Generic[Array]):
    """The inputs besides speech: raw arrays outside the network, normalised tensors inside.

    A further input of the network (an emotion, say) is a field here, of the same name as its row in `CONDITIONS`.
    """

    shape: Array
    """(..., 100)."""
    style: Array | None = None
    """(..., d_style); None: the null style."""

    def map(self, change: Callable[[Array], Other]) -> Person[Other]:
        """This person with every array changed."""
        return Person(change(self.shape), **{name: change(value) for name, value in self.given.items()})

    @property
    def given(self) -> dict[str, Array]:
        """The conditions that are not None, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "shape"}
        return {name: value for name, value in found.items() if value is not None}

    def only(self, names: Collection[str]) -> Person[Array]:
        """This person without other conditions than these."""
        return replace(self, **{name: None for name in self.given if name not in names})
