"""Refinement recovers known occupancies from every start, and never makes matters worse."""

import numpy as np
import pytest
import torch

from demo_data import DEMO, simulate_demo
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.posterior import DataTerm, Experiment, Kind, occupancy_posterior
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve.lbfgs import maximise
from posteriors import point


@pytest.fixture(scope="module")
def truth():
    return Model(dtype_float=torch.float64).load(str(DEMO / "truth.pdb"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.mtz"
    simulate_demo(path, 1.8, seed=3)
    return read_reflections(path)


def start_at(kind: str) -> Model:
    """Return the demo's start with its sets at another place."""
    model = Model(dtype_float=torch.float64).load(str(DEMO / "start.pdb"))
    occupancy = model.group_occupancies()
    groups = model.occupancy_groups
    for group_set in groups.sets:
        members = list(group_set.groups)
        first = {"even": 1 / len(members), "far": 0.99, "corner": 1.0, "other corner": 0.0}[kind]
        occupancy[members] = (1 - first) / (len(members) - 1)
        occupancy[members[0]] = first
    model.occupancy.set_values(torch.as_tensor(occupancy[groups.index]))
    return model


@pytest.mark.parametrize("kind", ["even", "far", "corner", "other corner"])
@pytest.mark.parametrize("target", ["ml", "ls"])
def test_truth_is_recovered_from_every_start(kind, target, truth, data):
    model = start_at(kind)
    solution = refine(model, data, RefineOptions(target=target))
    refined = solution.groups.refined
    error = np.abs(solution.occupancy - truth.group_occupancies())[refined]
    assert error.max() < 0.03
    assert solution.status.converged
    assert solution.final.r_work < solution.initial.r_work
    assert solution.final.log_likelihood > solution.initial.log_likelihood
    assert np.allclose(model.group_occupancies(), solution.occupancy, atol=1e-6)


def test_sets_sum_to_one_at_every_evaluation(data, monkeypatch):
    sums = []
    model = start_at("corner")
    experiment = Experiment(model, data)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    basis = group_basis(model, experiment.data.hkl, refined)
    set_index = model.occupancy_groups.set_index[refined]
    posterior = occupancy_posterior(experiment, basis, set_index)
    original = DataTerm.log_density

    def watched(self, values):
        occupancy = values[Kind.OCCUPANCY].detach().numpy()
        member = set_index >= 0
        sums.append(np.bincount(set_index[member], occupancy[member]))
        return original(self, values)

    monkeypatch.setattr(DataTerm, "log_density", watched)
    start = point(posterior, model.group_occupancies()[refined])
    maximise(posterior, start, max_iterations=10)
    assert len(sums) > 10
    assert np.abs(np.array(sums) - 1).max() < 1e-12


def test_gradient_of_the_problem_is_that_of_the_whole_model(data):
    """The basis and the FFT of all atoms are two routes to one likelihood."""
    model = start_at("even")
    experiment = Experiment(model, data)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    basis = group_basis(model, experiment.data.hkl, refined)
    posterior = occupancy_posterior(experiment, basis, model.occupancy_groups.set_index[refined])
    raw = model.occupancy.refinable_params
    (whole,) = torch.autograd.grad(experiment.log_likelihood(), raw)
    values = model.occupancy.collapsed_values()[torch.as_tensor(refined)]
    (collapsed,) = torch.autograd.grad(posterior.log_density({Kind.OCCUPANCY: values}), raw)
    assert float((whole - collapsed).norm() / collapsed.norm()) < 1e-3


def test_held_groups_and_coordinates_stay(data):
    model = start_at("even")
    before = model.group_occupancies()
    xyz = model.xyz().detach().clone()
    solution = refine(model, data)
    held = ~solution.groups.refined
    assert np.array_equal(model.group_occupancies()[held], before[held])
    assert torch.equal(model.xyz(), xyz)


def test_nothing_to_refine_is_a_status(data, tmp_path):
    text = (DEMO / "start.pdb").read_text().splitlines(keepends=True)
    whole = [
        line
        for line in text
        if not line.startswith(("ATOM", "HETATM")) or (line[54:60] == "  1.00" and line[16] == " ")
    ]
    (tmp_path / "whole.pdb").write_text("".join(whole))
    solution = refine(Model(dtype_float=torch.float64).load(tmp_path / "whole.pdb"), data)
    assert solution.status.converged
    assert "nothing to refine" in solution.status.reason
    assert solution.initial == solution.final


def test_running_out_of_cycles_is_a_status(data):
    solution = refine(start_at("corner"), data, RefineOptions(max_cycles=1))
    assert not solution.status.converged
    assert "still changed" in solution.status.reason


def test_progress_is_told(data):
    steps = []
    refine(start_at("even"), data, progress=steps.append)
    assert [step.step for step in steps][:3] == [
        "structure factors",
        "scale and solvent",
        "solving",
    ]
    assert [s for s in steps if s.step == "solving"][-1].largest_change < 0.001


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="speed"):
        RefineOptions(speed="high")


def test_float32_model_gives_the_same_occupancies(data):
    double = refine(start_at("even"), data).occupancy
    single = Model().load(str(DEMO / "start.pdb"))
    assert np.allclose(refine(single, data).occupancy, double, atol=3e-3)


def test_one_cycle_from_the_end_has_converged(data):
    model = start_at("even")
    refine(model, data, RefineOptions(uncertainty="none"))
    solution = refine(model, data, RefineOptions(max_cycles=1, uncertainty="none"))
    assert solution.status.converged
    assert solution.status.cycles == 1
