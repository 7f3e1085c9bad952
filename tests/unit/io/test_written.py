"""What is written: names in quotes, B as it was, permissions as the user has them."""

import os

import gemmi
import pytest
import torch

from helpers import atom_line, pdb_text, residue_lines, write_text
from multicopy_refinement import Model
from multicopy_refinement.io.files import written_aside

MARKS = "$'\";_#?.[(*!%@/,:"


def load(tmp_path, *lines):
    return Model(dtype_float=torch.float64).load(write_text(tmp_path / "m.pdb", pdb_text(lines)))


@pytest.mark.parametrize("mark", MARKS)
def test_chains_of_one_mark_are_read_back(mark, tmp_path):
    model = load(tmp_path, *residue_lines("SER", 1, ["CB", "OG"], chain=mark))
    model.write(tmp_path / "out.cif")
    assert [c.name for c in gemmi.read_structure(str(tmp_path / "out.cif"))[0]] == [mark]
    assert Model().load(tmp_path / "out.cif").table.chain.tolist() == [mark.encode()] * 2


@pytest.mark.parametrize("marks", ["'\"_", "*#@", ";$["])
def test_altlocs_that_are_marks_are_read_back(marks, tmp_path):
    parts = [(mark, 0.33) for mark in marks]
    model = load(tmp_path, *residue_lines("SER", 1, ["CB", "OG"], parts))
    model.write(tmp_path / "out.cif")
    again = Model().load(tmp_path / "out.cif").table
    assert again.altloc.tolist() == model.table.altloc.tolist()


@pytest.mark.parametrize("b_iso", [0.0, -3.5])
def test_b_that_is_not_positive_is_written_as_it_was(b_iso, tmp_path):
    model = load(tmp_path, atom_line("O", "HOH", 1, 0.5, b_iso=b_iso))
    assert model.b_iso().item() == pytest.approx(0.01)
    assert [notice.code for notice in model.notices] == ["b_not_positive"]
    model.write(tmp_path / "out.pdb")
    assert f"{b_iso:6.2f}" == (tmp_path / "out.pdb").read_text().splitlines()[1][60:66]
    model.write(tmp_path / "out.cif")
    assert Model().load(tmp_path / "out.cif").table.b_iso[0] == b_iso


def test_b_that_moved_from_zero_is_written_as_it_is(tmp_path):
    model = load(tmp_path, atom_line("O", "HOH", 1, 0.5, b_iso=0.0))
    model.b_iso.set_values(torch.tensor([4.0]))
    model.write(tmp_path / "out.pdb")
    assert (tmp_path / "out.pdb").read_text().splitlines()[1][60:66] == "  4.00"


def test_b_beyond_its_columns(tmp_path):
    model = load(tmp_path, atom_line("O", "HOH", 1, 0.5))
    model.b_iso.set_values(torch.tensor([12345.0]))
    model.write(tmp_path / "out.pdb")
    line = (tmp_path / "out.pdb").read_text().splitlines()[1]
    assert (line[60:66], line[76:78]) == ("999.99", " O")
    model.write(tmp_path / "out.cif")
    assert Model().load(tmp_path / "out.cif").table.b_iso[0] == 12345.0


def test_a_large_b_that_stays_is_left_as_it_is_written(tmp_path):
    line = atom_line("O", "HOH", 1, 0.5).replace(" 15.00 ", "1250.5 ")
    model = load(tmp_path, line)
    model.write(tmp_path / "out.pdb")
    assert (tmp_path / "out.pdb").read_text().splitlines()[1] == line
    model.write(tmp_path / "out.cif")
    Model(dtype_float=torch.float64).load(tmp_path / "out.cif").write(tmp_path / "again.pdb")
    atom = next(x for x in (tmp_path / "again.pdb").read_text().splitlines() if "HOH" in x)
    assert atom[60:66] == "999.99"


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_that_the_user_gives(mask, tmp_path):
    before = os.umask(mask)
    try:
        with written_aside(tmp_path / "file") as aside:
            aside.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
