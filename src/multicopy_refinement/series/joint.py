"""The covariance of the fractions of a series: errors and a model that its data sets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.series.scores import CommonErrors, Scores
from multicopy_refinement.series.shared import Response
from multicopy_refinement.solve.covariance import solve_positive


@dataclass(frozen=True, eq=False)
class Joint:
    """Estimates of several data sets, one after the other, and their covariance.

    Attributes
    ----------
    value
        Without bounds: one step of Fisher scoring from where the search ended, ``[n]``.
    covariance
        ``[n, n]``.
    held
        That with the shared model taken as known, ``[n, n]``.
    """

    value: FloatArray
    covariance: FloatArray
    held: FloatArray

    @property
    def su(self) -> FloatArray:
        """Standard uncertainties, ``[n]``."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0)))

    def given(self, index: int, value: float) -> Joint:
        """Return what is known once one of them is known to have a value.

        x - C_i (x_i - v)/C_ii, C - C_i C_i'/C_ii: what data sets share, the one that is known
        tells of the others.
        """

        def without(c: FloatArray) -> FloatArray:
            column = c[:, index]
            left = c - np.outer(column, column) / max(float(c[index, index]), 1e-300)
            left[index] = left[:, index] = 0.0  # rounding would leave a variance below 0
            return left

        pull = self.covariance[:, index] / max(float(self.covariance[index, index]), 1e-300)
        moved = self.value - pull * (self.value[index] - value)
        moved[index] = value
        return Joint(moved, _symmetric(without(self.covariance)), _symmetric(without(self.held)))


def joint_of(
    start: FloatArray, scores: Sequence[Scores], common: CommonErrors, response: Response | None,
    *, by_region: bool,
) -> Joint:  # fmt: skip
    """Return the fractions of all data sets, or those of all regions of all data sets.

    C = B K B' + A V A', B the inverse information of each data set, K the covariance of their
    scores (`CommonErrors.products`), A V A' what the shared model adds (`Response`).

    Parameters
    ----------
    start
        The fraction of each data set at which the scores are, ``[n_sets]``.
    response
        None takes the shared model as known.
    """
    columns = [s.columns if by_region else s.columns.sum(axis=0, keepdims=True) for s in scores]
    width = len(columns[0])
    k = common.products(columns, [s.place for s in scores])
    inverse = np.zeros_like(k)
    value = np.repeat(start, width)
    for d, (c, s) in enumerate(zip(columns, scores, strict=True)):
        part = slice(d * width, (d + 1) * width)
        h = k[part, part]
        # a region of which nothing is seen is known to 1 in any case
        ridge = np.eye(width) if by_region else 1e-9 * np.eye(width)
        inverse[part, part] = solve_positive(h + ridge, np.eye(width))
        value[part] += inverse[part, part] @ (c @ s.residual)
        k[part, part] += ridge
    held = _symmetric(inverse @ k @ inverse.T)
    shared = 0.0 if response is None else response.covariance
    return Joint(value, _symmetric(held + shared), held)


def _symmetric(matrix: FloatArray) -> FloatArray:
    return np.asarray((matrix + matrix.T) / 2)
