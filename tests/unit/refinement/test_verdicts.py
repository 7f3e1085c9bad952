"""Flags, states and notices of real refinements, and models and data at the edge of sense."""

from dataclasses import replace

import numpy as np
import pytest

from boxes import load, waters
from demo_data import observe
from helpers import atom_line
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior import Block, Kind, Space
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.solution import Solution
from multicopy_refinement.refinement.support import Support
from multicopy_refinement.refinement.verdicts import group_results
from multicopy_refinement.simulate import simulate
from multicopy_refinement.solve.covariance import Beside, Covariance
from multicopy_refinement.solve.evidence import at_bound

SERINE = ("N", "CA", "CB", "OG")


def serine(occupancies, shifts, *, number: int = 1, b: float = 15.0) -> list[str]:
    """Return lines of conformers A, B, ..., displaced along x."""
    return [
        atom_line(
            name,
            "SER",
            number,
            q,
            altloc=letter,
            b_iso=b,
            xyz=(4 + x, 5 + 1.4 * i, 6.0 + 3.5 * (number - 1)),
        )
        for letter, q, x in zip("ABCDEFGH", occupancies, shifts, strict=False)
        for i, name in enumerate(SERINE)
    ]


def solve(tmp_path, start, truth, d_min: float = 1.8, **options) -> Solution:
    """Refine lines of a start against data of lines of a truth, both with 40 waters around."""
    data = observe(load(tmp_path, waters(40), truth), d_min)
    return refine(load(tmp_path, waters(40), start), data, RefineOptions(**options))


def results(solution: Solution) -> dict[str, tuple[float, float, tuple[Flag, ...]]]:
    """Return occupancy, su and flags by the name of a refined group."""
    groups = solution.groups
    return {
        groups.names[g]: (solution.occupancy[g], solution.su[g], solution.results.flags[g])
        for g in np.flatnonzero(groups.refined)
    }


def codes(solution: Solution) -> list[str]:
    return [notice.code for notice in solution.notices]


# ---------------------------------------------------------------------- flags


def test_undetermined_pair_is_flagged_and_named_beside_a_determined_one(tmp_path):
    coincident = serine([0.4, 0.6], (0.0, 0.0))
    start = [*coincident, *serine([0.5, 0.5], (0.0, 1.3), number=2)]
    truth = [*coincident, *serine([0.3, 0.7], (0.0, 1.3), number=2)]
    solution = solve(tmp_path, start, truth)
    found = results(solution)
    for name, occupancy in (("A/1/SER:A", 0.4), ("A/1/SER:B", 0.6)):
        assert found[name][0] == pytest.approx(occupancy, abs=1e-6)
        assert np.isnan(found[name][1])
        assert found[name][2] == (Flag.UNDETERMINED,)
    for name, occupancy in (("A/2/SER:A", 0.3), ("A/2/SER:B", 0.7)):
        assert found[name][0] == pytest.approx(occupancy, abs=4 * found[name][1])
        assert 0 < found[name][1] < 0.03
        assert found[name][2] == ()
    (notice,) = [n for n in solution.notices if n.code == "undetermined"]
    assert "A/1/SER:A" in notice.message
    assert "A/1/SER:B" in notice.message
    assert "A/2/SER" not in notice.message
    assert "2 groups" in notice.message
    held = ~solution.groups.refined
    assert np.isnan(solution.su[held]).all()
    assert not any(np.array(solution.results.flags, dtype=object)[held])


def test_absent_conformer_is_indistinguishable_from_0_and_the_other_from_1(tmp_path):
    solution = solve(tmp_path, serine([0.5, 0.5], (0.0, 1.3)), serine([1.0], (0.0,)))
    found = results(solution)
    occupancy, su, flags = found["A/1/SER:B"]
    assert 0 <= occupancy < 2 * su
    assert Flag.INDISTINGUISHABLE_FROM_0 in flags
    assert Flag.INDISTINGUISHABLE_FROM_1 not in flags
    assert Flag.INDISTINGUISHABLE_FROM_1 in found["A/1/SER:A"][2]
    assert Flag.INDISTINGUISHABLE_FROM_0 not in found["A/1/SER:A"][2]
    assert "undetermined" not in codes(solution)


