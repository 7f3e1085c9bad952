"""The ``connected`` rule: lines of a file, and beside them the groups that they make."""

import time

import numpy as np
import pytest

from grouping_cases import case, described
from helpers import CRYST1, atom_line, pdb_text, residue_lines, write_text
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.grouping import Grouping, GroupingOptions, group_atoms
from multicopy_refinement.occupancy.groups import Why

#: Atoms count from 0 in the order of the lines.
CASES = [
    case(
        "a peptide bond joins two residues letter by letter",
        """
ATOM      1  N  AALA A   1       0.000   0.000   0.000  0.60 15.00           N
ATOM      2  C  AALA A   1       2.400   0.000   0.000  0.60 15.00           C
ATOM      3  N  BALA A   1       0.000   9.000   0.000  0.40 15.00           N
ATOM      4  C  BALA A   1       2.400   9.000   0.000  0.40 15.00           C
ATOM      5  N  AGLY A   2       3.700   0.000   0.000  0.50 15.00           N
ATOM      6  N  BGLY A   2       3.700   9.000   0.000  0.50 15.00           N
""",
        [
            ("A/1/ALA:A", [0, 1, 4], 1.7 / 3, True, "A/1/ALA"),
            ("A/1/ALA:B", [2, 3, 5], 1.3 / 3, True, "A/1/ALA"),
        ],
        ["connected_values"],
    ),
    case(
        "a bond between atoms without altloc joins residues, too",
        """
ATOM      1  C   SER A   1       0.000   0.000   0.000  1.00 15.00           C
ATOM      2  OG ASER A   1       0.000   6.000   0.000  0.60 15.00           O
ATOM      3  OG BSER A   1       0.000   8.500   0.000  0.40 15.00           O
ATOM      4  N   SER A   2       1.330   0.000   0.000  1.00 15.00           N
ATOM      5  OG ASER A   2       1.330  -6.000   0.000  0.60 15.00           O
ATOM      6  OG BSER A   2       1.330  -8.500   0.000  0.40 15.00           O
""",
        [
            ("A/1/SER", [0], 1.0, False, None),
            ("A/1/SER:A", [1, 4], 0.6, True, "A/1/SER"),
            ("A/1/SER:B", [2, 5], 0.4, True, "A/1/SER"),
            ("A/2/SER", [3], 1.0, False, None),
        ],
    ),
    case(
        "residues that follow one another without a bond or contact stay apart",
        """
ATOM      1  C  AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  C  BALA A   1       0.000   9.000   0.000  0.40 15.00           C
ATOM      3  N  AGLY A   2       4.200   0.000   0.000  0.60 15.00           N
ATOM      4  N  BGLY A   2       4.200   9.000   0.000  0.40 15.00           N
""",
        [
            ("A/1/ALA:A", [0], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.4, True, "A/1/ALA"),
            ("A/2/GLY:A", [2], 0.6, True, "A/2/GLY"),
            ("A/2/GLY:B", [3], 0.4, True, "A/2/GLY"),
        ],
    ),
    case(
        "contact of one letter within 4.0 A joins residues that are far apart in sequence",
        """
ATOM      1  CB AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CB BALA A   1       0.000   9.000   0.000  0.40 15.00           C
ATOM      3  CB AVAL B  77       3.900   0.000   0.000  0.60 15.00           C
ATOM      4  CB BVAL B  77      19.000   9.000   0.000  0.40 15.00           C
""",
        [
            ("A/1/ALA:A", [0, 2], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1, 3], 0.4, True, "A/1/ALA"),
        ],
    ),
    case(
        "contact of different letters joins nothing",
        """
ATOM      1  CB AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CB BALA A   1       0.000   9.000   0.000  0.40 15.00           C
ATOM      3  CB BVAL B  77       3.000   0.000   0.000  0.60 15.00           C
ATOM      4  CB AVAL B  77      19.000   9.000   0.000  0.40 15.00           C
""",
        [
            ("A/1/ALA:A", [0], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.4, True, "A/1/ALA"),
            ("B/77/VAL:B", [2], 0.6, True, "B/77/VAL"),
            ("B/77/VAL:A", [3], 0.4, True, "B/77/VAL"),
        ],
    ),
    case(
        "hydrogens make no contact",
        """
ATOM      1  CB AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  HB AALA A   1       1.000   0.000   0.000  0.60 15.00           H
ATOM      3  CB BALA A   1       0.000   9.000   0.000  0.40 15.00           C
ATOM      4  CB AVAL B  77       4.600   0.000   0.000  0.60 15.00           C
ATOM      5  CB BVAL B  77      19.000   9.000   0.000  0.40 15.00           C
""",
        [
            ("A/1/ALA:A", [0, 1], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [2], 0.4, True, "A/1/ALA"),
            ("B/77/VAL:A", [3], 0.6, True, "B/77/VAL"),
            ("B/77/VAL:B", [4], 0.4, True, "B/77/VAL"),
        ],
    ),
    case(
        "AB next to ABC stays apart",
        """
ATOM      1  C  AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  C  BALA A   1       0.000   9.000   0.000  0.40 15.00           C
ATOM      3  N  AGLY A   2       1.300   0.000   0.000  0.30 15.00           N
ATOM      4  N  BGLY A   2       1.300   9.000   0.000  0.30 15.00           N
ATOM      5  N  CGLY A   2       1.300  18.000   0.000  0.40 15.00           N
""",
        [
            ("A/1/ALA:A", [0], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.4, True, "A/1/ALA"),
            ("A/2/GLY:A", [2], 0.3, True, "A/2/GLY"),
            ("A/2/GLY:B", [3], 0.3, True, "A/2/GLY"),
            ("A/2/GLY:C", [4], 0.4, True, "A/2/GLY"),
        ],
    ),
    case(
        "a disulfide bond joins",
        """
ATOM      1  SG ACYS A   1       0.000   0.000   0.000  0.70 15.00           S
ATOM      2  SG BCYS A   1       0.000  12.000   0.000  0.30 15.00           S
ATOM      3  SG ACYS A  50       2.050   0.000   0.000  0.70 15.00           S
ATOM      4  SG BCYS A  50      19.000  12.000   0.000  0.30 15.00           S
""",
        [
            ("A/1/CYS:A", [0, 2], 0.7, True, "A/1/CYS"),
            ("A/1/CYS:B", [1, 3], 0.3, True, "A/1/CYS"),
        ],
        contact_distance=0.5,
    ),
    case(
        "a ligand with letters C and D joins the protein's A, B, C and D",
        """
ATOM      1  CB AALA A   1       0.000   0.000   0.000  0.18 15.00           C
ATOM      2  CB BALA A   1       0.000   9.000   0.000  0.18 15.00           C
ATOM      3  CB CALA A   1       0.000  18.000   0.000  0.32 15.00           C
ATOM      4  CB DALA A   1       0.000  27.000   0.000  0.32 15.00           C
HETATM    5  C1 CLIG A 201       3.500  18.000   0.000  0.32 15.00           C
HETATM    6  C1 DLIG A 201       3.500  27.000   0.000  0.32 15.00           C
HETATM    7  O  CHOH A 301       7.000  18.000   0.000  0.32 15.00           O
""",
        [
            ("A/1/ALA:A", [0], 0.18, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.18, True, "A/1/ALA"),
            ("A/1/ALA:C", [2, 4, 6], 0.32, True, "A/1/ALA"),
            ("A/1/ALA:D", [3, 5], 0.32, True, "A/1/ALA"),
        ],
    ),
    case(
        "a water with one letter joins the closer of two networks",
        """
ATOM      1  CB AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CB BALA A   1       0.000  20.000   0.000  0.40 15.00           C
HETATM    3  O  AHOH A 301       3.800   0.000   0.000  0.60 15.00           O
ATOM      4  CB AVAL A  50       7.000   0.000   0.000  0.70 15.00           C
ATOM      5  CB BVAL A  50       7.000  30.000   0.000  0.30 15.00           C
""",
        [
            ("A/1/ALA:A", [0], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.4, True, "A/1/ALA"),
            ("A/301/HOH:A", [2, 3], 0.65 / 0.95, True, "A/301/HOH"),
            ("A/50/VAL:B", [4], 0.30 / 0.95, True, "A/301/HOH"),
        ],
        ["connected_values", "set_sum"],
    ),
    case(
        "a protein residue with fewer letters is no visitor",
        """
ATOM      1  CB AALA A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CB BALA A   1       0.000  20.000   0.000  0.40 15.00           C
ATOM      3  CB AVAL A  50       3.000   0.000   0.000  0.70 15.00           C
""",
        [
            ("A/1/ALA:A", [0], 0.6, True, "A/1/ALA"),
            ("A/1/ALA:B", [1], 0.4, True, "A/1/ALA"),
            ("A/50/VAL:A", [2], 0.7, True, None),
        ],
    ),
    case(
        "residues with one letter share it without a set",
        """
HETATM    1  O  AHOH A   1       0.000   0.000   0.000  0.60 15.00           O
HETATM    2  O  AHOH A   2       3.000   0.000   0.000  0.60 15.00           O
""",
        [("A/1/HOH:A", [0, 1], 0.6, True, None)],
    ),
]


