"""phenix parameters: syntax, selections, what is taken over and what is not."""

import numpy as np
import pytest

from helpers import atom_line, group_file, pdb_text, residue_lines, write_text
from multicopy_refinement.errors import RuleError
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.exchange import ExchangeFormat, write_groups
from multicopy_refinement.occupancy.exchange.phenix import read, select


@pytest.fixture
def source(tmp_path):
    """Return arginine 30 (0 1, 2 3), a ligand (4), waters (5, 6), bromine (7), alanine 10A (8)."""
    lines = [
        residue_lines("ARG", 30, ["CB", "CG"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("LIG", 1, ["C1"], [("B", 0.4)], chain="L"),
        residue_lines("HOH", 1, ["O"], [("", 0.5)], chain="W"),
        residue_lines("HOH", 2, ["O"], [("", 0.7)], chain="W"),
    ]
    lines.append(["HETATM    9 BR    BR X   1      50.000   0.000   0.000  0.50 15.00          BR"])
    lines.append(["ATOM     10  CA  ALA A  10A     60.000   0.000   0.000  1.00 15.00           C"])
    return read_structure(write_text(tmp_path / "m.pdb", pdb_text(*lines)))


def ruled(source, text):
    return group_file(source, rules=read(text, source.table, "x.eff"))


NOTES = r"""
refinement.refine.occupancies {
  individual = element BR
  remove_selection = chain W
  constrained_group {
    selection = chain A and resseq 30 and altid A
    selection = (chain A and resseq 30 and altid B) or \
        (chain L and resseq 1 and altid B)
  }
}
"""


def test_the_common_form(source):
    groups = ruled(source, NOTES).groups
    members = [m.tolist() for m in groups.members]
    assert [0, 1] in members
    assert [2, 3, 4] in members
    (one,) = groups.sets
    assert [members[g] for g in one.groups] == [[0, 1], [2, 3, 4]]
    assert groups.refined[members.index([7])]
    assert not groups.refined[[members.index([5]), members.index([6])]].any()


def test_giant_quotes_its_values(source):
    text = """
refinement.refine.occupancies {
    constrained_group {
        selection = (chain 'A' and resseq   30 and icode ' ' and resname 'ARG' and altid 'A')
        selection = (chain 'A' and resseq   30 and icode ' ' and resname 'ARG' and altid 'B') or \\
                    (chain 'X' and resseq 1 and resname ' BR')
    }
}
"""
    groups = ruled(source, text).groups
    assert [m.tolist() for m in groups.members][:2] == [[0, 1], [2, 3, 7]]


def test_scopes_may_be_nested_or_dotted_and_on_one_line(source):
    for text in (
        "refinement { refine { occupancies { constrained_group { selection = chain W } } } }",
        "refine.occupancies.constrained_group { selection = chain W }",
        "occupancies {\n constrained_group {\n selection = chain W # both waters\n }\n}",
        "refinement.refine.occupancies.constrained_group.selection = chain W",
        'occupancies { constrained_group { selection = "chain W" } }',
        "occupancies { constrained_group { selection = chain W; } ; }",
        'x { space_group = "P 21 { 21" } occupancies { constrained_group { selection = chain W } }',
    ):
        groups = ruled(source, text).groups
        assert [5, 6] in [m.tolist() for m in groups.members]


def test_what_is_meant_for_other_parameters_is_left_alone(source):
    text = """
refinement.refine {
  sites { individual = chain W }
  adp { individual { isotropic = chain W } }
  !occupancies { constrained_group { selection = chain W } }
  occupancies { individual = None; remove_selection = Auto }
}
"""
    result = ruled(source, text)
    assert [m.tolist() for m in result.groups.members] == [
        m.tolist() for m in group_file(source).groups.members
    ]
    assert not [n for n in result.notices if n.code == "rules"]


def test_what_is_removed_twice_is_held_once(source):
    text = """occupancies {
  remove_selection = chain W
  remove_selection = water or (chain A and name CB and altid A)
}"""
    groups = ruled(source, text).groups
    held = {tuple(m.tolist()) for m, r in zip(groups.members, groups.refined, strict=True) if not r}
    assert {(5,), (6,), (0,)} <= held


def test_one_selection_alone_is_free(source):
    groups = ruled(source, "occupancies { constrained_group { selection = chain W } }").groups
    (both,) = [g for g in range(len(groups)) if groups.members[g].tolist() == [5, 6]]
    assert groups.refined[both]
    assert groups.set_index[both] == -1
    assert groups.occupancy[both] == pytest.approx(0.6)


def test_one_group_for_each_altloc_loses_the_sum_and_says_so(source):
    text = """occupancies {
  constrained_group { selection = chain A and altid A }
  constrained_group { selection = chain A and altid B }
}"""
    result = ruled(source, text)
    assert result.groups.sets == ()
    assert "set_dissolved" in {n.code for n in result.notices}


def test_what_is_named_twice_goes_to_the_later_with_a_remark(source):
    text = """occupancies {
  constrained_group { selection = chain W }
  constrained_group { selection = chain W and resseq 2 }
}"""
    result = ruled(source, text)
    members = [m.tolist() for m in result.groups.members]
    assert [5] in members
    assert [6] in members
    (notice,) = [n for n in result.notices if n.code == "rules"]
    assert "x.eff, line 2: 1 atom is named again later" in notice.message
    assert "W/2/HOH/O" in notice.message


SELECTIONS = [
    ("all", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("chain A and name CB", [0, 2]),
    ("chain A and (name CB or name CG) and not altloc B", [0, 1]),
    ("water", [5, 6]),
    ("not (chain A or chain W)", [4, 7]),
    ("resseq 2:40 and not water", [0, 1, 2, 3, 8]),
    ("resseq :2 and chain W", [5, 6]),
    ("resid 2 through 40 and not water", [0, 1, 2, 3, 8]),
    ("resseq 10: and altid ' '", [8]),
    ("resid 10A", [8]),
    ("resid '  10A'", [8]),
    ("chain L and resid 1 through 1", [4]),
    ("resseq 10 and icode A", [8]),
    ("name C* and chain L", [4]),
    ("element br", [7]),
    ("NOT all or CHAIN W", [5, 6]),
    ("hetatm", [7]),
]


@pytest.mark.parametrize(("expression", "atoms"), SELECTIONS)
def test_selections(source, expression, atoms):
    assert np.flatnonzero(select(source.table, expression, "here")).tolist() == atoms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("occupancies { constrained_group { selection = chain Q } }", "line 1: 'chain Q' selects"),
        ("occupancies { constrained_group { selection = segid A } }", "line 1: 'segid' is not"),
        ("occupancies { constrained_group { selection = (chain A } }", "parenthesis"),
        ("occupancies { constrained_group { selection = chain A chain B } }", "'chain' is not exp"),
        ("occupancies { constrained_group { selection = chain } }", "ends too early"),
        (
            "occupancies {\n constrained_group {",
            "line 2: the scope 'constrained_group' is not closed",
        ),
        ("occupancies {\n}\n}", "line 3: a closing brace too many"),
        ("occupancies { individual = 'chain W }", "line 1: a quote is not closed"),
        ("occupancies { individual = element BR) }", "')' is not expected in"),
        ("occupancies {\n constrained_group\n}", "line 2: 'constrained_group' is not name = val"),
        ("occupancies { constrained_group { selection = resseq x } }", "'x' is not a residue num"),
    ],
)
def test_faults_name_the_line(source, text, message):
    with pytest.raises(RuleError, match=r"^x\.eff") as fault:
        ruled(source, text)
    assert message in str(fault.value)


def test_what_is_written(source):
    text = write_groups(group_file(source).groups, ExchangeFormat.PHENIX, title="m.pdb")
    assert text.startswith("# occupancy groups of m.pdb\n")
    assert (
        "  constrained_group {\n"
        "    selection = (chain 'A' and resseq 30 and icode ' ' and altid 'A')\n"
        "    selection = (chain 'A' and resseq 30 and icode ' ' and altid 'B')\n"
        "  }\n"
    ) in text


def test_what_phenix_cannot_express_is_named(source):
    rules = [
        {"sum": ["W/1/HOH", "W/2/HOH"], "at_most": 1},
        {"restrain": "L/1/LIG:B", "target": 0.4, "sigma": 0.1},
        {"fix": "X/1/BR"},
    ]
    text = write_groups(group_file(source, rules=rules).groups, ExchangeFormat.PHENIX)
    assert "# not expressed: W/1/HOH, W/2/HOH sum to at most 1\n" in text
    assert "# not expressed: L/1/LIG:B = 0.4 with sigma 0.1\n" in text
    assert "  remove_selection = (chain 'X'" in text


def test_a_file_of_rules_is_told_by_its_content(source, tmp_path):
    path = write_text(tmp_path / "groups.txt", NOTES)
    model = Model().load(source.path, sharing_rules=path)
    assert len(model.occupancy_groups.sets) == 1


HELIX = """
CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1
ATOM      1  CA  ARG H  51      10.000  10.000  10.000  1.00 15.00           C
ATOM      2  CA  ASN H  52      11.000  10.000  10.000  1.00 15.00           C
ATOM      3  CA  ILE H  52A     12.000  10.000  10.000  1.00 15.00           C
ATOM      4  CA  GLY H  53      13.000  10.000  10.000  1.00 15.00           C
"""


@pytest.mark.parametrize(
    ("expression", "atoms"),
    [
        ("resid 52", [1]),  # without insertion code, where resseq takes both
        ("resseq 52", [1, 2]),
        ("resid 52A", [2]),
        ("resid 51:52A", [0, 1, 2]),
        ("resid 52A:", [2, 3]),
        ("resid '  52 '", [1]),
        ("resid 52 through 53", [1, 2, 3]),
    ],
)
def test_a_resid_is_a_number_with_its_insertion_code(tmp_path, expression, atoms):
    source = read_structure(write_text(tmp_path / "h.pdb", HELIX))
    assert np.flatnonzero(select(source.table, expression, "here")).tolist() == atoms


def test_names_with_primes_are_written_and_read(tmp_path):
    """O5' of a sugar: quotes around it must not be primes."""
    lines = [
        atom_line("C5'", "DA", 1, 1.0, xyz=(1, 1, 1)),
        atom_line("O5'", "DA", 1, 0.6, xyz=(2, 1, 1)),
        atom_line('O5"', "DA", 1, 0.5, xyz=(3, 1, 1), element="O"),
    ]
    source = read_structure(write_text(tmp_path / "d.pdb", pdb_text(lines)))
    groups = group_file(source).groups
    text = write_groups(groups, ExchangeFormat.PHENIX)
    assert 'name "O5\'"' in text
    again = ruled(source, text).groups
    assert [m.tolist() for m in again.members] == [m.tolist() for m in groups.members]
    assert again.refined.tolist() == groups.refined.tolist()
    plain = ruled(source, "occupancies { individual = name O5' }").groups
    assert plain.refined[plain.index[1]]


def test_names_in_four_columns_tell_calcium_from_carbon(tmp_path):
    lines = [*residue_lines("ALA", 1, ["CA", "CB"]),
             atom_line("CA", "CA", 2, 0.8, xyz=(20, 0, 0), element="CA")]  # fmt: skip
    table = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines))).table
    for text, atoms in (("' CA '", [0]), ("'CA  '", [2]), ("CA", [0, 2]), ("'CA'", [0, 2])):
        assert np.flatnonzero(select(table, f"name {text}", "x")).tolist() == atoms


