"""Twins whose truth is made by gemmi alone: seen before refinement, and refined as twins."""

import json
from dataclasses import replace
from importlib.resources import files

import gemmi
import numpy as np
import pandas as pd
import pytest

import gemmi_truth
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.twins import twin_law
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.refinement.macrocycle import refine_to_maximum
from multicopy_refinement.refinement.twinning import Twinning
from multicopy_refinement.reflections.twin_mates import parted_free_set, with_mates
from multicopy_refinement.reflections.twinning import mates_of
from multicopy_refinement.results.real_space import read_amplitudes
from multicopy_refinement.run.check import check

#: Group, cell and law: a merohedral twin, and a pseudo-merohedral one.
CRYSTALS = {
    "P 31": ((38, 38, 32, 90, 90, 120), "-h,-k,l"),
    "P 21 21 21": ((30, 30.15, 32, 90, 90, 90), "k,h,-l"),
}
#: Coordinates and B are those of the truth.
QUICK = {"decoys": 0, "uncertainty": "conditional"}
#: What is said before refinement.
BEFORE = {"uncertainty": "none", "max_cycles": 1}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A function that writes start.pdb, truth.pdb and data.mtz of a twin to a folder, once."""
    made = {}

    def write(group, alpha, d_min=2.3):
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


def maximum(model_file, data_file, **options):
    """Refine the groups that start at a half, with coordinates and B of the truth."""
    model = Model(model_file)
    data = read_reflections(data_file, cell=model.cell, spacegroup=model.spacegroup)
    return refine_to_maximum(model, data, RefineOptions(**QUICK, **options))


def of_data(found):
    """Return su of all groups with what is held, and the solvent that they displace, known."""
    su = np.full(len(found.solution.occupancy), np.nan)
    su[found.refined] = found.covariance.su
    return su


def deviations(folder, found):
    """Return (q - truth)/su of the groups that are partial, with the su of errors of the data."""
    known, groups = Model(folder / "truth.pdb").table.occupancy, found.solution.groups
    expected = np.array([known[members].mean() for members in groups.members])
    some = groups.refined & (expected > 0) & (expected < 1) & np.isfinite(found.solution.su)
    return ((found.solution.occupancy - expected) / of_data(found))[some]


@pytest.mark.parametrize("group", CRYSTALS)
@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.45])
def test_a_twin_is_told_of(twin, group, alpha):
    folder = twin(group, alpha)
    solution = refine(folder / "start.pdb", folder / "data.mtz", RefineOptions(**BEFORE))
    (notice,) = [one for one in solution.notices if one.code == "twinned"]
    found = solution.twinning.found
    assert found.law.name == CRYSTALS[group][1]
    assert f"twin by {found.law.name}: beside the model alpha is 0." in notice.message
    assert found.beside_model.value == pytest.approx(alpha, abs=0.02)
    assert found.by_statistics.value == pytest.approx(alpha, abs=0.02)


def test_check_and_the_record_tell_of_it(twin, command, tmp_path):
    folder = twin("P 21 21 21", 0.25)
    (finding,) = check(folder / "start.pdb", folder / "data.mtz").findings[:1]
    assert finding.code == "twinned"
    done = command(
        "refine", folder / "start.pdb", folder / "data.mtz", "--out", tmp_path / "out", "--quiet",
        "--uncertainty", "none", "--no-report",
    )  # fmt: skip
    assert done.status == 0
    assert "twin by k,h,-l: beside the model alpha is 0.2" in done.err
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["warnings"][0]["code"] == "twinned"
    (law,) = record["twinning"]["laws"]
    assert law["law"] == "k,h,-l"
    assert law["obliquity"] == pytest.approx(np.degrees(np.log(30.15 / 30)), abs=0.002)
    assert law["beside_model"]["value"] == pytest.approx(0.25, abs=0.02)
    assert law["h_test"]["value"] == pytest.approx(0.25, abs=0.02)
    assert law["britton"]["fraction"]["value"] == pytest.approx(0.25, abs=0.03)
    assert len(law["britton"]["alphas"]) == len(law["britton"]["negative"]) == 10
    assert "Britton plot 0.2" in record["warnings"][0]["message"]
    assert 0.37 < record["twinning"]["l_test"]["mean"] < 0.46


@pytest.mark.parametrize("group", CRYSTALS)
def test_nothing_is_said_of_one_crystal(twin, group):
    folder = twin(group, 0.0)
    solution = refine(folder / "start.pdb", folder / "data.mtz", RefineOptions(**BEFORE))
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


@pytest.mark.parametrize("group", CRYSTALS)
@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.45])
def test_a_twin_is_refined_as_one(twin, group, alpha):
    folder, law = twin(group, alpha), CRYSTALS[group][1]
    asked = "found" if alpha == 0.25 else law
    found = maximum(folder / "start.pdb", folder / "data.mtz", twin=asked)
    solution = found.solution
    assert solution.status.converged
    assert solution.twin.law.name == law
    assert solution.twin.fraction == pytest.approx(alpha, abs=0.005)
    assert abs(solution.twin.fraction - alpha) < 3 * solution.twin.su < 0.01
    z = deviations(folder, found)
    assert len(z) >= 15
    assert np.abs(z).max() < 3.3
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.4
    assert solution.final.r_work < 0.035
    assert not any(one.code == "twinned" for one in solution.notices)


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_a_model_with_errors_does_not_change_the_fraction(twin, tmp_path, alpha):
    """By least squares a second domain would make up for them: alpha came out too high."""
    folder, law = twin("P 31", alpha), CRYSTALS["P 31"][1]
    structure, random = gemmi.read_structure(str(folder / "start.pdb")), np.random.default_rng(2)
    for site in structure[0].all():
        moved = np.array(site.atom.pos.tolist()) + 0.15 * random.standard_normal(3)
        site.atom.pos = gemmi.Position(*moved)
    structure.write_pdb(str(tmp_path / "shaken.pdb"))
    options = RefineOptions(twin=law, **QUICK)
    found = refine(tmp_path / "shaken.pdb", folder / "data.mtz", options)
    assert found.final.r_work > 0.12
    assert abs(found.twin.fraction - alpha) < 3 * found.twin.su < 0.04


@pytest.mark.parametrize("folder", ["4cjl", "2xiu"])
def test_real_crystals_refined_as_twins_have_no_second_domain(folder, shared_data):
    options = RefineOptions(twin=True, **QUICK)
    model, data = (shared_data / folder / name for name in ("model.pdb", "data.mtz"))
    found = refine(model, data, options).twin
    assert found.fraction <= 2 * found.su < 0.01


@pytest.mark.parametrize("group", CRYSTALS)
def test_one_crystal_refined_as_a_twin_has_no_second_domain(twin, group):
    folder = twin(group, 0.0)
    both = [maximum(folder / "start.pdb", folder / "data.mtz", twin=twin) for twin in (None, True)]
    plain, asked = (found.solution for found in both)
    assert asked.twin.fraction <= 2 * asked.twin.su < 0.002
    refined = plain.groups.refined  # the mask's edge may come to lie a step of its grid elsewhere
    off = np.abs(asked.occupancy - plain.occupancy)[refined]
    assert (off < 0.003 + 0.5 * plain.su[refined]).all()
    one, other = map(of_data, both)
    np.testing.assert_allclose(one, other, rtol=0.05)


def test_su_of_the_fraction_is_that_of_its_scatter():
    """Fractions of five data sets scatter by their su; the truth is drawn from the model."""
    cell, law = CRYSTALS["P 31"]
    truth = gemmi.read_structure(str(files("multicopy_refinement") / "demo" / "truth.pdb"))
    truth.cell, truth.spacegroup_hm = gemmi.UnitCell(*cell), "P 31"
    truth.setup_cell_images()
    hkl, f = gemmi_truth.twinned(truth, 3.0, law, 0.3)
    s_squared = np.asarray(truth.cell.calculate_1_d2_array(hkl))
    z = []
    for seed in range(5):
        seen = gemmi_truth.observe(hkl, f, s_squared, seed=seed)
        frame = pd.DataFrame(
            {"H": hkl[:, 0], "K": hkl[:, 1], "L": hkl[:, 2], "F": seen.f_obs, "SIGF": seen.sigma}
        )
        data = read_reflections(
            frame, cell=Cell(*cell), spacegroup=SpaceGroup("P 31"), labels=("F", "SIGF")
        )
        found = refine(Model(truth), data, RefineOptions(twin=law, **QUICK)).twin
        z.append((found.fraction - 0.3) / found.su)
    # chi of five has a probability of 0.99 between these
    assert 0.3 < np.sqrt(np.mean(np.square(z))) < 1.85, z


def test_data_without_some_mates(twin, command, tmp_path):
    """Mates that were not observed are nowhere in what is written, and nothing else changes."""
    folder, law = twin("P 31", 0.25), CRYSTALS["P 31"][1]
    mtz = gemmi.read_mtz_file(str(folder / "data.mtz"))
    table = np.array(mtz.array)
    chosen = table[np.random.default_rng(0).random(len(table)) > 0.2]
    mtz.set_data(chosen)
    mtz.write_to_file(str(tmp_path / "data.mtz"))
    out = tmp_path / "out"
    done = command("refine", folder / "start.pdb", tmp_path / "data.mtz", "--out", out,
                   "--twin", law, "--uncertainty", "conditional", "--decoys", "0")  # fmt: skip
    assert done.status == 0, done.err
    assert f"Twin: by {law}, fraction 0.2" in done.out
    record = json.loads((out / "result.json").read_text())
    used = record["data"]
    assert used["n_work"] + used["n_free"] + used["n_outliers"] == len(chosen)
    refined = record["twinning"]["refined"]
    assert refined["law"] == law
    assert refined["fraction"] == pytest.approx(0.25, abs=0.005)
    assert "free_set_of_twin" in {w["code"] for w in record["warnings"]}
    written = gemmi.read_mtz_file(str(out / "refined.mtz"))
    f_obs, of_twin = (np.array(written.column_with_label(name)) for name in ("F", "FC_TWIN"))
    assert np.isfinite(f_obs).sum() == np.isfinite(of_twin).sum() == len(chosen)
    assert written.nreflections > len(chosen)
    hkl = written.make_miller_array()
    assert len(np.unique(hkl, axis=0)) == len(hkl)
    free = np.array(written.column_with_label("FreeR_flag")) == 0
    shells = read_amplitudes(out / "refined.mtz", ("F", "FreeR_flag", 0), SpaceGroup("P 31"))
    r_all = np.abs(shells.f_obs - shells.f_model).sum() / shells.f_obs.sum()
    assert r_all == pytest.approx(record["statistics"]["final"]["r_work"], abs=0.003)
    assert free.sum() > 50
    # the maps are of the first domain: what is observed of it is near its own F
    known = gemmi_truth.amplitudes(gemmi.read_structure(str(folder / "truth.pdb")), 2.3, hkl=hkl)[1]
    model = np.array(written.column_with_label("FC_ALL"))
    assert np.abs(model - known).sum() / known.sum() < 0.03
    detwinned = np.array(written.column_with_label("FWT"))
    assert np.abs(detwinned - known).sum() / known.sum() < 0.06
    assert "Twin by -h,-k,l, fraction 0.2" in (out / "refined.cif").read_text()
    assert "Twin by -h,-k,l" in (out / "report.html").read_text()


def test_intensities_of_a_twin(twin, tmp_path):
    folder, law = twin("P 31", 0.25), CRYSTALS["P 31"][1]
    old = gemmi.read_mtz_file(str(folder / "data.mtz"))
    f, sigma, flags = (np.array(old.column_with_label(n)) for n in ("F", "SIGF", "FreeR_flag"))
    columns = {"I": ("J", f**2), "SIGI": ("Q", 2 * f * sigma), "FreeR_flag": ("I", flags)}
    truth = gemmi.read_structure(str(folder / "truth.pdb"))
    gemmi_truth.write_columns(tmp_path / "data.mtz", truth, old.make_miller_array(), columns)
    found = maximum(folder / "start.pdb", tmp_path / "data.mtz", twin=law)
    solution = found.solution
    assert solution.experiment.target_kind == "mli"
    assert solution.twin.fraction == pytest.approx(0.25, abs=0.005)
    assert np.abs(deviations(folder, found)).max() < 3.5


def test_mates_in_one_set_are_no_warning(twin):
    folder, (cell, law) = twin("P 31", 0.25), CRYSTALS["P 31"]
    model = Model(folder / "start.pdb")
    data = read_reflections(folder / "data.mtz", cell=model.cell, spacegroup=model.spacegroup)
    whole = with_mates(data, twin_law(law, Cell(*cell), SpaceGroup("P 31")))
    mate = mates_of(whole, twin_law(law, Cell(*cell), SpaceGroup("P 31")))
    assert len(parted_free_set(whole, mate)) == 1
    together = replace(whole, free=whole.free | whole.free[mate])
    assert parted_free_set(together, mate) == ()


COMMAND_LINES = [
    (("--twin",), "k,h,-l"), (("--twin", "-k,-h,-l"), "-k,-h,-l"), (("--twin=k,h,-l",), "k,h,-l"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "law"), COMMAND_LINES)
def test_ways_to_ask_for_it(twin, command, tmp_path, words, law):
    folder = twin("P 21 21 21", 0.25)
    files_ = folder / "start.pdb", folder / "data.mtz"
    done = command("refine", *words, *files_, "--out", tmp_path / "out", "--no-report",
                   "--uncertainty", "none", "--max-cycles", "1")  # fmt: skip
    assert done.status == 0, done.err
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["twinning"]["refined"]["law"] == law
    assert record["twinning"]["refined"]["su"] is None
    again = record["provenance"]["command"]
    assert any(word.startswith("--twin") for word in again)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--twin=k,l,h",), "more than two domains"),
        (("--twin=twins",), "is no law; write it as -h,-k,l"),
        (("--twin", "--parameters", "occupancy,xyz"), "leave out xyz"),
        (("--twin", "--uncertainty", "audit"), "no audit of twins"),
    ],
)
def test_what_cannot_be_is_refused(twin, command, tmp_path, words, why):
    folder = twin("P 21 21 21", 0.25)
    done = command("refine", folder / "start.pdb", folder / "data.mtz", *words,
                   "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 2
    assert why in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_lattice_without_laws_and_commands_for_single_crystals(twin, demo, command, tmp_path):
    done = command("refine", demo / "start.pdb", demo / "2.5.mtz", "--twin", "--out",
                   tmp_path / "none")  # fmt: skip
    assert done.status == 2
    assert "no symmetry beyond P 21 21 21" in done.err
    folder, out = twin("P 21 21 21", 0.25), tmp_path / "out"
    command("refine", folder / "start.pdb", folder / "data.mtz", "--twin", "--out", out,
            "--no-report", "--uncertainty", "none", "--max-cycles", "1")  # fmt: skip
    for words in (("prune", out, "--out", tmp_path / "pruned"), ("compare", out, out)):
        done = command(*words)
        assert done.status == 2
        assert "twin" in done.err


@pytest.mark.parametrize("parameters", ["occupancy", "occupancy,b_group"])
def test_slopes_of_the_posterior(twin, parameters):
    """Gradient and information against finite differences, with blocks that would part mates."""
    folder, law = twin("P 31", 0.25, 3.0), CRYSTALS["P 31"][1]
    model = Model(folder / "start.pdb")
    data = read_reflections(folder / "data.mtz", cell=model.cell, spacegroup=model.spacegroup)
    some = data.select(np.arange(len(data)) % 7 > 0)
    options = RefineOptions(twin=law, parameters=parameters, uncertainty="none", max_cycles=1)
    found = refine_to_maximum(model, some, options)
    term = found.posterior.data
    columns = replace(term.forward.columns, block_size=101)
    forward = replace(term.forward, columns=columns)
    term = replace(term, forward=forward)
    random = np.random.default_rng(1)
    at = found.at
    x = at.x * (1 + 0.05 * random.standard_normal(at.space.size))
    at = Point(at.space, x).replacing(Kind.SOLVENT, at[Kind.SOLVENT])  # H has the fitted solvent
    assert at.space.kinds[-1] is Kind.TWIN
    normal = term.normal(at)
    slopes = np.empty((at.space.size, len(term.work)))
    for i in range(at.space.size):
        step = 1e-4 * max(abs(at.x[i]), 0.05)
        ahead, behind = at.x.copy(), at.x.copy()
        ahead[i] += step
        behind[i] -= step
        one, other = Point(at.space, ahead.copy()), Point(at.space, behind.copy())
        slopes[i] = (term.size(one) - term.size(other)) / (2 * step)
        ahead[i] += step
        behind[i] -= step
        far = term.value(Point(at.space, ahead)) - term.value(Point(at.space, behind))
        measured = (8 * (term.value(one) - term.value(other)) - far) / (12 * step)
        assert normal.gradient[i] == pytest.approx(measured, rel=1e-6, abs=1e-3), at.space.kinds
    weight = term.target.derivatives(term.size(at)).information * term.work
    expected = (slopes * weight) @ slopes.T
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        normal.information / np.outer(size, size), expected / np.outer(size, size), atol=2e-3
    )
    rows = term.observable.closed(np.arange(3, len(term.work), 11))
    sampled = term.sampled_slopes(at, rows)
    root = np.sqrt(weight[rows] * weight.sum() / weight[rows].sum())
    np.testing.assert_allclose(
        sampled.of[Kind.TWIN][0], slopes[-1, rows] * root, atol=1e-3 * np.abs(slopes[-1]).max() * 9
    )
    q = at.space.place(Kind.OCCUPANCY)
    far = np.abs(slopes[q][:, rows] * root)
    np.testing.assert_allclose(np.abs(sampled.of[Kind.OCCUPANCY]), far, atol=2e-3 * far.max())
