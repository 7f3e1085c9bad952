"""Occupancies of metals by Bijvoet differences; the truth is made by gemmi alone."""

import json

import gemmi
import numpy as np
import pytest

import anomalous as benchmark
from anomalous_crystals import WAVELENGTH, with_metals
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.errors import InputError

OPTIONS = {"wavelength": WAVELENGTH, "decoys": 0}


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """A start and data of zincs at 0, 0.3, 0.5 and 0.7."""
    folder = tmp_path_factory.mktemp("zinc")
    return benchmark.make(folder, 1, WAVELENGTH, 1.8, 0.0, 0.03)


def group(record, name):
    (found,) = [g for g in record["groups"] if g["name"] == name]
    return found


def test_a_run_from_the_command_line(crystal, tmp_path, command):
    model, data = crystal
    out = tmp_path / "run"
    called = command("refine", model, data, "--anomalous", "--wavelength", WAVELENGTH, "--out", out)
    assert called.status == 0, called.err
    assert "f'' S 0.39, ZN 3.87 e" in called.out
    assert "Bijvoet differences: F(+),SIGF(+),F(-),SIGF(-), " in called.out
    assert "CC, F(+) - F(-), free" in called.out
    record = json.loads((out / "result.json").read_text())
    assert record["data"]["f_double_prime"]["ZN"] == pytest.approx(3.874, abs=2e-3)
    found = record["anomalous"]
    assert found["labels"] == ["F(+)", "SIGF(+)", "F(-)", "SIGF(-)"]
    assert found["n_work"] + found["n_free"] + found["n_outliers"] > 2000
    assert 0.9 < found["figure_of_merit"] <= 1.0
    # more than half of what differs is signal
    for name in ("cc_work", "cc_free"):
        assert 0.6 < found["final"][name] < 1.0
        assert found["final"][name] > found["initial"][name]
    for number, true in enumerate(benchmark.LEVELS, 1):
        zinc = group(record, f"Z/{number}/ZN")
        assert abs(zinc["occupancy"] - true) < 3 * zinc["su"]
        assert abs(zinc["occupancy_anomalous"] - true) < 3.5 * zinc["su_anomalous"]
        if true:
            assert 50 < zinc["delta_log_likelihood_anomalous"] < zinc["delta_log_likelihood"]
            # (q/su)^2/2 where the variance is held, and it grows without the zinc
            n = found["n_work"]
            wald = (zinc["occupancy_anomalous"] / zinc["su_anomalous"]) ** 2 / 2
            grown = 0.5 * n * np.log1p(2 * wald / n)
            assert zinc["delta_log_likelihood_anomalous"] == pytest.approx(grown, rel=0.25)
    assert "not_supported" in group(record, "Z/1/ZN")["flags"]
    carbon = group(record, "A/12/ASN:A")
    assert carbon["occupancy_anomalous"] is None
    assert abs(carbon["delta_log_likelihood_anomalous"]) < 0.1 * carbon["delta_log_likelihood"]
    assert "Bijvoet differences: " in (out / "run.log").read_text()
    page = (out / "report.html").read_text()
    assert "Bijvoet differences" in page
    assert "Occupancy by Bijvoet differences alone" in page
    # the anomalous map has its peaks at the zincs, that of what is left has none
    for labels, least, most in ((("FAN", "PHAN"), 8.0, 99.0), (("DELFAN", "PHDELAN"), -6.0, 6.0)):
        grid = gemmi.read_mtz_file(str(out / "refined.mtz")).transform_f_phi_to_map(
            *labels, sample_rate=3
        )
        grid.normalize()
        heights = [
            grid.interpolate_value(site.atom.pos)
            for site in gemmi.read_structure(str(model))[0].all()
            if site.atom.element.name == "Zn"
        ]
        assert all(least < height < most for height in heights[1:]), heights
        assert abs(heights[0]) < 6.0
    # and the run can be pruned: what is absent goes, and f'' stays
    pruned = command("prune", out, "--out", tmp_path / "pruned", "--no-report")
    assert pruned.status == 0, pruned.err
    smaller = json.loads((tmp_path / "pruned" / "result.json").read_text())
    assert "Z/1/ZN" not in [g["name"] for g in smaller["groups"]]
    assert smaller["anomalous"]["final"]["cc_work"] == pytest.approx(
        found["final"]["cc_work"], abs=0.02
    )


