"""The likelihood of intensities against integrals over the true amplitude.

How far the effective amplitudes stand for the integral is what these tolerances say, for weak and
negative intensities too.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intensity_integrals import (
    amplitude_density,
    amplitude_score,
    density_and_score,
    draws,
    nodes,
)
from multicopy_refinement.errors import InputError
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.reflections.effective import Intensities
from multicopy_refinement.reflections.french_wilson import posterior_amplitudes
from multicopy_refinement.targets import LeastSquares, MLAmplitude, MLIntensity
from multicopy_refinement.targets.choice import least_squares, likelihood, target_kind
from multicopy_refinement.targets.information import intensity_information
from multicopy_refinement.targets.screening import improbable
from multicopy_refinement.targets.sigma_a import ErrorModel, estimate_errors
from multicopy_refinement.targets.tails import intensity_tail
from synthetic import synthetic


def of_intensities(beta: float, sigma: float, *, kinds=(False, True), free: float = 1.0, seed=0):
    """Return data whose intensities have Wilson's statistics with mean 1, and |F_model|."""
    data, _ = synthetic(1.0, 1.0, free=free, seed=seed)
    some = data.centric | (np.arange(len(data)) % 3 == 0)
    data = data.select(np.isin(data.centric, kinds) & some)
    f, value = np.empty(len(data)), np.empty(len(data))
    for kind in kinds:
        rows = data.centric == kind
        f[rows], value[rows] = draws(int(rows.sum()), beta, sigma, kind, seed=seed + 5)
    root = np.sqrt(data.epsilon)
    f, value = f * root, value * data.epsilon
    sigmas, prior = sigma * data.epsilon, data.epsilon.astype(float)
    f_obs, sigma_f = posterior_amplitudes(value, sigmas, prior, data.centric)
    made = replace(data, f_obs=f_obs, sigma=sigma_f, intensities=Intensities(value, sigmas, prior))
    return made.with_effective(True), f


def known_errors(data, alpha: float, beta: float) -> ErrorModel:
    n = len(data)
    return ErrorModel(
        np.full(n, alpha), np.full(n, beta), data.epsilon * beta + data.rice_noise,
        np.array([0.1]), np.array([alpha]),
    )  # fmt: skip


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize("beta", [0.03, 0.3])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_slopes_are_those_of_the_integral(sigma, beta, centric):
    data, f = of_intensities(beta, sigma, kinds=(centric,))
    found = MLIntensity(data, known_errors(data, 1.0, beta)).derivatives(f)
    _, expected = density_and_score(
        data.intensities.value, data.intensities.sigma, f, data.epsilon * beta, centric
    )
    total, noise = found.information.sum(), np.sqrt(found.information.sum())
    # no bias, in a common shift or a common factor, beyond what chance makes
    assert abs(found.slope.sum()) < 4 * noise
    assert abs((found.slope * f).sum()) < 4 * np.sqrt((found.information * f**2).sum())
    assert np.corrcoef(found.slope, expected)[0, 1] > (0.92 if centric else 0.95)
    # information, squares of slopes and those of the integral are one thing
    assert (expected**2).sum() == pytest.approx(total, rel=0.1)
    assert (found.slope**2).sum() == pytest.approx(total, rel=0.15)
    step = 1e-4
    target = MLIntensity(data, known_errors(data, 1.0, beta))
    curvature = -(target.derivatives(f + step).slope - target.derivatives(f - step).slope)
    assert curvature[f > step].sum() / (2 * step) == pytest.approx(total, rel=0.15)


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_differences_of_models_are_those_of_the_integral(sigma, centric):
    """Against a model with a tenth less of everything, summed over all reflections."""
    beta = 0.1
    data, f = of_intensities(beta, sigma, kinds=(centric,))
    target, values = MLIntensity(data, known_errors(data, 1.0, beta)), data.intensities
    lost = target.values(f).sum() - target.values(0.9 * f).sum()
    both = [
        np.log(density_and_score(values.value, values.sigma, a, data.epsilon * beta, centric)[0])
        for a in (f, 0.9 * f)
    ]
    assert lost == pytest.approx(both[0].sum() - both[1].sum(), rel=0.2, abs=1.0)


