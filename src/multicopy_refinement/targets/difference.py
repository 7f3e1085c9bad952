"""Differences of log-likelihoods on one error model, with their standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray

#: A difference of log-likelihoods counts when it is larger than this many of its errors.
TELLING = 2.0
#: and larger than this, an odds ratio of 1.1: two runs to the same maximum may differ by as much.
_NOTHING = 0.1


@dataclass(frozen=True)
class Difference:
    """A difference of log-likelihoods, and its standard error over the reflections."""

    value: float
    su: float

    @classmethod
    def of(
        cls, mine: FloatArray, first: FloatArray, rows: BoolArray | slice = slice(None)
    ) -> Difference:
        """Return what the log-likelihoods of some reflections, or all, sum to more than others.

        The standard error is sqrt(n) times the standard deviation of the differences of single
        reflections (Vuong 1989, Econometrica 57, 307).
        """
        each = (mine - first)[rows]
        return cls(float(each.sum()), float(each.std() * np.sqrt(len(each))))

    @property
    def telling(self) -> bool:
        """Whether it is more than the choice of reflections makes, and something at all."""
        return abs(self.value) > max(TELLING * self.su, _NOTHING)
