"""A small version of benchmarks/recovery.py: known occupancies come back, with su that are right.

Of 40 estimates with sound su, fewer than half within 1 su have a probability of 0.5%, and
fewer than 36 within 2 su one of 3%; the seeds are fixed.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "recovery.py"
CRYSTALS = ("P 21 21 21", "C 1 2 1")
SEEDS = {2.0: (1,), 2.8: (2,)}
STARTS = ("equal shares", "1.00 / 0.00", "0.05 / 0.95")


@pytest.fixture(scope="module")
def recovery():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("recovery", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["recovery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["recovery"]


@pytest.fixture(scope="module")
def found(recovery):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the crystals are too small to share
    yield recovery.study(CRYSTALS, SEEDS, starts=STARTS, ways=(recovery.ONE_SHIFT,))
    torch.set_num_threads(threads)


def assert_honest(z, *, within_2):
    assert np.isfinite(z).all()
    assert (abs(z) < 1).mean() >= 0.5
    assert (abs(z) < 2).mean() >= within_2
    assert (abs(z) < 4).all()
    assert 0.75 < np.sqrt((z**2).mean()) < 1.3


def test_every_refinement_converges(found):
    assert found.converged.all()


def test_occupancies_are_off_by_what_their_su_say_from_every_start(found):
    for start in STARTS:
        rows = found[found.start == start]
        assert len(rows) == 40
        assert_honest(rows.z, within_2=0.9)


def test_su_are_small_enough_to_mean_something(found):
    sets = found[(found.what == "q") & found.group.str.startswith("A/")]
    assert sets.su.max() < 0.02


def test_all_starts_end_at_the_same_occupancies(found, recovery):
    assert recovery.disagreement(found).to_numpy().max() < 0.2


def test_wrong_b_factors_are_mended_along_with_the_occupancies(found, recovery):
    rows = found[found.start == recovery.ONE_SHIFT]
    assert_honest(rows[rows.what == "q"].z, within_2=0.85)
    shifts = rows[rows.what == "B"]
    assert len(shifts) == 64
    assert_honest(shifts.z, within_2=0.88)
    wrong, left = abs(shifts.truth).mean(), abs(shifts.value - shifts.truth).mean()
    assert left < 0.4 * wrong
