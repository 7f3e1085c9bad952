"""The geometry of a model: its restraints, what they say of a state, and that in torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import GradientError
from multicopy_refinement.geometry.contact_rules import ContactRules
from multicopy_refinement.geometry.images import near_images
from multicopy_refinement.geometry.monomers import Dictionaries
from multicopy_refinement.geometry.riding import Riding, parents
from multicopy_refinement.geometry.similar import PairsAlike, displacement_terms
from multicopy_refinement.geometry.statistics import Statistics, statistics_of
from multicopy_refinement.geometry.terms.base import (
    Columns,
    Linear,
    Pairs,
    State,
    Term,
    half_square,
    stacked,
)
from multicopy_refinement.geometry.terms.contacts import SLACK, Contacts
from multicopy_refinement.geometry.terms.similar_b import SimilarB
from multicopy_refinement.geometry.topology import Topology, topology_of
from multicopy_refinement.io.structure import StructureFile
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.parameters.atomic import PlacedAtoms

#: Mates are sought as far as atoms may ever come near, after moves of so much, in A.
FARTHEST_MOVE = 3.0
#: No two atoms touch that are farther apart, in A.
FARTHEST_CONTACT = 5.6


class GeometricModel(PlacedAtoms, Protocol):
    """What the geometry needs of a model; `multicopy_refinement.Model` is one."""

    @property
    def source(self) -> StructureFile:
        """The file that was loaded."""
        ...


@dataclass(frozen=True, eq=False)
class Geometry:
    """Restraints of a model: -log p = r'r/2, r in units of the dictionary's sigmas.

    Unknowns are the coordinates, B and U of all atoms, in the order of `Columns`; riding hydrogens
    are placed by the others, and have no derivatives of their own.

    Attributes
    ----------
    table
        The atoms.
    topology
        Restraints of coordinates as arrays.
    riding
        Hydrogens that ride.
    terms
        All restraints, one object a kind.
    notices
        What has no dictionary, was odd, or left out.
    weight
        Of the restraints of coordinates; those of displacements have 1.
    spread
        How far B of bonded atoms are apart in this crystal, in units of their sigmas.
    """

    table: AtomTable
    topology: Topology
    riding: Riding
    terms: tuple[Term, ...]
    notices: tuple[Notice, ...]
    weight: float = 1.0
    spread: float = 1.0

    @classmethod
    def of(
        cls,
        model: GeometricModel,
        *,
        restraints: str | Path | Iterable[str | Path] = (),
        monomers: str | Path | None = None,
    ) -> Geometry:
        """Return the geometry of a model.

        Parameters
        ----------
        model
            Its atoms as read are the start: what no dictionary describes keeps that geometry.
        restraints
            Dictionary files, looked up first.
        monomers
            A folder of dictionaries, looked up next; then ``$CLIBD_MON`` and the package's own.

        Raises
        ------
        RestraintFileError
            A dictionary, or a folder of them, that cannot be used.
        """
        table, source = model.table, model.source
        names = [name.decode() for name in np.unique(table.resname).tolist()]
        topology = topology_of(source, table, Dictionaries.of(restraints, monomers).library(names))
        hydrogen, parent = parents(table)
        bonded = np.concatenate([topology.bonded, np.stack([parent, hydrogen], axis=1)])
        reach = FARTHEST_CONTACT + 2 * SLACK + FARTHEST_MOVE
        images = near_images(table.xyz, source.cell, source.spacegroup, reach)
        rules = ContactRules.of(table, model.occupancy_groups, topology, bonded, images)
        alike = PairsAlike.of(table, topology.bonded, source.cell, source.spacegroup)
        displacements, odd = displacement_terms(table, alike, _start(model))
        terms: tuple[Term, ...] = (
            topology.bonds, topology.angles, topology.straight, topology.torsions,
            topology.chirality, topology.planes, Contacts(rules, images), *displacements,
        )  # fmt: skip
        riding = Riding.of(table, topology.bonded)
        lonely = np.setdiff1d(np.flatnonzero(table.hydrogen), hydrogen)
        if len(lonely):
            labels = table.labels(lonely)
            message = f"no atom within 1.5 A for hydrogens to ride on: {listed(list(labels))}"
            odd = (*odd, Notice("lonely_hydrogen", message, labels))
        return cls(table, topology, riding, terms, (*topology.notices, *odd))

    @property
    def columns(self) -> Columns:
        """Where each unknown stands."""
        return Columns(len(self.table))

    def state(self, model: GeometricModel) -> State:
        """Return where a model's atoms are now."""
        return _start(model)

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals of all terms in units of sigma, ``[m]``."""
        placed = self.riding.placed(at)
        found = [self._root(term) * term.residuals(placed) for term in self.terms]
        return np.concatenate([np.zeros(0), *found])  # there may be no terms

    def value(self, at: State) -> float:
        """Return -log p; infinite where a U is not positive definite."""
        return half_square(self.residuals(at))

    def linear(self, at: State) -> Linear:
        """Return the residuals and their derivatives by the unknowns: value, gradient, J'J."""
        placed = self.riding.placed(at)
        parts = [term.linear(placed).times(self._root(term)) for term in self.terms]
        every = stacked(parts, self.columns.size)
        if len(self.riding) == 0:
            return every
        return Linear(every.residuals, (every.jacobian @ self.riding.slopes(at)).tocsr())

    def _root(self, term: Term) -> float:
        if isinstance(term, SimilarB) and term.bonded:
            return 1 / self.spread
        return 1.0 if isinstance(term, Pairs) else float(np.sqrt(self.weight))

    def gradient(self, at: State) -> FloatArray:
        """Return the derivatives of `value`, ``[10 n]``."""
        return self.linear(at).gradient

    def gauss_newton(self, at: State) -> sparse.csr_matrix:
        """Return J'J, sparse ``[10 n, 10 n]``."""
        return self.linear(at).gauss_newton

    def statistics(self, at: State, *, worst: int = 5) -> Statistics:
        """Return rms deviations and rms Z by kind, and the worst outliers of each by name."""
        return statistics_of(self.terms, self.table, self.riding.placed(at), worst=worst)

    def energy(self, model: GeometricModel) -> Tensor:
        """Return -log p of a model's present state as a scalar, once differentiable."""
        energy: Tensor = _Energy.apply(self, model.xyz(), model.b_iso(), model.u_aniso())
        return energy


