"""H/D pairs, special positions and close waters: lines, and beside them the groups they make."""

import numpy as np
import pytest
import torch

from crystals import AtomSpec, load_crystal
from grouping_cases import case, described
from helpers import write_text
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.automatic.special import multiplicities
from multicopy_refinement.occupancy.exchange import ExchangeFormat, write_groups
from multicopy_refinement.occupancy.grouping import Grouping, GroupingOptions
from multicopy_refinement.scattering import structure_factors

CASES = [
    case(
        "H and D at one site sum to 1 where the parent is full",
        """
ATOM      1  N   ASN A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  H  AASN A   1       1.000   0.000   0.000  0.40 15.00           H
ATOM      3  D  BASN A   1       1.000   0.000   0.000  0.60 15.00           D
""",
        [
            ("A/1/ASN", [0], 1.0, False, None),
            ("A/1/ASN/H:A", [1], 0.4, True, "A/1/ASN/H"),
            ("A/1/ASN/D:B", [2], 0.6, True, "A/1/ASN/H"),
        ],
    ),
    case(
        "every exchanged site of a residue has a pair of its own",
        """
ATOM      1  N   SER A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  OG  SER A   1       0.000   5.000   0.000  1.00 15.00           O
ATOM      3  H  ASER A   1       1.000   0.000   0.000  0.40 15.00           H
ATOM      4  D  BSER A   1       1.000   0.000   0.000  0.60 15.00           D
ATOM      5  HG ASER A   1       1.000   5.000   0.000  0.20 15.00           H
ATOM      6  DG BSER A   1       1.000   5.000   0.000  0.80 15.00           D
""",
        [
            ("A/1/SER", [0, 1], 1.0, False, None),
            ("A/1/SER/H:A", [2], 0.4, True, "A/1/SER/H"),
            ("A/1/SER/D:B", [3], 0.6, True, "A/1/SER/H"),
            ("A/1/SER/HG:A", [4], 0.2, True, "A/1/SER/HG"),
            ("A/1/SER/DG:B", [5], 0.8, True, "A/1/SER/HG"),
        ],
    ),
    case(
        "a pair without altlocs sums to a partial parent",
        """
HETATM    1  O   DOD A   1       0.000   0.000   0.000  0.50 15.00           O
HETATM    2  H1  DOD A   1       0.900   0.000   0.000  0.20 15.00           H
HETATM    3  D1  DOD A   1       0.900   0.000   0.000  0.30 15.00           D
""",
        [
            ("A/1/DOD", [0], 0.5, True, None),
            ("A/1/DOD/H1", [1], 0.2, True, "A/1/DOD/H1"),
            ("A/1/DOD/D1", [2], 0.3, True, "A/1/DOD/H1"),
        ],
    ),
    case(
        "a pair of one letter sums to the conformer of that letter",
        """
ATOM      1  OG ASER A   1       0.000   0.000   0.000  0.60 15.00           O
ATOM      2  HG ASER A   1       0.900   0.000   0.000  0.20 15.00           H
ATOM      3  DG ASER A   1       0.900   0.000   0.000  0.40 15.00           D
ATOM      4  OG BSER A   1       0.000   3.000   0.000  0.40 15.00           O
""",
        [
            ("A/1/SER:A", [0], 0.6, True, "A/1/SER"),
            ("A/1/SER/HG:A", [1], 0.2, True, "A/1/SER/HG"),
            ("A/1/SER/DG:A", [2], 0.4, True, "A/1/SER/HG"),
            ("A/1/SER:B", [3], 0.4, True, "A/1/SER"),
        ],
    ),
    case(
        "H of A and D of B on a parent with A and B are conformers",
        """
ATOM      1  OG ASER A   1       0.000   0.000   0.000  0.60 15.00           O
ATOM      2  HG ASER A   1       0.900   0.000   0.000  0.60 15.00           H
ATOM      3  OG BSER A   1       0.100   0.000   0.000  0.40 15.00           O
ATOM      4  DG BSER A   1       0.900   0.100   0.000  0.40 15.00           D
""",
        [
            ("A/1/SER:A", [0, 1], 0.6, True, "A/1/SER"),
            ("A/1/SER:B", [2, 3], 0.4, True, "A/1/SER"),
        ],
    ),
    case(
        "D with a name of H has no partner",
        """
ATOM      1  N   ASN A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  HN  ASN A   1       1.000   0.000   0.000  1.00 15.00           D
""",
        [("A/1/ASN", [0, 1], 1.0, False, None)],
    ),
    case(
        "H and D that are not at one place are hydrogens like others",
        """
ATOM      1  C   ALA A   1       0.000   0.000   0.000  1.00 15.00           C
ATOM      2  H1  ALA A   1       1.000   0.000   0.000  1.00 15.00           H
ATOM      3  D1  ALA A   1      -1.000   0.000   0.000  1.00 15.00           D
""",
        [("A/1/ALA", [0, 1, 2], 1.0, False, None)],
    ),
    case(
        "a pair that does not sum to its parent is scaled",
        """
ATOM      1  N   ASN A   1       0.000   0.000   0.000  1.00 15.00           N
ATOM      2  H  AASN A   1       1.000   0.000   0.000  0.40 15.00           H
ATOM      3  D  BASN A   1       1.000   0.000   0.000  0.40 15.00           D
""",
        [
            ("A/1/ASN", [0], 1.0, False, None),
            ("A/1/ASN/H:A", [1], 0.5, True, "A/1/ASN/H"),
            ("A/1/ASN/D:B", [2], 0.5, True, "A/1/ASN/H"),
        ],
        ["set_sum"],
    ),
    case(
        "two half waters in different residues are named and left alone",
        """
HETATM    1  O   HOH A   1       0.000   0.000   0.000  0.50 15.00           O
HETATM    2  O   HOH A   2       1.200   0.000   0.000  0.50 15.00           O
HETATM    3  O   HOH A   3       1.200   1.600   0.000  0.50 15.00           O
""",
        [
            ("A/1/HOH", [0], 0.5, True, None),
            ("A/2/HOH", [1], 0.5, True, None),
            ("A/3/HOH", [2], 0.5, True, None),
        ],
        ["close_waters"],
    ),
    case(
        "linked, they sum to 1 where the file's values do",
        """
HETATM    1  O   HOH A   1       0.000   0.000   0.000  0.50 15.00           O
HETATM    2  O   HOH A   2       1.200   0.000   0.000  0.50 15.00           O
""",
        [
            ("A/1/HOH", [0], 0.5, True, "A/1/HOH"),
            ("A/2/HOH", [1], 0.5, True, "A/1/HOH"),
        ],
        ["close_waters_linked"],
        link_close_waters=True,
    ),
    case(
        "linked, three in a row sum to at most 1 otherwise",
        """
HETATM    1  O   HOH A   1       0.000   0.000   0.000  0.30 15.00           O
HETATM    2  O   HOH A   2       1.200   0.000   0.000  0.30 15.00           O
HETATM    3  O   HOH A   3       2.400   0.000   0.000  0.20 15.00           O
""",
        [
            ("A/1/HOH", [0], 0.3, True, "A/1/HOH"),
            ("A/2/HOH", [1], 0.3, True, "A/1/HOH"),
            ("A/3/HOH", [2], 0.2, True, "A/1/HOH"),
        ],
        ["close_waters_linked"],
        link_close_waters=True,
    ),
    case(
        "full waters that are close are left alone",
        """
HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00 15.00           O
HETATM    2  O   HOH A   2       1.200   0.000   0.000  0.50 15.00           O
""",
        [
            ("A/1/HOH", [0], 1.0, False, None),
            ("A/2/HOH", [1], 0.5, True, None),
        ],
    ),
    case(
        "a ligand uneven by 0.01 has one parameter",
        """
HETATM    1  C1  LIG A   1       0.000   0.000   0.000  0.60 15.00           C
HETATM    2  C2  LIG A   1       1.500   0.000   0.000  0.61 15.00           C
HETATM    3  C3  LIG A   1       3.000   0.000   0.000  0.60 15.00           C
""",
        [("A/1/LIG", [0, 1, 2], 1.81 / 3, True, None)],
        ["shared_value"],
    ),
    case(
        "microheterogeneity without altlocs is one residue of blank parts",
        """
ATOM      1  CB  SER A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CB  THR A   1       0.100   0.000   0.000  0.40 15.00           C
""",
        [
            ("A/1/SER=0.60", [0], 0.6, True, None),
            ("A/1/THR=0.40", [1], 0.4, True, None),
        ],
    ),
    case(
        "eight letters, capitals, small ones and digits",
        "\n".join(
            f"ATOM      {i + 1}  CB {letter}ALA A   1    {4.0 * i:8.3f}   0.000   0.000  "
            f"0.12 15.00           C"
            for i, letter in enumerate("ABCDab12")
        ),
        [(f"A/1/ALA:{letter}", [i], 0.125, True, "A/1/ALA") for i, letter in enumerate("ABCDab12")],
        ["set_sum"],
    ),
]


