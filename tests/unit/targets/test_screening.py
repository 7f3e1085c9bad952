"""Outliers and uneven ranges, put into data whose errors are those of the likelihood."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ncx2

from multicopy_refinement.targets.screening import (
    extreme_intensities,
    grossly_off,
    improbable,
    large_sigmas,
    screening_notices,
    uneven_ranges,
)
from multicopy_refinement.targets.sigma_a import estimate_errors
from synthetic import synthetic


@pytest.fixture(scope="module")
def crystal():
    return synthetic(1.0, 400.0, free=0.1)


def test_good_data_have_no_outliers_and_no_ranges(crystal):
    data, f = crystal
    errors = estimate_errors(data, f)
    assert improbable(data, f, errors).sum() == 0
    assert not extreme_intensities(data).any()
    assert uneven_ranges(data, f, errors).outstanding == []
    assert screening_notices(data, f, uneven_ranges(data, f, errors)) == ()


def test_the_probability_is_that_of_the_distribution(crystal):
    """Amplitudes just above and below where the tail is 1e-6."""
    data, f = crystal
    errors = estimate_errors(data, f)
    a, v = errors.alpha * f, errors.variance
    rows = np.flatnonzero(~data.centric)[:50]
    limit = np.sqrt(ncx2.isf(1e-6, 2, 2 * a[rows] ** 2 / v[rows]) * v[rows] / 2)
    for factor, wanted in ((1.01, True), (0.99, False)):
        f_obs = data.f_obs.copy()
        f_obs[rows] = factor * limit
        assert (improbable(replace(data, f_obs=f_obs), f, errors)[rows] == wanted).all()


@pytest.mark.parametrize("factor", [10.0, 0.0])
def test_amplitudes_that_are_wrong_are_found(crystal, factor):
    data, f = crystal
    strong = np.flatnonzero(f > np.median(f))[::150]
    f_obs = data.f_obs.copy()
    f_obs[strong] *= factor
    wrong = replace(data, f_obs=f_obs)
    found = improbable(wrong, f, estimate_errors(data, f))
    assert np.flatnonzero(found).tolist() == strong.tolist()
    notice = screening_notices(wrong.leaving_out(found), f, uneven_ranges(data, f, estimate_errors(
        data, f)))[0]  # fmt: skip
    assert notice.code == "outliers"
    assert len(notice.atoms) == len(strong)
    assert f"{len(strong)} reflections are left out" in notice.message


def test_one_impossible_amplitude_is_found_without_any_model(crystal):
    data, f = crystal
    f_obs = data.f_obs.copy()
    f_obs[100] = 100 * f_obs.max()
    found = extreme_intensities(replace(data, f_obs=f_obs))
    assert np.flatnonzero(found).tolist() == [100]
    assert grossly_off(replace(data, f_obs=f_obs), f)[100]


def test_a_ring_of_ice_is_named_and_counts_less(crystal):
    data, f = crystal
    d = data.s_squared**-0.5
    ring = np.abs(d - 3.66) < 0.05
    power = np.mean(data.f_obs[ring] ** 2)
    added = np.abs(np.random.default_rng(1).normal(1.0, 0.5, ring.sum())) * power
    f_obs = data.f_obs.copy()
    f_obs[ring] = np.sqrt(f_obs[ring] ** 2 + added)
    icy = replace(data, f_obs=f_obs)
    errors = estimate_errors(icy, f)
    ranges = uneven_ranges(icy, f, errors)
    errors = estimate_errors(icy, f, inflation=ranges.of_reflection)
    ranges = uneven_ranges(icy, f, errors)
    ((d_max, d_min, level),) = ranges.outstanding
    assert d_min - 0.06 < 3.66 < d_max + 0.06
    assert level > 5
    assert ranges.of_reflection[ring & (np.abs(d - 3.66) < 0.03)].min() > 2
    assert np.median(ranges.of_reflection) == 1
    (notice,) = screening_notices(icy, f, ranges)
    assert notice.code == "uneven_resolution"
    assert "where ice has a ring" in notice.message


def test_sigmas_that_are_too_large_are_said():
    assert large_sigmas(0.9, 1000) == ()
    assert large_sigmas(0.5, 20) == ()
    (notice,) = large_sigmas(0.25, 1000)
    assert "factor of about 2.0" in notice.message


def test_beta_is_right_where_it_is_small_beside_the_noise():
    """beta/sigma^2 of 0.3 and 700 free reflections: shells by themselves find a quarter of it."""
    found = []
    for seed in range(8):
        data, f = synthetic(1.0, 30.0, free=0.06, seed=seed, sigma=10.0)
        found.append(np.log(estimate_errors(data, f).beta / 30.0))
    assert abs(np.mean(found)) < 0.35
