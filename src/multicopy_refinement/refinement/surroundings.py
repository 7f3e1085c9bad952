"""What lies near each group, and what is known of its coordinates and displacements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.neighbours import near_in_crystal
from multicopy_refinement.crystal.hkl import orbit_keys
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.terms.base import Columns, State
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.places import in_runs
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.atom_slopes import ISOTROPIC, unknowns_of_atoms
from multicopy_refinement.scattering.atoms import ScatteringAtoms, atoms_of, symmetric_matrices
from multicopy_refinement.solve.local import Stiffness, Surroundings
from multicopy_refinement.solve.marginal import MOST_ATOMS, dependent_sets
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Atoms within so many A of a group count in its su.
REACH = 4.5
#: A refined coordinate is known to so many A before the data are asked, and a B to this part of it.
XYZ_SIGMA, B_SIGMA = 0.3, 0.5
#: Displacements that are constrained to be one differ by no more than this part of them.
_EQUAL = 0.005


@dataclass(frozen=True, eq=False)
class Vague:
    """Coordinates and displacements of which little is known beside the data.

    Attributes
    ----------
    b
        B of each atom or its equivalent in A^2, ``[n_atoms]``.
    same
        A number for atoms that have one displacement tensor, -1 for all others, ``[n_atoms]``.
    """

    b: FloatArray
    same: IntArray

    def of_atoms(self, atoms: IntArray, tensor: BoolArray) -> FloatArray:
        """Return its information, ``[n_unknowns, n_unknowns]``."""
        offset = unknowns_of_atoms(tensor)
        diagonal = np.full(int(offset[-1]), XYZ_SIGMA**-2)
        of_b = (B_SIGMA * np.maximum(self.b[atoms], 2.0)) ** -2.0
        diagonal[offset[:-1] + ISOTROPIC - 1] = of_b
        for i in np.flatnonzero(tensor).tolist():
            diagonal[offset[i] + 3 : offset[i + 1]] = of_b[i] * EIGHT_PI_SQUARED**2
        found = np.diag(diagonal)
        for one, other in self._pairs(atoms):
            for k in range(ISOTROPIC - 1, int(offset[one + 1] - offset[one])):
                x, y = offset[one] + k, offset[other] + k
                tie = found[x, x] * (B_SIGMA / _EQUAL) ** 2
                found[[x, y], [x, y]] += tie
                found[[x, y], [y, x]] -= tie
        return found

    def _pairs(self, atoms: IntArray) -> list[tuple[int, int]]:
        """Return places of atoms with one displacement, each beside the first that has it."""
        if (self.same[atoms] < 0).all():
            return []
        first: dict[int, int] = {}
        pairs = []
        for place, number in enumerate(self.same[atoms].tolist()):
            if number >= 0 and first.setdefault(number, place) != place:
                pairs.append((first[number], place))
        return pairs


@dataclass(frozen=True, eq=False)
class Restrained:
    """What a geometry says, beside the little that is known of everything.

    Attributes
    ----------
    vague
        Of that little.
    information
        J'J of the restraints, sparse, over the unknowns of all atoms.
    gradient
        -J'r, the derivatives of their log p, ``[n_unknowns]``.
    offset
        Where the unknowns of each atom begin, ``[n_atoms + 1]``.
    """

    vague: Vague
    information: sparse.csr_matrix
    gradient: FloatArray
    offset: IntArray

    @classmethod
    def of(cls, vague: Vague, geometry: Geometry, at: State, tensor: BoolArray) -> Restrained:
        """Return that of a state; ``tensor`` says which atoms have six displacements."""
        chosen = state_of_unknowns(geometry.columns, geometry.table.anisotropic, tensor)
        known = geometry.linear(at)
        slopes = known.jacobian @ chosen
        gradient = np.asarray(-(slopes.T @ known.residuals))
        return cls(vague, (slopes.T @ slopes).tocsr(), gradient, unknowns_of_atoms(tensor))

    def of_atoms(self, atoms: IntArray, tensor: BoolArray) -> FloatArray:
        """Return its information, ``[n_unknowns, n_unknowns]``."""
        found = self.vague.of_atoms(atoms, tensor)
        size = self.offset[atoms + 1] - self.offset[atoms]
        rows = in_runs(self.offset[atoms], size)
        held = self.information
        count = held.indptr[rows + 1] - held.indptr[rows]
        if not count.any():
            return found
        entries = in_runs(held.indptr[rows], count)
        column, order = held.indices[entries], np.argsort(rows)
        place = order[np.minimum(np.searchsorted(rows, column, sorter=order), len(rows) - 1)]
        near = rows[place] == column
        of_row = np.repeat(np.arange(len(rows)), count)
        found[of_row[near], place[near]] += held.data[entries[near]]  # each once: CSR has no twins
        return found


def state_of_unknowns(
    columns: Columns, anisotropic: BoolArray, tensor: BoolArray
) -> sparse.csr_matrix:
    """Return d(state)/d(unknowns of atoms), sparse ``[10 n, n_unknowns]``.

    Unknowns are those of `unknowns_of_atoms`; anisotropic atoms without a ``tensor`` have a shift
    of B that is an isotropic one of U.
    """
    offset = unknowns_of_atoms(tensor)
    every = np.arange(len(tensor))
    plain, shared = every[~anisotropic], every[anisotropic & ~tensor]
    six = every[tensor]
    row = [
        columns.xyz(every).ravel(), columns.b_iso(plain),
        columns.u_aniso(shared)[:, :3].ravel(), columns.u_aniso(six).ravel(),
    ]  # fmt: skip
    column = [
        (offset[:-1, None] + np.arange(3)).ravel(), offset[plain] + 3,
        np.repeat(offset[shared] + 3, 3), (offset[six, None] + 3 + np.arange(6)).ravel(),
    ]  # fmt: skip
    value = [np.ones(len(part)) for part in row]
    value[2] /= EIGHT_PI_SQUARED
    return sparse.csr_matrix(
        (np.concatenate(value), (np.concatenate(row), np.concatenate(column))),
        shape=(columns.size, int(offset[-1])),
    )


def surroundings_of(
    model: Model, data: ReflectionData, refined: IntArray, sums: SumConstraints,
    geometry: Geometry | None = None, reach: float = REACH,
) -> Surroundings:  # fmt: skip
    """Return what is within reach (A) of the refined groups of a model, hydrogens left out.

    With a geometry anisotropic atoms share one shift of U; without, all six elements are unknown.
    """
    with torch.no_grad():
        atoms = atoms_of(model).double()
    groups, table = model.occupancy_groups, model.table
    place = np.full(len(groups), -1)
    place[refined] = np.arange(len(refined))
    group_of_atom = place[groups.index]
    heavy = np.flatnonzero(~table.hydrogen)
    xyz = atoms.xyz.numpy()
    moving = heavy[group_of_atom[heavy] >= 0]
    found, distances = near_in_crystal(xyz[heavy], xyz[moving], reach, model.cell, model.spacegroup)
    near_atom = np.concatenate([np.zeros(0, np.int64), *(heavy[f] for f in found)])
    distance = np.concatenate([np.zeros(0), *distances])
    of_atom = np.repeat(moving, [len(f) for f in found])
    sets = dependent_sets(sums)
    set_of_group = np.zeros(len(refined), dtype=np.int64)
    for i, own in enumerate(sets):
        set_of_group[own] = i
    set_of_row = set_of_group[group_of_atom[of_atom]]
    order = np.argsort(set_of_row, kind="stable")
    edges = np.searchsorted(set_of_row[order], np.arange(len(sets) + 1))
    near = tuple(
        _nearest(near_atom[rows], np.where(of_atom[rows] == near_atom[rows], -1.0, distance[rows]))
        for rows in (order[edges[i] : edges[i + 1]] for i in range(len(sets)))
    )
    tensor = atoms.anisotropic.numpy() & (geometry is None)
    vague = Vague(_equivalent_b(atoms), one_displacement(atoms, table.altloc))
    stiffness: Stiffness = vague
    if geometry is not None:
        stiffness = Restrained.of(vague, geometry, geometry.state(model), tensor)
    return Surroundings(
        atoms, data.hkl, _by_resolution(data), near, sets, tensor, group_of_atom,
        stiffness,
    )  # fmt: skip


def surroundings_as_held(
    model: Model, data: ReflectionData, refined: IntArray, sums: SumConstraints
) -> Surroundings:
    """Return surroundings in which coordinates and displacements are as they are held."""
    with torch.no_grad():
        atoms = atoms_of(model).double()
    sets, nothing = dependent_sets(sums), np.zeros(0, dtype=np.int64)
    n = len(atoms)
    return Surroundings(
        atoms, data.hkl, _by_resolution(data), (nothing,) * len(sets), sets,
        np.zeros(n, dtype=bool), np.full(n, -1), Vague(np.zeros(n), np.full(n, -1)),
    )  # fmt: skip


def _nearest(atoms: IntArray, distance: FloatArray) -> IntArray:
    """Return each atom once, the nearest first."""
    order = np.lexsort((atoms, distance))
    _, first = np.unique(atoms[order], return_index=True)
    return np.asarray(atoms[order][np.sort(first)][:MOST_ATOMS])


def _by_resolution(data: ReflectionData) -> IntArray:
    """Return an order of the reflections that does not depend on how the file lists them."""
    keys = orbit_keys(data.hkl, data.spacegroup)
    return np.lexsort((keys, np.round(data.s_squared, 9)))


def _equivalent_b(atoms: ScatteringAtoms) -> FloatArray:
    matrices = symmetric_matrices(atoms.u)
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1) / 3 * EIGHT_PI_SQUARED
    return np.asarray(torch.where(atoms.anisotropic, trace, atoms.b_iso).numpy())


def one_displacement(atoms: ScatteringAtoms, altloc: NDArray[np.bytes_]) -> IntArray:
    """Return a number for atoms of several conformers that have one displacement tensor, or -1.

    Where all six elements agree to the last figure, a program has constrained them (EADP of
    SHELXL): they are one unknown.
    """
    found = np.full(len(atoms), -1)
    some = np.flatnonzero(atoms.anisotropic.numpy() & (altloc != b""))
    if len(some):
        _, number = np.unique(atoms.u.numpy()[some], axis=0, return_inverse=True)
        found[some] = np.where(np.bincount(number)[number] > 1, number, -1)
    return found
