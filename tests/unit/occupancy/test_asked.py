"""What a run is asked to refine and to hold: names and selections, and what they do to groups."""

import numpy as np
import pytest

from helpers import residue_lines
from multicopy_refinement.atoms.kinds import ligand_atoms, water_atoms
from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.grouping import GroupingOptions

C, CA = ["C1", "C2"], ["N", "CA", "C"]


def model_lines() -> list[list[str]]:
    """Return a side chain with altlocs, residues at 1, a ligand, an ion, sulfate and waters."""
    return [
        [
            *residue_lines("VAL", 1, ["N", "CA"]),
            *residue_lines("VAL", 1, ["CB", "CG1"], [("A", 0.6), ("B", 0.4)]),
        ],
        residue_lines("ALA", 2, ["N", "CA", "CB"]),
        residue_lines("LIG", 201, C),
        residue_lines("LIG", 202, C, [("A", 0.3), ("B", 0.3)]),
        residue_lines("K", 301, ["K"]),
        residue_lines("SO4", 302, ["S", "O1"]),
        residue_lines("HOH", 401, ["O"], chain="W"),
        residue_lines("HOH", 402, ["O"], [("", 0.5)], chain="W"),
    ]


@pytest.fixture
def asked(load_lines):
    """Return a function of what is asked: the groups that it makes."""
    return lambda **options: load_lines(*model_lines(), **options).occupancy_groups


def refined(groups) -> set[str]:
    return {name for name, free in zip(groups.names, groups.refined, strict=True) if free}


USUAL = {"A/1/VAL:A", "A/1/VAL:B", "A/202/LIG:A", "A/202/LIG:B", "W/402/HOH"}


def test_kinds_of_residues(load_lines):
    table = load_lines(*model_lines()).table
    assert {table.residue_label(int(a)) for a in np.flatnonzero(ligand_atoms(table))} == {
        "A/201/LIG", "A/202/LIG",
    }  # fmt: skip
    assert set(table.resname[water_atoms(table)]) == {b"HOH"}


@pytest.mark.parametrize(
    ("selection", "more"),
    [
        ("A/201/LIG", {"A/201/LIG"}),  # a group
        ("A/201", {"A/201/LIG"}),  # gemmi's CID
        ("resname ALA K", {"A/2/ALA", "A/301/K"}),
        ("resname LIG", {"A/201/LIG"}),
        ("A/1/VAL", {"A/1/VAL"}),  # a set, and what is beside it in the residue
        ("A/1/VAL:B", set()),  # refined as it is
        ("//A/1-2", {"A/1/VAL", "A/2/ALA"}),
        ("ligands", {"A/201/LIG"}),
        ("waters", {"W/401/HOH"}),
    ],
)
def test_refine_frees_what_goes_by_a_name(asked, selection, more):
    groups = asked(refine=selection)
    assert refined(groups) == USUAL | more
    for name in more:
        assert f"by --refine {selection}" in groups.why(groups.names.index(name))
    assert len(groups.sets) == 2  # what is in sets stays there


def test_ligands_and_waters(asked):
    groups = asked(ligands=True, waters=True)
    assert refined(groups) == USUAL | {"A/201/LIG", "W/401/HOH"}
    assert "by --ligands" in groups.why(groups.names.index("A/201/LIG"))
    assert "by --waters" in groups.why(groups.names.index("W/401/HOH"))


@pytest.mark.parametrize(
    ("selection", "fewer"),
    [
        ("A/1/VAL", {"A/1/VAL:A", "A/1/VAL:B"}),
        ("A/1/VAL:A", {"A/1/VAL:A", "A/1/VAL:B"}),  # one is left no choice
        ("A/202/LIG:A", {"A/202/LIG:A"}),  # at most 1: the other is
        ("W/402/HOH", {"W/402/HOH"}),
        ("(HOH)", {"W/402/HOH"}),
    ],
)
def test_hold_holds_at_the_value_of_the_file(asked, selection, fewer):
    groups = asked(hold=selection)
    assert refined(groups) == USUAL - fewer
    assert np.array_equal(groups.occupancy, groups.file_occupancy)
    assert any(f"by --hold {selection}" in groups.why(g) for g in range(len(groups)))


def test_a_set_that_is_held_keeps_a_sum_that_is_off_by_rounding(load_lines):
    lines = residue_lines("VAL", 1, ["CB"], [("A", 0.33), ("B", 0.33), ("C", 0.33)])
    model = load_lines(lines, hold="A/1/VAL")
    assert model.occupancy_groups.occupancy.tolist() == [0.33] * 3
    assert model.occupancy().tolist() == pytest.approx([0.33] * 3, abs=1e-6)


