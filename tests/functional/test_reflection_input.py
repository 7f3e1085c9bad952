"""Reflection files of many origins through the command line: the right data, or a refusal."""

import json

import gemmi
import numpy as np
import pytest

from multicopy_refinement import read_reflections


@pytest.fixture
def refined(command, demo, tmp_path):
    """A function that refines the demo against a file and returns the record."""

    def run(data, *options, model=None):
        out = tmp_path / "out"
        called = command(
            "refine", model or demo / "start.pdb", data, *options, "--out", out, "--overwrite",
            "--quiet", "--no-report",
        )  # fmt: skip
        assert called.status == 0, called.err
        return json.loads((out / "result.json").read_text())

    return run


@pytest.fixture
def refused(command, demo, tmp_path):
    """A function that refines and returns the one line that says why it is not done."""

    def run(data, *options, model=None):
        arguments = (model or demo / "start.pdb", data, *options, "--out", tmp_path / "out")
        called = command("refine", *arguments)
        assert called.status == 2
        assert called.err.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return called.err

    return run


@pytest.fixture
def plain(demo):
    """Columns of the data to 2.5 A."""
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    return {column.label: np.array(column) for column in mtz.columns}


def occupancies(record):
    return {g["name"]: (g["occupancy"], g["su"]) for g in record["groups"] if g["refined"]}


def warnings(record):
    return {w["code"]: w["message"] for w in record["warnings"]}


def test_counts_are_not_the_free_set(refined, edited_mtz, plain):
    counts = np.arange(len(plain["F"])) % 9
    data = edited_mtz(columns={"FreeR_flag": None, "N(+)": ("I", counts)})
    record = refined(data)
    assert record["inputs"]["free_label"] is None
    assert record["data"]["n_free"] == 0
    assert "N(+)" in warnings(record)["no_free_set"]


def test_a_sphere_in_p1_gives_the_occupancies_of_the_unique_data(refined, demo, tmp_path):
    expected = refined(demo / "2.5.mtz")
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    mtz.expand_to_p1()
    mtz.write_to_file(str(tmp_path / "p1.mtz"))
    record = refined(tmp_path / "p1.mtz")
    for key in ("n_work", "n_free"):
        assert record["data"][key] == expected["data"][key]
    assert "R = 0.000" in warnings(record)["merged_by_model"]
    wanted = occupancies(expected)
    for name, (occupancy, _) in occupancies(record).items():
        assert occupancy == pytest.approx(wanted[name][0], abs=0.003)


def test_data_of_p1_that_have_no_symmetry_are_refused(refused, demo, tmp_path):
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    mtz.expand_to_p1()
    rows = np.array(mtz)
    np.random.default_rng(0).shuffle(rows[:, 3])
    mtz.set_data(rows)
    mtz.write_to_file(str(tmp_path / "p1.mtz"))
    line = refused(tmp_path / "p1.mtz")
    assert "p1.mtz: " in line
    assert "do not have the symmetry of the model, P 21 21 21" in line


def test_another_centring_is_refused(refused, edited_mtz):
    line = refused(edited_mtz(spacegroup="I 21 21 21"))
    assert "centring" in line


def test_joint_refinement_is_said(refined, command, demo, tmp_path):
    model = tmp_path / "joint.pdb"
    text = (demo / "start.pdb").read_text()
    model.write_text(f"EXPDTA    X-RAY DIFFRACTION; NEUTRON DIFFRACTION\n{text}")
    record = refined(demo / "2.5.mtz", model=model)
    assert "X-RAY DIFFRACTION; NEUTRON DIFFRACTION" in warnings(record)["joint_radiation"]
    called = command("simulate", model, "--d-min", 4, "--out", tmp_path / "x.mtz")
    assert called.status == 0
    assert "several kinds" in " ".join(called.err.split())


def test_the_cell_of_another_data_set_is_refused(refused, refined, demo, tmp_path):
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    other = mtz.add_dataset("other")
    other.cell = gemmi.UnitCell(28.9, 30.9, 33, 90, 90, 90)
    for label, kind in (("F2", "F"), ("SIGF2", "Q")):
        mtz.copy_column(-1, mtz.column_with_label(label[:-1]))
        mtz.columns[-1].label, mtz.columns[-1].dataset_id = label, other.id
        assert mtz.columns[-1].type == kind
    mtz.write_to_file(str(tmp_path / "two.mtz"))
    assert "differ by 3.2%" in refused(tmp_path / "two.mtz", "--labels", "F2,SIGF2")
    assert refined(tmp_path / "two.mtz")["inputs"]["labels"] == ["F", "SIGF"]


