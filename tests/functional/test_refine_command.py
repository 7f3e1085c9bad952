"""What a run of ``refine`` leaves: files, record, occupancies and maps; and its neighbours."""

import gzip
import hashlib
import json
from collections import defaultdict

import gemmi
import numpy as np
import pytest

RESULTS = {
    "refined.pdb", "refined.cif", "refined.mtz", "refined-sf.cif", "result.json", "run.log",
    "report.html", "coot_groups.py", "coot_groups.json",
}  # fmt: skip


def _record(folder):
    return json.loads((folder / "result.json").read_text())


def _occupancies(folder):
    return {group["name"]: group["occupancy"] for group in _record(folder)["groups"]}


@pytest.fixture(scope="module")
def refine(command, tmp_path_factory):
    """A function that refines and returns the folder of the results."""

    def run(model, data, *options):
        out = tmp_path_factory.mktemp("run") / "out"
        called = command("refine", model, data, "--out", out, "--quiet", *options)
        assert (called.status, called.out, called.err) == (0, "", "")
        return out

    return run


@pytest.fixture(scope="module")
def fine(refine, demo):
    """Results with the 1.8 A data."""
    return refine(demo / "start.pdb", demo / "1.8.mtz")


@pytest.fixture(scope="module")
def coarse(refine, demo):
    """Results with the 2.5 A data."""
    return refine(demo / "start.pdb", demo / "2.5.mtz")


@pytest.fixture(scope="module")
def truth(command, demo):
    """True occupancy of every group."""
    called = command("groups", demo / "truth.pdb", "--format", "json")
    return {g["name"]: g["occupancy"] for g in json.loads(called.out)["groups"]}


def _largest_error(folder, truth):
    found = _occupancies(folder)
    assert found.keys() == truth.keys()
    return max(abs(found[name] - truth[name]) for name in truth)


# ---------------------------------------------------------------------- occupancies


def test_true_occupancies_are_found(fine, truth):
    assert _largest_error(fine, truth) < 0.03


def test_a_pair_that_starts_at_one_and_zero_is_found(fine):
    found = _occupancies(fine)
    assert found["A/17/GLU:A"] == pytest.approx(0.66, abs=0.03)
    assert found["A/17/GLU:B"] == pytest.approx(0.34, abs=0.03)


def test_least_squares_finds_them_too(refine, demo, truth):
    out = refine(demo / "start.pdb", demo / "1.8.mtz", "--target", "ls")
    assert _record(out)["inputs"]["options"]["target"] == "ls"
    assert _largest_error(out, truth) < 0.05


def test_two_runs_agree_to_the_last_digit(refine, demo, coarse):
    assert _occupancies(refine(demo / "start.pdb", demo / "2.5.mtz")) == _occupancies(coarse)


def test_d_min_cuts_the_data(refine, demo):
    data = _record(refine(demo / "start.pdb", demo / "1.8.mtz", "--d-min", "2.6"))["data"]
    spacing = gemmi.read_mtz_file(str(demo / "1.8.mtz")).make_d_array()
    assert data["n_work"] + data["n_free"] == int((spacing >= 2.6).sum())
    assert data["d_min"] == pytest.approx(spacing[spacing >= 2.6].min(), abs=1e-4)


def test_agreement_improves(fine):
    before, after = (_record(fine)["statistics"][when] for when in ("initial", "final"))
    assert after["r_work"] < before["r_work"] - 0.03
    assert after["r_free"] < before["r_free"] - 0.03
    assert after["log_likelihood"] > before["log_likelihood"]
    assert after["r_work"] < 0.03  # the data have 3% noise


# ---------------------------------------------------------------------- record


