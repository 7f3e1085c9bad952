"""What is lost with renewed errors against errors that are fitted anew in full."""

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


@pytest.mark.parametrize(
    ("change", "part"), [(0.002, 0.01), (0.02, 0.01), (0.1, 0.02), (0.2, 0.05)]
)
def test_what_is_lost_is_that_of_errors_fitted_anew(change, part):
    data, f = synthetic(0.85, 1500.0, free=0.2)
    curve = estimate_errors(data, f).curve
    other = f * (1 + change * np.random.default_rng(2).standard_normal(len(f)))
    found = Renewal.of(data, curve, f).lost(other)
    for value, rows in zip(found, (data.work, data.free), strict=True):
        wanted = fitted_anew(data, curve, f, rows) - fitted_anew(data, curve, other, rows)
        assert value == pytest.approx(wanted, abs=0.02 + part * abs(wanted))


def test_without_a_free_set_it_says_nothing_of_it():
    data, f = synthetic(0.85, 1500.0, free=0.0)
    lost = Renewal.of(data, estimate_errors(data, f).curve, f).lost(f)
    assert np.isnan(lost[1])
    assert lost[0] == pytest.approx(0, abs=1e-6)
