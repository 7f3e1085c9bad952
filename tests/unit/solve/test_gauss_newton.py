"""Normal equations against autograd and differences; Fisher scoring: rising, exact, in bounds."""

from dataclasses import dataclass, replace
from importlib.resources import files

import numpy as np
import pytest
import torch

from helpers import atom_line
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.problem import OccupancyProblem, occupancy_problem
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.scattering import structure_factors
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.splat import plan_splat, splat_structure_factors
from multicopy_refinement.simulate import simulate
from multicopy_refinement.solve import gauss_newton, lbfgs
from multicopy_refinement.solve.gauss_newton import BShifts

DEMO = files("multicopy_refinement") / "demo"
CRYST1 = "CRYST1   15.000   16.000   17.000  90.00  90.00  90.00 P 1"


def load_demo(name: str) -> Model:
    return Model(dtype_float=torch.float64).load(str(DEMO / name))


def observe(truth: Model, d_min: float, *, seed: int = 3, noise: float = 0.03) -> ReflectionData:
    """Return simulated data of a model."""
    s = simulate(truth, d_min, seed=seed, noise=noise)
    return ReflectionData(
        s.hkl, s.f_obs, s.sigma, s.flags == 0, s.flags, truth.cell, truth.spacegroup,
        DataLabels(("F", "SIGF"), True, None, None, ""), s.hkl[:0], np.zeros(0, dtype=np.int64),
    )  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A problem with all that it was made from."""

    experiment: Experiment
    basis: object
    refined: np.ndarray
    problem: OccupancyProblem
    start: np.ndarray


def setting(model: Model, data: ReflectionData, *, target: str = "ml") -> Setting:
    """Return the problem of a model as it stands, F_calc of the start by direct summation."""
    exact = structure_factors(model, data.hkl, method="direct").detach()
    experiment = Experiment(model, data, f_calc=exact, target=target)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    basis = group_basis(model, data.hkl, refined)
    problem = occupancy_problem(experiment, basis, model.occupancy_groups.set_index[refined])
    return Setting(experiment, basis, refined, problem, model.group_occupancies()[refined])


@pytest.fixture(scope="module")
def data() -> ReflectionData:
    return observe(load_demo("truth.pdb"), 2.0)


@pytest.fixture(scope="module", params=["ml", "ls"])
def demo(request, data) -> Setting:
    return setting(load_demo("start.pdb"), data, target=request.param)


def corner(problem: OccupancyProblem, *, other: bool = False) -> np.ndarray:
    """Return a start with the first (or last) member of each set at 1, single groups at 0 or 1."""
    start = np.zeros(problem.n_groups)
    for number in range(problem.set_index.max() + 1):
        start[np.flatnonzero(problem.set_index == number)[-1 if other else 0]] = 1.0
    start[problem.set_index < 0] = 0.0 if other else 1.0
    return start


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest error relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# ---------------------------------------------------------------------- normal equations


def test_gradient_is_that_of_autograd(demo):
    occupancy = torch.tensor(demo.start, requires_grad=True)
    value = demo.problem.log_likelihood(occupancy)
    (expected,) = torch.autograd.grad(value, occupancy)
    found = demo.problem.normal_equations(demo.start)
    assert found.value == pytest.approx(value.item(), rel=1e-12)
    assert demo.problem.value(demo.start) == pytest.approx(value.item(), rel=1e-12)
    assert worst(found.gradient, expected.numpy()) < 1e-10


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
    found = demo.problem.normal_equations(demo.start).gradient
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_gradient_is_that_of_the_whole_model_by_direct_summation(demo):
    """With the held atoms by direct summation, too: in the basis they come from a grid."""
    model, hkl = demo.experiment.model, demo.experiment.data.hkl
    exact = structure_factors(model, hkl, method="direct").detach().numpy()
    basis = demo.basis
    fixed = exact - (basis.f_calc(demo.start) - basis.fixed)
    problem = occupancy_problem(
        demo.experiment, replace(basis, fixed=fixed), demo.problem.set_index
    )
    expected = whole_model_gradient(demo, "direct")
    found = problem.normal_equations(demo.start).gradient
    assert np.abs(found / expected - 1).max() < 1e-4
    from_grid = demo.problem.normal_equations(demo.start).gradient
    assert np.linalg.norm(from_grid - expected) < 1e-3 * np.linalg.norm(expected)


def amplitudes(problem: OccupancyProblem, x: np.ndarray, *, shifts: bool) -> np.ndarray:
    """Return |F| for occupancies, B shifts if any, ln k and overall B."""
    n = problem.n_groups
    b = x[n : 2 * n] if shifts else None
    log_k, overall_b = x[-2:]
    scale = np.exp(log_k - overall_b * problem.s_squared / 4)
    return scale * np.abs(problem.f_model(x[:n], b))


def difference_jacobian(problem: OccupancyProblem, x: np.ndarray, *, shifts: bool) -> np.ndarray:
    """Return dF/dx by central differences, ``[n_parameters, n]``."""
    columns = []
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = 1e-5 if i < problem.n_groups else 1e-4
        up, down = (amplitudes(problem, x + s * step, shifts=shifts) for s in (1, -1))
        columns.append((up - down) / (2 * step[i]))
    return np.array(columns)


@pytest.mark.parametrize("shifts", [False, True])
def test_every_column_is_that_of_differences(demo, shifts):
    """Occupancies, B shifts, ln k and overall B: J'WJ and J' slope over the work set alone."""
    problem, n = demo.problem, demo.problem.n_groups
    b = np.linspace(-4, 6, n) if shifts else None
    x = np.concatenate([demo.start, b if shifts else [], [0.0, 0.0]])
    jacobian = difference_jacobian(problem, x, shifts=shifts)
    of_f = problem.target.derivatives(amplitudes(problem, x, shifts=shifts))
    found = problem.normal_equations(demo.start, b, scale=True)
    work = problem.work
    gradient = jacobian[:, work] @ of_f.slope[work]
    information = (jacobian[:, work] * of_f.information[work]) @ jacobian[:, work].T
    # each parameter has a scale of its own
    size = np.sqrt(np.diag(information))
    assert np.abs(found.gradient - gradient).max() / np.abs(gradient).max() < 1e-4
    assert np.abs((found.gradient - gradient) / size).max() < 1e-4 * np.abs(gradient / size).max()
    assert np.abs((found.information - information) / np.outer(size, size)).max() < 1e-4
    np.testing.assert_allclose(np.diag(found.information), np.diag(information), rtol=1e-4)
    assert found.information.shape == (len(x), len(x))


def test_blocks_do_not_matter(demo):
    whole = demo.problem.normal_equations(demo.start, scale=True)
    in_blocks = replace(demo.problem, columns=replace(demo.problem.columns, block_size=97))
    parts = in_blocks.normal_equations(demo.start, scale=True)
    assert worst(parts.gradient, whole.gradient) < 1e-12
    assert worst(parts.information, whole.information) < 1e-12


def test_free_reflections_count_for_nothing(demo):
    problem = demo.problem
    held = np.where(problem.work, problem.held, 3 * problem.held + 100)
    other = replace(problem, held=held).normal_equations(demo.start, scale=True)
    same = problem.normal_equations(demo.start, scale=True)
    assert other.value == pytest.approx(same.value, rel=1e-13)
    assert worst(other.information, same.information) < 1e-13
    assert not problem.work.all()


# ---------------------------------------------------------------------- the search


@pytest.mark.parametrize("other", [False, True], ids=["first at 1", "last at 1"])
def test_search_rises_from_a_corner_with_exact_sums_and_within_bounds(demo, monkeypatch, other):
    tried, accepted = [], []
    value, equations = OccupancyProblem.value, OccupancyProblem.normal_equations

    def watched_value(self, occupancy, b_shift=None):
        tried.append(occupancy)
        return value(self, occupancy, b_shift)

    def watched_equations(self, occupancy, b_shift=None, **options):
        found = equations(self, occupancy, b_shift, **options)
        accepted.append(found.value)
        return found

    monkeypatch.setattr(OccupancyProblem, "value", watched_value)
    monkeypatch.setattr(OccupancyProblem, "normal_equations", watched_equations)
    start = corner(demo.problem, other=other)
    search = gauss_newton.maximise(demo.problem, start)
    assert search.converged
    assert len(accepted) >= 3
    assert (np.diff(accepted) > 0).all()
    assert search.point.objective == pytest.approx(accepted[-1], rel=1e-12)
    assert np.array_equal(tried[0], start)
    sums, total = demo.problem.constraints
    assert len(tried) >= len(accepted)
    for occupancy in tried:
        assert np.abs(sums @ occupancy - total).max() < 1e-12
        assert occupancy.min() >= 0
        assert occupancy.max() <= 1


@pytest.mark.parametrize("other", [False, True], ids=["first at 1", "last at 1"])
def test_search_ends_as_high_as_a_long_lbfgs(demo, other):
    start = corner(demo.problem, other=other)
    search = gauss_newton.maximise(demo.problem, start)
    _, best = lbfgs.maximise(demo.problem, start, max_iterations=300)
    assert search.point.objective > best - 0.05
    assert search.point.objective > demo.problem.value(start) + 100


def test_a_start_at_the_end_is_left_alone(demo):
    once = gauss_newton.maximise(demo.problem, demo.start, smallest_gain=1e-6)
    again = gauss_newton.maximise(demo.problem, once.point.occupancy)
    assert again.steps == 0
    assert again.converged
    assert np.array_equal(again.point.occupancy, once.point.occupancy)


def test_running_out_of_steps_is_told(demo):
    search = gauss_newton.maximise(demo.problem, corner(demo.problem), max_steps=1)
    assert not search.converged
    assert search.steps == 1


# ---------------------------------------------------------------------- coincident conformers


def crystal(tmp_path, occupancies, *, shift=(0.0, 0.0, 0.0, 0.0), b=12.0, name="m.pdb") -> Model:
    """Return 40 whole waters and one serine of conformers displaced along x by ``shift``."""
    random = np.random.default_rng(5)
    lines = [
        atom_line("O", "HOH", i + 1, 1.0, chain="W", xyz=random.uniform(0, 15, 3), record="HETATM")
        for i in range(40)
    ]
    for letter, occupancy, x in zip("ABCD", occupancies, shift, strict=False):
        lines += [
            atom_line(
                atom, "SER", 1, occupancy, altloc=letter, b_iso=b, xyz=(4 + x, 5 + 1.4 * i, 6.0)
            )
            for i, atom in enumerate(["N", "CA", "CB", "OG"])
        ]
    path = tmp_path / name
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    return Model(dtype_float=torch.float64).load(path)


def test_coincident_pair_keeps_its_start(tmp_path):
    truth = crystal(tmp_path, [0.3, 0.7])
    here = setting(truth, observe(truth, 1.8))
    start = np.array([0.62, 0.38])
    search = gauss_newton.maximise(here.problem, start)
    np.testing.assert_allclose(search.point.occupancy, start, atol=1e-12)
    assert search.converged


def test_held_direction_of_coincident_members_is_their_difference(tmp_path):
    truth = crystal(tmp_path, [0.1, 0.2, 0.3, 0.4], shift=(0.0, 0.0, 1.2, 1.2))
    problem = setting(truth, observe(truth, 1.8)).problem
    information = problem.normal_equations(np.full(4, 0.25)).information
    held = gauss_newton.held_directions(information, problem.constraints[0])
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
    problem = setting(truth, observe(truth, 1.8)).problem
    found = gauss_newton.maximise(problem, np.array(start)).point.occupancy
    assert found[:2].sum() == pytest.approx(0.3, abs=0.03)
    if start[0] < 1 and start[3] < 1:  # what the data do not see stays
        assert found[0] - found[1] == pytest.approx(start[0] - start[1], abs=1e-3)
        assert found[2] - found[3] == pytest.approx(start[2] - start[3], abs=1e-3)


# ---------------------------------------------------------------------- B shifts


def test_b_shifts_stay_above_their_floor_and_the_objective_rises(demo, monkeypatch):
    problem, n = demo.problem, demo.problem.n_groups
    lowest = np.full(n, -0.5)
    shifts = BShifts(np.zeros(n), lowest, np.full(n, 6.0))
    tried = []
    value = OccupancyProblem.value

    def watched(self, occupancy, b_shift=None):
        found = value(self, occupancy, b_shift)
        tried.append((found - 0.5 * ((b_shift / 6.0) ** 2).sum(), b_shift))
        return found

    monkeypatch.setattr(OccupancyProblem, "value", watched)
    search = gauss_newton.maximise(problem, demo.start, shifts)
    objectives = [objective for objective, _ in tried]
    assert search.point.objective == pytest.approx(max(objectives), rel=1e-12)
    assert search.point.objective > objectives[0]
    assert all((b >= lowest - 1e-12).all() for _, b in tried)
    free = gauss_newton.maximise(problem, demo.start, replace(shifts, lowest=np.full(n, -50.0)))
    assert free.point.b_shift.min() < -0.5
    below = free.point.b_shift < -1.5
    assert np.isclose(search.point.b_shift[below], -0.5, atol=1e-6).all()


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
    rough = np.clip(demo.start * (1 + 1e-6), 0, 1)
    exact = demo.problem.sums.restored(rough)
    sums, total = demo.problem.constraints
    assert np.abs(sums @ exact - total).max() < 1e-15 * 10
    single = demo.problem.set_index < 0
    assert np.array_equal(exact[single], rough[single])
    assert not np.array_equal(exact, rough)