@pytest.mark.parametrize(("lines", "groups", "notices", "options"), CASES)
def test_special_cases(lines, groups, notices, options, load_lines):
    model = load_lines(lines, grouping=GroupingOptions(Grouping.RESIDUE, **options))
    assert described(model.occupancy_groups) == groups
    assert [notice.code for notice in model.notices] == notices


def lines_of(name: str) -> list[str]:
    (found,) = [c.values[0] for c in CASES if c.id == name]
    return found


def test_a_pair_follows_its_parent_in_torch(load_lines):
    model = load_lines(lines_of("a pair without altlocs sums to a partial parent"))
    groups = model.occupancy_groups
    assert groups.sets[0].parent == 0
    assert "sums to A/1/DOD" in groups.why(1)
    model.occupancy.set_group_occupancy(0, 0.8)
    assert model.occupancy().tolist() == pytest.approx([0.8, 0.32, 0.48], abs=1e-6)
    model.occupancy.set_group_occupancy(1, 0.5)
    assert model.occupancy().tolist() == pytest.approx([0.8, 0.5, 0.3], abs=1e-6)


def test_close_waters_sum_to_at_most_1(load_lines):
    options = GroupingOptions(link_close_waters=True)
    (one,) = load_lines(
        lines_of("linked, three in a row sum to at most 1 otherwise"), grouping=options
    ).occupancy_groups.sets
    assert (one.total, one.complete) == (1.0, False)
    (one,) = load_lines(
        lines_of("linked, they sum to 1 where the file's values do"), grouping=options
    ).occupancy_groups.sets
    assert (one.total, one.complete) == (1.0, True)


