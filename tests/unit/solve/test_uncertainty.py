"""Uncertainties against brute force, profile likelihood and scatter; evidence against refits."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch

from helpers import atom_line
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.problem import OccupancyProblem, occupancy_problem
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.simulate import simulate
from multicopy_refinement.solve import gauss_newton
from multicopy_refinement.solve.gauss_newton import BShifts
from multicopy_refinement.solve.quadratic import solve_step
from multicopy_refinement.solve.uncertainty import (
    coincident_members,
    evidence,
    uncertainty,
)

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


def at_the_end(target: str, data: ReflectionData) -> tuple[OccupancyProblem, np.ndarray]:
    """Return the demo's problem after a refinement, and its very end."""
    model = load_demo("start.pdb")
    solution = refine(model, data, RefineOptions(target=target, uncertainty="none"))
    refined = np.flatnonzero(model.occupancy_groups.refined)
    problem = occupancy_problem(
        solution.experiment, group_basis(model, data.hkl, refined),
        model.occupancy_groups.set_index[refined],
    )  # fmt: skip
    end = gauss_newton.maximise(problem, solution.occupancy[refined], smallest_gain=1e-7)
    return problem, end.point.occupancy


@pytest.fixture(scope="module")
def data() -> ReflectionData:
    return observe(load_demo("truth.pdb"), 2.0)


@pytest.fixture(scope="module")
def demo(data) -> tuple[OccupancyProblem, np.ndarray]:
    return at_the_end("ml", data)


# ---------------------------------------------------------------------- covariance


def test_members_of_a_pair_have_one_su_and_covariances_sum_to_nothing(demo):
    problem, occupancy = demo
    found = uncertainty(problem, occupancy)
    sums, _ = problem.constraints
    assert np.abs(sums @ found.covariance).max() < 1e-6 * np.diag(found.covariance).max()
    pairs = [np.flatnonzero(problem.set_index == s) for s in range(len(sums))]
    pairs = [pair for pair in pairs if len(pair) == 2]
    assert len(pairs) == 5
    for one, other in pairs:
        assert found.su[one] == pytest.approx(found.su[other], rel=1e-9)
        assert found.su_of(np.eye(len(occupancy))[[one, other]].sum(axis=0)) < 1e-6
        assert 0 < found.su[one] < 0.02


def brute_force(problem: OccupancyProblem, occupancy: np.ndarray) -> np.ndarray:
    """Return the covariance from the inverse in independent unknowns, by differences."""
    n = problem.n_groups
    last = [np.flatnonzero(problem.set_index == s)[-1] for s in range(problem.set_index.max() + 1)]
    independent = [g for g in range(n) if g not in last]
    tie = np.zeros((n, len(independent)))
    tie[independent, range(len(independent))] = 1.0
    for g in last:
        members = [i for i in independent if problem.set_index[i] == problem.set_index[g]]
        tie[g, [independent.index(i) for i in members]] = -1.0

    def f(x: np.ndarray) -> np.ndarray:
        log_k, b = x[-2:]
        scale = np.exp(log_k - b * problem.s_squared / 4)
        return scale * np.abs(problem.f_model(occupancy + tie @ x[:-2]))

    columns = []
    for i in range(len(independent) + 2):
        step = np.zeros(len(independent) + 2)
        step[i] = 1e-4
        columns.append((f(step) - f(-step)) / 2e-4)
    jacobian = np.array(columns)
    weight = problem.target.derivatives(f(np.zeros(len(columns)))).information * problem.work
    inverse = np.linalg.inv((jacobian * weight) @ jacobian.T)
    return tie @ inverse[:-2, :-2] @ tie.T