def test_what_is_held_stays_so_whatever_is_to_be_refined(asked):
    groups = asked(refine="//A", hold=["A/2", "A/201/LIG"])
    assert refined(groups) == USUAL | {"A/1/VAL", "A/301/K", "A/302/SO4"}
    assert refined(asked(waters=True, hold="W/402/HOH")) == (USUAL - {"W/402/HOH"}) | {"W/401/HOH"}


def test_they_come_after_the_rules_of_a_file(asked):
    rules = [{"share": ["A/2/ALA", "A/201/LIG"], "name": "both"}, {"fix": "W/402/HOH"}]
    groups = asked(sharing_rules=rules, refine=["both", "waters"])
    assert refined(groups) == USUAL - {"W/402/HOH"} | {"both", "W/401/HOH"}
    with pytest.raises(RuleError, match=r"--refine W/402: W/402/HOH: contradicts the rule of shar"):
        asked(sharing_rules=rules, refine="W/402")
    with pytest.raises(RuleError, match=r"--hold both: A/2/ALA: contradicts the rule of shar"):
        asked(sharing_rules=[*rules, {"refine": "both"}], hold="both")


def test_names_of_residues_and_sets_are_selections_of_rules_too(asked):
    groups = asked(sharing_rules=[{"fix": "A/202/LIG"}, {"refine": "resname K"}])
    assert refined(groups) == (USUAL | {"A/301/K"}) - {"A/202/LIG:A", "A/202/LIG:B"}
    only = asked(sharing_rules=[{"refine": "A/1/VAL"}])  # the name of a group, and that alone
    assert refined(only) == USUAL | {"A/1/VAL"}


def test_parts_of_shared_groups(load_lines):
    """A residue whose letters are shared is refined with the others; it cannot be held alone."""
    lines = [residue_lines("VAL", number, CA, [("A", 0.6), ("B", 0.4)]) for number in (1, 2)]
    near = [[line.replace(f"{3.0 * n:8.3f}", f"{1.0 * n:8.3f}") for line in block]
            for n, block in enumerate(lines, start=1)]  # fmt: skip
    groups = load_lines(*near, grouping="connected", refine="A/2/VAL:B").occupancy_groups
    assert (len(groups), int(groups.refined.sum())) == (2, 2)
    with pytest.raises(RuleError, match="selects 3 of the 6 atoms"):
        load_lines(*near, grouping="connected", hold="A/2/VAL:B")


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("A/201/LYG", r"--refine A/201/LYG: 'A/201/LYG' selects no atom; nearest: A/201/LIG"),
        ("A/21", r"selects no atom; nearest: A/2"),
        ("LIG", r"'LIG' selects no atom; nearest: resname LIG"),
        ("resname LYG", r"nearest: resname LIG"),
        ("//Z/1", r"selects no atom"),
        ("//A/2/CB", r"selects 1 of the 3 atoms of group A/2/ALA, not .*; name the group"),
        (" ", r"an empty selection"),
    ],
)
@pytest.mark.parametrize("option", ["refine", "hold"])
def test_what_is_not_there_is_refused_with_the_nearest_names(asked, option, selection, says):
    with pytest.raises(RuleError, match=says.replace("--refine", f"--{option}")) as fault:
        asked(**{option: selection})
    assert "\n" not in str(fault.value)


def test_a_kind_that_is_not_there_is_a_notice(load_lines):
    model = load_lines(residue_lines("ALA", 2, CA), ligands=True)
    (notice,) = model.notices
    assert notice.message == "--ligands: the model has no ligands"
    with pytest.raises(RuleError, match="'ligands' selects no atom"):
        load_lines(residue_lines("ALA", 2, CA), refine="ligands")


def test_a_model_is_grouped_anew_from_the_file(load_lines):
    model = load_lines(*model_lines(), ligands=True)
    groups = model.occupancy_groups
    values = np.where(groups.refined & (groups.set_index < 0), 0.25, model.group_occupancies())
    model.assign_group_occupancies(values)
    assert model.regroup(refine="A/2/ALA") is model
    assert refined(model.occupancy_groups) == USUAL | {"A/201/LIG", "A/2/ALA"}
    assert model.occupancy().tolist() == pytest.approx(model.table.occupancy.tolist(), abs=1e-5)
    other = GroupingOptions(hold=("W/402/HOH",))
    assert refined(model.regroup(grouping=other).occupancy_groups) == USUAL - {"W/402/HOH"}
    with pytest.raises(RuleError):
        model.regroup(refine="A/9")
    assert refined(model.occupancy_groups) == USUAL - {"W/402/HOH"}  # left as it was