# ---------------------------------------------------------------------- special positions


@pytest.mark.parametrize("group", ["P 4 2 2", "P 6 2 2"])
def test_multiplicities_beside_an_axis_are_those_on_it(group):
    """An atom is where its refinement left it, not exactly on the axis."""
    cell = Cell(40, 40, 50, 90, 90, 90 if "4" in group else 120)
    for angle in np.linspace(0.1, 6.0, 7):
        beside = 0.18 * np.array([np.cos(angle), np.sin(angle), 0]) + np.array([0, 0, 9.0])
        expected = 4 if "4" in group else 6
        assert multiplicities(beside[None], cell, SpaceGroup(group)).tolist() == [expected]


def test_multiplicities_are_those_of_the_sites():
    cell, group = Cell(40, 50, 60, 90, 90, 90), SpaceGroup("P 2 2 2")
    sites = np.array([[0, 0, 0], [0, 0, 7], [20, 25, 30], [3, 4, 5], [0, 0.1, 7], [0, 2, 7]], float)
    assert multiplicities(sites, cell, group).tolist() == [4, 2, 4, 1, 2, 1]
    assert multiplicities(
        np.array([[0.0, 3.0, 0.0], [11.0, 3.0, 0.0]]),
        Cell(22, 12, 14, 90, 104, 90),
        SpaceGroup("C 1 2 1"),
    ).tolist() == [2, 2]


def special(tmp_path, occupancy, place=(0.0, 0.37, 0.0)):
    water = AtomSpec("O", place, occupancy=occupancy)
    return load_crystal(tmp_path / "c.pdb", "C 1 2 1", [water, AtomSpec("C", (0.2, 0.3, 0.4))])


