"""Differences of log-likelihoods tell two models apart, or do not."""

import numpy as np
import pytest

from multicopy_refinement.targets.difference import Difference


def test_it_is_the_sum_with_the_error_of_that():
    first, mine = np.zeros(5), np.array([1.0, 3.0, 2.0, 9.0, 2.0])
    found = Difference.of(mine, first, np.array([True, True, True, False, True]))
    assert found.value == 8.0
    assert found.su == pytest.approx(np.sqrt(4 * 0.5))
    assert found.telling


def test_what_the_choice_of_reflections_makes_does_not_tell():
    each = np.array([3.0, -2.0, 2.0, -1.0])
    assert not Difference.of(each, np.zeros(4)).telling


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_model_does_not_tell_however_alike_reflections_are(sign):
    """Both have converged, and not to the last digit: all reflections lose next to nothing."""
    assert not Difference.of(np.full(900, sign * 1e-5), np.zeros(900)).telling