_KNOWN: WeakKeyDictionary[GeometricModel, Geometry] = WeakKeyDictionary()


def energy(model: GeometricModel) -> Tensor:
    """Return -log p of the restraints of a model, r'r/2, as a scalar that can join a loss.

    Differentiable once in ``model.xyz``, ``model.b_iso`` and ``model.u_aniso``. The restraints are
    made at the first call for a model and kept as long as it has these atoms. For dictionaries of
    one's own: ``Geometry.of(model, restraints=...).energy(model)``.

    Raises
    ------
    RestraintFileError
        As `Geometry.of`.
    GradientError
        When second derivatives are asked for.
    """
    known = _KNOWN.get(model)
    if known is None or known.table is not model.table:  # another file was loaded
        _KNOWN[model] = known = Geometry.of(model)
    return known.energy(model)


class _Energy(torch.autograd.Function):
    """The value of a geometry, with its gradient kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, geometry: Geometry, xyz: Tensor, b_iso: Tensor, u_aniso: Tensor
    ) -> Tensor:
        at = State(*(_array(t) for t in (xyz, b_iso, u_aniso)))
        if not any(ctx.needs_input_grad):
            return xyz.new_tensor(geometry.value(at))
        linear = geometry.linear(at)
        n = len(geometry.table)
        parts = np.split(linear.gradient, [3 * n, 4 * n])
        shapes = zip(parts, (xyz, b_iso, u_aniso), strict=True)
        slopes = (torch.as_tensor(g).reshape(t.shape).to(t) for g, t in shapes)
        ctx.save_for_backward(*slopes, xyz, b_iso, u_aniso)
        return xyz.new_tensor(linear.value)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        slopes, unknowns = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
        return (None, *(_Slope.apply(weight, slope, *unknowns) for slope in slopes))


class _Slope(torch.autograd.Function):
    """A gradient that can be used, but not differentiated as if it were a constant."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, slope: Tensor, *unknowns: Tensor) -> Tensor:
        return weight * slope

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        raise GradientError("second derivatives of the geometry's energy are not available")


def _array(tensor: Tensor) -> FloatArray:
    return np.array(tensor.detach().double().cpu().numpy())  # a copy: parameters change in place


def _start(model: GeometricModel) -> State:
    with torch.no_grad():
        return State(_array(model.xyz()), _array(model.b_iso()), _array(model.u_aniso()))
