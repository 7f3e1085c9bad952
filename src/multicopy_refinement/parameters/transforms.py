"""Maps between what an optimiser moves (raw) and what a crystallographer reads (value)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

#: Distance from 0 and 1 at which a refinable occupancy is stored, so that its logit is finite.
OCCUPANCY_MARGIN = 1e-6


class Transform(Protocol):
    """A monotone map raw -> value with its inverse."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return the values of raw parameters, elementwise."""
        ...

    def inverse(self, value: Tensor) -> Tensor:
        """Return the raw parameters of values, elementwise."""
        ...


class Identity:
    """value = raw."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return ``raw``."""
        return raw

    def inverse(self, value: Tensor) -> Tensor:
        """Return ``value``."""
        return value


class Softplus:
    """value = log(1 + exp(raw)) > 0; for values well above 1 raw and value agree."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return log(1 + exp(raw)), never below the smallest normal number of the type."""
        return torch.nn.functional.softplus(raw).clamp_min(torch.finfo(raw.dtype).tiny)

    def inverse(self, value: Tensor) -> Tensor:
        """Return log(exp(value) - 1), in the form that does not overflow."""
        return value + torch.log(-torch.expm1(-value))


class Sigmoid:
    """value = 1 / (1 + exp(-raw)), in [0, 1]; values are taken at least 1e-6 inside."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return the logistic function of ``raw``."""
        return torch.sigmoid(raw)

    def inverse(self, value: Tensor) -> Tensor:
        """Return the logit of ``value`` moved to [1e-6, 1 - 1e-6]."""
        return torch.logit(value, eps=OCCUPANCY_MARGIN)


class UnitClamp:
    """value = raw held to [0, 1]: the plain alternative to `Sigmoid`."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return ``raw`` clamped to [0, 1]."""
        return raw.clamp(0.0, 1.0)

    def inverse(self, value: Tensor) -> Tensor:
        """Return ``value``."""
        return value
