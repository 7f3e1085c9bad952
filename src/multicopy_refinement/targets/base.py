"""What a target is."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from torch import Tensor


class TargetKind(StrEnum):
    """Which target is used."""

    ML = "ml"
    LS = "ls"


class Target(Protocol):
    """Log-likelihood of each observed amplitude given the model's."""

    def log_likelihood(self, f_model: Tensor) -> Tensor:
        """Return log p of each reflection for |F_model| on the data's scale, ``[n]``."""
        ...
