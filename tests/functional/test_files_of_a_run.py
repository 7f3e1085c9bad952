"""The files of a run say who made them, against which data, and how well they fit."""

import json
import shlex
import shutil

import gemmi
import numpy as np
import pytest

from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.report.run_files import read_run
from multicopy_refinement.results.record import read_record
from multicopy_refinement.words import with_su

PDB_HEADER = """HEADER    HYDROLASE                               01-JAN-20   1ABC
REMARK   3
REMARK   3 REFINEMENT.
REMARK   3   PROGRAM     : REFMAC 5.8
REMARK   3  DATA USED IN REFINEMENT.
REMARK   3   FREE R VALUE                     : 0.999
"""


@pytest.fixture(scope="module")
def run(command, demo, tmp_path_factory):
    """A run of the connected groups of a model that another program refined."""
    folder = tmp_path_factory.mktemp("files")
    model = folder / "model.pdb"
    model.write_text(PDB_HEADER + (demo / "start.pdb").read_text())
    out = folder / "out"
    called = command(
        "refine", model, demo / "1.8.mtz", "--grouping", "connected", "--out", out, "--quiet"
    )
    assert (called.status, called.err) == (0, "")
    return out


@pytest.fixture(scope="module")
def record(run):
    return read_record(run / "result.json")


def block_of(path):
    return gemmi.cif.read(str(path)).sole_block()


def check_fit(found, record, data):
    """Check what both formats hold against the record, and against the amplitudes themselves."""
    assert found.r_work == pytest.approx(record.statistics.final.r_work, abs=1e-4)
    assert found.r_free == pytest.approx(record.statistics.final.r_free, abs=1e-4)
    assert found.reflection_count == record.data.n_work + record.data.n_free
    assert found.rfree_set_count == record.data.n_free
    assert found.resolution_high == pytest.approx(record.data.d_min, abs=0.01)
    possible = unique_reflections(data.cell, data.spacegroup, record.data.d_min)
    assert found.completeness == pytest.approx(100 * record_size(record) / len(possible), abs=0.5)


def record_size(record):
    return record.data.n_work + record.data.n_free + record.data.n_outliers


def test_both_formats_hold_the_figures_of_the_record(run, record):
    model = Model().load(run / "refined.pdb")
    for name in ("refined.pdb", "refined.cif"):
        structure = gemmi.read_structure(str(run / name))
        if name == "refined.pdb":
            check_fit(structure.meta.refinement[0], record, model)
        software = [(s.name.lower(), s.version) for s in structure.meta.software]
        assert software[-1] == ("multicopy_refinement", record.program.version)
    block = block_of(run / "refined.cif")
    final = record.statistics.final
    assert float(block.find_value("_refine.ls_R_factor_R_free")) == pytest.approx(
        final.r_free, abs=6e-5
    )
    assert int(block.find_value("_refine.ls_number_reflns_R_work")) == record.data.n_work
    mean = np.mean([atom[-1] for atom in _atoms(run / "refined.cif")])
    assert float(block.find_value("_refine.B_iso_mean")) == pytest.approx(mean, abs=0.01)
    assert list(block.find_values("_multicopy_input_refine.ls_R_factor_R_free")) == ["0.999"]


def _atoms(path):
    structure = gemmi.read_structure(str(path))
    atoms = [site.atom for site in structure[0].all()]
    return [(a.name, a.altloc, a.pos.tolist(), a.b_iso) for a in atoms]


def test_r_of_all_reflections_is_that_of_the_map_file(run, record):
    mtz = gemmi.read_mtz_file(str(run / "refined.mtz"))
    f, model = (np.array(mtz.column_with_label(c), dtype=float) for c in ("F", "FC_ALL"))
    assert record.data.n_outliers == 0
    expected = np.abs(f - model).sum() / f.sum()
    block = block_of(run / "refined.cif")
    assert float(block.find_value("_refine.ls_R_factor_obs")) == pytest.approx(expected, abs=6e-5)


def test_the_pdb_file_has_the_atoms_of_the_input(run, demo):
    assert _atoms(demo / "start.pdb") == _atoms(run / "refined.pdb")


def test_the_block_is_called_after_the_entry(run, command, demo, tmp_path):
    assert block_of(run / "refined.cif").name == "1ABC"
    for name, expected in (("my model.pdb", "my_model"), ("x.ent", "x")):
        (tmp_path / name).write_bytes((demo / "start.pdb").read_bytes())
        model = Model().load(tmp_path / name)
        model.write(tmp_path / "out.cif")
        block = block_of(tmp_path / "out.cif")
        entry = gemmi.cif.as_string(block.find_value("_entry.id"))
        assert (block.name, entry) == (expected, expected)


