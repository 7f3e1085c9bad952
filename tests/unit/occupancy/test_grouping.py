"""The rules of grouping: lines of a file, and beside them the groups that they make."""

import textwrap

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grouping_cases import case, described
from helpers import atom_line, pdb_text, residue_lines, write_text
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.grouping import group_atoms
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why

#: Atoms count from 0 in the order of the lines.
CASES = [
    case(
        "uniform residues are held at 1 and refined below",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  CA  ALA A   1       1.500   0.000   0.000  1.00 15.00           C
ATOM      3  N   GLY A   2       3.000   0.000   0.000  0.80 15.00           N
ATOM      4  CA  GLY A   2       4.500   0.000   0.000  0.80 15.00           C
""",
        [
            ("A/1/ALA", [0, 1], 1.0, False, None),
            ("A/2/GLY", [2, 3], 0.8, True, None),
        ],
    ),
    case(
        "full is within 0.001",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  N   ALA A   2       1.500   0.000   0.000  0.99 15.00           N
""",
        [
            ("A/1/ALA", [0], 1.0, False, None),
            ("A/2/ALA", [1], 0.99, True, None),
        ],
    ),
    case(
        "residues of several chains",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  0.50 15.00           N
ATOM      2  N   ALA B   1       1.500   0.000   0.000  0.50 15.00           N
ATOM      3  N   ALA a   1       3.000   0.000   0.000  0.50 15.00           N
""",
        [
            ("A/1/ALA", [0], 0.5, True, None),
            ("B/1/ALA", [1], 0.5, True, None),
            ("a/1/ALA", [2], 0.5, True, None),
        ],
    ),
    case(
        "0.60 and 0.61 agree",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  0.60 15.00           N
ATOM      2  CA  ALA A   1       1.500   0.000   0.000  0.61 15.00           C
""",
        [
            ("A/1/ALA", [0, 1], 0.605, True, None),
        ],
        notices=["shared_value"],
    ),
    case(
        "0.29 and 0.28 agree",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  0.29 15.00           N
ATOM      2  CA  ALA A   1       1.500   0.000   0.000  0.28 15.00           C
""",
        [
            ("A/1/ALA", [0, 1], 0.285, True, None),
        ],
        notices=["shared_value"],
    ),
    case(
        "0.60 and 0.62 do not agree without altloc",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  0.60 15.00           N
ATOM      2  CA  ALA A   1       1.500   0.000   0.000  0.62 15.00           C
""",
        [
            ("A/1/ALA=0.60", [0], 0.6, True, None),
            ("A/1/ALA=0.62", [1], 0.62, True, None),
        ],
    ),
    case(
        "0.60 and 0.62 in an altloc part warn and stay one group",
        """
ATOM      1  N  AALA A   1       0.000   0.000   0.000  0.60 15.00           N
ATOM      2  CA AALA A   1       1.500   0.000   0.000  0.62 15.00           C
ATOM      3  N  BALA A   1       3.000   0.000   0.000  0.39 15.00           N
ATOM      4  CA BALA A   1       4.500   0.000   0.000  0.39 15.00           C
""",
        [
            ("A/1/ALA:A", [0, 1], 0.61, True, "A/1/ALA"),
            ("A/1/ALA:B", [2, 3], 0.39, True, "A/1/ALA"),
        ],
        notices=["uneven_part"],
    ),
    case(
        "a blank part falls apart by distinct values, never by atom",
        """
ATOM      1  N   LYS A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  CA  LYS A   1       1.500   0.000   0.000  1.00 15.00           C
ATOM      3  CB  LYS A   1       3.000   0.000   0.000  0.50 15.00           C
ATOM      4  CG  LYS A   1       4.500   0.000   0.000  0.50 15.00           C
ATOM      5  CD  LYS A   1       6.000   0.000   0.000  0.51 15.00           C
ATOM      6  CE  LYS A   1       7.500   0.000   0.000  0.00 15.00           C
ATOM      7  NZ  LYS A   1       9.000   0.000   0.000  0.00 15.00           N
""",
        [
            ("A/1/LYS=1.00", [0, 1], 1.0, False, None),
            ("A/1/LYS=0.50", [2, 3, 4], 1.51 / 3, True, None),
            ("A/1/LYS=0.00", [5, 6], 0.0, True, None),
        ],
        notices=["shared_value"],
    ),
    case(
        "hydrogens of a blank part follow the atom that they are bound to",
        """
ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00 15.00           C
ATOM      2  CB  ALA A   1       1.500   0.000   0.000  0.50 15.00           C
ATOM      3  HA  ALA A   1      -1.000   0.000   0.000  0.50 15.00           H
ATOM      4  HB1 ALA A   1       2.500   0.000   0.000  0.50 15.00           H
""",
        [
            ("A/1/ALA=1.00", [0, 2], 1.0, False, None),
            ("A/1/ALA=0.50", [1, 3], 0.5, True, None),
        ],
        notices=["hydrogen_occupancy"],
    ),
    case(
        "hydrogens of other occupancy make no group",
        """
ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00 15.00           C
ATOM      2  HA  ALA A   1       1.000   0.000   0.000  0.00 15.00           H
ATOM      3  CA AALA A   2       4.000   0.000   0.000  0.60 15.00           C
ATOM      4  HA AALA A   2       5.000   0.000   0.000  0.00 15.00           H
ATOM      5  CA BALA A   2       6.000   0.000   0.000  0.40 15.00           C
ATOM      6  HA BALA A   2       7.000   0.000   0.000  0.40 15.00           H
""",
        [
            ("A/1/ALA", [0, 1], 1.0, False, None),
            ("A/2/ALA:A", [2, 3], 0.6, True, "A/2/ALA"),
            ("A/2/ALA:B", [4, 5], 0.4, True, "A/2/ALA"),
        ],
        notices=["hydrogen_occupancy"],
    ),
    case(
        "a residue of hydrogens only decides for itself",
        """
ATOM      1  H1  HHH A   1       0.000   0.000   0.000  0.50 15.00           H
""",
        [
            ("A/1/HHH", [0], 0.5, True, None),
        ],
    ),
    case(
        "microheterogeneity is one residue",
        """
ATOM      1  N  ASER A   1       0.000   0.000   0.000  0.60 15.00           N
ATOM      2  CA ASER A   1       1.500   0.000   0.000  0.60 15.00           C
ATOM      3  N  BTHR A   1       3.000   0.000   0.000  0.40 15.00           N
ATOM      4  CA BTHR A   1       4.500   0.000   0.000  0.40 15.00           C
""",
        [
            ("A/1/SER:A", [0, 1], 0.6, True, "A/1/SER"),
            ("A/1/THR:B", [2, 3], 0.4, True, "A/1/SER"),
        ],
    ),
    case(
        "insertion codes are residues of their own",
        """
ATOM      1  CA AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CA BALA A   1       1.500   0.000   0.000  0.40 15.00           C
ATOM      3  CA AALA A   1A      3.000   0.000   0.000  0.30 15.00           C
ATOM      4  CA BALA A   1A      4.500   0.000   0.000  0.70 15.00           C
ATOM      5  CA  ALA A   1B      6.000   0.000   0.000  0.90 15.00           C
""",
        [
            ("A/1/ALA:A", [0], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.4, True, "A/1/ALA"),
            ("A/1A/ALA:A", [2], 0.3, True, "A/1A/ALA"),
            ("A/1A/ALA:B", [3], 0.7, True, "A/1A/ALA"),
            ("A/1B/ALA", [4], 0.9, True, None),
        ],
    ),
    case(
        "blank with A and B: the blank part is no member",
        """
ATOM      1  N   VAL A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  CA  VAL A   1       1.500   0.000   0.000  1.00 15.00           C
ATOM      3  CB AVAL A   1       3.000   0.000   0.000  0.70 15.00           C
ATOM      4  CB BVAL A   1       4.500   0.000   0.000  0.30 15.00           C
""",
        [
            ("A/1/VAL", [0, 1], 1.0, False, None),
            ("A/1/VAL:A", [2], 0.7, True, "A/1/VAL"),
            ("A/1/VAL:B", [3], 0.3, True, "A/1/VAL"),
        ],
    ),
    case(
        "a lone letter is a group without a set",
        """
ATOM      1  N   VAL A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  CB AVAL A   1       1.500   0.000   0.000  0.70 15.00           C
ATOM      3  CG1AVAL A   1       3.000   0.000   0.000  0.70 15.00           C
""",
        [
            ("A/1/VAL", [0], 1.0, False, None),
            ("A/1/VAL:A", [1, 2], 0.7, True, None),
        ],
    ),
    case(
        "blank and one letter below 1 are no set",
        """
ATOM      1  CB  VAL A   1       0.000   0.000   0.000  0.40 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.60 15.00           C
""",
        [
            ("A/1/VAL", [0], 0.4, True, None),
            ("A/1/VAL:B", [1], 0.6, True, None),
        ],
    ),
    case(
        "a lone letter at 1.00 is held",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  1.00 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 1.0, False, None),
        ],
    ),
    case(
        "a lone letter with several values stays one group",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.50 15.00           C
ATOM      2  CG1AVAL A   1       1.500   0.000   0.000  0.70 15.00           C
""",
        [
            ("A/1/VAL:A", [0, 1], 0.6, True, None),
        ],
        notices=["uneven_part"],
    ),
    case(
        "three letters",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.50 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.30 15.00           C
ATOM      3  CB CVAL A   1       3.000   0.000   0.000  0.20 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 0.5, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 0.3, True, "A/1/VAL"),
            ("A/1/VAL:C", [2], 0.2, True, "A/1/VAL"),
        ],
    ),
    case(
        "letters alternate atom by atom",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.70 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.30 15.00           C
ATOM      3  CG1AVAL A   1       3.000   0.000   0.000  0.70 15.00           C
ATOM      4  CG1BVAL A   1       4.500   0.000   0.000  0.30 15.00           C
""",
        [
            ("A/1/VAL:A", [0, 2], 0.7, True, "A/1/VAL"),
            ("A/1/VAL:B", [1, 3], 0.3, True, "A/1/VAL"),
        ],
    ),
    case(
        "digits and small letters are altlocs of their own",
        """
ATOM      1  CB aVAL A   1       0.000   0.000   0.000  0.50 15.00           C
ATOM      2  CB AVAL A   1       1.500   0.000   0.000  0.30 15.00           C
ATOM      3  CB 1VAL A   1       3.000   0.000   0.000  0.20 15.00           C
""",
        [
            ("A/1/VAL:a", [0], 0.5, True, "A/1/VAL"),
            ("A/1/VAL:A", [1], 0.3, True, "A/1/VAL"),
            ("A/1/VAL:1", [2], 0.2, True, "A/1/VAL"),
        ],
    ),
    case(
        "a conformer at 0.00 is a member",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.40 15.00           C
ATOM      3  CB CVAL A   1       3.000   0.000   0.000  0.00 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 0.6, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 0.4, True, "A/1/VAL"),
            ("A/1/VAL:C", [2], 0.0, True, "A/1/VAL"),
        ],
    ),
    case(
        "a pair of 1.00 and 0.00 is refined",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  1.00 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.00 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 1.0, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 0.0, True, "A/1/VAL"),
        ],
    ),
    case(
        "a set that does not sum to 1 is scaled",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.80 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.30 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 0.8 / 1.1, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 0.3 / 1.1, True, "A/1/VAL"),
        ],
        notices=["set_sum"],
    ),
    case(
        "0.33 three times is scaled",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.33 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.33 15.00           C
ATOM      3  CB CVAL A   1       3.000   0.000   0.000  0.33 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 1 / 3, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 1 / 3, True, "A/1/VAL"),
            ("A/1/VAL:C", [2], 1 / 3, True, "A/1/VAL"),
        ],
        notices=["set_sum"],
    ),
    case(
        "an occupancy above 1 is taken as 1",
        """
ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.20 15.00           N
ATOM      2  CA  ALA A   1       1.500   0.000   0.000  1.00 15.00           C
""",
        [
            ("A/1/ALA", [0, 1], 1.0, False, None),
        ],
        notices=["occupancy_above_1"],
    ),
    case(
        "an occupancy below 0 is taken as 0",
        """
ATOM      1  O   HOH A   1       0.000   0.000   0.000 -0.50 15.00           O
""",
        [
            ("A/1/HOH", [0], 0.0, True, None),
        ],
        notices=["occupancy_below_0"],
    ),
    case(
        "a set above 1 is taken as 1, then scaled",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  1.50 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.25 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 0.8, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 0.2, True, "A/1/VAL"),
        ],
        notices=["occupancy_above_1", "set_sum"],
    ),
    case(
        "an all-zero set is shared evenly",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.00 15.00           C
ATOM      2  CB BVAL A   1       1.500   0.000   0.000  0.00 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 0.5, True, "A/1/VAL"),
            ("A/1/VAL:B", [1], 0.5, True, "A/1/VAL"),
        ],
        notices=["set_sum"],
    ),
    case(
        "parts of a residue need not follow one another",
        """
ATOM      1  CB AVAL A   1       0.000   0.000   0.000  0.70 15.00           C
ATOM      2  CB AALA A   2       1.500   0.000   0.000  0.60 15.00           C
ATOM      3  CB BVAL A   1       3.000   0.000   0.000  0.30 15.00           C
ATOM      4  CB BALA A   2       4.500   0.000   0.000  0.40 15.00           C
""",
        [
            ("A/1/VAL:A", [0], 0.7, True, "A/1/VAL"),
            ("A/2/ALA:A", [1], 0.6, True, "A/2/ALA"),
            ("A/1/VAL:B", [2], 0.3, True, "A/1/VAL"),
            ("A/2/ALA:B", [3], 0.4, True, "A/2/ALA"),
        ],
    ),
    case(
        "residues of several models stay apart",
        """
MODEL        1
ATOM      1  CB AVAL A   1       1.500   0.000   0.000  0.70 15.00           C
ATOM      2  CB BVAL A   1       3.000   0.000   0.000  0.30 15.00           C
ENDMDL
MODEL        2
ATOM      3  CB AVAL A   1       7.500   0.000   0.000  0.60 15.00           C
ATOM      4  CB BVAL A   1       9.000   0.000   0.000  0.40 15.00           C
ENDMDL
""",
        [
            ("1/A/1/VAL:A", [0], 0.7, True, "1/A/1/VAL"),
            ("1/A/1/VAL:B", [1], 0.3, True, "1/A/1/VAL"),
            ("2/A/1/VAL:A", [2], 0.6, True, "2/A/1/VAL"),
            ("2/A/1/VAL:B", [3], 0.4, True, "2/A/1/VAL"),
        ],
    ),
]


