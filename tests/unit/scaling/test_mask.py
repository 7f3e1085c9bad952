"""The mask of bulk solvent: gemmi's of the same atoms, and what it comes to on fine grids."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from demo_data import DEMO
from multicopy_refinement import Model
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scaling.kernels.points import without_islands
from multicopy_refinement.scaling.mask import (
    MaskGrid,
    density_structure_factors,
    mask_by_gemmi,
)
from multicopy_refinement.scaling.points import GridPoints
from multicopy_refinement.scaling.room import (
    SHRINKS,
    best_blend,
    best_grid,
    solvent_mask,
    solvent_radius,
)

D_MIN, LOW = 2.5, 6.0
#: Spacings in A of two fine grids, from which the mask without a grid is extrapolated.
FINE, FINER = 0.2, 0.14


@pytest.fixture(scope="module")
def crystal():
    model = Model(DEMO / "truth.pdb")
    there = np.ones(len(model.table), dtype=bool)
    return model.table, there, model.table.xyz, MaskGrid.of(model.cell, model.spacegroup, D_MIN)


def f_by_gemmi(grid, spacing, hkl):
    """Return F of gemmi's own mask on a grid, nothing of it ours."""
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
    masker.ignore_hydrogen = True
    masker.rshrink = grid.shrink
    structure = gemmi.read_structure(str(DEMO / "truth.pdb"))
    mask = gemmi.FloatGrid(*grid_size(grid.cell, grid.group, spacing))
    mask.spacegroup, n = grid.group.gemmi, mask.point_count
    mask.set_unit_cell(grid.cell.gemmi)
    masker.put_mask_on_float_grid(mask, structure[0])
    f = density_structure_factors(mask.array, grid.cell, grid.group, hkl)
    return f, (grid.cell.volume / n) ** 0.5


def off(f, right):
    return np.abs(f - right).sum() / np.abs(right).sum()


@pytest.mark.parametrize("shrink", [0.4, 0.8])
def test_it_is_that_of_fine_grids(crystal, shrink):
    *atoms, grid = crystal
    grid = replace(grid, shrink=shrink)
    hkl = unique_reflections(grid.cell, grid.group, LOW)
    (fine, a), (finer, b) = (f_by_gemmi(grid, s, hkl) for s in (FINE, FINER))
    right = finer + (finer - fine) * b / (a - b)  # what solvent lacks goes as voxel^1/2
    found = [
        off(density_structure_factors(solvent_mask(g, *atoms), g.cell, g.group, hkl), right)
        for g in (replace(grid, factor=1), grid)
    ]
    assert found[1] < 0.6 * found[0]
    assert found[1] < 0.1  # 30% of the crystal is crevices: in a protein of 60% solvent it is 0.02


@pytest.mark.parametrize("factor", [1, 2])
def test_it_is_gemmis_of_the_same_atoms(crystal, factor):
    *atoms, grid = crystal
    grid = replace(grid, factor=factor)
    ours, gemmis = solvent_mask(grid, *atoms), mask_by_gemmi(grid, *atoms)
    assert ours.shape == grid.shape
    assert np.abs(ours - gemmis).sum() < 0.005 * gemmis.sum()


def test_axes_need_not_be_at_right_angles(tmp_path):
    """P 1 with 70, 100 and 115 degrees, atoms beyond the edges of the cell."""
    structure = gemmi.read_structure(str(DEMO / "truth.pdb"))
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(31, 29, 34, 70, 100, 115), "P 1"
    structure.write_pdb(str(tmp_path / "oblique.pdb"))
    model = Model(tmp_path / "oblique.pdb")
    atoms = model.table, np.ones(len(model.table), dtype=bool), model.table.xyz - 40.0
    grid = MaskGrid.of(model.cell, model.spacegroup, D_MIN)
    ours, gemmis = solvent_mask(grid, *atoms), mask_by_gemmi(grid, *atoms)
    assert 0.2 < gemmis.mean() < 0.9
    assert np.abs(ours - gemmis).sum() < 0.005 * gemmis.sum()


def test_a_point_holds_a_part_of_solvent(crystal):
    *atoms, grid = crystal
    mask = solvent_mask(grid, *atoms)
    assert 0 <= mask.min() < mask.max() <= 1
    assert ((mask > 0) & (mask < 1)).any()


