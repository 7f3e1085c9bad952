"""Intensities: truth by gemmi with weak data, what a run says and writes, and its maps."""

import json
from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch

from gemmi_truth import amplitudes, crystal, write_columns
from intensity_integrals import amplitude_density, nodes
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.results.maps import map_coefficients

D_MIN, OUTER = 2.0, 0.5


@pytest.fixture(scope="module")
def weak(tmp_path_factory, shared_data):
    """Return the start, intensities with I/sigma of 0.5 at 2 A, and true occupancies."""
    folder = tmp_path_factory.mktemp("weak")
    made = crystal(
        shared_data / "4cjl" / "model.pdb", shared_data / "monomers", seed=1, n_ligands=0,
        levels=(0.3, 0.45, 0.6),
    )  # fmt: skip
    hkl, f = amplitudes(made.truth, D_MIN, k_sol=0.0)
    s_squared = np.asarray(made.truth.cell.calculate_1_d2_array(hkl))
    outer = s_squared > np.quantile(s_squared, 0.9)
    sigma = np.full(len(f), np.mean(f[outer] ** 2) / OUTER)
    random = np.random.default_rng(4)
    value = f**2 + sigma * random.standard_normal(len(f))
    assert (value[outer] < 0).mean() > 0.2
    made.start.write_pdb(str(folder / "start.pdb"))
    columns = {"IMEAN": ("J", value), "SIGIMEAN": ("Q", sigma),
               "FreeR_flag": ("I", random.integers(0, 20, len(f)))}  # fmt: skip
    write_columns(folder / "data.mtz", made.truth, hkl, columns)
    return folder, {(s.chain, str(s.number)): s.occupancy for s in made.sites}


def test_weak_intensities_of_a_right_model_show_it_to_be_right(weak):
    """Amplitudes by French and Wilson are drawn to the prior, and the model seems to be off."""
    folder, true = weak
    alpha, z = {}, {}
    for target in ("ml", "mli"):
        model = Model(dtype_float=torch.float64).load(folder / "start.pdb")
        data = read_reflections(folder / "data.mtz", cell=model.cell, spacegroup=model.spacegroup)
        options = RefineOptions(target=target, decoys=0, f_prime=("none",))  # as in the truth
        solution = refine(model, data, options)
        assert solution.status.converged
        alpha[target] = solution.experiment.errors.shell_alpha
        refined = np.flatnonzero(solution.groups.refined)
        wanted = [true[tuple(solution.groups.names[g].split("/")[:2])] for g in refined]
        z[target] = (solution.occupancy[refined] - wanted) / solution.su[refined]
    assert np.abs(alpha["mli"] - 1).max() < 0.12
    assert alpha["ml"].min() < 0.85
    assert np.sqrt(np.mean(z["mli"] ** 2)) < 1.12


@pytest.fixture
def both(demo, edited_mtz):
    """Return a file with amplitudes and intensities of them."""
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    f, sigma = (np.array(mtz.column_with_label(label)) for label in ("F", "SIGF"))
    columns = {"I": ("J", f**2), "SIGI": ("Q", 2 * f * sigma + sigma**2)}
    return edited_mtz("both.mtz", columns=columns)


@pytest.mark.parametrize(
    ("options", "labels", "target"),
    [
        ((), ["I", "SIGI"], "mli"),
        (("--target", "mli"), ["I", "SIGI"], "mli"),
        (("--target", "ml"), ["F", "SIGF"], "ml"),
        (("--target", "ls"), ["F", "SIGF"], "ls"),
        (("--labels", "F,SIGF"), ["F", "SIGF"], "ml"),
        (("--labels", "I,SIGI", "--target", "ml"), ["I", "SIGI"], "ml"),
    ],
)
def test_the_target_follows_the_data_and_is_told(
    command, demo, both, tmp_path, options, labels, target
):
    out = tmp_path / "out"
    called = command(
        "refine", demo / "start.pdb", both, *options, "--out", out, "--no-report", "--decoys", 0
    )
    assert called.status == 0, called.err
    record = json.loads((out / "result.json").read_text())
    assert (record["inputs"]["labels"], record["data"]["target"]) == (labels, target)
    assert record["inputs"]["options"]["target"] == (target if "--target" in options else None)
    assert ("target mli" in called.out) == (target == "mli")
    assert f"target {target}" in (out / "run.log").read_text()


