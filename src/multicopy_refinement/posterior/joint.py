"""The posterior of occupancies, coordinates, displacements, scale and solvent together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.geometry.terms.base import Linear as Restrained
from multicopy_refinement.geometry.terms.base import State
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.blocks import Block, Kind, Point, Space
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.local import local_information
from multicopy_refinement.posterior.moving import MovingAtoms
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.posterior.scale import DenseJacobian, ScaledMask
from multicopy_refinement.scaling.scaler import isotropic_parts
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.scattering.compiled import SplatJacobian
from multicopy_refinement.scattering.plan import SplatPlan, plan_splat
from multicopy_refinement.scattering.rows import complex_row_products, weighted_complex_rows
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Relative error of the derivatives that the information is made of.
_ROUGH = 1e-2


class Restraints(Protocol):
    """What is known of coordinates and displacements beside the data."""

    def linear(self, at: State) -> Restrained:
        """Return residuals and derivatives of a state, hydrogens among the unknowns."""
        ...

    def value(self, at: State) -> float:
        """Return -log p."""
        ...


@dataclass(frozen=True, eq=False)
class Around:
    """What the posterior is around a point: L + g'd - d'Hd/2, H by products.

    Attributes
    ----------
    point
        Where.
    value
        L.
    gradient
        g, ``[size]``.
    restraints
        Information of all but the data, sparse ``[size, size]``.
    local
        The data's information on the shifts of single atoms and of pairs that overlap, sparse
        ``[n_shifts, n_shifts]``.
    """

    point: Point
    value: float
    gradient: FloatArray
    restraints: sparse.csr_matrix
    local: sparse.csr_matrix
    _forward: _Forward
    _along: ComplexArray
    _weight: FloatArray

    def times(self, v: FloatArray) -> FloatArray:
        """Return H v, ``[size]``."""
        slope = (self._along.conj() * self._forward.times(v)).real
        c = self._along * (self._weight * slope)
        return np.asarray(self._forward.adjoint(c, rough=True) + self.restraints @ v)

    @cached_property
    def driving(self) -> FloatArray:
        """What of g drives a step, ``[size]``: g - H u, u the step of scale and solvent alone."""
        pull = self._forward.of_scale(self.gradient, self._along, self._weight)
        return self.gradient - self.times(pull)


class _Forward:
    """F without the overall scale at one point, and its derivatives."""

    def __init__(self, joint: JointPosterior, at: Point) -> None:
        self.joint, self.at = joint, at
        self.state = joint.moving.state(at)
        self.atoms = joint.scattering(at, self.state)
        self._jacobian = SplatJacobian(self.atoms, joint.experiment.data.hkl, joint.plan)
        self.f_mask = joint.scaled.f_mask_with(joint.displaced, at[Kind.OCCUPANCY])
        self.total = joint.fixed + self._jacobian.factors() + joint.scaled.solvent(at, self.f_mask)

    @property
    def f_model(self) -> ComplexArray:
        return np.asarray(self.joint.scaled.overall(self.at) * self.total)

    @cached_property
    def rough(self) -> SplatJacobian:
        """Derivatives that are good enough for the information."""
        return SplatJacobian(self.atoms, self.joint.experiment.data.hkl, self.joint.rough_plan)

    @cached_property
    def slopes(self) -> sparse.csr_matrix:
        return self.joint.moving.slopes(self.at)

    @cached_property
    def _scale(self) -> dict[Kind, DenseJacobian]:
        return self.joint.scaled.jacobians(self.at, self.total, self.f_mask)

    def of_scale(self, gradient: FloatArray, along: ComplexArray, weight: FloatArray) -> FloatArray:
        """Return the step of scale and solvent alone that a gradient asks for, ``[size]``.

        They are fitted by least squares between steps, and the likelihood would have them
        elsewhere: atoms that follow them there are taken back by the next fit, again and again. A
        step by H d = g - H u is orthogonal to theirs, d'H u = 0: it has their answer to what the
        atoms do, and no pull of their own.
        """
        kinds = list(self._scale)
        rows = np.concatenate(
            [self._scale[kind].columns(slice(None), along, np.float64) for kind in kinds]
        )
        information = (rows * weight) @ rows.T
        pull = np.concatenate([gradient[self.at.space.place(kind)] for kind in kinds])
        size = np.sqrt(np.diag(information))  # B of the solvent has units of its own
        inverse = 1 / np.where(size > 0, size, 1.0)
        alike = information * inverse * inverse[:, None]
        step = inverse * np.linalg.lstsq(alike, inverse * pull, rcond=1e-10)[0]
        found = np.zeros(self.at.space.size)
        found[self.at.space.indices(kinds)] = step
        return found

    @cached_property
    def _solvent(self) -> tuple[IntArray, NDArray[np.complex64]] | None:
        """S M of the groups, where they displace any."""
        displaced = self.joint.displaced
        if displaced is None or len(displaced.low) == 0:
            return None
        fall = self.joint.scaled.density(self.at, displaced.low)
        return displaced.low, displaced.columns * fall.astype(np.float32)

    def times(self, v: FloatArray) -> ComplexArray:
        """Return J v of all unknowns, complex ``[n]``."""
        joint, step = self.joint, Point(self.at.space, v)
        q = step[Kind.OCCUPANCY]
        n, rows = joint.moving.n_atoms, joint.rows
        moved = self.slopes @ joint.moving.shifts(step)
        d_q = np.append(q, 0.0)[joint.group_of_row]  # the last for atoms of no group, -1
        d_u = moved[4 * n :].reshape(n, 6)[rows]
        d_u[:, :3] += moved[3 * n : 4 * n][rows, None] / EIGHT_PI_SQUARED
        f = self.rough.times(d_q, moved[: 3 * n].reshape(n, 3)[rows], d_u)
        if self._solvent is not None:
            low, columns = self._solvent
            f[low] -= weighted_complex_rows(columns, q)
        for kind, jacobian in self._scale.items():
            f += jacobian.times(step[kind])
        return f

    def adjoint(self, c: ComplexArray, *, rough: bool = False) -> FloatArray:
        """Return Re(J* c), ``[size]``; that of `times` where ``rough``."""
        joint = self.joint
        n, rows = joint.moving.n_atoms, joint.rows
        d_q, d_xyz, d_u = (self.rough if rough else self._jacobian).adjoint(c)
        every = np.zeros(10 * n)
        every[: 3 * n].reshape(n, 3)[rows] = d_xyz
        isotropic = ~joint.anisotropic[rows]
        every[3 * n : 4 * n][rows[isotropic]] = d_u[isotropic, :3].sum(axis=1) / EIGHT_PI_SQUARED
        every[4 * n :].reshape(n, 6)[rows[~isotropic]] = d_u[~isotropic]
        own = joint.group_of_row >= 0
        m = len(self.at[Kind.OCCUPANCY])
        of_q = np.bincount(joint.group_of_row[own], d_q[own], minlength=m).astype(np.float64)
        values: dict[Kind, FloatArray] = {Kind.OCCUPANCY: of_q}
        if self._solvent is not None:
            low, columns = self._solvent
            values[Kind.OCCUPANCY] -= complex_row_products(columns, c[low])
        for kind, jacobian in self._scale.items():
            values[kind] = jacobian.adjoint(c)
        shifts = self.slopes.T @ every
        n_xyz = joint.moving.of_xyz.shape[1]
        values[Kind.XYZ], values[Kind.DISPLACEMENT] = shifts[:n_xyz], shifts[n_xyz:]
        return self.at.space.point(values).x


class JointPosterior:
    """log p(occupancies, coordinates, displacements, scale, solvent | data) under held errors.

    F_model(h) = k(h) (F_atoms + S(h) F_mask(q)); the mask's shape, alpha and beta are held. Atoms
    that neither move nor are in a refined group are summed once.

    Parameters
    ----------
    experiment
        Data, scale, mask and errors.
    atoms
        All of the model; occupancies of refined groups, and what moves, come from points.
    members
        Atoms of each refined group.
    refined
        Their numbers among all groups.
    sums, prior
        What their occupancies sum to, and restraints on them.
    moving
        Shifts of coordinates and displacements.
    restraints
        Geometry.
    b_of_all
        Whether B of all atoms move: the scale's isotropic B, which is the same, is held then.

    Attributes
    ----------
    target
        Of |F_model|: the experiment's, until another is given.
    """

    def __init__(
        self, experiment: Experiment, atoms: ScatteringAtoms, members: list[IntArray],
        refined: IntArray, sums: SumConstraints, prior: OccupancyPrior, moving: MovingAtoms,
        restraints: Restraints, *, b_of_all: bool = False,
    ) -> None:  # fmt: skip
        self.experiment, self.sums, self.prior = experiment, sums, prior
        self.target = experiment.target
        self.moving, self.restraints = moving, restraints
        group = np.full(len(atoms), -1)
        for i, own in enumerate(members):
            group[own] = i
        every = moving.atoms() | (group >= 0)
        self.rows = np.flatnonzero(every)
        self.group_of_row, self.anisotropic = group[self.rows], atoms.anisotropic.numpy()
        self._atoms = atoms.select_rows(self.rows)
        data = experiment.data
        self.plan: SplatPlan = plan_splat(atoms, data.listed_d_min)
        self.rough_plan = plan_splat(atoms, data.listed_d_min, accuracy=_ROUGH)
        rest = atoms.select_rows(np.flatnonzero(~every))
        self.fixed: ComplexArray = (
            SplatJacobian(rest, data.hkl, self.plan).factors()
            if len(rest) else np.zeros(len(data), dtype=np.complex128)
        )  # fmt: skip
        self.displaced, f_mask = experiment.displaced(refined)
        self.scaled = ScaledMask.of(
            experiment.scale, data.spacegroup, data.hkl, data.s_squared, f_mask
        )
        m = len(members)
        self.space = Space(
            (
                Block(Kind.OCCUPANCY, np.zeros(m), np.ones(m)),
                *self.scaled.point.space.blocks,
                *moving.blocks,
            )
        )
        self._last: list[_Forward] = []
        #: Rows A of A d = 0 for steps of the space, beside those of the sums.
        self.held = np.zeros((int(b_of_all), self.space.size))
        if b_of_all:
            of_scale = self.held[:, self.space.place(Kind.SCALE)]
            of_scale[:, 1:] = isotropic_parts(self.scaled.basis, data.cell)

    def scattering(self, at: Point, state: State) -> ScatteringAtoms:
        """Return the atoms that are summed anew at a point."""
        q, rows = at[Kind.OCCUPANCY], self.rows
        own = self.group_of_row >= 0
        occupancy = self._atoms.occupancy.numpy().copy()
        occupancy[own] = q[self.group_of_row[own]]
        tensor = torch.from_numpy
        return replace(
            self._atoms, occupancy=tensor(occupancy), xyz=tensor(state.xyz[rows]),
            b_iso=tensor(state.b_iso[rows]), u=tensor(state.u_aniso[rows]),
        )  # fmt: skip

    def _at(self, at: Point) -> _Forward:
        if not self._last or self._last[0].at is not at:
            self._last[:] = [_Forward(self, at)]
        return self._last[0]

    def f_calc(self, at: Point) -> ComplexArray:
        """Return F of the atoms at the data's reflections, complex ``[n]``."""
        here = self._at(at)
        return np.asarray(here.total - self.scaled.solvent(at, here.f_mask))

    def size(self, at: Point) -> FloatArray:
        """Return what is measured of F_model at the data's reflections, ``[n]``."""
        return self.experiment.observable.size(self._at(at).f_model)

    def value(self, at: Point) -> float:
        """Return the log posterior; -inf where a displacement is none."""
        state = self.moving.free_state(at)
        known = self.restraints.value(state)
        if not np.isfinite(known):
            return -np.inf
        size = self.size(at)
        data = float(self.target.values(size)[self.experiment.data.work].sum())
        return data + self.prior.value(at) - known

    def around(self, at: Point) -> Around:
        """Return value, gradient, and the products of the expected information."""
        here = self._at(at)
        f, observable = here.f_model, self.experiment.observable
        size = observable.size(f)
        work = self.experiment.data.work
        derivatives = self.target.derivatives(size)
        along = observable.along(self.scaled.overall(at), f, size)
        weight = derivatives.information * work
        known = self.restraints.linear(self.moving.free_state(at))
        slopes = known.jacobian @ self.moving.matrix
        gradient = here.adjoint(along * (derivatives.slope * work))
        p = at.space.indices([Kind.XYZ, Kind.DISPLACEMENT])
        gradient[p] -= slopes.T @ known.residuals
        of_prior = self.prior.normal(at)
        gradient += of_prior.gradient
        m = len(at[Kind.OCCUPANCY])
        others = sparse.csr_matrix((p[0] - m if len(p) else at.space.size - m,) * 2)
        stiff = slopes.T @ slopes
        restraints = sparse.block_diag(
            [of_prior.information[:m, :m], others, *([stiff] if len(p) else [])], format="csr"
        )
        value = (
            float(derivatives.value[work].sum()) + self.prior.value(at) - known.value
        )  # fmt: skip
        every = local_information(
            here.atoms, self.rows, self.moving.n_atoms, self.scaled.s_squared,
            weight * np.abs(along) ** 2,
        )  # fmt: skip
        local = (self.moving.matrix.T @ every @ self.moving.matrix).tocsr()
        return Around(at, value, gradient, restraints, local, here, along, weight)