def test_a_half_water_on_an_axis_is_bounded_by_a_half(tmp_path):
    model = special(tmp_path, 0.5)
    (one,) = model.occupancy_groups.sets
    assert (one.groups, one.total, one.complete) == ((0,), 0.5, False)
    assert "at most 0.5 (on a special position of multiplicity 2)" in model.occupancy_groups.why(0)
    assert not model.notices
    with torch.no_grad():
        model.occupancy.refinable_params.fill_(20.0)
    assert float(model.occupancy()[0].detach()) == pytest.approx(0.5, abs=1e-6)


def test_the_bound_is_where_the_site_is_full(tmp_path):
    """Every image counts: half an atom on the axis is half as many electrons in the cell."""
    hkl = [[2, 0, 0], [1, 1, 0], [0, 0, 3], [1, 3, 2]]
    on_axis = special(tmp_path, 0.5)
    off_axis = special(tmp_path, 1.0, (0.25, 0.37, 0.1))
    with torch.no_grad():
        electrons = [
            float(structure_factors(m, [[0, 0, 0]], method="direct").abs()[0])
            for m in (on_axis, off_axis)
        ]
        assert structure_factors(on_axis, hkl, method="direct").abs().max() > 0
    # one oxygen for each two asymmetric units on the axis, one for each elsewhere
    assert electrons[1] - electrons[0] == pytest.approx(0.5 * 8.0 * 4, rel=2e-3)


def test_a_full_occupancy_on_an_axis_is_held_and_named(tmp_path):
    model = special(tmp_path, 1.0)
    assert len(model.occupancy_groups.sets) == 0
    assert not model.occupancy_groups.refined.any()
    (notice,) = model.notices
    assert notice.code == "special_position"
    assert "A/1/UNK/O (1.00, at most 0.50)" in notice.message


def test_a_partial_occupancy_above_the_bound_is_lowered_and_named(tmp_path):
    model = special(tmp_path, 0.8)
    assert model.occupancy_groups.occupancy[0] == pytest.approx(0.5)
    assert model.occupancy_groups.file_occupancy[0] == pytest.approx(0.8)
    assert [n.code for n in model.notices] == ["special_position", "set_sum"]


def test_conformers_that_all_stand_on_an_axis_sum_to_a_half(tmp_path):
    text = """CRYST1   22.000   12.000   14.000  90.00 104.00  90.00 C 1 2 1
HETATM    1  O  AHOH A   1       0.000   3.000   0.000  0.30 15.00           O
HETATM    2  O  BHOH A   1       0.000   4.500   0.000  0.20 15.00           O
END
"""
    groups = Model().load(write_text(tmp_path / "w.pdb", text)).occupancy_groups
    (one,) = groups.sets
    assert (one.total, one.complete) == (0.5, True)
    assert groups.occupancy.tolist() == pytest.approx([0.3, 0.2])


AXIS = """{head}CRYST1   22.000   12.000   14.000  90.00 104.00  90.00 C 1 2 1
HETATM    1  O   HOH W   1    {x:8.3f}   4.000   0.000  {q:4.2f} 15.00           O
{hydrogens}HETATM    4  O   HOH W   2       0.000   8.000   0.000  {other:4.2f} 15.00           O
ATOM      5  C   UNK A   3       5.000   3.000   4.000  1.00 15.00           C
END
"""
HYDROGENS = """HETATM    2  H1  HOH W   1       0.600   4.600   0.000  {q:4.2f} 15.00           H
HETATM    3  H2  HOH W   1      -0.600   4.600   0.000  {q:4.2f} 15.00           H
"""


def on_axis(tmp_path, q, *, other=0.5, x=0.0, head="", hydrogens=False):
    with_them = HYDROGENS.format(q=q) if hydrogens else ""
    text = AXIS.format(head=head, x=x, q=q, other=other, hydrogens=with_them)
    return Model().load(write_text(tmp_path / "axis.pdb", text))


