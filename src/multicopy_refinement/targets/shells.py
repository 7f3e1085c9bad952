"""Resolution shells, and quantities that vary smoothly across them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Shells:
    """Shells with equal numbers of the reflections that quantities are estimated from.

    Attributes
    ----------
    number
        Shell of each reflection, ``[n]``.
    centre
        Mean 1/d^2 of the estimating reflections of each shell, ``[n_shells]``.
    count
        Their number, ``[n_shells]``.
    """

    number: IntArray
    centre: FloatArray
    count: IntArray

    def smooth(self, values: FloatArray) -> FloatArray:
        """Return shell values averaged with their neighbours, weights count times 1-2-1."""
        weight = self.count.astype(float)
        padded = np.pad(weight, 1)
        total = np.pad(weight * values, 1)
        numerator = total[:-2] + 2 * total[1:-1] + total[2:]
        return np.asarray(numerator / (padded[:-2] + 2 * padded[1:-1] + padded[2:]))

    def interpolate(self, values: FloatArray, s_squared: FloatArray) -> FloatArray:
        """Return values between shell centres, linear in 1/d^2, constant beyond the last."""
        return np.interp(s_squared, self.centre, values)


def make_shells(
    s_squared: FloatArray, estimating: BoolArray, *, per_shell: int, most: int = 20
) -> Shells:
    """Return shells with about ``per_shell`` estimating reflections, at most ``most`` shells."""
    chosen = np.sort(s_squared[estimating])
    n_shells = int(np.clip(len(chosen) // per_shell, 1, most))
    edges = chosen[np.linspace(0, len(chosen) - 1, n_shells + 1).astype(int)[1:-1]]
    number = np.searchsorted(edges, s_squared, side="right")
    count = np.bincount(number[estimating], minlength=n_shells)
    total = np.bincount(number[estimating], s_squared[estimating], minlength=n_shells)
    return Shells(number, total / np.maximum(count, 1), count)
