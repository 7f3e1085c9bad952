"""The search among many unknowns: an information that is made and inverted as seldom as it can."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.posterior.terms import Normal
from multicopy_refinement.solve import gauss_newton
from multicopy_refinement.solve.curvature import bounded_step, inverse_of, mend
from multicopy_refinement.solve.gauss_newton import (
    SMALLEST_GAIN,
    Moved,
    Scoring,
    Search,
    damped_fall,
)
from multicopy_refinement.solve.precision import MANY, clearly_determined

#: A search ends when a step promises less than this part of what it has gained: scale, solvent and
#: errors change by more when they are renewed after it.
_ENOUGH = 1e-4
#: The same of a search that another one follows whose errors are others, and the least gain that is
#: worth a step of it: to go to its very end would be waste.
_ENOUGH_AT_FIRST, _WORTH_AT_FIRST = 1e-3, 0.1
#: An information is taken over from the last search where its diagonal has changed by one factor
#: for all, to within this one.
_ALIKE = 2.0
#: A step that gains between these parts of what was expected is mended by a secant.
_FAITHFUL = (0.25, 4.0)
#: A step of which not this part brings a gain is damped instead.
_SHORTEST = 0.02


@dataclass(eq=False)
class Curvature:
    """The inverse of the information of one search, for the next.

    Attributes
    ----------
    inverse
        Of the information of the free unknowns, ``[n, n]``; it is changed in place.
    held
        Directions that are held, ``[n, m]``.
    diagonal
        Of the data's information on the occupancies where it was made, ``[n_groups]``.
    """

    inverse: FloatArray
    held: FloatArray
    diagonal: FloatArray


def maximise(
    posterior: Posterior, start: Point, *, at_first: bool = False,
    kept: list[Curvature] | None = None,
) -> Search:  # fmt: skip
    """Return the most probable point, as `gauss_newton.maximise` does.

    With fewer than 400 free unknowns it is that. With more, where the matrix and its factors take
    all the time, steps come from its inverse (`bounded_step`), which secants mend; it is made in
    single precision, once, and anew only where a step gains much less or much more than expected.
    ``kept`` holds that of the last search, if any, and then has that of this one. ``at_first`` is
    for a search with errors that are not yet those of the model: it ends earlier.
    """
    smallest_gain = _WORTH_AT_FIRST if at_first else SMALLEST_GAIN
    if int((~posterior.space.held).sum()) < MANY:
        return gauss_newton.maximise(posterior, start, smallest_gain=smallest_gain)
    enough = _ENOUGH_AT_FIRST if at_first else _ENOUGH
    scoring = _ManyScoring(posterior, smallest_gain, enough, [] if kept is None else kept)
    return gauss_newton.maximise(posterior, start, smallest_gain=smallest_gain, scoring=scoring)


class _ManyScoring(Scoring):
    """The steps of one search, from an inverse."""

    def __init__(
        self, posterior: Posterior, smallest_gain: float, enough: float, kept: list[Curvature]
    ) -> None:  # fmt: skip
        super().__init__(posterior, smallest_gain)
        self._kept, self._gained, self._enough = kept, 0.0, enough
        self._known: FloatArray | None = None
        self._dense: tuple[Point, FloatArray] | None = None

    @property
    def least_gain(self) -> float:
        """Below which a promise is not worth a step."""
        return max(self.smallest_gain, self._enough * self._gained)

    def normal(self, point: Point) -> Normal:
        """Return value and gradient; the information is kept as its inverse."""
        if self._held is None and self._taken_over(point):
            self._sums = self._with_factor(point)
            value = self.posterior.value(point)
            return Normal(value, self._slope(self.posterior.gradient(point)), _NOTHING)
        self._kept.clear()
        raw = self.posterior.normal(point, precise=False)
        if self._held is None:
            self._held = np.zeros((int(self.free.sum()), 0))
            if not self._determined(raw.information):
                raw = self.posterior.normal(point)
                self._held = self._held_directions(raw.information)
            self._sums = self._with_factor(point)
        self._invert(point, raw.information)
        return Normal(raw.value, self._slope(raw.gradient), _NOTHING)

    def _taken_over(self, point: Point) -> bool:
        """Bring the inverse of the last search to the information of today, where it is alike."""
        if not self._kept:
            return False
        kept = self._kept[0]
        data = self.posterior.data
        (now,) = data.diagonal_information(point, Kind.OCCUPANCY, data.target)
        if len(kept.inverse) != int(self.free.sum()) or not (kept.diagonal > 0).all():
            return False
        ratio = now / kept.diagonal
        middle = float(np.median(ratio))
        if not (ratio < _ALIKE * middle).all() or not (_ALIKE * ratio > middle).all():
            return False
        whole = np.full(self.posterior.space.size, middle)
        whole[self.posterior.space.place(Kind.OCCUPANCY)] = ratio
        scale = 1 / np.sqrt(whole[self.free])
        kept.inverse *= scale
        kept.inverse *= scale[:, None]
        kept.diagonal, self._held = now, kept.held
        return True

    def _determined(self, information: FloatArray) -> bool:
        q = self.posterior.space.place(Kind.OCCUPANCY)
        own = information[q, q]
        free = self.free[q]
        return clearly_determined(own if free.all() else own[np.ix_(free, free)])

    def _invert(self, point: Point, information: FloatArray) -> None:
        """Keep the inverse of an information, whose memory it takes."""
        diagonal = np.diag(information)[self.posterior.space.place(Kind.OCCUPANCY)].copy()
        free = information if self.free.all() else information[self._free_pairs]
        damping, self._damping = self._damping, 0.0
        inverse = inverse_of(self._damped(self._moving(free)))
        self._damping = damping
        assert self._held is not None
        if inverse is not None:
            self._kept[:] = [Curvature(inverse, self._held, diagonal)]

    def step(self, point: Point, normal: Normal) -> tuple[FloatArray, float]:
        """Return the step of the free unknowns at the present damping, and what it promises."""
        self._known = None
        if self._damping == 0 and self._kept:
            low, high = self._bounds(point)
            found = bounded_step(
                self._kept[0].inverse, normal.gradient, self._sums, low, high, self._limits(point)
            )
            if found is not None:
                self._known = found.known - self._along_held(found.known)
                bend = float(found.step @ self._known)
                return found.step, float(normal.gradient @ found.step) - 0.5 * bend
        if self._dense is None or self._dense[0] is not point:
            raw = self.posterior.normal(point, precise=False).information
            free = raw if self.free.all() else raw[self._free_pairs]
            self._dense = point, self._moving(free)
        return super().step(point, Normal(normal.value, normal.gradient, self._dense[1]))

    def along(
        self, point: Point, normal: Normal, step: FloatArray, gain: float
    ) -> Moved | None:  # fmt: skip
        """Return a better point along a step, short of its end where that is too far.

        To damp it the matrix is needed; along it a value is, and a secant then mends the inverse.
        """
        if self._known is None:  # it is not from the inverse
            return super().along(point, normal, step, gain)
        rise, bend, part = float(normal.gradient @ step), float(step @ self._known), 1.0
        while part > _SHORTEST:
            moved = self._moved(point, part * step)
            reached = self.posterior.value(moved)
            if reached > normal.value:
                self._known *= part
                return Moved(moved, reached, part * rise - 0.5 * part**2 * bend)
            # where the parabola through value and slope here and the value there is highest
            highest = 0.5 * part**2 * rise / (part * rise + normal.value - reached)
            part = float(np.clip(highest, 0.1 * part, 0.5 * part))
        return None

    def normal_after(self, point: Point, here: Normal, moved: Moved) -> Normal:
        """Return value and gradient after a step; the inverse is mended where it was right."""
        self._gained += moved.value - here.value
        self._dense = None
        low, high = _FAITHFUL
        if self._known is None or not low <= (moved.value - here.value) / moved.expected <= high:
            return self.normal(moved.point)
        slope = self._slope(self.posterior.gradient(moved.point))
        step = (moved.point.x - point.x)[self.free]
        step -= self._along_held(step)
        fall = damped_fall(step, here.gradient - slope, self._known)
        if fall is not None:
            mend(self._kept[0].inverse, step, fall)
        return Normal(moved.value, slope, _NOTHING)


#: The information of a `Normal` whose inverse is kept.
_NOTHING = np.zeros((0, 0))
