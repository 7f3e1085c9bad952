"""The region of bulk solvent of a model whose atoms are there or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray, UInt8Array
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.scaling.kernels.points import halved, spread

#: Spacing of the mask's grid as a fraction of the resolution, and its coarsest value in A.
MASK_SPACING = 1 / 2
COARSEST = 0.6
#: Grids coarser than this (A) are means of one twice as fine, where that has no more points.
_FINE_ENOUGH, _MOST_POINTS = 0.35, 60_000_000
#: Radius by which solvent grows back in A, and the smallest island of it in A^3. The radius is
#: without a grid: to as much the 0.8 A of REFMAC comes on a grid of 0.56 A.
SHRINK, ISLAND = 0.53, 50.0


@dataclass(frozen=True)
class MaskGrid:
    """The grid of a mask: each point holds a part of solvent, from a grid that may be finer.

    A mean of three points along each axis with weights 1/4, 1/2, 1/4 takes away what the coarse
    grid cannot hold, which would fold back on low indices. F at h is less by cos^2(pi h/2n) for
    each axis, as by a B of pi^2 times the square of the finer spacing (0.8 A^2 at 0.28 A), which
    B_sol takes up.

    Attributes
    ----------
    cell, group
        Of the crystal.
    shape
        Points along the axes.
    factor
        By which the grid of the points that are solvent or not is finer: 1 or 2.
    shrink
        Radius by which solvent grows back from where the probe fits, without a grid, in A.
    wider
        By how much the probe's radius is larger than the 1.0 A of REFMAC, in A.
    blend
        How much of the solvent a narrower probe says, and a wider one as much: 0, 1/4 or 1/2; this
        one says the rest.
    """

    cell: Cell
    group: SpaceGroup
    shape: tuple[int, int, int]
    factor: int
    shrink: float = SHRINK
    wider: float = 0.0
    blend: float = 0.0

    @classmethod
    def of(
        cls, cell: Cell, group: SpaceGroup, d_min: float, coarsest: float = COARSEST
    ) -> MaskGrid:
        """Return a grid that holds all indices to ``d_min`` in A, what lies on that among them.

        Its points are no further apart than ``coarsest``, in A.
        """
        spacing = min(coarsest, MASK_SPACING * d_min)
        shape = grid_size(cell, group, spacing, d_min=d_min)
        few = 8 * float(np.prod(shape)) <= _MOST_POINTS
        return cls(cell, group, shape, 2 if spacing > _FINE_ENOUGH and few else 1)

    @property
    def fine(self) -> tuple[int, int, int]:
        """Points along the axes of the finer grid."""
        nu, nv, nw = self.shape
        return nu * self.factor, nv * self.factor, nw * self.factor

    @property
    def voxel(self) -> float:
        """Volume of a point of the finer grid, in A^3."""
        return self.cell.volume / float(np.prod(self.fine))

    @property
    def growth(self) -> float:
        """By what radius solvent has to grow on the finer grid to grow by `shrink` without it.

        Solvent grows back by R from points of the grid, of which one has to lie in the cap by which
        a sphere of R reaches into the solvent: of height a it has a volume of pi R a^2, so that it
        grows by R less the a at which that is a voxel's.
        """
        found = self.shrink
        for _ in range(50):
            found = self.shrink + (self.voxel / (np.pi * found)) ** 0.5
        return float(found)

    @property
    def points_reached(self) -> int:
        """Points of the finer grid that solvent takes back around one."""
        return len(steps_within(self.growth, self.cell, np.array(self.fine)))

    def with_shrink(self, shrink: float) -> MaskGrid:
        """Return the grid with another radius by which solvent grows back, in A."""
        return replace(self, shrink=shrink)

    def with_probe(self, wider: float) -> MaskGrid:
        """Return the grid with a probe wider by so much, in A; solvent grows back as much more."""
        return replace(self, wider=wider, shrink=self.shrink + wider - self.wider)

    def with_blend(self, blend: float) -> MaskGrid:
        """Return the grid with another part that a narrower and a wider probe say each."""
        return replace(self, blend=blend)

    def coarse(self, solvent: UInt8Array) -> FloatArray:
        """Return the part of solvent at each point from the finer grid's, ``[nu, nv, nw]``."""
        flat = np.ascontiguousarray(solvent, dtype=np.uint8).reshape(-1)
        if self.factor == 1:
            return cast(FloatArray, flat.astype(np.float32).reshape(self.shape))
        return np.asarray(halved(flat, np.array(self.shape)).reshape(self.shape))

    def add(self, density: FloatArray, points: IntArray, values: FloatArray) -> IntArray:
        """Add solvent at points of the finer grid to a density ``[nu, nv, nw]``, in place.

        Returns the places where there was none. No point is there twice, no value negative.
        """
        flat = density.reshape(-1)
        if self.factor == 1:
            new: IntArray = points[(flat[points] == 0) & (values > 0)]
            flat[points] += values
            return new
        found = np.empty(8 * len(points), dtype=np.int64)
        n = spread(points, values, np.array(self.shape), flat, found)
        return found[:n]