def test_without_the_option_mates_change_nothing(crystal, tmp_path):
    model, data = crystal
    mtz = gemmi.read_mtz_file(str(data))
    for label in ("F(+)", "SIGF(+)", "F(-)", "SIGF(-)"):
        mtz.remove_column([c.label for c in mtz.columns].index(label))
    mtz.write_to_file(str(tmp_path / "mean.mtz"))
    with_, without = (
        refine(model, path, RefineOptions(**OPTIONS)) for path in (data, tmp_path / "mean.mtz")
    )
    np.testing.assert_array_equal(with_.occupancy, without.occupancy)
    np.testing.assert_array_equal(with_.su, without.su)
    assert with_.anomalous is None
    hints = [n.message for n in with_.notices if n.code == "anomalous_possible"]
    assert len(hints) == 1
    assert "ZN 3.9 e" in hints[0]
    assert "--anomalous" in hints[0]
    assert not any(n.code == "anomalous_possible" for n in without.notices)


def test_su_and_values_over_draws(tmp_path):
    """Conditional su, since coordinates and B are those of the truth."""
    z, apart = [], []
    for seed in range(6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        paths = benchmark.make(folder, 20 + seed, WAVELENGTH, 2.2, 0.0, 0.03)
        rows = benchmark.run(paths, WAVELENGTH, anomalous=True, decoys=0)
        plain = benchmark.run(paths, WAVELENGTH, anomalous=False, decoys=0)
        there = [r for r in rows if r.true > 0]
        z += [(r.occupancy - r.true) / r.su_conditional for r in there]
        apart += [(r.apart - r.true) / r.su_apart for r in there]
        for one, other in zip(rows, plain, strict=True):
            assert one.su < other.su
            assert one.su_conditional < other.su_conditional
    assert 0.5 < np.sqrt(np.mean(np.square(z))) < 1.6  # 1.08 over 60
    assert 0.5 < np.sqrt(np.mean(np.square(apart))) < 1.6  # 1.09 over 60


def test_exchanged_mates_are_told_of(crystal, tmp_path):
    model, data = crystal
    mtz = gemmi.read_mtz_file(str(data))
    for column in mtz.columns:
        column.label = column.label.translate(str.maketrans("+-", "-+"))
    mtz.write_to_file(str(tmp_path / "data.mtz"))
    solution = refine(model, tmp_path / "data.mtz", RefineOptions(anomalous=True, **OPTIONS))
    (notice,) = [n for n in solution.notices if n.code == "bijvoet_exchanged"]
    assert "F(+) and F(-) are exchanged" in notice.message
    assert solution.anomalous.final.cc_work < 0
    right = refine(model, data, RefineOptions(anomalous=True, **OPTIONS))
    assert not {"bijvoet_exchanged", "no_anomalous_signal"} & {n.code for n in right.notices}


def test_no_signal_is_told_of(crystal, tmp_path):
    model, data = crystal
    mtz = gemmi.read_mtz_file(str(data))
    mean = np.array(mtz.column_with_label("F"))
    random = np.random.default_rng(2)
    for sign in "+-":
        sigma = np.array(mtz.column_with_label(f"SIGF({sign})"))
        noise = sigma * random.standard_normal(len(mean))
        mtz.column_with_label(f"F({sign})").array[:] = mean + noise
    mtz.write_to_file(str(tmp_path / "data.mtz"))
    solution = refine(model, tmp_path / "data.mtz", RefineOptions(anomalous=True, **OPTIONS))
    assert [n.code for n in solution.notices if "anomalous" in n.code] == ["no_anomalous_signal"]


def test_a_magnesium_is_no_zinc(tmp_path, command):
    """From `simulate --anomalous` to what tells that an atom is of another element."""
    true = with_metals(tmp_path, "truth.pdb", {"Zn": 0.6, "Mg": 1.0})
    start = with_metals(tmp_path, "start.pdb", {"Zn1": 0.5, "Zn2": 0.4})
    data = tmp_path / "data.mtz"
    called = command("simulate", true, "--d-min", 1.8, "--wavelength", WAVELENGTH, "--anomalous",
                     "--out", data)  # fmt: skip
    assert called.status == 0, called.err
    checked = command("check", start, data)
    assert "Bijvoet pairs (F(+),SIGF(+),F(-),SIGF(-)): <|dF|>/<F> 0.0" in checked.out
    assert "<|dF|>/<sigma> " in checked.out
    out = tmp_path / "run"
    called = command("refine", start, data, "--anomalous", "--decoys", 0, "--out", out)
    assert called.status == 0, called.err
    assert "Atoms that may be of another element: Z/2/ZN" in called.out
    record = json.loads((out / "result.json").read_text())
    (warning,) = [w for w in record["warnings"] if w["code"] == "element_doubtful"]
    assert "Z/2/ZN" in warning["message"]
    assert "Z/1/ZN" not in warning["message"]
    zinc, magnesium = group(record, "Z/1/ZN"), group(record, "Z/2/ZN")
    assert abs(zinc["occupancy_anomalous"] - 0.6) < 3 * zinc["su_anomalous"]
    assert magnesium["occupancy"] > 0.3
    assert magnesium["occupancy_anomalous"] < 0.15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--twin"], "twins are not told apart"),
        (["--parameters", "occupancy,xyz"], "leave out xyz"),
        (["--uncertainty", "audit"], "take --uncertainty marginal"),
        (["--radiation", "electron"], "f'' is of X-rays"),
        (["--f-double-prime", "Zn=-3"], "as Zn=3.9"),
        ([], "neither file names a wavelength"),
        (["--f-double-prime", "Zn=0"], "neither"),
    ],
)
def test_refused_in_one_line(crystal, tmp_path, command, words, said):
    model, data = crystal
    out = tmp_path / "out"
    if "Zn=0" in words:
        words, said = [*words, "--wavelength", "0.1"], "no element of the model"
    called = command("refine", model, data, "--anomalous", *words, "--out", out)
    assert called.status == 2
    assert said in called.err
    assert called.err.count("\n") == 1
    assert not out.exists()


