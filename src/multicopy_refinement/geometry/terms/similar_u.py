"""Similar U of anisotropic atoms and their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.crystal.symmetry import VOIGT
from multicopy_refinement.geometry.terms.base import Columns, Linear, Pairs, State, rows_of
from multicopy_refinement.geometry.terms.displacements import columns_of, tensors


@dataclass(frozen=True, eq=False)
class SimilarU(Pairs):
    """Pairs of atoms: sum r^2 = (tr(U1^-1 U2) + tr(U2^-1 U1) - 6)/(3 sigma^2).

    Up to a factor the symmetric Kullback-Leibler distance of two Gaussians, as in
    Murshudov et al. (2011), Acta Cryst. D67, 355; for isotropic U it is that of `SimilarB`.
    With U = L L' and C = L2^-1 L1 the nine residuals are the elements of
    (C' - C^-1)/(sqrt(3) sigma). They are no numbers where a U is not positive definite.
    Sigma is relative.

    Attributes
    ----------
    anisotropic
        Which of all atoms are, ``[n]``.
    expected
        What U1 is expected to be in units of U2, ``[m]``: C is divided by its root.
    """

    anisotropic: BoolArray
    expected: FloatArray | float = 1.0
    name: ClassVar[str] = "U similarity"

    def residuals(self, at: State) -> FloatArray:
        """Return nine residuals a pair in units of sigma."""
        one, other = (cholesky(tensors(at, a, self.anisotropic)) for a in self.atoms.T)
        ratio = self._root * (inverse_lower(other) @ one)
        found = ratio.transpose(0, 2, 1) - inverse_lower(ratio)
        return np.asarray((found / self._scale[:, None, None]).ravel())

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives.

        dL = L P(L^-1 dU L'^-1), P the lower triangle with half the diagonal (Smith 1995,
        J. Comput. Graph. Stat. 4, 134), so that dC = C P1 - P2 C, d(C^-1) = C^-1 P2 - P1 C^-1 and
        d(C' - C^-1) = P1'C' + P1 C^-1 - C'P2' - C^-1 P2.
        """
        one, other = (cholesky(tensors(at, a, self.anisotropic)) for a in self.atoms.T)
        ratio = self._root * (inverse_lower(other) @ one)
        back = inverse_lower(ratio)
        first, second = _factor_slopes(one), _factor_slopes(other)
        slopes = (
            _times(first.transpose(0, 1, 3, 2), ratio.transpose(0, 2, 1)) + _times(first, back),
            -_times(second, ratio).transpose(0, 1, 3, 2)
            - _times(second.transpose(0, 1, 3, 2), back.transpose(0, 2, 1)).transpose(0, 1, 3, 2),
        )
        where, values = [], []
        for atoms, slope in zip(self.atoms.T, slopes, strict=True):  # slope: [m, 6, 3, 3]
            scaled = (slope / self._scale[:, None, None, None]).reshape(-1, 6, 9)
            place, value = columns_of(atoms, self.anisotropic, scaled.transpose(0, 2, 1))
            where.append(np.repeat(place[:, None], 9, axis=1).reshape(-1, 6))
            values.append(value.reshape(-1, 6))
        rows = rows_of(np.hstack(where), np.hstack(values), Columns(len(at.xyz)).size)
        found = ratio.transpose(0, 2, 1) - back
        return Linear((found / self._scale[:, None, None]).ravel(), rows)

    @property
    def _root(self) -> FloatArray:
        return np.asarray(self.expected, dtype=float).reshape(-1, 1, 1) ** -0.5

    @property
    def _scale(self) -> FloatArray:
        return np.asarray(np.sqrt(3.0) * self.sigma)


def cholesky(u: FloatArray) -> FloatArray:
    """Return L of U = L L', ``[m, 3, 3]``; not numbers where U is not positive definite."""
    lower = np.zeros_like(u)
    with np.errstate(invalid="ignore", divide="ignore"):
        for j in range(3):
            rest = u[:, j, j] - np.einsum("mk,mk->m", lower[:, j, :j], lower[:, j, :j])
            lower[:, j, j] = np.sqrt(np.where(rest > 0, rest, np.nan))
            for i in range(j + 1, 3):
                known = np.einsum("mk,mk->m", lower[:, i, :j], lower[:, j, :j])
                lower[:, i, j] = (u[:, i, j] - known) / lower[:, j, j]
    return lower


def inverse_lower(lower: FloatArray) -> FloatArray:
    """Return the inverse of lower triangular matrices, ``[m, 3, 3]``."""
    a, b, c = (1 / lower[:, i, i] for i in range(3))
    found = np.zeros_like(lower)
    found[:, 0, 0], found[:, 1, 1], found[:, 2, 2] = a, b, c
    found[:, 1, 0] = -lower[:, 1, 0] * a * b
    found[:, 2, 1] = -lower[:, 2, 1] * b * c
    found[:, 2, 0] = -(lower[:, 2, 0] * a + lower[:, 2, 1] * found[:, 1, 0]) * c
    return found


def _factor_slopes(lower: FloatArray) -> FloatArray:
    """Return P(L^-1 dU L'^-1) for the six elements of U, ``[m, 6, 3, 3]``."""
    columns = inverse_lower(lower).transpose(0, 2, 1)
    (i, j), half = np.array(VOIGT).T, np.where(np.arange(6) < 3, 0.5, 1.0)
    outer = columns[:, i, :, None] * columns[:, j, None, :] * half[:, None, None]
    middle = outer + outer.transpose(0, 1, 3, 2)
    return np.asarray(middle * (np.tril(np.ones((3, 3)), -1) + 0.5 * np.eye(3)))


def _times(six: FloatArray, matrices: FloatArray) -> FloatArray:
    """Return the products of six matrices ``[m, 6, 3, 3]`` each with one ``[m, 3, 3]``."""
    rows = six.reshape(len(six), 18, 3)  # as one product, which is much quicker than six
    return np.asarray((rows @ matrices).reshape(six.shape))
