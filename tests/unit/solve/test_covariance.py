"""Uncertainties against brute force, profile likelihood and scatter; evidence against refits."""

from dataclasses import replace

import numpy as np
import pytest

from crystals import crystal
from demo_data import load_demo, observe
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.occupancy.groups import Restraint
from multicopy_refinement.posterior import (
    Experiment,
    Kind,
    Point,
    Posterior,
    Space,
    occupancy_posterior,
)
from multicopy_refinement.posterior.occupancies import BShifts
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.simulate import simulate
from multicopy_refinement.solve import covariance as module
from multicopy_refinement.solve import gauss_newton
from multicopy_refinement.solve.covariance import covariance, misfit
from multicopy_refinement.solve.evidence import coincident_members, evidence
from multicopy_refinement.solve.quadratic import solve_step
from posteriors import forward, point, with_held_errors


def at_the_end(target: str, data: ReflectionData, **options) -> tuple[Posterior, Point]:
    """Return the demo's posterior after a refinement, and its very end."""
    model = load_demo("start.pdb")
    solution = refine(model, data, RefineOptions(target=target, uncertainty="none"))
    refined = np.flatnonzero(model.occupancy_groups.refined)
    posterior = occupancy_posterior(
        solution.experiment, group_basis(model, data.hkl, refined),
        model.occupancy_groups.set_index[refined], **options,
    )  # fmt: skip
    start = point(posterior, solution.occupancy[refined], np.zeros(len(refined)))
    if "b_shifts" in options:
        return posterior, start
    return posterior, gauss_newton.maximise(posterior, start, smallest_gain=1e-7).point


@pytest.fixture(scope="module")
def data() -> ReflectionData:
    return observe(load_demo("truth.pdb"), 2.0)


@pytest.fixture(scope="module")
def demo(data) -> tuple[Posterior, Point]:
    return at_the_end("ml", data)


# ---------------------------------------------------------------------- covariance


def test_members_of_a_pair_have_one_su_and_covariances_sum_to_nothing(demo):
    posterior, at = demo
    found = covariance(posterior, at)
    sums, _ = posterior.sums.equalities
    assert np.abs(sums @ found.matrix).max() < 1e-6 * np.diag(found.matrix).max()
    pairs = [members for members in posterior.sums.members if len(members) == 2]
    assert len(pairs) == 5
    for one, other in pairs:
        assert found.su[one] == pytest.approx(found.su[other], rel=1e-9)
        assert found.su_of(np.eye(at.space.size)[[one, other]].sum(axis=0)) < 1e-6
        assert 0 < found.su[one] < 0.02


def brute_force(posterior: Posterior, at: Point) -> np.ndarray:
    """Return the covariance from the inverse in independent unknowns, by differences.

    Unknowns are the occupancies that are independent, ln k, anisotropic B, k_sol, B_sol and
    C_sol.
    """
    n, set_index = at.space.size, posterior.sums.set_index
    last = [members[-1] for members in posterior.sums.members]
    independent = [g for g in range(n) if g not in last]
    tie = np.zeros((n, len(independent)))
    tie[independent, range(len(independent))] = 1.0
    for g in last:
        members = [i for i in independent if set_index[i] == set_index[g]]
        tie[g, [independent.index(i) for i in members]] = -1.0
    whole = posterior.with_nuisance(at)
    n_nuisance = whole.space.size - n
    assert n_nuisance == 1 + 3 + 3  # orthorhombic

    def f(x: np.ndarray) -> np.ndarray:
        moved = np.concatenate([at.x + tie @ x[:-n_nuisance], whole.x[n:] + x[-n_nuisance:]])
        return np.abs(forward(posterior).f_model(Point(whole.space, moved)))

    columns = []
    for i in range(len(independent) + n_nuisance):
        step = np.zeros(len(independent) + n_nuisance)
        step[i] = 1e-4
        columns.append((f(step) - f(-step)) / 2e-4)
    jacobian = np.array(columns)
    data = posterior.data
    weight = data.target.derivatives(f(np.zeros(len(columns)))).information * data.work
    h = (jacobian * weight) @ jacobian.T
    size = np.sqrt(np.diag(h))  # unknowns of very different sizes
    inverse = np.linalg.inv(h / np.outer(size, size)) / np.outer(size, size)
    return tie @ inverse[:-n_nuisance, :-n_nuisance] @ tie.T


