"""The model of a series in one cell: F without the state, and what the state adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell
from multicopy_refinement.model import Model
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.basis import MEMORY_LIMIT
from multicopy_refinement.scattering.columns import make_columns
from multicopy_refinement.scattering.splat import splat_structure_factors
from multicopy_refinement.series.state import SeriesState
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Data sets whose cells differ from that of a crystal by less than this part share it.
SAME_CELL = 0.002
#: Regions of a state; where it has more residues, neighbours in a chain are taken together.
MOST_REGIONS = 60


@dataclass(frozen=True, eq=False)
class Regions:
    """Parts of a state that may have a fraction of their own each.

    Attributes
    ----------
    names
        Of each, as ``A/10/ARG``.
    of_atom
        Region of each atom that follows the fraction, -1 of all others, ``[n_atoms]``.
    of_group
        Region of each group, -1 where it has none or several, ``[n_groups]``.
    """

    names: tuple[str, ...]
    of_atom: IntArray
    of_group: IntArray

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, state: SeriesState, most: int = MOST_REGIONS) -> Regions:
        """Return the residues of a state, in the order of the file; conformers are together."""
        groups, table = state.groups, state.groups.table
        follows = (state.slope != 0)[groups.index]
        key = np.rec.fromarrays([table.chain, table.resseq, table.icode])
        _, first, number = np.unique(key[follows], return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        order = np.argsort(first)
        residue = rank[number]
        atoms = np.flatnonzero(follows)[first[order]]
        n = len(atoms)
        block = np.arange(n) if n <= most else np.arange(n) * most // n
        of_atom = np.full(len(table), -1)
        of_atom[follows] = block[residue]
        labels = [
            f"{table.chain[a].decode()}/{table.resseq[a]}{table.icode[a].decode()}/"
            f"{table.resname[a].decode()}" for a in atoms.tolist()
        ]  # fmt: skip
        ends = [np.flatnonzero(block == b)[[0, -1]] for b in range(int(block.max()) + 1)]
        names = tuple(
            labels[i] if i == j else f"{labels[i]} to {labels[j]}" for i, j in np.array(ends)
        )
        lowest, highest = np.full(len(groups), len(names)), np.full(len(groups), -1)
        np.minimum.at(lowest, groups.index, of_atom)
        np.maximum.at(highest, groups.index, of_atom)
        return cls(names, of_atom, np.where(lowest == highest, lowest, -1))


@dataclass(frozen=True, eq=False)
class Crystal:
    """F_calc(h) = held(h) + sum_r (before_r(h) + f_r added_r(h)), f_r the fraction in a region.

    Attributes
    ----------
    model
        In this cell, fractional coordinates those of the file.
    state, regions
        What follows the fraction.
    hkl
        Of all data sets of the crystal, ``[n, 3]``.
    held
        F of all atoms that do not follow the fraction, complex ``[n]``.
    before, added
        F of those of each region at fraction 0, and what the state adds, complex64
        ``[n_regions, n]``.
    """

    model: Model
    state: SeriesState
    regions: Regions
    hkl: IntArray
    held: ComplexArray
    before: NDArray[np.complex64]
    added: NDArray[np.complex64]

    @classmethod
    def of(cls, model: Model, state: SeriesState, regions: Regions, hkl: IntArray) -> Crystal:
        """Calculate it for a model and some reflections."""
        groups = state.groups
        follows = regions.of_atom >= 0
        pairs = np.stack([groups.index[follows], regions.of_atom[follows]], axis=1)
        unit, of_atom = np.unique(pairs, axis=0, return_inverse=True)
        with torch.no_grad():
            atoms = atoms_of(model).double()
            held, moving = (atoms.select(torch.as_tensor(rows)) for rows in (~follows, follows))
            columns = make_columns(moving, of_atom.reshape(-1), len(unit), hkl, MEMORY_LIMIT)
            of_held = np.zeros(len(hkl), dtype=np.complex128)
            if len(held):
                of_held += splat_structure_factors(held, hkl).numpy()
        before, added = np.zeros((2, len(regions), len(hkl)), dtype=np.complex64)
        for u, (group, region) in enumerate(unit.tolist()):
            real, imaginary = (part[0] for part in columns.members(np.array([u])))
            f = (real + 1j * imaginary).astype(np.complex64)
            before[region] += np.float32(state.offset[group]) * f
            added[region] += np.float32(state.slope[group]) * f
        return cls(model, state, regions, hkl, of_held, before, added)

    @cached_property
    def mean_b(self) -> FloatArray:
        """Mean B of the atoms of each region, A^2, ``[n_regions]``."""
        of, table = self.regions.of_atom, self.model.table
        mine = of >= 0
        b = np.where(
            table.anisotropic, EIGHT_PI_SQUARED * table.u_aniso[:, :3].mean(axis=1), table.b_iso
        )
        return np.asarray(np.bincount(of[mine], b[mine]) / np.bincount(of[mine]))

    def rows(self, hkl: IntArray) -> IntArray:
        """Return where reflections are among those of the crystal."""
        return positions(hkl, self.hkl)


def in_cell(model: Model, state: SeriesState, cell: Cell) -> Model:
    """Return the model as it is in another cell, its atoms at the same fractional coordinates."""
    source, table = model.source, model.table
    with torch.no_grad():
        xyz, b_iso, u_aniso = (
            t().double().cpu().numpy().copy() for t in (model.xyz, model.b_iso, model.u_aniso)
        )
    xyz = xyz @ model.cell.fractionalization.T @ cell.orthogonalization.T
    moved = replace(table, xyz=xyz, b_iso=b_iso, u_aniso=u_aniso)
    other = Model(dtype_float=torch.float64)
    return other.adopt(replace(source, table=moved, cell=cell), replace(state.groups, table=moved))


def shared_cells(cells: Sequence[Cell], own: Cell, tolerance: float = SAME_CELL) -> list[int]:
    """Return for each cell the number of the first that it is like, that of the model before all.

    0 stands for the model's own, i + 1 for the i-th of ``cells``.
    """
    chosen, found = [(0, own)], []
    for i, cell in enumerate(cells):
        for number, other in chosen:
            if other.largest_difference(cell) <= tolerance:
                found.append(number)
                break
        else:
            chosen.append((i + 1, cell))
            found.append(i + 1)
    return found


def union_of(lists: Sequence[IntArray]) -> IntArray:
    """Return each reflection of several lists once, sorted."""
    return np.unique(np.concatenate(lists), axis=0)


def positions(hkl: IntArray, among: IntArray) -> IntArray:
    """Return the place of each reflection in a sorted list, -1 where it is not in it."""
    low = np.minimum(hkl.min(axis=0), among.min(axis=0))
    width = np.maximum(hkl.max(axis=0), among.max(axis=0)) - low + 1
    keys, known = (((h - low) @ np.array([width[1] * width[2], width[2], 1])) for h in (hkl, among))
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.asarray(np.where(known[place] == keys, place, -1))
