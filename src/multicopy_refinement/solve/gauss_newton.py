"""Damped Fisher scoring with exact sums and bounds, for spaces that fit into a dense matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.posterior.terms import Normal
from multicopy_refinement.solve.common_factor import common_factor
from multicopy_refinement.solve.quadratic import QuadraticProgramError, solve_step

#: A combination of occupancies with a larger su than this is not moved: over the whole range from 0
#: to 1 the log-likelihood changes along it by less than an eighth.
HELD_SU = 2.0
#: Converged when the quadratic model promises less than this gain in the log posterior: then no
#: combination that may move is farther than 3e-4 from the maximum.
SMALLEST_GAIN = 1e-8
_FIRST_DAMPING, _MOST_DAMPING = 1e-3, 1e8
#: The smallest gain that tells the curvature, and how far that may be from the expected one.
_TELLING, _LEAST_BEND, _MOST_BEND = 1e-5, 0.5, 2.0


@dataclass(frozen=True, eq=False)
class Search:
    """How a search ended.

    Attributes
    ----------
    point
        Where it ended.
    value
        Log posterior there.
    steps
        Taken on the way.
    converged
        Whether nothing more is promised.
    status
        The same in words.
    failed
        Whether it ended because a step could not be computed.
    """

    point: Point
    value: float
    steps: int
    converged: bool
    status: str
    failed: bool = False


def maximise(
    posterior: Posterior, start: Point, *, smallest_gain: float = SMALLEST_GAIN,
    max_steps: int = 30,
) -> Search:  # fmt: skip
    """Return the most probable point; the log posterior never falls on the way.

    Each step solves the quadratic model of the expected information under the sums and bounds,
    damped (Levenberg) until the posterior rises. Unknowns whose bounds coincide are held, and so
    are combinations of occupancies that the data do not determine.
    """
    scoring = _Scoring(posterior, smallest_gain)
    point, value = start, posterior.value(start)
    damping = 0.0
    try:
        for step in range(max_steps):
            normal = scoring.normal(point)
            moved, damping = scoring.improve(point, value, normal, damping)
            if moved is None:
                return Search(point, value, step, True, "no step promises or brings a gain")
            point, value = moved
    except QuadraticProgramError as fault:
        status = f"a step could not be computed: {fault}"
        return Search(point, value, step, False, status, failed=True)
    return Search(point, value, max_steps, False, f"still rising after {max_steps} steps")


class _Scoring:
    """The steps of one search."""

    def __init__(self, posterior: Posterior, smallest_gain: float) -> None:
        self.posterior, self.smallest_gain = posterior, smallest_gain
        self.free = ~posterior.space.held
        self._held: FloatArray | None = None
        self._sums = posterior.equalities[:, self.free]
        self._curvature = 1.0

    def normal(self, point: Point) -> Normal:
        """Return the normal equations of the free unknowns, without what the data do not determine.

        What is held is decided once, in double precision: it must not depend on a processor.
        """
        first = self._held is None
        raw = self.posterior.normal(point, precise=first)
        gradient, information = raw.gradient[self.free], raw.information[self._free_pairs]
        if self._held is None:
            self._held = self._held_directions(raw.information)
            self._sums = self._with_factor(point)
        return Normal(raw.value, gradient - self._along_held(gradient), self._moving(information))

    @cached_property
    def _free_pairs(self) -> tuple[np.ndarray, ...]:
        return np.ix_(self.free, self.free)

    def _held_directions(self, information: FloatArray) -> FloatArray:
        """Return the undetermined directions of occupancies among the free unknowns."""
        q = self.posterior.space.place(Kind.OCCUPANCY)
        rows = self.posterior.sums.equalities[0]
        found = held_directions(information[q, q], rows, self.free[q])
        directions = np.zeros((self.posterior.space.size, found.shape[1]))
        directions[q] = found
        return directions[self.free]

    def _with_factor(self, point: Point) -> FloatArray:
        """Return the rows of the sums, and one that holds a common factor that nothing tells.

        Moving along it would cost nothing, and the bounds of a few groups would shift all others.
        """
        factor = common_factor(self.posterior, point)
        if factor is None:
            return self._sums
        row = np.zeros(self.posterior.space.size)
        row[self.posterior.space.place(Kind.OCCUPANCY)] = factor
        return np.vstack([self._sums, row[self.free]])

    def _along_held(self, values: FloatArray) -> FloatArray:
        """Return the part of vectors, ``[n_free, ...]``, that lies along the held directions."""
        return np.zeros_like(values) if self._held is None else self._held @ (self._held.T @ values)

    def _moving(self, matrix: FloatArray) -> FloatArray:
        """Return P M P, with P = 1 - D D' and D the held directions.

        A cross term of single precision between what is held and what moves would move what is
        held, by an amount that the processor's rounding decides.
        """
        half = matrix - self._along_held(matrix)
        return half - self._along_held(half.T).T

    def improve(
        self, point: Point, value: float, normal: Normal, damping: float
    ) -> tuple[tuple[Point, float] | None, float]:
        """Return a better point with its value, or None where no step promises or brings a gain."""
        gradient, information = normal.gradient, self._curvature * normal.information
        low, high = self._bounds(point)
        # a cost of moving along held directions that yields only where bounds ask for it
        stiff = HELD_SU**-2 * self._along_held(np.eye(len(gradient)))
        floor = self._floor(np.diag(information + stiff))
        sums = self._sums
        limits = self.posterior.limits[:, self.free]
        room = self.posterior.room(point)
        while damping <= _MOST_DAMPING:
            damped = information + self._moving(np.diag((damping + 1e-9) * floor)) + stiff
            try:
                step = solve_step(damped, gradient, sums, low, high, limits=(limits, room))
            except QuadraticProgramError:
                if damping > _MOST_DAMPING / 10:
                    raise
                damping = max(10 * damping, _FIRST_DAMPING)  # better conditioned
                continue
            gain = float(gradient @ step - 0.5 * step @ information @ step)
            if gain < self.smallest_gain:
                return None, damping
            moved = self._moved(point, step)
            reached = self.posterior.value(moved)
            if reached > value:
                self._learn(float(gradient @ step), reached - value, normal.information, step)
                damping = damping / 10 if damping > _FIRST_DAMPING / 2 else 0.0
                return (moved, reached), damping
            damping = max(10 * damping, _FIRST_DAMPING)
        return None, damping

    def _learn(
        self, slope: float, gained: float, information: FloatArray, step: FloatArray
    ) -> None:
        """Note by how much the log posterior bends more than the expected information says.

        Along a step d it gains g'd - c d'Hd/2. Where the errors are those of other reflections
        than the ones that are fitted c is not 1, and steps of H alone creep.
        """
        bend = float(step @ information @ step)
        if gained > _TELLING and bend > 0:
            self._curvature = min(max(2 * (slope - gained) / bend, _LEAST_BEND), _MOST_BEND)

    def _floor(self, diagonal: FloatArray) -> FloatArray:
        """Return what damping goes by: the diagonal, with a floor in each block's own units."""
        floor = np.zeros(self.posterior.space.size)
        floor[self.free] = diagonal
        for kind in self.posterior.space.kinds:
            place = self.posterior.space.place(kind)
            most = max(float(floor[place].max(initial=0.0)), 1e-300)
            floor[place] = np.maximum(floor[place], 1e-6 * most)
        return floor[self.free]

    def _bounds(self, point: Point) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest step of every free unknown."""
        space, x = self.posterior.space, point.x
        low, high = np.minimum(space.lower - x, 0.0), np.maximum(space.upper - x, 0.0)
        return low[self.free], high[self.free]

    def _moved(self, point: Point, step: FloatArray) -> Point:
        x = point.x.copy()
        x[self.free] += step
        q = self.posterior.space.place(Kind.OCCUPANCY)
        held = None if self.free[q].all() else ~self.free[q]
        x[q] = self.posterior.sums.restored(np.clip(x[q], 0.0, 1.0), held)
        return Point(point.space, x)


def null_space(sums: FloatArray, n: int) -> FloatArray:
    """Return an orthonormal basis ``[n, m]`` of all d with A d = 0."""
    if len(sums) == 0:
        return np.eye(n)
    q = scipy.linalg.qr(sums.T, mode="full")[0]
    return np.asarray(q[:, len(sums) :])


def held_directions(
    information: FloatArray, sums: FloatArray, moving: np.ndarray | None = None
) -> FloatArray:
    """Return orthonormal directions ``[n, m]``, allowed by the sums, that data do not determine.

    ``moving`` leaves out unknowns that are held in any case.
    """
    n = len(information)
    kept = np.arange(n) if moving is None else np.flatnonzero(moving)
    rows = sums[:, kept]
    free = null_space(rows[rows.any(axis=1)], len(kept))
    if free.shape[1] == 0:
        return np.zeros((n, 0))
    values, vectors = np.linalg.eigh(free.T @ information[np.ix_(kept, kept)] @ free)
    directions = np.zeros((n, int((values < HELD_SU**-2).sum())))
    directions[kept] = free @ vectors[:, values < HELD_SU**-2]
    return directions
