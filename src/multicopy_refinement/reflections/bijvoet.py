"""Bijvoet differences F(+) - F(-) of unique reflections, and how much signal they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.words import counted


@dataclass(frozen=True, eq=False)
class BijvoetDifferences:
    """F(+) - F(-) on the scale of F_obs; nan where not both mates were measured, and of centrics.

    Attributes
    ----------
    value, sigma
        ``[n]``.
    labels
        Columns that they come from.
    """

    value: FloatArray
    sigma: FloatArray
    labels: tuple[str, ...]

    @property
    def known(self) -> BoolArray:
        """Bool ``[n]``: reflections that have one."""
        return np.isfinite(self.value)

    def select(self, rows: BoolArray | IntArray) -> BijvoetDifferences:
        """Return those of a mask, or of places."""
        return BijvoetDifferences(self.value[rows], self.sigma[rows], self.labels)

    def in_words(self, f_obs: FloatArray) -> str:
        """Return number, <|dF|>/<F> and <|dF|>/<sigma(dF)> as text.

        The second ratio is 0.80 of errors alone that are Gaussian and right.
        """
        known = self.known
        size, sigma = np.abs(self.value[known]).mean(), self.sigma[known].mean()
        return (
            f"{counted(int(known.sum()), 'Bijvoet pair')} ({','.join(self.labels)}): <|dF|>/<F> "
            f"{size / f_obs[known].mean():.3f}, <|dF|>/<sigma> {size / sigma:.2f} (0.80 of errors "
            "alone)"
        )
