"""Curves fitted to fractions with their covariance: right values, right errors."""

import numpy as np
import pytest

from multicopy_refinement.errors import InputError
from multicopy_refinement.series.curves import CURVES
from multicopy_refinement.series.fits import best_supported, fit, fit_curve, fit_curves

#: A variable, and parameters that its curve shows well.
TRUE = {
    "constant": (np.linspace(0, 5, 6), [0.4]),
    "line": (np.linspace(-2, 5, 6), [0.4, -0.03]),
    "exponential": (np.array([0, 1, 2, 4, 8, 16.0]), [0.6, 0.1, 0.3]),
    "two exponentials": (np.geomspace(0.01, 100, 12), [0.5, -0.3, 5.0, -0.2, 0.1]),
    "decay": (np.array([0, 0.5, 1, 2, 4, 8.0]), [0.7, 3.0]),
    "Hill": (np.geomspace(0.1, 100, 8), [0.02, 0.8, 4.0, 1.5]),
    "van't Hoff": (np.linspace(240, 320, 7), [60.0, 285.0]),
    "Arrhenius": (np.linspace(240, 320, 7), [0.7, 40.0, 275.0]),
}


def correlated(n, su=0.01, shared=0.02):
    """Return a covariance of errors of one's own and of errors that all share."""
    return su**2 * np.eye(n) + shared**2


def test_every_curve_is_tried():
    assert set(TRUE) == set(CURVES)


@pytest.mark.parametrize("name", TRUE)
def test_parameters_come_back_from_exact_fractions(name):
    x, true = TRUE[name]
    f = CURVES[name].function(x, np.array(true))
    found = fit_curve(name, "x", x, f, correlated(len(x)))
    if name == "two exponentials" and found.value[2] < found.value[4]:
        found = None
    assert found is not None
    assert found.value == pytest.approx(true, rel=2e-3, abs=1e-4)
    assert found.chi_square < 1e-3
    assert found.function(x) == pytest.approx(f, abs=1e-5)


@pytest.mark.parametrize("name", ["exponential", "decay"])
def test_errors_are_those_of_the_scatter(name):
    """Over draws with the covariance, z of the parameters and chi-square are as they should be."""
    x, true = TRUE[name]
    c = correlated(len(x), 0.003, 0.005)
    f, root = CURVES[name].function(x, np.array(true)), np.linalg.cholesky(c)
    random = np.random.default_rng(1)
    z, squares = [], []
    for _ in range(50):
        made = fit_curve(name, "x", x, f + root @ random.standard_normal(len(x)), c)
        z.append((made.value - true) / made.su)
        squares.append(made.chi_square)
    rms = np.sqrt(np.nanmean(np.square(z), axis=0))
    assert np.all((rms > 0.75) & (rms < 1.3)), rms
    assert np.mean(squares) == pytest.approx(made.freedom, rel=0.3)


def test_covariance_counts():
    """A level that all share is known no better for many points; a change is."""
    x = np.arange(8.0)
    made = fit(lambda x, p: p[0] + p[1] * x, x, 0.1 * x, correlated(8, 0.001, 0.05), [[0.0, 0.0]])
    assert made.su[0] > 0.049
    assert made.su[1] < 0.0002


def test_a_function_of_ones_own():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    made = fit(
        lambda x, p: p[0] * x**2 / (1 + p[1] * x), x, 0.3 * x**2 / (1 + 0.5 * x), correlated(5),
        [[1.0, 1.0]], parameters=("a", "b"), name="own",
    )  # fmt: skip
    assert made.value == pytest.approx([0.3, 0.5], rel=1e-3)
    assert made.parameters == ("a", "b")
    with pytest.raises(InputError, match="own: 2 points for 3 parameters"):
        fit(lambda x, p: x, x[:2], x[:2], correlated(2), [[0, 0, 0]], name="own")
    with pytest.raises(InputError, match="not finite"):
        fit(lambda x, p: np.full(len(x), np.nan), x, x, correlated(5), [[1.0]])


def test_what_the_points_do_not_tell_has_no_su():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    flat = fit_curve("exponential", "time", x, np.full(5, 0.3), correlated(5))
    assert np.isnan(flat.su[2])  # a rate of nothing
    twice = fit(lambda x, p: p[0] + p[1] + 0 * x, x, 0.5 + 0 * x, correlated(5), [[0.2, 0.3]])
    assert np.isnan(twice.su).all()


def test_a_reference_is_left_out_and_few_points_are_not_fitted():
    x, f, c = np.array([np.nan, 1.0, 2.0]), np.array([0.0, 0.3, 0.3]), correlated(3)
    c[0], c[:, 0] = 0.0, 0.0
    found = fit_curves("time", x, f, c)
    assert [one.name for one in found] == ["constant"]
    assert np.isnan(found[0].residual[0])
    assert found[0].value[0] == pytest.approx(0.3)
    assert fit_curves("time", x, f, 0 * c) == []


def test_derived_values():
    x = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    made = fit_curve("exponential", "time", x, 0.5 - 0.5 * np.exp(-0.2 * x), correlated(5, 1e-3, 0))
    ((name, unit, value, su),) = made.derived
    assert (name, unit) == ("half-life", "time")
    assert value == pytest.approx(np.log(2) / 0.2, rel=1e-3)
    assert su == pytest.approx(value * made.su[2] / made.value[2], rel=1e-3)


def test_a_curve_that_the_data_refuse_is_not_the_best():
    """Of three points an exponential has no degree of freedom left, and a constant is refused."""
    x, f, c = np.array([0.0, 1.0, 10.0]), np.array([0.0, 0.16, 0.48]), correlated(3, 0.003, 0.005)
    few = [fit_curve(name, "x", x, f, c) for name in ("constant", "exponential")]
    assert few[0].p < 1e-6
    assert np.isfinite(few[0].aicc)
    assert np.isinf(few[1].aicc)
    assert best_supported(few) is None
    assert best_supported([]) is None
    same = fit_curve("constant", "x", x, np.array([0.3, 0.301, 0.299]), c)
    assert best_supported([same, few[1]]) is same
