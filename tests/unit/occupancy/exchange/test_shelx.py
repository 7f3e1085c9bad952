"""SHELXL instructions: free variables, parts and sums."""

import gemmi
import pytest

from helpers import group_file, pdb_text, residue_lines, write_text
from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.errors import RuleError
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.occupancy.exchange import ExchangeFormat, write_groups
from multicopy_refinement.occupancy.exchange.shelx import read
from multicopy_refinement.occupancy.exchange.shelx_symmetry import symmetry_lines


@pytest.fixture
def source(tmp_path):
    """Return valine 1 with A and B (0, 1), serine 2 with A, B and C (2, 3, 4), waters (5, 6)."""
    lines = [
        residue_lines("VAL", 1, ["CB"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("SER", 2, ["OG"], [("A", 0.5), ("B", 0.3), ("C", 0.2)]),
        residue_lines("HOH", 3, ["O"], [("", 0.5)]),
        residue_lines("HOH", 4, ["O"], [("", 1.0)]),
    ]
    return read_structure(write_text(tmp_path / "m.pdb", pdb_text(*lines)))


INSTRUCTIONS = """
TITL an example
CELL 0.71073 40 40 40 90 90 90
SFAC C O
SUMP 1.0 0.01 1 3 1 4 1 5
FVAR 0.98 0.70 0.45 =
  0.35 0.20
REM the valine has one free variable
RESI 1 VAL
PART 1 21.0
CB 1 0.1 0.1 0.1 11.0 0.05
PART 2 -21.0
CB 1 0.2 0.1 0.1 11.0 0.05
PART 0
RESI 2 SER
PART 1
OG 2 0.1 0.2 0.1 31.0 0.05
PART 2
OG 2 0.1 0.3 0.1 41.0 0.05
PART 3
OG 2 0.1 0.4 0.1 51.0 0.05
PART 0
RESI 3 HOH
O 2 0.5 0.5 0.5 10.25 0.05
RESI 4 HOH
O 2 0.6 0.5 0.5 11.0 0.05
HKLF 4
END
"""


def ruled(source, text):
    return group_file(source, rules=read(text, source.table, "x.ins"))


def test_variables_parts_and_sums(source):
    groups = ruled(source, INSTRUCTIONS).groups
    assert groups.occupancy[:5].tolist() == pytest.approx([0.7, 0.3, 0.45, 0.35, 0.2])
    (one,) = groups.sets
    assert [groups.members[g].tolist() for g in one.groups] == [[0], [1]]
    (restraint,) = groups.restraints
    assert (restraint.target, restraint.sigma) == (1.0, 0.01)
    assert restraint.groups == (2, 3, 4)
    assert groups.refined.tolist() == [True] * 5 + [False, False]
    assert groups.occupancy[5] == 0.25


def test_atoms_that_are_not_in_the_model_are_named(source):
    text = INSTRUCTIONS.replace("RESI 4 HOH\nO ", "RESI 4 HOH\nOX ")
    (notice,) = [n for n in ruled(source, text).notices if n.code == "rules"]
    assert "1 atom is not in the model: OX" in notice.message


def test_a_factor_without_10_is_a_parameter_of_its_own(source):
    groups = ruled(source, INSTRUCTIONS.replace("0.5 10.25", "0.5 0.25")).groups
    water = groups.index[5]
    assert groups.refined[water]
    assert groups.occupancy[water] == 0.25


def test_a_pair_of_a_part_sums_to_the_part(source):
    text = INSTRUCTIONS.replace("PART 1 21.0", "PART 1 20.5").replace(
        "PART 2 -21.0", "PART 2 -20.5"
    )
    groups = ruled(source, text).groups
    (one,) = groups.sets
    assert (one.total, one.complete) == (0.5, True)
    assert groups.occupancy[list(one.groups)].tolist() == pytest.approx([0.35, 0.15])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SUMP 1.0 0.01 1 3", "SUMP 1.0 0.01 1 9", "line 5: no atom has free variable 9"),
        ("PART 1 21.0", "PART 1 91.0", "there is no free variable 9 in FVAR"),
        ("FVAR 0.98 0.70", "FVAR 0.98 1.70", "would have occupancy 1.7"),
        ("SUMP 1.0 0.01 1 3 1 4 1 5", "SUMP", "line 5: SUMP needs a target"),
        ("PART 2 -21.0", "PART 2 20.5", "free variable 2 has several multipliers (0.5, 1)"),
        ("FVAR 0.98", "FVAR x", "line 6: 'x' is not a number"),
    ],
)
def test_faults_name_the_line(source, old, new, message):
    with pytest.raises(RuleError) as fault:
        ruled(source, INSTRUCTIONS.replace(old, new))
    assert message in str(fault.value)


