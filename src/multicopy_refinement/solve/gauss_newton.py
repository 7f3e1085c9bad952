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
from multicopy_refinement.solve.cholesky import positive_without
from multicopy_refinement.solve.common_factor import common_factor
from multicopy_refinement.solve.precision import HELD_SU
from multicopy_refinement.solve.quadratic import QuadraticProgramError, solve_step

#: Converged when the quadratic model promises less than this gain in the log posterior: then no
#: combination that may move is farther than 3e-4 from the maximum.
SMALLEST_GAIN = 1e-8
_FIRST_DAMPING, _MOST_DAMPING = 1e-3, 1e8
#: A step that gains between these parts of what was expected is one that the quadratic model was
#: right about: secants mend it. Elsewhere it is made anew.
_FAITHFUL = (0.5, 2.0)
#: A secant tells no less curvature than this part of what is known (Powell 1978).
_LEAST_CURVATURE = 0.2


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
    max_steps: int = 30, scoring: Scoring | None = None,
) -> Search:  # fmt: skip
    """Return the most probable point; the log posterior never falls on the way.

    Each step solves a quadratic model under the sums and bounds, damped (Levenberg) until the
    posterior rises. The model is the expected information, mended by the secants of the steps
    (Broyden 1970, J. Inst. Maths Applics 6, 76; Fletcher 1970, Comput. J. 13, 317), and made anew
    where it expects another gain than there is. Unknowns whose bounds coincide are held, and so
    are combinations of occupancies that the data do not determine. ``scoring`` is another way to
    its steps.
    """
    scoring = scoring or Scoring(posterior, smallest_gain)
    point = start
    try:
        here = scoring.normal(start)
        for step in range(max_steps):
            moved = scoring.improved(point, here)
            if moved is None:
                return Search(point, here.value, step, True, "no step promises or brings a gain")
            here = scoring.normal_after(point, here, moved)
            point = moved.point
    except QuadraticProgramError as fault:
        status = f"a step could not be computed: {fault}"
        return Search(point, here.value, step, False, status, failed=True)
    return Search(point, here.value, max_steps, False, f"still rising after {max_steps} steps")


@dataclass(frozen=True, eq=False)
class Moved:
    """A better point, its value, and the gain that was expected of it."""

    point: Point
    value: float
    expected: float


class Scoring:
    """The steps of one search, from a dense matrix that is factorised at each."""

    def __init__(self, posterior: Posterior, smallest_gain: float) -> None:
        self.posterior, self.smallest_gain = posterior, smallest_gain
        self.free = ~posterior.space.held
        self._held: FloatArray | None = None
        self._sums = posterior.equalities[:, self.free]
        self._damping = 0.0

    def normal(self, point: Point) -> Normal:
        """Return the normal equations of the free unknowns, without what the data do not determine.

        What is held is decided once, in double precision: it must not depend on a processor.
        """
        first = self._held is None
        raw = self.posterior.normal(point, precise=first)
        information = raw.information if self.free.all() else raw.information[self._free_pairs]
        if self._held is None:
            self._held = self._held_directions(raw.information)
            self._sums = self._with_factor(point)
        return Normal(raw.value, self._slope(raw.gradient), self._moving(information))

    def normal_after(self, point: Point, here: Normal, moved: Moved) -> Normal:
        """Return the normal equations after a step: mended where they were right about it."""
        low, high = _FAITHFUL
        if not low <= (moved.value - here.value) / moved.expected <= high:
            return self.normal(moved.point)
        slope = self._slope(self.posterior.gradient(moved.point))
        step = (moved.point.x - point.x)[self.free]
        step -= self._along_held(step)
        mended = with_secant(here.information, step, here.gradient - slope)
        return Normal(moved.value, slope, mended)

    def _slope(self, gradient: FloatArray) -> FloatArray:
        """Return the gradient of the free unknowns without what is held."""
        free = gradient[self.free]
        return np.asarray(free - self._along_held(free))

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
        if self._held is None or self._held.shape[1] == 0:
            return np.zeros_like(values)
        return np.asarray(self._held @ (self._held.T @ values))

    def _moving(self, matrix: FloatArray) -> FloatArray:
        """Return P M P, with P = 1 - D D' and D the held directions.

        A cross term of single precision between what is held and what moves would move what is
        held, by an amount that the processor's rounding decides.
        """
        if self._held is None or self._held.shape[1] == 0:
            return matrix
        half = matrix - self._along_held(matrix)
        return half - self._along_held(half.T).T

    def improved(self, point: Point, normal: Normal) -> Moved | None:
        """Return a better point, or None where no step promises or brings a gain."""
        while self._damping <= _MOST_DAMPING:
            try:
                step, gain = self.step(point, normal)
            except QuadraticProgramError:
                if self._damping > _MOST_DAMPING / 10:
                    raise
                self._harder()  # better conditioned
                continue
            if gain < self.least_gain:
                return None
            moved = self.along(point, normal, step, gain)
            if moved is not None:
                easier = self._damping > _FIRST_DAMPING / 2
                self._damping = self._damping / 10 if easier else 0.0
                return moved
            self._harder()
        return None

    def along(
        self, point: Point, normal: Normal, step: FloatArray, gain: float
    ) -> Moved | None:  # fmt: skip
        """Return the point after a step that promises a gain, or None where it brings none."""
        moved = self._moved(point, step)
        reached = self.posterior.value(moved)
        return Moved(moved, reached, gain) if reached > normal.value else None

    @property
    def least_gain(self) -> float:
        """Below which a promise is not worth a step."""
        return self.smallest_gain

    def step(self, point: Point, normal: Normal) -> tuple[FloatArray, float]:
        """Return the step of the free unknowns at the present damping, and what it promises.

        Raises
        ------
        QuadraticProgramError
            It could not be computed.
        """
        gradient, information = normal.gradient, normal.information
        low, high = self._bounds(point)
        trial = self._damped(information)
        step = solve_step(
            trial, gradient, self._sums, low, high, limits=self._limits(point)
        )  # fmt: skip
        return step, float(gradient @ step - 0.5 * step @ information @ step)

    def _damped(self, information: FloatArray) -> FloatArray:
        """Return the information with what damping adds to it."""
        stiff = self._stiffness
        damped = information.copy() if stiff is None else information + stiff
        ridge = (self._damping + 1e-9) * self._floor(np.diag(damped))
        if stiff is None:
            damped.flat[:: len(damped) + 1] += ridge
        else:
            damped += self._moving(np.diag(ridge))
        return damped

    def _limits(self, point: Point) -> tuple[FloatArray, FloatArray]:
        """Return C and room of C d <= room for steps of the free unknowns."""
        return self.posterior.limits[:, self.free], self.posterior.room(point)

    def _harder(self) -> None:
        self._damping = max(10 * self._damping, _FIRST_DAMPING)

    @cached_property
    def _stiffness(self) -> FloatArray | None:
        """A cost of moving along held directions that yields only where bounds ask for it."""
        if self._held is None or self._held.shape[1] == 0:
            return None
        return np.asarray(HELD_SU**-2 * self._held @ self._held.T)

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


