"""REFMAC and Servalcat keywords: syntax, giant.make_restraints, what cannot be said."""

import pytest

from helpers import atom_line, group_file, pdb_text, residue_lines, write_text
from multicopy_refinement.errors import RuleError
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.occupancy.exchange import ExchangeFormat, write_groups
from multicopy_refinement.occupancy.exchange.refmac import read


@pytest.fixture
def source(tmp_path):
    """Return valines 10 (0 1, 2 3), 10A (4, 5) and 20 of chain B (6, 7), a water (8)."""
    lines = [
        residue_lines("VAL", 10, ["CA", "CB"], [("A", 0.6), ("B", 0.4)]),
        [atom_line("CA", "VAL", 10, q, altloc=x, icode="A", xyz=(70, 0, 0)) for x, q in
         (("A", 0.7), ("B", 0.3))],
        residue_lines("VAL", 20, ["CA"], [("A", 0.5), ("B", 0.5)], chain="B"),
        residue_lines("HOH", 1, ["O"], [("", 0.5)], chain="W"),
    ]  # fmt: skip
    return read_structure(write_text(tmp_path / "m.pdb", pdb_text(*lines)))


def ruled(source, text):
    return group_file(source, rules=read(text, source.table, "k.txt"))


def members(groups):
    return [
        m.tolist() for m, refined in zip(groups.members, groups.refined, strict=True) if refined
    ]


def test_the_common_form(source):
    groups = ruled(
        source,
        """
occupancy group id 1 chain A B residue from 10 to 20 atom CA alt A
OCCU GROU ID 2 CHAI A B RESI FROM 10 TO 20 ATOM CA ALTE B   ! capitals, short
occupancy group alts complete 1 2
occupancy group id w chain W resi 1
occupancy group alts incomplete w
occupancy refine ncycle 5
""",
    ).groups
    assert members(groups) == [[0, 4, 6], [2, 5, 7], [8]]
    (one,) = groups.sets
    assert one.complete


def test_lines_of_one_id_are_united(source):
    text = """
occupancy group id 1 chain A resi   10 alte A
occupancy group id 1 chain B resi   20 alte A
occupancy group id 2 chain A resi   10 alte B
occupancy group id 2 chain B resi   20 alte B
occupancy group alts complete 1 2
occupancy refine
"""
    assert members(ruled(source, text).groups) == [[0, 1, 6], [2, 3, 7]]


def test_incomplete_sums_are_at_most_1(source):
    text = """
occupancy group id 1 chain A resi 10 alte A
occupancy group id 2 chain B resi 20 alte B
occupancy group alts incomplete 1 2
occupancy refine
"""
    (one,) = ruled(source, text).groups.sets
    assert (one.total, one.complete) == (1.0, False)


def test_insertion_codes_are_written_with_the_number(source):
    text = "occupancy group id 1 chain A resi 10A alt A\noccupancy refine"
    assert members(ruled(source, text).groups) == [[4]]
    text = "occupancy group id 1 chain A resi 10 alt A\noccupancy refine"
    assert members(ruled(source, text).groups) == [[0, 1]]


def test_nothing_else_is_refined(source):
    groups = ruled(source, "occupancy group id 1 chain W\noccupancy refine").groups
    assert members(groups) == [[8]]
    assert groups.sets == ()


def test_without_refine_nothing_is(source):
    result = ruled(source, "occupancy group id 1 chain W resi 1")
    assert members(result.groups) == []
    assert any("no 'occupancy refine'" in n.message for n in result.notices)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("occupancy group id 1 chain A insc A", "line 1: there is no chain 'insc' in the model"),
        ("occupancy group id 1 resi 10 insc A", "line 1: 'insc' is not a field"),
        ("occupancy group id 1 chain A resi 99", "line 1: group 1 selects no atom: chain A resi"),
        ("occupancy group id 1 chain", "line 1: chain has no value"),
        ("occupancy group id 1 resi", "line 1: resi has no value"),
        ("occupancy group id 1 resi from 10 20 30", "has no 'to'"),
        ("occupancy group id 1 resi x", "'x' is not a residue number"),
        ("occupancy group alts complete 7 8", "line 1: there is no group 7"),
        ("occupancy group bla", "is not an occupancy keyword"),
        ("occupancy group id 1 chain W\noccupancy group alts complete 1", "line 2: one group"),
        (
            "occupancy group id 1 chain W\noccupancy group id 2 resi 1",
            "W/1/HOH/O is in groups 1 an",
        ),
    ],
)
def test_faults_name_the_line(source, line, message):
    with pytest.raises(RuleError) as fault:
        ruled(source, line + "\noccupancy refine")
    assert message in str(fault.value)
    assert str(fault.value).startswith("k.txt, line ")


