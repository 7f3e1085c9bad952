"""Standard uncertainties: the covariance of some unknowns with all others marginalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.solve.gauss_newton import null_space

#: A value with a larger su than this is not determined: it is the standard deviation of a value of
#: which nothing is known but that it lies between 0 and 1.
UNDETERMINED_SU = 12**-0.5
#: A direction with a larger su than this is taken as not seen by the data at all.
UNSEEN_SU = 50.0
#: A group has a part in what is not seen when its projection exceeds this.
_PART = 1e-3


@dataclass(frozen=True, eq=False)
class Beside:
    """Another block, as far as it goes with the occupancies.

    Attributes
    ----------
    su
        Of each of its unknowns, ``[size]``.
    correlation
        With the occupancy of the same number where the block has as many; None otherwise.
    """

    su: FloatArray
    correlation: FloatArray | None


@dataclass(frozen=True, eq=False)
class Covariance:
    """Covariance of occupancies under their sums, all other unknowns marginalised.

    Attributes
    ----------
    matrix
        Of what the data see, ``[n_groups, n_groups]``.
    unseen
        Orthonormal directions that the data do not see, ``[n_groups, m]``.
    information
        H of the occupancies, all others marginalised, ``[n_groups, n_groups]``.
    others
        The other blocks.
    """

    matrix: FloatArray
    unseen: FloatArray
    information: FloatArray
    others: dict[Kind, Beside]

    def su_of(self, combination: FloatArray) -> float:
        """Return the su of c'q, nan where the data do not determine it."""
        if np.linalg.norm(self.unseen.T @ combination) > _PART * np.linalg.norm(combination):
            return float("nan")
        su = float(np.sqrt(max(float(combination @ self.matrix @ combination), 0.0)))
        return su if su <= UNDETERMINED_SU else float("nan")

    @property
    def su(self) -> FloatArray:
        """Return the su of every occupancy, nan where it is not determined."""
        return np.array([self.su_of(row) for row in np.eye(len(self.matrix))])


def covariance(posterior: Posterior, at: Point) -> Covariance:
    """Return the covariance Z (Z'HZ)^-1 Z' at a point, Z a basis of what the sums allow.

    H is the Schur complement H_qq - H_qp H_pp^-1 H_pq over all other unknowns p of the search and
    the nuisance. Each term counts with its variance factor. Members at a bound are not
    conditioned away.
    """
    whole = posterior.with_nuisance(at)
    h = posterior.information(whole)
    q = whole.space.indices([Kind.OCCUPANCY])
    p = np.setdiff1d(np.arange(whole.space.size), q)
    cross, rest = h[np.ix_(q, p)], h[np.ix_(p, p)]
    solved = _solve_positive(rest, cross.T)  # H_pp^-1 H_pq
    marginal = h[np.ix_(q, q)] - cross @ solved
    free = null_space(posterior.sums.equalities[0], len(q))
    values, vectors = np.linalg.eigh(free.T @ marginal @ free)
    directions = free @ vectors
    seen = values > UNSEEN_SU**-2
    weighted = directions[:, seen] / np.sqrt(values[seen])
    matrix = weighted @ weighted.T
    others = _beside(whole, p, solved, rest, matrix)
    return Covariance(matrix, directions[:, ~seen], marginal, others)


def _beside(
    at: Point, p: np.ndarray, solved: FloatArray, rest: FloatArray, matrix: FloatArray
) -> dict[Kind, Beside]:
    """Return su and correlations of the unknowns ``p`` beside the occupancies."""
    variance = np.diag(_solve_positive(rest, np.eye(len(rest))))
    su = np.sqrt(np.maximum(variance + np.einsum("ij,jk,ik->i", solved, matrix, solved), 0.0))
    between = -solved @ matrix
    n = len(matrix)
    found: dict[Kind, Beside] = {}
    for kind in at.space.kinds:
        if kind is Kind.OCCUPANCY:
            continue
        mine = np.isin(p, at.space.indices([kind]))
        correlation = None
        if int(mine.sum()) == n:
            size = np.sqrt(np.maximum(np.diag(matrix), 1e-300)) * np.maximum(su[mine], 1e-300)
            correlation = np.clip(np.diag(between[mine]) / size, -1.0, 1.0)
        found[kind] = Beside(su[mine], correlation)
    return found


def _solve_positive(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return matrix^-1 right for a positive matrix whose scales differ widely."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale * scale[:, None] + 1e-12 * np.eye(len(matrix))
    return np.asarray(
        scale[:, None] * scipy.linalg.solve(scaled, scale[:, None] * right, assume_a="pos")
    )
