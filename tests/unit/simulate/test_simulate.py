"""Simulated data: amplitudes, errors and flags as asked for."""

from importlib.resources import files

import numpy as np
import pytest
import torch

from crystals import solvent_structure_factors
from multicopy_refinement import Model, structure_factors
from multicopy_refinement.errors import InputError
from multicopy_refinement.modes import SolventTruth
from multicopy_refinement.simulate import simulate
from multicopy_refinement.simulate.solvent import MOLECULES, molecules, true_solvent


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


def test_molecules_have_groups_as_often_as_occupancies_say(model):
    groups, q = model.occupancy_groups, model.group_occupancies()
    present = molecules(groups, q)
    assert present.shape == (MOLECULES, len(q))
    assert np.abs(present.mean(axis=0) - q).max() <= 0.5 / MOLECULES + 1e-9
    for members in groups.sums.members:
        assert (present[:, members].sum(axis=1) == 1).all()  # complete sets: one of them, always


def test_molecules_have_nested_groups_only_with_their_parent(model):
    names = model.occupancy_groups.names
    rules = [{"sum": ["W/8/HOH", "W/17/HOH"], "at_most": "A/201/GOL"}]
    nested = Model(dtype_float=torch.float64).load(model.source.path, sharing_rules=rules)
    q = nested.group_occupancies()
    present = molecules(nested.occupancy_groups, q)
    gol, one, two = (names.index(n) for n in ("A/201/GOL", "W/8/HOH", "W/17/HOH"))
    assert present[:, gol].mean() == pytest.approx(q[gol], abs=0.01)
    assert not (present[:, one] & ~present[:, gol]).any()
    assert not (present[:, one] & present[:, two]).any()


def test_solvent_is_kept_out_or_fills_what_groups_leave(model):
    hkl = simulate(model, 3.0).hkl
    flat = true_solvent(model, hkl, SolventTruth.FLAT)
    expected, _ = solvent_structure_factors(model, model.occupancy().numpy(force=True), hkl)
    assert np.abs(flat - expected).max() < 1e-4 * np.abs(expected).max()
    filled = true_solvent(model, hkl, SolventTruth.OCCUPANCY)
    assert 0.05 < np.abs(filled - flat).mean() / np.abs(flat).mean() < 1
    one, other = (simulate(model, 3.0, noise=0.0, solvent=s) for s in ("flat", "occupancy"))
    assert not np.allclose(one.f_true, other.f_true, rtol=1e-3)
