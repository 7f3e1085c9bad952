"""Twins whose truth is made by gemmi alone: seen before refinement, and refined as twins."""

import json
from importlib.resources import files

import gemmi
import numpy as np
import pytest

import gemmi_truth
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.refinement.twinning import Twinning
from multicopy_refinement.run.check import check

#: Group, cell and law: a merohedral twin, and a pseudo-merohedral one of 0.3 degrees.
CRYSTALS = {
    "P 31": ((38, 38, 32, 90, 90, 120), "-h,-k,l"),
    "P 1 21 1": ((28, 30, 32, 90, 90.3, 90), "-h,-k,l"),
}
#: Coordinates and B are those of the truth: the su is that of errors of the data alone.
QUICK = {"decoys": 0, "uncertainty": "conditional"}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A function that writes start.pdb, truth.pdb and data.mtz of a twin to a folder, once."""
    made = {}

    def write(group, alpha, d_min=2.0):
        key = (group, alpha, d_min)
        if key not in made:
            made[key] = folder = tmp_path_factory.mktemp("twin")
            cell, law = CRYSTALS[group]
            truth = gemmi.read_structure(str(files("multicopy_refinement") / "demo" / "truth.pdb"))
            truth.cell, truth.spacegroup_hm = gemmi.UnitCell(*cell), group
            truth.setup_cell_images()
            hkl, f = gemmi_truth.twinned(truth, d_min, law, alpha)
            s_squared = np.asarray(truth.cell.calculate_1_d2_array(hkl))
            data = gemmi_truth.observe(hkl, f, s_squared, seed=1)
            gemmi_truth.write_mtz(folder / "data.mtz", truth, data)
            truth.write_pdb(str(folder / "truth.pdb"))
            for site in truth[0].all():
                site.atom.occ = 0.5 if site.atom.occ < 1 else 1.0
            truth.write_pdb(str(folder / "start.pdb"))
        return made[key]

    return write


@pytest.mark.parametrize("group", CRYSTALS)
@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.45])
def test_a_twin_is_told_of(twin, group, alpha):
    folder = twin(group, alpha)
    solution = refine(folder / "start.pdb", folder / "data.mtz", RefineOptions(**QUICK))
    (notice,) = [one for one in solution.notices if one.code == "twinned"]
    found = solution.twinning.found
    assert found.law.name == CRYSTALS[group][1]
    assert f"twin by {found.law.name}: beside the model alpha is 0." in notice.message
    assert found.beside_model.value == pytest.approx(alpha, abs=0.02)
    assert found.by_statistics.value == pytest.approx(alpha, abs=0.02)


def test_check_and_the_record_tell_of_it(twin, command, tmp_path):
    folder = twin("P 1 21 1", 0.25)
    (finding,) = check(folder / "start.pdb", folder / "data.mtz").findings[:1]
    assert finding.code == "twinned"
    done = command(
        "refine", folder / "start.pdb", folder / "data.mtz", "--out", tmp_path / "out", "--quiet",
        "--uncertainty", "none", "--no-report",
    )  # fmt: skip
    assert done.status == 0
    assert "twin by -h,-k,l: beside the model alpha is 0.25" in done.err
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["warnings"][0]["code"] == "twinned"
    (law,) = record["twinning"]["laws"]
    assert (law["law"], law["obliquity"]) == ("-h,-k,l", 0.3)
    assert law["beside_model"]["value"] == pytest.approx(0.25, abs=0.02)
    assert law["h_test"]["value"] == pytest.approx(0.25, abs=0.02)
    assert 0.37 < record["twinning"]["l_test"]["mean"] < 0.46


@pytest.mark.parametrize("group", CRYSTALS)
def test_nothing_is_said_of_one_crystal(twin, group):
    folder = twin(group, 0.0)
    solution = refine(folder / "start.pdb", folder / "data.mtz", RefineOptions(**QUICK))
    assert not any(one.code == "twinned" for one in solution.notices)
    for seen in solution.twinning.laws:
        assert abs(seen.beside_model.value) < max(3 * seen.beside_model.su, 0.01)
    assert "twinned" not in {
        f.code for f in check(folder / "start.pdb", folder / "data.mtz").findings
    }


def test_without_a_law_there_is_nothing_in_the_record(demo, command, tmp_path):
    out = tmp_path / "out"
    done = command("refine", demo / "start.pdb", demo / "2.5.mtz", "--out", out, "--no-report",
                   "--uncertainty", "none")  # fmt: skip
    assert done.status == 0
    assert "twinning" not in json.loads((out / "result.json").read_text())


@pytest.mark.parametrize(
    ("folder", "data"),
    [("4cjl", "data.mtz"), ("2xiu", "data.mtz"), ("6pgy", "data.mtz"), ("1dur", "data.mtz")],
)
def test_real_crystals_that_are_no_twins(folder, data, shared_data):
    model = Model().load(shared_data / folder / "model.pdb")
    reflections = read_reflections(
        shared_data / folder / data, cell=model.cell, spacegroup=model.spacegroup
    )
    experiment = Experiment(model, reflections)
    found = Twinning.of(experiment.data, experiment.forward().detach().abs().numpy())
    assert found.notices == ()
    assert found.l_test.mean == pytest.approx(0.5, abs=0.015)
    for law in found.laws:
        assert law.by_statistics.value < 0.02
        assert abs(law.beside_model.value) < 0.02
