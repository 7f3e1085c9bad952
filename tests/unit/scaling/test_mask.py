"""The mask of bulk solvent on coarse grids, beside what it comes to on fine ones."""

import gemmi
import numpy as np
import pytest

from demo_data import DEMO
from multicopy_refinement import Model
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scaling.mask import (
    SHRINK,
    density_structure_factors,
    mask_grid,
    smooth_mask,
)

D_MIN, LOW = 2.5, 6.0
#: Spacings in A of two fine grids, from which the mask without a grid is extrapolated.
FINE, FINER = 0.2, 0.14


@pytest.fixture(scope="module")
def crystal():
    model = Model(DEMO / "truth.pdb")
    there = np.ones(len(model.table), dtype=bool)
    return model.table, there, model.table.xyz, model.cell, model.spacegroup


def f_by_gemmi(crystal, spacing, hkl):
    """Return F of gemmi's own mask on a grid, nothing of it ours."""
    _, _, _, cell, group = crystal
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
    masker.ignore_hydrogen = True
    structure = gemmi.read_structure(str(DEMO / "truth.pdb"))
    grid = gemmi.FloatGrid(*grid_size(cell, group, spacing))
    grid.spacegroup, n = group.gemmi, grid.point_count
    grid.set_unit_cell(cell.gemmi)
    masker.put_mask_on_float_grid(grid, structure[0])
    return density_structure_factors(grid.array, cell, group, hkl), (cell.volume / n) ** 0.5


def off(f, right):
    return np.abs(f - right).sum() / np.abs(right).sum()


def test_it_is_that_of_fine_grids(crystal):
    _, _, _, cell, group = crystal
    hkl = unique_reflections(cell, group, LOW)
    (fine, a), (finer, b) = (f_by_gemmi(crystal, s, hkl) for s in (FINE, FINER))
    right = finer + (finer - fine) * b / (a - b)  # what solvent lacks goes as voxel^1/2
    coarse = mask_grid(*crystal, D_MIN)
    smooth = smooth_mask(*crystal, coarse.shape)
    found = [off(density_structure_factors(m, cell, group, hkl), right) for m in (coarse, smooth)]
    assert found[1] < 0.4 * found[0]
    assert found[1] < 0.1  # 30% of the crystal is crevices: in a protein of 60% solvent it is 0.02


def test_a_point_holds_a_part_of_solvent(crystal):
    coarse = mask_grid(*crystal, D_MIN)
    smooth = smooth_mask(*crystal, coarse.shape)
    assert smooth.shape == coarse.shape
    assert 0 <= smooth.min() < smooth.max() <= 1
    assert ((smooth > 0) & (smooth < 1)).any()
    assert smooth.mean() > coarse.mean()  # solvent grows back farther, by less than the radius
    assert np.mean((smooth > 0) != (coarse > 0)) < SHRINK / 2