@pytest.mark.parametrize(("lines", "groups", "notices", "options"), CASES)
def test_residue_rules(lines, groups, notices, options, load_lines):
    model = load_lines(lines)
    assert described(model.occupancy_groups) == groups
    assert sorted(n.code for n in model.notices) == sorted(notices)


@pytest.mark.parametrize(("lines", "groups", "notices", "options"), CASES)
def test_the_model_starts_from_the_groups(lines, groups, notices, options, load_lines):
    model = load_lines(lines)
    occupancy = model.occupancy().tolist()
    for _, atoms, value, refined, _ in groups:
        assert [occupancy[a] for a in atoms] == pytest.approx([value] * len(atoms), abs=3e-6)
        group = int(model.occupancy.expansion_mask[atoms[0]])
        assert bool(model.occupancy.refinable_mask[group]) is refined


@pytest.mark.parametrize(("lines", "groups", "notices", "options"), CASES)
def test_every_group_and_set_says_why(lines, groups, notices, options, load_lines):
    found = load_lines(lines).occupancy_groups
    for g, (_, _, _, refined, in_set) in enumerate(groups):
        why = found.why(g)
        assert ("refined" in why) is refined
        assert (f"complete set {in_set}" in why) is (in_set is not None)
    for one in found.sets:
        assert one.complete
        assert one.total == 1.0
        assert found.occupancy[list(one.groups)].sum() == pytest.approx(1.0, abs=1e-12)