def test_conformer_in_a_hole_of_the_density_ends_at_the_bound(tmp_path):
    """With amplitudes from which a water is taken away, its best occupancy is below 0."""
    sets = serine([0.5, 0.5], (0.0, 1.3))
    hole = atom_line("O", "HOH", 98, 0.5, chain="W", xyz=(11.0, 12.0, 13.0), record="HETATM")
    truth = load(tmp_path, waters(40), serine([1.0], (0.0,)))
    data = observe(truth, 1.8, noise=0.003)
    # a truth with less at the place than nothing: subtract the water from the amplitudes
    model = load(tmp_path, waters(40), sets, [hole])
    full = simulate(load(tmp_path, waters(40), serine([1.0], (0.0,)), [hole]), 1.8, seed=3)
    data = replace(data, f_obs=np.abs(2 * data.f_obs - full.f_true))
    found = results(refine(model, data))
    occupancy, su, flags = found["W/98/HOH"]
    assert occupancy == pytest.approx(0, abs=5e-5)
    assert su > 0
    assert Flag.AT_BOUND in flags
    assert Flag.INDISTINGUISHABLE_FROM_0 in flags


def made_up(
    occupancy, su, correlation=None, fit=None, supported=None, change=None, held=None
) -> list[tuple[Flag, ...]]:
    """Return the flags of 40 held waters' neighbours with a covariance that is given.

    ``held`` are the su with coordinates and B held, ``change`` what refining them would change.
    """
    n = len(occupancy)
    kinds = [Kind.OCCUPANCY] if correlation is None else [Kind.OCCUPANCY, Kind.B_GROUP]
    at = Space(tuple(Block.unbounded(kind, n) for kind in kinds)).point(
        {Kind.OCCUPANCY: np.array(occupancy), Kind.B_GROUP: np.zeros(n)}
    )
    others = {} if correlation is None else {Kind.B_GROUP: Beside(np.ones(n), correlation)}
    sums, matrix = SumConstraints.complete_sets(np.full(n, -1)), np.diag(np.square(su))
    found = Covariance(
        matrix, np.zeros((n, 0)), np.linalg.inv(matrix), others, np.zeros((0, n)), sums,
        np.array(su if held is None else held),
    )  # fmt: skip

    class Groups:
        def __len__(self) -> int:
            return n

    zero = np.zeros(n)
    there = np.ones(n, dtype=bool) if supported is None else np.array(supported)
    given = group_results(
        Groups(), np.arange(n), at, found, Support(zero, zero, zero, zero, there, zero, zero),
        at_bound(sums, np.array(occupancy)), np.ones(n) if fit is None else np.array(fit),
        None, np.full(n, np.nan) if change is None else np.array(change),
    )  # fmt: skip
    return list(given.flags)


def test_limits_of_the_flags():
    zero, one = Flag.INDISTINGUISHABLE_FROM_0, Flag.INDISTINGUISHABLE_FROM_1
    assert made_up([0.021, 0.019, 0.979, 0.981], [0.01] * 4) == [(), (zero,), (), (one,)]
    assert made_up([0.0, 1.0], [0.01] * 2) == [(Flag.AT_BOUND, zero), (Flag.AT_BOUND, one)]
    assert made_up([4e-5, 6e-5], [1e-5] * 2) == [(Flag.AT_BOUND,), ()]
    assert made_up([0.5, 0.5], [0.28, 0.3]) == [(zero, one), (Flag.UNDETERMINED,)]
    assert made_up([0.5] * 2, [0.01] * 2, fit=[1.49, 1.51]) == [(), (Flag.POOR_FIT,)]
    assert made_up([0.5] * 2, [0.01, 0.3], supported=[False] * 2) == [
        (Flag.NOT_SUPPORTED,), (Flag.UNDETERMINED,)
    ]  # fmt: skip
    found = made_up([0.5] * 4, [0.01] * 4, np.array([0.79, 0.81, -0.79, -0.81]))
    correlated = (Flag.CORRELATED_WITH_B,)
    assert found == [(), correlated, (), correlated]
    # an su of 0.05, of which coordinates and B make 0.04 (three times that), or 0.01
    off, change, held = (Flag.HELD_OFF,), [0.119, -0.121, 0.049, -0.051], [0.03] * 2 + [0.049] * 2
    assert made_up([0.5] * 4, [0.05] * 4, change=change, held=held) == [(), off, (), off]


def test_occupancy_and_b_of_a_water_at_low_resolution_are_told_to_be_correlated(tmp_path):
    def water(q: float) -> list[str]:
        place = (11.0, 12.0, 13.0)
        return [atom_line("O", "HOH", 99, q, chain="W", xyz=place, b_iso=30.0, record="HETATM")]

    wide = {
        "parameters": ("occupancy", "b_group"), "b_prior": 2.0, "uncertainty": "conditional",
    }  # fmt: skip
    (low,) = results(solve(tmp_path, water(0.5), water(0.7), 3.0, **wide)).values()
    assert Flag.CORRELATED_WITH_B in low[2]
    solution = solve(tmp_path, water(0.5), water(0.7), 3.0, uncertainty="conditional")
    (alone,) = results(solution).values()
    assert Flag.CORRELATED_WITH_B not in alone[2]
    assert low[1] > 1.5 * alone[1]
    assert np.isnan(solution.results.delta_b).all()


