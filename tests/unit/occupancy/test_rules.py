"""Users' rules: what they make of the automatic groups, and how they fail."""

import numpy as np
import pytest

from grouping_cases import described
from helpers import atom_line, residue_lines
from multicopy_refinement.errors import InputError, OccupancyError, RuleError
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why


def model_lines() -> list[list[str]]:
    """Return two valines with A and B, a ligand with two poses, and two partial waters."""
    return [
        residue_lines("VAL", 1, ["CB", "CG1"], [("A", 0.6), ("B", 0.4)]),  # 0 1, 2 3
        residue_lines("VAL", 2, ["CB", "CG1"], [("A", 0.7), ("B", 0.3)]),  # 4 5, 6 7
        residue_lines("LIG", 3, ["C1"], [("C", 0.2), ("D", 0.2)]),  # 8, 9
        residue_lines("HOH", 4, ["O"], [("", 0.5)]),  # 10
        residue_lines("HOH", 5, ["O"], [("", 0.9)]),  # 11
        residue_lines("ALA", 6, ["CA", "CB"], [("", 1.0)]),  # 12 13
    ]


@pytest.fixture
def ruled(load_lines):
    """Return a function of rules: the groups that they make."""

    def load(*rules: dict) -> OccupancyGroups:
        return load_lines(*model_lines(), sharing_rules=list(rules)).occupancy_groups

    return load


def group(groups: OccupancyGroups, *atoms: int) -> int:
    """Return the group that has exactly these atoms."""
    (found,) = [g for g in range(len(groups)) if groups.members[g].tolist() == list(atoms)]
    return found


def sets(groups: OccupancyGroups) -> list[tuple]:
    return [
        (
            [groups.members[g].tolist() for g in s.groups], s.total, s.complete,
            None if s.parent is None else groups.members[s.parent].tolist(),
        )
        for s in groups.sets
    ]  # fmt: skip


# ---------------------------------------------------------------------- each rule


def test_share_by_selection_joins_letter_by_letter(ruled):
    groups = ruled({"share": ["//A/1", "//A/2"], "name": "loop"})
    a, b = group(groups, 0, 1, 4, 5), group(groups, 2, 3, 6, 7)
    assert (groups.names[a], groups.names[b]) == ("loop:A", "loop:B")
    assert groups.occupancy[[a, b]].tolist() == pytest.approx([0.65, 0.35])
    assert sets(groups)[0] == ([[0, 1, 4, 5], [2, 3, 6, 7]], 1.0, True, None)
    assert "sharing_rules[0]" in groups.why(a)


def test_share_by_name(ruled):
    groups = ruled({"share": ["A/4/HOH", "A/5/HOH"], "name": "pair"})
    pair = group(groups, 10, 11)
    assert groups.names[pair] == "pair"
    assert groups.occupancy[pair] == pytest.approx(0.7)
    assert groups.refined[pair]