def steps_within(reach: float, cell: Cell, shape: IntArray) -> IntArray:
    """Return all steps on a grid up to a reach in A, ``[n, 3]``."""
    step = cell.orthogonalization / shape
    most = np.ceil(reach * np.linalg.norm(np.linalg.inv(step), axis=1)).astype(int)
    axes = np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij")
    steps = np.stack([a.reshape(-1) for a in axes], axis=1)
    return np.asarray(steps[np.linalg.norm(steps @ step.T, axis=1) <= reach])


def solvent_masker(shrink: float, island: float = ISLAND) -> gemmi.SolventMasker:
    """Return gemmi's masker with the radii of REFMAC; hydrogens do not displace solvent."""
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
    masker.ignore_hydrogen = True
    masker.ignore_zero_occupancy_atoms = True
    masker.rshrink, masker.island_min_volume = shrink, island
    return masker


def mask_by_gemmi(
    grid: MaskGrid, table: AtomTable, present: BoolArray, xyz: FloatArray
) -> FloatArray:
    """Return how much solvent there is at each point by gemmi's mask, ``[nu, nv, nw]``."""
    masker = solvent_masker(grid.growth)
    masker.rprobe += grid.wider
    fine = _put(masker, table, present, xyz, grid.cell, grid.group, grid.fine)
    return grid.coarse(fine)


def _put(
    masker: gemmi.SolventMasker, table: AtomTable, present: BoolArray, xyz: FloatArray, cell: Cell,
    group: SpaceGroup, size: tuple[int, ...],
) -> UInt8Array:  # fmt: skip
    """Return the mask of a masker on a grid of some size."""
    grid = gemmi.Int8Grid(*size)
    grid.spacegroup = group.gemmi
    grid.set_unit_cell(cell.gemmi)
    masker.put_mask_on_int8_grid(grid, _gemmi_model(table, present, xyz))
    return np.asarray(grid.array, dtype=np.uint8)


def within_reach(
    table: AtomTable, present: BoolArray, xyz: FloatArray, cell: Cell, group: SpaceGroup,
    shape: IntArray, radius: float,
) -> BoolArray:  # fmt: skip
    """Return which points of a grid are within a radius in A of an atom, ``[nu, nv, nw]``."""
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Constant, radius)
    masker.rprobe = masker.rshrink = masker.island_min_volume = 0.0
    around = _put(masker, table, present, xyz, cell, group, tuple(shape.tolist()))
    return np.asarray(around == 0)


def density_structure_factors(
    density: FloatArray, cell: Cell, group: SpaceGroup, hkl: IntArray
) -> ComplexArray:
    """Return F of a density on a grid of the whole cell, complex ``[n]``."""
    grid = gemmi.FloatGrid(density.astype(np.float32), cell.gemmi, group.gemmi)
    transform = gemmi.transform_map_to_f_phi(grid, half_l=True)
    values = transform.get_value_by_hkl(np.ascontiguousarray(hkl, dtype=np.int32))
    return np.asarray(values, dtype=np.complex128)


def _gemmi_model(table: AtomTable, present: BoolArray, xyz: FloatArray) -> gemmi.Model:
    """Return the present atoms in one residue: the mask needs elements and places only."""
    model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
    atom = gemmi.Atom()
    atom.occ = 1.0
    present = present & (table.element != b"X")  # an unknown element is left out
    rows = zip(table.element[present].tolist(), xyz[present].tolist(), strict=True)
    for symbol, position in rows:
        atom.element = gemmi.Element(symbol.decode())
        atom.pos = gemmi.Position(*position)
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    return model
