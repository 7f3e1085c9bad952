"""Derivatives of the amplitude likelihood in scaled amplitude and variance."""

import numpy as np

from multicopy_refinement.targets.rice import rice_derivatives, rice_slopes


def test_derivatives_are_finite_differences():
    random = np.random.default_rng(0)
    f_obs, a, v = (random.gamma(2, 20, 400) for _ in range(3))
    v *= 10
    centric = random.random(400) < 0.4
    found, h = rice_derivatives(f_obs, a, v, centric), 1e-4

    def slope(name, in_a, in_v):
        high, low = (
            getattr(rice_derivatives(f_obs, a + s * in_a, v + s * in_v, centric), name)
            for s in (h, -h)
        )
        return (high - low) / (2 * h)

    for wanted, name, step in (
        (found.d_a, "value", (1, 0)), (found.d_v, "value", (0, 1)),
        (found.d_aa, "d_a", (1, 0)), (found.d_vv, "d_v", (0, 1)),
        (found.d_av, "d_a", (0, 1)), (found.d_av, "d_v", (1, 0)),
    ):  # fmt: skip
        assert np.allclose(slope(name, *step), wanted, atol=1e-7)


def test_slopes_are_those_of_the_bessel_functions_from_nothing_to_the_sharpest_peak():
    random = np.random.default_rng(1)
    f_obs = np.concatenate([[0.0, 0.0, 5.0], 10 ** random.uniform(-3, 4, 20_000)])
    a = np.concatenate([[0.0, 5.0, 0.0], 10 ** random.uniform(-3, 4, 20_000)])
    v = np.concatenate([[1.0, 1.0, 1.0], 10 ** random.uniform(-2, 5, 20_000)])
    centric = random.random(len(v)) < 0.3
    found, wanted = rice_slopes(f_obs, a, v, centric), rice_derivatives(f_obs, a, v, centric)
    n = np.where(centric, 0.5, 1.0)
    assert np.abs(found.value - wanted.value).max() < 1e-11 * (f_obs**2 / v + a**2 / v).max()
    near = (f_obs - a) ** 2 / v < 100
    assert near.sum() > 2000
    assert np.allclose(found.value[near], wanted.value[near], rtol=1e-11, atol=1e-11)
    assert np.allclose(found.d_a, wanted.d_a, rtol=1e-10, atol=1e-11 * (n * f_obs / v).max())
    scale = n * (f_obs**2 + a**2) / v**2 + n / v
    assert (np.abs(found.d_v - wanted.d_v) < 1e-11 * scale).all()


def test_amplitudes_of_zero_and_models_of_zero_are_finite():
    zero, one = np.zeros(2), np.ones(2)
    found = rice_derivatives(zero, zero, one, np.array([True, False]))
    assert all(np.isfinite(v).all() for v in vars(found).values())
