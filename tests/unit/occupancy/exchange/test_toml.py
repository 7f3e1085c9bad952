"""Rules in TOML: lines of faults, and what is refused."""

import pytest

from helpers import group_file, pdb_text, residue_lines, write_text
from multicopy_refinement.errors import RuleError
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.exchange import ExchangeFormat, write_groups


@pytest.fixture
def load(tmp_path):
    lines = [
        residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("HOH", 2, ["O"], [("", 0.5)]),
    ]
    model = write_text(tmp_path / "m.pdb", pdb_text(*lines))

    def with_rules(text: str) -> Model:
        path = write_text(tmp_path / "groups.toml", text)
        return Model().load(model, sharing_rules=str(path))

    return with_rules


def test_rules_are_applied_in_order(load):
    model = load('[[rule]]\ngroup = "w"\natoms = "//A/2"\n\n[[rule]]\nfix = "w"\nvalue = 0.3\n')
    assert float(model.occupancy().detach()[2]) == pytest.approx(0.3)
    assert model.occupancy_groups.names[2] == "w"


def test_the_line_of_the_rule_is_named(load):
    with pytest.raises(RuleError, match=r"groups\.toml, line 5: '//A/9' selects no atom"):
        load('# comment\n[[rule]]\nrefine = "A/2/HOH"\n\n[[rule]]\nfix = "//A/9"\n')


def test_the_lines_of_both_of_two_contradicting_rules_are_named(load):
    text = '[[rule]]\nfix = "A/2/HOH"\n[[rule]]\nrefine = "A/2/HOH"\n'
    with pytest.raises(RuleError, match=r"line 3: A/2/HOH: contradicts the rule of .*line 1$"):
        load(text)


def test_automatic_false_holds_what_no_rule_names(load):
    model = load('automatic = false\n[[rule]]\nrefine = "A/2/HOH"\n')
    assert model.occupancy_groups.refined.tolist() == [False, False, True]
    assert model.occupancy_groups.sets == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]]\nfix = \n", "not readable as TOML: Invalid value (at line 2, column 7)"),
        ("[[rule]]\nfix = 3\n", "line 1: fix: "),
        ("[rule]\nfix = 'x'\n", "[[rule]] tables, with two brackets"),
        ("automatic = 3\n[[rule]]\nfix = 'A/2/HOH'", "automatic must be true or false"),
        ("extra = 1\n[[rule]]\nfix = 'A/2/HOH'", "'extra' is not known"),
        ("hello", "no rules for groups in it"),
        ("", "no rules for groups in it"),
    ],
)
def test_faults(load, text, message):
    with pytest.raises(RuleError) as fault:
        load(text)
    assert message in str(fault.value)
    assert "groups.toml" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_file_that_is_not_there(tmp_path):
    model = write_text(tmp_path / "m.pdb", pdb_text(residue_lines("HOH", 1, ["O"])))
    with pytest.raises(RuleError, match="cannot be read: No such file"):
        Model().load(model, sharing_rules=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00rule")
    with pytest.raises(RuleError, match="not a text file"):
        Model().load(model, sharing_rules=tmp_path / "bad.toml")


def test_comments_say_what_automatic_and_value_mean(tmp_path):
    lines = residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)])
    source = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))
    text = write_groups(group_file(source).groups, ExchangeFormat.TOML)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any(line.startswith("# automatic = false: ") for line in comments)
    assert any(line.startswith("# value: ") for line in comments)