def test_what_is_written(source):
    groups = group_file(source).groups
    text = write_groups(groups, ExchangeFormat.SHELX, cell=source.cell, title="m.pdb")
    lines = text.splitlines()
    assert "SUMP 1 0.001 1 3 1 4 1 5" in lines
    assert "FVAR 1.00000 0.60000 0.50000 0.30000 0.20000 0.50000" in lines
    codes = [line.split()[5] for line in lines if line[:2] in {"CB", "OG", "O "}]
    assert codes == ["21.00000", "-21.00000", "31.00000", "41.00000", "51.00000", "61.00000",
                     "11.00000"]  # fmt: skip


def test_nested_sums_and_restraints_are_sump(source):
    rules = [
        {"sum": ["A/2/SER:A", "A/2/SER:B", "A/2/SER:C"], "equal": "A/1/VAL:B"},
        {"restrain": "A/3/HOH", "target": 0.6, "sigma": 0.1},
        {"similar": ["A/1/VAL:A", "A/3/HOH"], "sigma": 0.2},
    ]
    groups = group_file(source, rules=rules).groups
    text = write_groups(groups, ExchangeFormat.SHELX, cell=source.cell)
    # B of the valine is 1 minus free variable 2: q3 + q4 + q5 + v2 = 1
    assert "SUMP 1 0.001 1 3 1 4 1 5 1 2\n" in text
    assert "SUMP 0.6 0.1 1 6\n" in text
    assert "SUMP 0 0.2 1 2 -1 6\n" in text


def test_an_upper_limit_cannot_be_expressed(source):
    rules = [{"sum": ["A/3/HOH", "A/1/VAL:A"], "at_most": 1}]
    groups = group_file(source, rules=rules).groups
    text = write_groups(groups, ExchangeFormat.SHELX, cell=source.cell)
    assert "REM not expressed: A/1/VAL:A, A/3/HOH sum to at most 1\n" in text


def test_without_a_cell_it_cannot_be_written(source):
    with pytest.raises(RuleError, match="needs a unit cell"):
        write_groups(group_file(source).groups, ExchangeFormat.SHELX)


def test_afix_sets_the_factors_of_the_atoms_after_it(source):
    text = "FVAR 1.0 0.4\nSFAC O\nRESI 3 HOH\nAFIX 0 0 21\nO 1 0 0 0 11.0 0.05\nRESI 4 HOH\n"
    with_second = ruled(source, text + "O 1 0 0 0 11.0 0.05\nEND\n").groups
    assert with_second.occupancy[with_second.index[[5, 6]]].tolist() == [0.4, 0.4]
    first_only = ruled(source, text + "AFIX 0\nO 1 0 0 0 11.0 0.05\nEND\n").groups
    assert first_only.occupancy[first_only.index[[5, 6]]].tolist() == [0.4, 1.0]


def test_the_later_of_part_and_afix_counts(source):
    text = "FVAR 1.0 0.4 0.3\nSFAC O\nRESI 3 HOH\nPART 0 21\nAFIX 0 0 31\nO 1 0 0 0 11.0 0.05\n"
    groups = ruled(source, text + "END\n").groups
    assert groups.occupancy[groups.index[5]] == 0.3


