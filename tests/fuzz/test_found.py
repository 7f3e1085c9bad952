"""What spoiled files found, as files of their own."""

import gemmi
import numpy as np
import pytest

from demo_data import DEMO
from multicopy_refinement import Model, read_reflections
from multicopy_refinement.campaign.table import read_table
from multicopy_refinement.errors import (
    InputError,
    ModelFileError,
    ReflectionFileError,
    RestraintFileError,
    RuleError,
)
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.occupancy.exchange import read_rules


def test_tags_in_capitals_are_the_same_tags(whole, tmp_path):
    path = tmp_path / "model.cif"
    path.write_bytes(whole["model.cif"].replace(b"_atom_site.occupancy", b"_ATOM_SITE.OCCUPANCY"))
    model, usual = Model(path), Model(DEMO / "start.pdb")
    assert model.table.occupancy.tolist() == usual.table.occupancy.tolist()
    model.write(tmp_path / "again.cif")
    assert Model(tmp_path / "again.cif").table.occupancy.tolist() == usual.table.occupancy.tolist()


def test_names_that_are_not_ascii_are_named(whole, tmp_path):
    path = tmp_path / "model.pdb"
    path.write_bytes(whole["model.pdb"].replace(b" CA  SER A   1", b" C\xb1  SER A   1", 1))
    with pytest.raises(ModelFileError, match="printable ASCII"):
        Model(path)


def test_a_space_group_that_is_no_text_is_not_known(whole, command, tmp_path):
    path = tmp_path / "model.pdb"
    path.write_bytes(whole["model.pdb"].replace(b"P 21 21 21", b"P 21\xfc21 21", 1))
    assert len(Model(path).occupancy_groups) > 0  # groups need none
    (tmp_path / "2.5.mtz").write_bytes(whole["2.5.mtz"])
    found = command("refine", path, tmp_path / "2.5.mtz", "--out", tmp_path / "out")
    assert found.status == 2
    assert "space group '?' is not known" in found.err


def test_an_occupancy_beyond_all_others_is_set_and_named(whole, command, tmp_path):
    document = gemmi.cif.read_string(whole["model.cif"].decode())
    document[0].find_values("_atom_site.occupancy")[3] = "1e305"
    path = tmp_path / "model.cif"
    path.write_text(document.as_string())
    found = command("groups", path)
    assert found.status == 0
    assert "occupancy set to 1.00 for 1 atom: A/1/" in found.out
    assert "(1e+305)" in found.out


def test_b_that_is_no_number_is_named(whole, tmp_path):
    document = gemmi.cif.read_string(whole["model.cif"].decode())
    document[0].find_values("_atom_site.B_iso_or_equiv")[3] = "1e999"
    path = tmp_path / "model.cif"
    path.write_text(document.as_string())
    with pytest.raises(ModelFileError, match="b_iso"):
        Model(path)


@pytest.mark.parametrize("sof", ["1e400", "11.000008", "12.5e7"])
def test_numbers_of_shelx_that_cannot_be_are_refused(whole, tmp_path, sof):
    table = Model(DEMO / "start.pdb").table
    text = whole["shelx.txt"].decode().splitlines()
    place = next(i for i, line in enumerate(text) if line.startswith("CA "))
    words = text[place].split()
    words[5] = sof
    text[place] = " ".join(words)
    path = tmp_path / "rules.ins"
    path.write_text("\n".join(text))
    with pytest.raises(RuleError):
        read_rules(path, table)


def test_a_dictionary_of_another_name_than_its_block_is_none(whole, tmp_path):
    text = whole["dictionary.cif"].decode().replace("GOL C1", "XYZ C1").replace("GOL O1", "XYZ O1")
    path = tmp_path / "dictionary.cif"
    path.write_text(text.replace("GOL C2", "XYZ C2"))
    model = Model(DEMO / "start.pdb")
    try:
        geometry = Geometry.of(model, restraints=path)
    except RestraintFileError:
        return
    assert np.isfinite(geometry.residuals(geometry.state(model))).all()


def test_long_words_are_cut_in_messages(tmp_path):
    path = tmp_path / "rules.txt"
    path.write_text("occupancy group " + 3000 * "A" + " chain A resi 2\n")
    with pytest.raises(RuleError) as fault:
        read_rules(path, Model(DEMO / "start.pdb").table)
    assert len(str(fault.value)) < 600


def test_a_cell_that_cannot_be_is_none(whole, tmp_path):
    path = tmp_path / "model.pdb"
    lines = whole["model.pdb"].decode().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("CRYST1"))
    lines[place] = lines[place][:33] + " 30.00 30.00170.00" + lines[place][51:]
    path.write_text("\n".join(lines))
    model = Model(path)  # groups need no crystal
    with pytest.raises(ModelFileError, match="no unit cell"):
        model.cell  # noqa: B018


