"""mmCIF files as people have them: columns that are missing, quotes, long names."""

import gemmi
import pytest
import torch

from helpers import group_file, write_text
from multicopy_refinement import Model
from multicopy_refinement.errors import ModelFileError, OutputError
from multicopy_refinement.io.structure import read_structure

TAGS = [
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
    "label_asym_id", "label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_asym_id",
]  # fmt: skip
ROWS = [
    "ATOM 1 N N . SER A 1 0 0 0 1 15 1 A",
    "ATOM 2 C CA . SER A 1 1.5 0 0 1 15 1 A",
    "ATOM 3 O OG A SER A 1 2 1 0 0.6 15 1 A",
    "ATOM 4 O OG B SER A 1 2 -1 0 0.4 15 1 A",
    "HETATM 5 C C1 . GOL B . 9 9 9 0.9 15 201 A",
    "HETATM 6 O O1 . GOL B . 9 9 10.4 0.9 15 201 A",
    "HETATM 7 O O . HOH C . 14 4 4 0.7 15 1 W",
    "HETATM 8 O O . HOH C . 14 12 4 0.3 15 2 W",
]
CELL = "\n".join(
    f"_cell.{name} {value}"
    for name, value in [(f"length_{x}", 40) for x in "abc"]
    + [(f"angle_{x}", 90) for x in ("alpha", "beta", "gamma")]
)


def mmcif(tmp_path, *, without=(), changed=None):
    """Write the rows without some columns, or with a function of (tag, value) in the others."""
    kept = [tag for tag in TAGS if tag not in without]
    lines = []
    for row in ROWS:
        values = dict(zip(TAGS, row.split(), strict=True))
        if changed is not None:
            values = {tag: changed(tag, value) for tag, value in values.items()}
        lines.append(" ".join(values[tag] for tag in kept))
    text = "\n".join(
        ["data_x", CELL, "_symmetry.space_group_name_H-M 'P 1'", "loop_"]
        + [f"_atom_site.{tag}" for tag in kept]
        + [*lines, ""]
    )
    return write_text(tmp_path / "m.cif", text)


def codes(source):
    return [notice.code for notice in source.notices]


def test_the_rows_as_they_are(tmp_path):
    source = read_structure(mmcif(tmp_path))
    assert codes(source) == []
    assert group_file(source).groups.names == (
        "A/1/SER", "A/1/SER:A", "A/1/SER:B", "A/201/GOL", "W/1/HOH", "W/2/HOH",
    )  # fmt: skip


@pytest.mark.parametrize("quote", ["'", '"'])
def test_values_in_quotes(quote, tmp_path):
    plain = read_structure(mmcif(tmp_path)).table
    quoted = mmcif(tmp_path, changed=lambda _, v: v if v == "." else f"{quote}{v}{quote}")
    source = read_structure(quoted)
    assert source.table.to_frame().equals(plain.to_frame())
    assert codes(source) == []


def test_numbers_of_the_crystal_in_quotes(tmp_path):
    path = mmcif(tmp_path)
    text = (
        path.read_text()
        + """loop_
_atom_site_anisotrop.id
_atom_site_anisotrop.U[1][1]
_atom_site_anisotrop.U[2][2]
_atom_site_anisotrop.U[3][3]
_atom_site_anisotrop.U[1][2]
_atom_site_anisotrop.U[1][3]
_atom_site_anisotrop.U[2][3]
1 '0.1' "0.2" '0.3' 0.01 0.02 '0.03'
"""
    )
    path.write_text(text.replace("length_a 40", "length_a '41.5'"))
    source = read_structure(path)
    assert source.cell.a == 41.5
    assert source.table.u_aniso[0].tolist() == [0.1, 0.2, 0.3, 0.01, 0.02, 0.03]


def test_atoms_in_several_blocks_are_refused(tmp_path):
    path = mmcif(tmp_path)
    path.write_text(path.read_text() + path.read_text().replace("data_x", "data_y"))
    with pytest.raises(ModelFileError, match=r"atoms in 2 blocks \(x, y\); leave one"):
        read_structure(path)


@pytest.mark.parametrize("blank", ["?", ".", "' '", "'.'", '"?"'])
def test_a_blank_altloc(blank, tmp_path):
    def changed(tag, value):
        return blank if tag == "label_alt_id" and value == "." else value

    source = read_structure(mmcif(tmp_path, changed=changed))
    assert source.table.altloc.tolist() == [b"", b"", b"A", b"B", b"", b"", b"", b""]
    assert codes(source) == (["altloc_is_blank"] if blank in {"'.'", '"?"'} else [])


