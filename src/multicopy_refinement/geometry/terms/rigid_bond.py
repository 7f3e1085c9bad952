"""Rigid bonds: two anisotropic atoms are displaced alike along the line between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.geometry.terms.base import (
    Columns,
    Linear,
    Pairs,
    State,
    dot,
    rows_of,
    unit,
)
from multicopy_refinement.geometry.terms.displacements import BASIS, columns_of, tensors


@dataclass(frozen=True, eq=False)
class RigidBonds(Pairs):
    """Pairs of bonded atoms, or one angle apart: r = e'(U1 - U2)e/sigma, e along x1 - x2.

    Hirshfeld (1976), Acta Cryst. A32, 239; Rollett (1970), Crystallographic Computing, p. 169.
    Sigma is in A^2.

    Attributes
    ----------
    anisotropic
        Which of all atoms are, ``[n]``.
    """

    anisotropic: BoolArray
    name: ClassVar[str] = "rigid bonds"
    shown: ClassVar[tuple[float, str]] = (1.0, "A^2")

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals in units of sigma, ``[m]``."""
        direction, _, difference = self._parts(at)
        return np.asarray(np.einsum("mi,mij,mj->m", direction, difference, direction) / self.sigma)

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives, by coordinates as well."""
        direction, length, difference = self._parts(at)
        pulled = np.einsum("mij,mj->mi", difference, direction)
        along = dot(direction, pulled)
        by_x = 2 * (pulled - along[:, None] * direction) / (length * self.sigma)[:, None]
        by_u = np.einsum("mi,sij,mj->ms", direction, BASIS, direction) / self.sigma[:, None]
        columns = Columns(len(at.xyz))
        where = [columns.xyz(self.atoms).reshape(len(self), 6)]
        values = [np.concatenate([by_x, -by_x], axis=1)]
        for atoms, sign in zip(self.atoms.T, (1, -1), strict=True):
            place, value = columns_of(atoms, self.anisotropic, sign * by_u)
            where.append(place)
            values.append(value)
        rows = rows_of(np.hstack(where), np.hstack(values), columns.size)
        return Linear(along / self.sigma, rows)

    def _parts(self, at: State) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return directions, distances and U1 - U2."""
        one, other = self.atoms.T
        direction, length = unit(at.xyz[one] - at.xyz[other])
        difference = tensors(at, one, self.anisotropic) - tensors(at, other, self.anisotropic)
        return direction, length, difference
