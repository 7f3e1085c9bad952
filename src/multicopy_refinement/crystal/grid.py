"""Sizes of real-space grids."""

from __future__ import annotations

import gemmi

from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup

#: Part by which a grid is finer than the coarsest that could hold the indices.
_FINER = 1e-6


def grid_size(
    cell: Cell, group: SpaceGroup, spacing: float, *, d_min: float | None = None
) -> tuple[int, int, int]:
    """Return a grid at least as fine as ``spacing`` (A), legal for the space group.

    Sizes have factors 2, 3 and 5 only, for the FFT. With ``d_min`` (A) every index h to that
    resolution is on the transform, |h| < n/2: h is at most a/d_min, and an axial reflection may
    lie right on that, so that a spacing of d_min/2 would not do.

    >>> grid_size(Cell(10, 10, 10, 90, 90, 90), SpaceGroup("P 1"), 1.1)
    (10, 10, 10)
    >>> grid_size(Cell(10, 10, 10, 90, 90, 90), SpaceGroup("P 1"), 1.0, d_min=2.0)
    (12, 12, 12)
    """
    if d_min is not None:
        spacing = min(spacing, d_min / 2 * (1 - _FINER))
    grid = gemmi.Int8Grid()
    grid.spacegroup = group.gemmi
    grid.set_unit_cell(cell.gemmi)
    grid.set_size_from_spacing(spacing, gemmi.GridSizeRounding.Up)
    return (grid.nu, grid.nv, grid.nw)