def test_without_serials_or_twins(tmp_path):
    plain = read_structure(mmcif(tmp_path)).table
    for without in (["id"], ["group_PDB"]):
        source = read_structure(mmcif(tmp_path, without=without))
        assert source.table.label(2) == plain.label(2) == "A/1/SER/OG:A"


def test_without_altlocs_atoms_stand_there_twice(tmp_path):
    source = read_structure(mmcif(tmp_path, without=["label_alt_id"]))
    assert len(source.table) == 8
    assert codes(source) == ["duplicate_atoms"]
    assert "A/1/SER" in source.notices[0].message


def test_without_elements(tmp_path):
    source = read_structure(mmcif(tmp_path, without=["type_symbol"]))
    assert b"".join(source.table.element.tolist()) == b"NCOOCOOO"
    assert codes(source) == ["element_guessed"]
    assert source.notices[0].atoms == ("A/201/GOL/C1", "A/201/GOL/O1")


def test_elements_that_names_do_not_tell(tmp_path):
    path = mmcif(tmp_path, without=["type_symbol"], changed=lambda _, v: "CL1" if v == "C1" else v)
    with pytest.raises(ModelFileError, match=r"type_symbol is absent.* name of GOL/CL1; add"):
        read_structure(path)


def test_residues_without_a_number(tmp_path):
    source = read_structure(mmcif(tmp_path, without=["auth_seq_id", "auth_asym_id"]))
    groups = group_file(source).groups
    assert groups.names[-3:] == ("B/1/GOL", "C/1/HOH", "C/2/HOH")
    assert groups.occupancy[-2:].tolist() == [0.7, 0.3]
    assert codes(source) == ["residue_numbers_made"]
    assert source.notices[0].atoms == ("B/1/GOL", "C/1/HOH", "C/2/HOH")


def test_a_polymer_without_numbers_is_refused(tmp_path):
    path = mmcif(tmp_path, without=["auth_seq_id", "label_seq_id"])
    with pytest.raises(ModelFileError, match=r"polymer have no number \(A/SER is one\); add _atom"):
        read_structure(path)


@pytest.mark.parametrize("tag", ["label_atom_id", "label_comp_id", "Cartn_y"])
def test_what_nothing_else_says(tag, tmp_path):
    with pytest.raises(ModelFileError, match=rf"_atom_site has no {tag}"):
        read_structure(mmcif(tmp_path, without=[tag]))


# ---------------------------------------------------------------------- names that PDB cannot hold


@pytest.mark.parametrize("name", ["AAA", "Heavy-1", "solvent_water"])
@pytest.mark.parametrize("which", ["label_asym_id", "auth_asym_id"])
def test_long_chain_names(name, which, tmp_path):
    path = mmcif(tmp_path, changed=lambda t, v: name if t == which and v in {"C", "W"} else v)
    model = Model(dtype_float=torch.float64).load(path)
    names = model.occupancy_groups.names
    assert names[-1] == (f"{name}/2/HOH" if which == "auth_asym_id" else "W/2/HOH")
    model.write(tmp_path / "out.cif")
    again = gemmi.read_structure(str(tmp_path / "out.cif"))
    assert {chain.name for chain in again[0]} == {n.split("/")[0] for n in names}
    if which == "auth_asym_id":
        with pytest.raises(OutputError, match="chain names have at most two characters there"):
            model.write(tmp_path / "out.pdb")
        assert not (tmp_path / "out.pdb").exists()
    else:
        model.write(tmp_path / "out.pdb")


@pytest.mark.parametrize(
    ("tag", "old", "new", "says"),
    [
        ("auth_seq_id", "2", "1300000", "number of W/1300000/HOH is outside of -999 to 1223055"),
        ("label_atom_id", "OG", "OG_AB", "A/1/SER/OG_AB:A has more"),
        ("Cartn_x", "9", "12345.6", "coordinates of A/201/GOL/C1 do not fit"),
    ],
)
def test_what_pdb_cannot_hold(tag, old, new, says, tmp_path):
    path = mmcif(tmp_path, changed=lambda t, v: new if (t, v) == (tag, old) else v)
    model = Model().load(path)
    with pytest.raises(OutputError, match=says):
        model.write(tmp_path / "out.pdb")
    model.write(tmp_path / "out.cif")


def test_long_names_of_atoms_are_refused_at_once(tmp_path):
    path = mmcif(tmp_path, changed=lambda _, v: "LONGATOMNAME" if v == "OG" else v)
    with pytest.raises(ModelFileError, match="residues and atoms have at most 7 characters"):
        read_structure(path)
