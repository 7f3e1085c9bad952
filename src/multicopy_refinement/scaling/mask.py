"""The region of bulk solvent of a model whose atoms are there or not."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.grid import grid_size

#: Spacing of the mask's grid as a fraction of the resolution, and its coarsest value in A.
MASK_SPACING = 1 / 4
COARSEST = 0.6
#: Radius by which solvent grows back in A, and the smallest island of it in A^3: those of REFMAC.
SHRINK, ISLAND = 0.8, 50.0


def solvent_masker(shrink: float = SHRINK, island: float = ISLAND) -> gemmi.SolventMasker:
    """Return gemmi's masker with the radii of REFMAC; hydrogens do not displace solvent."""
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
    masker.ignore_hydrogen = True
    masker.ignore_zero_occupancy_atoms = True
    masker.rshrink, masker.island_min_volume = shrink, island
    return masker


def mask_grid(
    table: AtomTable, present: BoolArray, xyz: FloatArray, cell: Cell, group: SpaceGroup,
    d_min: float, *, shrink: float = SHRINK, island: float = ISLAND,
) -> FloatArray:  # fmt: skip
    """Return the mask on a grid, 1 where the solvent is and 0 elsewhere, ``[nu, nv, nw]``.

    The grid holds all indices to ``d_min``, what lies right on that limit among them. Solvent
    grows back by ``shrink`` in A; islands smaller than ``island`` in A^3 are none.
    """
    spacing = min(COARSEST, MASK_SPACING * d_min * 2)
    size = grid_size(cell, group, spacing, d_min=d_min)
    return _put(solvent_masker(shrink, island), table, present, xyz, cell, group, size)


def smooth_mask(
    table: AtomTable, present: BoolArray, xyz: FloatArray, cell: Cell, group: SpaceGroup,
    shape: tuple[int, ...],
) -> FloatArray:  # fmt: skip
    """Return how much solvent there is around each point of a grid, ``[nu, nv, nw]``.

    It is the mask on a grid twice as fine, a mean of three points along each axis with weights 1/4,
    1/2, 1/4: what a coarse grid cannot hold is gone and does not fold back on low indices. F at h
    is less by cos^2(pi h/2n) for each axis, as by a B of pi^2 times the square of the spacing
    (2.5 A^2 at 0.5 A), which B_sol takes up. Solvent grows back by r from points of the grid, of
    which one has to lie in the cap by which a sphere of r reaches into the solvent: of height a it
    has a volume of pi r a^2, so that r is larger here by the a at which that is a voxel's. It takes
    eight times as long as `mask_grid`.
    """
    size = tuple(2 * n for n in shape)
    voxel = cell.volume / float(np.prod(size))
    masker = solvent_masker(SHRINK + (voxel / (np.pi * SHRINK)) ** 0.5)
    smooth = _put(masker, table, present, xyz, cell, group, size)
    for axis in range(3):
        smooth = smooth / 2 + (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis)) / 4
        smooth = smooth[(slice(None),) * axis + (slice(None, None, 2),)]
    return smooth


def _put(
    masker: gemmi.SolventMasker, table: AtomTable, present: BoolArray, xyz: FloatArray, cell: Cell,
    group: SpaceGroup, size: tuple[int, ...],
) -> FloatArray:  # fmt: skip
    """Return the mask of a masker on a grid of some size."""
    grid = gemmi.FloatGrid(*size)
    grid.spacegroup = group.gemmi
    grid.set_unit_cell(cell.gemmi)
    masker.put_mask_on_float_grid(grid, _gemmi_model(table, present, xyz))
    return np.asarray(grid.array.copy())


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
