"""Models fitted to the work set by linear least squares: how much of it they take up is known."""

import numpy as np
import pytest

from multicopy_refinement.targets.choice import likelihood
from multicopy_refinement.targets.leverage import leverage, own_errors
from multicopy_refinement.targets.sigma_a import estimate_errors
from synthetic import synthetic

#: Amplitudes that are well above their errors.
STRONG = 40.0


def fitted(each, *, seed=0, free=0.1):
    """Return data, and |F_model| with one parameter for so many work reflections: their mean error.

    It is that of free reflections, too, which come to one of the parameters at random.
    """
    data, f = synthetic(1.0, 400.0, free=free, seed=seed)
    random = np.random.default_rng(seed + 1)
    # strong reflections alone: their amplitudes have normal errors, and stay positive
    strong, number = f > STRONG, np.full(len(f), -1)
    work = np.flatnonzero(data.work & strong)
    n = len(work) // each
    number[random.permutation(work)] = np.arange(len(work)) % n
    rest = np.flatnonzero(~data.work & strong)
    number[rest] = random.integers(n, size=len(rest))
    off = np.bincount(number[work], (data.f_obs - f)[work], minlength=n)
    off /= np.bincount(number[work], minlength=n)
    return data, np.where(strong, f + off[number], f)


def variance(data, errors):
    """Return the mean variance of strong amplitudes of the work set."""
    return errors.variance[data.work].mean()


@pytest.mark.parametrize("each", [2, 4, 8])
def test_what_a_fit_takes_up_is_its_parameters_over_the_data(each):
    found = []
    for seed in range(4):
        data, size = fitted(each, seed=seed, free=0.4)
        h = leverage(data, likelihood(data, estimate_errors(data, size)), size)
        found.append(h[data.work].mean())
    share = (size > STRONG)[data.work].mean()  # of what was fitted at all
    assert np.mean(found) == pytest.approx(share / each, abs=0.03)


def test_errors_of_the_data_are_found_where_a_fit_has_hidden_them():
    """One parameter for three reflections: errors of the free set are a third too large."""
    truth, found, of_free = [], [], []
    for seed in range(6):
        data, f = synthetic(1.0, 400.0, free=0.1, seed=seed)
        truth.append(variance(data, estimate_errors(data, f)))
        data, size = fitted(3, seed=seed)
        errors = estimate_errors(data, size)
        of_free.append(variance(data, errors))
        h = leverage(data, likelihood(data, errors), size)
        found.append(variance(data, own_errors(data, errors, h)))
    assert np.mean(of_free) > 1.2 * np.mean(truth)
    assert np.mean(found) == pytest.approx(np.mean(truth), rel=0.05)


def test_nothing_is_taken_up_where_nothing_was_fitted():
    h = []
    for seed in range(4):
        data, f = synthetic(1.0, 400.0, free=0.1, seed=seed)
        target = likelihood(data, estimate_errors(data, f))
        h.append(leverage(data, target, f)[data.work].mean())
    assert np.mean(h) < 0.04  # of no two sets alike, and never negative


def test_a_small_free_set_says_nothing():
    data, size = fitted(4, free=0.01)
    assert data.free.sum() < 100
    target = likelihood(data, estimate_errors(data, size))
    assert (leverage(data, target, size) == 0).all()


def test_own_errors_are_no_less_than_those_of_measurement_and_leave_the_free_set():
    data, size = fitted(4)
    errors = estimate_errors(data, size)
    own = own_errors(data, errors, np.full(len(data), 1e6))
    work, free = data.work, data.free
    np.testing.assert_allclose(own.variance[work], data.rice_noise[work])
    np.testing.assert_allclose(own.beta[work], 0.0, atol=1e-9)
    np.testing.assert_array_equal(own.variance[free], errors.variance[free])
    np.testing.assert_array_equal(own.beta[free], errors.beta[free])
    same = own_errors(data, errors, np.zeros(len(data)))
    np.testing.assert_allclose(same.variance, errors.variance)
