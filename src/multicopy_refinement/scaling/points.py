"""Points of a grid around atoms and all their images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, Int32Array, IntArray, UInt8Array
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.scaling.kernels import points as kernels
from multicopy_refinement.scaling.mask import solvent_masker, steps_within

#: Points that groups may cover, of those that are worked on at once.
_AT_ONCE = 4_000_000


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

    def cover_each(self, stamp: Int32Array, groups: Sequence[IntArray]) -> Iterator[IntArray]:
        """Yield the points within the radius of the atoms of each group and of their images.

        Parameters
        ----------
        stamp
            int32 of each point, flat; points where it is negative are left out. It takes numbers.
        groups
            Atoms of the model.
        """
        atoms, number = np.concatenate([np.zeros(0, np.int64), *groups]), np.arange(len(groups))
        of = np.repeat(number, [len(own) for own in groups])
        some = self.radius[atoms] > 0
        atoms, of = atoms[some], of[some]
        step, places, radii, reach = self._spheres(atoms)
        n_images = len(radii) // max(len(atoms), 1)
        order = np.argsort(np.tile(of, n_images), kind="stable")
        places, radii = places[order], radii[order]
        first = n_images * np.searchsorted(of, np.append(number, len(groups)))
        most = (2 * radii[:, None] * reach + 1).prod(axis=1)
        room = np.concatenate([[0.0], np.cumsum(most)])[first]
        start = 0
        while start < len(groups):  # as many at once as there is room for what they may cover
            end = int(np.searchsorted(room, room[start] + _AT_ONCE, side="right")) - 1
            end = min(max(end, start + 1), len(groups))
            found = np.empty(int(room[end] - room[start]) + 1, dtype=np.int64)
            begin = np.zeros(end - start + 1, dtype=np.int64)
            kernels.cover_each(
                stamp, start + 1, found, begin, first[start : end + 1], self.shape, step, places,
                radii, reach,
            )  # fmt: skip
            for a, b in pairwise(begin.tolist()):
                yield found[a:b]
            start = end

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
