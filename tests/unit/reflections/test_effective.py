"""Effective amplitudes: the posterior of F that they give is that of French and Wilson."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0e

from multicopy_refinement.reflections.effective import Intensities, effective_amplitudes

#: I, sigma and S.
CASES = [
    (100, 5, 60), (2, 5, 60), (-8, 5, 60), (-15, 5, 4), (0, 5, 0.5), (30, 60, 40), (1e4, 50, 60),
    (3, 1, 1), (0, 1, 1), (-2, 1, 1), (0.2, 4, 1),
]  # fmt: skip


def moments(log_density, end, peak):
    """Return <F> and <F^2> of a density on [0, end]."""
    top = log_density(peak)
    parts = [
        quad(lambda f, n=n: f**n * np.exp(log_density(f) - top), 0, end, points=[peak], limit=400)[
            0
        ]
        for n in range(3)
    ]
    return parts[1] / parts[0], parts[2] / parts[0]


def one(intensity, sigma, prior, centric):
    found = effective_amplitudes(
        *(np.array([float(v)]) for v in (intensity, sigma, prior)), np.array([centric])
    )
    return float(found.f[0]), float(found.noise[0])


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize(("intensity", "sigma", "prior"), CASES)
def test_mean_and_mean_square_are_those_of_the_intensity(intensity, sigma, prior, centric):
    f_e, noise = one(intensity, sigma, prior, centric)

    def wilson(f):
        return -(f**2) / (2 * prior) if centric else np.log(f) - f**2 / prior

    def measured(f):
        return wilson(f) - 0.5 * ((f**2 - intensity) / sigma) ** 2

    def effective(f):
        if centric:
            both = np.logaddexp(-((f - f_e) ** 2) / (2 * noise), -((f + f_e) ** 2) / (2 * noise))
            return wilson(f) + both
        return wilson(f) - (f - f_e) ** 2 / noise + np.log(i0e(2 * f * f_e / noise))

    end = np.sqrt(max(intensity, 0) + 12 * sigma) + np.sqrt(prior)
    grid = np.linspace(1e-6, end, 4000)
    peak = float(grid[np.argmax([measured(f) for f in grid])])
    expected, found = moments(measured, end, peak), moments(effective, end, peak)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(("centric", "size"), [(False, 2.0), (True, 1.0)])
def test_strong_intensities_are_their_roots(centric, size):
    f_e, noise = one(1e4, 20.0, 8e3, centric)
    assert f_e == pytest.approx(100.0, rel=1e-3)
    assert noise == pytest.approx(size * (20.0 / 200.0) ** 2, rel=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_anything_is_finite_and_its_noise_positive(seed):
    random = np.random.default_rng(seed)
    sigma = 10.0 ** random.uniform(-8, 8, 500)
    value = sigma * random.uniform(-4, 50, 500)
    prior = 10.0 ** random.uniform(-8, 8, 500)
    found = effective_amplitudes(value, sigma, prior, random.uniform(size=500) < 0.5)
    assert np.isfinite(found.f).all()
    assert np.isfinite(found.noise).all()
    assert (found.f >= 0).all()
    assert (found.noise > 0).all()


def test_the_scale_of_the_data_does_not_matter():
    random = np.random.default_rng(0)
    value, centric = random.normal(1, 2, 50), random.uniform(size=50) < 0.3
    plain = Intensities(value, np.full(50, 1.3), np.full(50, 2.0)).effective(centric)
    for factor in (1e-6, 1e6):
        scaled = Intensities(factor * value, np.full(50, 1.3 * factor), np.full(50, 2.0 * factor))
        other = scaled.effective(centric)
        np.testing.assert_allclose(other.f, np.sqrt(factor) * plain.f, rtol=1e-9)
        np.testing.assert_allclose(other.noise, factor * plain.noise, rtol=1e-9)