NUMBER, OPTIONAL = (int, float), (int, float, type(None))
SCHEMA = {
    "schema": int,
    "program": {"name": str, "version": str},
    "inputs": {"model": str, "data": str, "labels": [str], "free_label": str, "free_value": int,
               "options": dict},
    "data": {"n_work": int, "n_free": int, "n_outliers": int, "target": str,
             "d_min": NUMBER, "d_max": NUMBER, "spacegroup": str,
             "cell": [NUMBER], "radiation": str, "wavelength": OPTIONAL, "f_prime": dict},
    "statistics": {
        when: {"r_work": NUMBER, "r_free": OPTIONAL, "log_likelihood": NUMBER,
               "log_likelihood_free": OPTIONAL}
        for when in ("initial", "final")
    } | {"r_free_change": {"value": NUMBER, "su": NUMBER}},
    "groups": [{"name": str, "n_atoms": int, "atom_indices": [int], "initial": NUMBER,
                "occupancy": NUMBER, "su": OPTIONAL, "refined": bool, "set": (str, type(None)),
                "delta_b": OPTIONAL, "delta_b_su": OPTIONAL, "b_correlation": OPTIONAL,
                "delta_log_likelihood": OPTIONAL, "flags": [str], "start": NUMBER,
                "su_conditional": OPTIONAL, "delta_log_likelihood_free": OPTIONAL,
                "wald": OPTIONAL, "p_absent": OPTIONAL, "misfit": OPTIONAL, "relaxed": OPTIONAL,
                "su_xyz": OPTIONAL, "b_su": OPTIONAL, "omit_peak": OPTIONAL,
                "omit_correlation": OPTIONAL}],
    "sets": [{"name": str, "groups": [str], "total": NUMBER, "complete": bool}],
    "states": [{"name": str, "groups": [str], "initial": NUMBER, "start": NUMBER,
                "occupancy": NUMBER, "su": OPTIONAL, "su_conditional": OPTIONAL,
                "delta_log_likelihood": OPTIONAL, "delta_log_likelihood_free": OPTIONAL,
                "wald": OPTIONAL, "p_absent": OPTIONAL, "flags": [str]}],
    "ligands": [{"name": str, "groups": [str], "atom_indices": [int], "beside": [str],
                 "refined": bool, "initial": NUMBER, "occupancy": NUMBER, "su": OPTIONAL,
                 "delta_log_likelihood": OPTIONAL, "delta_log_likelihood_free": OPTIONAL,
                 "wald": OPTIONAL, "p_absent": OPTIONAL, "flags": [str], "correlation": OPTIONAL,
                 "highest": OPTIONAL, "lowest": OPTIONAL, "omit_peak": OPTIONAL,
                 "omit_correlation": OPTIONAL}],
    "warnings": [{"code": str, "message": str, "atoms": [str]}],
    "seconds": dict.fromkeys(("load", "scale", "refine", "report", "total"), NUMBER),
    "status": {"converged": bool, "reason": str, "cycles": int},
    "history": [{"number": int, "largest_change": OPTIONAL, "r_work": NUMBER, "r_free": OPTIONAL,
                 "log_likelihood": NUMBER, "rms_shift": OPTIONAL, "rms_b_change": OPTIONAL,
                 "bond_z": OPTIONAL, "restraint_weight": OPTIONAL}],
    "correlations": {"groups": [str], "matrix": [[NUMBER]]},
    "conditional_on": [str],
    "decoys": int,
    "geometry": type(None),
    "provenance": {"command": [str], "sha256": dict, "versions": dict, "free_set": str},
}  # fmt: skip