def test_a_group_without_a_set_may_join_a_member_of_one(load_lines):
    lines = [
        residue_lines("VAL", 1, ["CB", "CG1"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("HOH", 2, ["O"], [("A", 0.9)]),
    ]
    rules = [{"share": ["A/1/VAL:A", "A/2/HOH:A"]}]
    groups = load_lines(*lines, sharing_rules=rules).occupancy_groups
    assert sets(groups) == [([[0, 1, 4], [2, 3]], 1.0, True, None)]
    assert groups.occupancy.tolist() == pytest.approx([0.7 / 1.1, 0.4 / 1.1])


def test_separate_takes_a_residue_out_of_its_group(ruled):
    groups = ruled({"share": ["//A/1", "//A/2"]}, {"separate": "//A/2"})
    assert sets(groups)[:2] == [
        ([[0, 1], [2, 3]], 1.0, True, None),
        ([[4, 5], [6, 7]], 1.0, True, None),
    ]
    assert groups.rule[group(groups, 4, 5)] == Why.SEPARATED
    assert groups.occupancy[group(groups, 4, 5)] == pytest.approx(0.65)


def test_separate_takes_atoms_out_of_a_conformer(ruled):
    groups = ruled({"separate": "//A/1/CG1:A"})
    assert sets(groups)[0] == ([[0], [2, 3]], 1.0, True, None)
    alone = group(groups, 1)
    assert groups.set_index[alone] == -1
    assert groups.refined[alone]


def test_separate_of_one_letter_dissolves_the_set_and_says_so(load_lines):
    model = load_lines(*model_lines(), sharing_rules=[{"separate": "//A/1/:A"}])
    assert [s[0] for s in sets(model.occupancy_groups)] == [[[4, 5], [6, 7]], [[8], [9]]]
    (notice,) = [n for n in model.notices if n.code == "set_dissolved"]
    assert "A/1/VAL:A, A/1/VAL:B are no longer part of a sum" in notice.message
    assert len(notice.atoms) == 4


def test_fix_holds_a_group_at_a_value(ruled):
    groups = ruled({"fix": "A/4/HOH", "value": 0.25}, {"fix": "A/5/HOH"})
    assert not groups.refined[[group(groups, 10), group(groups, 11)]].any()
    assert groups.occupancy[group(groups, 10)] == 0.25
    assert groups.occupancy[group(groups, 11)] == pytest.approx(0.9)
    assert "held at 0.250" in groups.why(group(groups, 10))


def test_fixing_one_of_two_members_decides_the_other(load_lines):
    model = load_lines(*model_lines(), sharing_rules=[{"fix": "A/1/VAL:A", "value": 0.8}])
    groups = model.occupancy_groups
    other = group(groups, 2, 3)
    assert groups.occupancy[other] == pytest.approx(0.2)
    assert not groups.refined[other]
    assert "held_by_set" in {n.code for n in model.notices}


def test_a_fixed_member_does_not_move_with_its_partners(load_lines):
    lines = residue_lines("VAL", 1, ["CB"], [("A", 0.5), ("B", 0.3), ("C", 0.2)])
    model = load_lines(lines, sharing_rules=[{"fix": "A/1/VAL:A"}])
    model.occupancy.set_group_occupancy(1, 0.1)
    assert model.occupancy().tolist() == pytest.approx([0.5, 0.1, 0.4])
    assert model.occupancy()[0] == 0.5


def test_refine_makes_full_atoms_refinable(ruled):
    groups = ruled({"refine": "//A/6"})
    assert groups.refined[group(groups, 12, 13)]
    assert "refined by sharing_rules[0]" in groups.why(group(groups, 12, 13))


@pytest.mark.parametrize(
    ("limit", "total", "complete"),
    [({}, 1.0, True), ({"equal": 0.8}, 0.8, True), ({"at_most": 1}, 1.0, False),
     ({"at_most": 0.35}, 0.35, False)],
)  # fmt: skip
def test_sums_of_a_number(ruled, limit, total, complete):
    groups = ruled({"sum": ["A/3/LIG:C", "A/3/LIG:D"], "name": "poses", **limit})
    one = groups.sets[groups.set_index[group(groups, 8)]]
    assert (one.name, one.total, one.complete) == ("poses", total, complete)
    found = groups.occupancy[[group(groups, 8), group(groups, 9)]]
    assert found.tolist() == pytest.approx([0.2 if total == 1 and not complete else total / 2] * 2)


def test_nested_states(ruled):
    """The ligand is bound where the valine is B, in one of two poses."""
    groups = ruled({"sum": ["A/3/LIG:C", "A/3/LIG:D"], "equal": "A/1/VAL:B"})
    assert sets(groups)[-1] == ([[8], [9]], 0.0, True, [2, 3])
    found = groups.occupancy[[group(groups, 8), group(groups, 9)]]
    assert found.tolist() == pytest.approx([0.2, 0.2])
    assert "sums to A/1/VAL:B" in groups.why(group(groups, 8))
    at_most = ruled({"sum": ["A/3/LIG:C", "A/3/LIG:D"], "at_most": "A/1/VAL:B"})
    assert not at_most.sets[-1].complete


def test_a_fixed_parent_makes_a_total(load_lines):
    model = load_lines(
        *model_lines(),
        sharing_rules=[
            {"sum": ["A/3/LIG:C", "A/3/LIG:D"], "equal": "A/4/HOH"},
            {"fix": "A/4/HOH", "value": 0.6},
        ],
    )
    assert model.occupancy()[[8, 9]].tolist() == pytest.approx([0.3, 0.3])


def test_restraints_are_noted_with_their_groups(ruled):
    groups = ruled(
        {"restrain": ["A/4/HOH", "A/5/HOH"], "target": 0.7, "sigma": 0.1},
        {"similar": ["A/1/VAL:A", "A/2/VAL:A"], "sigma": 0.02},
        {"sum": ["A/4/HOH", "A/5/HOH"], "equal": 1.2, "sigma": 0.05, "weights": [1, 0.5]},
    )
    water, other = group(groups, 10), group(groups, 11)
    first, second, third, fourth = groups.restraints
    assert (first.groups, first.weights, first.target, first.sigma) == ((water,), (1.0,), 0.7, 0.1)
    assert second.groups == (other,)
    assert (third.groups, third.weights, third.target) == (
        (group(groups, 0, 1), group(groups, 4, 5)), (1.0, -1.0), 0.0,
    )  # fmt: skip
    assert (fourth.groups, fourth.weights, fourth.target) == ((water, other), (1.0, 0.5), 1.2)
    assert third.name == "A/1/VAL:A - A/2/VAL:A = 0 (0.02)"


def test_group_takes_exactly_the_atoms_that_are_named(ruled):
    groups = ruled({"group": "tip", "atoms": ["//A/1/CG1:A", "//A/2/CG1:A"], "value": 0.3})
    tip = group(groups, 1, 5)
    assert (groups.names[tip], groups.occupancy[tip], groups.refined[tip]) == ("tip", 0.3, True)
    assert groups.set_index[tip] == -1
    assert groups.members[group(groups, 0)].tolist() == [0]


def test_names_of_groups_can_be_used_by_later_rules(ruled):
    groups = ruled(
        {"group": "tip", "atoms": "//A/6/CB"},
        {"restrain": "tip", "target": 0.9, "sigma": 0.1},
    )
    assert groups.restraints[0].groups == (group(groups, 13),)


def test_atoms_may_be_given_by_their_places(ruled):
    groups = ruled({"group": "tip", "atoms": [[1, 5]]})
    assert groups.names[group(groups, 1, 5)] == "tip"


def test_the_form_of_the_specification_and_selections_agree(ruled):
    one = ruled({"residues": [(1, "A"), (2, "A")], "share": True})
    other = ruled({"share": ["//A/1", "//A/2"]})
    assert described(one) == described(other)


# ---------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"fix": "//A/99"}], r"\[0\]: '//A/99' selects no atom"),
        ([{"fix": "A/9/XXX:Q"}], r"\[0\]: 'A/9/XXX:Q' selects no atom"),
        ([{"fix": "A/x/y/z/q"}], r"\[0\]: 'A/x/y/z/q' is neither the name of a group nor"),
        ([{"fix": "//A/1/CB"}], r"\[0\]: .* selects 1 of the 2 atoms of group A/1/VAL:A, not "
                                r"A/1/VAL/CG1:A"),
        ([{"fix": [[99]]}], r"\[0\]: atom 99 is not in 0..13"),
        ([{"fix": "A/4/HOH"}, {"refine": "A/4/HOH"}], r"\[1\]: A/4/HOH: contradicts .*\[0\]"),
        ([{"refine": "A/4/HOH"}, {"fix": "A/4/HOH"}], r"\[1\]: A/4/HOH: contradicts .*\[0\]"),
        ([{"fix": "A/4/HOH"}, {"fix": "A/4/HOH", "value": 0.1}], r"\[1\]: A/4/HOH: contradicts"),
        ([{"fix": "A/4/HOH"}, {"share": ["A/4/HOH", "A/5/HOH"]}], r"\[1\]: A/4/HOH: contradicts"),
        ([{"fix": ["A/1/VAL:A", "A/1/VAL:B"], "value": 0.8}],
         r"\[0\]: the set A/1/VAL:A, A/1/VAL:B must sum to 1, but its fixed members hold 1.6"),
        ([{"fix": ["A/1/VAL:A", "A/1/VAL:B"], "value": 0.2}], r"must sum to 1, .* hold 0.4"),
        ([{"sum": ["A/4/HOH", "A/5/HOH"], "at_most": 1}, {"fix": "//A/4-5", "value": 0.7}],
         r"\[1\]: the set A/4/HOH, A/5/HOH must sum to at most 1, .* hold 1.4"),
        ([{"sum": ["A/4/HOH", "A/5/HOH"], "equal": 2.5}], r"\[0\]: .*at most 1, not 2.5"),
        ([{"sum": "A/4/HOH", "equal": True}], r"\[0\]: equal: "),
        ([{"restrain": "A/4/HOH", "target": float("nan"), "sigma": 1.0}], r"\[0\]: target: "),
        ([{"fix": ""}], r"\[0\]: an empty selection"),
        ([{"share": ["A/1/VAL:A", "A/1/VAL:B"]}], r"\[0\]: .*no two of them have the same altloc"),
        ([{"share": ["//A/4", "//A/5"]}, {"separate": "//A/4"}, {"fix": "//A/4"},
          {"group": "x", "atoms": "//A/4"}], r"\[3\]: A/4/HOH.*: contradicts the rule of .*\[2\]"),
        ([{"sum": ["A/4/HOH", "A/5/HOH"]}, {"separate": "//A/4"}],
         r"\[1\]: A/4/HOH: in the set of sharing_rules\[0\]"),
        ([{"sum": ["A/4/HOH", "A/5/HOH"]}, {"share": ["A/4/HOH", "A/5/HOH"]}],
         r"\[1\]: .*members of one set cannot share"),
        ([{"restrain": "A/1/VAL:A", "target": 0.5, "sigma": 0.1}, {"separate": "//A/1/CB"}],
         r"\[1\]: A/1/VAL:A: it is restrained, and cannot be cut"),
        ([{"sum": "A/4/HOH", "equal": "A/1/VAL:A"}, {"separate": "//A/1/CB"}],
         r"\[1\]: A/1/VAL:A: other groups sum to it: it cannot be cut"),
        ([{"sum": "A/4/HOH", "equal": "A/5/HOH"}, {"share": ["A/4/HOH", "A/5/HOH"]}],
         r"\[1\]: A/4/HOH is nested in A/5/HOH"),
        ([{"sum": ["A/4/HOH", "A/3/LIG:C"], "equal": "A/5/HOH"}, {"fix": "A/4/HOH"}],
         r"\[1\]: A/4/HOH: of the groups that sum to A/5/HOH all or none can be fixed"),
        ([{"sum": "A/4/HOH", "at_most": "A/5/HOH"}, {"fix": "A/4/HOH", "value": 0.95}],
         r"\[1\]: A/4/HOH: of the groups that sum to A/5/HOH all or none"),
        ([{"sum": ["A/4/HOH", "A/5/HOH"]}, {"sum": ["A/5/HOH", "A/3/LIG:C"]}],
         r"\[1\]: A/5/HOH: in the set of sharing_rules\[0\] already"),
        ([{"sum": ["A/4/HOH"], "equal": "A/4/HOH"}], r"\[0\]: .*one group that is no member"),
        ([{"sum": ["A/4/HOH"], "equal": "//A/1"}], r"\[0\]: .*one group that is no member"),
        ([{"sum": ["A/4/HOH"], "equal": "A/5/HOH"}, {"sum": ["A/5/HOH"], "equal": "A/4/HOH"}],
         r"\[1\]: A/5/HOH: they sum to themselves in a ring"),
        ([{"similar": ["//A/1", "//A/2"], "sigma": 0.1}], r"\[0\]: needs two groups, not 4"),
        ([{"group": "a", "atoms": "//A/1/CB"}, {"group": "b", "atoms": "//A/1/CB:A"}],
         r"\[1\]: A/1/VAL/CB:A: in the group of sharing_rules\[0\] already"),
        ([{"group": "A/4/HOH", "atoms": "//A/5"}], r"\[0\]: there is a group 'A/4/HOH' already"),
        ([{"sum": ["A/4/HOH", "A/5/HOH"], "sigma": 0.1, "weights": [1]}], r"1 weight for 2 groups"),
        # malformed
        ([{"restrain": "A/4/HOH", "target": 0.5}], r"\[0\]: sigma: Field required"),
        ([{"restrain": "A/4/HOH", "target": 0.5, "sigma": 0}], r"\[0\]: sigma: .*greater than 0"),
        ([{"fix": "A/4/HOH", "value": 1.5}], r"\[0\]: value: .*less than or equal to 1"),
        ([{"fix": []}], r"\[0\]: fix: .*at least 1 item"),
        ([{"fix": "A/4/HOH", "vlaue": 0.5}], r"\[0\]: vlaue: not known in this kind of rule"),
        ([{"sum": "A/4/HOH", "equal": 1, "at_most": 1}], r"\[0\]: .*equal or at_most, not both"),
        ([{"sum": "A/4/HOH", "at_most": 1, "sigma": 0.1}], r"\[0\]: .*equal, not at_most"),
        ([{"fix": "A/4/HOH", "refine": "A/5/HOH"}], r"\[0\]: a rule has one of"),
        ([{}], r"\[0\]: a rule has one of"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_names_its_place_and_the_atoms(ruled, rules, message):
    with pytest.raises(RuleError, match=message) as fault:
        ruled(*rules)
    assert "\n" not in str(fault.value)
    assert isinstance(fault.value, ValueError | InputError)
    assert isinstance(fault.value, OccupancyError)


def test_rules_leave_the_table_alone(load_lines):
    model = load_lines(*model_lines(), sharing_rules=[{"fix": "A/4/HOH", "value": 0.1}])
    assert model.table.occupancy[10] == 0.5
    assert model.occupancy_groups.file_occupancy[model.occupancy_groups.index[10]] == 0.5


def test_names_are_never_alike(ruled):
    groups = ruled({"separate": "//A/1/CG1:A"}, {"separate": "//A/2/CG1"})
    assert len(set(groups.names)) == len(groups)


def test_restraints_survive_later_joins(ruled):
    groups = ruled(
        {"restrain": "A/4/HOH", "target": 0.7, "sigma": 0.1}, {"share": ["A/4/HOH", "A/5/HOH"]}
    )
    assert groups.restraints[0].groups == (group(groups, 10, 11),)


def test_every_atom_is_in_one_group(ruled):
    groups = ruled({"separate": "//A/1/CG1:A"}, {"group": "x", "atoms": "//A/2/CB:B"})
    counted = np.concatenate(groups.members)
    assert sorted(counted.tolist()) == list(range(14))


def test_residues_with_a_blank_part_share_that_as_well(load_lines):
    lines = [
        residue_lines("SER", n, ["CA"], [("", 1.0)]) + residue_lines(
            "SER", n, ["OG"], [("A", q), ("B", 1 - q)]
        )
        for n, q in ((1, 0.6), (2, 0.8))
    ]  # fmt: skip
    found = load_lines(*lines, sharing_rules=[{"share": "//A/1-2"}]).occupancy_groups
    assert [m.tolist() for m in found.members] == [[0, 3], [1, 4], [2, 5]]
    assert found.refined.tolist() == [False, True, True]
    assert found.occupancy.tolist() == pytest.approx([1.0, 0.7, 0.3])


# ---------------------------------------------------------------------- rules one after another


def test_names_restraints_and_nested_sets_follow_atoms_that_move(ruled):
    groups = ruled(
        {"restrain": "A/1/VAL:A", "target": 0.6, "sigma": 0.1},
        {"sum": ["A/3/LIG:C", "A/3/LIG:D"], "equal": "A/1/VAL:B"},
        {"share": ["//A/1", "//A/2"]},
        {"separate": "//A/6/CB"},
        {"restrain": "A/2/VAL:B", "target": 0.4, "sigma": 0.1},
    )
    a, b = group(groups, 0, 1, 4, 5), group(groups, 2, 3, 6, 7)
    assert [r.groups for r in groups.restraints] == [(a,), (b,)]
    assert sets(groups)[-1] == ([[8], [9]], 0.0, True, [2, 3, 6, 7])


def test_a_group_that_is_separated_as_a_whole_keeps_its_restraint(ruled):
    groups = ruled({"restrain": "A/1/VAL:A", "target": 0.6, "sigma": 0.1}, {"separate": "//A/1"})
    assert groups.restraints[0].groups == (group(groups, 0, 1),)
    assert sets(groups)[0] == ([[0, 1], [2, 3]], 1.0, True, None)


def test_separate_counts_a_letter_once(ruled):
    groups = ruled({"separate": "//A/1/CG1"}, {"separate": "//A/1"})
    assert sets(groups)[0] == ([[0, 1], [2, 3]], 1.0, True, None)
    assert groups.occupancy[[group(groups, 0, 1), group(groups, 2, 3)]].tolist() == pytest.approx(
        [0.6, 0.4]
    )


def test_a_fixed_member_of_a_nested_set_decides_the_parent(load_lines):
    rules = [
        {"sum": ["A/3/LIG:C", "A/3/LIG:D"], "equal": "A/1/VAL:B"},
        {"fix": ["A/3/LIG:C", "A/3/LIG:D"], "value": 0.25},
    ]
    model = load_lines(*model_lines(), sharing_rules=rules)
    assert model.occupancy()[[8, 9]].tolist() == pytest.approx([0.25, 0.25])
    assert model.occupancy()[[2, 3]].tolist() == pytest.approx([0.5, 0.5])
    assert model.occupancy()[[0, 1]].tolist() == pytest.approx([0.5, 0.5])
    assert model.occupancy_groups.refined[:4].tolist() == [False, False, True, True]


def hydrogen_lines(number: int, occupancy: float) -> list[str]:
    """Return a serine whose HG is exchanged by 40%: three atoms, H and D."""
    places = [("CA", "C", 0.0), ("CB", "C", 1.5), ("OG", "O", 2.9)]
    lines = [
        atom_line(name, "SER", number, occupancy, element=element, xyz=(x, 9.0 * number, 0.0))
        for name, element, x in places
    ]
    at = (3.8, 9.0 * number, 0.0)
    return [
        *lines,
        atom_line("HG", "SER", number, 0.6 * occupancy, element="H", xyz=at),
        atom_line("DG", "SER", number, 0.4 * occupancy, element="D", xyz=at),
    ]


@pytest.mark.parametrize("occupancy", [1.0, 0.8])
def test_pairs_of_shared_residues_follow_their_parents(load_lines, occupancy):
    lines = [hydrogen_lines(1, occupancy), hydrogen_lines(2, occupancy)]
    model = load_lines(*lines, sharing_rules=[{"residues": [(1, "A"), (2, "A")], "share": True}])
    groups = model.occupancy_groups
    assert [m.tolist() for m in groups.members] == [[0, 1, 2, 5, 6, 7], [3], [4], [8], [9]]
    expected = [occupancy, 0.6 * occupancy, 0.4 * occupancy] + [0.6 * occupancy, 0.4 * occupancy]
    assert groups.occupancy.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rule", "parent", "refined"),
    [({"fix": "A/1/SER", "value": 0.5}, 0.5, False), ({"refine": "A/1/SER"}, 1.0, True)],
)
def test_pairs_follow_what_rules_make_of_their_parent(load_lines, rule, parent, refined):
    groups = load_lines(hydrogen_lines(1, 1.0), sharing_rules=[rule]).occupancy_groups
    assert groups.occupancy.tolist() == pytest.approx([parent, 0.6 * parent, 0.4 * parent])
    assert (groups.sets[0].parent == 0) is refined


def test_pairs_cannot_be_separated(load_lines):
    with pytest.raises(RuleError, match="H and D of one site cannot be separated"):
        load_lines(hydrogen_lines(1, 0.8), sharing_rules=[{"separate": [[3, 4]]}])
    groups = load_lines(hydrogen_lines(1, 0.8), sharing_rules=[{"separate": "//A/1"}])
    assert groups.occupancy_groups.sets[0].parent == 0
