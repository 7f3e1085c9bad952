"""The ``states`` rule: which letters are which state, and what shares one occupancy."""

import numpy as np
import pytest

from helpers import atom_line, group_file, pdb_text, write_text
from multicopy_refinement.errors import RuleError
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.exchange import ExchangeFormat, parse_rules_text, write_groups
from multicopy_refinement.occupancy.grouping import Grouping


def residue(name, number, parts, at, *, chain="A", atoms=("C1", "C2")):
    """Return a residue around a place on x; parts are (letter, occupancy, shift along y)."""
    return [
        atom_line(atom, name, number, occupancy, altloc=letter, chain=chain,
                  xyz=(at + 1.5 * i, shift, 0.0), record="ATOM" if name == "VAL" else "HETATM")
        for letter, occupancy, shift in parts
        for i, atom in enumerate(atoms)
    ]  # fmt: skip


def twice(a, b, c, d, shifts=(0.0, 0.0, 1.5, 1.5)):
    """Return four letters at places: the ground state A, B and the bound state C, D."""
    return list(zip("ABCD", (a, b, c, d), shifts, strict=True))


FAR = 100.0
#: Two places that do not touch, each state written twice; a ligand and a water that belong to them.
PANDDA = [
    residue("VAL", 1, twice(0.2, 0.2, 0.3, 0.3), 0.0),
    residue("VAL", 2, twice(0.15, 0.15, 0.35, 0.35), FAR),
    residue("LIG", 201, [("C", 0.3, 4.0), ("D", 0.3, 4.0)], 0.0),
    residue("HOH", 301, [("A", 0.2, 3.0), ("B", 0.2, 3.0)], FAR, chain="W", atoms=("O",)),
]
#: What has nothing to do with the states.
UNRELATED = [
    residue("VAL", 11, [("A", 0.7, 0.0), ("B", 0.3, 1.5)], 2 * FAR),  # letters of one state
    residue("VAL", 12, twice(0.4, 0.1, 0.4, 0.1, (0.0, 1.5, 0.0, 1.5)), 3 * FAR),  # same in both
    residue("HOH", 302, [("A", 0.2, 0.0), ("B", 0.2, 2.0)], 4 * FAR, chain="W", atoms=("O",)),
]


@pytest.fixture
def grouped(load_lines):
    """Return a function of blocks of lines: the model with the states as its groups."""
    return lambda *blocks: load_lines(*blocks, grouping="states")


def named(groups) -> dict[str, set[str]]:
    """Return the residues of each group by its name."""
    table = groups.table
    return {
        name: {table.residue_label(int(a)).rpartition("/")[0] for a in groups.members[g]}
        for g, name in enumerate(groups.names)
    }


def states(groups) -> dict[str, float]:
    return {s.name: float(groups.occupancy[list(s.groups)].sum()) for s in groups.states}


def codes(model) -> list[str]:
    return [notice.code for notice in model.notices]


def test_letters_of_ligands_are_the_bound_state(grouped):
    model = grouped(*PANDDA)
    groups = model.occupancy_groups
    ground, bound = {"A/1", "A/2", "W/301"}, {"A/1", "A/2", "A/201"}
    assert named(groups) == {
        "ground:A": ground, "ground:B": ground, "bound:C": bound, "bound:D": bound
    }  # fmt: skip
    (one,) = groups.sets
    assert (one.name, one.total, one.complete, len(one.groups)) == ("states", 1.0, True, 4)
    assert groups.refined.all()
    assert list(states(groups)) == ["ground:A+B", "bound:C+D"]
    assert sum(states(groups).values()) == pytest.approx(1)
    assert "A/201/LIG has C, D of A, B, C, D" in groups.why(0)
    assert "A/1/VAL, A/2/VAL, W/301/HOH" in groups.why(0)
    assert codes(model) == ["states_values", "set_sum"]


