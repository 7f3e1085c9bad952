"""The likelihood of one data set as a term of the posterior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.places import within
from multicopy_refinement.posterior.blocks import Kind, Point, Space
from multicopy_refinement.posterior.forward import Forward, Jacobian
from multicopy_refinement.posterior.observable import AMPLITUDE, Observable
from multicopy_refinement.posterior.products import weighted_products
from multicopy_refinement.posterior.terms import Normal, spread
from multicopy_refinement.scattering.atom_slopes import atom_slopes
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.targets import Derivatives, Target
from multicopy_refinement.targets.renewal import Renewal


@dataclass(frozen=True, eq=False)
class _Around:
    """What the derivatives at a point are made of: those of A by Re(conj(along) dF)."""

    derivatives: Derivatives
    observable: Observable
    size: FloatArray
    along: ComplexArray
    jacobians: Mapping[Kind, Jacobian]
    own: Mapping[Kind, FloatArray]
    kinds: tuple[Kind, ...]

    def slopes(
        self, kind: Kind, rows: slice, along: ComplexArray, dtype: type[np.floating]
    ) -> NDArray[np.floating]:
        """Return dA of a kind at some reflections, ``[size, n_rows]``; along is that of these."""
        if kind in self.own:
            return self.own[kind][:, rows].astype(dtype)
        projected = self.jacobians[kind].columns(rows, along, dtype)
        return self.observable.slopes(projected, rows, self.size)

    def adjoint(self, kind: Kind, slope: FloatArray) -> FloatArray:
        """Return sum slope dA of a kind, ``[size]``."""
        if kind in self.own:
            return np.asarray(self.own[kind] @ slope)
        return self.jacobians[kind].adjoint(self.coefficients(slope))

    def coefficients(self, slope: FloatArray) -> ComplexArray:
        """Return c with sum slope dA = Re sum conj(dF) c, complex ``[n]``."""
        return np.asarray(self.along * self.observable.weights(slope, self.size))


@dataclass(frozen=True, eq=False)
class SampledSlopes:
    """Slopes of A at some reflections, weighted so that their products are the information.

    Attributes
    ----------
    of
        Of each kind of unknowns, ``[size, n]``.
    along
        With which the slopes in other unknowns are made of Re(conj(along) dF), complex ``[n]``.
    displaced
        By how much more solvent each group displaces, as a part of what it does, ``[n_groups, n]``.
    pockets
        How much more solvent is where each group is not, by whether it gets there or not: if it is
        in doubt that it does not, then if that it does, ``[2 n_groups, n]``.
    n_used
        Number of reflections that have a weight.
    made
        What makes the slopes of Re(conj(along) dF).
    """

    of: dict[Kind, NDArray[np.float32]]
    along: ComplexArray
    displaced: NDArray[np.float32]
    pockets: NDArray[np.float32]
    n_used: int
    made: Callable[[NDArray[Any]], NDArray[Any]]

    def of_atoms(
        self, atoms: ScatteringAtoms, chosen: IntArray, hkl: IntArray, tensor: BoolArray
    ) -> NDArray[np.float32]:
        """Return the slopes in coordinates and displacements of atoms, as `atom_slopes` has them.

        ``atoms`` are all of the model, ``chosen`` rows of them, ``hkl`` the reflections and
        ``tensor`` which of the chosen have six displacements.
        """
        return np.asarray(
            self.made(atom_slopes(atoms.select_rows(chosen), hkl, self.along, tensor))
        )


@dataclass(frozen=True, eq=False)
class DataTerm:
    """sum log p(F_obs; A) over the work set, A what is measured of F_model.

    Attributes
    ----------
    forward
        F_model as a function of the unknowns.
    target
        log p of each reflection.
    work
        Bool ``[n]``.
    variance_factor
        Of the covariance; the reduced chi-square for least squares.
    renewal
        For an A: the log-likelihoods of work and free set near it, with the errors of the
        data renewed, and the target with those errors of the work set. None where it cannot be.
    observable
        A of F_model.
    """

    forward: Forward
    target: Target
    work: BoolArray
    variance_factor: float = 1.0
    renewal: Callable[[FloatArray], tuple[Renewal, Target] | None] | None = None
    observable: Observable = AMPLITUDE

    @property
    def touches(self) -> frozenset[Kind]:
        """What A depends on."""
        return self.forward.kinds | frozenset(self.observable.fitted.space.kinds)

    @property
    def fitted(self) -> Point:
        """Scale, solvent, and unknowns of the observable, as they were fitted."""
        parts = self.forward.fitted, self.observable.fitted
        space = Space(tuple(block for part in parts for block in part.space.blocks))
        return space.point({kind: v for part in parts for kind, v in part.values.items()})

    def size(self, at: Point) -> FloatArray:
        """Return A, ``[n]``."""
        return self.observable.at(at).size(self.forward.f_model(at))

    def value(self, at: Point) -> float:
        """Return the log-likelihood of the work set."""
        return float(self.target.values(self.size(at))[self.work].sum())

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return L, g = J' dlog p/dA and H = J' W J with W the expected information on A.

        J = dA/dx: of A = |F_model| it is k Re(conj(u) dF/dx), u = F_model/|F_model|, F without the
        overall scale k. With ``precise`` false H comes from single
        precision, which is twice as fast; the gradient never does: where it vanishes is where a
        search ends, on every processor.
        """
        here = self._around(at)
        dtype = np.float64 if precise else np.float32
        information = self._products(here, here.derivatives.information, dtype)
        value = float(here.derivatives.value[self.work].sum())
        return Normal(value, self._gradient(here), information).within(at.space, here.kinds)

    def gradient(self, at: Point) -> FloatArray:
        """Return J' dlog p/dF in the unknowns of the point, ``[size]``."""
        here = self._around(at)
        return spread(self._gradient(here), at.space, here.kinds)

    def score_products(self, at: Point, most: int | None = None) -> FloatArray:
        """Return sum over the work set of (dlog p/dx)(dlog p/dx)', ``[size, size]``.

        Its expectation is the information where the model of errors is right. It is that of
        ``most`` reflections drawn at random, and of all by their share in the squares of
        dlog p/dA, where there are more.
        """
        here, work = self._around(at), np.flatnonzero(self.work)
        squares, some = here.derivatives.slope**2, None
        if most is not None and len(work) > most:
            some = np.sort(np.random.default_rng(0).choice(work, most, replace=False))
            squares *= squares[work].sum() / max(float(squares[some].sum()), 1e-300)
        found = self._products(here, squares, np.float32, some)
        return Normal(0.0, np.zeros(len(found)), found).within(at.space, here.kinds).information

    def diagonal_information(self, at: Point, kind: Kind, *targets: Target) -> FloatArray:
        """Return the diagonal of H in one kind of unknowns with other targets, one row for each.

        ``[n_targets, size]``.
        """
        here = self._around(at)
        weights = np.stack([one.derivatives(here.size).information * self.work for one in targets])
        found = np.zeros((len(targets), len(at[kind])))
        for rows in self._blocks():
            squares = here.slopes(kind, rows, here.along[rows], np.float32)
            squares *= squares
            found += weights[:, rows].astype(np.float32) @ squares.T
        return found

    def sampled_slopes(self, at: Point, rows: IntArray) -> SampledSlopes:
        """Return the slopes of A in all unknowns of a point but B shifts, at some reflections.

        Each times the square root of its weight; products of them are the information that the
        whole data would give, each divided by the variance factor. ``rows`` are in ascending order,
        and `Observable.closed`.
        """
        here = self._around(at)
        weight = here.derivatives.information * self.work / self.variance_factor
        share = float(weight.sum()) / max(float(weight[rows].sum()), 1e-300)
        root = np.sqrt(weight[rows] * share)
        found: dict[Kind, list[NDArray[np.float32]]] = {k: [] for k in here.kinds}
        found.pop(Kind.B_GROUP, None)
        for block in self._blocks():
            some = within(rows, block)
            picked, scale = rows[some] - block.start, root[some].astype(np.float32)
            along = here.along[block]
            for kind, parts in found.items():
                slopes = here.slopes(kind, block, along, np.float32)
                parts.append(slopes[:, picked] * scale)
        joined = {kind: np.concatenate(parts, axis=1) for kind, parts in found.items()}
        factor, made = here.observable.weighted(rows, here.size, root)
        along = here.along[rows] * factor
        more, pockets = (
            made(slopes(at, rows, along).astype(np.float32))
            for slopes in (self.forward.displaced_slopes, self.forward.pocket_slopes)
        )
        n_used = int(((along != 0) & (root != 0)).sum())
        return SampledSlopes(joined, along, more, pockets, n_used, made)

    def _around(self, at: Point) -> _Around:
        f, observable = self.forward.f_model(at), self.observable.at(at)
        size = observable.size(f)
        along = observable.along(self.forward.overall(at), f, size)
        jacobians, own = self.forward.jacobians(at), observable.own_slopes(f, size)
        kinds = tuple(kind for kind in at.space.kinds if kind in jacobians or kind in own)
        derivatives = self.target.derivatives(size)
        return _Around(derivatives, observable, size, along, jacobians, own, kinds)

    def _blocks(self) -> Iterator[slice]:
        return self.observable.whole(self.forward.blocks(), len(self.work))

    def _gradient(self, here: _Around) -> FloatArray:
        slope = here.derivatives.slope * self.work
        return np.concatenate([here.adjoint(kind, slope) for kind in here.kinds])

    def _products(
        self, here: _Around, weight: FloatArray, dtype: type[np.floating],
        some: IntArray | None = None,
    ) -> FloatArray:  # fmt: skip
        """Return J' W J of dA over the work set, or some of it."""

        def jacobian(rows: slice) -> NDArray[np.floating]:
            along = here.along[rows]
            return np.concatenate([here.slopes(k, rows, along, dtype) for k in here.kinds])

        return weighted_products(self._blocks(), jacobian, weight * self.work, some)

    def gradient_coefficients(self, at: Point) -> ComplexArray:
        """Return c with which d log p = Re sum conj(dF) c for changes of F without its scale.

        Divided by the variance factor.
        """
        here = self._around(at)
        return here.coefficients(here.derivatives.slope * self.work / self.variance_factor)

    def su_of_factor(self, at: Point, occupancy: FloatArray) -> float:
        """Return the su of a common factor of occupancies beside scale and solvent.

        ``occupancy`` is 0 for groups that it leaves alone; the rest of F_calc, without solvent, is
        what shows it. 0 where that scatters more than they do: then each is known by itself.
        """
        here, everything = self._around(at), slice(0, len(self.work))
        root = np.sqrt(here.derivatives.information * self.work / self.variance_factor)
        rest = self.forward.rest(at, occupancy)
        moving = self.forward.rest(at, np.zeros(len(occupancy))) - rest
        if float((np.abs(rest) ** 2).sum()) > float((np.abs(moving) ** 2).sum()):
            return 0.0
        projected = (here.along.conj() * rest).real[None]
        shown = here.observable.slopes(projected, everything, here.size)[0] * root
        columns = np.concatenate(
            [
                here.slopes(kind, everything, here.along, np.float64) * root
                for kind in (Kind.SCALE, Kind.SOLVENT, Kind.TWIN, Kind.EXTINCTION)
                if kind in here.kinds
            ]
        )
        length = np.maximum(np.linalg.norm(columns, axis=1, keepdims=True), 1e-300)
        basis = np.linalg.qr((columns / length).T)[0]
        left = shown - basis @ (basis.T @ shown)
        return float(1 / np.sqrt(max(float(left @ left), 1e-300)))

    def reduced_chi_square(self, at: Point, n_parameters: float) -> float:
        """Return sum slope^2/information over the degrees of freedom of the work set."""
        found = self.target.derivatives(self.size(at))
        squares = (found.slope**2 / found.information)[self.work].sum()
        return float(squares / max(int(self.work.sum()) - n_parameters, 1))

    # ------------------------------------------------------------------ torch

    @cached_property
    def _work(self) -> Tensor:
        return torch.as_tensor(self.work)

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return the log-likelihood of the work set, a scalar, differentiable."""
        size = self.observable.amplitude(self.forward.f_model_of(values))
        return self.target.log_likelihood(size)[self._work].sum()