def _check(value, schema, path="result"):
    if isinstance(schema, dict):
        assert list(value) == list(schema), path
        for key, inner in schema.items():
            _check(value[key], inner, f"{path}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), path
        for number, item in enumerate(value):
            _check(item, schema[0], f"{path}[{number}]")
    else:
        assert isinstance(value, schema), path
        assert schema is not int or not isinstance(value, bool), path


def test_record_has_the_keys_and_types_of_schema_1(fine, coarse):
    for folder in (fine, coarse):  # the second has warnings
        _check(_record(folder), SCHEMA)
    assert _record(fine)["schema"] == 1


def test_record_says_what_went_in(fine, demo):
    record = _record(fine)
    inputs, data = record["inputs"], record["data"]
    assert inputs["model"] == str(demo / "start.pdb")
    assert inputs["data"] == str(demo / "1.8.mtz")
    assert inputs["labels"] == ["F", "SIGF"]
    assert (inputs["free_label"], inputs["free_value"]) == ("FreeR_flag", 0)
    flags = np.array(gemmi.read_mtz_file(str(demo / "1.8.mtz")).column_with_label("FreeR_flag"))
    assert data["n_free"] == int((flags == 0).sum())
    assert data["n_work"] == int((flags != 0).sum())
    assert data["d_min"] == pytest.approx(1.8, abs=0.01)
    assert data["spacegroup"] == "P 21 21 21"
    assert data["cell"] == [28, 30, 32, 90, 90, 90]


def test_record_accounts_for_every_atom_once(fine, demo):
    n_atoms = sum(1 for _ in gemmi.read_pdb(str(demo / "start.pdb"))[0].all())
    groups = _record(fine)["groups"]
    assert sorted(i for g in groups for i in g["atom_indices"]) == list(range(n_atoms))
    assert all(g["n_atoms"] == len(g["atom_indices"]) for g in groups)
    assert all(g["occupancy"] == g["initial"] == 1 for g in groups if not g["refined"])


def test_sets_and_groups_of_the_record_name_each_other(fine):
    record = _record(fine)
    members = defaultdict(list)
    for group in record["groups"]:
        if group["set"] is not None:
            members[group["set"]].append(group["name"])
    assert members == {s["name"]: s["groups"] for s in record["sets"]}
    assert members["A/2/ASP"] == ["A/2/ASP:A", "A/2/ASP:B", "A/2/ASP:C"]


def test_uncertainties_cover_the_truth_or_a_flag_says_why_there_is_none(fine, truth):
    for group in _record(fine)["groups"]:
        if not group["refined"]:
            assert group["su"] is None
        elif group["su"] is None:
            assert group["flags"]
        else:
            assert 0.0005 < group["su"] < 0.05
            assert abs(group["occupancy"] - truth[group["name"]]) < 4.5 * group["su"]


def test_two_members_of_a_complete_set_have_one_uncertainty(fine):
    su = {group["name"]: group["su"] for group in _record(fine)["groups"]}
    assert su["A/17/GLU:A"] == pytest.approx(su["A/17/GLU:B"], rel=1e-6)


def test_mmcif_holds_the_uncertainties_of_the_record(fine):
    block = gemmi.cif.read(str(fine / "refined.cif")).sole_block()
    texts = list(block.find_values("_atom_site.occupancy_esd"))
    for group in _record(fine)["groups"]:
        written = {texts[atom] for atom in group["atom_indices"]}
        assert written == {"?" if group["su"] is None else f"{group['su']:.4f}"}


# ---------------------------------------------------------------------- sums


def _sums(folder, units):
    """Return the sum of each complete set over the units of its groups' first atoms."""
    record = _record(folder)
    first = {g["name"]: g["atom_indices"][0] for g in record["groups"]}
    return {s["name"]: sum(units[first[g]] for g in s["groups"]) for s in record["sets"]}


def _pdb_units(path):
    lines = [t for t in path.read_text().splitlines() if t.startswith(("ATOM", "HETATM"))]
    assert all(t[57] == "." for t in lines)
    return [int(t[54:57]) * 100 + int(t[58:60]) for t in lines]


def _cif_units(path):
    texts = gemmi.cif.read(str(path)).sole_block().find_values("_atom_site.occupancy")
    assert all(len(t) == 6 and t[1] == "." for t in texts)
    return [int(t[0]) * 10_000 + int(t[2:]) for t in texts]


@pytest.mark.parametrize("name", ["fine", "coarse"])
def test_complete_sets_sum_to_one_as_written(name, request):
    folder = request.getfixturevalue(name)
    occupancy = _occupancies(folder)
    for group_set in _record(folder)["sets"]:
        millionths = [occupancy[g] * 1e6 for g in group_set["groups"]]
        assert all(abs(m - round(m)) < 1e-6 for m in millionths)
        assert sum(round(m) for m in millionths) == 1_000_000
    assert set(_sums(folder, _pdb_units(folder / "refined.pdb")).values()) == {100}
    assert set(_sums(folder, _cif_units(folder / "refined.cif")).values()) == {10_000}


def test_files_hold_the_occupancies_of_the_record(fine):
    pdb, cif = _pdb_units(fine / "refined.pdb"), _cif_units(fine / "refined.cif")
    for group in _record(fine)["groups"]:
        for atom in group["atom_indices"]:
            # a set's rounding moves a value by less than one unit
            assert abs(pdb[atom] / 100 - group["occupancy"]) < 0.01
            assert abs(cif[atom] / 10_000 - group["occupancy"]) < 0.0001


# ---------------------------------------------------------------------- files


def test_exactly_these_files_are_left(fine):
    assert {path.name for path in fine.iterdir()} == RESULTS
    assert [path.name for path in fine.parent.iterdir()] == ["out"]


def test_inputs_are_not_touched(refine, demo, tmp_path):
    inputs = [tmp_path / "model.pdb", tmp_path / "data.mtz"]
    for path, source in zip(inputs, ("start.pdb", "2.5.mtz"), strict=True):
        path.write_bytes((demo / source).read_bytes())
        path.chmod(0o444)
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs]
    refine(*inputs)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs] == before
    assert sorted(tmp_path.iterdir()) == sorted(inputs)