def test_what_has_nothing_to_do_with_the_states_stays_as_it_was(grouped, load_lines):
    groups = grouped(*PANDDA, *UNRELATED).occupancy_groups
    usual = load_lines(*PANDDA, *UNRELATED).occupancy_groups
    own = {name: (rows, usual.set_index[g]) for g, (name, rows) in enumerate(named(usual).items())}
    for name, rows in named(groups).items():
        if ":" in name and name.split(":")[0] not in {"ground", "bound"}:
            assert own[name][0] == rows
    assert {s.name for s in groups.sets} == {"states", "A/11/VAL", "A/12/VAL", "W/302/HOH"}
    assert [s.complete for s in groups.sets] == [True, True, True, False]


def test_one_letter_a_state(grouped):
    """A ligand with one letter that touches nothing, and two places of the protein."""
    groups = grouped(
        residue("VAL", 1, [("A", 0.4, 0.0), ("B", 0.6, 1.5)], 0.0),
        residue("VAL", 2, [("A", 0.4, 0.0), ("B", 0.6, 1.5)], FAR),
        residue("LIG", 201, [("B", 0.6, 0.0)], 2 * FAR),
    ).occupancy_groups
    assert named(groups) == {"ground:A": {"A/1", "A/2"}, "bound:B": {"A/1", "A/2", "A/201"}}
    assert states(groups) == {"ground:A": pytest.approx(0.4), "bound:B": pytest.approx(0.6)}


def test_two_poses_sum_to_the_bound_state_where_the_protein_has_one_letter_for_it(grouped):
    model = grouped(
        residue("VAL", 1, [("A", 0.4, 0.0), ("B", 0.6, 1.5)], 0.0),
        residue("VAL", 2, [("A", 0.4, 0.0), ("B", 0.6, 1.5)], FAR),
        residue("LIG", 201, [("B", 0.2, 4.0), ("C", 0.4, 6.0)], 0.0),
    )
    groups = model.occupancy_groups
    assert named(groups) == {
        "ground:A": {"A/1", "A/2"}, "bound:B": {"A/1", "A/2"},
        "A/201/LIG:B": {"A/201"}, "A/201/LIG:C": {"A/201"},
    }  # fmt: skip
    poses = groups.sets[1]
    assert groups.names[poses.parent] == "bound:B"
    assert [groups.names[g] for g in poses.groups] == ["A/201/LIG:B", "A/201/LIG:C"]
    assert groups.occupancy[list(poses.groups)].tolist() == pytest.approx([0.2, 0.4])
    assert states(groups) == {"ground:A": pytest.approx(0.4), "bound:B": pytest.approx(0.6)}
    assert codes(model) == []


def test_letters_that_coincide_are_one_for_a_single_letter_elsewhere(grouped):
    """A residue with one letter a state carries it; those with two sum to it, in one set each."""
    groups = grouped(*PANDDA, residue("VAL", 3, [("A", 0.4, 0.0), ("C", 0.6, 2.0)], 2 * FAR))
    groups = groups.occupancy_groups
    assert named(groups)["ground:A"] == named(groups)["bound:C"] == {"A/3"}
    nested = [s for s in groups.sets if s.parent is not None]
    assert {groups.names[s.parent]: len(s.groups) for s in nested} == {"ground:A": 2, "bound:C": 2}
    for one in nested:  # both places and what belongs to them
        rows = named(groups)
        assert {"A/1", "A/2"} < set.union(*(rows[groups.names[g]] for g in one.groups))
        total = groups.occupancy[list(one.groups)].sum()
        assert total == pytest.approx(groups.occupancy[one.parent])


def test_poses_at_letters_of_their_own_have_fractions_of_the_state(grouped):
    """A ligand in two places: C and D are no longer one, and their sum is the bound state."""
    lines = [*PANDDA[:2], residue("LIG", 201, [("C", 0.2, 4.0), ("D", 0.4, 6.0)], 0.0), PANDDA[3]]
    model = grouped(*lines)
    groups = model.occupancy_groups
    assert list(states(groups)) == ["ground:A+B", "bound:C+D"]
    bound = groups.states[1].groups
    assert groups.occupancy[bound[1]] > groups.occupancy[bound[0]]
    assert "states_fractions" not in codes(model)
    lines[1] = residue("VAL", 2, twice(0.15, 0.15, 0.1, 0.6, (0.0, 0.0, 1.5, 2.5)), FAR)
    both = grouped(*lines)
    (notice,) = [n for n in both.notices if n.code == "states_fractions"]
    for words in ("A/1/VAL, A/201/LIG; A/2/VAL", "C, D of the state bound"):
        assert words in notice.message