def special_notice(model):
    found = [n for n in model.notices if n.code == "special_position"]
    return found[0].message if found else ""


@pytest.mark.parametrize("hydrogens", [False, True])
def test_a_water_is_one_site_with_hydrogens_or_without(hydrogens, tmp_path):
    full = on_axis(tmp_path, 1.0, hydrogens=hydrogens)
    assert "W/1/HOH/O (1.00, at most 0.50)" in special_notice(full)
    partial = on_axis(tmp_path, 0.8, hydrogens=hydrogens)
    groups = partial.occupancy_groups
    assert groups.occupancy[0] == 0.5
    assert groups.sets[0].total == 0.5
    assert "W/1/HOH/O (0.80, at most 0.50)" in special_notice(partial)


@pytest.mark.parametrize(("x", "named"), [(0.2, True), (0.245, True), (0.3, False), (1.0, False)])
def test_how_near_its_image_an_atom_is_on_a_special_position(x, named, tmp_path):
    assert bool(special_notice(on_axis(tmp_path, 1.0, x=x))) == named


@pytest.mark.parametrize(
    ("head", "other", "says"),
    [
        (
            "REMARK   3   PROGRAM     : PHENIX (1.20.1_4487)\n",
            0.5,
            "of PHENIX (1.20.1_4487): a full",
        ),
        (
            "REMARK   3   PROGRAM     : REFMAC 5.8\n",
            1.0,
            "of REFMAC 5.8, for which a full site is 1/",
        ),
        ("REMARK   3   PROGRAM     : NULL\n", 1.0, "All of them are at 1.00, as phenix writes"),
        ("", 1.0, "All of them are at 1.00, as phenix writes them"),
        ("", 0.5, "Others of the file are at 1/multiplicity (W/2/HOH), as it is meant here"),
        ("", 0.3, "phenix writes a full site there as 1.00, others, and this program, as 1/mult"),
    ],
)
def test_what_a_full_site_is_in_the_file(head, other, says, tmp_path):
    message = special_notice(on_axis(tmp_path, 1.0, other=other, head=head))
    assert says in message
    assert message.endswith('a rule for a full site: fix = "W/1/HOH", value = 0.5')


def test_the_rule_of_the_notice_is_what_it_wants(tmp_path):
    path = tmp_path / "axis.pdb"
    on_axis(tmp_path, 1.0)
    model = Model().load(path, sharing_rules=[{"fix": "W/1/HOH", "value": 0.5}])
    assert special_notice(model) == ""
    assert model.occupancy_groups.occupancy[0] == 0.5


def test_group_files_say_what_a_full_site_is_there(tmp_path):
    model = on_axis(tmp_path, 0.5)
    said = "on special positions (multiplicity): W/1/HOH (2), W/2/HOH (2); a full site there is "
    for form, mark, full in (
        (ExchangeFormat.PHENIX, "# ", "1.00: multiply what stands in our files by it"),
        (ExchangeFormat.REFMAC, "! ", "1/multiplicity, as here"),
        (ExchangeFormat.SHELX, "REM ", "1/multiplicity, as here"),
    ):
        text = write_groups(model.occupancy_groups, form, cell=model.cell)
        assert f"{mark}{said}{full}" in text


def test_an_atom_of_a_residue_on_an_axis_is_named(tmp_path):
    sulfate = [
        f"HETATM{i:5d}  {name:<3} SO4 A   1    {x:8.3f}   4.000{z:8.3f}  1.00 15.00"
        f"           {name[0]}"
        for i, (name, x, z) in enumerate([("O1", 1.2, 0.8), ("O2", -1.2, -0.8), ("S", 0.0, 0.0)])
    ]
    path = tmp_path / "so4.pdb"
    path.write_text("\n".join([AXIS.splitlines()[0].format(head=""), *sulfate, "END", ""]))
    (notice,) = Model().load(path).notices
    assert notice.atoms == ("A/1/SO4/S",)
    assert "fix" not in notice.message
    groups = Model().load(path, sharing_rules=[{"refine": "A/1/SO4"}]).occupancy_groups
    assert groups.occupancy.tolist() == [0.5]  # as long as its sulfur is one atom
