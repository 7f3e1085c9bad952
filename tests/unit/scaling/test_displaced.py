"""The solvent that groups displace: gemmi's masks at the ends, continuous and differentiable."""

from dataclasses import dataclass, replace
from itertools import product

import gemmi
import numpy as np
import pytest
import torch

from demo_data import DEMO
from helpers import atom_line, write_text
from multicopy_refinement import Model, read_reflections
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.scaling.displaced import DisplacedSolvent, displaced_solvent
from multicopy_refinement.scaling.mask import MaskGrid, mask_by_gemmi
from multicopy_refinement.scaling.points import exclusion_radius
from multicopy_refinement.scaling.sparse_transform import SparseTransform
from multicopy_refinement.simulate import simulate, write_simulated

D_MIN = 2.0
CRYST1_OF_POCKET = "CRYST1   30.000   30.000   30.000  90.00  90.00  90.00 P 1"


@dataclass(frozen=True)
class Setting:
    """The demo's truth with its solvent."""

    model: Model
    solvent: DisplacedSolvent
    partial: np.ndarray
    occupancy: np.ndarray

    def index(self, name: str) -> int:
        """Return the place of a partial group."""
        names = [self.model.occupancy_groups.names[g] for g in self.partial]
        return names.index(name)

    def mask(self, occupancy: np.ndarray) -> np.ndarray:
        """Return gemmi's mask of the atoms whose groups are there."""
        groups = self.model.occupancy_groups
        present = np.ones(len(groups), dtype=bool)
        present[self.partial] = occupancy > 0
        return mask_by_gemmi(
            self.solvent.grid, groups.table, present[groups.index], groups.table.xyz
        )


@pytest.fixture(scope="module")
def demo() -> Setting:
    model = Model(dtype_float=torch.float64).load(str(DEMO / "truth.pdb"))
    groups, q = model.occupancy_groups, model.group_occupancies()
    partial = np.flatnonzero(groups.refined)
    solvent = displaced_solvent(
        groups, partial, (q > 0)[groups.index], groups.table.xyz,
        MaskGrid.of(model.cell, model.spacegroup, D_MIN), q,
    )  # fmt: skip
    return Setting(model, solvent, partial, q[partial])


def solvent_of(model, grid, occupancy, last=None):
    """Return the solvent of a model with atoms of all groups, judged at some occupancies."""
    groups = model.occupancy_groups
    return displaced_solvent(
        groups, np.flatnonzero(groups.refined), np.ones(len(groups.table), dtype=bool),
        groups.table.xyz, grid, occupancy, last,
    )  # fmt: skip


def states(demo: Setting, letters: dict[str, str]) -> np.ndarray:
    """Return occupancies of 0 and 1: one member of each set, single groups there."""
    groups = demo.model.occupancy_groups
    q = np.ones(len(demo.partial))
    for i, g in enumerate(demo.partial.tolist()):
        base, _, letter = groups.names[g].rpartition(":")
        if base:
            q[i] = float(letters.get(base, "A") == letter)
    return q


def test_a_state_of_the_crystal_has_the_mask_of_its_atoms(demo):
    """Every set in one state, ligand and waters there or not: the mask that gemmi makes of it."""
    for letters, absent in (
        ({}, []), ({"A/5/GLN": "B", "A/12/ASN": "B"}, []), ({}, ["A/201/GOL"]), ({}, ["W/8/HOH"]),
        ({"A/17/GLU": "B"}, ["W/17/HOH", "A/201/GOL"]),
    ):  # fmt: skip
        q = states(demo, letters)
        for name in absent:
            q[demo.index(name)] = 0.0
        found, expected = demo.solvent.density(q), demo.mask(q)
        assert expected.sum() > 15000
        different = np.abs(found - expected).sum()
        assert different < 0.02 * expected.sum(), (letters, absent)


def test_between_two_states_of_a_set_it_is_their_mean(demo):
    for name in ("A/5/GLN", "A/8/LYS", "A/12/ASN"):
        one, other = (demo.solvent.density(states(demo, {name: letter})) for letter in "AB")
        between = 0.7 * states(demo, {name: "A"}) + 0.3 * states(demo, {name: "B"})
        found = demo.solvent.density(between)
        moved = np.abs(one - other).sum()
        assert moved > 100
        assert np.abs(found - (0.7 * one + 0.3 * other)).sum() < 0.05 * moved


