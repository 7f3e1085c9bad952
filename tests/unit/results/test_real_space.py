"""Correlations, peaks and shells against gemmi and plain sums."""

import gemmi
import numpy as np
import pytest

from multicopy_refinement.crystal import Cell
from multicopy_refinement.results.real_space import Maps, points_near


@pytest.mark.parametrize("cell", [Cell(20, 24, 30, 90, 90, 90), Cell(20, 24, 30, 75, 103, 118)])
def test_points_near_are_those_of_gemmi(cell):
    """Atoms inside, at the edge, and far outside of the cell; every point once."""
    size = (40, 48, 60)
    xyz = np.array([[5.0, 6.0, 7.0], [6.0, 6.0, 7.0], [0.1, 0.1, 0.1], [-41.0, 70.0, 3.0]])
    grid = gemmi.FloatGrid(*size)
    grid.set_unit_cell(cell.gemmi)
    for place in xyz:
        grid.set_points_around(gemmi.Position(*place), 1.47, 1.0)
    blank = np.zeros(size, np.float32)
    found = points_near(Maps(blank, blank, blank, cell), xyz, 1.47)
    assert len(found) == len(np.unique(found))
    assert set(found.tolist()) == set(np.flatnonzero(np.array(grid.array).reshape(-1)).tolist())