@pytest.mark.parametrize("factor", [1, 2])
def test_what_is_added_is_what_the_mean_gives(crystal, factor):
    """The points of a fine grid one by one come to its means; no solvent is none."""
    grid = replace(crystal[-1], factor=factor)
    fine = np.random.default_rng(1).integers(0, 2, int(np.prod(grid.fine))).astype(np.uint8)
    density = np.zeros(grid.shape)
    at = grid.add(density, np.arange(len(fine)), fine.astype(float))
    assert density == pytest.approx(grid.coarse(fine), abs=1e-6)
    assert np.array_equal(np.sort(at), np.flatnonzero(density))


def test_runs_of_steps_reach_what_steps_reach_one_by_one():
    """Across all edges of a cell of 80, 95 and 110 degrees, more steps than an axis has points."""
    cell, shape = Cell(7, 9, 11, 80, 95, 110), (6, 7, 8)
    table = Model(DEMO / "truth.pdb").table
    points = GridPoints(table, table.xyz, cell, SpaceGroup("P 1"), shape)
    steps = points.offsets(2.9)
    one = (np.random.default_rng(2).random(shape) < 0.01).astype(np.uint8)
    assert 0 < one.sum() < 10
    expected = np.zeros(shape, dtype=np.uint8)
    for step in steps:
        expected |= np.roll(one, step, axis=(0, 1, 2))
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(points.grown(one.reshape(-1), steps), expected.reshape(-1))


def test_grids_are_no_larger_than_memory_allows():
    cell, group = Cell(300, 300, 300, 90, 90, 90), SpaceGroup("P 1")
    assert MaskGrid.of(cell, group, 2.5).factor == 1
    assert MaskGrid.of(Cell(60, 60, 60, 90, 90, 90), group, 2.5).factor == 2
    assert MaskGrid.of(Cell(10, 10, 10, 90, 90, 90), group, 0.6).factor == 1  # fine by itself


def test_islands_hang_together_across_the_edges_and_by_corners():
    shape = np.array([6, 7, 8])
    solvent = np.zeros(tuple(shape), dtype=np.uint8)
    kept = [(0, 0, 7), (5, 6, 0), (0, 0, 0), (1, 1, 1)]  # across three edges, and by a corner
    gone = [(3, 3, 3), (3, 3, 4), (3, 4, 5)]
    for place in (*kept, *gone):
        solvent[place] = 1
    flat = solvent.reshape(-1)
    without_islands(flat, shape, 4)
    assert sorted(zip(*np.nonzero(solvent), strict=True)) == sorted(kept)


def test_the_radius_is_where_the_misfit_is_least():
    for right in (0.35, 0.52, 0.8):
        misfits = [1e5 + 200 * (r - right) ** 2 + 30 * (r - right) ** 3 for r in SHRINKS]
        assert solvent_radius(misfits) == pytest.approx(right, abs=2e-3)
    assert solvent_radius([4.0, 3.0, 2.0, 1.0]) == SHRINKS[-1]
    assert solvent_radius([1.0, 2.0, 3.0, 4.0]) == SHRINKS[0]


@pytest.mark.parametrize("anywhere", [False, True])
@pytest.mark.parametrize(("depth", "moves"), [(300.0, True), (10.0, False)])
def test_the_radius_is_found_on_a_grid_and_stays_where_nothing_tells(
    crystal, anywhere, depth, moves
):
    """From 0.53 to 0.42 A chi-square falls by 0.012 of the depth."""
    grid, asked = crystal[-1], []

    def misfit(one):
        asked.append(one.points_reached)
        return 1e4 + depth * (one.shrink - 0.42) ** 2

    found = best_grid(grid, misfit, anywhere=anywhere)
    assert len(asked) == len(set(asked))
    if moves:
        assert found.shrink == pytest.approx(0.42, abs=0.06)
        assert found == replace(grid, shrink=found.shrink)
    else:
        assert found is grid


@pytest.mark.parametrize(
    ("lowest", "depth", "present", "right"),
    [
        (-0.2, 400.0, 0.25, 0.0), (0.3, 400.0, 0.0, 0.25), (0.3, 400.0, 0.5, 0.25),
        (0.7, 400.0, 0.25, 0.5), (0.5, 100.0, 0.25, 0.25), (0.5, 100.0, 0.0, 0.5),
    ],
)  # fmt: skip
def test_the_blend_is_where_the_misfit_is_least_and_stays_where_nothing_tells(
    lowest, depth, present, right
):
    assert best_blend(present, lambda blend: 1e4 + depth * (blend - lowest) ** 2) == right