@pytest.mark.parametrize("kind", ["F", "J"])
def test_occupancies_without_sigmas_are_right_within_their_su(
    kind, refined, demo, edited_mtz, plain
):
    """The truth within 4 su; the same as with sigmas, as far as these weigh differently."""
    values = plain["F"] if kind == "F" else plain["F"] ** 2
    data = edited_mtz(columns={"F": None, "SIGF": None, "value": (kind, values)})
    record = refined(data)
    assert record["inputs"]["labels"] == ["value"]
    assert "sigma" in warnings(record)["sigma_made"]
    truth = {
        g["name"]: g["initial"]
        for g in refined(demo / "2.5.mtz", model=demo / "truth.pdb")["groups"]
    }
    deviations = [(q - truth[n]) / su for n, (q, su) in occupancies(record).items() if n in truth]
    assert len(deviations) > 10
    assert np.max(np.abs(deviations)) < 4
    assert np.sqrt(np.mean(np.square(deviations))) < 1.8


@pytest.mark.parametrize("free", [-1, 1])
def test_flags_of_shelx_are_written_back(free, refined, edited_mtz, plain, tmp_path):
    flags = np.where(plain["FreeR_flag"] == 0, free, -free)
    flags = flags.astype(float)
    flags[:3] = np.nan
    record = refined(edited_mtz(columns={"FreeR_flag": None, "RFREE": ("I", flags)}))
    assert record["inputs"]["free_value"] == free
    again = read_reflections(tmp_path / "out" / "refined.mtz")
    assert (again.labels.free_label, again.labels.free_value) == ("RFREE", free)
    assert int(again.free.sum()) == record["data"]["n_free"]
    assert (again.flags == again.labels.no_flag).sum() == 3


def test_made_sigmas_are_not_passed_on(refined, edited_mtz, tmp_path):
    record = refined(edited_mtz(columns={"SIGF": None}))
    assert record["inputs"]["labels"] == ["F"]
    mtz = gemmi.read_mtz_file(str(tmp_path / "out" / "refined.mtz"))
    assert "SIGF" not in mtz.column_labels()
    again = read_reflections(tmp_path / "out" / "refined.mtz")
    assert again.labels.observations == ("F",)


def test_a_wild_intensity_leaves_all_others_in_place(refined, edited_mtz, plain):
    value, sigma = plain["F"] ** 2, 2 * plain["F"] * plain["SIGF"] + 1
    columns = {"F": None, "SIGF": None}
    expected = refined(edited_mtz(columns={**columns, "I": ("J", value), "SIGI": ("Q", sigma)}))
    value, sigma = value.copy(), sigma.copy()
    value[-5], sigma[-5] = -90_000, 330_000
    record = refined(edited_mtz(columns={**columns, "I": ("J", value), "SIGI": ("Q", sigma)}))
    assert record["data"]["n_work"] + record["data"]["n_free"] == len(value)
    assert (
        record["statistics"]["final"]["r_work"] < expected["statistics"]["final"]["r_work"] + 0.002
    )
    wanted = occupancies(expected)
    for name, (occupancy, su) in occupancies(record).items():
        assert abs(occupancy - wanted[name][0]) < su


def test_a_reflection_on_the_limit_of_the_grid(command, tmp_path):
    """With a = 20 A and d_min = 1 A the reflection (20 0 0) lies right on the limit."""
    lines = ["CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1"]
    lines += [
        f"HETATM{i:5}  O   HOH W{i:4}    {3.7 * i % 20:8.3f}{5.3 * i % 20:8.3f}{7.1 * i % 20:8.3f}"
        f"  {1 if i > 2 else 0.6:4.2f} 15.00           O"
        for i in range(1, 6)
    ]
    (tmp_path / "m.pdb").write_text("\n".join([*lines, "END", ""]))
    called = command("simulate", tmp_path / "m.pdb", "--d-min", "1.0", "--out", tmp_path / "m.mtz")
    assert (called.status, called.out) == (0, ""), called.err
    mtz = gemmi.read_mtz_file(str(tmp_path / "m.mtz"))
    assert [20, 0, 0] in np.array(mtz)[:, :3].astype(int).tolist()
