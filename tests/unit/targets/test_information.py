"""Value, slope and expected information of the targets against autograd and quadrature."""

import numpy as np
import pytest
import torch
from scipy.special import i0e

from multicopy_refinement.targets import LeastSquares, MLAmplitude
from multicopy_refinement.targets.information import expected_information
from multicopy_refinement.targets.sigma_a import ErrorModel

N = 300


def random_targets() -> dict:
    """Return both targets for weak to strong reflections, centric and acentric, and |F|."""
    random = np.random.default_rng(7)
    f_obs, f = 10 ** random.uniform(-1, 3, N), 10 ** random.uniform(-1, 3, N)
    f[: N // 2] = f_obs[: N // 2] * random.uniform(0.8, 1.2, N // 2)
    variance = 10 ** random.uniform(0, 3, N)
    alpha, centric = random.uniform(0.3, 1.1, N), random.uniform(size=N) < 0.4
    errors = ErrorModel(alpha, variance, variance, np.array([0.1]), np.array([0.9]))
    amplitudes = torch.as_tensor(f_obs)
    return {
        "ml": (MLAmplitude(amplitudes, torch.as_tensor(centric), errors), f),
        "ls": (LeastSquares(amplitudes, variance), f),
    }


@pytest.mark.parametrize("kind", ["ml", "ls"])
def test_value_and_slope_are_those_of_the_torch_route(kind):
    target, f = random_targets()[kind]
    amplitude = torch.tensor(f, requires_grad=True)
    value = target.log_likelihood(amplitude)
    (slope,) = torch.autograd.grad(value.sum(), amplitude)
    found = target.derivatives(f)
    np.testing.assert_allclose(found.value, value.detach().numpy(), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(found.slope, slope.numpy(), rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(target.values(f), found.value)


def test_information_of_least_squares_is_one_over_the_variance():
    target, f = random_targets()["ls"]
    found = target.derivatives(f).information
    np.testing.assert_allclose(found, 1 / target.variance.numpy(), rtol=1e-14)


def log_density(f_obs, f, alpha, variance, centric):
    """Return log p of the textbook, with a Bessel function that does not overflow."""
    squares = (f_obs - alpha * f) ** 2 / variance
    x = alpha * f_obs * f / variance
    if centric:
        cosh = 0.5 * (1 + np.exp(-2 * x))
        return 0.5 * np.log(2 / (np.pi * variance)) - squares / 2 + np.log(cosh)
    return np.log(2 * f_obs / variance) - squares + np.log(i0e(2 * x))


def quadrature(f, alpha, variance, centric):
    """Return the integral of p and of p (dlog p/dF)^2 over F_obs, slopes by differences."""
    node, weight = np.polynomial.legendre.leggauss(400)
    width = 9 * np.sqrt(variance)
    low, high = max(alpha * f - width, 0.0), alpha * f + width
    f_obs = 0.5 * (high - low) * (node + 1) + low
    step = 1e-4 * np.sqrt(variance)
    up = log_density(f_obs, f + step, alpha, variance, centric)
    down = log_density(f_obs, f - step, alpha, variance, centric)
    p = np.exp(log_density(f_obs, f, alpha, variance, centric)) * 0.5 * (high - low) * weight
    return p.sum(), (p * ((up - down) / (2 * step)) ** 2).sum()


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize(
    ("f", "alpha", "variance"),
    [(3, 0.9, 50.0), (10, 0.5, 20.0), (10, 1.0, 9.0), (40, 0.7, 60.0), (100, 0.95, 100.0)],
)
def test_information_is_the_expected_square_of_the_slope(f, alpha, variance, centric):
    total, expected = quadrature(f, alpha, variance, centric)
    assert total == pytest.approx(1, abs=1e-6)
    found = expected_information(
        np.array([float(f)]), np.array([alpha]), np.array([variance]), np.array([centric])
    )
    assert found[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("centric", "size"), [(False, 2.0), (True, 1.0)])
@pytest.mark.parametrize("f", [150.0, 1e4])
def test_strong_reflections_have_the_information_of_a_gaussian(centric, size, f):
    alpha, variance = 0.8, 25.0
    found = expected_information(
        np.array([f]), np.array([alpha]), np.array([variance]), np.array([centric])
    )
    assert found[0] == pytest.approx(size * alpha**2 / variance, rel=3e-3)


@pytest.mark.parametrize(("centric", "size"), [(False, 4.0), (True, 2.0)])
def test_information_of_weak_reflections_falls_with_the_square_of_nu(centric, size):
    """E (r^2 - 1)^2 is 1 for an exponential r^2, and 2 for that of a normal deviate."""
    alpha, variance = np.full(3, 0.8), np.full(3, 25.0)
    nu = np.array([0.0, 0.04, 0.08])
    f = nu * np.sqrt(variance) / alpha
    found = expected_information(f, alpha, variance, np.full(3, centric))
    assert found[0] == pytest.approx(0.0, abs=1e-12)
    limit = size * nu**2 * alpha**2 / variance
    np.testing.assert_allclose(found[1:], limit[1:], rtol=0.03)


def test_derivatives_carry_the_expected_information():
    target, f = random_targets()["ml"]
    expected = expected_information(
        f, target.alpha.numpy(), target.variance.numpy(), target.centric.numpy()
    )
    np.testing.assert_array_equal(target.derivatives(f).information, expected)
    assert (expected > 0).all()