def with_secant(information: FloatArray, step: FloatArray, fall: FloatArray) -> FloatArray:
    """Return a positive B' near B with B' s = y: the BFGS update, damped where s'y is too small.

    ``step`` is s and ``fall`` y, by how much the gradient fell along it (Powell 1978, Lecture
    Notes in Mathematics 630, 144, for the damping: y is moved towards B s until s'y is a fifth of
    s'B s).
    """
    known = information @ step
    damped = damped_fall(step, fall, known)
    if damped is None:
        return information
    bend, told = float(step @ known), float(step @ damped)
    return np.asarray(information + np.outer(damped, damped / told) - np.outer(known, known / bend))


def damped_fall(step: FloatArray, fall: FloatArray, known: FloatArray) -> FloatArray | None:
    """Return y moved towards B s until s'y is a fifth of s'B s; None where that is not positive."""
    bend, told = float(step @ known), float(step @ fall)
    if bend <= 0:
        return None
    if told >= _LEAST_CURVATURE * bend:
        return fall
    part = (1 - _LEAST_CURVATURE) * bend / (bend - told)
    return np.asarray(part * fall + (1 - part) * known)


def null_space(sums: FloatArray, n: int) -> FloatArray:
    """Return an orthonormal basis ``[n, m]`` of all d with A d = 0."""
    if len(sums) == 0:
        return np.eye(n)
    q = scipy.linalg.qr(sums.T, mode="full")[0]
    return np.asarray(q[:, len(sums) :])


def inside(free: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return Z'MZ for a basis of `null_space`."""
    whole = free.shape[0] == free.shape[1]  # then nothing is summed, and Z is the unit matrix
    return matrix if whole else np.asarray(free.T @ matrix @ free)


def all_above(matrix: FloatArray, value: float) -> bool:
    """Return whether all eigenvalues of a symmetric matrix are: then M - v has a Cholesky factor.

    That takes a twentieth of the time of the eigenvalues.
    """
    return positive_without(matrix, value)


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
    inner = inside(free, information[np.ix_(kept, kept)])
    if all_above(inner, HELD_SU**-2):
        return np.zeros((n, 0))
    values, vectors = np.linalg.eigh(inner)
    directions = np.zeros((n, int((values < HELD_SU**-2).sum())))
    directions[kept] = free @ vectors[:, values < HELD_SU**-2]
    return directions
