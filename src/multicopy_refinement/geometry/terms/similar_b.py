"""Similar isotropic B of atoms that are bonded, one angle or one torsion apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.geometry.terms.base import Columns, Linear, Pairs, State, rows_of


@dataclass(frozen=True, eq=False)
class SimilarB(Pairs):
    """Pairs of isotropic atoms: r = (B1 - x B2)/(sqrt(x B1 B2) sigma), B1/B2 expected at x.

    r^2 sigma^2 = (B1 - B2)^2/(B1 B2) is, up to a factor, the symmetric Kullback-Leibler distance
    of two isotropic Gaussians (Murshudov et al. 2011, Acta Cryst. D67, 355).
    Sigma is relative.

    Attributes
    ----------
    expected
        x, ``[m]``.
    bonded
        Whether bonds join the atoms; otherwise hydrogen bonds or metals do.
    """

    expected: FloatArray | float = 1.0
    bonded: bool = True
    name: ClassVar[str] = "B similarity"

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals in units of sigma, ``[m]``."""
        one, other = self._both(at)
        return np.asarray((one - other) / (np.sqrt(one * other) * self.sigma))

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives: dr/dB1 = (B1 + B2)/(2 B1 sqrt(B1 B2) sigma)."""
        one, other = self._both(at)
        common = (one + other) / (2 * np.sqrt(one * other) * self.sigma)
        slopes = np.stack([common / one, -common / other * self.expected], axis=1)
        columns = Columns(len(at.b_iso))
        rows = rows_of(columns.b_iso(self.atoms), slopes, columns.size)
        return Linear(self.residuals(at), rows)

    def _both(self, at: State) -> tuple[FloatArray, FloatArray]:
        """Return B1 and x B2."""
        one, other = at.b_iso[self.atoms].T
        return one, self.expected * other
