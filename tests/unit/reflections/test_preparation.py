"""From rows of a file to unique observed amplitudes: mapping, merging and what is left out."""

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import to_asymmetric_unit, unique_reflections
from multicopy_refinement.reflections.observations import Observations
from multicopy_refinement.reflections.preparation import (
    drop_unusable,
    mean_of_pair,
    unique_observations,
)

CELL = Cell(28, 30, 32, 90, 90, 90)
P212121 = SpaceGroup("P 21 21 21")
GROUPS = ("P 1", "P 1 21 1", "C 1 2 1", "P 21 21 21", "C 2 2 21", "P 41", "P 31 2 1", "P 65 2 2",
          "R 3 :H", "I 2 3", "F 4 3 2")  # fmt: skip
NAN = np.nan


def rows(hkl, value, sigma=None, flags=None):
    n = len(hkl)
    return Observations(
        np.array(hkl, dtype=np.int64).reshape(n, 3),
        np.array(value, dtype=float),
        np.ones(n) if sigma is None else np.array(sigma, dtype=float),
        np.ones(n) if flags is None else np.array(flags, dtype=float),
    )


def random_hkl(seed, n=300):
    hkl = np.random.default_rng(seed).integers(-12, 13, (n, 3))
    return hkl[np.any(hkl != 0, axis=1)]


# ---------------------------------------------------------------------- symmetry


@pytest.mark.parametrize("name", GROUPS)
def test_mapping_to_the_asymmetric_unit(name):
    group, hkl = SpaceGroup(name), random_hkl(1)
    before = hkl.copy()
    mapped = to_asymmetric_unit(hkl, group)
    np.testing.assert_array_equal(hkl, before)
    asu = gemmi.ReciprocalAsu(gemmi.SpaceGroup(name))
    operations = gemmi.SpaceGroup(name).operations()
    for old, new in zip(hkl.tolist(), mapped.tolist(), strict=True):
        assert asu.is_in(new)
        mates = [op.apply_to_hkl(old) for op in operations.sym_ops]
        assert new in mates or [-i for i in new] in mates
    np.testing.assert_array_equal(to_asymmetric_unit(mapped, group), mapped)


@pytest.mark.parametrize("name", GROUPS)
def test_epsilon_centric_and_absent_by_their_definitions(name):
    group, hkl = SpaceGroup(name), random_hkl(2)
    operations = gemmi.SpaceGroup(name).operations()
    for h, epsilon, centric, absent in zip(
        hkl.tolist(), group.epsilon(hkl), group.centric(hkl), group.absent(hkl), strict=True
    ):
        mates = [op.apply_to_hkl(h) for op in operations.sym_ops]
        assert epsilon == mates.count(h)
        assert centric == ([-i for i in h] in mates)
        shifts = [op.phase_shift(h) for op in operations if op.apply_to_hkl(h) == h]
        assert absent == any(abs(np.exp(1j * s) - 1) > 1e-6 for s in shifts)


@given(seed=st.integers(0, 10_000))
def test_equivalents_in_any_order_become_the_same_list(seed):
    random = np.random.default_rng(seed)
    unique = unique_reflections(CELL, P212121, 5.0)
    value = random.uniform(1, 100, len(unique))
    rotations = P212121.rotations[random.integers(0, 4, len(unique))]
    moved = np.einsum("ni,nij->nj", unique, rotations) * random.choice([-1, 1], (len(unique), 1))
    order = random.permutation(len(unique))
    found, notices = unique_observations(
        rows(moved[order], value[order]), CELL, P212121, d_min=None
    )
    assert notices == []
    np.testing.assert_array_equal(found.hkl, unique[order])
    np.testing.assert_array_equal(found.value, value[order])


# ---------------------------------------------------------------------- merging


def test_duplicates_become_their_weighted_mean():
    table = rows([(1, 2, 3), (2, 2, 2), (-1, -2, 3)], [10, 7, 16], [1, 1, 2])
    found, notices = unique_observations(table, CELL, P212121, d_min=None)
    np.testing.assert_array_equal(found.hkl, [(1, 2, 3), (2, 2, 2)])
    assert found.value[0] == pytest.approx((10 / 1 + 16 / 4) / (1 + 1 / 4))
    assert found.sigma[0] == pytest.approx(1 / np.sqrt(1 + 1 / 4))
    assert (found.value[1], found.sigma[1]) == (7, 1)
    assert [n.code for n in notices] == ["reflections_merged"]
    assert notices[0].message.startswith("1 row repeats")


