"""Restraints as a prior: values, gradients, and what they do to a refinement in both routes."""

import numpy as np
import pytest
import torch

from demo_data import DEMO, simulate_demo
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.occupancy.groups import Restraint
from multicopy_refinement.posterior import (
    Block,
    Experiment,
    Kind,
    Point,
    Space,
    occupancy_posterior,
)
from multicopy_refinement.posterior.priors import BShiftPrior, OccupancyPrior
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve.covariance import covariance
from posteriors import point

RESTRAINTS = [
    Restraint((0,), (1.0,), 0.7, 0.05),
    Restraint((1, 2), (1.0, -1.0), 0.0, 0.02),
    Restraint((0, 2, 3), (1.0, 0.5, 2.0), 1.2, 0.1),
]


def at(q):
    """Return a point of occupancies alone."""
    return Space((Block.unbounded(Kind.OCCUPANCY, len(q)),)).point({Kind.OCCUPANCY: q})


@pytest.fixture
def prior():
    return OccupancyPrior.of(RESTRAINTS, 5)


def test_value_is_the_sum_of_squares(prior):
    q = np.array([0.6, 0.5, 0.45, 0.1, 0.9])
    expected = -0.5 * (
        (0.1 / 0.05) ** 2 + (0.05 / 0.02) ** 2 + ((0.6 + 0.225 + 0.2 - 1.2) / 0.1) ** 2
    )
    assert prior.value(at(q)) == pytest.approx(expected)
    density = prior.log_density({Kind.OCCUPANCY: torch.as_tensor(q)})
    assert float(density) == pytest.approx(expected)


def test_gradient_and_information_are_differences(prior):
    q = np.array([0.6, 0.5, 0.45, 0.1, 0.9])
    tensor = torch.tensor(q, requires_grad=True)
    prior.log_density({Kind.OCCUPANCY: tensor}).backward()
    found = prior.normal(at(q))
    assert found.gradient == pytest.approx(tensor.grad.numpy())
    check_derivatives(prior, at(q))


def check_derivatives(term, here):
    """Compare value, gradient and information with differences of the value."""
    found = term.normal(here)
    assert found.value == pytest.approx(term.value(here), rel=1e-12)
    for i in range(here.space.size):
        step = np.eye(here.space.size)[i] * 1e-4
        up, down = (Point(here.space, here.x + s * step) for s in (1, -1))
        slope = (term.value(up) - term.value(down)) / 2e-4
        assert found.gradient[i] == pytest.approx(slope, abs=1e-6)
        bend = (term.normal(up).gradient - term.normal(down).gradient) / 2e-4
        assert found.information[i] == pytest.approx(-bend, abs=1e-6)


def test_priors_stand_in_their_own_block():
    """With occupancies and B shifts in one space, each prior touches its own."""
    space = Space((Block.unbounded(Kind.OCCUPANCY, 5), Block.unbounded(Kind.B_GROUP, 3)))
    here = space.point({Kind.OCCUPANCY: np.full(5, 0.5), Kind.B_GROUP: np.array([1.0, -2, 3])})
    check_derivatives(OccupancyPrior.of(RESTRAINTS, 5), here)
    shifts = BShiftPrior(np.array([2.0, 4.0, 6.0]))
    check_derivatives(shifts, here)
    assert shifts.value(here) == pytest.approx(-0.5 * 3 * 0.25)
    tensor = torch.tensor([1.0, -2, 3], dtype=torch.float64, requires_grad=True)
    shifts.log_density({Kind.B_GROUP: tensor}).backward()
    assert shifts.normal(here).gradient[5:] == pytest.approx(tensor.grad.numpy())
    assert not shifts.normal(here).gradient[:5].any()


def test_held_groups_move_into_the_targets(prior):
    q = np.array([0.6, 0.5, 0.45, 0.1, 0.9])
    kept = np.array([1, 3])
    rest = prior.restricted(kept, q)
    assert len(rest) == 2  # the first has no moving group
    first = OccupancyPrior.of(RESTRAINTS[:1], 5).value(at(q))
    assert rest.value(at(q[kept])) + first == pytest.approx(prior.value(at(q)))


# ---------------------------------------------------------------------- refinement


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return the demo's starting model and data of its truth to 2.5 A."""
    folder = tmp_path_factory.mktemp("restraints")
    simulate_demo(folder / "data.mtz", 2.5, seed=1)
    return str(DEMO / "start.pdb"), read_reflections(folder / "data.mtz")


def solved(start, rules, **options):
    model = Model(dtype_float=torch.float64).load(start[0], sharing_rules=rules)
    # coordinates and B are right here: restraint and data meet by themselves
    return refine(model, start[1], RefineOptions(uncertainty="conditional", **options))


def of(solution, name):
    g = solution.groups.names.index(name)
    return float(solution.occupancy[g]), float(solution.su[g])