def notices_of(model: Model) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {n.code: (n.message, n.atoms) for n in model.notices}


def test_a_notice_names_what_was_scaled(load_lines):
    model = load_lines(residue_lines("VAL", 1, ["CB"], [("A", 0.80), ("B", 0.30)]))
    message, atoms = notices_of(model)["set_sum"]
    assert "A/1/VAL (1.10)" in message
    assert atoms == ("A/1/VAL/CB:A", "A/1/VAL/CB:B")


def test_a_notice_names_what_was_clamped(load_lines):
    model = load_lines(residue_lines("ALA", 7, ["N", "CA"], [("", 1.25)]))
    message, atoms = notices_of(model)["occupancy_above_1"]
    assert "A/7/ALA/N (1.25)" in message
    assert "1.00" in message
    assert atoms == ("A/7/ALA/N", "A/7/ALA/CA")


def test_a_notice_names_an_uneven_part_and_its_values(load_lines):
    lines = [
        atom_line("CB", "VAL", 1, 0.60, altloc="A"),
        atom_line("CG1", "VAL", 1, 0.70, altloc="A"),
        atom_line("CB", "VAL", 1, 0.35, altloc="B"),
    ]
    message, atoms = notices_of(load_lines(lines))["uneven_part"]
    for text in ("A/1/VAL:A", "0.60", "0.70", "0.650"):
        assert text in message
    assert set(atoms) == {"A/1/VAL/CB:A", "A/1/VAL/CG1:A"}