def test_pdb_differs_from_the_input_in_occupancies_and_remark_3_only(fine, demo):
    old, new = (
        [line for line in path.read_bytes().split(b"\n") if not line.startswith(b"REMARK   3")]
        for path in (demo / "start.pdb", fine / "refined.pdb")
    )
    assert len(old) == len(new)
    for before, after in zip(old, new, strict=True):
        if before.startswith((b"ATOM", b"HETATM")):
            assert before[:54] + before[60:] == after[:54] + after[60:]
        else:
            assert before == after


def test_summary_says_what_matters(command, demo, tmp_path):
    called = command("refine", demo / "start.pdb", demo / "2.5.mtz", "--out", tmp_path / "out")
    assert called.status == 0
    assert called.err == ""
    for words in ("F,SIGF", "FreeR_flag = 0", "P 21 21 21", "R-work", "Converged", "result.json"):
        assert words in called.out


# ---------------------------------------------------------------------- maps


def _columns(path):
    """Return columns by label, sorted by Miller index."""
    mtz = gemmi.read_mtz_file(str(path))
    hkl = mtz.make_miller_array()
    order = np.lexsort(hkl.T)
    return hkl[order], {c.label: np.array(c)[order] for c in mtz.columns}


def test_map_file_has_its_columns_and_keeps_the_data(fine, demo):
    mtz = gemmi.read_mtz_file(str(fine / "refined.mtz"))
    types = {c.label: c.type for c in mtz.columns}
    for amplitude, phase in (("FWT", "PHWT"), ("DELFWT", "PHDELWT"), ("FC_ALL", "PHIC_ALL")):
        assert (types[amplitude], types[phase]) == ("F", "P")
    assert mtz.spacegroup.xhm() == "P 21 21 21"
    hkl, new = _columns(fine / "refined.mtz")
    old_hkl, old = _columns(demo / "1.8.mtz")
    np.testing.assert_array_equal(hkl, old_hkl)
    for label in ("F", "SIGF", "FreeR_flag"):
        np.testing.assert_array_equal(new[label], old[label])
    assert all(np.isfinite(new[label]).all() for label in new)


def test_model_amplitudes_give_the_recorded_r_factors(fine):
    _, columns = _columns(fine / "refined.mtz")
    f_obs, f_model = columns["F"].astype(float), columns["FC_ALL"].astype(float)
    final = _record(fine)["statistics"]["final"]
    for rows, name in (
        (columns["FreeR_flag"] != 0, "r_work"),
        (columns["FreeR_flag"] == 0, "r_free"),
    ):
        r = np.abs(f_obs - f_model)[rows].sum() / f_obs[rows].sum()
        assert r == pytest.approx(final[name], abs=1e-5)


def _spacing(path):
    """Return d of the reflections in the order of `_columns`."""
    mtz = gemmi.read_mtz_file(str(path))
    return mtz.make_d_array()[np.lexsort(mtz.make_miller_array().T)]


def _true_structure_factors(path, hkl, d_min):
    structure = gemmi.read_pdb(str(path))
    density = gemmi.DensityCalculatorX()
    density.d_min, density.rate = d_min, 2.0
    density.set_refmac_compatible_blur(structure[0])
    density.grid.setup_from(structure)
    density.put_model_density_on_grid(structure[0])
    grid = gemmi.transform_map_to_f_phi(density.grid)
    data = grid.prepare_asu_data(dmin=d_min - 0.01, unblur=density.blur)
    place = {tuple(h): f for h, f in zip(data.miller_array.tolist(), data.value_array, strict=True)}
    return np.array([place[tuple(h)] for h in hkl.tolist()])