def integrated_information(a, variance, sigma, centric):
    """Return E[(dlog p/da)^2] over intensities of one reflection."""
    ends = (np.maximum(a - 8 * np.sqrt(variance), 0.0), a + 8 * np.sqrt(variance))
    f, weight = nodes(*(np.array([e]) for e in ends), 300)
    p_f = weight * amplitude_density(f, np.array([a]), np.array([variance]), centric)
    score = amplitude_score(f, np.array([a]), np.array([variance]), centric)
    low, high = ends[0] ** 2 - 8 * sigma, ends[1] ** 2 + 8 * sigma
    intensity, step = nodes(np.array([low]), np.array([high]), 600)
    error = (intensity.T - f**2) / sigma
    seen = np.exp(-0.5 * error**2) / (np.sqrt(2 * np.pi) * sigma) * p_f
    p = seen.sum(axis=1)
    slope = (seen * score).sum(axis=1) / np.maximum(p, 1e-300)
    return float((step[0] * p * slope**2).sum()), float((step[0] * p).sum())


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize("a", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("variance", "sigma"), [(0.05, 0.1), (0.05, 1), (0.3, 0.3), (0.3, 3)])
def test_information_is_that_of_the_integral(a, variance, sigma, centric):
    expected, total = integrated_information(a, variance, float(sigma), centric)
    assert total == pytest.approx(1.0, abs=1e-6)
    alpha = 0.8
    found = intensity_information(
        *(np.array([float(v)]) for v in (a / alpha, alpha, variance, sigma)), np.array([centric])
    )
    assert found[0] == pytest.approx(alpha**2 * expected, rel=0.08 if a > 0.1 else 0.2)


def test_value_and_slope_are_those_of_the_torch_route():
    data, f = of_intensities(0.1, 1.0)
    target = MLIntensity(data, known_errors(data, 0.9, 0.1))
    amplitude = torch.tensor(f, requires_grad=True)
    value = target.log_likelihood(amplitude)
    (slope,) = torch.autograd.grad(value.sum(), amplitude)
    found = target.derivatives(f)
    np.testing.assert_allclose(found.value, value.detach().numpy(), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(found.slope, slope.numpy(), rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(target.values(f), found.value)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_alpha_and_beta_are_recovered_from_weak_intensities(sigma):
    data, f = of_intensities(0.2, sigma)
    found = estimate_errors(data, f)
    assert np.median(found.alpha) == pytest.approx(1.0, abs=0.04)
    assert np.median(found.beta) == pytest.approx(0.2, abs=0.05)
    by_french_wilson = estimate_errors(data.with_effective(False), f)
    if sigma >= 1:  # their amplitudes are drawn to the prior, and the model seems to be off
        assert np.median(by_french_wilson.alpha) < 0.9


@pytest.mark.parametrize("sigma", [0.3, 2.0, 6.0])
def test_weak_intensities_are_no_outliers_and_wrong_ones_are(sigma):
    data, f = of_intensities(0.1, sigma)
    errors = known_errors(data, 1.0, 0.1)
    assert improbable(data, f, errors).sum() == 0
    value = data.intensities.value.copy()
    value[::500] += 9 * sigma * data.epsilon[::500] + 6 * np.maximum(f[::500] ** 2, 1.0)
    wrong = replace(data, intensities=replace(data.intensities, value=value)).with_effective(True)
    found = improbable(wrong, f, known_errors(wrong, 1.0, 0.1))
    assert np.flatnonzero(found).tolist() == list(range(0, len(data), 500))


@pytest.mark.parametrize("centric", [False, True])
def test_tails_are_the_part_of_simulated_intensities(centric):
    random = np.random.default_rng(3)
    n, a, variance, sigma = 400_000, 0.8, 0.2, 0.5
    model_error = random.standard_normal(n) * np.sqrt(variance) + 0j
    if not centric:
        model_error = (model_error + 1j * random.standard_normal(n) * np.sqrt(variance)) / np.sqrt(
            2
        )
    value = np.abs(a + model_error) ** 2 + sigma * random.standard_normal(n)
    points = np.quantile(value, [0.001, 0.02, 0.3, 0.9, 0.999])
    found = intensity_tail(
        points, np.full(5, sigma), np.full(5, a), np.full(5, variance), np.full(5, centric)
    )
    np.testing.assert_allclose(found, [0.001, 0.02, 0.3, 0.1, 0.001], rtol=0.15)


def test_the_target_is_the_likelihood_of_what_was_measured():
    data, f = of_intensities(0.1, 1.0)
    amplitudes = replace(data.with_effective(False), intensities=None)
    assert target_kind(None, data) is TargetKind.MLI
    assert target_kind(None, amplitudes) is TargetKind.ML
    assert target_kind(TargetKind.ML, data) is TargetKind.ML
    with pytest.raises(InputError, match="mli is for intensities, and F,SIGF are amplitudes"):
        target_kind(TargetKind.MLI, amplitudes)
    errors = known_errors(data, 1.0, 0.1)
    assert isinstance(likelihood(data, errors), MLIntensity)
    assert isinstance(likelihood(data.with_effective(False), errors), MLAmplitude)
    assert isinstance(least_squares(amplitudes, f), LeastSquares)
    with pytest.raises(ValueError, match="with_effective"):
        MLIntensity(amplitudes, errors)
