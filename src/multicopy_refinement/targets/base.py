"""What a target is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from multicopy_refinement._typing import FloatArray


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Of each reflection's log p: value, d/dF, and expected information on F, ``[n]``."""

    value: FloatArray
    slope: FloatArray
    information: FloatArray


class Target(Protocol):
    """Log-likelihood of each observed amplitude given the model's."""

    def log_likelihood(self, f_model: Tensor) -> Tensor:
        """Return log p of each reflection for |F_model| on the data's scale, ``[n]``."""
        ...

    def values(self, f_model: FloatArray) -> FloatArray:
        """Return log p of each reflection on arrays, ``[n]``."""
        ...

    def derivatives(self, f_model: FloatArray) -> Derivatives:
        """Return value, slope and expected information at |F_model|."""
        ...