# ---------------------------------------------------------------------- states


def test_states_of_a_set_in_which_conformers_coincide_in_pairs(tmp_path):
    shifts = (0.0, 0.0, 1.2, 1.2)
    solution = solve(tmp_path, serine([0.25] * 4, shifts), serine([0.1, 0.2, 0.3, 0.4], shifts))
    assert [state.name for state in solution.states] == ["A/1/SER:A+B", "A/1/SER:C+D"]
    first, second = solution.states
    members = np.flatnonzero(solution.groups.refined)
    assert first.groups + second.groups == tuple(members)
    assert first.occupancy + second.occupancy == pytest.approx(1, abs=1e-12)
    assert first.occupancy == pytest.approx(0.3, abs=4 * first.su)
    assert first.su == pytest.approx(second.su, rel=1e-3)
    assert 0 < first.su < 0.03
    assert np.isnan(solution.su[members]).all()
    flags = [solution.results.flags[g] for g in members]
    assert all(Flag.UNDETERMINED in each for each in flags)


def test_state_beside_a_member_of_its_own(tmp_path):
    shifts = (0.0, 1.2, 0.0)
    solution = solve(tmp_path, serine([0.4, 0.2, 0.4], shifts), serine([0.3, 0.4, 0.3], shifts))
    names = {state.name: state for state in solution.states}
    assert names["A/1/SER:A+C"].occupancy == pytest.approx(0.6, abs=4 * names["A/1/SER:A+C"].su)
    found = results(solution)
    assert found["A/1/SER:B"][0] == pytest.approx(0.4, abs=4 * found["A/1/SER:B"][1])
    assert Flag.UNDETERMINED not in found["A/1/SER:B"][2]


@pytest.mark.parametrize("n", [2, 4])
def test_no_state_where_all_coincide(tmp_path, n):
    lines = serine([1 / n] * n, (0.0,) * n)
    solution = solve(tmp_path, lines, lines)
    assert solution.states == ()
    assert np.isnan(solution.su).all()
    assert all(flags == (Flag.UNDETERMINED,) for *_, flags in results(solution).values())


def test_no_state_where_none_coincide(tmp_path):
    lines = serine([0.3, 0.3, 0.4], (0.0, 1.0, 2.0))
    solution = solve(tmp_path, lines, lines)
    assert solution.states == ()
    assert np.isfinite([su for _, su, _ in results(solution).values()]).all()


# ---------------------------------------------------------------------- at the edge


def sound(solution: Solution) -> None:
    """Check what every solution owes, however little the data say."""
    occupancy = solution.occupancy
    assert np.isfinite(occupancy).all()
    assert occupancy.min() >= 0
    assert occupancy.max() <= 1
    for group_set in solution.groups.sets:
        assert occupancy[list(group_set.groups)].sum() == pytest.approx(1, abs=1e-9)
    assert solution.final.log_likelihood >= solution.initial.log_likelihood
    assert np.isfinite(solution.final.r_work)


def test_everything_undetermined_is_a_result(tmp_path):
    lines = [*serine([0.4, 0.6], (0, 0)), *serine([0.2, 0.8], (0, 0), number=2)]
    solution = solve(tmp_path, lines, lines)
    sound(solution)
    assert solution.status.converged
    assert [q for q, *_ in results(solution).values()] == pytest.approx([0.4, 0.6, 0.2, 0.8])
    assert np.abs(solution.results.delta_log_likelihood[solution.groups.refined]).max() < 1e-3
    assert "undetermined" in codes(solution)


@pytest.mark.parametrize("target", ["ml", "ls"])
def test_a_shell_without_reflections(tmp_path, target):
    truth = load(tmp_path, waters(40), serine([0.3, 0.7], (0.0, 1.3)))
    data = observe(truth, 1.8)
    d = data.s_squared**-0.5
    data = data.select((d > 3.0) | (d < 2.3))
    model = load(tmp_path, waters(40), serine([0.5, 0.5], (0.0, 1.3)))
    solution = refine(model, data, RefineOptions(target=target))
    sound(solution)
    assert solution.status.converged
    q, su, _ = results(solution)["A/1/SER:A"]
    assert q == pytest.approx(0.3, abs=4 * su)