def test_ligands_in_every_letter_are_states_of_their_own(grouped):
    groups = grouped(
        residue("VAL", 1, [("A", 0.4, 0.0), ("B", 0.6, 1.5)], 0.0),
        residue("EDO", 200, [("A", 0.4, 4.0)], 0.0),
        residue("LIG", 201, [("B", 0.6, 6.0)], 0.0),
    ).occupancy_groups
    assert named(groups) == {"EDO:A": {"A/1", "A/200"}, "LIG:B": {"A/1", "A/201"}}


def test_letters_that_do_not_fit_are_left_out_by_name(grouped):
    model = grouped(
        residue("VAL", 1, [("A", 0.2, 0.0), ("B", 0.2, 1.5), ("C", 0.6, 3.0)], 0.0),
        residue("VAL", 2, [("A", 0.4, 0.0), ("C", 0.3, 1.5), ("D", 0.3, 3.0)], FAR),
        residue("LIG", 201, [("C", 0.3, 4.0), ("D", 0.3, 6.0)], 2 * FAR),
    )
    (notice,) = [n for n in model.notices if n.code == "states_left_out"]
    assert notice.message.startswith("A/2/VAL: of the states ground (A, B) and bound (C, D)")
    groups = model.occupancy_groups
    assert {s.name: len(s.groups) for s in groups.sets} == {
        "states": 3, "A/2/VAL": 3, "A/201/LIG": 2
    }  # fmt: skip
    assert groups.names[groups.sets[-1].parent] == "bound:C"


def chain(n: int, letters: str, first: int = 1, at: float = 0.0):
    """Return residues 3 A apart in each letter."""
    return [
        residue("VAL", first + i, [(x, 1 / len(letters), 8.0 * k) for k, x in enumerate(letters)],
                at + 3.0 * i)
        for i in range(n)
    ]  # fmt: skip


def test_without_a_ligand_letters_that_all_sets_have_are_states(grouped):
    groups = grouped(*chain(3, "AB"), *chain(1, "AB", 50, FAR), *chain(1, "ABC", 60, 2 * FAR))
    groups = groups.occupancy_groups
    rows = {"A/1", "A/2", "A/3", "A/50"}
    found = named(groups)
    assert found["state:A"] == found["state:B"] == rows
    assert list(states(groups)) == ["state:A", "state:B"]
    assert {s.name: len(s.groups) for s in groups.sets} == {"states": 2, "A/60/VAL": 3}


LIGAND = residue("LIG", 201, [("A", 0.5, 0.0), ("B", 0.5, 1.0)], 3 * FAR)


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        (chain(2, "AB"), r"no ligand has altlocs, and there are no 3 connected residues"),
        (chain(1, ""), r"no ligand has altlocs"),
        ([*chain(2, "AB"), LIGAND], r"ligands have all letters \(A/201/LIG A, B\)"),
        ([*chain(3, "AB"), *chain(1, "CD", 9, FAR)], r"no 3 connected residues"),
        (
            [*chain(3, "CD"), LIGAND],
            r"A/201/LIG has A, B of A, B, C, D, so that the states are ground \(C, D\) and bound "
            r"\(A, B\), but no residue has different conformers in all",
        ),
    ],
)
def test_states_that_cannot_be_told_are_refused(grouped, blocks, says):
    if not any(blocks):
        blocks = [residue("VAL", 1, [("", 1.0, 0.0)], 0.0)]
    with pytest.raises(RuleError, match=says) as fault:
        grouped(*blocks)
    assert "--grouping connected" in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("grouping", ["residue", "connected"])
def test_states_are_offered_where_a_model_looks_like_it(load_lines, grouping):
    model = load_lines(*PANDDA, grouping=grouping)
    (notice,) = [n for n in model.notices if n.code == "states"]
    assert notice.message == (
        "A/201/LIG has C, D of A, B, C, D: --grouping states refines one occupancy for each state "
        "of the model, ground (A, B) and bound (C, D)"
    )


