"""Where dictionaries are looked up, in which order, and what is refused."""

import gzip
from importlib.resources import files

import gemmi
import pytest

from multicopy_refinement.errors import RestraintFileError
from multicopy_refinement.geometry.monomers import CLIBD_MON, Dictionaries


@pytest.fixture(autouse=True)
def no_ccp4(monkeypatch):
    monkeypatch.delenv(CLIBD_MON, raising=False)


def carried(name):
    """Return the package's dictionary of a component, as a document of its own."""
    packed = files("multicopy_refinement") / "geometry" / "monomers.cif.gz"
    document = gemmi.cif.read_string(gzip.decompress(packed.read_bytes()).decode())
    made = gemmi.cif.Document()
    made.add_copied_block(document[f"comp_{name}"])
    return made


def written(folder, name, length, path=None):
    """Write a dictionary with another length of its first bond, and return its path."""
    document = carried(name)
    document[0].find_values("_chem_comp_bond.value_dist")[0] = str(length)
    path = folder / (path or f"{name}.cif")
    path.parent.mkdir(parents=True, exist_ok=True)
    document.write_file(str(path))
    return path


def first_bond(library, name):
    return library.content.monomers[name].rt.bonds[0].value


def test_the_package_has_what_proteins_are_made_of():
    names = ["ALA", "GLY", "PRO", "TRP", "A", "DT", "HOH", "ZN", "GOL", "SO4", "NAG", "HEM", "FAD"]
    library = Dictionaries().library([*names, "XYZ"])
    assert library.source == dict.fromkeys(names, "the package")
    assert {"TRANS", "CIS", "PTRANS", "p", "disulf"} <= library.links
    assert library.content.ener_lib.atoms["OH1"].vdw_radius == pytest.approx(1.52)
    assert library.notices == ()


def test_the_order_is_files_folder_ccp4_package(tmp_path, monkeypatch):
    one = written(tmp_path, "ALA", 9.1)
    other = written(tmp_path, "ALA", 9.2, "second.cif")
    written(tmp_path / "own", "ALA", 9.3)
    written(tmp_path / "own", "GLY", 9.4, "g/GLY.cif")
    written(tmp_path / "ccp4", "GLY", 9.5, "g/GLY.cif")
    written(tmp_path / "ccp4", "SER", 9.6, "s/SER.cif")
    monkeypatch.setenv(CLIBD_MON, str(tmp_path / "ccp4"))
    names = ["ALA", "GLY", "SER", "TYR"]
    given = Dictionaries.of([one, other], tmp_path / "own").library(names)
    assert [first_bond(given, name) for name in names[:3]] == [9.1, 9.4, 9.6]
    assert given.source["TYR"] == "the package"
    assert given.source["ALA"] == str(one)
    folder = Dictionaries.of((), tmp_path / "own").library(names)
    assert [first_bond(folder, name) for name in names[:3]] == [9.3, 9.4, 9.6]
    monkeypatch.delenv(CLIBD_MON)
    alone = Dictionaries.of(str(other)).library(names)
    assert first_bond(alone, "ALA") == 9.2
    assert first_bond(alone, "GLY") < 2


def test_a_whole_library_gives_links_and_energies_too(shared_data):
    folder = shared_data / "monomers"
    library = Dictionaries.of((), folder).library(["ALA", "HOH"])
    assert library.source["ALA"] == str(folder / "a" / "ALA.cif")
    own = Dictionaries().library(["ALA", "HOH"])
    assert library.links == own.links
    assert len(library.content.ener_lib.atoms) == len(own.content.ener_lib.atoms)


def test_a_file_for_nobody_is_said(tmp_path):
    library = Dictionaries.of(written(tmp_path, "TRP", 1.5)).library(["ALA"])
    (notice,) = library.notices
    assert (notice.code, "TRP" in notice.message) == ("unused_restraints", True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        ("", "no block data_comp_NAME"),
        ("data_LIG\n_cell.length_a 1\n", "no block data_comp_NAME"),
        ("data_comp_LIG\nloop_\n_x.y", "not a readable CIF file"),
        (
            "data_comp_LIG\nloop_\n_chem_comp_bond.atom_id_1\n_chem_comp_bond.atom_id_2\nC1 C2\n",
            "LIG has no _chem_comp_bond.value_dist and _esd",
        ),
    ],
)
def test_files_without_restraints_are_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "lig.cif"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RestraintFileError, match=words) as fault:
        Dictionaries.of(path).library(["LIG"])
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(RestraintFileError, match="no folder"):
        Dictionaries.of((), tmp_path / "absent").library(["ALA"])
