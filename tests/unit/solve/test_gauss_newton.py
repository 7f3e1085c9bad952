"""Normal equations against autograd and differences; Fisher scoring: rising, exact, in bounds."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from crystals import crystal
from demo_data import load_demo, observe
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.posterior import Experiment, Kind, Point, Posterior, occupancy_posterior
from multicopy_refinement.posterior.occupancies import BShifts
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.scattering import structure_factors
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.splat import plan_splat, splat_structure_factors
from multicopy_refinement.solve import gauss_newton, lbfgs
from multicopy_refinement.solve.quadratic import QuadraticProgramError
from posteriors import forward, point, with_forward

#: Refined groups of the demo.
N_REFINED = 16


@dataclass(frozen=True)
class Setting:
    """A posterior with all that it was made from."""

    experiment: Experiment
    basis: object
    refined: np.ndarray
    posterior: Posterior
    start: Point


def setting(
    model: Model, data: ReflectionData, *, target: str = "ml", b_shifts: BShifts | None = None
) -> Setting:
    """Return the posterior of a model as it stands, F_calc of the start by direct summation."""
    exact = structure_factors(model, data.hkl, method="direct").detach()
    experiment = Experiment(model, data, f_calc=exact, target=target)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    basis = group_basis(model, data.hkl, refined)
    sets = model.occupancy_groups.set_index[refined]
    posterior = occupancy_posterior(experiment, basis, sets, b_shifts=b_shifts)
    start = point(posterior, model.group_occupancies()[refined], np.zeros(len(refined)))
    return Setting(experiment, basis, refined, posterior, start)


@pytest.fixture(scope="module")
def data() -> ReflectionData:
    return observe(load_demo("truth.pdb"), 2.0)


@pytest.fixture(scope="module", params=["ml", "ls"])
def demo(request, data) -> Setting:
    return setting(load_demo("start.pdb"), data, target=request.param)


def corner(posterior: Posterior, *, other: bool = False) -> Point:
    """Return a start with the first (or last) member of each set at 1, single groups at 0 or 1."""
    start = np.zeros(posterior.space.size)
    for members in posterior.sums.members:
        start[members[-1 if other else 0]] = 1.0
    start[posterior.sums.set_index < 0] = 0.0 if other else 1.0
    return point(posterior, start)


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest error relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# ---------------------------------------------------------------------- normal equations


def test_gradient_is_that_of_autograd(demo):
    occupancy = torch.tensor(demo.start.x, requires_grad=True)
    value = demo.posterior.log_density({Kind.OCCUPANCY: occupancy})
    (expected,) = torch.autograd.grad(value, occupancy)
    found = demo.posterior.normal(demo.start)
    assert found.value == pytest.approx(value.item(), rel=1e-12)
    assert demo.posterior.value(demo.start) == pytest.approx(value.item(), rel=1e-12)
    assert worst(found.gradient, expected.numpy()) < 1e-10


def without_displaced_solvent(demo: Setting) -> Posterior:
    """Return the posterior in which the solvent is held, as F of atoms alone knows it."""
    held = replace(forward(demo.posterior).scaled, f_mask=demo.experiment.f_mask)
    solvent = held.scale.solvent(held.s_squared) * held.f_mask
    held = replace(held, held=(held.held[0], solvent))
    return with_forward(demo.posterior, displaced=None, scaled=held)


def whole_model_gradient(demo: Setting, method: str) -> np.ndarray:
    """Return the gradient by the occupancy of every atom, summed over each refined group."""
    model, hkl = demo.experiment.model, demo.experiment.data.hkl
    atoms = atoms_of(model)
    occupancy = atoms.occupancy.detach().clone().requires_grad_()
    atoms = replace(atoms, occupancy=occupancy)
    if method == "direct":
        f_calc = direct_sum(atoms, hkl)
    else:
        plan = plan_splat(atoms, demo.experiment.data.d_min)
        f_calc = splat_structure_factors(atoms, hkl, plan)
    value = demo.experiment.log_likelihood(demo.experiment(f_calc))
    (each,) = torch.autograd.grad(value, occupancy)
    groups = model.occupancy_groups
    return np.bincount(groups.index, each.numpy(), minlength=len(groups))[demo.refined]


def test_gradient_is_that_of_the_whole_model_by_fft(demo):
    expected = whole_model_gradient(demo, "fft")
    found = without_displaced_solvent(demo).normal(demo.start).gradient
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_gradient_is_that_of_the_whole_model_by_direct_summation(demo):
    """With the held atoms by direct summation, too: in the basis they come from a grid."""
    model, hkl = demo.experiment.model, demo.experiment.data.hkl
    exact = structure_factors(model, hkl, method="direct").detach().numpy()
    basis = demo.basis
    fixed = exact - (basis.f_calc(demo.start.x) - basis.fixed)
    posterior = with_forward(without_displaced_solvent(demo), fixed=fixed)
    expected = whole_model_gradient(demo, "direct")
    found = posterior.normal(demo.start).gradient
    assert np.abs(found / expected - 1).max() < 1e-4
    from_grid = without_displaced_solvent(demo).normal(demo.start).gradient
    assert np.linalg.norm(from_grid - expected) < 1e-3 * np.linalg.norm(expected)


def difference_jacobian(posterior: Posterior, at: Point) -> np.ndarray:
    """Return dF_model/dx by central differences, complex ``[size, n]``."""
    columns = []
    of_scale = at.space.place(Kind.SCALE)
    for i in range(at.space.size):
        step = np.zeros(at.space.size)
        # the anisotropic B stands in the basis of the Miller indices, where it is of size 0.001
        step[i] = 1e-7 if of_scale.start < i < of_scale.stop else 1e-4
        up, down = (forward(posterior).f_model(Point(at.space, at.x + s * step)) for s in (1, -1))
        columns.append((up - down) / (2 * step[i]))
    return np.array(columns)


@pytest.fixture(scope="module", params=[False, True], ids=["occupancy", "b_group"])
def everything(request, data) -> tuple[Posterior, Point]:
    """All unknowns that there are: occupancies, B shifts or none, scale, anisotropic B, solvent."""
    shifts = BShifts(np.full(N_REFINED, -9.0), np.full(N_REFINED, 6.0)) if request.param else None
    here = setting(load_demo("start.pdb"), data, b_shifts=shifts)
    at = here.posterior.with_nuisance(here.start)
    at = at.replacing(Kind.OCCUPANCY, np.linspace(0.1, 0.9, N_REFINED))
    if request.param:
        at = at.replacing(Kind.B_GROUP, np.linspace(-4, 6, N_REFINED))
    return here.posterior, at


def test_every_column_is_that_of_differences(everything):
    """J' slope and J'WJ of the data over the work set alone, for every block of unknowns."""
    posterior, at = everything
    assert set(at.space.kinds) >= {Kind.OCCUPANCY, Kind.SCALE, Kind.SOLVENT}
    data = posterior.data
    f = forward(posterior).f_model(at)
    jacobian = (difference_jacobian(posterior, at) * np.conj(f / np.abs(f))).real
    of_f = data.target.derivatives(np.abs(f))
    found = data.normal(at)
    work = data.work
    gradient = jacobian[:, work] @ of_f.slope[work]
    information = (jacobian[:, work] * of_f.information[work]) @ jacobian[:, work].T
    # each unknown has a scale of its own
    size = np.sqrt(np.diag(information))
    assert np.abs((found.gradient - gradient) / size).max() < 1e-5 * np.abs(gradient / size).max()
    assert np.abs((found.information - information) / np.outer(size, size)).max() < 1e-5
    np.testing.assert_allclose(np.diag(found.information), np.diag(information), rtol=1e-5)
    assert found.information.shape == (at.space.size, at.space.size)


def test_single_precision_is_near(everything):
    posterior, at = everything
    exact, quick = posterior.normal(at), posterior.normal(at, precise=False)
    size = np.sqrt(np.diag(exact.information))
    assert np.abs((quick.information - exact.information) / np.outer(size, size)).max() < 1e-5
    assert np.abs((quick.gradient - exact.gradient) / size).max() < 1e-3  # of an su


def test_times_and_adjoint_belong_together(everything):
    """Re(c* J v) = v' Re(J* c), and J v is the difference of F_model, block by block."""
    posterior, at = everything
    random = np.random.default_rng(1)
    model = forward(posterior)
    overall, n = model.overall(at), len(posterior.data.work)
    differences = difference_jacobian(posterior, at) / overall
    c = random.standard_normal(n) + 1j * random.standard_normal(n)
    for kind, jacobian in model.jacobians(at).items():
        v = random.standard_normal(at[kind].size)
        along = jacobian.times(v)
        assert along.shape == (n,)
        one, other = float((np.conj(c) @ along).real), float(v @ jacobian.adjoint(c))
        assert one == pytest.approx(other, rel=1e-10), kind
        expected = v @ differences[at.space.place(kind)]
        assert np.linalg.norm(along - expected) < 1e-5 * np.linalg.norm(expected), kind
        columns = jacobian.columns(slice(0, n), c, np.float64)
        assert columns.sum(axis=1) == pytest.approx(jacobian.adjoint(c), rel=1e-9), kind


