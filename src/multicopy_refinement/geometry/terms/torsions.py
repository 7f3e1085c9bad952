"""Torsion angles, periodic: r = 2 sin(n (phi - phi0)/2)/(n sigma)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry.terms.base import Internal, cross, dot, unit


@dataclass(frozen=True, eq=False)
class Torsions(Internal):
    """Torsion angles in radian about the bond of the second and third atoms.

    r'r/2 = (1 - cos(n (phi - phi0)))/(n sigma)^2, which is ((phi - phi0)/sigma)^2/2 near each of
    the n minima and smooth between them. Derivatives as Blondel & Karplus (1996), J. Comput. Chem.
    17, 1132, eq. 27.

    Attributes
    ----------
    period
        n, ``[m]``.
    """

    period: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    name: ClassVar[str] = "torsions"
    shown: ClassVar[tuple[float, str]] = (float(np.degrees(1.0)), "deg")

    def measure(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return torsion angles and their derivatives."""
        f = places[:, 0] - places[:, 1]
        g = places[:, 1] - places[:, 2]
        h = places[:, 3] - places[:, 2]
        a, b = cross(f, g), cross(h, g)
        direction, length = unit(g)
        angle = np.arctan2(dot(cross(b, a), direction), dot(a, b))
        a_scaled = a / np.maximum(dot(a, a), 1e-12)[:, None]
        b_scaled = b / np.maximum(dot(b, b), 1e-12)[:, None]
        first, last = -length[:, None] * a_scaled, length[:, None] * b_scaled
        along_f = (dot(f, g) / length)[:, None] * a_scaled
        along_h = (dot(h, g) / length)[:, None] * b_scaled
        inner = along_f - along_h
        return angle, np.stack([first, -first + inner, -last - inner, last], axis=1)

    def deviation(self, measured: FloatArray) -> FloatArray:
        """Return phi - phi0 from the nearest of the n minima."""
        turn = 2 * np.pi / self.period
        off = measured - self.ideal
        return np.asarray(off - turn * np.rint(off / turn))

    def in_sigmas(self, measured: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return r of phi, and dr/dphi."""
        half = 0.5 * self.period * self.deviation(measured)
        return 2 * np.sin(half) / (self.period * self.sigma), np.cos(half) / self.sigma
