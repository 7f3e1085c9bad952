"""What spoiled files found, as files of their own."""

import gemmi
import numpy as np
import pytest

from demo_data import DEMO
from multicopy_refinement import Model
from multicopy_refinement.errors import ModelFileError, RestraintFileError, RuleError
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