def grouped(load_lines, lines, options):
    return load_lines(lines, grouping=GroupingOptions(Grouping.CONNECTED, **options))


@pytest.mark.parametrize(("lines", "groups", "notices", "options"), CASES)
def test_connected_rules(lines, groups, notices, options, load_lines):
    model = grouped(load_lines, lines, options)
    assert described(model.occupancy_groups) == groups
    assert [notice.code for notice in model.notices] == notices


@pytest.mark.parametrize(("lines", "groups", "notices", "options"), CASES)
def test_the_order_in_the_file_plays_no_part(lines, groups, notices, options, load_lines):
    del notices
    order = np.random.default_rng(1).permutation(len(lines))
    found = grouped(load_lines, [lines[i] for i in order], options).occupancy_groups
    members = {frozenset(order[atoms].tolist()) for atoms in found.members}
    assert members == {frozenset(atoms) for _, atoms, *_ in groups}
    pairs = zip(found.members, found.occupancy, strict=True)
    values = {frozenset(order[m].tolist()): q for m, q in pairs}
    for _, atoms, occupancy, _, _ in groups:
        assert values[frozenset(atoms)] == pytest.approx(occupancy, abs=1e-9)


def test_residue_remains_the_default(load_lines):
    assert len(load_lines(CASES[0].values[0]).occupancy_groups) == 4