def test_residue_numbers_with_insertion_codes(tmp_path):
    lines = [
        atom_line("CA", "ALA", n, 1.0, icode=code, chain="H", xyz=(5.0 * i, 0, 0))
        for i, (n, code) in enumerate([(51, ""), (52, ""), (52, "A"), (53, "")])
    ]
    table = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines))).table
    for text, atoms in (
        ("resid 52", [1]), ("resid 52A", [2]), ("resid 51:52A", [0, 1, 2]), ("resseq 52", [1, 2]),
        ("resid   52 ", [1]), ("resid '  52A'", [2]),
    ):  # fmt: skip
        assert np.flatnonzero(select(table, text, "x")).tolist() == atoms


@pytest.mark.parametrize("chain", ["'", '"', "$", "/"])
def test_chains_of_one_mark(chain, tmp_path):
    lines = residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)], chain=chain)
    source = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))
    groups = group_file(source).groups
    again = ruled(source, write_groups(groups, ExchangeFormat.PHENIX)).groups
    assert [m.tolist() for m in again.members] == [[0], [1]]


@pytest.mark.parametrize("chain", ["*", "?"])
def test_wildcards_are_not_written(chain, tmp_path):
    lines = residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)], chain=chain)
    groups = group_file(read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines)))).groups
    with pytest.raises(RuleError, match="phenix, which reads it as a pattern"):
        write_groups(groups, ExchangeFormat.PHENIX)
