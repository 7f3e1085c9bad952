"""Sizes of real-space grids."""

from __future__ import annotations

import gemmi

from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup


def grid_size(cell: Cell, group: SpaceGroup, spacing: float) -> tuple[int, int, int]:
    """Return a grid at least as fine as ``spacing`` (A), legal for the space group.

    Sizes have factors 2, 3 and 5 only, for the FFT.

    >>> grid_size(Cell(10, 10, 10, 90, 90, 90), SpaceGroup("P 1"), 1.1)
    (10, 10, 10)
    """
    grid = gemmi.Int8Grid()
    grid.spacegroup = group.gemmi
    grid.set_unit_cell(cell.gemmi)
    grid.set_size_from_spacing(spacing, gemmi.GridSizeRounding.Up)
    return (grid.nu, grid.nv, grid.nw)
