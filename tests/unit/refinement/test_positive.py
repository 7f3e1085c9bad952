"""Displacements stay what a Gaussian can have, also beside ones that are not."""

import numpy as np
import pytest

from multicopy_refinement.geometry.terms.base import State
from multicopy_refinement.refinement.joint import _positive_part
from multicopy_refinement.units import EIGHT_PI_SQUARED

GOOD = [0.1, 0.1, 0.1, 0.0, 0.0, 0.0]
BAD = [0.1, 0.1, 0.1, 0.15, 0.0, 0.0]  # principal U of -0.05


def least(six):
    u = np.array([[six[0], six[3], six[4]], [six[3], six[1], six[5]], [six[4], six[5], six[2]]])
    return float(np.linalg.eigvalsh(u)[0])


@pytest.mark.parametrize(
    ("start", "change", "whole"),
    [
        (GOOD, [0.05, 0, 0, 0, 0, 0], True),
        (GOOD, [-0.09, 0, 0, 0, 0, 0], True),
        (GOOD, [-0.2, 0, 0, 0, 0, 0], False),
        (GOOD, [0, 0, 0, 0.12, 0, 0], False),
        (BAD, [0.1, 0.1, 0, 0, 0, 0], True),
        (BAD, [0, 0, 0, 0.5, 0, 0], False),
    ],
)
def test_a_step_leaves_u_positive_or_no_worse_than_it_was(start, change, whole):
    state = State(np.zeros((2, 3)), np.full(2, 8.0), np.array([start, GOOD]))
    every = np.zeros(20)
    every[8:14] = change
    part = _positive_part(state, every, np.array([True, True]))
    assert (part[0] == 1.0) == whole
    assert part[1] == 1.0
    end = np.array(start) + part[0] * np.array(change)
    assert least(end) >= min(0.5 / EIGHT_PI_SQUARED, least(start) - 1e-8)