def test_the_file_value_is_kept_beside_the_one_that_is_used(load_lines):
    groups = load_lines(
        residue_lines("VAL", 1, ["CB"], [("A", 0.80), ("B", 0.30)]),
        residue_lines("ALA", 2, ["CB"], [("", 1.25)]),
    ).occupancy_groups
    assert groups.file_occupancy.tolist() == pytest.approx([0.80, 0.30, 1.25])
    assert groups.occupancy.tolist() == pytest.approx([0.8 / 1.1, 0.3 / 1.1, 1.0])


def test_0_9985_is_refined_and_0_9995_is_not(load_lines):
    frame = load_lines(residue_lines("ALA", 1, ["N"]), residue_lines("ALA", 2, ["N"])).pdb
    frame = frame.assign(occupancy=[0.9985, 0.9995])
    groups = group_atoms(AtomTable.from_frame(frame)).groups
    assert groups.refined.tolist() == [True, False]


# ---------------------------------------------------------------------- copies

COPIES = """
MODEL        1
{0}
{1}
ENDMDL
MODEL        2
{2}
{3}
ENDMDL
"""


def copies(*occupancies: float) -> list[str]:
    lines = [
        atom_line(name, "ALA", 1, q)
        for name, q in zip(["N", "CA", "N", "CA"], occupancies, strict=True)
    ]
    return textwrap.dedent(COPIES).format(*lines).strip().splitlines()


