"""Omit maps in the files of a run."""

import json

import gemmi
import numpy as np
import pytest

from multicopy_refinement.results.record import read_record


@pytest.fixture(scope="module")
def run(demo, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("omit") / "out"
    called = command(
        "refine", demo / "start.pdb", demo / "1.8.mtz", "--omit", "W/8/HOH", "--omit", "A/5/GLN:A",
        "--out", out,
    )  # fmt: skip
    assert called.status == 0, called.err
    return out, called.out


def test_columns_are_a_map_that_is_opened(run):
    mtz = gemmi.read_mtz_file(str(run[0] / "refined.mtz"))
    types = {c.label: c.type for c in mtz.columns}
    assert (types["FOMIT"], types["PHOMIT"]) == ("F", "P")
    assert any("FOMIT,PHOMIT: mFo-DFc without" in line for line in mtz.history)
    grid = mtz.transform_f_phi_to_map("FOMIT", "PHOMIT", sample_rate=4.0)
    grid.normalize()
    structure = gemmi.read_pdb(str(run[0] / "refined.pdb"))
    record = read_record(run[0] / "result.json")
    (ligand,) = record.ligands
    heights = [
        grid.interpolate_value(site.atom.pos)
        for site in structure[0].all() if site.residue.name == "GOL"
    ]  # fmt: skip
    assert min(heights) > 5
    assert max(heights) == pytest.approx(ligand.omit_peak, rel=0.2)


def test_the_record_has_peak_and_correlation_of_what_was_left_out(run):
    record = read_record(run[0] / "result.json")
    left_out = {g.name for g in record.groups if g.omit_peak is not None}
    assert left_out == {"A/201/GOL", "W/8/HOH", "A/5/GLN:A"}
    for group in record.groups:
        if group.name in left_out:
            assert group.omit_peak > 5
            assert group.omit_correlation > 0.8
    (ligand,) = record.ligands
    assert ligand.omit_peak > 5
    assert record.inputs.options["omit"] == ["W/8/HOH", "A/5/GLN:A"]
    assert "--omit W/8/HOH --omit A/5/GLN:A" in " ".join(record.provenance.command)
    assert "omit" in run[1]


def test_the_page_and_coot_have_the_map(run):
    page = (run[0] / "report.html").read_text()
    scene = json.loads(page.split('id="scene">')[1].split("</script>")[0])
    with_map = {name for name, patch in scene["patches"].items() if "omit" in patch}
    assert with_map == {"A/201/GOL", "W/8/HOH", "A/5/GLN"}
    assert 'id="omit"' in page
    assert json.loads((run[0] / "coot_groups.json").read_text())["omit"] == ["FOMIT", "PHOMIT"]


def test_where_there_is_no_ligand_there_is_no_map(demo, command, tmp_path):
    lines = (demo / "start.pdb").read_text().splitlines(keepends=True)
    (tmp_path / "model.pdb").write_text("".join(line for line in lines if "GOL" not in line))
    called = command(
        "refine", tmp_path / "model.pdb", demo / "2.5.mtz", "--out", tmp_path / "out", "--quiet"
    )
    assert called.status == 0, called.err
    labels = gemmi.read_mtz_file(str(tmp_path / "out" / "refined.mtz")).column_labels()
    assert "FOMIT" not in labels
    assert json.loads((tmp_path / "out" / "coot_groups.json").read_text())["omit"] == []


def test_a_selection_of_nothing_is_refused_before_anything_is_refined(demo, command, tmp_path):
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--omit", "W/80/HOH", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert called.status == 2
    assert "--omit W/80/HOH" in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_ligand_that_is_held_is_shown_too(demo, command, tmp_path):
    called = command(
        "refine", demo / "start.pdb", demo / "1.8.mtz", "--hold", "A/201/GOL", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert called.status == 0, called.err
    (ligand,) = read_record(tmp_path / "out" / "result.json").ligands
    assert not ligand.refined
    assert ligand.omit_peak > 5
    page = (tmp_path / "out" / "report.html").read_text()
    scene = json.loads(page.split('id="scene">')[1].split("</script>")[0])
    assert "omit" in scene["patches"][ligand.name]
    (conformer,) = scene["sites"][ligand.name]["conformers"]
    assert len(conformer["atoms"]) == 6
    assert scene["site_of"][ligand.name] == ligand.name
    assert np.isfinite(ligand.omit_correlation)
