"""PDB files as people have them: put together, old, with marks and numbers used twice."""

import numpy as np
import pytest

from helpers import atom_line, group_file, residue_lines, write_text
from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.io.structure import read_structure

SERINE = residue_lines("SER", 1, ["N", "CA", "CB", "OG"])
GLYCEROL = residue_lines("GOL", 201, ["C1", "O1", "C2"], [("", 0.9)], first_serial=5)
CRYST1 = "CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1"


def codes(source):
    return [notice.code for notice in source.notices]


def read(tmp_path, *lines):
    return read_structure(write_text(tmp_path / "m.pdb", "\n".join([*lines, ""])))


# ---------------------------------------------------------------------- END


@pytest.mark.parametrize("end", ["END", "END   ", "end", "END\r"])
def test_atoms_after_end_are_read_as_the_others(end, tmp_path):
    source = read(tmp_path, CRYST1, *SERINE, end, "REMARK ligand", *GLYCEROL, "END")
    assert len(source.table) == 7
    assert codes(source) == ["atoms_after_end"]
    assert source.notices[0].message.startswith("3 atom lines stand after a record END")
    assert "A/201/GOL" in group_file(source).groups.names
    assert [site.atom.name for m in source.structure() for site in m.all()][-1] == "C2"


def test_end_within_a_model(tmp_path):
    models = ["MODEL        1", *SERINE[:2], "END", *SERINE[2:], "ENDMDL",
              "MODEL        2", *SERINE, "ENDMDL"]  # fmt: skip
    source = read(tmp_path, CRYST1, *models)
    assert source.table.model.tolist() == [1] * 4 + [2] * 4


@pytest.mark.parametrize("after", [True, False])
def test_atoms_outside_of_models_are_refused(after, tmp_path):
    models = ["MODEL        1", *SERINE, "ENDMDL", "MODEL        2", *SERINE, "ENDMDL"]
    lines = [*models, "END", *GLYCEROL] if after else [*GLYCEROL, *models]
    with pytest.raises(ModelFileError, match="3 atom lines stand outside of MODEL and ENDMDL"):
        read(tmp_path, CRYST1, *lines)


@pytest.mark.parametrize(("shift", "refused"), [(0.4, True), (12.0, False)])
def test_copies_that_end_parts_are_models(shift, refused, tmp_path):
    other = [line[:21] + "B" + line[22:38] + f"{float(line[38:46]) + shift:8.3f}" + line[46:]
             for line in SERINE]  # fmt: skip
    if refused:
        with pytest.raises(
            ModelFileError, match="4 atom lines after END are a copy of those before"
        ):
            read(tmp_path, CRYST1, *SERINE, "END", *other)
    else:  # another chain elsewhere
        assert len(read(tmp_path, CRYST1, *SERINE, "END", *other).table) == 8


def test_end_at_the_end_is_nothing_odd(tmp_path):
    assert codes(read(tmp_path, CRYST1, *SERINE, "END", "", "END")) == []


def test_two_crystals_are_refused(tmp_path):
    other = CRYST1.replace("40.000", "41.000", 1)
    with pytest.raises(ModelFileError, match=r"CRYST1 stands there twice, as '40\.000"):
        read(tmp_path, CRYST1, *SERINE, "END", other, *GLYCEROL)
    assert len(read(tmp_path, CRYST1, *SERINE, "END", CRYST1, *GLYCEROL).table) == 7


# ---------------------------------------------------------------------- columns 73 to 80


@pytest.mark.parametrize("first", [1, 98, 998])
@pytest.mark.parametrize("code", ["1ABC", "    "])
def test_line_numbers_of_old_files_are_no_elements(first, code, tmp_path):
    lines = [f"{line[:72]}{code}{first + i:4d}" for i, line in enumerate(SERINE)]
    source = read(tmp_path, CRYST1, *lines)
    assert source.table.element.tolist() == [b"N", b"C", b"C", b"O"]
    assert source.table.charge.tolist() == [0, 0, 0, 0]
    assert codes(source) == ["columns_73_80"]


def test_segment_names_and_charges_stay(tmp_path):
    lines = [f"{line[:72]}SEG1{line[76:78]}{charge}" for line, charge in zip(
        SERINE, ("1+", "  ", "  ", "1-"), strict=True)]  # fmt: skip
    source = read(tmp_path, CRYST1, *lines)
    assert source.table.charge.tolist() == [1, 0, 0, -1]
    assert codes(source) == []


