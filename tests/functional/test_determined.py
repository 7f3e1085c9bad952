"""What real data determine and what they do not: uncertainties, states and coincident pairs."""

from itertools import combinations

import numpy as np
import pytest

from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.solution import Solution


def solve(root, folder: str, model: str = "model.pdb", options=None) -> Solution:
    atoms = Model().load(root / folder / model)
    data = read_reflections(
        root / folder / "data.mtz", cell=atoms.cell, spacegroup=atoms.spacegroup
    )
    return refine(atoms, data, options)


@pytest.fixture(scope="module")
def mpro(shared_data) -> Solution:
    return solve(shared_data, "mpro-x0107")


def coincident_pairs(solution: Solution) -> list[tuple[int, int]]:
    """Return pairs of members of a set whose atoms agree in names, coordinates and B."""
    groups, table = solution.groups, solution.groups.table

    def atoms(group: int) -> list[tuple]:
        rows = groups.atoms(group)
        places = (tuple(place) for place in table.xyz[rows].tolist())
        return sorted(
            zip(table.name[rows].tolist(), places, table.b_iso[rows].tolist(), strict=True)
        )

    return [
        pair
        for group_set in groups.sets
        for pair in combinations(group_set.groups, 2)
        if atoms(pair[0]) == atoms(pair[1])
    ]


def test_disorder_of_a_small_molecule_is_that_of_a_full_matrix(shared_data):
    """SHELXL: 0.906(3) and 0.094(3)."""
    options = RefineOptions(no_restraints=True)
    solution = solve(shared_data, "sh2185-cu", "model.cif", options)
    found = {solution.groups.names[g]: g for g in np.flatnonzero(solution.groups.refined)}
    assert sorted(name.rpartition(":")[2] for name in found) == ["A", "B"]
    for name, group in found.items():
        expected = 0.906 if name.endswith(":A") else 0.094
        assert solution.occupancy[group] == pytest.approx(expected, abs=0.006)
        assert 0.0025 < solution.su[group] < 0.0035
        assert solution.results.su_conditional[group] < 0.002
        assert Flag.UNDETERMINED not in solution.results.flags[group]


@pytest.mark.parametrize("extinction", [False, True])
def test_refining_all_of_a_small_molecule_agrees_with_a_full_matrix(shared_data, extinction):
    """SHELXL: 0.906(3) and 0.094(3), with U of four atoms of the two conformers constrained."""
    options = RefineOptions(
        parameters="occupancy,xyz,u_aniso", active="all", no_restraints=True, target="ls", decoys=0,
        extinction=extinction, wavelength=1.54184,
    )  # fmt: skip
    solution = solve(shared_data, "sh2185-cu", "model.cif", options)
    assert solution.status.converged
    for name, group in {solution.groups.names[g]: g for g in (1, 2)}.items():
        expected = 0.906 if name.endswith(":A") else 0.094
        assert solution.occupancy[group] == pytest.approx(expected, abs=0.004)
        assert 0.002 < solution.su[group] < 0.0035
    (shared,) = [n for n in solution.notices if n.code == "shared_u"]
    assert len(shared.atoms) == 8
    u = solution.experiment.model.u_aniso().detach().numpy()
    table = solution.experiment.model.table
    pair = [int(np.flatnonzero(table.name == name)[0]) for name in (b"C18A", b"C18B")]
    assert np.allclose(u[pair[0]], u[pair[1]], atol=1e-7)
    assert np.abs(u[pair[0]] - table.u_aniso[pair[0]]).max() > 1e-4
    # the strongest reflections are 4% weaker than calculated
    said = [n.code for n in solution.notices]
    assert ("extinction" in said) == (solution.extinction is None) == (not extinction)
    if solution.extinction is not None:
        assert solution.extinction.coefficient > 8 * solution.extinction.su > 0
        assert solution.final.r_work < 0.0285


@pytest.mark.parametrize("extinction", [False, True])
def test_a_small_molecule_is_where_the_data_would_have_it_with_extinction(shared_data, extinction):
    """It was refined with extinction: without, the data ask for other coordinates."""
    options = RefineOptions(no_restraints=True, extinction=extinction, wavelength=1.54184)
    solution = solve(shared_data, "sh2185-cu", "model.cif", options)
    off = [Flag.HELD_OFF in solution.results.flags[g] for g in (1, 2)]
    assert off == [not extinction] * 2


def test_states_written_twice_are_determined_as_sums(mpro):
    solution = mpro
    groups = solution.groups
    members = [g for g in range(len(groups)) if groups.names[g].startswith("A/142/ASN:")]
    assert len(members) == 4
    assert np.isnan(solution.su[members]).all()
    assert all(Flag.UNDETERMINED in solution.results.flags[g] for g in members)
    states = {s.name.rpartition(":")[2]: s for s in solution.states if s.name[:10] == "A/142/ASN:"}
    assert sorted(states) == ["A+B", "C+D"]
    assert states["A+B"].occupancy + states["C+D"].occupancy == pytest.approx(1, abs=1e-9)
    for state in states.values():
        assert 0 < state.su < 0.29
        assert state.occupancy == pytest.approx(solution.occupancy[list(state.groups)].sum())
    text = next(n.message for n in solution.notices if n.code == "undetermined")
    assert "groups" in text


def test_coincident_conformers_have_no_su_and_all_others_do(shared_data):
    solution = solve(shared_data, "1g8a")
    pairs = coincident_pairs(solution)
    assert len(pairs) == 26
    coincident = sorted({group for pair in pairs for group in pair})
    assert np.isnan(solution.su[coincident]).all()
    assert all(Flag.UNDETERMINED in solution.results.flags[g] for g in coincident)
    refined = np.flatnonzero(solution.groups.refined)
    others = np.setdiff1d(refined, coincident)
    assert len(others) == 100
    assert np.isfinite(solution.su[others]).mean() > 0.95
    separate = [g for g in others if largest_gap(solution, g) > 1.0]
    assert len(separate) > 20
    assert np.isfinite(solution.su[separate]).all()
    assert np.median(solution.su[separate]) < 0.05


def by_name(solution: Solution, group: int) -> dict:
    """Return the places of a group's atoms by their names."""
    rows, table = solution.groups.atoms(group), solution.groups.table
    return dict(zip(table.name[rows].tolist(), table.xyz[rows], strict=True))


def largest_gap(solution: Solution, group: int) -> float:
    """Return the least, over the rest of the set, of the largest distance of like atoms in A."""
    groups = solution.groups
    number = groups.set_index[group]
    if number < 0:
        return 0.0
    gaps = []
    for other in groups.sets[number].groups:
        if other == group:
            continue
        place, mine = by_name(solution, other), by_name(solution, group)
        shared = [np.linalg.norm(mine[n] - place[n]) for n in mine if n in place]
        gaps.append(max(shared, default=0.0))
    return float(min(gaps))


def test_two_runs_are_identical(mpro, shared_data):
    one, two = mpro, solve(shared_data, "mpro-x0107")
    assert np.array_equal(one.occupancy, two.occupancy)
    assert np.array_equal(one.su, two.su, equal_nan=True)
    assert one.states == two.states