def _correlation(a, b):
    return (a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())


def test_map_is_that_of_the_true_model(fine, demo):
    hkl, columns = _columns(fine / "refined.mtz")
    f_true = _true_structure_factors(demo / "truth.pdb", hkl, 1.8)
    expected = (2 * columns["F"] - np.abs(f_true)) * np.exp(1j * np.angle(f_true))
    found = columns["FWT"] * np.exp(1j * np.radians(columns["PHWT"]))
    detail = _spacing(fine / "refined.mtz") < 6  # the true model has no solvent
    assert _correlation(found[detail], expected[detail]) > 0.99
    # nothing of weight is left in the difference map
    assert (columns["DELFWT"] ** 2).sum() < 0.01 * (columns["FWT"] ** 2).sum()


def test_reflections_without_an_amplitude_are_filled_in(refine, demo, edited_mtz):
    f = np.array(gemmi.read_mtz_file(str(demo / "2.5.mtz")).column_with_label("F"))
    f[::10] = np.nan
    out = refine(demo / "start.pdb", edited_mtz(columns={"F": ("F", f)}))
    _, columns = _columns(out / "refined.mtz")
    missing = np.isnan(columns["F"])
    assert missing.sum() == len(f[::10])
    assert (columns["FWT"][missing] > 0).all()
    assert (columns["DELFWT"][missing] == 0).all()


# ---------------------------------------------------------------------- other formats


def _assert_same_occupancies(a, b, within=0.0):
    first, second = _occupancies(a), _occupancies(b)
    assert first.keys() == second.keys()
    assert max(abs(first[name] - second[name]) for name in first) <= within


def test_gzipped_inputs(refine, demo, coarse, tmp_path):
    for name in ("start.pdb", "2.5.mtz"):
        (tmp_path / name).write_bytes(gzip.compress((demo / name).read_bytes()))
    _assert_same_occupancies(refine(tmp_path / "start.pdb", tmp_path / "2.5.mtz"), coarse)


@pytest.fixture
def rich_cif(start_cif, tmp_path):
    """The starting model as mmCIF with a site column, categories and a block of its own."""
    block = start_cif[0]
    block.set_pair("_struct.title", "'A title; with \"quotes\"'")
    loop = block.init_loop("_pdbx_audit_revision_history.", ["ordinal", "revision_date"])
    loop.add_row(["1", "2020-01-01"])
    loop.add_row(["2", "2021-01-01"])
    sites = block.find_loop("_atom_site.id").get_loop()
    sites.add_columns(["_atom_site.my_note"], "'keep me'")
    start_cif.add_new_block("restraints").set_pair("_chem_comp.id", "GOL")
    start_cif.write_file(str(tmp_path / "model.cif"))
    return tmp_path / "model.cif"


def _tags(path):
    """Return the values of every tag of every block."""
    content = {}
    for block in gemmi.cif.read(str(path)):
        for item in block:
            if item.pair is not None:
                content[block.name, item.pair[0]] = [item.pair[1]]
            elif item.loop is not None:
                for number, tag in enumerate(item.loop.tags):
                    width, values = len(item.loop.tags), item.loop.values
                    content[block.name, tag] = values[number::width]
    return content


def test_mmcif_model_gives_the_same_and_keeps_its_categories(refine, demo, coarse, rich_cif):
    out = refine(rich_cif, demo / "2.5.mtz")
    _assert_same_occupancies(out, coarse)
    old, new = _tags(rich_cif), _tags(out / "refined.cif")
    name = gemmi.cif.read(str(rich_cif))[0].name
    esd, occupancy = (name, "_atom_site.occupancy_esd"), (name, "_atom_site.occupancy")
    assert esd in new
    assert set(old) < set(new)
    ours = ("_refine.", "_software.", "_atom_sites_alt.", "_atom_sites_alt_ens.",
            "_atom_sites_alt_gen.")  # fmt: skip
    assert all(tag.startswith(ours) for _, tag in set(new) - set(old) - {esd})
    assert [tag for tag in old if old[tag] != new[tag]] == [occupancy]