def test_conformers_of_a_network_are_ensembles_with_their_occupancies(run, record):
    block = block_of(run / "refined.cif")
    letters = set(block.find_values("_atom_site.label_alt_id")) - {"."}
    assert set(block.find_values("_atom_sites_alt.id")) == letters | {"."}
    ids = [gemmi.cif.as_string(v) for v in block.find_values("_atom_sites_alt_ens.id")]
    details = [gemmi.cif.as_string(v) for v in block.find_values("_atom_sites_alt_ens.details")]
    groups = {g.name: g for g in record.groups}
    sets = {one.name: one for one in record.sets}
    with_letters = [name for one in sets.values() for name in one.groups if ":" in name]
    assert ids == with_letters
    for name, text in zip(ids, details, strict=True):
        value = float(text.split("occupancy ")[1].split("(")[0].split(",")[0])
        assert value == pytest.approx(groups[name].occupancy, abs=6e-4)
        assert f"set {groups[name].set}" in text
    pairs = block.find("_atom_sites_alt_gen.", ["ens_id", "alt_id"])
    named = {(gemmi.cif.as_string(row[0]), row[1]) for row in pairs}
    assert {name for name, _ in named} == set(ids)
    assert {(name, name[-1]) for name in ids} <= named


def test_a_second_run_does_not_pile_up(run, command, demo, tmp_path):
    for name in ("refined.pdb", "refined.cif"):
        out = tmp_path / name.replace(".", "_")
        called = command("refine", run / name, demo / "2.5.mtz", "--out", out, "--quiet")
        assert called.status == 0, called.err
        text = (out / "refined.pdb").read_text()
        assert text.count("PROGRAM     : MULTICOPY_REFINEMENT") == 1
        if name == "refined.pdb":
            assert text.count("REFMAC 5.8") == 1
        block = block_of(out / "refined.cif")
        assert len(block.find_values("_refine.ls_R_factor_R_free")) == 1
        names = [gemmi.cif.as_string(v).lower() for v in block.find_values("_software.name")]
        assert names.count("multicopy_refinement") == 1
        assert Model().load(out / "refined.pdb").table.program == (
            "REFMAC 5.8" if name == "refined.pdb" else ""
        )


# ---------------------------------------------------------------------- reflections


@pytest.fixture(scope="module")
def gaps(command, demo, tmp_path_factory):
    """A run with an outlier of the work set and reflections without an amplitude."""
    folder = tmp_path_factory.mktemp("gaps")
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    rows = np.array(mtz)
    label = [c.label for c in mtz.columns].index
    free = rows[:, label("FreeR_flag")] == 0
    rows[::50, label("F")] = np.nan
    weak = np.flatnonzero(~free & (rows[:, label("F")] > 0))
    weak = weak[np.argsort(rows[weak, label("F")])][0]
    rows[weak, label("F")] = 20 * np.nanmedian(rows[:, label("F")])
    mtz.set_data(rows)
    mtz.write_to_file(str(folder / "data.mtz"))
    out = folder / "out"
    called = command("refine", demo / "start.pdb", folder / "data.mtz", "--out", out)
    assert called.status == 0, called.err
    return out


def _reflections(path):
    """Return the ``_refln`` items by name, by gemmi's reader of reflection blocks."""
    (block,) = gemmi.as_refln_blocks(gemmi.cif.read(str(path)))
    status = [gemmi.cif.as_string(v) for v in block.block.find_values("_refln.status")]
    return block, np.array(status)


def test_deposited_reflections_are_those_of_the_map_file(gaps):
    block, status = _reflections(gaps / "refined-sf.cif")
    mtz = gemmi.read_mtz_file(str(gaps / "refined.mtz"))
    assert block.spacegroup.xhm() == mtz.spacegroup.xhm()
    assert block.cell.parameters == pytest.approx(mtz.cell.parameters, abs=1e-4)
    place = {tuple(h): i for i, h in enumerate(mtz.make_miller_array().tolist())}
    order = [place[tuple(h)] for h in block.make_miller_array().tolist()]
    assert len(order) == len(place) == len(status)
    for item, column in (
        ("F_meas_au", "F"), ("F_meas_sigma_au", "SIGF"), ("pdbx_r_free_flag", "FreeR_flag"),
        ("pdbx_F_calc_with_solvent", "FC_ALL"), ("pdbx_FWT", "FWT"), ("pdbx_DELFWT", "DELFWT"),
    ):  # fmt: skip
        theirs = np.array(mtz.column_with_label(column))[order]
        np.testing.assert_allclose(block.make_float_array(item), theirs, rtol=1e-5, atol=1e-5)
    for item, column in (("pdbx_PHWT", "PHWT"), ("pdbx_phase_calc_with_solvent", "PHIC_ALL")):
        turn = block.make_float_array(item) - np.array(mtz.column_with_label(column))[order]
        assert np.abs((turn + 180) % 360 - 180).max() < 0.011


