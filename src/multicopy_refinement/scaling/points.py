"""Points of a grid around atoms and all their images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, Int32Array, IntArray, UInt8Array
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.scaling.kernels import points as kernels
from multicopy_refinement.scaling.mask import solvent_masker, steps_within


class GridPoints:
    """Points of the grid around atoms and all their images, to a probe ``wider`` than 1 A."""

    def __init__(
        self, table: AtomTable, xyz: FloatArray, cell: Cell, group: SpaceGroup,
        shape: Sequence[int], wider: float = 0.0,
    ) -> None:  # fmt: skip
        self.cell, self.group, self.shape = cell, group, np.array(shape)
        self.fractional = xyz @ cell.fractionalization.T
        radius = np.array([exclusion_radius(e.decode()) for e in table.element.tolist()])
        self.radius = np.where(radius > 0, radius + wider, 0.0)

    def cover(self, stamp: Int32Array, value: int, atoms: IntArray) -> IntArray:
        """Stamp the points within the radius of some atoms and images; return the new ones.

        Parameters
        ----------
        stamp
            int32 of each point, flat; negative ones are left alone.
        value
            The stamp, not negative.
        atoms
            Of the model.
        """
        spheres = self._spheres(atoms)
        radii, reach = spheres[2:]
        most = int((2 * radii[:, None] * reach + 1).prod(axis=1).sum())
        found = np.empty(min(len(stamp), most), dtype=np.int64)
        n = kernels.cover(stamp, value, found, self.shape, *spheres)
        return np.sort(found[:n])

    def fill(self, grid: UInt8Array, atoms: IntArray) -> None:
        """Set the points within the radius of some atoms and images to 1, flat."""
        kernels.fill(grid, self.shape, *self._spheres(atoms))

    def _spheres(self, atoms: IntArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return steps of the grid, places of atoms and images, radii, steps within 1 A."""
        atoms = atoms[self.radius[atoms] > 0]
        places = self.group.images(self.fractional[atoms])
        step = self.cell.orthogonalization / self.shape
        reach = np.linalg.norm(np.linalg.inv(step), axis=1)
        radii = np.tile(self.radius[atoms], len(places))
        return step, np.concatenate(places) * self.shape, radii, reach

    def grown(self, points: UInt8Array, steps: IntArray) -> UInt8Array:
        """Return which points are within steps, all those up to a reach, of points that are 1."""
        lines, of = np.unique(steps[:, :2], axis=0, return_inverse=True)
        runs = np.empty((len(lines), 4), dtype=np.int64)
        runs[:, :2] = lines
        for line in range(len(lines)):
            own = steps[of.reshape(-1) == line, 2]
            runs[line, 2:] = own.min(), own.max()
        return np.asarray(kernels.grown(points, self.shape, runs))

    def flat(self, index: IntArray) -> IntArray:
        """Return places in the flat grid of indices ``[n, 3]``, which may lie outside."""
        u, v, w = (index % self.shape).T
        return np.asarray((u * self.shape[1] + v) * self.shape[2] + w)

    def offsets(self, reach: float) -> IntArray:
        """Return all steps on the grid up to a reach in A, ``[n, 3]``."""
        return steps_within(reach, self.cell, self.shape)


def sorted_unique(values: IntArray) -> IntArray:
    """Return the different values in order; by sorting, which is quicker here than by hashing."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


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