@pytest.fixture(scope="module")
def names(start):
    solution = solved(start, [])
    groups = solution.groups
    alone = [g for g in range(len(groups)) if groups.refined[g] and groups.set_index[g] < 0]
    return [groups.names[g] for g in alone], solution


def test_a_weak_restraint_changes_nothing_and_a_strong_one_decides(start, names):
    (name, *_), free = names
    q, su = of(free, name)
    weak = solved(start, [{"restrain": name, "target": 0.2, "sigma": 100.0}])
    assert of(weak, name) == pytest.approx((q, su), abs=1e-4)
    strong = solved(start, [{"restrain": name, "target": 0.2, "sigma": 1e-4}])
    assert of(strong, name) == pytest.approx((0.2, 1e-4), abs=2e-5)


def test_a_restraint_and_data_are_weighed_by_their_su(start, names):
    """The posterior of two Gaussians: mean and su by their precisions."""
    (name, *_), free = names
    q, su = of(free, name)
    found, found_su = of(
        solved(start, [{"restrain": name, "target": q - 2 * su, "sigma": su}]), name
    )
    assert found == pytest.approx(q - su, abs=0.15 * su)
    assert found_su == pytest.approx(su / 2**0.5, rel=0.05)


def test_both_routes_find_the_same(start, names):
    (name, other, *_), _ = names
    rules = [
        {"restrain": name, "target": 0.3, "sigma": 0.02},
        {"similar": [name, other], "sigma": 0.05},
    ]
    scoring = solved(start, rules)
    logits = solved(start, rules, solver="lbfgs", max_iterations=300)
    assert np.allclose(scoring.occupancy, logits.occupancy, atol=2e-3)
    assert scoring.occupancy[scoring.groups.names.index(name)] != pytest.approx(0.3, abs=1e-3)


def test_the_torch_route_has_the_same_gradient(start, names):
    """d(log_posterior)/dq through the whole model, against the problem's own."""
    (name, other, *_), _ = names
    rules = [{"restrain": name, "target": 0.3, "sigma": 0.02},
             {"similar": [name, other], "sigma": 0.05}]  # fmt: skip
    model = Model(dtype_float=torch.float64).load(start[0], sharing_rules=rules)
    experiment = Experiment(model, start[1])
    groups = model.occupancy_groups
    refined = np.flatnonzero(groups.refined)
    prior = OccupancyPrior.of(groups.restraints, len(groups)).restricted(
        refined, model.group_occupancies()
    )
    sums = groups.sums.restricted(refined, model.group_occupancies())
    basis = group_basis(model, experiment.data.hkl, refined)
    posterior = occupancy_posterior(experiment, basis, sums, prior=prior)
    q = model.group_occupancies()[refined]
    expected = posterior.normal(point(posterior, q))
    loss = experiment.log_posterior()
    assert float(loss.detach()) == pytest.approx(expected.value, abs=0.02)
    assert float(experiment.log_prior().detach()) == pytest.approx(prior.value(at(q)))
    loss.backward()
    lone = refined.tolist().index(groups.names.index(name))
    place = int(np.cumsum(groups.refined)[refined[lone]]) - 1
    found = float(model.occupancy.refinable_params.grad[place])
    slope = q[lone] * (1 - q[lone])  # of the sigmoid
    assert found / slope == pytest.approx(expected.gradient[lone], rel=1e-3)


def test_least_squares_leaves_the_restraint_in_its_own_units(start, names):
    (name, *_), _ = names
    strong = solved(start, [{"restrain": name, "target": 0.2, "sigma": 1e-4}], target="ls")
    assert of(strong, name)[1] == pytest.approx(1e-4, rel=0.05)


def test_undetermined_members_are_determined_by_a_restraint(start, names):
    _, free = names
    pair = next(s for s in free.groups.sets if len(s.groups) == 2)
    one, two = (free.groups.names[g] for g in pair.groups)
    found = solved(start, [{"similar": [one, two], "sigma": 1e-3}])
    assert of(found, one)[0] == pytest.approx(0.5, abs=3e-3)


def test_uncertainty_counts_the_prior(start):
    model = Model(dtype_float=torch.float64).load(start[0])
    experiment = Experiment(model, start[1])
    refined = np.flatnonzero(model.occupancy_groups.refined)
    q = model.group_occupancies()[refined]
    sums = model.occupancy_groups.sums.restricted(refined, model.group_occupancies())
    basis = group_basis(model, experiment.data.hkl, refined)
    plain = occupancy_posterior(experiment, basis, sums)
    prior = OccupancyPrior.of([Restraint((0,), (1.0,), 0.5, 0.01)], len(refined))
    with_prior = occupancy_posterior(experiment, basis, sums, prior=prior)
    without, counted = (covariance(p, point(p, q)) for p in (plain, with_prior))
    assert counted.su[0] == pytest.approx((without.su[0] ** -2 + 0.01**-2) ** -0.5, rel=1e-6)