@pytest.mark.parametrize("target", ["ml", "ls"])
def test_covariance_is_the_inverse_by_brute_force(target, data):
    posterior, at = at_the_end(target, data)
    expected = brute_force(posterior, at)
    found = covariance(posterior, at)
    assert found.unseen.shape[1] == 0
    assert np.abs(found.matrix - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(found.su, np.sqrt(np.diag(expected)), rtol=1e-4)
    random = np.random.default_rng(1)
    combination = random.standard_normal(at.space.size)
    su = np.sqrt(combination @ expected @ combination)
    assert found.su_of(combination) == pytest.approx(su, rel=1e-4)


def test_every_nuisance_that_is_marginalised_widens_the_su(demo):
    posterior, at = demo
    blocks = posterior.nuisance.space.blocks
    assert [block.kind for block in blocks] == [Kind.SCALE, Kind.SOLVENT]
    sus = []
    for n in range(len(blocks) + 1):
        space = Space(blocks[:n])
        fewer = replace(posterior, nuisance=space.point(posterior.nuisance.values))
        sus.append(covariance(fewer, at).su)
    assert (sus[1] >= sus[0] * (1 - 1e-9)).all()
    assert (sus[2] >= sus[1] * (1 - 1e-9)).all()
    assert (sus[2] > sus[0] * 1.001).any()


def test_factor_of_a_term_multiplies_its_variance_alone(demo):
    posterior, at = demo
    data = posterior.data
    four = replace(posterior, terms=(replace(data, variance_factor=4.0),))
    once = covariance(posterior, at).su
    np.testing.assert_allclose(covariance(four, at).su, 2 * once, rtol=1e-9)
    prior = OccupancyPrior.of([Restraint((0,), (1.0,), 0.5, 1e-5)], at.space.size)
    restrained = replace(four, terms=(*four.terms, prior))
    assert covariance(restrained, at).su[0] == pytest.approx(1e-5, rel=1e-3)


def test_least_squares_su_goes_with_the_reduced_chi_square(data):
    posterior, at = at_the_end("ls", data)
    term, unknowns = posterior.data, at.space.size - len(posterior.sums)
    chi = posterior.with_reduced_chi_square(at).data.variance_factor
    squares = term.target.f_obs.numpy() - np.abs(term.forward.f_model(at))
    squares = (squares**2 / term.target.variance.numpy())[term.work]
    assert chi == pytest.approx(squares.sum() / (term.work.sum() - unknowns), rel=1e-9)
    solution = refine(
        load_demo("start.pdb"), data, RefineOptions(target="ls", uncertainty="conditional")
    )
    plain = covariance(posterior, at).su
    refined = solution.groups.refined
    scaled = covariance(posterior.with_reduced_chi_square(at), at).su
    np.testing.assert_allclose(scaled, plain * np.sqrt(chi), rtol=0.01)
    # and what is not known of the solvent that groups displace, beside it
    wider = solution.su[refined] / scaled
    assert ((wider > 0.999) & (wider < 1.2)).all()


@pytest.mark.parametrize("target", ["ml", "ls"])
def test_b_shifts_widen_the_su_and_their_su_is_that_of_brute_force(demo, data, target):
    n = demo[1].space.size
    shifts = BShifts(np.full(n, -20.0), np.linspace(3, 8, n))
    posterior, at = at_the_end(target, data, b_shifts=shifts)
    if target == "ls":  # the prior counts as it is, whatever the fit
        posterior = posterior.with_reduced_chi_square(at)
    found = covariance(posterior, at)
    if target == "ml":
        assert (found.su >= covariance(*demo).su * (1 - 1e-3)).all()
    h = posterior.data.normal(posterior.with_nuisance(at)).information
    h = h / posterior.data.variance_factor
    h[range(n, 2 * n), range(n, 2 * n)] += shifts.prior_sigma**-2
    free = gauss_newton.null_space(posterior.sums.equalities[0], n)
    whole = np.zeros((len(h), len(h) - n + free.shape[1]))
    whole[:n, : free.shape[1]] = free
    whole[n:, free.shape[1] :] = np.eye(len(h) - n)
    reduced = whole.T @ h @ whole
    size = np.sqrt(np.diag(reduced))
    inverse = np.linalg.inv(reduced / np.outer(size, size)) / np.outer(size, size)
    matrix = whole @ inverse @ whole.T
    su = np.sqrt(np.diag(matrix))
    beside = found.others[Kind.B_GROUP]
    np.testing.assert_allclose(found.su, su[:n], rtol=1e-3)
    np.testing.assert_allclose(beside.su, su[n : 2 * n], rtol=1e-3)
    correlation = np.diag(matrix[:n, n : 2 * n]) / su[:n] / su[n : 2 * n]
    np.testing.assert_allclose(beside.correlation, correlation, atol=1e-3)
    assert (beside.su < shifts.prior_sigma * (1 + 1e-6)).all()


# ---------------------------------------------------------------------- profile likelihood


def profile(posterior: Posterior, at: Point, group: int, to: float) -> float:
    """Return the best log-likelihood with one occupancy held, scale and solvent free.

    Newton's steps on the Lagrangian: the sums and the held occupancy are equalities.
    """
    whole = posterior.with_nuisance(at)
    n, size = at.space.size, whole.space.size
    sums, total = posterior.sums.equalities
    equalities = np.pad(np.vstack([sums, np.eye(n)[group]]), ((0, 0), (0, size - n)))
    right = np.append(total, to)
    for _ in range(5):
        normal = posterior.data.normal(whole)
        scale = 1 / np.sqrt(np.diag(normal.information))
        m = len(right)
        rows = equalities * scale
        h = normal.information * scale * scale[:, None]
        system = np.block([[h, rows.T], [rows, np.zeros((m, m))]])
        wanted = np.append(normal.gradient * scale, right - equalities @ whole.x)
        step = np.linalg.solve(system, wanted)[:size] * scale
        whole = Point(whole.space, whole.x + step)
    assert np.abs(step[:n]).max() < 1e-6
    return posterior.data.value(whole)


def test_su_is_where_the_profile_likelihood_falls_by_one_half(demo):
    posterior, at = demo
    su = covariance(posterior, at).su
    assert np.isfinite(su).all()
    for group in range(at.space.size):
        # the peak of the profile: with the scale free it is not quite at the refined value
        low, here, high = (
            profile(posterior, at, group, at.x[group] + s * su[group]) for s in (-1, 0, 1)
        )
        curvature = (low + high) / 2 - here
        assert curvature == pytest.approx(-0.5, rel=0.1), group


# ---------------------------------------------------------------------- scatter


@pytest.mark.slow
def test_su_is_the_scatter_over_noise_realisations(monkeypatch):
    truth, start = load_demo("truth.pdb"), load_demo("start.pdb")
    refined = np.flatnonzero(start.occupancy_groups.refined)
    data, f_true = observe(truth, 2.4), simulate(truth, 2.4, seed=3).f_true
    # the basis does not depend on the amplitudes, and is most of the time
    basis = group_basis(start, data.hkl, refined)
    monkeypatch.setattr("multicopy_refinement.refinement.macrocycle.group_basis", lambda *_: basis)
    random = np.random.default_rng(11)
    occupancies, sus = [], []
    for _ in range(50):
        f_obs = np.abs(f_true + data.sigma * random.standard_normal(len(f_true)))
        free = random.uniform(size=len(f_true)) < 0.06
        noisy = replace(data, f_obs=f_obs, free=free)
        solution = refine(
            load_demo("start.pdb"), noisy, RefineOptions(decoys=0, uncertainty="conditional")
        )
        occupancies.append(solution.occupancy[refined])
        sus.append(solution.su[refined])
    mean_su = np.mean(sus, axis=0)
    ratio = np.std(occupancies, axis=0, ddof=1) / mean_su
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert ratio.min() > 0.7  # 50 draws know their own spread to 10%
    assert ratio.max() < 1.3
    error = np.mean(occupancies, axis=0) - truth.group_occupancies()[refined]
    # the solvent where groups touch is a model of its own: it may cost 0.015
    assert np.abs(error).max() < 0.015
    assert np.median(np.abs(error / mean_su)) < 0.6  # 4 su of a mean of 50


# ---------------------------------------------------------------------- evidence


def posterior_of(model: Model) -> tuple[Posterior, Point]:
    data = observe(model, 1.8)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    posterior = occupancy_posterior(
        Experiment(model, data), group_basis(model, data.hkl, refined),
        model.occupancy_groups.set_index[refined],
    )  # fmt: skip
    return posterior, point(posterior, model.group_occupancies()[refined])


def without(posterior: Posterior, at: Point, group: int) -> float:
    """Return the best log-likelihood of a refit without one group: held at 0 as an equality."""
    n = at.space.size
    sums = np.vstack([posterior.sums.equalities[0], np.eye(n)[group]])
    absent = at.x.copy()
    absent[group] = 0.0
    here = Point(at.space, posterior.sums.restored(absent))
    for _ in range(40):
        normal = posterior.normal(here)
        step = solve_step(normal.information, normal.gradient, sums, -here.x, 1 - here.x)
        while (
            posterior.value(Point(at.space, here.x + step)) < normal.value
            and np.abs(step).max() > 1e-9
        ):
            step = step / 2
        here = Point(at.space, here.x + step)
        gain = posterior.value(here) - normal.value
        if gain < 0.01:
            break
    assert gain < 0.01
    return posterior.value(here)


def test_evidence_is_what_a_refit_without_the_group_loses(demo):
    posterior, at = demo
    posterior = with_held_errors(posterior)
    found = evidence(posterior, at, covariance(posterior, at)).gain
    best = posterior.value(at)
    for group in range(at.space.size):
        lost = best - without(posterior, at, group)
        # here scale and solvent move as well, by the quadratic model; the refit holds them
        assert found[group] == pytest.approx(lost, rel=0.05), group


def test_evidence_of_one_of_a_coincident_pair_is_nothing(tmp_path):
    posterior, at = posterior_of(crystal(tmp_path, [0.3, 0.7], shift=(0.0, 0.0), b=15.0))
    found = evidence(posterior, at, covariance(posterior, at)).gain
    assert np.abs(found).max() < 1e-3


def test_evidence_of_coincident_members_beside_others(tmp_path):
    """One of A and B can go, since the other takes over; none of them is needed alone."""
    posterior, at = posterior_of(crystal(tmp_path, [0.1, 0.2, 0.7], shift=(0.0, 0.0, 1.2), b=15.0))
    found = evidence(posterior, at, covariance(posterior, at)).gain
    assert np.abs(found[:2]).max() < 0.1
    assert found[2] > 100


# ---------------------------------------------------------------------- what is not seen


def test_coincident_pair_is_unseen_and_its_sum_is_not(tmp_path):
    posterior, at = posterior_of(crystal(tmp_path, [0.1, 0.2, 0.7], shift=(0.0, 0.0, 1.2), b=15.0))
    found = covariance(posterior, at)
    assert found.unseen.shape == (3, 1)
    assert np.isnan(found.su).tolist() == [True, True, False]
    assert np.isnan(found.su_of(np.array([1.0, -1.0, 0.0])))
    assert found.su_of(np.array([1.0, 1.0, 0.0])) == pytest.approx(found.su[2], rel=1e-6)
    assert coincident_members(posterior.sums, found) == [[[0, 1], [2]]]


def test_nearly_coincident_members_have_a_large_su_or_none(tmp_path):
    """The su grows without a jump as two conformers meet, and ends in none."""
    sus = []
    for gap in (1.0, 0.3, 0.1, 0.001):
        posterior, at = posterior_of(crystal(tmp_path, [0.4, 0.6], shift=(0.0, gap), b=15.0))
        sus.append(covariance(posterior, at).su[0])
    assert sus[0] < sus[1] < sus[2]
    assert np.isnan(sus[3])


# ---------------------------------------------------------------------- misfit


def test_a_part_of_the_reflections_tells_the_misfit_of_many(demo, monkeypatch):
    posterior, at = demo
    found = covariance(posterior, at)
    whole = misfit(posterior, at, found)
    monkeypatch.setattr(module, "MANY", 1)
    assert misfit(posterior, at, found) == pytest.approx(whole, rel=1e-4)  # they are few enough
    n_work = int(posterior.data.work.sum())
    monkeypatch.setattr(module, "_SCORES", n_work // 2)
    part = misfit(posterior, at, found)
    assert (part != whole).any()
    # the mean of m squares of scores, drawn from twice as many without putting back
    assert np.abs(part / whole - 1).max() < 4 * np.sqrt(8 / n_work) / 2
    assert abs((part / whole).mean() - 1) < np.sqrt(8 / n_work)