def test_what_is_written(source):
    text = write_groups(group_file(source).groups, ExchangeFormat.REFMAC, title="m.pdb")
    assert text == (
        "! occupancy groups of m.pdb\n"
        "! A/10/VAL:A\noccupancy group id 1 chain A resi 10 alte A\n"
        "! A/10/VAL:B\noccupancy group id 2 chain A resi 10 alte B\n"
        "! A/10A/VAL:A\noccupancy group id 3 chain A resi 10A alte A\n"
        "! A/10A/VAL:B\noccupancy group id 4 chain A resi 10A alte B\n"
        "! B/20/VAL:A\noccupancy group id 5 chain B resi 20 alte A\n"
        "! B/20/VAL:B\noccupancy group id 6 chain B resi 20 alte B\n"
        "! W/1/HOH\noccupancy group id 7 chain W resi 1\n"
        "occupancy group alts complete 1 2\n"
        "occupancy group alts complete 3 4\n"
        "occupancy group alts complete 5 6\n"
        "occupancy refine\n"
    )


def test_what_refmac_cannot_express_is_named(source):
    rules = [
        {"sum": ["A/10/VAL:A", "A/10/VAL:B"], "equal": "W/1/HOH"},
        {"similar": ["A/10A/VAL:A", "B/20/VAL:A"], "sigma": 0.05},
    ]
    text = write_groups(group_file(source, rules=rules).groups, ExchangeFormat.REFMAC)
    assert "! not expressed: A/10/VAL:A, A/10/VAL:B sum to W/1/HOH\n" in text
    assert "! not expressed: A/10A/VAL:A + -1 B/20/VAL:A = 0 with sigma 0.05\n" in text


def test_chains_without_a_name_and_models_are_named(tmp_path):
    lines = [atom_line("O", "HOH", 1, 0.5, chain=" ")]
    source = read_structure(write_text(tmp_path / "b.pdb", pdb_text(lines)))
    text = write_groups(group_file(source).groups, ExchangeFormat.REFMAC)
    assert "! not expressed: /1/HOH, in a chain without a name\n" in text
    assert "group id" not in text
    part = residue_lines("HOH", 1, ["O"], [("", 0.5)])
    lines = ["MODEL        1", *part, "ENDMDL", "MODEL        2", *part, "ENDMDL"]
    source = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))
    text = write_groups(group_file(source).groups, ExchangeFormat.REFMAC)
    assert "! not expressed: 1/A/1/HOH, one of several MODELs\n" in text
    assert "group id" not in text


def test_a_blank_part_beside_altlocs_is_written_atom_by_atom(tmp_path):
    lines = [
        atom_line("CA", "SER", 1, 0.5), atom_line("OG", "SER", 1, 0.3, altloc="A", xyz=(3, 0, 0)),
        atom_line("OG", "SER", 1, 0.7, altloc="B", xyz=(6, 0, 0)),
    ]  # fmt: skip
    source = read_structure(write_text(tmp_path / "s.pdb", pdb_text(lines)))
    text = write_groups(group_file(source).groups, ExchangeFormat.REFMAC)
    assert "chain A resi 1 atom CA\n" in text
    assert members(ruled(source, text).groups) == [[0], [1], [2]]


PLAIN = """occupancy group id 1 chain A resi 10 alte A
occupancy group id 2 chain A resi 10 alte B
occupancy group alts complete 1 2
occupancy refine
"""


@pytest.mark.parametrize("mark", ["-", "&", "\\", "-   ! goes on"])
def test_keywords_that_go_on_in_the_next_line(source, mark):
    text = PLAIN.replace(" chain A", f" {mark}\n  chain {mark}\n A").replace(
        "complete 1", f"complete {mark}\n 1"
    )
    groups = ruled(source, f"MAKE HYDR Y {mark}\n  HOUT Y\n{text}END\noccupancy group nonsense\n")
    assert members(groups.groups) == [[0, 1], [2, 3]]
    assert len(groups.groups.sets) == 1


def test_faults_name_the_line_where_a_keyword_begins(source):
    with pytest.raises(RuleError, match=r"k\.txt, line 2: there is no chain 'Q'"):
        ruled(source, "REFI -\noccupancy group id 1 chain Q resi 10\n".replace("REFI -\n", "x\n"))
    with pytest.raises(RuleError, match=r"line 1: .* goes on in a next line, and there is none"):
        ruled(source, "occupancy refine -")


def test_keywords_of_another_file(source, tmp_path):
    lines = PLAIN.splitlines(keepends=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.txt").write_text("@sub/groups.txt\noccupancy refine\n")
    (tmp_path / "sub" / "groups.txt").write_text(f"{lines[0]}@more.txt\n{lines[2]}")
    (tmp_path / "sub" / "more.txt").write_text(lines[1])
    groups = group_file(source, rules=tmp_path / "main.txt").groups
    assert members(groups) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("text", "says"),
    [("@absent.txt\n", "line 1: 'absent.txt' cannot be read"), ("@main.txt\n", "takes in itself")],
)
def test_a_file_that_cannot_be_taken_in(source, text, says, tmp_path):
    (tmp_path / "main.txt").write_text(text)
    with pytest.raises(RuleError, match=says):
        group_file(source, rules=tmp_path / "main.txt")


@pytest.mark.parametrize("name", ["#", "!", "@", "'", "-", "&"])
def test_names_that_keywords_cannot_hold(name, tmp_path):
    lines = residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)], chain=name)
    groups = group_file(read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))).groups
    with pytest.raises(RuleError, match="cannot be written as a keyword of REFMAC"):
        write_groups(groups, ExchangeFormat.REFMAC)
