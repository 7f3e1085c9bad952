"""Holes beside a state of which it is in doubt whether solvent gets into them."""

import numpy as np
import pytest

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.scaling.mask import MaskGrid, density_structure_factors
from multicopy_refinement.series.holes import Holes

CELL = Cell(20.0, 24.0, 30.0, 90.0, 90.0, 90.0)
GRID = MaskGrid(CELL, SpaceGroup("P 1 2 1"), (40, 48, 60), 1)
#: An atom of each of two regions.
ATOMS, REGIONS = np.array([[5.0, 5.0, 5.0], [5.0, 15.0, 5.0]]), np.array([0, 1])
HKL = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 1], [3, -1, 2], [-2, 4, 1], [5, 0, -3]])


def box(*where, edge=5):
    """Solvent in a box of points around a place in A, and around its image (-x, y, -z)."""
    found = np.zeros(GRID.shape)
    for sign in (1, -1):
        at = np.rint(np.array(where) / 0.5 * [sign, 1, sign]).astype(int)
        steps = np.arange(-(edge // 2), edge // 2 + 1)
        index = np.meshgrid(*(a + steps for a in at), indexing="ij")
        found[tuple(i % n for i, n in zip(index, GRID.shape, strict=True))] = 1.0
    return found


NONE = np.zeros(GRID.shape)
#: Between the two atoms; beside the second; in the middle of nowhere.
NEAR, SECOND, FAR = box(7.5, 8.0, 5.0), box(5.0, 18.0, 6.0), box(14.0, 22.0, 15.0)
#: Across the cell's edge, from its own image and from where it goes on.
EDGE = box(0.0, 5.0, 4.0)


def holes(narrow, present, wide):
    return Holes.of([narrow, present, wide], ATOMS, REGIONS, GRID)


def test_a_hole_that_the_state_does_not_change_is_one_of_both():
    found = holes((NEAR, NEAR), (NONE, NONE), (NONE, NONE))
    assert len(found) == 1
    without, with_ = found.f(HKL, CELL.volume)
    right = density_structure_factors(NEAR, CELL, GRID.group, HKL)
    assert without[0] == pytest.approx(right, abs=1e-4)  # with its image: the whole crystal's
    assert with_[0] == pytest.approx(right, abs=1e-4)


def test_present_probe_that_differs_makes_two_of_what_narrow_and_wide_ones_say_alike():
    """A narrow probe finds a way into both, a wide one into none, the present one into one."""
    found = holes((NEAR, NEAR), (NONE, NEAR), (NONE, NONE))
    assert len(found) == 2
    f = found.f(HKL, CELL.volume)
    assert np.abs(f[1, 0]).max() == np.abs(f[0, 1]).max() == 0.0
    assert f[0, 0] == pytest.approx(f[1, 1])


def test_holes_of_one_end_are_its_own_and_what_is_far_or_alike_is_none():
    two = NEAR + SECOND + FAR
    found = holes((two, FAR), (NONE, NONE), (NONE, NONE))
    assert len(found) == 2
    f = found.f(HKL, CELL.volume)
    assert np.abs(f[1]).max() == 0.0
    total = density_structure_factors(NEAR + SECOND, CELL, GRID.group, HKL)
    assert f[0].sum(axis=0) == pytest.approx(total, abs=1e-4)
    assert len(holes((FAR, FAR), (NONE, NONE), (NONE, NONE))) == 0
    assert len(holes((two, two), (two, two), (two, two))) == 0


def test_a_hole_across_the_edge_of_the_cell_is_one():
    assert len(holes((EDGE, EDGE), (NONE, NONE), (NONE, NONE))) == 1


def test_small_ones_are_taken_as_one_by_region_where_the_state_changes_them():
    small = box(7.0, 5.0, 5.0, edge=1) + box(3.0, 5.0, 5.0, edge=1) + box(5.0, 17.0, 5.0, edge=1)
    found = holes((small, NONE), (NONE, NONE), (NONE, NONE))
    assert [len(hole.points[0]) for hole in found.each] == [4, 2]
    assert len(holes((small, small), (NONE, NONE), (NONE, NONE))) == 0


def test_what_is_filled_is_the_sum_of_so_much_of_each():
    found = holes((NEAR + SECOND, SECOND), (NONE, NONE), (NONE, NONE))
    assert len(found) == 2
    assert np.abs(found.f_filled(HKL, CELL.volume)).max() == 0.0
    found.filled = np.array([0.3, -0.8])
    f = found.f(HKL, CELL.volume)
    assert found.f_filled(HKL, CELL.volume) == pytest.approx(
        0.3 * f[:, 0] - 0.8 * f[:, 1], abs=1e-4
    )
