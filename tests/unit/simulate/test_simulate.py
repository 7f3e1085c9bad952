"""Simulated data: amplitudes, errors and flags as asked for."""

from importlib.resources import files

import numpy as np
import pytest
import torch

from multicopy_refinement import Model, structure_factors
from multicopy_refinement.errors import InputError
from multicopy_refinement.simulate import simulate


@pytest.fixture(scope="module")
def model():
    path = files("multicopy_refinement") / "demo" / "truth.pdb"
    return Model(dtype_float=torch.float64).load(str(path))


def test_same_seed_same_data_other_seed_other_data(model):
    one, two, other = (simulate(model, 2.5, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.f_obs, two.f_obs)
    assert not np.array_equal(one.f_obs, other.f_obs)
    assert np.array_equal(one.f_true, other.f_true)


def test_without_noise_and_solvent_it_is_direct_summation(model):
    data = simulate(model, 2.5, noise=0.0, k_sol=0.0)
    with torch.no_grad():
        expected = structure_factors(model, data.hkl, method="direct").abs().numpy()
    assert np.allclose(data.f_obs, expected)
    assert data.sigma.min() > 0


def test_errors_have_the_sigmas_that_are_written(model):
    data = simulate(model, 1.6, noise=0.05, seed=7)
    strong = data.f_true > 5 * data.sigma
    z = (data.f_obs - data.f_true)[strong] / data.sigma[strong]
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert z.std() == pytest.approx(1.0, abs=0.05)
    assert np.median(data.sigma[strong] / data.f_true[strong]) == pytest.approx(0.05, rel=0.15)


def test_one_flag_in_twenty_is_free(model):
    flags = simulate(model, 1.6).flags
    assert set(flags.tolist()) == set(range(20))
    assert np.mean(flags == 0) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(("d_min", "noise"), [(0.0, 0.03), (-1.0, 0.03), (2.0, -0.1)])
def test_impossible_requests_are_refused(model, d_min, noise):
    with pytest.raises(InputError, match="must"):
        simulate(model, d_min, noise=noise)