def test_types_of_columns_that_are_no_text(whole, tmp_path):
    path = tmp_path / "data.mtz"
    column = b"COLUMN " + b"H".ljust(30) + b" "
    assert column + b"H" in whole["data.mtz"]
    path.write_bytes(whole["data.mtz"].replace(column + b"H", column + b"\xe6"))
    with pytest.raises(ReflectionFileError, match=r"damaged MTZ file: .* no text"):
        read_reflections(path)


@pytest.mark.parametrize("index", [-320.0, -7.7e12, 0.5, np.nan])
def test_indices_of_a_run_that_cannot_be(finished, command, tmp_path, index):
    for path in finished.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    mtz = gemmi.read_mtz_file(str(tmp_path / "refined.mtz"))
    rows = np.array(mtz, copy=True)
    rows[100, 1] = index
    mtz.set_data(rows)
    mtz.write_to_file(str(tmp_path / "refined.mtz"))
    found = command("report", tmp_path)
    assert found.status == 2
    assert "refined.mtz: damaged MTZ file" in found.err
    assert len(found.err.strip().splitlines()) == 1


def test_phases_that_a_run_lacks_are_named(finished, command, tmp_path):
    for path in finished.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    content = (tmp_path / "refined.mtz").read_bytes()
    (tmp_path / "refined.mtz").write_bytes(content.replace(b"PHDELWT", b"PHDELWX"))
    found = command("report", tmp_path)
    assert found.status == 2
    assert "no column PHDELWT" in found.err


@pytest.mark.parametrize("label", ["FWT", "PHDELWT", "FC_ALL", "F"])
@pytest.mark.parametrize("value", [3e35, -1e20, np.inf])
def test_values_of_a_run_that_cannot_be(finished, command, tmp_path, label, value):
    for path in finished.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    mtz = gemmi.read_mtz_file(str(tmp_path / "refined.mtz"))
    rows = np.array(mtz, copy=True)
    rows[100, mtz.column_labels().index(label)] = value
    mtz.set_data(rows)
    mtz.write_to_file(str(tmp_path / "refined.mtz"))
    found = command("report", tmp_path)
    assert found.status == 2
    assert f"refined.mtz: damaged MTZ file: {label} has the value" in found.err
    assert len(found.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('name,model,data\none,"start.pdb,2.5.mtz\ntwo,start.pdb",2.5.mtz\n', 2),
        ('name,model,"da\nta"\none,start.pdb,2.5.mtz\n', 1),
    ],
)
def test_fields_of_several_lines_are_refused(tmp_path, text, row):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"row {row} has a line break") as fault:
        read_table(path)
    assert len(str(fault.value).splitlines()) == 1
    path.write_text('name,model,data,#notes\none,start.pdb,2.5.mtz,"first\nsecond"\n')
    assert read_table(path)[1][0].values["#notes"] == "first\nsecond"


def test_bonds_of_no_known_type_are_refused(whole, tmp_path):
    text = whole["dictionary.cif"].decode().replace("C1 O1 single", "C1 O1 gle")
    path = tmp_path / "dictionary.cif"
    path.write_text(text)
    with pytest.raises(RestraintFileError, match=r"not a restraint dictionary: .*gle"):
        Geometry.of(Model(DEMO / "start.pdb"), restraints=path)
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "GOL.cif").write_text(text)
    with pytest.raises(RestraintFileError, match=r"GOL.cif: not a restraint dictionary"):
        Geometry.of(Model(DEMO / "start.pdb"), monomers=tmp_path)


def test_a_reflection_far_beyond_all_others_is_named(whole, tmp_path):
    path = tmp_path / "data.mtz"
    path.write_bytes(whole["2.5.mtz"])
    mtz = gemmi.read_mtz_file(str(path))
    rows = np.array(mtz, copy=True)
    rows[100, 1] = -320
    mtz.set_data(rows)
    mtz.write_to_file(str(path))
    name = " ".join(str(abs(i)) for i in rows[100, :3].astype(int).tolist())
    with pytest.raises(ReflectionFileError, match=rf"{name} lies at 0.09 A, .* damaged index"):
        read_reflections(path)
    assert len(read_reflections(path, d_min=2.0)) == len(rows) - 1


def test_a_signalling_nan_is_a_missing_value(whole, tmp_path):
    path, again = tmp_path / "data.mtz", tmp_path / "again.mtz"
    path.write_bytes(whole["2.5.mtz"])
    mtz = gemmi.read_mtz_file(str(path))
    width, place = len(mtz.columns), mtz.column_labels().index("F")
    content = bytearray(whole["2.5.mtz"])
    begin = 80 + 4 * (50 * width + place)
    content[begin : begin + 4] = (0x7F800001).to_bytes(4, "little")
    again.write_bytes(bytes(content))
    assert len(read_reflections(again)) == len(read_reflections(path)) - 1