@pytest.mark.parametrize("target", ["ml", "ls"])
def test_covariance_is_the_inverse_by_brute_force(target, data):
    problem, occupancy = at_the_end(target, data)
    expected = brute_force(problem, occupancy)
    found = uncertainty(problem, occupancy)
    assert found.unseen.shape[1] == 0
    assert np.abs(found.covariance - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(found.su, np.sqrt(np.diag(expected)), rtol=1e-4)
    random = np.random.default_rng(1)
    combination = random.standard_normal(len(occupancy))
    su = np.sqrt(combination @ expected @ combination)
    assert found.su_of(combination) == pytest.approx(su, rel=1e-4)


def test_factor_multiplies_the_variance(demo):
    problem, occupancy = demo
    once, four = uncertainty(problem, occupancy), uncertainty(problem, occupancy, factor=4.0)
    np.testing.assert_allclose(four.su, 2 * once.su, rtol=1e-12)


def test_least_squares_su_goes_with_the_reduced_chi_square(data):
    problem, occupancy = at_the_end("ls", data)
    chi = problem.reduced_chi_square(occupancy)
    squares = problem.target.f_obs.numpy() - np.abs(problem.f_model(occupancy))
    squares = (squares**2 / problem.target.variance.numpy())[problem.work]
    unknowns = problem.n_groups - problem.set_index.max() - 1
    assert chi == pytest.approx(squares.sum() / (problem.work.sum() - unknowns), rel=1e-9)
    solution = refine(load_demo("start.pdb"), data, RefineOptions(target="ls"))
    plain = uncertainty(problem, occupancy).su
    refined = solution.groups.refined
    np.testing.assert_allclose(solution.su[refined], plain * np.sqrt(chi), rtol=0.01)


def test_b_shifts_widen_the_su_and_their_su_is_that_of_brute_force(demo):
    problem, occupancy = demo
    n = problem.n_groups
    b = np.zeros(n)
    priors = BShifts(b, np.full(n, -20.0), np.linspace(3, 8, n))
    found = uncertainty(problem, occupancy, b, priors)
    assert (found.su >= uncertainty(problem, occupancy).su * (1 - 1e-6)).all()
    h = problem.normal_equations(occupancy, b, scale=True).information
    h[range(n, 2 * n), range(n, 2 * n)] += priors.prior_sigma**-2
    free = gauss_newton.null_space(problem.constraints[0], n)
    whole = np.zeros((len(h), len(h) - n + free.shape[1]))
    whole[:n, : free.shape[1]] = free
    whole[n:, free.shape[1] :] = np.eye(len(h) - n)
    covariance = whole @ np.linalg.inv(whole.T @ h @ whole) @ whole.T
    su = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(found.su, su[:n], rtol=1e-3)
    np.testing.assert_allclose(found.b_su, su[n : 2 * n], rtol=1e-3)
    correlation = np.diag(covariance[:n, n : 2 * n]) / su[:n] / su[n : 2 * n]
    np.testing.assert_allclose(found.b_correlation, correlation, atol=1e-3)
    assert (found.b_su < priors.prior_sigma).all()


# ---------------------------------------------------------------------- profile likelihood


def profile(problem: OccupancyProblem, occupancy: np.ndarray, group: int, to: float) -> float:
    """Return the best log-likelihood with one occupancy held, scale and overall B free.

    Newton's steps on the Lagrangian: the sums and the held occupancy are equalities.
    """
    n = problem.n_groups
    sums, total = problem.constraints
    equalities = np.pad(np.vstack([sums, np.eye(n)[group]]), ((0, 0), (0, 2)))
    right = np.append(total, to)
    q = occupancy.copy()
    for _ in range(5):
        at = problem.normal_equations(q, scale=True)
        m = len(right)
        system = np.block([[at.information, equalities.T], [equalities, np.zeros((m, m))]])
        step = np.linalg.solve(system, np.append(at.gradient, right - equalities[:, :n] @ q))
        q = q + step[:n]
        scale = np.exp(step[n] - step[n + 1] * problem.s_squared / 4)
        problem = replace(problem, overall=problem.overall * scale)
    assert np.abs(step[:n]).max() < 1e-6
    return problem.value(q)


def test_su_is_where_the_profile_likelihood_falls_by_one_half(demo):
    problem, occupancy = demo
    su = uncertainty(problem, occupancy).su
    assert np.isfinite(su).all()
    for group in range(problem.n_groups):
        # the peak of the profile: with the scale free it is not quite at the refined value
        low, here, high = (
            profile(problem, occupancy, group, occupancy[group] + s * su[group]) for s in (-1, 0, 1)
        )
        curvature = (low + high) / 2 - here
        assert curvature == pytest.approx(-0.5, rel=0.1), group


# ---------------------------------------------------------------------- scatter


def test_su_is_the_scatter_over_noise_realisations(monkeypatch):
    truth, start = load_demo("truth.pdb"), load_demo("start.pdb")
    refined = np.flatnonzero(start.occupancy_groups.refined)
    data, f_true = observe(truth, 2.0), simulate(truth, 2.0, seed=3).f_true
    # the basis does not depend on the amplitudes, and is most of the time
    basis = group_basis(start, data.hkl, refined)
    monkeypatch.setattr("multicopy_refinement.refinement.macrocycle.group_basis", lambda *_: basis)
    random = np.random.default_rng(11)
    occupancies, sus = [], []
    for _ in range(50):
        f_obs = np.abs(f_true + data.sigma * random.standard_normal(len(f_true)))
        free = random.uniform(size=len(f_true)) < 0.06
        solution = refine(load_demo("start.pdb"), replace(data, f_obs=f_obs, free=free))
        occupancies.append(solution.occupancy[refined])
        sus.append(solution.su[refined])
    mean_su = np.mean(sus, axis=0)
    ratio = np.std(occupancies, axis=0, ddof=1) / mean_su
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert ratio.min() > 0.7  # 50 draws know their own spread to 10%
    assert ratio.max() < 1.3
    error = np.mean(occupancies, axis=0) - truth.group_occupancies()[refined]
    assert np.abs(error / mean_su).max() < 0.6  # 4 su of a mean of 50


# ---------------------------------------------------------------------- evidence


def crystal(tmp_path, occupancies, shift) -> Model:
    """Return 40 whole waters and one serine of conformers displaced along x by ``shift``."""
    random = np.random.default_rng(5)
    lines = [
        atom_line("O", "HOH", i + 1, 1.0, chain="W", xyz=random.uniform(0, 15, 3), record="HETATM")
        for i in range(40)
    ]
    for letter, occupancy, x in zip("ABCD", occupancies, shift, strict=False):
        lines += [
            atom_line(atom, "SER", 1, occupancy, altloc=letter, xyz=(4 + x, 5 + 1.4 * i, 6.0))
            for i, atom in enumerate(["N", "CA", "CB", "OG"])
        ]
    path = tmp_path / "model.pdb"
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    return Model(dtype_float=torch.float64).load(path)


def problem_of(model: Model) -> tuple[OccupancyProblem, np.ndarray]:
    data = observe(model, 1.8)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    problem = occupancy_problem(
        Experiment(model, data), group_basis(model, data.hkl, refined),
        model.occupancy_groups.set_index[refined],
    )  # fmt: skip
    return problem, model.group_occupancies()[refined]


def without(problem: OccupancyProblem, occupancy: np.ndarray, group: int) -> float:
    """Return the best log-likelihood of a refit without one group: held at 0 as an equality."""
    n = problem.n_groups
    sums = np.vstack([problem.constraints[0], np.eye(n)[group]])
    absent = occupancy.copy()
    absent[group] = 0.0
    q = problem.sums.restored(absent)
    for _ in range(40):
        at = problem.normal_equations(q)
        step = solve_step(at.information, at.gradient, sums, -q, 1 - q)
        while problem.value(q + step) < at.value and np.abs(step).max() > 1e-9:
            step = step / 2
        q = q + step
        gain = problem.value(q) - at.value
        if gain < 0.01:
            break
    assert gain < 0.01
    return problem.value(q)


def test_evidence_is_what_a_refit_without_the_group_loses(demo):
    problem, occupancy = demo
    found = evidence(problem, occupancy, None, uncertainty(problem, occupancy).information)
    best = problem.value(occupancy)
    for group in range(problem.n_groups):
        lost = best - without(problem, occupancy, group)
        assert found[group] == pytest.approx(lost, rel=0.05), group
        assert found[group] >= lost * (1 - 1e-6)  # all but the set is held


def test_evidence_of_one_of_a_coincident_pair_is_nothing(tmp_path):
    problem, occupancy = problem_of(crystal(tmp_path, [0.3, 0.7], (0.0, 0.0)))
    found = evidence(problem, occupancy, None, uncertainty(problem, occupancy).information)
    assert np.abs(found).max() < 1e-3


def test_evidence_of_coincident_members_beside_others(tmp_path):
    """One of A and B can go, since the other takes over; none of them is needed alone."""
    problem, occupancy = problem_of(crystal(tmp_path, [0.1, 0.2, 0.7], (0.0, 0.0, 1.2)))
    found = evidence(problem, occupancy, None, uncertainty(problem, occupancy).information)
    assert np.abs(found[:2]).max() < 0.1
    assert found[2] > 100


# ---------------------------------------------------------------------- what is not seen


def test_coincident_pair_is_unseen_and_its_sum_is_not(tmp_path):
    problem, occupancy = problem_of(crystal(tmp_path, [0.1, 0.2, 0.7], (0.0, 0.0, 1.2)))
    found = uncertainty(problem, occupancy)
    assert found.unseen.shape == (3, 1)
    assert np.isnan(found.su).tolist() == [True, True, False]
    assert np.isnan(found.su_of(np.array([1.0, -1.0, 0.0])))
    assert found.su_of(np.array([1.0, 1.0, 0.0])) == pytest.approx(found.su[2], rel=1e-6)
    assert coincident_members(problem, found) == [[[0, 1], [2]]]


def test_nearly_coincident_members_have_a_large_su_or_none(tmp_path):
    """The su grows without a jump as two conformers meet, and ends in none."""
    sus = []
    for gap in (1.0, 0.3, 0.1, 0.001):
        problem, occupancy = problem_of(crystal(tmp_path, [0.4, 0.6], (0.0, gap)))
        sus.append(uncertainty(problem, occupancy).su[0])
    assert sus[0] < sus[1] < sus[2]
    assert np.isnan(sus[3])
