"""Points of a grid around atoms and all their images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.scaling.mask import solvent_masker

#: Atoms whose points are found at once.
_ATOMS = 400


class GridPoints:
    """Points of the grid around atoms and all their images."""

    def __init__(
        self, table: AtomTable, xyz: FloatArray, cell: Cell, group: SpaceGroup,
        shape: Sequence[int],
    ) -> None:  # fmt: skip
        self.cell, self.group, self.shape = cell, group, np.array(shape)
        self.fractional = xyz @ cell.fractionalization.T
        self.radius = np.array([exclusion_radius(e.decode()) for e in table.element.tolist()])

    def near(self, members: Sequence[IntArray]) -> list[IntArray]:
        """Return the points within the radius of each group's atoms and images, flat, unique."""
        atoms = np.concatenate([np.zeros(0, dtype=np.int64), *members]).astype(np.int64)
        group = np.repeat(np.arange(len(members)), [len(m) for m in members])
        known = self.radius[atoms] > 0
        atoms, group = atoms[known], group[known]
        if len(atoms) == 0:
            return [np.zeros(0, dtype=np.int64) for _ in members]
        offsets = self.offsets(float(self.radius[atoms].max()) + 0.5 * self._diagonal)
        size, keys = int(np.prod(self.shape)), []
        for rotation, translation in zip(self.group.rotations, self.group.translations,
                                         strict=True):  # fmt: skip
            for centring in self.group.centrings:
                for some in np.array_split(np.arange(len(atoms)), 1 + len(atoms) // _ATOMS):
                    image = self.fractional[atoms[some]] @ rotation.T + translation + centring
                    atom, points = self._around(image, self.radius[atoms[some]], offsets)
                    keys.append(group[some][atom] * size + points)
        owner, points = np.divmod(sorted_unique(np.concatenate(keys)), size)
        edges = np.searchsorted(owner, np.arange(len(members) + 1))
        return [points[edges[g] : edges[g + 1]] for g in range(len(members))]

    @property
    def _diagonal(self) -> float:
        return float(np.linalg.norm(self.cell.orthogonalization / self.shape, axis=0).sum())

    def _around(
        self, place: FloatArray, radius: FloatArray, offsets: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Return pairs of an atom and a point that is within its radius."""
        centre = np.rint(place * self.shape).astype(np.int64)
        step = self.cell.orthogonalization / self.shape
        rest, away = (centre - place * self.shape) @ step.T, offsets @ step.T
        # |rest + away|^2 without an array of all vectors
        squares = (rest**2).sum(axis=1)[:, None] + (away**2).sum(axis=1) + 2 * rest @ away.T
        atom, offset = np.nonzero(squares <= radius[:, None] ** 2)
        return atom, self.flat(centre[atom] + offsets[offset])

    def flat(self, index: IntArray) -> IntArray:
        """Return places in the flat grid of indices ``[n, 3]``, which may lie outside."""
        u, v, w = (index % self.shape).T
        return np.asarray((u * self.shape[1] + v) * self.shape[2] + w)

    def offsets(self, reach: float) -> IntArray:
        """Return all steps on the grid up to a reach in A, ``[n, 3]``."""
        step = self.cell.orthogonalization / self.shape
        most = np.ceil(reach * np.linalg.norm(np.linalg.inv(step), axis=1)).astype(int)
        axes = np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij")
        steps = np.stack([a.reshape(-1) for a in axes], axis=1)
        return np.asarray(steps[np.linalg.norm(steps @ step.T, axis=1) <= reach])


def sorted_unique(values: IntArray) -> IntArray:
    """Return the different values in order; by sorting, which is quicker here than by hashing."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def among(n: int, parts: Sequence[IntArray]) -> IntArray:
    """Return which numbers of 0..n are in any of the parts, in order."""
    taken = np.zeros(n, dtype=bool)
    for part in parts:
        taken[part] = True
    return np.flatnonzero(taken)


@cache
def exclusion_radius(symbol: str) -> float:
    """Return the radius within which an atom and the probe keep solvent out, in A.

    It is read off the mask of gemmi around one atom, along a line; an unknown element has none.
    """
    if symbol == "X":
        return 0.0
    structure, length, n = gemmi.Model(1), 12.0, 6000
    chain, residue, atom = gemmi.Chain("A"), gemmi.Residue(), gemmi.Atom()
    atom.element, atom.occ, atom.pos = gemmi.Element(symbol), 1.0, gemmi.Position(6.0, 6.0, 6.0)
    residue.add_atom(atom)
    chain.add_residue(residue)
    structure.add_chain(chain)
    grid = gemmi.FloatGrid(n, 2, 2)
    grid.spacegroup = gemmi.SpaceGroup("P 1")
    grid.set_unit_cell(gemmi.UnitCell(length, length, length, 90, 90, 90))
    masker = solvent_masker(shrink=0.0, island=0.0)
    masker.ignore_hydrogen = False
    masker.put_mask_on_float_grid(grid, structure)
    line = grid.array[:, 1, 1]
    return float((line == 0).sum()) * length / n / 2
