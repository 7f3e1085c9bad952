"""Cell, symmetry and Miller indices against gemmi and against definitions."""

import gemmi
import numpy as np
import pytest

from crystals import CRYSTALS
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.crystal.hkl import to_asymmetric_unit, to_signed_unit, unique_reflections
from multicopy_refinement.scaling.scaler import quadratic_terms


@pytest.mark.parametrize("name", CRYSTALS)
def test_resolution_is_that_of_gemmi(name):
    cell = Cell(*CRYSTALS[name])
    hkl = unique_reflections(cell, SpaceGroup(name), 3.0)
    expected = [gemmi.UnitCell(*CRYSTALS[name]).calculate_1_d2(h) for h in hkl.tolist()]
    assert np.allclose(cell.inverse_d_squared(hkl), expected)


@pytest.mark.parametrize("name", CRYSTALS)
def test_asymmetric_unit_keeps_amplitude_classes(name):
    group = SpaceGroup(name)
    hkl = unique_reflections(Cell(*CRYSTALS[name]), group, 3.0)
    for rotation in group.rotations:
        assert np.array_equal(to_asymmetric_unit(hkl @ rotation, group), hkl)
    assert np.array_equal(to_asymmetric_unit(-hkl, group), hkl)


@pytest.mark.parametrize("name", CRYSTALS)
def test_friedel_mates_are_told_from_equivalents_by_rotation(name):
    group = SpaceGroup(name)
    hkl = unique_reflections(Cell(*CRYSTALS[name]), group, 3.0)
    some = np.concatenate([sign * hkl @ group.rotations[-1] for sign in (1, -1)])
    mapped, plus = to_signed_unit(some, group)
    asu = gemmi.ReciprocalAsu(group.gemmi)
    expected = [asu.to_asu(h, group.operations) for h in some.tolist()]
    assert mapped.tolist() == [list(unit) for unit, _ in expected]
    # as ISYM of unmerged MTZ files: odd for F(+); a centric reflection is its own mate
    odd, centric = np.array([number % 2 == 1 for _, number in expected]), group.centric(some)
    assert np.array_equal(plus[~centric], odd[~centric])
    assert plus[centric].all()


@pytest.mark.parametrize("name", CRYSTALS)
def test_allowed_tensors_give_equivalents_the_same_exponent(name):
    group = SpaceGroup(name)
    hkl = np.random.default_rng(0).integers(-9, 9, (50, 3))
    terms = quadratic_terms(hkl) @ group.adp_basis.T
    for rotation in group.rotations:
        assert np.allclose(quadratic_terms(hkl @ rotation) @ group.adp_basis.T, terms)


@pytest.mark.parametrize(
    ("name", "free"), [("P 1", 6), ("C 1 2 1", 4), ("P 21 21 21", 3), ("P 65 2 2", 2), ("F 2 3", 1)]
)
def test_number_of_free_tensor_elements(name, free):
    assert len(SpaceGroup(name).adp_basis) == free


def test_epsilon_and_centric_flags():
    group = SpaceGroup("P 21 21 21")
    hkl = np.array([[0, 0, 2], [0, 1, 2], [1, 1, 2]])
    assert group.epsilon(hkl).tolist() == [2, 1, 1]
    assert group.centric(hkl).tolist() == [True, True, False]
    assert group.absent(np.array([[0, 0, 1], [0, 0, 2]])).tolist() == [True, False]


def test_centring_factor_is_zero_for_absences():
    group = SpaceGroup("F 2 3")
    assert group.centring_factor(np.array([[1, 1, 1], [1, 0, 0]])).tolist() == [4, 0]


def test_grid_is_legal_and_fine_enough():
    cell = Cell(*CRYSTALS["P 65 2 2"])
    size = grid_size(cell, SpaceGroup("P 65 2 2"), 0.5)
    assert size[0] == size[1]
    assert size[2] % 6 == 0
    assert all(edge / n <= 0.5 + 1e-9 for edge, n in zip((20, 20, 33), size, strict=True))


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("order", [1, 5, 12])
def test_grid_holds_an_axial_reflection_right_on_the_limit(name, order):
    group, cell = SpaceGroup(name), Cell(*CRYSTALS[name])
    for axis in range(3):
        index = order * np.eye(3, dtype=int)[axis]
        d_min = float(1 / np.sqrt(cell.inverse_d_squared(index[None])[0]))
        size = grid_size(cell, group, d_min / 2, d_min=d_min)
        reached = unique_reflections(cell, group, d_min)
        assert size[axis] > 2 * order
        assert (2 * np.abs(reached).max(axis=0, initial=0) < size).all()


def test_largest_difference_of_cells():
    one = Cell(10, 20, 30, 90, 90, 90)
    assert one.largest_difference(Cell(10, 20, 30.6, 90, 90, 90)) == pytest.approx(0.02)
    assert one.largest_difference(Cell(10, 20, 30, 90, 92.7, 90)) == pytest.approx(0.03)


def test_unknown_space_group_is_refused():
    with pytest.raises(ValueError, match="unknown space group 'P 7'"):
        _ = SpaceGroup("P 7").operations