def test_elements_on_some_lines_only(tmp_path):
    lines = [SERINE[0], *(f"{line[:72]}1ABC1{i:03d}" for i, line in enumerate(SERINE[1:]))]
    with pytest.raises(ModelFileError, match="elements in some lines of atoms and numbers in oth"):
        read(tmp_path, CRYST1, *lines)


# ---------------------------------------------------------------------- elements


def bare(line):
    return line[:76]


def test_elements_that_are_not_written(tmp_path):
    source = read(tmp_path, CRYST1, *map(bare, [*SERINE, *GLYCEROL]))
    assert source.table.element.tolist() == [b"N", b"C", b"C", b"O", b"C", b"O", b"C"]
    (notice,) = source.notices  # those of amino acids are certain
    assert notice.code == "element_guessed"
    assert notice.atoms == ("A/201/GOL/C1", "A/201/GOL/O1", "A/201/GOL/C2")


@pytest.mark.parametrize(("name", "resname"), [("DUM", "DUM"), ("UNK", "UNX"), ("D1", "LIG")])
def test_an_element_that_nobody_can_tell(name, resname, tmp_path):
    line = bare(atom_line(name, resname, 9, 0.5, xyz=(9, 9, 9)))
    with pytest.raises(ModelFileError, match=f"element of A/9/{resname}/{name} is not written"):
        read(tmp_path, CRYST1, *SERINE, line)


def test_a_symbol_that_is_none(tmp_path):
    with pytest.raises(ModelFileError, match="unknown element of A/9/LIG/A1"):
        read(tmp_path, CRYST1, *SERINE, atom_line("A1", "LIG", 9, 0.5, element="AX"))


def test_atoms_of_unknown_element_are_held_and_named(tmp_path):
    source = read(tmp_path, CRYST1, *SERINE, atom_line("UNK", "UNX", 9, 0.5, element="X"))
    assert codes(source) == ["unknown_element"]
    groups = group_file(source).groups
    assert not groups.refined.any()
    assert groups.occupancy[groups.names.index("A/9/UNX")] == 0.5


# ---------------------------------------------------------------------- altlocs


@pytest.mark.parametrize("mark", [".", "?"])
def test_a_mark_for_no_altloc(mark, tmp_path):
    lines = [atom_line("CA", "SER", 1, 1.0, altloc=mark), *residue_lines(
        "SER", 2, ["CB", "OG"], [("A", 0.6), ("B", 0.4)])]  # fmt: skip
    source = read(tmp_path, CRYST1, *lines)
    assert source.table.altloc.tolist() == [b"", b"A", b"A", b"B", b"B"]
    assert codes(source) == ["altloc_is_blank"]


def test_a_mark_that_is_a_letter(tmp_path):
    lines = residue_lines("SER", 2, ["CB", "OG"], [(".", 0.6), ("?", 0.4)])
    source = read(tmp_path, CRYST1, *lines)
    assert source.table.altloc.tolist() == [b".", b".", b"?", b"?"]
    assert len(group_file(source).groups.sets) == 1


# ---------------------------------------------------------------------- atoms and numbers twice


@pytest.mark.parametrize("mixed", [False, True])
def test_a_residue_that_stands_there_twice_is_refused(mixed, tmp_path):
    twice = [line for line in GLYCEROL for _ in "ab"] if mixed else GLYCEROL * 2
    with pytest.raises(ModelFileError, match=r"twice at one place.*: A/201/GOL; take one copy out"):
        read(tmp_path, CRYST1, *SERINE, *twice)


def water(resseq, x, occupancy, *, altloc="", chain="A", name="O", z=0.0):
    return atom_line(name, "HOH", resseq, occupancy, xyz=(x, 9.0, z), altloc=altloc, chain=chain,
                     record="HETATM")  # fmt: skip


def test_waters_numbered_as_residues(tmp_path):
    lysine = residue_lines("LYS", 8, ["CE", "NZ"], [("A", 0.6), ("B", 0.4)])
    waters = [water(8, 20, 0.7, altloc="A"), water(8, 20.8, 0.3, altloc="B"), water(9, 30, 0.5)]
    source = read(tmp_path, CRYST1, *lysine, "TER", *waters)
    groups = group_file(source).groups
    assert [(groups.names[g], groups.atoms(g).tolist()) for g in range(len(groups))] == [
        ("A/8/LYS:A", [0, 1]), ("A/8/LYS:B", [2, 3]), ("A/8/HOH:A", [4]), ("A/8/HOH:B", [5]),
        ("A/9/HOH", [6]),
    ]  # fmt: skip
    assert [s.name for s in groups.sets] == ["A/8/LYS", "A/8/HOH"]
    assert codes(source) == ["number_used_twice"]


