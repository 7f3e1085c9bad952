"""Real models with their data, warts included: columns, free set, agreement and refinement."""

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest

from multicopy_refinement.io.columns import Quantity
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.refinement import refine


@dataclass(frozen=True)
class Case:
    """A data set and what is known of it; R factors are those of another program."""

    folder: str
    columns: tuple[str, str]
    free: tuple[str | None, int | None, float]
    r_work: float
    r_free: float | None
    model: str = "model.pdb"
    data: str = "data.mtz"


F, FOBS = ("F", "SIGF"), ("FOBS", "SIGFOBS")
FP, IOBS, IMEAN = ("FP", "SIGFP"), ("IOBS", "SIGIOBS"), ("IMEAN", "SIGIMEAN")
PHENIX, CCP4 = "R-free-flags", "FreeR_flag"
CASES = [
    Case("1g8a", IOBS, (PHENIX, 0, 0.05), 0.216, 0.238),
    Case("mpro-x0107", F, (CCP4, 0, 0.05), 0.207, 0.275),
    Case("4cjl", FOBS, (PHENIX, 0, 0.05), 0.215, 0.237),
    Case("2xiu", IOBS, (PHENIX, 0, 0.05), 0.148, 0.194),
    Case("6pgy", IOBS, (PHENIX, 1, 0.05), 0.160, 0.183),
    Case("4hg7", FP, (CCP4, 0, 0.05), 0.176, 0.211, data="data-sf.cif"),
    Case("1aie", FOBS, (PHENIX, 0, 0.11), 0.212, 0.254),
    Case("1dur", FP, (CCP4, 0, 0.085), 0.148, 0.135),
    Case("6mw0", IMEAN, (None, None, 0.0), 0.142, None, "model.cif", "data-sf.cif"),
    Case("sh2185-cu", IMEAN, ("FREE", 0, 0.055), 0.032, None, "model.cif"),
    Case("baz2b/x430", F, (CCP4, 0, 0.05), 0.19, 0.21),
    Case("baz2b/x435", F, (CCP4, 0, 0.05), 0.19, 0.21),
    # the R-free known for the series is that of the two others
    Case("baz2b/x438", F, (CCP4, 0, 0.05), 0.19, None),
]


def _load(root, case):
    model = Model().load(root / case.folder / case.model)
    data = read_reflections(
        root / case.folder / case.data, cell=model.cell, spacegroup=model.spacegroup
    )
    return model, data


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_data_set(case, shared_data):
    model, data = _load(shared_data, case)
    label, value, fraction = case.free
    assert data.labels.observations == case.columns
    assert (data.labels.free_label, data.labels.free_value) == (label, value)
    assert data.free.mean() == pytest.approx(fraction, abs=0.006)

    solution = refine(model, data)
    initial, final = solution.initial, solution.final
    assert initial.r_work == pytest.approx(case.r_work, abs=0.015)
    if case.r_free is not None:
        assert initial.r_free == pytest.approx(case.r_free, abs=0.015)
    assert (initial.r_free is None) == (label is None)
    codes = {notice.code for notice in (*model.notices, *solution.notices)}
    if final.log_likelihood < initial.log_likelihood:  # the file's values had to be averaged
        assert {"uneven_part", "worse_than_file"} <= codes
    assert solution.status.converged

    assert (solution.occupancy >= 0).all()
    assert (solution.occupancy <= 1).all()
    held = ~solution.groups.refined
    np.testing.assert_array_equal(solution.occupancy[held], solution.groups.occupancy[held])
    for group_set in solution.groups.sets:
        total = solution.occupancy[list(group_set.groups)].sum()
        hundredths = solution.groups.rounded(solution.occupancy, 2)[list(group_set.groups)] * 100
        if group_set.complete:
            assert total == pytest.approx(1, abs=1e-9)
            assert sum(round(v) for v in hundredths) == 100
        else:  # a water on a special position, or altlocs of a ligand or water
            assert group_set.total in ({0.25, 0.5} if len(group_set.groups) == 1 else {1.0})
            assert total <= group_set.total + 1e-9
            assert sum(round(v) for v in hundredths) <= 100 * group_set.total

    if case.folder == "mpro-x0107":
        ligand = next(state for state in solution.states if "LIG" in state.name)
        assert 0.55 < ligand.occupancy < 0.75
        assert ligand.flags == ()
        assert final.r_work <= initial.r_work
    if case.folder == "1g8a":
        assert final.r_work <= 0.2175
        assert final.r_free <= initial.r_free + 0.0005


def test_1g8a_says_what_it_did_not_use(shared_data):
    path = shared_data / "1g8a" / "data.mtz"
    notices = {notice.code: notice for notice in read_reflections(path).notices}
    assert "also there: FOBS" in notices["columns_chosen"].message
    data = read_reflections(path, prefer=Quantity.AMPLITUDE)
    assert len(data) == 42_656
    notices = {notice.code: notice for notice in data.notices}
    assert "also there: IOBS" in notices["columns_chosen"].message
    assert len(notices["reflections_zero"].atoms) == 43_002 - 42_656
    assert len(data.unobserved_hkl) == 43_002 - 42_656


def test_1dur_has_the_same_groups_in_pdb_and_mmcif(shared_data):
    models = [Model().load(shared_data / "1dur" / f"model.{s}") for s in ("pdb", "cif")]
    a, b = (model.occupancy_groups for model in models)
    assert a.names == b.names
    np.testing.assert_array_equal(a.index, b.index)
    np.testing.assert_array_equal(a.occupancy, b.occupancy)
    np.testing.assert_array_equal(a.refined, b.refined)
    assert a.refined.sum() >= 61


def test_1dur_waters_above_one_are_named_and_held_at_one(shared_data):
    model = Model().load(shared_data / "1dur" / "model.pdb")
    (notice,) = (n for n in model.notices if n.code == "occupancy_above_1")
    above = model.table.labels(model.table.occupancy > 1)
    assert notice.atoms == above
    assert len(above) == 15
    for label in above:
        assert re.search(rf"{label} \(1\.\d\d\)", notice.message)
    occupancy = model.occupancy().detach().numpy()
    assert (occupancy[model.table.occupancy > 1] == 1).all()
    assert model.table.occupancy.max() == 1.35


def test_mpro_ground_and_bound_states_sum_over_four_letters(shared_data):
    model = Model().load(shared_data / "mpro-x0107" / "model.pdb")
    groups = model.occupancy_groups
    letters = {"".join(sorted(groups.names[g][-1] for g in s.groups)) for s in groups.sets}
    assert "ABCD" in letters
    assert any("/LIG:" in name for name in groups.names)


def test_command_line_on_a_real_model(shared_data, command, tmp_path):
    folder = shared_data / "1aie"
    inputs = (folder / "model.pdb", folder / "data.mtz")
    called = command("refine", *inputs, "--out", tmp_path / "out", "--quiet")
    assert (called.status, called.out) == (0, "")
    # what spoils a result is said all the same
    assert called.err.startswith("Warning: 3 atoms on special positions have more than")
    assert called.err.count("Warning") == 1
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["statistics"]["initial"]["r_work"] == pytest.approx(0.212, abs=0.015)
    assert record["data"]["n_free"] == 609
