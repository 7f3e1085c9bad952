"""The profile likelihood agrees with the standard uncertainties."""

import numpy as np
import pytest
import torch

from demo_data import DEMO, simulate_demo
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.posterior import Kind, occupancy_posterior
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve.covariance import covariance
from multicopy_refinement.solve.gauss_newton import maximise
from multicopy_refinement.solve.profile import profile_likelihood
from posteriors import point


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "data.mtz"
    simulate_demo(path, 2.2, seed=5)
    model = Model(dtype_float=torch.float64).load(str(DEMO / "start.pdb"))
    solution = refine(model, read_reflections(path), RefineOptions(uncertainty="conditional"))
    chosen = np.flatnonzero(solution.groups.refined)
    basis = group_basis(model, solution.experiment.data.hkl, chosen)
    sets = solution.groups.sums.restricted(chosen, solution.occupancy)
    posterior = occupancy_posterior(solution.experiment, basis, sets)
    at = point(posterior, solution.occupancy[chosen])
    return posterior, at, covariance(posterior, at).su


def test_likelihood_falls_by_a_half_at_one_su(refined):
    posterior, at, su = refined
    best = posterior.value(at)
    for group in (0, 3, 9, 13, 14):  # members of sets of three and of two, the ligand, a water
        values = at[Kind.OCCUPANCY][group] + su[group] * np.array([-1.0, 1.0])
        lost = best - profile_likelihood(posterior, at, group, values)
        # scale and solvent are held here and are counted in su, so that it may be a little more
        assert np.sqrt(2 * lost.mean()) == pytest.approx(1.0, abs=0.1)


def test_at_the_maximum_nothing_is_lost(refined):
    posterior, at, _ = refined
    value = profile_likelihood(posterior, at, 3, at[Kind.OCCUPANCY][3:4])
    assert value[0] == pytest.approx(posterior.value(at), abs=0.01)


def test_what_is_held_stays_and_its_set_keeps_its_sum(refined):
    posterior, at, _ = refined
    held = posterior.holding(Kind.OCCUPANCY, 0, 0.35)
    values = at[Kind.OCCUPANCY].copy()
    values[0] = 0.35
    values = posterior.sums.restored(values, np.arange(len(values)) == 0)
    search = maximise(held, at.replacing(Kind.OCCUPANCY, values))
    found = search.point[Kind.OCCUPANCY]
    assert search.converged
    assert found[0] == 0.35
    assert np.abs(posterior.sums.excess(found)).max() < 1e-12
    assert search.value < posterior.value(at)


def test_a_value_that_the_sums_do_not_allow_is_refused(refined):
    posterior, at, _ = refined
    pair = next(members for members in posterior.sums.members if len(members) == 2)
    only = posterior.holding(Kind.OCCUPANCY, int(pair[1]), 0.4)
    assert only.space.held.sum() == 1
    with pytest.raises(ValueError, match=r"cannot be held at 1\.2"):
        profile_likelihood(posterior, at, int(pair[0]), np.array([1.2]))
