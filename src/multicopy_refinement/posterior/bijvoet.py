"""Bijvoet differences as a term of the posterior, beside the likelihood of the mean amplitude."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.places import in_runs
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.forward import (
    BShiftJacobian,
    Forward,
    Jacobian,
    OccupancyJacobian,
)
from multicopy_refinement.posterior.products import weighted_products
from multicopy_refinement.posterior.terms import Normal, spread
from multicopy_refinement.scattering.anomalous import AnomalousColumns
from multicopy_refinement.scattering.atom_slopes import atom_slopes, unknowns_of_atoms
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.targets.bijvoet import BijvoetErrors

Real = NDArray[np.floating]


def bijvoet_difference(
    merit: FloatArray, f_model: ComplexArray, f_second: ComplexArray
) -> FloatArray:
    """Return -2 m Im(conj(F_model) F'')/|F_model|, ``[n]``; both F on the scale of the data."""
    u = f_model / np.maximum(np.abs(f_model), 1e-300)
    return np.asarray(-2 * merit * (u.conj() * f_second).imag)


@dataclass(frozen=True, eq=False)
class _Around:
    """A point, and what the derivatives of D are made of.

    dD = Re(conj(turning) dF) + Re(conj(own) dF'') + D dln k, F without the overall scale.
    """

    at: Point
    calculated: FloatArray
    turning: ComplexArray
    own: ComplexArray
    stretch: ComplexArray
    jacobians: Mapping[Kind, Jacobian]
    of_signal: Mapping[Kind, Jacobian]
    groups: IntArray

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in self.at.space.kinds if kind in self.jacobians)

    def slopes(self, rows: slice, dtype: type[np.floating]) -> dict[Kind, Real]:
        """Return dD of every kind at some reflections, ``[size, n_rows]`` each."""
        turning, own, found = self.turning[rows], self.own[rows], {}
        for kind in self.kinds:
            along = self.stretch[rows] if kind is Kind.SCALE else turning
            one = self.jacobians[kind].columns(rows, along, dtype)
            if kind in self.of_signal:
                one = one.copy()  # the Jacobian may keep it
                one[self.groups] += self.of_signal[kind].columns(rows, own, dtype)
            found[kind] = one
        return found

    def adjoint(self, kind: Kind, slope: FloatArray) -> FloatArray:
        """Return sum slope dD of a kind, ``[size]``."""
        along = self.stretch if kind is Kind.SCALE else self.turning
        found = self.jacobians[kind].adjoint(along * slope)
        if kind in self.of_signal:
            found = found.copy()
            found[self.groups] += self.of_signal[kind].adjoint(self.own * slope)
        return found


@dataclass(frozen=True, eq=False)
class SampledDifferences:
    """Slopes of D at some reflections, weighted so that their products are the information.

    As `multicopy_refinement.posterior.data_term.SampledSlopes`.
    """

    of: dict[Kind, NDArray[np.float32]]
    turning: ComplexArray
    own: ComplexArray
    displaced: NDArray[np.float32]
    pockets: NDArray[np.float32]
    second: ScatteringAtoms

    def of_atoms(
        self, atoms: ScatteringAtoms, chosen: IntArray, hkl: IntArray, tensor: BoolArray
    ) -> NDArray[np.float32]:
        """Return the slopes in coordinates and displacements of atoms, as `atom_slopes` has them.

        ``atoms`` are all of the model, ``chosen`` rows of them, ``hkl`` the reflections and
        ``tensor`` which of the chosen have six displacements.
        """
        found = atom_slopes(atoms.select_rows(chosen), hkl, self.turning, tensor)
        f_second = self.second.factors.a[:, 0][self.second.element.numpy()[chosen]]
        some = np.flatnonzero(f_second)
        if len(some):
            offset = unknowns_of_atoms(tensor)
            rows = in_runs(offset[some], offset[some + 1] - offset[some])
            found[rows] += atom_slopes(
                self.second.select_rows(chosen[some]), hkl, self.own, tensor[some]
            )
        return found


@dataclass(frozen=True, eq=False)
class BijvoetTerm:
    """sum log p(F(+) - F(-); D) over the pairs of the work set.

    With F_model = k F_0 = |F_model| u and F'' (`AnomalousColumns`), |F(+-)| = k |F_0 +- iF''|, and

        D = 2 m k Re(conj(u) iF'') = -2 m k Im(conj(u) F'').

    It is linear in F'', and has no modulus of a model with errors in it. m is the mean cosine of
    the error of the phase (`multicopy_refinement.targets.bijvoet.PhaseErrors`): D is the mean of
    the difference over the phases that F_0 may have, given F_model and the measured mean, since
    |F(+)|^2 - |F(-)|^2 = 4 k^2 Re(conj(F_0) iF'') (Blow & Rossmann 1961, Acta Cryst. 14, 1195;
    Hendrickson & Teeter 1981, Nature 290, 107). Over |F(+)| + |F(-)| = 2 F that is D times
    sqrt(1 - k^2 Re(conj(u) F'')^2/F^2), which m holds, too: it is 0.99 in the mean where F'' is 7%
    of F.

    F(+) and F(-) have the errors of the model in common, which a likelihood of each alone would
    count twice: the mean has that of a single amplitude, and the difference, whose own errors are
    small, stands beside it. p is Gaussian around D, with sigma(+)^2 + sigma(-)^2 and what the model
    adds (`BijvoetErrors`) for its variance. No scale of the signal is refined: it would be the
    occupancy of the anomalous scatterers itself.

    Derivatives, with the phase of F_0 turning (m and the variance are held)::

        dD = -2 m k Im(conj(u) dF'') + 2 m k Re(conj(u) F'') Im(conj(u) dF_0)/|F_0| + D dln k

    Attributes
    ----------
    forward
        F_model as a function of the unknowns.
    signal
        F'' of the same atoms.
    observed
        F(+) - F(-), 0 where there is none, ``[n]``.
    errors
        m, and the variance.
    work, free
        Bool ``[n]``.
    """

    forward: Forward
    signal: AnomalousColumns
    observed: FloatArray
    errors: BijvoetErrors
    work: BoolArray
    free: BoolArray
    variance_factor: float = 1.0

    @property
    def touches(self) -> frozenset[Kind]:
        """What D depends on."""
        return self.forward.kinds

    def calculated(self, at: Point) -> FloatArray:
        """Return D, ``[n]``."""
        second = self.signal.f_second(at[Kind.OCCUPANCY], at.get(Kind.B_GROUP))
        return bijvoet_difference(
            self.errors.merit, self.forward.f_model(at), self.forward.overall(at) * second
        )

    def value(self, at: Point) -> float:
        """Return the log-likelihood of the differences of the work set."""
        each = self.errors.log_densities(self.observed - self.calculated(at))
        return float(each[self.work].sum())

    def gradient(self, at: Point) -> FloatArray:
        """Return its derivatives in the unknowns of the point, ``[size]``."""
        here = self._around(at)
        return spread(self._gradient(here), at.space, here.kinds)

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return L, g = J'(observed - D)/V and H = J'J/V; H in single precision unless precise."""
        here = self._around(at)
        information = self._products(here, self._weight, np.float64 if precise else np.float32)
        each = self.errors.log_densities(self.observed - here.calculated)
        value = float(each[self.work].sum())
        return Normal(value, self._gradient(here), information).within(at.space, here.kinds)

    def score_products(self, at: Point) -> FloatArray:
        """Return sum over the work set of (dlog p/dx)(dlog p/dx)', ``[size, size]``."""
        here = self._around(at)
        found = self._products(here, self._slope(here) ** 2, np.float32)
        return Normal(0.0, np.zeros(len(found)), found).within(at.space, here.kinds).information

    def gradient_coefficients(self, at: Point) -> tuple[ComplexArray, ComplexArray]:
        """Return c and c'' with d log p = Re sum conj(dF) c + conj(dF'') c''.

        Divided by the variance factor.
        """
        here = self._around(at)
        slope = self._slope(here) / self.variance_factor
        return here.turning * slope, here.own * slope

    def sampled_slopes(self, at: Point, rows: IntArray) -> SampledDifferences:
        """Return the slopes of D in all unknowns but B shifts, at some reflections in order.

        Each times the root of its weight; their products are what all pairs would give.
        """
        here, weight = self._around(at), self._weight
        share = float(weight.sum()) / max(float(weight[rows].sum()), 1e-300)
        root = np.sqrt(weight[rows] * share)
        found: dict[Kind, list[NDArray[np.float32]]] = {
            k: [] for k in here.kinds if k is not Kind.B_GROUP
        }
        for block in self.forward.blocks():
            first, last = np.searchsorted(rows, (block.start, block.stop)).tolist()
            picked, scale = rows[first:last] - block.start, root[first:last].astype(np.float32)
            slopes = here.slopes(block, np.float32)
            for kind, parts in found.items():
                parts.append(slopes[kind][:, picked] * scale)
        joined = {kind: np.concatenate(parts, axis=1) for kind, parts in found.items()}
        turning, own = here.turning[rows] * root, here.own[rows] * root
        displaced, pockets = (
            slopes(at, rows, turning).astype(np.float32)
            for slopes in (self.forward.displaced_slopes, self.forward.pocket_slopes)
        )
        return SampledDifferences(joined, turning, own, displaced, pockets, self.signal.atoms)

    @cached_property
    def _weight(self) -> FloatArray:
        """1/V of the pairs that count, 0 of all others, ``[n]``."""
        return self.errors.weights(self.work)

    def _of_signal(self, b_shift: FloatArray | None) -> OccupancyJacobian:
        shift = None if b_shift is None else b_shift[self.signal.groups]
        return OccupancyJacobian(self.signal.columns, self.signal.s_squared, shift)

    def _around(self, at: Point) -> _Around:
        f, k = self.forward.f_model(at), self.forward.overall(at)
        of_q = self._of_signal(at.get(Kind.B_GROUP))
        q = at[Kind.OCCUPANCY][self.signal.groups]
        second = self.signal.fixed + of_q.times(q)
        size = np.maximum(np.abs(f), 1e-300)
        u, scale = f / size, 2 * self.errors.merit * k
        projected = u.conj() * second
        calculated = -scale * projected.imag
        turning = 1j * u * scale * projected.real * k / size
        of_signal: dict[Kind, Jacobian] = {Kind.OCCUPANCY: of_q}
        if Kind.B_GROUP in at.space:
            of_signal[Kind.B_GROUP] = BShiftJacobian(of_q, q)
        return _Around(
            at, calculated, turning, -1j * u * scale, u * calculated * k / size,
            self.forward.jacobians(at), of_signal if len(q) else {}, self.signal.groups,
        )  # fmt: skip

    def _slope(self, here: _Around) -> FloatArray:
        """Return dlog p/dD, ``[n]``."""
        return np.asarray((self.observed - here.calculated) * self._weight)

    def _gradient(self, here: _Around) -> FloatArray:
        slope = self._slope(here)
        return np.concatenate([here.adjoint(kind, slope) for kind in here.kinds])

    def _products(self, here: _Around, weight: FloatArray, dtype: type[np.floating]) -> FloatArray:
        def jacobian(rows: slice) -> Real:
            return np.concatenate([*here.slopes(rows, dtype).values()])

        return weighted_products(self.forward.blocks(), jacobian, weight)

    # ------------------------------------------------------------------ torch

    @cached_property
    def _tensors(self) -> tuple[Tensor, ...]:
        """F'' of what is held, G'' as real beside imaginary parts, 2m, and 1/V."""
        members = self.signal.columns.members(np.arange(len(self.signal.groups)))
        matrix = np.concatenate([part[:, : len(self.observed)] for part in members], axis=1)
        return tuple(
            torch.as_tensor(part)
            for part in (
                self.signal.fixed, matrix.astype(np.float64), 2 * self.errors.merit, self._weight
            )
        )  # fmt: skip

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return log p as a scalar that is differentiable in the occupancies; all else is held."""
        fixed, matrix, twice_m, weight = self._tensors
        f = self.forward.f_model_of(values)
        q = values[Kind.OCCUPANCY][torch.as_tensor(self.signal.groups)]
        real, imaginary = (q @ matrix).reshape(2, -1)
        second = self._overall * (fixed + torch.complex(real, imaginary))
        u = f / f.abs().clamp_min(1e-300)
        residual: Tensor = torch.as_tensor(self.observed) + twice_m * (u.conj() * second).imag
        constant = self.errors.log_densities(np.zeros(len(self.observed)))[self.work].sum()
        return -0.5 * (residual**2 * weight).sum() + float(constant)

    @cached_property
    def _overall(self) -> Tensor:
        return torch.as_tensor(self.forward.overall(self.forward.fitted))
