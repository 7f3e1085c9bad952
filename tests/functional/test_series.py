"""A series as it is run: fractions beside the truth of gemmi, files, faults, real data."""

import json
from dataclasses import replace
from importlib.resources import files

import gemmi
import numpy as np
import pandas as pd
import pytest
import torch

from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.modes import Parameter
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.series import SeriesData, SeriesOptions, refine_series
from multicopy_refinement.series.crystal import in_cell
from multicopy_refinement.series.state import state_of
from two_states import TwoStates, series_truth, shaken, two_states, write

pytestmark = pytest.mark.slow
TIMES = np.array([0.0, 1.0, 10.0])
RATE, END = 0.4, 0.5
FRACTIONS = END * (1 - np.exp(-RATE * TIMES))
D_MIN = 2.5
HOLD = (Parameter.OCCUPANCY,)


def made(folder) -> tuple[TwoStates, list]:
    """Write a series of the demonstration crystal, and a model whose atoms are off as off.pdb."""
    path = files("multicopy_refinement") / "demo" / "truth.pdb"
    structure = gemmi.read_structure(str(path))
    ligand = next((c.name, r.seqid.num) for c in structure[0] for r in c if r.name == "GOL")
    states = two_states(path, seed=1, n=3, ligand=ligand)
    sets = series_truth(TIMES, FRACTIONS, seed=7)
    write(folder, states, sets, D_MIN)
    shaken(states.both, 0.05, 0.1, seed=3).write_pdb(str(folder / "off.pdb"))
    return states, sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with model.pdb, series.csv and the data sets d0 to d2."""
    where = tmp_path_factory.mktemp("series")
    made(where)
    return where


def load(folder, names=("d0", "d1", "d2")):
    model = Model(dtype_float=torch.float64).load(folder / "model.pdb")
    return model, [
        SeriesData(
            name,
            read_reflections(folder / f"{name}.mtz", cell=model.cell, spacegroup=model.spacegroup),
            float(TIMES[int(name[1])]),
        )
        for name in names
    ]


@pytest.fixture(scope="module")
def run(folder, command, tmp_path_factory):
    """A series from the command line: what it printed, and where its files are."""
    out = tmp_path_factory.mktemp("out") / "series"
    called = command("series", folder / "off.pdb", folder / "series.csv", "--state", "B",
                     "--out", out, "--decoys", "0", "--reference", "d0")  # fmt: skip
    assert called.status == 0, called.err
    return called, out


def test_fractions_and_rate_are_those_of_the_truth(run):
    record = json.loads((run[1] / "series.json").read_text())
    c = np.array(record["covariance"])
    f = np.array([one["unbounded"] for one in record["data_sets"]])
    su = np.sqrt(np.diag(c))
    assert np.all(np.abs(f - FRACTIONS)[1:] < 3 * su[1:])
    assert np.all(su[1:] < 0.04)
    assert f[0] == su[0] == 0.0  # the reference
    constant = next(one for one in record["fits"] if one["name"] == "constant")
    assert constant["p"] < 1e-6  # something changes
    assert np.linalg.eigvalsh(c).min() > -1e-9
    assert record["shared"]["moved_xyz"] > 0
    assert record["regions"] is None or record["regions"]["total_p"] > 1e-3


def test_files_are_as_they_are_promised(run):
    called, out = run
    table = pd.read_csv(out / "series.csv")
    assert list(table.columns[:6]) == [
        "name", "time", "fraction", "su", "su_conditional", "p_absent",
    ]  # fmt: skip
    assert table["name"].tolist() == ["d0", "d1", "d2"]
    assert table["time"].tolist() == TIMES.tolist()
    assert {"r_work", "r_free", "flags"} <= set(table.columns)
    assert np.isnan(table["p_absent"][0])
    assert (table["p_absent"][1:] < 1e-6).all()
    assert (table["su"][1:] >= table["su_conditional"][1:]).all()
    parquet = pd.read_parquet(out / "series.parquet")
    assert list(parquet.columns) == list(table.columns)
    assert parquet["fraction"].tolist() == pytest.approx(table["fraction"].tolist())
    page = (out / "series.html").read_text()
    for words in ("nothing is extrapolated", "constant", "d2", "Bokeh", "logarithmic"):
        assert words in page
    moved = gemmi.read_structure(str(out / "series.pdb"))
    letters = {a.altloc: a.occ for c in moved[0] for r in c for a in r if a.altloc != "\0"}
    assert letters["A"] + letters["B"] == pytest.approx(1.0, abs=0.011)
    assert (out / "series.cif").is_file()
    assert "reference" in called.out
    assert "Curves" in called.out
    assert not called.err


def test_su_are_marginal_and_smaller_than_those_of_one_data_set(folder):
    """The su of a ligand alone is that of `refine`, and others of its model make it smaller."""
    model, sets = load(folder)
    name = next(n for n in model.occupancy_groups.names if "GOL" in n)
    options = SeriesOptions(decoys=0, parameters=HOLD, own_b=1e-6)
    alone = refine_series(model, sets[1:2], name, options)
    model, _ = load(folder)
    group = next(n for n in model.occupancy_groups.names if "GOL" in n)
    by_itself = refine(model, sets[1].data, RefineOptions(decoys=0))
    assert alone.fraction[0] == pytest.approx(by_itself[group].occupancy, abs=0.02)
    assert alone.su[0] == pytest.approx(by_itself[group].su, rel=0.3)
    model, _ = load(folder)
    together = refine_series(model, sets, name, options)
    assert together.su[1] < 0.98 * alone.su[0]
    assert together.crystals > 1
    assert together.moved == (0.0, 0.0)


def test_agreement_is_that_of_each_fraction(folder):
    """The model has one occupancy of the state, the data sets have others."""
    model, sets = load(folder)
    state = state_of(model, "B")
    found = refine_series(model, sets, "B", SeriesOptions(decoys=0, parameters=HOLD))
    for one, fraction, agreement in zip(sets, found.fraction, found.agreement, strict=True):
        crystal = in_cell(model, state, one.data.cell)
        crystal.assign_group_occupancies(state.occupancy(float(fraction)))
        alone = Experiment(crystal, one.data).statistics()
        assert agreement.r_work == pytest.approx(alone.r_work, abs=0.006)
        assert agreement.r_free == pytest.approx(alone.r_free, abs=0.01)
        assert agreement.r_work < 0.04  # 2 to 4% of noise; 0.3 of the state in d0 makes it 0.1


def test_reflections_that_are_left_out_are_named(folder):
    model, sets = load(folder)
    data = sets[1].data
    f_obs = data.f_obs.copy()
    spoiled = int(np.flatnonzero(data.work)[100])
    f_obs[spoiled] *= 10
    sets[1] = SeriesData("d1", replace(data, f_obs=f_obs), sets[1].x)
    found = refine_series(model, sets, "B", SeriesOptions(decoys=0, parameters=HOLD))
    said = [notice.message for name, notice in found.notices if name == "d1"]
    index = " ".join(str(i) for i in data.hkl[spoiled].tolist())
    assert any(index in text for text in said), said


def test_a_state_that_changes_nothing_is_refused(folder, command, tmp_path):
    structure = gemmi.read_structure(str(folder / "model.pdb"))
    for residue in (r for c in structure[0] for r in c):
        first = {a.name: a.pos.tolist() for a in residue if a.altloc == "A"}
        for i in reversed(range(len(residue))):
            atom = residue[i]
            if atom.altloc == "B" and atom.name in first:
                atom.pos = gemmi.Position(*first[atom.name])
            elif atom.altloc == "B":
                del residue[i]
    structure.remove_empty_chains()
    structure.write_pdb(str(tmp_path / "same.pdb"))
    called = command("series", tmp_path / "same.pdb", folder / "series.csv", "--state", "B",
                     "--out", tmp_path / "out")  # fmt: skip
    assert called.status == 2
    assert "data cannot tell how much of it there is" in called.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--state", "Q"], "altlocs of the model: A B"),
        (["--state", "B", "--reference", "d9"], "no data set has this name; there are d0, d1"),
        (["--state", "B", "--d-min", "9"], "share too few reflections"),
    ],
)
def test_faults_are_one_line_and_leave_nothing(folder, command, tmp_path, arguments, said):
    called = command("series", folder / "model.pdb", folder / "series.csv", *arguments, "--out",
                     tmp_path / "out")  # fmt: skip
    assert called.status == 2
    assert said in called.err
    assert called.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_files_and_a_folder_in_use(folder, command, tmp_path):
    start = ("series", folder / "model.pdb")
    gone = command(*start, folder / "no.csv", "--state", "B", "--out", tmp_path / "o")
    assert (gone.status, gone.err.count("\n")) == (2, 1)
    assert "no.csv" in gone.err
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").write_text("")
    used = command(*start, folder / "series.csv", "--state", "B", "--out", tmp_path / "used")
    assert used.status == 2
    assert "in use" in used.err


def test_data_of_another_cell_or_crystal_are_refused(folder, command, tmp_path):
    source = gemmi.read_mtz_file(str(folder / "d2.mtz"))
    source.set_cell_for_all(gemmi.UnitCell(29.5, 30, 32, 90, 90, 90))
    source.write_to_file(str(tmp_path / "far.mtz"))
    table = tmp_path / "series.csv"
    rows = [f"d{i},{folder / f'd{i}.mtz'},{i}" for i in (0, 1)]
    table.write_text("\n".join(["name,data,time", *rows, "far,far.mtz,5", ""]))
    called = command("series", folder / "model.pdb", table, "--state", "B", "--out", tmp_path / "o")
    assert called.status == 2
    assert "data set far: the cells of model and data differ" in called.err
    mtz = gemmi.read_mtz_file(str(folder / "d2.mtz"))
    values = np.array(mtz, copy=True)
    column = mtz.column_labels().index("F")
    values[:, column] = np.random.default_rng(0).permutation(values[:, column])
    mtz.set_data(values)
    mtz.write_to_file(str(tmp_path / "far.mtz"))
    called = command("series", folder / "model.pdb", table, "--state", "B", "--out", tmp_path / "o")
    assert called.status == 2
    assert "data set far: its amplitudes correlate with those of no other" in called.err


def test_three_crystals_of_a_screen_say_that_nothing_bound_changes(shared_data):
    folder = shared_data / "baz2b"
    model = Model(dtype_float=torch.float64).load(folder / "x430" / "model.pdb")
    sets = [
        SeriesData(
            name,
            read_reflections(
                folder / name / "data.mtz", cell=model.cell, spacegroup=model.spacegroup,
                d_min=2.6,
            ),
            float(i),
        )
        for i, name in enumerate(("x430", "x435", "x438"))
    ]  # fmt: skip
    found = refine_series(model, sets, "ligands", SeriesOptions(decoys=0, parameters=HOLD))
    constant = next(one for one in found.fits() if one.name == "constant")
    assert constant.p > 0.01
    assert np.all(found.unbounded > 0.5)  # it is there in all of them
    assert np.all(found.evidence.p_absent < 1e-6)
    assert found.error_correlation[0, 1] > 0.3  # what the model lacks, it lacks in all
    assert found.isomorphism.form.tolist() == [0, 0, 0]
