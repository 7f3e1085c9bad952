"""The profile likelihood agrees with the standard uncertainties."""

import numpy as np
import pytest
import torch

from demo_data import DEMO, simulate_demo
from multicopy_refinement import Model, read_reflections, refine
from multicopy_refinement.posterior.problem import occupancy_problem
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve.profile import profile_likelihood


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "data.mtz"
    simulate_demo(path, 2.2, seed=5)
    model = Model(dtype_float=torch.float64).load(str(DEMO / "start.pdb"))
    solution = refine(model, read_reflections(path))
    chosen = np.flatnonzero(solution.groups.refined)
    basis = group_basis(model, solution.experiment.data.hkl, chosen)
    sets = solution.groups.sums.restricted(chosen, solution.occupancy)
    problem = occupancy_problem(solution.experiment, basis, sets)
    return problem, solution.occupancy[chosen], solution.su[chosen]


def test_likelihood_falls_by_a_half_at_one_su(refined):
    problem, occupancy, su = refined
    best = problem.value(occupancy)
    for group in (0, 3, 9, 13, 14):  # members of sets of three and of two, the ligand, a water
        values = occupancy[group] + su[group] * np.array([-1.0, 1.0])
        lost = best - profile_likelihood(problem, occupancy, group, values)
        # scale and overall B are held here and are counted in su, so that it may be a little more
        assert np.sqrt(2 * lost.mean()) == pytest.approx(1.0, abs=0.1)


def test_at_the_maximum_nothing_is_lost(refined):
    problem, occupancy, _ = refined
    at = profile_likelihood(problem, occupancy, 3, occupancy[3:4])
    assert at[0] == pytest.approx(problem.value(occupancy), abs=0.01)


def test_holding_keeps_f_model(refined):
    problem, occupancy, _ = refined
    other = problem.holding(0, float(occupancy[0]))
    assert np.allclose(other.f_model(occupancy[1:]), problem.f_model(occupancy))
    assert np.allclose(other.constraints[0] @ occupancy[1:], other.constraints[1])