def test_it_is_the_mean_of_molecules_whose_groups_are_there_or_not(demo):
    """Of 40 molecules by gemmi: conformers exclude each other, all else does not."""
    groups, n = demo.model.occupancy_groups, 40
    random, there = np.random.default_rng(3), np.zeros((40, len(demo.partial)), dtype=bool)
    place = {g: i for i, g in enumerate(demo.partial.tolist())}
    alone = set(place)
    for members in groups.sums.members:
        edges = np.cumsum(demo.model.group_occupancies()[members])
        drawn = np.searchsorted(edges, (random.permutation(n) + 0.5) / n)
        for number, g in enumerate(members.tolist()):
            there[:, place[g]] = drawn == number
        alone -= set(members.tolist())
    for g in alone:
        there[:, place[g]] = (random.permutation(n) + 0.5) / n < demo.occupancy[place[g]]
    mean = np.mean([demo.mask(one.astype(float)) for one in there], axis=0)
    displaced = np.abs(mean - demo.solvent.base).sum()
    assert displaced > 1000
    assert np.abs(demo.solvent.density(demo.occupancy) - mean).sum() < 0.1 * displaced


def test_solvent_only_grows_where_groups_leave(demo):
    density = demo.solvent.density(demo.occupancy)
    assert density.min() >= 0
    assert density.max() <= 1
    assert (density >= demo.solvent.base - 1e-12).all()
    nothing = demo.solvent.density(np.zeros(len(demo.partial)))
    assert (nothing >= density - 1e-12).all()


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_there_is_no_jump_at_the_ends(demo, end):
    """0 and a millionth, 1 and nearly 1: the same solvent and the same columns."""
    hkl = unique_reflections(demo.model.cell, demo.model.spacegroup, D_MIN)
    chosen = np.arange(len(demo.partial))
    found = []
    for distance in (0.0, 1e-6):
        q = demo.occupancy.copy()
        q[demo.index("W/8/HOH")] = abs(end - distance)
        q[demo.index("A/201/GOL")] = abs(end - distance)
        columns = demo.solvent.displaced(q, chosen, hkl, 46.0).columns
        found.append((demo.solvent.f_mask(q, hkl), columns.copy()))
    (mask, columns), (near_mask, near_columns) = found
    assert np.abs(mask - near_mask).max() < 1e-5 * np.abs(mask).max()
    assert np.abs(columns - near_columns).max() < 1e-5 * np.abs(columns).max()


def test_columns_are_the_derivatives_of_f_mask(demo):
    """-dF_mask/dq by differences; of members of a set along what keeps their sum."""
    hkl = unique_reflections(demo.model.cell, demo.model.spacegroup, D_MIN)
    chosen, q = np.arange(len(demo.partial)), demo.occupancy.copy()
    q[demo.index("W/17/HOH")] = 0.33  # another than that of A/12/ASN:B, which it touches: a kink
    occupancy = demo.model.group_occupancies()
    occupancy[demo.partial] = q
    fresh = solvent_of(demo.model, demo.solvent.grid, occupancy)
    found = fresh.displaced(q, chosen, hkl, 46.0)
    assert len(found.low) > 1000
    for plus, minus in (
        ("A/201/GOL", None), ("W/8/HOH", None), ("W/17/HOH", None), ("A/5/GLN:A", "A/5/GLN:B"),
        ("A/27/ARG:A", "A/27/ARG:B"), ("A/2/ASP:A", "A/2/ASP:C"),
    ):  # fmt: skip
        step = np.zeros(len(q))
        step[demo.index(plus)] = 1e-3
        column = found.columns[demo.index(plus)]
        if minus:
            step[demo.index(minus)] = -1e-3
            column = column - found.columns[demo.index(minus)]
        up, down = (fresh.f_mask(q + s * step, hkl[found.low]) for s in (1, -1))
        expected = -(up - down) / 2e-3
        assert np.linalg.norm(column - expected) < 0.01 * np.linalg.norm(expected), plus


