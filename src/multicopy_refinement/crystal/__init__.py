"""Cell, symmetry, Miller indices and grids."""

from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup

__all__ = ["Cell", "SpaceGroup"]