def test_f_double_prime_needs_the_option(crystal, tmp_path, command):
    model, data = crystal
    called = command("refine", model, data, "--f-double-prime", "Zn=3", "--out", tmp_path / "o")
    assert called.status == 2
    assert "add --anomalous" in called.err


def test_b_shifts_intensities_least_squares_and_lbfgs(crystal, tmp_path):
    """Whatever else is asked for, differences go with it."""
    model, data = crystal
    mtz = gemmi.read_mtz_file(str(data))
    columns = {c.label: np.array(c) for c in mtz.columns}
    for sign in "+-":
        f, sd = columns[f"F({sign})"], columns[f"SIGF({sign})"]
        for label, kind, values in (
            (f"I({sign})", "K", f**2), (f"SIGI({sign})", "M", 2 * f * sd)
        ):  # fmt: skip
            mtz.add_column(label, kind).array[:] = values
    mtz.write_to_file(str(tmp_path / "data.mtz"))
    for more in (
        {"parameters": "occupancy,b_group"}, {"target": "ls"}, {"solver": "lbfgs"},
    ):  # fmt: skip
        options = RefineOptions(anomalous=True, **OPTIONS, **more)
        solution = refine(model, tmp_path / "data.mtz", options)
        assert solution.status.converged or "lbfgs" in more.values(), more
        assert solution.anomalous.final.cc_free > 0.6
        for number, true in enumerate(benchmark.LEVELS, 1):
            g = solution.groups.names.index(f"Z/{number}/ZN")
            assert solution.occupancy[g] == pytest.approx(true, abs=0.04), more


def test_data_that_were_read_without_them(crystal):
    model, data = crystal
    loaded = Model(model)
    mean = read_reflections(data, cell=loaded.cell, spacegroup=loaded.spacegroup)
    with pytest.raises(InputError, match="read them with anomalous=True"):
        refine(loaded, mean, RefineOptions(anomalous=True, **OPTIONS))