def test_the_reason_names_the_bond_and_the_contact(load_lines):
    found = grouped(load_lines, CASES[0].values[0], {}).occupancy_groups
    assert found.rule.tolist() == [Why.CONNECTED, Why.CONNECTED]
    assert "2 residues: bond A/1/ALA/C:A - A/2/GLY/N:A 1.3 A" in found.why(0)
    found = grouped(load_lines, CASES[3].values[0], {}).occupancy_groups
    assert "contact A/1/ALA/CB:A - B/77/VAL/CB:A 3.9 A" in found.why(0)


def test_a_network_with_a_ligand_is_named_after_it(load_lines):
    """The residue comes first in the file, and the ligand is who it is about."""
    lines = [
        atom_line(name, residue, number, 0.5, altloc=letter, xyz=xyz,
                  record="HETATM" if residue == "LIG" else "ATOM")
        for letter in "AB"
        for residue, number, name, xyz in (
            ("SER", 1, "CB", (0, 0, 0)), ("SER", 1, "OG", (1.4, 0, 0)),
            ("LIG", 9, "C1", (4.0, 0, 0)), ("LIG", 9, "C2", (5.5, 0, 0)),
        )
    ]  # fmt: skip
    groups = load_lines(lines, grouping="connected").occupancy_groups
    assert groups.names == ("A/9/LIG:A", "A/9/LIG:B")
    assert groups.sets[0].name == "A/9/LIG"
    assert "A/1/SER:A" in load_lines(lines).occupancy_groups.names


