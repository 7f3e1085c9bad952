"""Amplitudes of intensities: against slow integrals, and finite whatever the intensities are."""

import numpy as np
import pytest
from scipy.integrate import quad

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.reflections.french_wilson import (
    _neighbours_mean,
    french_wilson,
    posterior_amplitudes,
)
from multicopy_refinement.reflections.observations import Observations

CELL = Cell(28, 30, 32, 90, 90, 90)
P212121 = SpaceGroup("P 21 21 21")


def measured(seed=3, sigma=2.0, d_min=3.0):
    """Return indices, true and measured intensities of Wilson's statistics."""
    hkl = unique_reflections(CELL, P212121, d_min)
    random = np.random.default_rng(seed)
    wanted = 100 * random.exponential(size=len(hkl)) * P212121.epsilon(hkl)
    return hkl, wanted, wanted + sigma * random.standard_normal(len(hkl))


def amplitudes(hkl, value, sigma):
    rows = Observations(hkl, value, np.broadcast_to(sigma, len(hkl)).copy(), np.ones(len(hkl)))
    return french_wilson(rows, CELL, P212121)[:2]


def by_quadrature(intensity, sigma, prior, centric):
    """Return mean and standard deviation of F by adaptive integrals over J = F^2."""

    def density(f):
        wilson = np.exp(-f * f / (2 * prior)) if centric else f * np.exp(-f * f / prior)
        return wilson * np.exp(-0.5 * ((f * f - intensity) / sigma) ** 2)

    end = np.sqrt(max(intensity, 0) + 12 * sigma)
    points = np.linspace(0, end, 200)
    peak = points[np.argmax([density(f) for f in points])]
    top = density(peak)
    parts = [quad(lambda f, n=n: f**n * density(f) / top, 0, end, points=[peak], limit=500)[0]
             for n in range(3)]  # fmt: skip
    mean = parts[1] / parts[0]
    return mean, np.sqrt(parts[2] / parts[0] - mean**2)


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize(
    ("intensity", "sigma", "prior"),
    [(100, 5, 60), (2, 5, 60), (-8, 5, 60), (-15, 5, 4), (0, 5, 0.5), (30, 200, 40), (1e4, 50, 60)],
)
def test_posterior_is_the_integral(intensity, sigma, prior, centric):
    f, sigma_f = posterior_amplitudes(*(np.array([float(v)]) for v in (intensity, sigma, prior)),
                                      np.array([centric]))  # fmt: skip
    expected = by_quadrature(intensity, sigma, prior, centric)
    np.testing.assert_allclose((f[0], sigma_f[0]), expected, rtol=2e-4)


def test_strong_intensities_are_kept_and_weak_ones_lifted():
    hkl, _, value = measured()
    f, sigma_f = amplitudes(hkl, value, 2.0)
    assert f.shape == sigma_f.shape == (len(hkl),)
    assert (f > 0).all()
    assert (sigma_f > 0).all()
    strong = value > 80
    np.testing.assert_allclose(f[strong], np.sqrt(value[strong]), rtol=0.01)
    np.testing.assert_allclose(sigma_f[strong], 1 / f[strong], rtol=0.05)  # sigma_I / 2F
    weak = value < 0
    assert weak.sum() > 2
    assert (f[weak] < 3).all()


def test_mean_of_neighbours_is_the_sum_over_all():
    hkl, _, value = measured(d_min=4.0)
    apart = ((hkl[:, None] - hkl[None]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / (2 * 2.0**2))
    np.testing.assert_allclose(
        _neighbours_mean(value, hkl), kernel @ value / kernel.sum(axis=1), rtol=1e-4
    )


def test_one_wild_intensity_leaves_the_others_alone():
    hkl, _, value = measured()
    f, _ = amplitudes(hkl, value, 2.0)
    sigma = np.full(len(hkl), 2.0)
    wild = len(hkl) - 5
    value[wild], sigma[wild] = -90_000.0, 330_000.0
    found, sigma_f = amplitudes(hkl, value, sigma)
    others = np.arange(len(hkl)) != wild
    np.testing.assert_allclose(found[others], f[others], rtol=0.02, atol=0.1)
    # what was not measured has the mean of Wilson's distribution and its spread
    assert 3 < found[wild] < 25
    assert 0.2 * found[wild] < sigma_f[wild] < found[wild]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("what", ["noise", "negative", "huge", "tiny", "mixed", "zero"])
def test_amplitudes_are_always_finite_and_positive(what, seed):
    hkl, _, value = measured(seed, d_min=4.0)
    random = np.random.default_rng(seed)
    sigma = np.full(len(hkl), 2.0)
    if what == "noise":
        value = 3 * sigma * random.standard_normal(len(hkl))
    elif what == "negative":
        value = -3.9 * sigma
    elif what == "huge":
        value, sigma = 1e12 * value, 1e12 * sigma
    elif what == "tiny":
        value, sigma = 1e-12 * value, 1e-12 * sigma
    elif what == "mixed":
        sigma = 10.0 ** random.uniform(-8, 8, len(hkl))
        value = np.maximum(sigma * random.uniform(-4, 50, len(hkl)), -4 * sigma)
    else:
        value = np.zeros(len(hkl))
    for result in amplitudes(hkl, value, sigma):
        assert np.isfinite(result).all()
        assert (result > 0).all()


def test_the_scale_of_the_data_does_not_matter():
    hkl, _, value = measured()
    f, sigma_f = amplitudes(hkl, value, 2.0)
    for factor in (1e-8, 1e8):
        g, sigma_g = amplitudes(hkl, factor**2 * value, 2.0 * factor**2)
        np.testing.assert_allclose(g, factor * f, rtol=1e-5)
        np.testing.assert_allclose(sigma_g, factor * sigma_f, rtol=1e-5)