def test_each_model_has_one_weight(load_lines):
    model = load_lines(copies(0.7, 0.7, 0.3, 0.3), grouping="copies")
    assert described(model.occupancy_groups) == [
        ("model 1", [0, 1], 0.7, True, "models"),
        ("model 2", [2, 3], 0.3, True, "models"),
    ]
    assert model.notices == ()
    assert "model 2" in model.occupancy_groups.why(1)


def test_weights_of_models_are_scaled_to_sum_to_1(load_lines):
    model = load_lines(copies(1.0, 1.0, 1.0, 1.0), grouping="copies")
    assert [q for _, _, q, _, _ in described(model.occupancy_groups)] == [0.5, 0.5]
    assert [n.code for n in model.notices] == ["set_sum"]


def test_atoms_that_differ_from_their_model_are_named(load_lines):
    model = load_lines(copies(0.7, 0.5, 0.4, 0.4), grouping="copies")
    assert model.occupancy_groups.occupancy.tolist() == pytest.approx([0.6, 0.4])
    assert notices_of(model)["uneven_copy"][1] == ("1/A/1/ALA/N", "1/A/1/ALA/CA")


def test_one_model_makes_one_weight_without_a_set(load_lines):
    model = load_lines(residue_lines("ALA", 1, ["N", "CA"]), grouping="copies")
    assert described(model.occupancy_groups) == [("model 1", [0, 1], 1.0, False, None)]


