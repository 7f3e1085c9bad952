"""What a coordinate file says of the radiation, and what follows from it."""

import gemmi
import pytest

from helpers import atom_line, pdb_text, residue_lines, write_text
from multicopy_refinement import Model
from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.io.radiation import experimental_methods, radiation_of, wavelength_of
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.modes import Radiation

ATOMS = residue_lines("SER", 1, ["N", "CA", "C", "O"], (("A", 0.6), ("B", 0.4)))


@pytest.fixture(params=["pdb", "cif"])
def with_methods(request, tmp_path):
    """A function that reads a file of some methods, as PDB or as mmCIF."""

    def read(*methods):
        path = write_text(tmp_path / "model.pdb", pdb_text(ATOMS))
        if request.param == "pdb":
            text = "; ".join(methods)
            lines = [f"EXPDTA    {text[:60]}"] if text else []
            lines += [f"EXPDTA   2{text[60:]}"] if text[60:] else []
            path.write_text("\n".join([*lines, path.read_text()]))
            return read_structure(path)
        document = read_structure(path).structure().make_mmcif_document()
        if methods:
            loop = document[0].init_loop("_exptl.", ["method"])
            for method in methods:
                loop.add_row([f"'{method}'"])
        document.write_file(str(tmp_path / "model.cif"))
        return read_structure(tmp_path / "model.cif")

    return read


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ((), "xray"),
        (("X-RAY DIFFRACTION",), "xray"),
        (("SOLUTION NMR",), "xray"),
        (("FIBER DIFFRACTION", "X-RAY DIFFRACTION"), "xray"),
        (("NEUTRON DIFFRACTION",), "neutron"),
        (("Neutron Diffraction",), "neutron"),
        (("ELECTRON CRYSTALLOGRAPHY",), "electron"),
        (("ELECTRON MICROSCOPY",), "electron"),
    ],
)
def test_the_method_says_the_radiation(methods, expected, with_methods):
    source = with_methods(*methods)
    assert experimental_methods(source) == tuple(m.upper() for m in methods)
    assert radiation_of(source) == (expected, [])
    assert Model(source.path).radiation == expected
    for asked in Radiation:
        assert radiation_of(source, asked) == (asked, [])
        assert Model(source.path, radiation=asked).radiation is asked
        assert Model(radiation=asked).load(source.path).radiation is asked
        assert Model().load(source.path, radiation=asked).regroup().radiation is asked


@pytest.mark.parametrize("order", [1, -1])
def test_joint_refinement_is_said(order, with_methods):
    methods = ("X-RAY DIFFRACTION", "NEUTRON DIFFRACTION")[::order]
    source = with_methods(*methods)
    radiation, (notice,) = radiation_of(source)
    assert radiation is Radiation.XRAY
    assert notice.code == "joint_radiation"
    assert "; ".join(methods) in notice.message
    assert notice in Model(source.path).notices
    assert notice not in Model(source.path, radiation="neutron").notices


def test_several_kinds_without_x_rays_are_asked_about(with_methods):
    source = with_methods("NEUTRON DIFFRACTION", "ELECTRON CRYSTALLOGRAPHY")
    with pytest.raises(ModelFileError, match=r"several kinds .*; say with --radiation") as no:
        radiation_of(source)
    assert "\n" not in str(no.value)
    assert radiation_of(source, Radiation.ELECTRON)[0] is Radiation.ELECTRON


def test_a_long_list_of_methods_goes_on_in_the_next_line(with_methods):
    methods = ("X-RAY DIFFRACTION", "NEUTRON DIFFRACTION", "SOLUTION SCATTERING", "EPR")
    assert experimental_methods(with_methods(*methods)) == methods


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("REMARK 200  WAVELENGTH OR RANGE        (A) : 0.8726\n", 0.8726),
        ("REMARK 200  WAVELENGTH OR RANGE        (A) : 0.9790, 0.9795\n", None),
        ("REMARK 200  WAVELENGTH OR RANGE        (A) : NULL\n", None),
        ("", None),
    ],
)
def test_wavelength_of_a_pdb_file(text, expected, tmp_path):
    path = write_text(tmp_path / "m.pdb", text + pdb_text([atom_line("O", "HOH", 1, 1.0)]))
    assert wavelength_of(read_structure(path)) == expected


def test_wavelength_of_an_mmcif_file(tmp_path):
    path = write_text(tmp_path / "m.pdb", pdb_text([atom_line("O", "HOH", 1, 1.0)]))
    document = gemmi.read_structure(str(path)).make_mmcif_document()
    for value, expected in (("1.5418", 1.5418), ("?", None), ("0.9(1)", 0.9)):
        document[0].set_pair("_diffrn_radiation_wavelength.wavelength", value)
        document.write_file(str(tmp_path / "m.cif"))
        assert wavelength_of(read_structure(tmp_path / "m.cif")) == expected
