"""Rows of observations, and which of them can be used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.words import counted


@dataclass(frozen=True, eq=False)
class Observations:
    """One value with its uncertainty for each row; nan where nothing was observed."""

    hkl: IntArray
    value: FloatArray
    sigma: FloatArray
    flags: FloatArray

    def select(self, keep: BoolArray) -> Observations:
        """Return the rows of a mask."""
        return Observations(self.hkl[keep], self.value[keep], self.sigma[keep], self.flags[keep])

    def without(self, bad: BoolArray) -> Observations:
        """Return all rows, those of a mask without their observation."""
        return Observations(
            self.hkl, np.where(bad, np.nan, self.value), np.where(bad, np.nan, self.sigma),
            self.flags,
        )  # fmt: skip

    @property
    def missing(self) -> BoolArray:
        """Bool ``[n]``, rows without a value or without its sigma."""
        return ~np.isfinite(self.value) | ~np.isfinite(self.sigma)


def checked(rows: Observations, what: str) -> tuple[Observations, list[Notice]]:
    """Return the rows without what cannot be an observation, each kind of it in a notice.

    ``what`` is ``amplitude`` or ``intensity``.
    """
    value, sigma = rows.value, rows.sigma
    infinite = np.isinf(value) | np.isinf(sigma)
    alone = np.isfinite(value) & np.isnan(sigma)
    there = ~rows.missing
    nothing = (value == 0) & (sigma == 0)  # how some programs write "not observed"
    no_sigma = there & ~nothing & (sigma <= 0)
    negative = there & ~no_sigma & (value < 0) & (what == "amplitude")
    notices = []
    for mask, code, text in (
        (infinite, "not_finite", "with an infinite value or sigma, not used"),
        (alone, "sigma_missing", "with a value without a sigma, not used"),
        (nothing, "reflections_zero", "with value and sigma of 0, taken as not observed"),
        (no_sigma, "sigma_not_positive", "without a positive sigma, not used"),
        (negative, "amplitude_negative", "with a negative amplitude, not used"),
    ):  # fmt: skip
        if mask.any():
            names = names_of(rows.hkl[mask])
            message = f"{counted(len(names), 'reflection')} {text}: {listed(names)}"
            notices.append(Notice(code, message, tuple(names)))
    return rows.without(infinite | alone | nothing | no_sigma | negative), notices


def names_of(hkl: IntArray) -> list[str]:
    """Return indices as text.

    >>> names_of(np.array([[1, 0, -2]]))
    ['(1 0 -2)']
    """
    return [f"({h} {k} {m})" for h, k, m in hkl.tolist()]
