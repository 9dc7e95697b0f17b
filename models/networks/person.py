"""The person that the talker animates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)
Other = TypeVar("Other", np.ndarray, Tensor)


@dataclass(frozen=True)
class Person(Generic[Array]):
    """The inputs besides speech: raw arrays outside the network, normalised tensors inside.

    A further input of the network (an emotion, say) is a field here.
    """

    shape: Array
    """(..., 100)."""
    style: Array | None = None
    """(..., d_style); None: the null style."""

    def map(self, change: Callable[[Array], Other]) -> Person[Other]:
        """This person with every array changed."""
        return Person(change(self.shape), None if self.style is None else change(self.style))
