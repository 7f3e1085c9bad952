"""Scale and solvent as unknowns: ln k, anisotropic B, k_sol, B_sol, C_sol; their derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.posterior.blocks import Block, Kind, Point, Space
from multicopy_refinement.scaling import Scale
from multicopy_refinement.scaling.scaler import (
    B_BOUNDS,
    C_BOUNDS,
    quadratic_terms,
    solvent_fall,
)
from multicopy_refinement.scaling.solvent import Displaced
from multicopy_refinement.scattering.rows import weighted_complex_rows


@dataclass(frozen=True, eq=False)
class DenseJacobian:
    """Stored columns, complex ``[size, n]``."""

    matrix: ComplexArray

    def times(self, v: FloatArray) -> ComplexArray:
        """Return J v, complex ``[n]``."""
        return np.asarray(v @ self.matrix)

    def adjoint(self, c: ComplexArray) -> FloatArray:
        """Return Re(J* c), ``[size]``."""
        return np.asarray((self.matrix.conj() @ c).real)

    def columns(
        self, rows: slice, along: ComplexArray, dtype: type[np.floating]
    ) -> NDArray[np.floating]:
        """Return Re(conj(along) J) of some reflections, ``[size, n_rows]``."""
        return (self.matrix[:, rows] * along.conj()).real.astype(dtype)


@dataclass(frozen=True, eq=False)
class ScaledMask:
    """k(h) = exp(ln k - h'Bh/4) and S F_mask, S = k_sol exp(-B_sol s^2/4 - C_sol s^4).

    SCALE is ln k and B along the tensors that the point group allows, SOLVENT is k_sol, B_sol and
    C_sol. Where a point's space does not have them, they are held at ``scale``.

    Attributes
    ----------
    scale
        The fitted values.
    basis
        The allowed tensors, ``[n_b, 6]``.
    quadratic
        h'Bh of each of them, ``[n, n_b]``.
    s_squared
        1/d^2 in 1/A^2, ``[n]``.
    f_mask
        Complex ``[n]``.
    held
        k(h), and S(h) F_mask, of the fitted values.
    """

    scale: Scale
    basis: FloatArray
    quadratic: FloatArray
    s_squared: FloatArray
    f_mask: ComplexArray
    held: tuple[FloatArray, ComplexArray]

    @classmethod
    def of(
        cls, scale: Scale, group: SpaceGroup, hkl: IntArray, s_squared: FloatArray,
        f_mask: ComplexArray,
    ) -> ScaledMask:  # fmt: skip
        """Return the scale and solvent of some reflections."""
        basis = group.adp_basis
        held = scale.overall(hkl), scale.solvent(s_squared) * f_mask
        quadratic = quadratic_terms(hkl) @ basis.T
        return cls(scale, basis, quadratic, s_squared, f_mask, held)

    @cached_property
    def point(self) -> Point:
        """The fitted values; without solvent in the model there is no SOLVENT."""
        values = {Kind.SCALE: np.array([np.log(self.scale.k), *(self.basis @ self.scale.b_cryst)])}
        if self.scale.has_solvent:
            values[Kind.SOLVENT] = self._fitted_solvent
        blocks = [Block.unbounded(Kind.SCALE, len(values[Kind.SCALE]), nuisance=True)]
        if Kind.SOLVENT in values:
            low, high = np.array([self.scale.k_bounds, B_BOUNDS, C_BOUNDS]).T
            blocks.append(Block(Kind.SOLVENT, low, high, nuisance=True))
        return Space(tuple(blocks)).point(values)

    def f_mask_with(self, displaced: Displaced | None, occupancy: FloatArray) -> ComplexArray:
        """Return F of the solvent with groups there that displace it, complex ``[n]``.

        F_mask(q) = F_mask(0) - sum_g q_g M_g.
        """
        f = self.f_mask.copy()
        if displaced is not None:
            f[displaced.low] -= weighted_complex_rows(displaced.columns, occupancy)
        return f

    def overall(self, at: Point) -> FloatArray:
        """Return k(h), ``[n]``."""
        values = at.get(Kind.SCALE)
        if values is None:
            return self.held[0]
        return np.asarray(np.exp(values[0] - self.quadratic @ values[1:] / 4))

    def solvent(self, at: Point, f_mask: ComplexArray) -> ComplexArray:
        """Return S(h) F_mask for an F_mask, complex ``[n]``."""
        if at.get(Kind.SOLVENT) is None and f_mask is self.f_mask:
            return self.held[1]
        return np.asarray(self.density(at) * f_mask)

    def density(self, at: Point, rows: IntArray | slice = slice(None)) -> FloatArray:
        """Return S of some reflections, or all, ``[n_rows]``."""
        values = at.get(Kind.SOLVENT)
        k_sol, b_sol, c_sol = (self._fitted_solvent if values is None else values).tolist()
        return np.asarray(k_sol * solvent_fall(b_sol, c_sol, self.s_squared[rows]))

    def jacobians(
        self, at: Point, total: ComplexArray, f_mask: ComplexArray
    ) -> dict[Kind, DenseJacobian]:
        """Return dF/d(ln k, B) = (1, -h'B_i h/4) F and dF/d(k_sol, B_sol, C_sol), k(h) taken out.

        ``total`` is F without the overall scale, ``f_mask`` that of the present occupancies.
        """
        found = {}
        if Kind.SCALE in at.space:
            slopes = np.concatenate([np.ones((len(total), 1)), -self.quadratic / 4], axis=1)
            found[Kind.SCALE] = DenseJacobian(slopes.T * total)
        if Kind.SOLVENT in at.space:
            k_sol, b_sol, c_sol = at[Kind.SOLVENT].tolist()
            of_k = solvent_fall(b_sol, c_sol, self.s_squared) * f_mask
            of_b = -k_sol * self.s_squared / 4 * of_k
            found[Kind.SOLVENT] = DenseJacobian(np.stack([of_k, of_b, 4 * self.s_squared * of_b]))
        return found

    @property
    def _fitted_solvent(self) -> FloatArray:
        return np.array([self.scale.k_sol, self.scale.b_sol, self.scale.c_sol])