def test_blocks_do_not_matter(everything):
    posterior, at = everything
    whole = posterior.normal(at)
    columns = replace(forward(posterior).columns, block_size=97)
    parts = with_forward(posterior, columns=columns).normal(at)
    assert worst(parts.gradient, whole.gradient) < 1e-10
    assert worst(parts.information, whole.information) < 1e-12


def test_free_reflections_count_for_nothing(everything):
    posterior, at = everything
    work, fixed = posterior.data.work, forward(posterior).fixed
    changed = with_forward(posterior, fixed=np.where(work, fixed, 3 * fixed + 100))
    other, same = changed.normal(at), posterior.normal(at)
    assert other.value == pytest.approx(same.value, rel=1e-13)
    assert worst(other.information, same.information) < 1e-13
    assert not work.all()


# ---------------------------------------------------------------------- the search


def test_a_secant_is_obeyed_and_the_information_stays_positive():
    random = np.random.default_rng(4)
    root = random.normal(size=(9, 9))
    information = root @ root.T + np.eye(9)
    step, bend = random.normal(size=9), random.uniform(0.5, 2.0, 9)
    fall = bend * (information @ step)
    assert step @ fall > 0.2 * step @ information @ step
    mended = gauss_newton.with_secant(information, step, fall)
    assert np.allclose(mended @ step, fall, rtol=1e-10)
    for told in (-fall, 0 * fall):  # a slope that rises along the step, or stays
        damped = gauss_newton.with_secant(information, step, told)
        assert np.linalg.eigvalsh(damped).min() > 0
        wanted = 0.2 * step @ information @ step
        assert step @ damped @ step == pytest.approx(wanted, rel=1e-9)
    assert gauss_newton.with_secant(information, 0 * step, fall) is information


