"""Damped Fisher scoring in occupancy space, with exact sums and bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.problem import NormalEquations, OccupancyProblem
from multicopy_refinement.solve.quadratic import solve_step

#: A combination of occupancies with a larger su than this is not moved: over the whole range from 0
#: to 1 the log-likelihood changes along it by less than an eighth.
HELD_SU = 2.0
#: Converged when the quadratic model promises less than this gain in log-likelihood.
SMALLEST_GAIN = 1e-5
_FIRST_DAMPING, _MOST_DAMPING = 1e-3, 1e8


@dataclass(frozen=True, eq=False)
class BShifts:
    """B shifts of groups as further unknowns.

    Attributes
    ----------
    start
        A^2, ``[n_groups]``.
    lowest
        Below which a B factor of the group would fall under its floor, A^2, ``[n_groups]``.
    prior_sigma
        Of a Gaussian prior around no shift, A^2, ``[n_groups]``.
    """

    start: FloatArray
    lowest: FloatArray
    prior_sigma: FloatArray


@dataclass(frozen=True, eq=False)
class Point:
    """Where a search stands.

    Attributes
    ----------
    occupancy
        ``[n_groups]``.
    b_shift
        A^2, ``[n_groups]``, or None.
    objective
        Log-likelihood of the work set plus the log prior of the B shifts.
    """

    occupancy: FloatArray
    b_shift: FloatArray | None
    objective: float


@dataclass(frozen=True, eq=False)
class Search:
    """How a search ended."""

    point: Point
    steps: int
    converged: bool


def maximise(
    problem: OccupancyProblem, start: FloatArray, b_shifts: BShifts | None = None, *,
    smallest_gain: float = SMALLEST_GAIN, max_steps: int = 30,
) -> Search:  # fmt: skip
    """Return the most likely occupancies; the log-likelihood never falls on the way.

    Each step solves the quadratic model of the expected information under the sums and bounds,
    damped (Levenberg) until the likelihood rises. What the data do not determine is held.
    """
    scoring = _Scoring(problem, b_shifts, smallest_gain)
    b = None if b_shifts is None else b_shifts.start
    point = Point(start, b, problem.value(start, b) + scoring.log_prior(b))
    damping = 0.0
    for step in range(max_steps):
        equations = scoring.equations(point)
        moved, damping = scoring.improve(point, equations, damping)
        if moved is None:
            return Search(point, step, True)
        point = moved
    return Search(point, max_steps, False)


class _Scoring:
    """The steps of one search."""

    def __init__(
        self, problem: OccupancyProblem, b_shifts: BShifts | None, smallest_gain: float
    ) -> None:
        self.problem, self.b_shifts, self.smallest_gain = problem, b_shifts, smallest_gain
        pad = ((0, 0), (0, problem.n_groups if b_shifts is not None else 0))
        self.sums = np.pad(problem.sums.equalities[0], pad)
        self.limits = np.pad(problem.sums.limits[0], pad)
        self._stiffness: FloatArray | None = None

    def log_prior(self, b_shift: FloatArray | None) -> float:
        if b_shift is None or self.b_shifts is None:
            return 0.0
        return float(-0.5 * ((b_shift / self.b_shifts.prior_sigma) ** 2).sum())

    def equations(self, point: Point) -> NormalEquations:
        """Return the normal equations with the prior, undetermined directions made stiff."""
        raw = self.problem.normal_equations(point.occupancy, point.b_shift, precise=False)
        n = self.problem.n_groups
        gradient, information = raw.gradient, raw.information
        if point.b_shift is not None and self.b_shifts is not None:
            precision = self.b_shifts.prior_sigma**-2
            gradient[n:] -= precision * point.b_shift
            information[range(n, 2 * n), range(n, 2 * n)] += precision
        if self._stiffness is None:
            self._stiffness = held_directions(information[:n, :n], self.sums[:, :n])
        directions = self._stiffness
        # no push along them, and a cost that yields only where bounds ask for a movement
        information[:n, :n] += HELD_SU**-2 * directions @ directions.T
        gradient[:n] -= directions @ (directions.T @ gradient[:n])
        return NormalEquations(raw.value, gradient, information)

    def improve(
        self, point: Point, equations: NormalEquations, damping: float
    ) -> tuple[Point | None, float]:
        """Return a better point, or None where no step promises or brings a gain."""
        low, high = self._bounds(point)
        n = self.problem.n_groups
        diagonal = np.diag(equations.information)
        floor = np.maximum(diagonal, 1e-6 * max(float(diagonal.max(initial=0.0)), 1e-300))
        while damping <= _MOST_DAMPING:
            damped = equations.information + np.diag(damping * floor + 1e-9 * floor)
            room = self.problem.sums.limits[1] - self.limits[:, :n] @ point.occupancy
            step = solve_step(
                damped, equations.gradient, self.sums, low, high, limits=(self.limits, room)
            )
            gain = float(equations.gradient @ step - 0.5 * step @ equations.information @ step)
            if gain < self.smallest_gain:
                return None, damping
            moved = self._moved(point, step)
            if moved.objective > point.objective:
                return moved, damping / 10 if damping > _FIRST_DAMPING / 2 else 0.0
            damping = max(10 * damping, _FIRST_DAMPING)
        return None, damping

    def _bounds(self, point: Point) -> tuple[FloatArray, FloatArray]:
        low, high = -point.occupancy, 1 - point.occupancy
        if point.b_shift is None or self.b_shifts is None:
            return low, high
        below = np.minimum(self.b_shifts.lowest - point.b_shift, 0.0)
        return np.concatenate([low, below]), np.concatenate([high, np.full(len(below), 1e3)])

    def _moved(self, point: Point, step: FloatArray) -> Point:
        n = self.problem.n_groups
        occupancy = self.problem.sums.restored(np.clip(point.occupancy + step[:n], 0.0, 1.0))
        b = None if point.b_shift is None else point.b_shift + step[n:]
        return Point(occupancy, b, self.problem.value(occupancy, b) + self.log_prior(b))


def null_space(sums: FloatArray, n: int) -> FloatArray:
    """Return an orthonormal basis ``[n, m]`` of all d with A d = 0."""
    if len(sums) == 0:
        return np.eye(n)
    q = scipy.linalg.qr(sums.T, mode="full")[0]
    return np.asarray(q[:, len(sums) :])


def held_directions(information: FloatArray, sums: FloatArray) -> FloatArray:
    """Return orthonormal directions ``[n, m]``, allowed by the sums, that data do not determine."""
    free = null_space(sums, len(information))
    if free.shape[1] == 0:
        return np.zeros((len(information), 0))
    values, vectors = np.linalg.eigh(free.T @ information @ free)
    return np.asarray(free @ vectors[:, values < HELD_SU**-2])
