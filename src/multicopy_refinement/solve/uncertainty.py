"""Standard uncertainties, what is undetermined, and what the data say of a group's absence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.problem import OccupancyProblem
from multicopy_refinement.solve.gauss_newton import (
    BShifts,
    null_space,
)
from multicopy_refinement.solve.quadratic import solve_step

#: A value with a larger su than this is not determined: it is the standard deviation of a value of
#: which nothing is known but that it lies between 0 and 1.
UNDETERMINED_SU = 12**-0.5
#: A direction with a larger su than this is taken as not seen by the data at all.
UNSEEN_SU = 50.0
#: A group has a part in what is not seen when its projection exceeds this.
_PART = 1e-3


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Covariance of occupancies under their sums, scale and overall B refined along.

    Attributes
    ----------
    covariance
        Of what the data see, ``[n_groups, n_groups]``.
    unseen
        Orthonormal directions that the data do not see, ``[n_groups, m]``.
    information
        H of the occupancies, scale and B factors marginalised, ``[n_groups, n_groups]``.
    b_su
        su of B shifts in A^2, ``[n_groups]``, or None.
    b_correlation
        Correlation of occupancy and B shift of each group, or None.
    factor
        Square of what every su was multiplied by (reduced chi-square for least squares).
    """

    covariance: FloatArray
    unseen: FloatArray
    information: FloatArray
    b_su: FloatArray | None = None
    b_correlation: FloatArray | None = None
    factor: float = 1.0

    def su_of(self, combination: FloatArray) -> float:
        """Return the su of c'q, nan where the data do not determine it."""
        if np.linalg.norm(self.unseen.T @ combination) > _PART * np.linalg.norm(combination):
            return float("nan")
        su = float(np.sqrt(max(float(combination @ self.covariance @ combination), 0.0)))
        return su if su <= UNDETERMINED_SU else float("nan")

    @property
    def su(self) -> FloatArray:
        """Return the su of every occupancy, nan where it is not determined."""
        return np.array([self.su_of(row) for row in np.eye(len(self.covariance))])


def uncertainty(
    problem: OccupancyProblem, occupancy: FloatArray, b_shift: FloatArray | None = None,
    b_shifts: BShifts | None = None, *, factor: float = 1.0,
) -> Uncertainty:  # fmt: skip
    """Return the covariance Z (Z'HZ)^-1 Z' at a point, Z a basis of what the sums allow.

    Members at a bound are not conditioned away. ``factor`` multiplies the covariance of what the
    data say; restraints count as they are.
    """
    n = problem.n_groups
    h = problem.normal_equations(occupancy, b_shift, scale=True).information
    if b_shift is not None and b_shifts is not None:
        h[range(n, 2 * n), range(n, 2 * n)] += b_shifts.prior_sigma**-2
    if problem.prior is not None:
        h[:n, :n] += (factor - 1.0) * problem.prior.information
    cross, nuisance = h[:n, n:], h[n:, n:]
    solved = _solve_positive(nuisance, cross.T)  # H_nn^-1 H_nq
    marginal = h[:n, :n] - cross @ solved
    free = null_space(problem.constraints[0], n)
    values, vectors = np.linalg.eigh(free.T @ marginal @ free)
    directions = free @ vectors
    seen = values > UNSEEN_SU**-2
    weighted = directions[:, seen] / np.sqrt(values[seen])
    covariance = factor * weighted @ weighted.T
    b_su = correlation = None
    if b_shift is not None:
        b_su, correlation = _b_uncertainty(covariance, solved[:n], nuisance, n, factor)
    return Uncertainty(covariance, directions[:, ~seen], marginal, b_su, correlation, factor)


def _b_uncertainty(
    covariance: FloatArray, solved: FloatArray, nuisance: FloatArray, n: int, factor: float
) -> tuple[FloatArray, FloatArray]:
    inverse = _solve_positive(nuisance, np.eye(len(nuisance)))[:n, :n]
    variance = factor * np.diag(inverse) + np.einsum("ij,jk,ik->i", solved, covariance, solved)
    b_su = np.sqrt(np.maximum(variance, 0.0))
    between = -np.diag(solved @ covariance)
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300)) * np.maximum(b_su, 1e-300)
    return b_su, np.clip(between / scale, -1.0, 1.0)


