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
    first = rice_slopes(f_obs, a, v, centric)
    assert np.array_equal(first.value, found.value)
    assert np.array_equal(first.d_v, found.d_v)


def test_amplitudes_of_zero_and_models_of_zero_are_finite():
    zero, one = np.zeros(2), np.ones(2)
    found = rice_derivatives(zero, zero, one, np.array([True, False]))
    assert all(np.isfinite(v).all() for v in vars(found).values())