SHARES = """
SFAC O
FVAR 1.0 0.7 0.4
SUMP 1.0 0.01 1 2 1 3
RESI 3 HOH
O 1 0 0 0 {0} 0.05
RESI 4 HOH
O 1 0 0 0 {1} 0.05
END
"""


@pytest.mark.parametrize(
    ("codes", "weights", "target", "occupancy"),
    [
        (("21.0", "31.0"), (1.0, 1.0), 1.0, [0.7, 0.4]),
        (("20.5", "30.5"), (2.0, 2.0), 1.0, [0.35, 0.2]),
        (("20.5", "31.0"), (2.0, 1.0), 1.0, [0.35, 0.4]),
        (("-21.0", "31.0"), (-1.0, 1.0), 0.0, [0.3, 0.4]),
        (("-20.5", "30.25"), (-2.0, 4.0), 0.0, [0.15, 0.1]),
    ],
)
def test_sump_is_about_variables_not_factors(source, codes, weights, target, occupancy):
    groups = ruled(source, SHARES.format(*codes)).groups
    assert groups.occupancy[groups.index[[5, 6]]].tolist() == pytest.approx(occupancy)
    (restraint,) = groups.restraints
    assert restraint.weights == pytest.approx(weights)
    assert restraint.target == pytest.approx(target)


def expanded(lines):
    """Return all operations that LATT and SYMM stand for, as SHELXL makes them."""
    number = int(lines[0].removeprefix("LATT "))
    ops = [gemmi.Op("x,y,z"), *(gemmi.Op(line.removeprefix("SYMM ")) for line in lines[1:])]
    if number > 0:
        ops += [gemmi.Op("-x,-y,-z") * op for op in ops]
    centrings = {
        1: ["0,0,0"], 2: ["0,0,0", "1/2,1/2,1/2"], 3: ["0,0,0", "2/3,1/3,1/3", "1/3,2/3,2/3"],
        4: ["0,0,0", "0,1/2,1/2", "1/2,0,1/2", "1/2,1/2,0"], 5: ["0,0,0", "0,1/2,1/2"],
        6: ["0,0,0", "1/2,0,1/2"], 7: ["0,0,0", "1/2,1/2,0"],
    }[abs(number)]  # fmt: skip
    moved = [
        gemmi.Op(",".join(f"{axis}+{part}" for axis, part in zip("xyz", c.split(","), strict=True)))
        for c in centrings
    ]
    return [(shift * op).wrap().triplet() for op in ops for shift in moved]


def test_latt_and_symm_are_the_space_group():
    for group in gemmi.spacegroup_table():
        lines = symmetry_lines(SpaceGroup(group.xhm()))
        found = expanded(lines)
        wanted = {op.wrap().triplet() for op in group.operations()}
        assert len(found) == len(set(found)) == len(wanted), group.xhm()
        assert set(found) == wanted, group.xhm()


def test_cell_has_no_wavelength_that_nobody_measured(source):
    groups = group_file(source).groups
    group = SpaceGroup("P 1")
    text = write_groups(groups, ExchangeFormat.SHELX, cell=source.cell, spacegroup=group)
    assert not any(line.startswith(("CELL", "LATT", "SYMM")) for line in text.splitlines())
    text = write_groups(
        groups, ExchangeFormat.SHELX, cell=source.cell, spacegroup=group, wavelength=0.9795
    )
    assert "CELL 0.9795 40 40 40 90 90 90\nLATT -1\n" in text


def test_the_first_remarks_say_what_to_do_with_it(source):
    text = write_groups(group_file(source).groups, ExchangeFormat.SHELX, cell=source.cell)
    assert text.startswith("REM occupancy groups: a fragment to merge into your .ins\n")
    assert all(len(line) <= 80 for line in text.splitlines())
