"""Sums of occupancies: complete, at most a total, and equal to a parent group's."""

import numpy as np
import pytest

from demo_data import simulate_demo
from multicopy_refinement import read_reflections
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior import Experiment, Kind, Point, occupancy_posterior
from multicopy_refinement.posterior.forward import GroupForward
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve import gauss_newton, lbfgs
from multicopy_refinement.solve.covariance import covariance
from multicopy_refinement.solve.evidence import evidence
from posteriors import point, with_held_solvent, with_sums


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """The demo's groups without any sum, and the truth."""
    path = tmp_path_factory.mktemp("sums") / "data.mtz"
    truth = simulate_demo(path, 2.0, seed=2)
    refined = np.flatnonzero(truth.occupancy_groups.refined)
    data = read_reflections(path)
    basis = group_basis(truth, data.hkl, refined)
    free = SumConstraints.complete_sets(np.full(len(refined), -1))
    experiment = Experiment(truth, data)
    return occupancy_posterior(experiment, basis, free), truth.group_occupancies()[refined]


def end(posterior, start) -> Point:
    """Return where a search from some occupancies ends."""
    return gauss_newton.maximise(posterior, point(posterior, start)).point


def watching(patch, look):
    """Let `look` see the occupancies of every F_model that is computed."""
    original = GroupForward.f_model

    def watched(self, at):
        look(at[Kind.OCCUPANCY])
        return original(self, at)

    patch.setattr(GroupForward, "f_model", watched)


def one_set(n: int, members: list[int], total: float, *, complete: bool, parent: int = -1):
    index = np.full(n, -1)
    index[members] = 0
    return SumConstraints(index, np.array([total]), np.array([complete]), np.array([parent]))


def test_an_upper_limit_that_is_not_reached_changes_nothing(problem):
    plain, truth = problem
    members = [3, 4]  # 0.55 and 0.45 in truth
    n = plain.space.size
    limited = with_sums(plain, one_set(n, members, 1.3, complete=False))
    free, found = end(plain, np.full(n, 0.3)).x, end(limited, np.full(n, 0.3)).x
    assert np.allclose(found, free, atol=1e-5)
    assert np.abs(found - truth).max() < 0.05


def test_an_upper_limit_holds_at_every_step(problem, monkeypatch):
    plain, _ = problem
    members = [3, 4]
    n, sums = plain.space.size, []
    limited = with_sums(plain, one_set(n, members, 0.8, complete=False))
    watching(monkeypatch, lambda occupancy: sums.append(occupancy[members].sum()))
    found = end(limited, np.full(n, 0.3))
    assert found.x[members].sum() == pytest.approx(0.8, abs=1e-6)
    assert max(sums) <= 0.8 + 1e-9


def test_nested_states_sum_to_their_parent(problem, monkeypatch):
    """Two groups that sum to a third, which itself is a member of a complete set."""
    plain, truth = problem
    n = plain.space.size
    index = np.full(n, -1)
    index[[5, 6]] = 0  # 0.82 + 0.18 = 1
    index[[7, 8]] = 1  # must sum to group 5
    sums = SumConstraints(index, np.array([1.0, 0.0]), np.ones(2, dtype=bool), np.array([-1, 5]))
    nested = with_sums(plain, sums)
    start = sums.restored(np.full(n, 0.5))
    assert start[[7, 8]].sum() == pytest.approx(start[5])
    worst = []
    watching(
        monkeypatch,
        lambda q: worst.extend([abs(q[[5, 6]].sum() - 1), abs(q[[7, 8]].sum() - q[5])]),
    )
    found = end(nested, start)
    assert max(worst) < 1e-12
    # the truth of 7 and 8 sums to 1, of 5 is 0.82: the parent is drawn up by its members
    assert truth[5] < found.x[5] < 1
    known = covariance(nested, found)
    assert known.su[5] == pytest.approx(known.su[6], rel=1e-6)
    gains = evidence(nested, found, known).gain
    assert gains[5] > gains[7] > 0  # without the parent its members go, too