def test_mmcif_of_a_pdb_model_reads_back(coarse, command):
    again = command("groups", coarse / "refined.cif", "--format", "json")
    groups = {g["name"]: g["occupancy"] for g in json.loads(again.out)["groups"]}
    assert groups == pytest.approx(_occupancies(coarse), abs=1e-4)
    block = gemmi.cif.read(str(coarse / "refined.cif")).sole_block()
    uncertain = block.find_values("_atom_site.occupancy_esd")
    assert len(uncertain) == len(block.find_values("_atom_site.occupancy"))


def test_sf_mmcif_data_give_the_same(refine, demo, coarse, tmp_path):
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    mtz.column_with_label("F").label = "FP"
    mtz.column_with_label("SIGF").label = "SIGFP"
    (tmp_path / "data-sf.cif").write_text(gemmi.MtzToCif().write_cif_to_string(mtz))
    out = refine(demo / "start.pdb", tmp_path / "data-sf.cif")
    assert _record(out)["data"]["n_free"] == _record(coarse)["data"]["n_free"]
    # amplitudes have fewer digits in the text, and a cycle may end within 0.001
    _assert_same_occupancies(out, coarse, within=5e-4)


def test_intensities_are_refined_against(refine, demo, edited_mtz, truth):
    mtz = gemmi.read_mtz_file(str(demo / "1.8.mtz"))
    f, sigma = (np.array(mtz.column_with_label(label)) for label in ("F", "SIGF"))
    columns = {"F": None, "SIGF": None,
               "IMEAN": ("J", f**2), "SIGIMEAN": ("Q", 2 * f * sigma + sigma**2)}  # fmt: skip
    out = refine(demo / "start.pdb", edited_mtz(columns=columns, source="1.8.mtz"))
    record = _record(out)
    assert record["inputs"]["labels"] == ["IMEAN", "SIGIMEAN"]
    assert record["statistics"]["final"]["r_work"] < 0.04
    assert _largest_error(out, truth) < 0.03
    labels = {c.label for c in gemmi.read_mtz_file(str(out / "refined.mtz")).columns}
    assert {"F", "SIGF", "IMEAN", "SIGIMEAN"} <= labels


# ---------------------------------------------------------------------- groups and simulate


def test_groups_as_json(command, demo, fine):
    called = command("groups", demo / "start.pdb", "--format", "json")
    assert (called.status, called.err) == (0, "")
    groups = json.loads(called.out)
    _check(groups, {
        "groups": [{"name": str, "atom_indices": [int], "occupancy": NUMBER, "refined": bool,
                    "set": (str, type(None)), "why": str}],
        "sets": [{"name": str, "groups": [str], "total": NUMBER, "complete": bool}],
    })  # fmt: skip
    record = _record(fine)
    assert groups["sets"] == record["sets"]
    for mine, theirs in zip(groups["groups"], record["groups"], strict=True):
        assert all(mine[key] == theirs[key] for key in ("name", "atom_indices", "refined", "set"))


def test_groups_go_to_a_file(command, demo, tmp_path):
    arguments = ("groups", demo / "start.pdb", "--format", "json")
    called = command(*arguments, "--output", tmp_path / "groups.json")
    assert (called.status, called.out, called.err) == (0, "", "")
    assert (tmp_path / "groups.json").read_text() == command(*arguments).out


def test_groups_as_a_table(command, demo):
    called = command("groups", demo / "start.pdb")
    assert called.status == 0
    for words in ("16 refined of 66 groups, 6 sets", "A/17/GLU:B", "50 groups are held"):
        assert words in called.out


def test_simulate_is_decided_by_its_seed(command, demo, tmp_path):
    def simulated(name, seed):
        out = tmp_path / name
        called = command(
            "simulate", demo / "truth.pdb", "--d-min", 4, "--seed", seed, "--out", out
        )  # fmt: skip
        assert (called.status, called.out) == (0, "")
        return out.read_bytes()

    assert simulated("a.mtz", 5) == simulated("b.mtz", 5)
    assert simulated("c.mtz", 6) != simulated("d.mtz", 5)
