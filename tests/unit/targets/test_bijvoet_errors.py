"""Errors of Bijvoet differences, on reflections whose phases err as the model of errors says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.posterior.bijvoet import bijvoet_difference
from multicopy_refinement.reflections.bijvoet import BijvoetDifferences
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.targets.bijvoet import BijvoetErrors, PhaseErrors
from multicopy_refinement.targets.sigma_a import ErrorModel


def complex_normal(random, n):
    return (random.standard_normal(n) + 1j * random.standard_normal(n)) / np.sqrt(2)


def crystal(beta, *, sigma=2.0, sigma_of_pair=3.0, more=0.0, seed=0):
    """F = 0.9 F_model + error of variance beta; F'' of 5, and differences that err by more."""
    cell, group = Cell(60, 70, 80, 90, 90, 90), SpaceGroup("P 21 21 21")
    hkl = unique_reflections(cell, group, 2.2)
    hkl = hkl[~group.centric(hkl)]
    n, random = len(hkl), np.random.default_rng(seed)
    f_model = 100 * complex_normal(random, n)
    f_second = 5 * complex_normal(random, n)
    f = 0.9 * f_model + np.sqrt(beta) * complex_normal(random, n)
    plus, minus = np.abs(f + 1j * f_second), np.abs(f - 1j * f_second)
    mean = np.abs((plus + minus) / 2 + sigma * random.standard_normal(n))
    error = np.hypot(sigma_of_pair, more) * random.standard_normal(n)
    pairs = BijvoetDifferences(plus - minus + error, np.full(n, sigma_of_pair), ("DANO", "S"))
    data = ReflectionData(
        hkl, mean, np.full(n, sigma), np.arange(n) % 20 == 0, np.zeros(n, dtype=np.int64), cell,
        group, DataLabels(("F", "SIGF"), True, None, None, ""), hkl[:0],
        np.zeros(0, dtype=np.int64), bijvoet=pairs,
    )  # fmt: skip
    errors = ErrorModel(
        np.full(n, 0.9), np.full(n, beta), beta + data.rice_noise, np.zeros(1), np.full(1, 0.9)
    )
    return data, errors, f_model, f_second, f


@pytest.mark.parametrize("beta", [4.0, 900.0, 5000.0], ids=["good", "fair", "poor"])
def test_phases_err_as_their_merit_says(beta):
    data, errors, f_model, _, f = crystal(beta, sigma=10.0)
    found = PhaseErrors.of(data, errors, np.abs(f_model))
    angle = np.angle(f * f_model.conj())
    order = np.argsort(found.merit)
    for part in np.array_split(order, 4):
        assert np.cos(angle)[part].mean() == pytest.approx(found.merit[part].mean(), abs=0.02)
        second = np.cos(2 * angle)[part].mean()
        assert second == pytest.approx(found.second[part].mean(), abs=0.04)


@pytest.mark.parametrize(("beta", "more"), [(4.0, 0.0), (900.0, 0.0), (900.0, 4.0), (5000.0, 0.0)])
def test_differences_are_d_with_the_variance(beta, more):
    """No bias of the scale of the signal, residuals of the variance told, v what was added."""
    data, errors, f_model, f_second, _ = crystal(beta, more=more)
    found = BijvoetErrors.of(data, errors, f_model, f_second)
    calculated = bijvoet_difference(found.merit, f_model, f_second)
    residual = data.bijvoet.value - calculated
    found = found.without_outliers(residual, data.work)
    weight = np.where(data.work & found.used, 1 / found.variance, 0.0)
    square = weight @ calculated**2
    ratio = weight @ (data.bijvoet.value * calculated) / square
    assert abs(ratio - 1) < 3.5 * square**-0.5
    assert (weight @ residual**2) / (weight > 0).sum() == pytest.approx(1.0, abs=0.04)
    assert np.sqrt(found.of_model.mean()) == pytest.approx(more, abs=1.0)
    assert (~found.used).sum() < 1e-3 * len(data)
    # also of the half of reflections in which phases make most of the variance
    turning = found.noise - data.bijvoet.sigma**2
    large = turning > np.median(turning)
    assert (weight @ (residual**2 * large)) / (weight * large > 0).sum() == pytest.approx(
        1.0, abs=0.08
    )


def test_variance_is_the_most_likely_and_outliers_are_left_out():
    data, errors, f_model, f_second, _ = crystal(900.0, more=4.0)
    value = data.bijvoet.value.copy()
    value[[5, 50]] = 300.0
    data = replace(data, bijvoet=replace(data.bijvoet, value=value))
    found = BijvoetErrors.of(data, errors, f_model, f_second)
    residual = value - bijvoet_difference(found.merit, f_model, f_second)
    found = found.without_outliers(residual, data.work)
    assert not found.used[[5, 50]].any()

    def likelihood(factor):
        other = replace(found, of_model=factor * found.of_model)
        return other.log_densities(residual)[data.work].sum()

    best = likelihood(1.0)
    assert best > max(likelihood(0.85), likelihood(1.15))
    assert torch.isfinite(torch.as_tensor(found.log_densities(residual))).all()
    assert found.log_densities(residual)[5] == 0.0