def test_evidence_takes_what_is_nested_along(problem):
    """Without one member of a complete set, those nested in the other follow it."""
    plain, _ = problem
    n = plain.space.size
    index = np.full(n, -1)
    index[[5, 6]], index[[7, 8]] = 0, 1
    sums = SumConstraints(index, np.array([1.0, 0.0]), np.ones(2, dtype=bool), np.array([-1, 5]))
    nested = with_sums(plain, sums)
    found = end(nested, sums.restored(np.full(n, 0.5)))
    known = covariance(nested, found)
    seen = []
    original = GroupForward.change

    def watched(self, at, members, occupancy):
        after = found.x.copy()
        after[members] += occupancy
        seen.append(np.abs(sums.excess(after)).max())
        return original(self, at, members, occupancy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupForward, "change", watched)
        evidence(nested, found, known)
    assert len(seen) == n
    assert sorted(seen)[n - 3] < 1e-9  # all but the members of the nested set themselves


def test_restored_keeps_ratios_and_order_of_nesting():
    index = np.array([0, 0, 1, 1, -1])
    sums = SumConstraints(index, np.array([1.0, 0.0]), np.array([True, True]), np.array([-1, 1]))
    found = sums.restored(np.array([0.2, 0.6, 0.1, 0.3, 0.4]))
    assert np.allclose(found, [0.25, 0.75, 0.1875, 0.5625, 0.4])
    assert np.allclose(sums.equalities[0] @ found, sums.equalities[1])


def test_restored_lowers_what_exceeds_a_limit_only():
    sums = one_set(3, [0, 1], 0.5, complete=False)
    assert np.allclose(sums.restored(np.array([0.2, 0.1, 0.9])), [0.2, 0.1, 0.9])
    assert np.allclose(sums.restored(np.array([0.6, 0.4, 0.9])), [0.3, 0.2, 0.9])


def test_holding_a_parent_makes_its_value_the_total():
    index = np.array([-1, 0, 0])
    sums = SumConstraints(index, np.zeros(1), np.ones(1, dtype=bool), np.array([0]))
    held = sums.holding(0, 0.4)
    assert held.totals.tolist() == [0.4]
    assert held.parent.tolist() == [-1]
    assert held.set_index.tolist() == [0, 0]


def test_holding_a_member_of_a_nested_set_lowers_what_is_left():
    index = np.array([-1, 0, 0])
    sums = SumConstraints(index, np.zeros(1), np.ones(1, dtype=bool), np.array([0]))
    held = sums.holding(1, 0.2)  # q_2 = q_0 - 0.2
    assert held.set_index.tolist() == [-1, 0]
    assert held.totals.tolist() == [-0.2]
    assert held.parent.tolist() == [0]
    assert held.excess(np.array([0.7, 0.5])) == pytest.approx([0.0])
    assert held.excess(np.array([0.7, 0.4])) == pytest.approx([-0.1])


def nested_sums(n: int, *, complete: bool) -> SumConstraints:
    """Return: at most 0.8, or 0.8 exactly, and a set nested in one of its members."""
    index = np.full(n, -1)
    index[[3, 4]], index[[7, 8]] = 0, 1
    return SumConstraints(
        index, np.array([0.8, 0.0]), np.array([complete, True]), np.array([-1, 3])
    )


@pytest.mark.parametrize("complete", [True, False])
def test_logits_and_scoring_agree_on_other_sums(problem, complete):
    """With the solvent of the truth held, both searches find the one maximum."""
    plain = with_held_solvent(*problem)
    n = plain.space.size
    sums = nested_sums(n, complete=complete)
    limited = with_sums(plain, sums)
    start = point(limited, sums.restored(np.full(n, 0.3)))
    scoring = gauss_newton.maximise(limited, start)
    logits = lbfgs.maximise(limited, start, max_iterations=400)
    assert np.abs(sums.excess(logits.point.x)).max() < 1e-9
    assert logits.value == pytest.approx(scoring.value, abs=0.1)
    assert np.allclose(logits.point.x, scoring.point.x, atol=5e-3)


@pytest.mark.parametrize("complete", [True, False])
def test_where_the_logits_end_is_a_maximum_to_scoring(problem, complete):
    """Displaced solvent makes two maxima here, 0.006 in q and 0.4 in ln L apart."""
    sums = nested_sums(problem[0].space.size, complete=complete)
    limited = with_sums(problem[0], sums)
    start = point(limited, sums.restored(np.full(limited.space.size, 0.3)))
    logits = lbfgs.maximise(limited, start, max_iterations=400)
    again = gauss_newton.maximise(limited, logits.point)
    assert np.abs(sums.excess(logits.point.x)).max() < 1e-9
    assert again.value == pytest.approx(logits.value, abs=0.02)
    assert np.allclose(again.point.x, logits.point.x, atol=1e-3)