def test_what_was_made_is_kept_while_nothing_moves(demo):
    hkl = unique_reflections(demo.model.cell, demo.model.spacegroup, 3.0)
    chosen = np.arange(len(demo.partial))
    fresh = solvent_of(demo.model, demo.solvent.grid, demo.model.group_occupancies())
    first = fresh.displaced(demo.occupancy, chosen, hkl, 46.0)
    assert fresh.displaced(demo.occupancy + 1e-4, chosen, hkl, 46.0) is first


def test_what_is_in_use_stays_and_the_memory_of_what_is_not_is_taken(demo):
    chosen = np.arange(len(demo.occupancy))
    hkl = unique_reflections(demo.model.cell, demo.model.spacegroup, D_MIN)
    other = np.clip(demo.occupancy * 0.8, 0.0, 1.0)
    right = demo.solvent.for_other_data().displaced(other, chosen, hkl, 46.0).columns
    fresh = demo.solvent.for_other_data()
    first = fresh.displaced(demo.occupancy, chosen, hkl, 46.0)
    before = first.columns.copy()
    second = fresh.displaced(other, chosen, hkl, 46.0)
    assert np.array_equal(first.columns, before)
    assert not np.array_equal(second.columns, before)
    assert second.columns == pytest.approx(right, abs=0.02 * float(np.abs(right).max()))
    memory = second.columns
    del first, second
    third = fresh.displaced(demo.occupancy, chosen, hkl, 46.0)
    assert third.columns is memory
    assert third.columns == pytest.approx(before, abs=0.02 * float(np.abs(before).max()))


def test_hydrogens_displace_nothing():
    model = Model(dtype_float=torch.float64).load(str(DEMO / "truth.pdb"))
    groups = model.occupancy_groups
    gol = groups.names.index("A/201/GOL")
    table = groups.table
    element = table.element.copy()
    element[groups.members[gol]] = b"H"
    bare = replace(groups, table=replace(table, element=element))
    solvent = displaced_solvent(
        bare, np.array([gol]), np.ones(len(table), dtype=bool), table.xyz,
        MaskGrid.of(model.cell, model.spacegroup, 2.5), model.group_occupancies(),
    )  # fmt: skip
    hkl = unique_reflections(model.cell, model.spacegroup, 2.5)
    assert not solvent.displaced(np.array([0.4]), np.array([0]), hkl, 46.0).columns.any()


def pocket(path, plugs=(("A", 0.5, 0.0), ("B", 0.5, 0.3))) -> Model:
    """Return a shell of carbons with one window, which all conformers of a residue shut.

    ``plugs`` are their letters, occupancies, and by how much they are lifted, in A. A water is in
    the middle.
    """
    turn = np.arange(200) + 0.5  # Fibonacci's spiral
    height, angle = 1 - turn / 100, np.pi * (1 + 5**0.5) * turn
    ring = np.sqrt(1 - height**2)
    shell = 4.4 * np.column_stack([ring * np.cos(angle), ring * np.sin(angle), height])
    wall, plug = shell[height < 0.4], shell[height >= 0.4]
    lines = [CRYST1_OF_POCKET]
    for number, xyz in enumerate(wall):
        lines.append(
            atom_line("C", "UNL", number + 1, 1.0, chain="W", xyz=xyz + 15, record="HETATM")
        )
    for letter, occupancy, lift in plugs:
        for i, xyz in enumerate(plug):
            lines.append(
                atom_line(f"C{i}", "PHE", 1, occupancy, altloc=letter, xyz=xyz + 15 + [0, 0, lift])
            )
    lines.append(atom_line("O", "HOH", 1, 0.3, chain="S", xyz=np.full(3, 15.0), record="HETATM"))
    write_text(path, "\n".join([*lines, "END", ""]))
    return Model(dtype_float=torch.float64).load(path)


