"""Likelihoods with renewed errors against errors that are fitted anew in full."""

from dataclasses import replace

import numpy as np
import pytest

from multicopy_refinement.targets.renewal import Renewal
from multicopy_refinement.targets.sigma_a import CurveProblem, estimate_errors
from synthetic import synthetic


def fitted_anew(data, curve, size, rows) -> float:
    """Return the log-likelihood of some reflections with errors fitted to them from nothing."""
    own = replace(curve, rows=np.flatnonzero(rows)).fitted(size, most_steps=200)
    return CurveProblem.of(own, size).at(own.values).value


@pytest.mark.parametrize("change", [0.002, 0.02, 0.2, 0.6])
def test_likelihoods_are_those_of_errors_fitted_anew(change):
    data, f = synthetic(0.85, 1500.0, free=0.2)
    curve = estimate_errors(data, f).curve
    renewal = Renewal.of(data, curve, f)
    other = f * (1 + change * np.random.default_rng(2).standard_normal(len(f)))
    found = np.subtract(renewal.likelihoods(other), renewal.likelihoods(f))
    for value, rows in zip(found, (data.work, data.free), strict=True):
        wanted = fitted_anew(data, curve, other, rows) - fitted_anew(data, curve, f, rows)
        assert value == pytest.approx(wanted, abs=0.02 + 0.01 * abs(wanted))


def test_without_a_free_set_it_says_nothing_of_it():
    data, f = synthetic(0.85, 1500.0, free=0.0)
    renewal = Renewal.of(data, estimate_errors(data, f).curve, f)
    assert np.isnan(renewal.likelihoods(f)[1])
    assert np.isfinite(renewal.likelihoods(f)[0])
