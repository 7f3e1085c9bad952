"""Likelihoods against their definition, and error models against known truth."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import i0

from multicopy_refinement.targets import LeastSquares, MLAmplitude
from multicopy_refinement.targets.least_squares import amplitude_variance
from multicopy_refinement.targets.shells import make_shells
from multicopy_refinement.targets.sigma_a import CurveProblem, ErrorModel, estimate_errors
from synthetic import synthetic


def errors(alpha: float, variance: np.ndarray) -> ErrorModel:
    n = len(variance)
    return ErrorModel(np.full(n, alpha), variance, variance, np.array([0.1]), np.array([alpha]))


def plain_density(f_obs, f, alpha, variance, centric):
    """The textbook formulas, without any care for overflow."""
    if centric:
        norm = np.sqrt(2 / (np.pi * variance))
        spread = np.exp(-(f_obs**2 + (alpha * f) ** 2) / (2 * variance))
        return norm * spread * np.cosh(alpha * f_obs * f / variance)
    spread = np.exp(-(f_obs**2 + (alpha * f) ** 2) / variance)
    return 2 * f_obs / variance * spread * i0(2 * alpha * f_obs * f / variance)


@pytest.mark.parametrize("centric", [False, True])
def test_likelihood_is_the_textbook_density(centric):
    f_obs, f, variance = np.array([1.0, 5.0, 9.0]), np.array([2.0, 5.0, 7.0]), np.full(3, 6.0)
    target = MLAmplitude(torch.as_tensor(f_obs), torch.full((3,), centric), errors(0.9, variance))
    found = target.log_likelihood(torch.as_tensor(f)).exp().numpy()
    assert np.allclose(found, plain_density(f_obs, f, 0.9, variance, centric), rtol=1e-12)


@pytest.mark.parametrize("centric", [False, True])
def test_density_integrates_to_one(centric):
    def density(f_obs: float) -> float:
        target = MLAmplitude(
            torch.tensor([f_obs], dtype=torch.float64),
            torch.tensor([centric]),
            errors(0.8, np.array([3.0])),
        )
        return float(target.log_likelihood(torch.tensor([4.0], dtype=torch.float64)).exp())

    assert quad(density, 1e-9, 40)[0] == pytest.approx(1.0, rel=1e-8)


def test_strong_reflections_do_not_overflow_and_zero_is_finite():
    f_obs = torch.tensor([0.0, 1e5, 1e5], dtype=torch.float64)
    centric = torch.tensor([False, False, True])
    target = MLAmplitude(f_obs, centric, errors(1.0, np.full(3, 1.0)))
    f = torch.tensor([3.0, 1e5, 1e5], dtype=torch.float64, requires_grad=True)
    value = target.log_likelihood(f)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(f.grad).all()


@pytest.mark.parametrize("centric", [False, True])
def test_gradient_is_that_of_the_formula(centric):
    f_obs = torch.tensor([4.0, 9.0], dtype=torch.float64)
    target = MLAmplitude(f_obs, torch.full((2,), centric), errors(0.9, np.full(2, 5.0)))
    f = torch.tensor([5.0, 6.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(target.log_likelihood, (f,))


def test_alpha_and_beta_are_recovered():
    data, f = synthetic(0.85, 1500.0, free=0.2)
    found = estimate_errors(data, f)
    assert found.notices == ()
    assert np.allclose(found.alpha, 0.85, atol=0.04)
    assert np.median(found.beta) == pytest.approx(1500, rel=0.1)
    assert np.allclose(
        found.variance, data.epsilon * found.beta + np.where(data.centric, 1, 2) * 4.0
    )


def test_small_free_set_is_said_and_the_work_set_used():
    data, f = synthetic(0.85, 1500.0, free=0.002)
    found = estimate_errors(data, f)
    assert [notice.code for notice in found.notices] == ["sigma_a_from_work"]
    assert np.median(found.beta) == pytest.approx(1500, rel=0.1)


def test_likelihood_at_the_estimate_is_highest():
    data, f = synthetic(0.85, 1500.0, free=0.2)
    found = estimate_errors(data, f)

    def free_likelihood(alpha: float, beta: float) -> float:
        variance = data.epsilon * found.beta * beta + np.where(data.centric, 1, 2) * 4.0
        model = ErrorModel(found.alpha * alpha, variance, variance, found.centre, found.shell_alpha)
        target = MLAmplitude(torch.as_tensor(data.f_obs), torch.as_tensor(data.centric), model)
        return float(target.log_likelihood(torch.as_tensor(f))[torch.as_tensor(data.free)].sum())

    best = free_likelihood(1.0, 1.0)
    assert all(best > free_likelihood(a, b) for a, b in ((0.9, 1), (1.1, 1), (1, 0.7), (1, 1.4)))


@pytest.mark.parametrize("seed", range(8))
def test_the_curves_are_at_their_optimum_within_their_bounds(seed):
    """Also without any model error, where beta runs into its bound at some knots."""
    data, f = synthetic(1.0, 0.0, free=0.1, seed=seed)
    wrong = f * np.random.default_rng(seed).uniform(0.7, 1.3, len(f))
    for start in (None, estimate_errors(data, wrong)):
        curve = estimate_errors(data, f, start=start).curve
        x, slope = curve.values, CurveProblem.of(curve, f).at(curve.values).gradient
        held = ((x <= curve.lower) & (slope < 0)) | ((x >= curve.upper) & (slope > 0))
        assert np.abs(slope[~held]).max() < 0.02


def test_figure_of_merit_of_certain_and_of_hopeless_phases():
    data, f = synthetic(0.85, 1500.0, free=0.2)
    found = estimate_errors(data, f)
    merit = found.figure_of_merit(data.f_obs, f, data.centric)
    assert merit.min() >= 0
    assert merit.max() <= 1
    strong = (f > 200) & (data.f_obs > 200)
    assert merit[strong].min() > 0.9


def test_least_squares_is_a_gaussian():
    f_obs, f = torch.tensor([5.0, 7.0]).double(), torch.tensor([4.0, 7.5]).double()
    found = LeastSquares(f_obs, np.array([2.0, 3.0])).log_likelihood(f).numpy()
    expected = -0.5 * (np.array([1.0 / 2, 0.25 / 3]) + np.log(2 * np.pi * np.array([2.0, 3.0])))
    assert np.allclose(found, expected)


def test_least_squares_variance_is_the_observed_spread():
    data, f = synthetic(1.0, 400.0, free=0.2)
    spread = np.mean((data.f_obs - f)[data.free] ** 2)
    assert np.mean(amplitude_variance(data, f)[data.free]) == pytest.approx(spread, rel=0.05)


def test_shells_hold_equal_numbers_and_smooth_keeps_a_constant():
    s_squared = np.random.default_rng(0).uniform(0.01, 0.4, 3000)
    shells = make_shells(s_squared, np.ones(3000, dtype=bool), per_shell=200)
    assert len(shells.count) == 15
    assert shells.count.min() > 180
    assert np.allclose(shells.smooth(np.full(15, 3.0)), 3.0)
    assert np.allclose(shells.interpolate(np.full(15, 2.0), s_squared), 2.0)