def test_status_says_what_was_used(gaps):
    data = read_record(gaps / "result.json").data
    block, status = _reflections(gaps / "refined-sf.cif")
    measured = np.isfinite(block.make_float_array("F_meas_au"))
    assert (data.n_outliers, (status[measured] == "x").sum()) == (1, 1)
    assert ((status == "o").sum(), (status == "f").sum()) == (data.n_work, data.n_free)
    assert set(status[~measured]) == {"x"}
    merit = block.make_float_array("fom")
    assert np.array_equal(np.isfinite(merit), status != "x")
    assert ((merit[status != "x"] >= 0) & (merit[status != "x"] <= 1)).all()


def test_f_calc_of_atoms_and_solvent_differ_as_the_solvent_does(gaps, demo):
    """At high angles there is no solvent left, at low ones it takes from the atoms."""
    block, _ = _reflections(gaps / "refined-sf.cif")
    atoms, both = (block.make_float_array(i) for i in ("F_calc_au", "pdbx_F_calc_with_solvent"))
    d = 1 / np.sqrt(block.make_1_d2_array())
    high, low = d < 2.6, d > 12
    assert np.abs(both - atoms)[high].sum() < 0.05 * both[high].sum()
    assert both[low].sum() < 0.9 * atoms[low].sum()


def test_the_deposited_reflections_can_be_refined_against(gaps, command, demo, tmp_path):
    out = tmp_path / "out"
    called = command("refine", demo / "start.pdb", gaps / "refined-sf.cif", "--out", out)
    assert called.status == 0, called.err
    first, second = (read_record(folder / "result.json") for folder in (gaps, out))
    assert second.inputs.labels == ["FP", "SIGFP"]
    assert (second.data.n_work, second.data.n_free) == (first.data.n_work, first.data.n_free)
    assert not [w for w in second.warnings if w.code == "free_set_chosen"]
    for one, other in zip(first.groups, second.groups, strict=True):
        assert one.occupancy == pytest.approx(other.occupancy, abs=2e-3)


def test_the_map_file_says_what_its_columns_are(gaps):
    mtz = gemmi.read_mtz_file(str(gaps / "refined.mtz"))
    assert mtz.history[0].startswith("multicopy_refinement")
    for column in list(mtz.columns)[3:]:
        assert any(column.label in line.split(":")[0].split(",") for line in mtz.history)
    assert all(len(line) <= 80 for line in mtz.history)


# ---------------------------------------------------------------------- log


def _log(folder):
    """Return level and text of each line of the log."""
    lines = (folder / "run.log").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(" ", 3)[2:]) for line in lines]


def test_the_log_has_command_versions_options_and_columns(gaps):
    record, texts = read_record(gaps / "result.json"), [text for _, text in _log(gaps)]
    assert f"command: {shlex.join(record.provenance.command)}" in texts
    versions = next(text for text in texts if text.startswith("versions: "))
    for name, version in record.provenance.versions.items():
        assert f"{name} {version}" in versions
    assert {"python", "torch", "gemmi", "numpy"} <= set(record.provenance.versions)
    for name, value in record.inputs.options.items():
        assert f"option {name}: {json.dumps(value)}" in texts
    start = "data: F,SIGF, target ml; free set: FreeR_flag = 0"
    assert any(text.startswith(start) for text in texts)


def test_the_log_has_every_table_row_notice_and_advice(gaps):
    record, lines = read_record(gaps / "result.json"), _log(gaps)
    for group in record.groups:
        rows = [text for _, text in lines if text.startswith(f"│ {group.name} ")]
        assert len(rows) == group.refined
        if group.refined:
            assert f" {with_su(group.occupancy, group.su)} " in rows[0]
            assert all(flag.replace("_", " ") in rows[0] for flag in group.flags)
    warned = [text for level, text in lines if level == "WARNING"]
    assert warned == [f"{w.code}: {w.message}" for w in record.warnings]
    advice = read_run(gaps).advice
    assert advice
    found = [text for level, text in lines if level == "ADVICE"]
    assert [text.split(":")[0] for text in found] == [one.title for one in advice]
    assert all(name in text for text, one in zip(found, advice, strict=True) for name in one.groups)


def test_advice_in_the_log_is_replaced_by_the_next_report(gaps, command, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(gaps, again)
    assert command("report", again).status == 0
    assert _log(again) == _log(gaps)


def test_a_run_without_report_removes_what_the_last_one_had(command, demo, gaps, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(gaps, out)
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--out", out, "--overwrite", "--no-report"
    )
    assert called.status == 0, called.err
    assert {path.name for path in out.iterdir()} == {
        "refined.pdb", "refined.cif", "refined.mtz", "refined-sf.cif", "result.json", "run.log",
    }  # fmt: skip