def test_a_pocket_that_one_conformer_always_shuts_holds_no_solvent(tmp_path):
    """It is too small by itself, and neither conformer leaves a way out: so says gemmi of each."""
    model = pocket(tmp_path / "pocket.pdb")
    groups = model.occupancy_groups
    partial = np.flatnonzero(groups.refined)
    assert [groups.names[g] for g in partial] == ["A/1/PHE:A", "A/1/PHE:B", "S/1/HOH"]
    there = np.ones(len(groups.table), dtype=bool)
    grid = MaskGrid.of(model.cell, model.spacegroup, 2.0)
    solvent = solvent_of(model, grid, model.group_occupancies())
    q = np.array([0.5, 0.5, 0.3])
    centre = tuple(np.array(solvent.shape) // 2)
    for absent in (0, 1):  # the water is away, and one of the conformers
        states = there.copy()
        for g in (partial[absent], partial[2]):
            states[groups.members[g]] = False
        assert mask_by_gemmi(grid, groups.table, states, groups.table.xyz)[centre] == 0
    both = there.copy()
    for g in partial:
        both[groups.members[g]] = False
    assert mask_by_gemmi(grid, groups.table, both, groups.table.xyz)[centre] == 1
    assert solvent.density(q)[centre] == 0


@pytest.mark.parametrize("group", ["P 1", "P 21 21 21", "P 31 2 1"])
def test_sparse_transform_is_the_sum(group):
    """Against gemmi's transform of the whole grid."""
    random = np.random.default_rng(3)
    shape = (24, 24, 30)
    cell = gemmi.UnitCell(20, 20, 26, 90, 90, 120 if "31" in group else 90)
    points = np.sort(random.choice(24 * 24 * 30, 200, replace=False))
    values = random.uniform(0, 1, 200)
    density = np.zeros(24 * 24 * 30, dtype=np.float32)
    density[points] = values
    grid = gemmi.FloatGrid(density.reshape(shape), cell, gemmi.SpaceGroup("P 1"))
    hkl = random.integers(-6, 7, (300, 3))
    expected = gemmi.transform_map_to_f_phi(grid, half_l=True).get_value_by_hkl(
        hkl.astype(np.int32)
    )
    found = SparseTransform(shape, hkl, cell.volume)(points, values)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_radii_are_those_of_the_mask():
    """The volume that gemmi keeps free around an atom alone is that of a sphere of the radius."""
    for symbol in ("C", "O", "ZN"):
        structure = gemmi.Structure()
        structure.cell = gemmi.UnitCell(12, 12, 12, 90, 90, 90)
        structure.add_model(gemmi.Model(1))
        chain, residue, atom = gemmi.Chain("A"), gemmi.Residue(), gemmi.Atom()
        atom.element, atom.pos = gemmi.Element(symbol), gemmi.Position(6, 6, 6)
        residue.add_atom(atom)
        chain.add_residue(residue)
        structure[0].add_chain(chain)
        masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
        masker.rshrink = 0.0
        grid = gemmi.FloatGrid(120, 120, 120)
        grid.spacegroup = gemmi.SpaceGroup("P 1")
        grid.set_unit_cell(structure.cell)
        masker.put_mask_on_float_grid(grid, structure[0])
        volume = float((grid.array == 0).sum()) * 1e-3
        assert exclusion_radius(symbol) == pytest.approx((0.75 * volume / np.pi) ** (1 / 3), 0.02)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A pocket that is too small for solvent by itself, with a plug that is there in part."""
    return pocket(tmp_path_factory.mktemp("gated") / "gated.pdb", (("", 0.6, 0.0),))


def test_solvent_gets_into_a_pocket_while_its_plug_is_away(gated):
    grid = MaskGrid.of(gated.cell, gated.spacegroup, 2.0)
    groups, q = gated.occupancy_groups, gated.group_occupancies()
    partial = np.flatnonzero(groups.refined)
    assert q[partial].tolist() == pytest.approx([0.6, 0.3])
    solvent = solvent_of(gated, grid, q)
    found, mean = solvent.density(q[partial]), np.zeros(grid.shape)
    for plug, water in product((True, False), repeat=2):
        weight = (0.6 if plug else 0.4) * (0.3 if water else 0.7)
        there = np.ones(len(groups), dtype=bool)
        there[partial] = plug, water
        mean += weight * mask_by_gemmi(grid, groups.table, there[groups.index], groups.table.xyz)
    assert np.abs(found - mean).sum() < 0.03 * (mean - solvent.base).sum()
    middle = tuple(n // 2 for n in grid.shape)
    assert found[middle] == pytest.approx(0.4 * 0.7, abs=1e-6)
    hkl = unique_reflections(gated.cell, gated.spacegroup, 4.0)
    step = np.zeros(len(q))
    step[partial[0]] = 1e-3
    # what the plug covers, with ways as they are
    up, down = (solvent.f_mask((q + s * step)[partial], hkl) for s in (1, -1))
    column = solvent.displaced(q[partial], np.arange(2), hkl, np.inf).columns[0]
    expected = -(up - down) / 2e-3
    assert np.linalg.norm(column - expected) < 1e-3 * np.linalg.norm(expected)


def test_who_is_there_in_half_of_the_molecules_does_not_come_and_go(gated):
    grid = MaskGrid.of(gated.cell, gated.spacegroup, 2.0)
    q, last = gated.group_occupancies(), None
    plug = np.flatnonzero(gated.occupancy_groups.refined)[0]
    course = ((0.52, True), (0.47, True), (0.44, False), (0.53, False), (0.56, True))
    for occupancy, there in course:
        q[plug] = occupancy
        last = solvent_of(gated, grid, q, last)
        assert last.groups.frequent[0] == there


#: Occupancies, and at which of them ways are judged: hardly moved; moved; came back: between the
#: two, until it is far from there; and after three times no more.
IN_TURN = (
    (0.6, 0.6), (0.605, 0.6), (0.9, 0.9), (0.7, 0.8), (0.9, 0.8), (0.5, 0.5),
    (0.9, 0.5 + 0.4 / 3), (0.2, 0.2 + 0.75 * (0.3 + 0.4 / 3)), (0.9, 0.525), (0.2, 0.525),
)  # fmt: skip


@pytest.mark.parametrize(
    ("in_turn", "course"),
    [
        (False, ((0.5, 0.5), (0.495, 0.5), (0.48, 0.48))),
        (False, ((0.9, 0.9), (0.7, 0.7), (0.9, 0.9))),
        (True, IN_TURN),
    ],
)
def test_ways_are_asked_anew_where_occupancies_have_moved(gated, tmp_path, in_turn, course):
    write_simulated(simulate(gated, 2.5, seed=1), gated, tmp_path / "data.mtz")
    experiment = Experiment(gated, read_reflections(tmp_path / "data.mtz"))
    partial = np.flatnonzero(gated.occupancy_groups.refined)
    q, at = gated.group_occupancies(), gated.group_occupancies()
    for occupancy, judged_at in course:
        q[partial[0]], at[partial[0]] = occupancy, judged_at
        experiment.renew(occupancy=q.copy(), in_turn=in_turn)
        solvent = solvent_of(gated, experiment.grid, at)
        right = solvent.f_mask(q[partial], experiment.data.hkl)
        np.testing.assert_allclose(experiment.f_mask, right, atol=1e-3)


def test_solvent_stays_around_atoms_that_have_hardly_moved(tmp_path):
    """Even where it is made anew since others have, and ways are open in other molecules."""
    model = pocket(tmp_path / "gated.pdb", (("", 0.6, 0.0),))
    write_simulated(simulate(model, 2.5, seed=1), model, tmp_path / "data.mtz")
    experiment = Experiment(model, read_reflections(tmp_path / "data.mtz"))
    groups, q = model.occupancy_groups, model.group_occupancies()
    partial, begin = np.flatnonzero(groups.refined), groups.table.xyz.copy()
    experiment.renew(occupancy=q)
    q[partial[0]] -= 0.2
    few = groups.members[partial[0]]
    far = np.setdiff1d(np.arange(len(begin)), np.concatenate([groups.members[g] for g in partial]))
    for shift_of_far, expected in ((0.0, begin), (0.3, begin.copy())):
        expected[far[:1]] += shift_of_far
        xyz = expected.copy()
        xyz[few] += 0.015
        model.xyz.set_values(torch.as_tensor(xyz))
        experiment.renew(occupancy=q)
        right = displaced_solvent(
            groups, partial, np.ones(len(begin), dtype=bool), expected, experiment.grid, q
        )
        found, other = experiment.f_mask, right.f_mask(q[partial], experiment.data.hkl)
        np.testing.assert_allclose(found, other, atol=1e-9)