def test_two_waters_of_one_number(tmp_path):
    lines = [water(8, 5, 0.8), water(8, 5.9, 0.8, name="H1"), water(8, 15, 0.3),
             water(8, 15.9, 0.3, name="H1")]  # fmt: skip
    source = read(tmp_path, CRYST1, *lines)
    groups = group_file(source).groups
    assert groups.names == ("A/8/HOH", "A/8/HOH#2")
    assert [groups.atoms(g).tolist() for g in range(2)] == [[0, 1], [2, 3]]
    assert groups.occupancy.tolist() == [0.8, 0.3]
    assert codes(source) == ["number_used_twice"]


def test_conformers_without_their_letters(tmp_path):
    one = residue_lines("SER", 1, ["CB", "OG"])
    moved = [line[:38] + f"{1.5 * i + 0.6:8.3f}" + line[46:] for i, line in enumerate(one)]
    source = read(tmp_path, CRYST1, *one, *moved)
    assert codes(source) == ["duplicate_atoms"]
    assert "conformers need altlocs" in source.notices[0].message


def test_microheterogeneity_is_one_residue_still(tmp_path):
    lines = [*residue_lines("ARG", 1, ["CA", "CB"], [("A", 0.6)]),
             *residue_lines("LYS", 1, ["CA", "CB"], [("B", 0.4)])]  # fmt: skip
    source = read(tmp_path, CRYST1, *lines)
    assert codes(source) == []
    assert len(group_file(source).groups.sets) == 1


def test_rules_of_residues_of_one_number(tmp_path):
    source = read(tmp_path, CRYST1, *SERINE, water(8, 5, 0.8), water(8, 15, 0.3))
    groups = group_file(source, rules=[{"fix": "A/8/HOH#2", "value": 0.2}]).groups
    assert groups.occupancy[-2:].tolist() == [0.8, 0.2]
    assert np.flatnonzero(groups.refined).tolist() == [1]


# ---------------------------------------------------------------------- space groups


@pytest.mark.parametrize(("name", "found"), [("P 2(1)", "P 1 21 1"), ("P 21 1 1", "P 21 1 1")])
def test_names_of_space_groups(name, found, tmp_path):
    record = CRYST1[:55] + name
    assert read(tmp_path, record, *SERINE).spacegroup.name == found


def test_a_space_group_by_its_operations(tmp_path):
    listed = [f"REMARK 290     {i}555   {text}" for i, text in enumerate(
        ("X,Y,Z", "-X,-Y,Z+1/2"), start=1)]  # fmt: skip
    source = read(tmp_path, *listed, CRYST1[:55] + "P 21 (C)", *SERINE)
    assert source.spacegroup.name == "P 1 1 21"


def test_a_space_group_that_is_not_known(tmp_path):
    source = read(tmp_path, CRYST1[:55] + "C 4 21 2", *SERINE)
    assert source.crystal is None
    assert "space group 'C 4 21 2' is not known; write its usual setting" in source.crystal_fault


# ---------------------------------------------------------------------- SCALE and MTRIX

SCALE = """SCALE1      0.025000  0.000000  0.000000        {0}
SCALE2      0.000000  0.025000  0.000000        0.00000
SCALE3      0.000000  0.000000  0.025000        0.00000"""
MTRIX = """MTRIX1   2 -1.000000  0.000000  0.000000       10.00000    {0}
MTRIX2   2  0.000000 -1.000000  0.000000        0.00000    {0}
MTRIX3   2  0.000000  0.000000  1.000000        0.00000    {0}"""


def test_scale_that_contradicts_the_cell_is_named(tmp_path):
    assert codes(read(tmp_path, CRYST1, SCALE.format("0.00000"), *SERINE)) == []
    source = read(tmp_path, CRYST1, SCALE.format("0.50000"), *SERINE)
    assert codes(source) == ["scale_disagrees"]
    assert "moves atoms by up to 20.0 A" in source.notices[0].message
    assert source.crystal is not None


def test_copies_that_are_to_be_generated_are_asked_for(tmp_path):
    assert codes(read(tmp_path, CRYST1, MTRIX.format(1), *SERINE)) == []
    source = read(tmp_path, CRYST1, MTRIX.format(" "), *SERINE)
    assert codes(source) == ["copies_not_generated"]
    assert source.crystal is None  # groups need none
    assert "asks for 1 copy of the atoms" in source.crystal_fault
