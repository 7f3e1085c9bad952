"""Bond angles: r = (theta - theta0)/sigma; three residuals for angles that are straight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.geometry.terms.base import (
    Columns,
    Internal,
    Linear,
    State,
    dot,
    rows_of,
    unit,
)

#: Angles with ideal values above this (radian) are straight: their derivative has no direction.
STRAIGHT = np.radians(175.0)
_SMALLEST_SINE = 1e-6


@dataclass(frozen=True, eq=False)
class Angles(Internal):
    """Angles in radian at the second of three atoms.

    With u, v the unit vectors to the ends and a, b their lengths,
    d theta/dx1 = (cos(theta) u - v)/(a sin(theta)), and likewise for x3.
    """

    name: ClassVar[str] = "angles"
    shown: ClassVar[tuple[float, str]] = (float(np.degrees(1.0)), "deg")

    def measure(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return angles and their derivatives."""
        one, a = unit(places[:, 0] - places[:, 1])
        other, b = unit(places[:, 2] - places[:, 1])
        cosine = np.clip(dot(one, other), -1.0, 1.0)
        # the angle by its tangent is exact near 0 and 180 degrees, where the cosine is not
        half_sum, half_difference = one + other, one - other
        angle = 2 * np.arctan2(
            np.sqrt(dot(half_difference, half_difference)), np.sqrt(dot(half_sum, half_sum))
        )
        sine = np.maximum(np.sin(angle), _SMALLEST_SINE)
        first = (cosine[:, None] * one - other) / (a * sine)[:, None]
        last = (cosine[:, None] * other - one) / (b * sine)[:, None]
        return angle, np.stack([first, -first - last, last], axis=1)


@dataclass(frozen=True, eq=False)
class StraightAngles(Internal):
    """Angles of 180 degrees: the vector residual r = (u + v)/sigma has |u + v| = 2 cos(theta/2).

    It is pi - theta for small bends, and smooth at 180 degrees.
    """

    name: ClassVar[str] = "angles"
    shown: ClassVar[tuple[float, str]] = Angles.shown

    def measure(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return angles and their derivatives (of no use at 180 degrees)."""
        return Angles.measure(self, places)  # type: ignore[arg-type]

    def residuals(self, at: State) -> FloatArray:
        """Return three residuals an angle."""
        places = at.xyz[self.atoms]
        bend = unit(places[:, 0] - places[:, 1])[0] + unit(places[:, 2] - places[:, 1])[0]
        return np.asarray((bend / self.sigma[:, None]).ravel())

    def linear(self, at: State) -> Linear:
        """Return three residuals an angle, and derivatives."""
        places = at.xyz[self.atoms]
        one, a = unit(places[:, 0] - places[:, 1])
        other, b = unit(places[:, 2] - places[:, 1])
        first = _turning(one, a) / self.sigma[:, None, None]
        last = _turning(other, b) / self.sigma[:, None, None]
        slopes = np.stack([first, -first - last, last], axis=2)  # [m, component, atom, xyz]
        columns = Columns(len(at.xyz))
        where = np.repeat(columns.xyz(self.atoms).reshape(len(self), 1, 9), 3, axis=1)
        rows = rows_of(where.reshape(-1, 9), slopes.reshape(-1, 9), columns.size)
        return Linear(self.residuals(at), rows)


def _turning(direction: FloatArray, length: FloatArray) -> FloatArray:
    """Return d(unit vector)/d(vector) = (1 - u u')/length, ``[m, 3, 3]``."""
    outer = np.eye(3) - direction[:, :, None] * direction[:, None, :]
    return np.asarray(outer / length[:, None, None])
