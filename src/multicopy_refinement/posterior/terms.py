"""What a term of a posterior is, and what it says around a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.blocks import Kind, Point, Space


@dataclass(frozen=True, eq=False)
class Normal:
    """Quadratic model around a point: L + g'd - d'Hd/2.

    Attributes
    ----------
    value
        L.
    gradient
        g, ``[size]``.
    information
        H, ``[size, size]``.
    """

    value: float
    gradient: FloatArray
    information: FloatArray

    def __add__(self, other: Normal) -> Normal:
        return Normal(
            self.value + other.value,
            self.gradient + other.gradient,
            self.information + other.information,
        )

    def within(self, space: Space, kinds: tuple[Kind, ...]) -> Normal:
        """Return the model of a space in which these kinds are the ones that it is of."""
        if kinds == space.kinds:
            return self
        rows = space.indices(kinds)
        information = np.zeros((space.size, space.size))
        information[np.ix_(rows, rows)] = self.information
        return Normal(self.value, spread(self.gradient, space, kinds), information)


def spread(gradient: FloatArray, space: Space, kinds: tuple[Kind, ...]) -> FloatArray:
    """Return the gradient in a space in which these kinds are the ones that it is of."""
    found = np.zeros(space.size)
    found[space.indices(kinds)] = gradient
    return found


class Term(Protocol):
    """One part of the log posterior.

    It speaks of the kinds that it touches and that the point's space has; all others are held.
    """

    @property
    def touches(self) -> frozenset[Kind]:
        """The kinds of unknowns that its value depends on."""
        ...

    @property
    def variance_factor(self) -> float:
        """By how much its variances are too small: what it says of an su counts 1/factor."""
        ...

    def value(self, at: Point) -> float:
        """Return its log density."""
        ...

    def gradient(self, at: Point) -> FloatArray:
        """Return its derivatives in the unknowns of the point, ``[size]``."""
        ...

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return its quadratic model; in single precision where that will do."""
        ...

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return its log density as a scalar that is differentiable in the values."""
        ...