def test_states_are_not_offered_where_nothing_is_gained(load_lines):
    far = residue("LIG", 201, [("C", 0.3, 4.0), ("D", 0.3, 4.0)], 5 * FAR)
    assert "states" not in codes(load_lines(*PANDDA[:2], far))  # touches nothing
    one = [PANDDA[0], PANDDA[2]]
    assert "states" not in codes(load_lines(*one, grouping="connected"))  # one network anyway
    assert "states" in codes(load_lines(*one))
    assert "states" not in codes(load_lines(*chain(3, "AB"), LIGAND))


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"separate": "A/201/LIG"}, ["ground:A+B", "bound:C+D"]),  # the states, without it
        ({"restrain": "bound:C", "target": 0.3, "sigma": 0.1}, ["ground:A+B", "bound:C+D"]),
        ({"fix": "ground:A"}, ["ground:A+B", "bound:C+D"]),
        ({"sum": ["ground:A", "bound:C"], "at_most": 1}, []),
        ({"group": "all", "atoms": ["//A/1", "//A/2", "(LIG)"]}, ["ground:A+B"]),
    ],
)
def test_states_follow_their_groups_through_rules(load_lines, rule, left):
    groups = load_lines(*PANDDA, grouping="states", sharing_rules=[rule]).occupancy_groups
    assert list(states(groups)) == left


@pytest.mark.parametrize("form", list(ExchangeFormat))
@pytest.mark.parametrize("poses", [False, True])
def test_groups_of_states_are_written_for_other_programs(tmp_path, form, poses):
    """What is read again is the same; what a language cannot say stands in a comment."""
    blocks = PANDDA
    if poses:
        blocks = [
            residue("VAL", 1, [("A", 0.4, 0.0), ("B", 0.6, 1.5)], 0.0),
            residue("LIG", 201, [("B", 0.2, 4.0), ("C", 0.4, 6.0)], 0.0),
        ]
    source = read_structure(write_text(tmp_path / "model.pdb", pdb_text(*blocks)))
    groups = group_file(source, Grouping.STATES).groups
    text = write_groups(groups, form, cell=source.cell)
    again = group_file(source, rules=parse_rules_text(text, source.table, "text")).groups
    assert sorted(m.tolist() for m in again.members) == sorted(m.tolist() for m in groups.members)
    told = {(frozenset(tuple(again.members[g]) for g in s.groups), s.total, s.complete)
            for s in again.sets if s.parent is None}  # fmt: skip
    wanted = {(frozenset(tuple(groups.members[g]) for g in s.groups), s.total, s.complete)
              for s in groups.sets if s.parent is None}  # fmt: skip
    if form is ExchangeFormat.SHELX and not poses:  # a sum of four is a restraint there
        assert "SUMP" in text
    else:
        assert wanted <= told
    if poses and form in (ExchangeFormat.PHENIX, ExchangeFormat.REFMAC):
        assert "not expressed: A/201/LIG:B, A/201/LIG:C sum to bound:B" in text
    elif poses and form is ExchangeFormat.TOML:
        (nested,) = [s for s in again.sets if s.parent is not None]
        assert again.names[nested.parent] == "bound:B"


def test_the_model_of_the_screen(shared_data):
    """Four places with ground and bound state; three residues are the same in both."""
    model = Model().load(shared_data / "mpro-x0107" / "model.pdb", grouping="states")
    groups = model.occupancy_groups
    rows = named(groups)
    assert rows["bound:C"] == rows["bound:D"] == {"A/141", "A/142", "A/145", "A/1101"}
    waters = {f"W/{n}" for n in (36, 154, 184, 188, 190, 197)}
    assert rows["ground:A"] == rows["ground:B"] == {"A/141", "A/142", "A/145"} | waters
    assert states(groups) == {"ground:A+B": pytest.approx(0.36), "bound:C+D": pytest.approx(0.64)}
    assert {s.name for s in groups.sets} >= {"A/73/VAL", "A/216/ASP", "A/221/ASN"}
    assert np.abs(groups.sums.excess(groups.occupancy)).max() < 1e-9


def test_the_series_of_the_screen_has_no_states(shared_data):
    with pytest.raises(RuleError, match="no states can be told: no ligand has altlocs"):
        Model().load(shared_data / "baz2b" / "x430" / "model.pdb", grouping="states")
