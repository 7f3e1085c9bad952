"""What rules leave behind: sums that lose members, names without effect, uneven parts, time."""

import re
import time
import tomllib

import pytest

from grouping_cases import described
from helpers import atom_line, group_file, pdb_text, residue_lines, write_text
from multicopy_refinement.errors import RuleError
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.modes import Grouping
from multicopy_refinement.occupancy.exchange import ExchangeFormat, parse_rules_text, write_groups
from multicopy_refinement.occupancy.grouping import automatic_groups
from multicopy_refinement.occupancy.rules import apply_rules


@pytest.fixture
def source(tmp_path):
    """Return serine 10 with A and B (0, 1), 12 with A, B and C (2, 3, 4), a ligand (5)."""
    lines = [
        residue_lines("SER", 10, ["OG"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("SER", 12, ["OG"], [("A", 0.5), ("B", 0.3), ("C", 0.2)]),
        residue_lines("LIG", 11, ["C1"], [("", 0.4)]),
    ]
    return read_structure(write_text(tmp_path / "m.pdb", pdb_text(*lines)))


def said(result, code):
    (notice,) = [n for n in result.notices if n.code == code]
    return notice


# ---------------------------------------------------------------------- sums


def test_a_conformer_that_is_left_without_its_sum_is_named(source):
    result = group_file(source, rules=[{"sum": ["A/10/SER:A", "A/11/LIG"]}])
    notice = said(result, "set_dissolved")
    assert notice.message == "by the rules A/10/SER:B is no longer part of a sum"
    assert notice.atoms == ("A/10/SER/OG:B",)
    assert result.groups.occupancy[1] == 0.4


def test_conformers_that_are_left_sum_to_at_most_1(source):
    result = group_file(source, rules=[{"sum": ["A/12/SER:A", "A/11/LIG"]}])
    groups = result.groups
    assert groups.occupancy[[3, 4]].tolist() == [0.3, 0.2]  # not scaled to 1
    left = groups.sets[groups.set_index[3]]
    assert (left.groups, left.total, left.complete) == ((3, 4), 1.0, False)
    assert said(result, "set_opened").message == (
        "by the rules A/12/SER:A left the sum of A/12/SER:B, A/12/SER:C, which now sum to at most "
        "1; a sum rule for them says otherwise"
    )


@pytest.mark.parametrize("rule", [{"separate": "//A/12/:A"}, {"group": "g", "atoms": "//A/12/:A"}])
def test_a_conformer_that_is_taken_out(rule, source):
    result = group_file(source, rules=[rule])
    assert result.groups.occupancy[[3, 4]].tolist() == [0.3, 0.2]
    assert said(result, "set_opened")


def test_sums_as_a_whole_are_nothing_to_say(source):
    rules = [{"sum": ["A/12/SER:A", "A/12/SER:B", "A/12/SER:C"], "at_most": 1},
             {"separate": "//A/10"}]  # fmt: skip
    codes = {notice.code for notice in group_file(source, rules=rules).notices}
    assert codes == set()


def test_parts_of_a_sum_with_a_rule_for_the_rest(source):
    rules = [{"sum": ["A/12/SER:A", "A/11/LIG"]}, {"sum": ["A/12/SER:B", "A/12/SER:C"]}]
    groups = group_file(source, rules=rules).groups
    assert [(s.groups, s.complete) for s in groups.sets[1:]] == [((2, 5), True), ((3, 4), True)]


# ---------------------------------------------------------------------- sharing that shares nothing


@pytest.mark.parametrize("name", [None, "loop"])
def test_letters_of_one_set_have_nothing_to_share(name, source):
    rule = {"share": ["A/12/SER:B", "A/12/SER:C"]} | ({"name": name} if name else {})
    with pytest.raises(RuleError, match="SER:B, A/12/SER:C: no two of them have the same altloc"):
        group_file(source, rules=[rule])


def test_one_selection_may_be_named(source):
    groups = group_file(source, rules=[{"share": "//A/10", "name": "loop"}]).groups
    assert groups.names[:2] == ("loop:A", "loop:B")


# ---------------------------------------------------------------------- uneven conformers


@pytest.mark.parametrize(
    ("values", "kept", "apart", "complete"),
    [
        ((("A", 0.7, 0.5), ("B", 0.3, 0.5)), [0.7, 0.3], [0.5, 0.5], True),
        ((("A", 0.5, 0.2), ("B", 0.5, 0.2)), [0.5, 0.5], [0.2, 0.2], False),
        ((("A", 0.2, 0.6), ("B", 0.2, 0.4)), [0.6, 0.4], [0.2, 0.2], False),
    ],
)
def test_the_rule_of_the_notice_keeps_values_apart(values, kept, apart, complete, tmp_path):
    lines = [
        atom_line(name, "PHE", 7, q, altloc=letter, xyz=(0, 1.5 * i, 3.0 * (letter == "B")))
        for letter, one, other in values
        for i, (name, q) in enumerate([("N", one), ("CA", one), ("CB", other), ("HB", 0.9),
                                       ("CG", other)])
    ]  # fmt: skip
    source = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))
    notices = [n for n in group_file(source).notices if n.code == "uneven_part"]
    rules = []
    for text in re.findall(r'(separate = ".*?"|sum = ".*?" with .*)', notices[0].message):
        rules.append(tomllib.loads(text.replace(" with ", "\n")))
    result = group_file(source, rules=rules)
    groups = result.groups
    assert "uneven_part" not in {notice.code for notice in result.notices}
    assert sorted(map(len, groups.members)) in ([2, 2, 3, 3], [3, 3, 2, 2])
    found = [(groups.occupancy[list(s.groups)].tolist(), s.complete) for s in groups.sets]
    assert sorted(found) == sorted([(kept, True), (apart, complete)])


# ---------------------------------------------------------------------- names and places


def test_groups_that_selections_cannot_say_are_written_by_place(tmp_path):
    lines = [
        *residue_lines("SER", 1, ["OG"], [("*", 0.6), ("#", 0.4)], chain="/"),
        atom_line("O", "HOH", 8, 0.5, xyz=(9, 9, 9)), atom_line("O", "HOH", 8, 0.3, xyz=(9, 19, 9)),
    ]  # fmt: skip
    source = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))
    groups = group_file(source).groups
    text = write_groups(groups, ExchangeFormat.TOML)
    assert "atoms = [[0]]  # places in the file, from 0" in text
    rules = parse_rules_text(text, source.table, "t")
    assert described(group_file(source, rules=rules).groups) == described(groups)
    for form in (ExchangeFormat.PHENIX, ExchangeFormat.REFMAC):
        with pytest.raises(RuleError, match="cannot"):
            write_groups(groups, form)


# ---------------------------------------------------------------------- time


def seconds_of_rules(tmp_path, n):
    lines = [
        atom_line("O", "HOH", i + 1, 0.5, chain="W", xyz=(3.0 * (i % 80), 3.0 * (i // 80), 0))
        for i in range(n)
    ]
    source = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))
    automatic = automatic_groups(source.table, Grouping.RESIDUE)
    text = "refinement.refine.occupancies {\n individual = water\n}"
    rules = parse_rules_text(text, source.table, "x.eff")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        apply_rules(automatic, rules)
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.alone
def test_rules_take_a_time_in_proportion_to_their_number(tmp_path):
    seconds_of_rules(tmp_path, 50)
    assert seconds_of_rules(tmp_path, 4000) < 9 * seconds_of_rules(tmp_path, 1000)