def test_one_model_has_no_weight_for_different_atoms(load_lines):
    lines = residue_lines("SER", 1, ["OG"], [("A", 0.6), ("B", 0.4)])
    with pytest.raises(RuleError, match="one MODEL, and its atoms have different occupancies"):
        load_lines(lines, grouping="copies")


# ---------------------------------------------------------------------- sharing rules


def two_chains(first=(0.6, 0.4), second=(0.7, 0.3)) -> list[list[str]]:
    return [
        residue_lines("VAL", 1, ["CB", "CG1"], list(zip("AB", q, strict=True)), chain=chain)
        for chain, q in (("A", first), ("B", second))
    ]


SHARE = {"residues": [(1, "A"), (1, "B")], "share": True}


def test_sharing_joins_residues_letter_by_letter(load_lines):
    groups = load_lines(*two_chains(), sharing_rules=[SHARE]).occupancy_groups
    assert described(groups) == [
        ("A/1/VAL:A", [0, 1, 4, 5], pytest.approx(0.65), True, "A/1/VAL"),
        ("A/1/VAL:B", [2, 3, 6, 7], pytest.approx(0.35), True, "A/1/VAL"),
    ]
    assert groups.rule.tolist() == [Why.SHARED, Why.SHARED]
    assert "sharing rule" in groups.why(0)


def test_shared_residues_have_one_parameter_a_letter(load_lines):
    model = load_lines(*two_chains(), sharing_rules=[SHARE])
    assert model.occupancy.collapsed_shape == (2,)
    model.occupancy.set_group_occupancy(0, 0.2)
    assert model.occupancy().tolist() == pytest.approx([0.2, 0.2, 0.8, 0.8] * 2)


def test_sharing_joins_residues_without_altloc(load_lines):
    lines = [residue_lines("HOH", n, ["O"], [("", q)]) for n, q in ((1, 0.5), (2, 0.7), (3, 0.9))]
    rules = [{"residues": [(1, "A"), (3, "A")], "share": True}]
    groups = load_lines(*lines, sharing_rules=rules).occupancy_groups
    assert described(groups) == [
        ("A/1/HOH", [0, 2], pytest.approx(0.7), True, None),
        ("A/2/HOH", [1], 0.7, True, None),
    ]