def test_the_gradient_alone_is_that_of_the_normal_equations(demo):
    at = corner(demo.posterior)
    alone, together = demo.posterior.gradient(at), demo.posterior.normal(at).gradient
    assert np.allclose(alone, together, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("other", [False, True], ids=["first at 1", "last at 1"])
def test_search_rises_from_a_corner_with_exact_sums_and_within_bounds(demo, monkeypatch, other):
    tried, accepted = [], []
    value, gradient, normal = Posterior.value, Posterior.gradient, Posterior.normal

    def watched_value(self, at):
        tried.append(at.x)
        return value(self, at)

    def watched_gradient(self, at):
        accepted.append(value(self, at))
        return gradient(self, at)

    monkeypatch.setattr(Posterior, "value", watched_value)

    def watched_normal(self, at, **options):
        found = normal(self, at, **options)
        accepted.append(found.value)
        return found

    monkeypatch.setattr(Posterior, "gradient", watched_gradient)
    monkeypatch.setattr(Posterior, "normal", watched_normal)
    start = corner(demo.posterior, other=other)
    search = gauss_newton.maximise(demo.posterior, start)
    assert search.converged
    assert search.status
    assert len(accepted) >= 3
    assert (np.diff(accepted) > 0).all()
    assert search.value == pytest.approx(accepted[-1], rel=1e-12)
    sums, total = demo.posterior.sums.equalities
    assert len(tried) >= len(accepted) - 1  # the start is not tried
    for occupancy in tried:
        assert np.abs(sums @ occupancy - total).max() < 1e-12
        assert occupancy.min() >= 0
        assert occupancy.max() <= 1


@pytest.mark.parametrize("other", [False, True], ids=["first at 1", "last at 1"])
def test_search_ends_as_high_as_a_long_lbfgs(demo, other):
    start = corner(demo.posterior, other=other)
    search = gauss_newton.maximise(demo.posterior, start)
    best = lbfgs.maximise(demo.posterior, start, max_iterations=300)
    assert search.value > best.value - 0.05
    assert search.value > demo.posterior.value(start) + 100


def test_a_start_at_the_end_is_left_alone(demo):
    once = gauss_newton.maximise(demo.posterior, demo.start, smallest_gain=1e-9)
    again = gauss_newton.maximise(demo.posterior, once.point)
    assert again.steps == 0
    assert again.converged
    assert np.array_equal(again.point.x, once.point.x)


def test_running_out_of_steps_is_told(demo):
    search = gauss_newton.maximise(demo.posterior, corner(demo.posterior), max_steps=1)
    assert not search.converged
    assert search.steps == 1
    assert "1 steps" in search.status


def test_a_quadratic_program_that_fails_is_a_status(demo, monkeypatch):
    def fail(*_, **__):
        raise QuadraticProgramError("out of luck")

    monkeypatch.setattr(gauss_newton, "solve_step", fail)
    start = corner(demo.posterior)
    search = gauss_newton.maximise(demo.posterior, start)
    assert search.failed
    assert not search.converged
    assert "out of luck" in search.status
    assert search.point is start


def test_a_quadratic_program_that_fails_once_is_tried_with_damping(demo, monkeypatch):
    calls, solve = [], gauss_newton.solve_step

    def fail_first(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise QuadraticProgramError("out of luck")
        return solve(*arguments, **options)

    monkeypatch.setattr(gauss_newton, "solve_step", fail_first)
    search = gauss_newton.maximise(demo.posterior, corner(demo.posterior))
    assert search.converged


# ---------------------------------------------------------------------- coincident conformers


def test_coincident_pair_keeps_its_start(tmp_path):
    truth = crystal(tmp_path, [0.3, 0.7])
    here = setting(truth, observe(truth, 1.8))
    start = np.array([0.62, 0.38])
    search = gauss_newton.maximise(here.posterior, point(here.posterior, start))
    np.testing.assert_allclose(search.point.x, start, atol=1e-12)
    assert search.converged


def test_held_direction_of_coincident_members_is_their_difference(tmp_path):
    truth = crystal(tmp_path, [0.1, 0.2, 0.3, 0.4], shift=(0.0, 0.0, 1.2, 1.2))
    posterior = setting(truth, observe(truth, 1.8)).posterior
    information = posterior.normal(point(posterior, np.full(4, 0.25))).information
    held = gauss_newton.held_directions(information, posterior.sums.equalities[0])
    assert held.shape == (4, 2)
    assert np.abs(held.T @ held - np.eye(2)).max() < 1e-12
    differences = np.array([[1, -1, 0, 0], [0, 0, 1, -1]]) / np.sqrt(2)
    assert np.abs(np.linalg.norm(held.T @ differences.T, axis=0) - 1).max() < 1e-5


@pytest.mark.parametrize(
    "start",
    [[0.25, 0.25, 0.25, 0.25], [0.4, 0.2, 0.3, 0.1], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
    ids=["even", "uneven", "first at 1", "last at 1"],
)
def test_sums_of_coincident_members_are_refined_from_every_start(tmp_path, start):
    truth = crystal(tmp_path, [0.1, 0.2, 0.3, 0.4], shift=(0.0, 0.0, 1.2, 1.2))
    posterior = setting(truth, observe(truth, 1.8)).posterior
    found = gauss_newton.maximise(posterior, point(posterior, start)).point.x
    assert found[:2].sum() == pytest.approx(0.3, abs=0.03)
    if start[0] < 1 and start[3] < 1:  # what the data do not see stays
        assert found[0] - found[1] == pytest.approx(start[0] - start[1], abs=1e-3)
        assert found[2] - found[3] == pytest.approx(start[2] - start[3], abs=1e-3)


# ---------------------------------------------------------------------- B shifts


def test_b_shifts_stay_above_their_floor_and_the_posterior_rises(data, monkeypatch):
    def with_floor(lowest):
        shifts = BShifts(np.full(N_REFINED, lowest), np.full(N_REFINED, 6.0))
        return setting(load_demo("start.pdb"), data, b_shifts=shifts)

    here = with_floor(-0.5)
    tried = []
    value = Posterior.value

    def watched(self, at):
        found = value(self, at)
        tried.append((found, at[Kind.B_GROUP]))
        return found

    monkeypatch.setattr(Posterior, "value", watched)
    search = gauss_newton.maximise(here.posterior, here.start)
    values = [found for found, _ in tried]
    assert search.value == pytest.approx(max(values), rel=1e-12)
    assert search.value > values[0]
    likelihood = here.posterior.data.value(search.point)
    b = search.point[Kind.B_GROUP]
    assert search.value == pytest.approx(likelihood - 0.5 * ((b / 6.0) ** 2).sum(), rel=1e-12)
    assert all((shifts >= -0.5 - 1e-12).all() for _, shifts in tried)
    deep = with_floor(-50.0)
    free = gauss_newton.maximise(deep.posterior, deep.start).point[Kind.B_GROUP]
    assert free.min() < -0.5
    below = free < -1.5
    assert np.isclose(b[below], -0.5, atol=1e-6).all()


def test_b_factors_keep_the_floor_where_the_data_ask_for_less(tmp_path):
    truth = crystal(tmp_path, [0.6, 0.4], shift=(0.0, 1.5), b=0.05, name="truth.pdb")
    data = observe(truth, 1.5)
    model = crystal(tmp_path, [0.5, 0.5], shift=(0.0, 1.5), b=6.0)
    options = RefineOptions(parameters=("occupancy", "b_group"), b_prior=5.0, max_cycles=15)
    solution = refine(model, data, options)
    refined = solution.groups.refined
    b = model.b_iso().detach().numpy()[refined[solution.groups.index]]
    assert b.min() >= 0.5 - 1e-9
    assert b.max() == pytest.approx(0.5, abs=1e-3)


def test_b_shifts_find_the_true_ones(tmp_path):
    truth = crystal(tmp_path, [0.6, 0.4], shift=(0.0, 1.5), b=14.0, name="truth.pdb")
    data = observe(truth, 1.5)
    model = crystal(tmp_path, [0.5, 0.5], shift=(0.0, 1.5), b=9.0)
    options = RefineOptions(parameters=("occupancy", "b_group"), b_prior=3.0, max_cycles=15)
    solution = refine(model, data, options)
    refined = solution.groups.refined
    z = (solution.results.delta_b - 5.0)[refined] / solution.results.delta_b_su[refined]
    assert np.abs(z).max() < 3.5
    assert solution.results.delta_b_su[refined].max() < 1.5
    z = (solution.occupancy - truth.group_occupancies())[refined] / solution.su[refined]
    assert np.abs(z).max() < 3.5


def test_more_constraints_than_unknowns_leave_nothing_to_hold():
    assert gauss_newton.held_directions(np.eye(1), np.ones((1, 1))).shape == (1, 0)


def test_exact_sums_touches_members_of_sets_alone(demo):
    rough = np.clip(demo.start.x * (1 + 1e-6), 0, 1)
    exact = demo.posterior.sums.restored(rough)
    sums, total = demo.posterior.sums.equalities
    assert np.abs(sums @ exact - total).max() < 1e-15 * 10
    single = demo.posterior.sums.set_index < 0
    assert np.array_equal(exact[single], rough[single])
    assert not np.array_equal(exact, rough)