def test_intensities_for_a_file_of_amplitudes_are_refused(command, demo, tmp_path):
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--target", "mli", "--out", tmp_path / "out"
    )
    assert called.status == 2
    assert "2.5.mtz: the target mli is for intensities, and F,SIGF are amplitudes" in called.err
    assert len(called.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_input_intensities_stand_in_the_map_file(command, demo, both, tmp_path):
    called = command("refine", demo / "start.pdb", both, "--out", tmp_path / "out", "--decoys", 0)
    assert called.status == 0, called.err
    given, made = (gemmi.read_mtz_file(str(p)) for p in (both, tmp_path / "out" / "refined.mtz"))
    for label, kind in (("I", "J"), ("SIGI", "Q")):
        assert made.column_with_label(label).type == kind
        expected = dict(zip(map(tuple, given.make_miller_array().tolist()),
                            np.array(given.column_with_label(label)), strict=True))  # fmt: skip
        found = dict(zip(map(tuple, made.make_miller_array().tolist()),
                         np.array(made.column_with_label(label)), strict=True))  # fmt: skip
        assert all(v == pytest.approx(expected[h], rel=1e-5) for h, v in found.items()
                   if np.isfinite(v))  # fmt: skip
    f, value = (np.array(made.column_with_label(label)) for label in ("F", "I"))
    strong = np.isfinite(f) & (value > np.nanquantile(value, 0.7))
    np.testing.assert_allclose(f[strong], np.sqrt(value[strong]), rtol=0.02)
    again = read_reflections(tmp_path / "out" / "refined.mtz")
    assert again.labels.observations == ("I", "SIGI")


def test_map_coefficients_are_the_mean_of_f_that_intensities_leave(weak):
    """The coefficient mFo against the integral of F cos(phi - phi_model), given I and the model."""
    folder, _ = weak
    model = Model(dtype_float=torch.float64).load(folder / "start.pdb")
    data = read_reflections(folder / "data.mtz", cell=model.cell, spacegroup=model.spacegroup)
    experiment = Experiment(model, data)
    f_calc = experiment.f_calc().detach().numpy().astype(complex)
    missing = np.zeros(len(data.unobserved_hkl), dtype=complex)
    maps = map_coefficients(experiment, np.concatenate([f_calc, missing]))
    data, errors = experiment.data, experiment.errors
    rows = np.flatnonzero(~data.left_out)[::20]
    size = np.abs(maps.model[rows])
    along = (maps.difference[rows] * np.conj(maps.model[rows])).real / size
    a, variance = errors.alpha[rows] * size, (data.epsilon * errors.beta)[rows]
    seen = data.intensities.select(np.isin(np.arange(len(data)), rows))
    for centric in (False, True):
        kind = data.centric[rows] == centric
        width = 9 * np.sqrt(variance[kind])
        f, weight = nodes(np.maximum(a[kind] - width, 0.0), a[kind] + width, 400)
        error = (seen.value[kind, None] - f**2) / seen.sigma[kind, None]
        p = weight * np.exp(-0.5 * error**2)
        p *= amplitude_density(f, a[kind], variance[kind], centric)
        x = 2 * a[kind, None] * f / variance[kind, None]
        merit = np.tanh(x / 2) if centric else torch.special.i1e(torch.as_tensor(x)).numpy() / (
            torch.special.i0e(torch.as_tensor(x)).numpy())  # fmt: skip
        expected = (p * merit * f).sum(axis=1) / p.sum(axis=1) - a[kind]
        spread = np.sqrt(variance[kind])
        assert np.sqrt(np.mean(((along[kind] - expected) / spread) ** 2)) < 0.2
        assert np.corrcoef(along[kind], expected)[0, 1] > 0.95
    hopeless = replace(data.intensities, sigma=data.intensities.sigma * 1e4)
    experiment.data = replace(data, intensities=hopeless).with_effective(True)
    experiment.errors = replace(experiment.errors.curve, data=experiment.data).errors()
    nothing = map_coefficients(experiment, np.concatenate([f_calc, missing]))
    assert np.abs(nothing.difference).max() < 0.01 * np.abs(maps.difference).max()
