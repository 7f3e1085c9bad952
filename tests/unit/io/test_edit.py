"""Atoms taken out of files: lines, rows, and the bonds that other records name."""

import gemmi
import numpy as np
import pytest

from helpers import CRYST1, atom_line
from multicopy_refinement.io.edit import without_atoms
from multicopy_refinement.io.structure import parse_structure
from multicopy_refinement.io.write_structure import AtomValues

LINK = (
    "LINK         NZ ALYS A   1                 C1 ALIG A   2     1555   1555  1.45",
    "LINK         NZ BLYS A   1                 C1 BLIG A   2     1555   1555  1.45",
)


def _lines():
    atoms = [
        atom_line("NZ", "LYS", 1, 0.6, serial=1, altloc="A", xyz=(1, 1, 1)),
        atom_line("NZ", "LYS", 1, 0.4, serial=2, altloc="B", xyz=(2, 1, 1)),
        atom_line("C1", "LIG", 2, 0.6, serial=3, altloc="A", xyz=(1, 2, 1), record="HETATM"),
        atom_line("C1", "LIG", 2, 0.4, serial=4, altloc="B", xyz=(2, 2, 1), record="HETATM"),
        atom_line("O", "HOH", 3, 0.5, serial=5, xyz=(9, 9, 9), record="HETATM"),
    ]
    conect = ["CONECT    1    3", "CONECT    2    4", "CONECT    3    1    4    5", "CONECT    5"]
    head = ["HEADER    kept", "HET    LIG  A   2       2", "HET    HOH  A   3       1", *LINK]
    return [*head, CRYST1, *atoms, *conect, "MASTER        0", "END"]


@pytest.fixture
def source():
    return parse_structure("model.pdb", "\n".join([*_lines(), ""]).encode())


def _without(source, kept, altloc):
    table = source.table
    values = AtomValues(table.occupancy, table.xyz, table.b_iso, table.u_aniso)
    return without_atoms(source, values, np.array(kept), np.array(altloc, dtype="S1"))


def test_records_follow_the_atoms(source):
    found = _without(source, [True, False, True, False, False], [b"", b"B", b"", b"B", b""])
    lines = found.content.decode().splitlines()
    assert len(found.table) == 2
    assert found.table.altloc.tolist() == [b"", b""]
    assert [line for line in lines if line.startswith("LINK")] == [
        LINK[0].replace("ALYS", " LYS").replace("ALIG", " LIG")
    ]
    assert [line for line in lines if line.startswith("CONECT")] == [
        "CONECT    1    3", "CONECT    3    1"
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("HET ")] == ["HET    LIG  A   2       2"]
    assert "HEADER    kept" in lines
    assert not any(line.startswith("MASTER") for line in lines)
    assert found.table.links == ((0, 1),)


def test_nothing_changes_where_all_stay(source):
    found = _without(source, [True] * 5, source.table.altloc)
    assert [line for line in _lines() if not line.startswith("MASTER")] == (
        found.content.decode().splitlines()
    )


def test_new_numbers_are_written(source):
    table = source.table
    xyz, b_iso = table.xyz.copy(), table.b_iso.copy()
    xyz[0], b_iso[0] = (1.5, 1.0, 1.0), 22.5
    values = AtomValues(np.array([1.0, 0, 0.6, 0.4, 0.5]), xyz, b_iso, table.u_aniso)
    kept = np.array([True, False, True, True, True])
    altloc = np.array([b"", b"B", b"A", b"B", b""])
    found = without_atoms(source, values, kept, altloc).table
    assert found.xyz[0].tolist() == [1.5, 1.0, 1.0]
    assert (found.b_iso[0], found.occupancy[0]) == (22.5, 1.0)
    assert found.altloc.tolist() == [b"", b"A", b"B", b""]


def test_mmcif_rows_ellipsoids_and_bonds(tmp_path):
    structure = gemmi.read_pdb_string("\n".join([*_lines(), ""]))
    structure.setup_entities()
    for number, (_, _, atom) in enumerate(
        (chain, residue, atom) for chain in structure[0] for residue in chain for atom in residue
    ):
        atom.aniso = gemmi.SMat33f(0.1 + 0.01 * number, 0.2, 0.3, 0, 0, 0)
    document = structure.make_mmcif_document()
    document[0].set_pair("_journal.name_full", "'kept as it is'")
    source = parse_structure("model.cif", document.as_string().encode())
    assert len(source.table.links) == 2
    found = _without(source, [True, False, True, False, True], [b"", b"B", b"", b"B", b""])
    assert len(found.table) == 3
    assert found.table.u_aniso[:, 0] == pytest.approx([0.10, 0.12, 0.14])
    assert found.table.links == ((0, 1),)
    block = gemmi.cif.read_string(found.content)[0]
    assert block.find_value("_journal.name_full") == "'kept as it is'"
    assert len(block.find_values("_struct_conn.id")) == 1