@pytest.mark.parametrize("common", [0.0, 0.6, 1.0])
def test_what_equivalents_share_of_their_errors_is_not_lessened(common):
    """Four equivalents: sigma of the mean is that of what they do not share, halved."""
    random = np.random.default_rng(2)
    hkl = unique_reflections(CELL, P212121, 3.0)
    shared = np.sqrt(common) * random.standard_normal(len(hkl))
    rotated = np.concatenate([hkl @ r for r in P212121.rotations])
    value = 50 + np.tile(shared, 4) + np.sqrt(1 - common) * random.standard_normal(4 * len(hkl))
    found, (notice,) = unique_observations(rows(rotated, value), CELL, P212121, d_min=None)
    wanted = np.sqrt(common + (1 - common) / 4)
    general = ~P212121.centric(found.hkl)  # of these, all four are different reflections
    assert (found.value - 50)[general].std() == pytest.approx(wanted, rel=0.15)
    np.testing.assert_allclose(found.sigma[general], wanted, rtol=0.1)
    assert ("chi-square" in notice.message) == (common > 0.5)


@pytest.mark.parametrize(("value", "sigma"), [(NAN, 1), (5, NAN), (5, 0)])
def test_a_duplicate_that_was_not_observed_does_not_count(value, sigma):
    table = rows([(1, 2, 3), (1, 2, 3)], [value, 16], [sigma, 2])
    found, _ = unique_observations(table, CELL, P212121, d_min=None)
    np.testing.assert_allclose((found.value, found.sigma), [[16], [2]])


def test_a_duplicate_without_a_flag_does_not_hide_the_other():
    table = rows([(1, 2, 3), (1, 2, 3)], [16, 16], flags=[NAN, 0])
    found, _ = unique_observations(table, CELL, P212121, d_min=None)
    assert found.flags.tolist() == [0]


def test_duplicates_that_were_both_not_observed_stay_not_observed():
    found, _ = unique_observations(
        rows([(1, 2, 3), (1, 2, 3)], [NAN, NAN]), CELL, P212121, d_min=None
    )
    assert np.isnan(found.value).all()


def test_friedel_mates_become_their_mean():
    plus, minus = np.array([10, 10, NAN, NAN, 10.0]), np.array([20, NAN, 20, NAN, 20.0])
    one = np.ones(5)
    no_sigma = np.array([1, 1, 1, 1, NAN])
    mean, sigma = mean_of_pair(plus, one, minus, no_sigma)
    np.testing.assert_allclose(mean, [15, 10, 20, NAN, 10])
    np.testing.assert_allclose(sigma[:3], [np.sqrt(0.5), 1, 1])
    assert plus[0] == 10  # what was given is left alone


# ---------------------------------------------------------------------- what is left out


def test_absences_and_the_origin_are_dropped_by_name():
    table = rows([(0, 0, 0), (3, 0, 0), (4, 0, 0), (0, 0, 5), (1, 2, 3)], [9, 1, 2, 3, 4])
    found, notices = unique_observations(table, CELL, P212121, d_min=None)
    np.testing.assert_array_equal(found.hkl, [(4, 0, 0), (1, 2, 3)])
    assert {n.code for n in notices} == {"reflections_dropped"}
    assert [n.atoms for n in notices] == [("(0 0 0)",), ("(3 0 0)", "(0 0 5)")]
    assert "(3 0 0), (0 0 5)" in notices[1].message


def test_resolution_limit_keeps_what_lies_on_it():
    table = rows([(0, 0, 2), (0, 0, 4), (0, 0, 6)], [1, 2, 3])
    found, notices = unique_observations(table, CELL, P212121, d_min=8.0)
    np.testing.assert_array_equal(found.hkl, [(0, 0, 2), (0, 0, 4)])
    assert notices == []


def test_what_counts_as_observed():
    table = rows(
        [(1, 1, i) for i in range(1, 11)],
        [5, 0, NAN, 5, 5, -2, 0, 5, np.inf, 5],
        [1, 0, 1, NAN, 0, 1, 1, -1, 1, np.inf],
    )
    observed, missing, notices = drop_unusable(table, "amplitude")
    assert observed.hkl[:, 2].tolist() == [1, 7]
    assert missing.hkl[:, 2].tolist() == [2, 3, 4, 5, 6, 8, 9, 10]
    assert {n.code: n.atoms for n in notices} == {
        "reflections_zero": ("(1 1 2)",),
        "sigma_missing": ("(1 1 4)",),
        "sigma_not_positive": ("(1 1 5)", "(1 1 8)"),
        "not_finite": ("(1 1 9)", "(1 1 10)"),
        "amplitude_negative": ("(1 1 6)",),
    }


def test_negative_intensities_are_observations():
    observed, _, notices = drop_unusable(rows([(1, 1, 1)], [-2]), "intensity")
    assert len(observed.hkl) == 1
    assert notices == []
