"""Writing of SF-mmCIF: the loop of reflections, value by value."""

import gemmi
import numpy as np

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.io.write_reflections import write_sf_mmcif
from multicopy_refinement.modes import Radiation

HKL = np.array([[1, 0, -2], [12, -3, 0], [0, 0, 4]])
AMPLITUDES = [123.456789, float("nan"), 1.5e-7]
PHASES = [-179.996, 0.0, float("nan")]


def test_values_are_those_that_were_given_and_what_is_unknown_is_a_question_mark(tmp_path):
    path = tmp_path / "out.cif"
    write_sf_mmcif(
        path, "1abc", Cell(50, 60, 70, 90, 100, 90), SpaceGroup("P 1 21 1"), HKL, ["o", "x", "f"],
        {"F_meas_au": np.array(AMPLITUDES), "phase_calc": np.array(PHASES)},
        radiation=Radiation.XRAY, wavelength=0.95, version="1", details="nan in words",
    )  # fmt: skip
    block = gemmi.cif.read(str(path)).sole_block()
    assert block.name == "r1abcsf"
    assert block.find_value("_diffrn.details") == "'nan in words'"
    found = block.find_mmcif_category("_refln.")
    assert [tag.removeprefix("_refln.") for tag in found.tags] == [
        "crystal_id", "wavelength_id", "scale_group_code", "index_h", "index_k", "index_l",
        "status", "F_meas_au", "phase_calc",
    ]  # fmt: skip
    rows = [list(row) for row in found]
    assert rows == [
        ["1", "1", "1", str(h), str(k), str(m), status,
         "?" if np.isnan(f) else f"{f:.6g}", "?" if np.isnan(p) else f"{p:.2f}"]
        for (h, k, m), status, f, p in zip(HKL.tolist(), "oxf", AMPLITUDES, PHASES, strict=True)
    ]  # fmt: skip
    assert rows[0][-2:] == ["123.457", "-180.00"]