def test_the_contact_distance_can_be_chosen(load_lines):
    lines = CASES[3].values[0]
    assert len(grouped(load_lines, lines, {"contact_distance": 3.8}).occupancy_groups) == 4
    assert len(grouped(load_lines, lines, {"contact_distance": 4.0}).occupancy_groups) == 2


LINK = "\n".join(
    f"LINK        ZN  {letter} ZN A   1                 SG {letter}CYS A   2     1555   1555  2.30"
    for letter in "AB"
)


@pytest.mark.parametrize("linked", [True, False])
def test_a_metal_is_bonded_by_a_link_record_only(linked, tmp_path):
    lines = """
HETATM    1 ZN  A ZN A   1       0.000   0.000   0.000  0.60 15.00          ZN
HETATM    2 ZN  B ZN A   1       0.000   9.000   0.000  0.40 15.00          ZN
ATOM      3  SG ACYS A   2       2.300   0.000   0.000  0.60 15.00           S
ATOM      4  SG BCYS A   2       2.300   9.000   0.000  0.40 15.00           S
END
"""
    text = (LINK + "\n" if linked else "") + CRYST1 + lines
    options = GroupingOptions(Grouping.CONNECTED, contact_distance=1.0)
    model = Model().load(write_text(tmp_path / "zn.pdb", text), grouping=options)
    assert len(model.occupancy_groups) == (2 if linked else 4)
    assert len(model.table.links) == (2 if linked else 0)


def test_links_of_mmcif_are_read(shared_data):
    model = Model().load(shared_data / "6mw0" / "model.cif", grouping=Grouping.CONNECTED)
    labels = {(model.table.label(a), model.table.label(b)) for a, b in model.table.links}
    assert ("A/1001/MLE/C:A", "A/1002/PHE/N:A") in labels


def test_models_of_a_file_do_not_touch_each_other(tmp_path):
    part = residue_lines("SER", 1, ["OG"], [("A", 0.6), ("B", 0.4)])
    other = residue_lines("SER", 1, ["OG"], [("A", 0.7), ("B", 0.3)])
    lines = ["MODEL        1", *part, "ENDMDL", "MODEL        2", *other, "ENDMDL"]
    model = Model().load(write_text(tmp_path / "m.pdb", pdb_text(lines)), grouping="connected")
    assert len(model.occupancy_groups) == 4


def test_the_ground_and_the_bound_state_of_a_fragment(shared_data):
    """Ground state A/B and bound state C/D with the ligand: one network, nothing to be scaled."""
    model = Model().load(shared_data / "mpro-x0107" / "model.pdb", grouping="connected")
    groups = model.occupancy_groups
    ligand = np.flatnonzero(groups.table.resname == b"LIG")
    bound = np.unique(groups.index[ligand])
    assert [groups.names[g] for g in bound] == ["A/1101/LIG:C", "A/1101/LIG:D"]
    assert "A/141/LEU:A" in groups.names
    assert groups.occupancy[bound].sum() == pytest.approx(0.64)
    owner = groups.sets[groups.set_index[bound[0]]]
    assert (owner.name, len(owner.groups)) == ("A/1101/LIG", 4)
    assert "set_sum" not in {notice.code for notice in model.notices}


@pytest.mark.alone
def test_100000_atoms_within_2_seconds(shared_data):
    one = Model().load(shared_data / "1g8a" / "model.pdb").table
    copies = 36
    place = np.tile(np.arange(len(one)), copies)
    copy = np.repeat(np.arange(copies), len(one))
    columns = {
        name: value[place] if isinstance(value, np.ndarray) else value
        for name, value in vars(one).items()
        if name in AtomTable.__dataclass_fields__
    }
    columns["xyz"] = columns["xyz"] + 200.0 * np.outer(copy, [0, 1, 0])
    columns["resseq"] = (columns["resseq"] + 1000 * copy).astype(np.int32)
    table = AtomTable(**columns)
    assert len(table) > 100_000
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = group_atoms(table, Grouping.CONNECTED).groups
        times.append(time.perf_counter() - start)
    assert found.refined.sum() == copies * 33
    assert min(times) < 2.0