@pytest.mark.parametrize("free", [0.0, 0.01])
@pytest.mark.parametrize("target", ["ml", "ls"])
def test_no_free_set_or_a_tiny_one(tmp_path, target, free):
    truth = load(tmp_path, waters(40), serine([0.3, 0.7], (0.0, 1.3)))
    data = observe(truth, 1.8)
    data = replace(data, free=np.arange(len(data)) < free * len(data))
    model = load(tmp_path, waters(40), serine([0.5, 0.5], (0.0, 1.3)))
    solution = refine(model, data, RefineOptions(target=target))
    sound(solution)
    assert (solution.final.r_free is None) == (free == 0)
    assert "sigma_a_from_work" in codes(solution)
    q, su, _ = results(solution)["A/1/SER:A"]
    assert q == pytest.approx(0.3, abs=4 * su)
    assert su < 0.03


def test_groups_of_one_hydrogen(tmp_path):
    def hydroxyl(q: float) -> list[str]:
        whole = [
            atom_line(name, "SER", 1, 1.0, xyz=(4.0, 5 + 1.4 * i, 6.0))
            for i, name in enumerate(SERINE)
        ]
        ends = [("A", q, 0.9), ("B", 1 - q, -0.9)]
        return whole + [
            atom_line("HG", "SER", 1, p, altloc=a, xyz=(4 + x, 9.6, 6.0)) for a, p, x in ends
        ]

    solution = solve(tmp_path, hydroxyl(0.5), hydroxyl(0.8))
    sound(solution)
    assert sorted(results(solution)) == ["A/1/SER:A", "A/1/SER:B"]
    for q, su, flags in results(solution).values():
        assert np.isnan(su) == (Flag.UNDETERMINED in flags)
        assert np.isnan(su) or 0.01 < su < 0.3
        assert 0 <= q <= 1


def test_a_set_of_eight(tmp_path):
    true = np.array([0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05])
    shifts = 0.9 * np.arange(8)
    solution = solve(tmp_path, serine([0.125] * 8, shifts), serine(true, shifts), 1.5)
    sound(solution)
    found = results(solution)
    assert len(found) == 8
    q, su = np.array([v[0] for v in found.values()]), np.array([v[1] for v in found.values()])
    assert (np.abs(q - true) < 4 * su).all()
    assert solution.status.converged


def test_one_group_that_is_hardly_there_is_no_trouble(tmp_path):
    def water(q: float) -> list[str]:
        place = (11.0, 12.0, 13.0)
        return [atom_line("O", "HOH", 99, q, chain="W", xyz=place, record="HETATM")]

    # the truth has a trace of it, so that it has the same solvent mask
    solution = solve(tmp_path, water(0.5), water(0.01))
    sound(solution)
    (found,) = results(solution).values()
    assert found[0] == pytest.approx(0.01, abs=4 * found[1])
    assert solution.results.delta_log_likelihood[solution.groups.refined][0] < 20


def test_more_groups_than_reflections_determine_nothing_for_certain(tmp_path):
    random = np.random.default_rng(2)
    lines = waters(60, occupancies=random.uniform(0.3, 0.9, 60))
    model = load(tmp_path, lines)
    data = observe(model, 7.0)
    assert len(data) < 60
    solution = refine(model, data)
    sound(solution)
    assert np.isnan(solution.su).mean() > 0.5


@pytest.mark.slow
def test_700_groups(tmp_path):
    cell, random = (23.0, 25.0, 27.0), np.random.default_rng(1)
    true = random.uniform(0.2, 0.95, 700).round(2)
    # whole atoms beside them: without any, scale and occupancies are nearly one unknown
    whole = [line.replace("HOH W", "HOH Z") for line in waters(700, cell=cell, seed=77)]
    truth = load(tmp_path, whole, waters(700, cell=cell, occupancies=true), cell=cell)
    data = observe(truth, 2.0)
    start = waters(700, cell=cell, occupancies=np.full(700, 0.6))
    model = load(tmp_path, whole, start, cell=cell)
    solution = refine(model, data, RefineOptions(max_cycles=2, uncertainty="conditional"))
    sound(solution)
    refined = solution.groups.refined
    assert refined.sum() == 700
    z = ((solution.occupancy - truth.group_occupancies()) / solution.su)[refined]
    assert np.isfinite(z).mean() > 0.95
    assert 0.8 < np.sqrt(np.nanmean(z**2)) < 1.3