def test_share_false_leaves_the_groups_alone(load_lines):
    model = load_lines(*two_chains(), sharing_rules=[{**SHARE, "share": False}])
    assert len(model.occupancy_groups) == 4


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"residues": [(9, "A"), (1, "B")], "share": True}, r"sharing_rules\[0\].*9.*'A'"),
        ({"residues": [(1, "Z")], "share": True}, r"sharing_rules\[0\].*1.*'Z'"),
        ({"share": True}, r"sharing_rules\[0\].*residues"),
        ({"residues": [(1, "A")], "shared": True}, r"sharing_rules\[0\].*shared"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule, message, load_lines):
    with pytest.raises(ValueError, match=message):
        load_lines(*two_chains(), sharing_rules=[rule])


def test_sets_with_other_members_cannot_be_shared(load_lines):
    lines = [
        residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("VAL", 1, ["CB"], [("A", 0.5), ("B", 0.3), ("C", 0.2)], chain="B"),
    ]
    with pytest.raises(ValueError, match=r"sharing_rules\[0\]: .*B/1/VAL.*A/1/VAL.*members"):
        load_lines(*lines, sharing_rules=[SHARE])


# ---------------------------------------------------------------------- rounding


@pytest.fixture(scope="module")
def set_groups(tmp_path_factory):
    """Return a function of a size: the groups of one complete set and one atom outside."""
    made: dict[int, OccupancyGroups] = {}

    def groups(size: int) -> OccupancyGroups:
        if size not in made:
            parts = [(chr(ord("A") + i), 1.0 / size) for i in range(size)]
            text = pdb_text(
                residue_lines("VAL", 1, ["CB"], parts), residue_lines("HOH", 2, ["O"], [("", 0.5)])
            )
            path = write_text(tmp_path_factory.mktemp("set") / "set.pdb", text)
            made[size] = Model().load(path).occupancy_groups
        return made[size]

    return groups


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 1_000_000), min_size=2, max_size=8).filter(any),
    st.sampled_from([2, 4]),
    st.sampled_from([np.float32, np.float64]),
)
@example([1, 1, 1], 2, np.float64)
@example([1, 1, 1, 1, 1, 1, 1], 4, np.float32)
@example([5, 5, 990], 2, np.float64)
@example([1, 999_999], 2, np.float32)
def test_rounded_sets_sum_to_exactly_1(set_groups, weights, decimals, kind):
    groups = set_groups(len(weights))
    values = np.array(weights, dtype=np.float64) / sum(weights)
    values = np.append(values, 0.123456).astype(kind).astype(np.float64)
    rounded = groups.rounded(values, decimals)
    unit = 10**decimals
    texts = [f"{v:.{decimals}f}" for v in rounded]
    assert sum(round(float(t) * unit) for t in texts[:-1]) == unit
    assert [float(t) for t in texts] == rounded.tolist()
    assert np.abs(rounded - values).max() < 1.0 / unit + 1e-6
    assert ((rounded >= 0) & (rounded <= 1)).all()
    assert texts[-1] == f"{0.123456:.{decimals}f}"


@pytest.mark.parametrize("decimals", [2, 4])
def test_what_is_rounded_already_is_kept(set_groups, decimals):
    values = np.array([0.29, 0.57, 0.14, 0.5])
    assert set_groups(3).rounded(values, decimals).tolist() == values.tolist()


def test_from_residue_groups_and_the_loader_agree(load_lines):
    from multicopy_refinement.model import OccupancyTensor

    model = load_lines(
        residue_lines("ALA", 1, ["N", "CA"]),
        residue_lines("VAL", 2, ["CB", "CG1"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("LYS", 3, ["N"]) + residue_lines("LYS", 3, ["NZ"], [("", 0.5)]),
    )
    tensor = OccupancyTensor.from_residue_groups(torch.tensor(model.pdb["occupancy"]), model.pdb)
    assert torch.equal(tensor.expansion_mask, model.occupancy.expansion_mask)
    assert torch.equal(tensor.refinable_mask, model.occupancy.refinable_mask)
    assert tensor.n_sets == model.occupancy.n_sets