def _solve_positive(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return matrix^-1 right for a positive matrix whose scales differ widely."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale * scale[:, None] + 1e-12 * np.eye(len(matrix))
    return np.asarray(
        scale[:, None] * scipy.linalg.solve(scaled, scale[:, None] * right, assume_a="pos")
    )


def coincident_members(problem: OccupancyProblem, found: Uncertainty) -> list[list[list[int]]]:
    """Return, for each set, its members gathered by what the data can tell apart.

    Two members are together when moving occupancy from one to the other, all else held, has an su
    above 0.29: their structure factors are the same as far as the data see.
    """
    gathered = []
    h = found.information
    for number in range(int(problem.set_index.max(initial=-1)) + 1):
        rest = np.flatnonzero(problem.set_index == number).tolist()
        clusters: list[list[int]] = []
        while rest:
            cluster = [rest.pop(0)]
            for one in cluster:  # grows while it is walked
                alike = [
                    o for o in rest if _difference_information(h, one, o) < UNDETERMINED_SU**-2
                ]
                cluster += alike
                rest = [o for o in rest if o not in alike]
            clusters.append(sorted(cluster))
        gathered.append(clusters)
    return gathered


def _difference_information(h: FloatArray, one: int, other: int) -> float:
    """Return d'Hd for d = e_one - e_other: the information on what is moved between them."""
    return float(h[one, one] + h[other, other] - 2 * h[one, other])


def evidence(
    problem: OccupancyProblem, occupancy: FloatArray, b_shift: FloatArray | None,
    information: FloatArray,
) -> FloatArray:  # fmt: skip
    """Return the log-likelihood gain of each group over its absence, ``[n_groups]``.

    Absent means q_g = 0 and the rest of its set at its best by the quadratic model, evaluated with
    the full likelihood; the rest of the model is held.
    """
    f = problem.f_model(occupancy, b_shift)
    here = problem.value_at(f)
    gains = np.empty(problem.n_groups)

    def work(first: int, last: int) -> None:
        for group in range(first, last):
            members = _members(problem, group)
            after = occupancy.copy()
            after[members] += _without(problem, group, members, occupancy, information)
            after = problem.sums.restored(after, tolerance=1e-9)  # what is nested follows
            moved = np.flatnonzero(after != occupancy)
            change = problem.change(moved, (after - occupancy)[moved], b_shift)
            gains[group] = here - problem.value_at(f + change)

    in_threads(work, problem.n_groups)
    return gains


def _members(problem: OccupancyProblem, group: int) -> IntArray:
    """Return what moves when a group is left out: its complete set, and what it is parent of."""
    number = problem.set_index[group]
    if number < 0 or not problem.sums.complete[number]:
        mates = np.array([group])
    else:
        mates = np.flatnonzero(problem.set_index == number)
    inner = np.flatnonzero(problem.sums.parent == group)
    return np.concatenate([mates, np.flatnonzero(np.isin(problem.set_index, inner))])


def _without(
    problem: OccupancyProblem,
    group: int,
    members: IntArray,
    occupancy: FloatArray,
    information: FloatArray,
) -> FloatArray:
    """Return the changes of a set's members when one of them is left out."""
    same_set = (problem.set_index[members] == problem.set_index[group]) & (members != group)
    others = members[same_set]
    change = np.where(same_set, 0.0, -occupancy[members])  # the group, and all that is nested in it
    if len(others) == 0:
        return change
    total = occupancy[others].sum()
    share = occupancy[others] / total if total > 0 else np.full(len(others), 1 / len(others))
    start = share * (total + occupancy[group])  # ratios kept
    moved = start - occupancy[others]
    if len(others) > 1:
        h = information[np.ix_(others, others)]
        lost = information[np.ix_(others, [group])][:, 0] * occupancy[group]
        gradient = lost - h @ moved
        ridge = 1e-6 * np.diag(np.maximum(np.diag(h), 1e-6))
        moved = moved + solve_step(
            h + ridge, gradient, np.ones((1, len(others))), -start, 1 - start
        )
    change[same_set] = moved
    return change


def at_bound(sums: SumConstraints, occupancy: FloatArray) -> BoolArray:
    """Return which occupancies are 0 or 1, or alone at the limit of their set, to four decimals."""
    found = (occupancy < 5e-5) | (occupancy > 1 - 5e-5)
    for number, members in enumerate(sums.members):
        if len(members) == 1 and not sums.complete[number]:
            found[members] |= occupancy[members] > sums.wanted(number, occupancy) - 5e-5
    return np.asarray(found)
