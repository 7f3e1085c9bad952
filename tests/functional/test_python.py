"""What is passed in Python where a model or data is, and how results are asked for."""

import gemmi
import numpy as np
import pandas as pd
import pytest
import torch

import multicopy_refinement
from multicopy_refinement import Model, read_reflections, refine
from multicopy_refinement.errors import MulticopyError, UnknownNameError


@pytest.fixture(scope="module")
def solution(demo):
    return refine(demo / "start.pdb", demo / "2.5.mtz")


def test_names_are_there_before_they_are_used():
    assert {"Model", "refine", "read_reflections"} <= set(dir(multicopy_refinement))
    assert "Solution" in dir(multicopy_refinement.refinement)


def test_a_model_is_loaded_at_once_from_a_path_or_a_structure(demo):
    by_path = Model(demo / "start.pdb")
    assert by_path.xyz().dtype == torch.float64
    by_structure = Model(gemmi.read_structure(str(demo / "start.pdb")))
    assert torch.equal(by_structure.xyz(), by_path.xyz())
    assert by_structure.occupancy_groups.names == by_path.occupancy_groups.names
    assert torch.equal(by_structure.occupancy(), by_path.occupancy())


def test_data_are_a_file_or_what_is_in_memory(demo, solution):
    path = demo / "2.5.mtz"
    model, from_file = Model(demo / "start.pdb"), read_reflections(path)
    mtz = gemmi.read_mtz_file(str(path))
    frame = pd.DataFrame(np.array(mtz.array), columns=mtz.column_labels())
    frame = frame.astype({"H": int, "K": int, "L": int}).set_index(["H", "K", "L"])
    for name in frame.columns:
        if mtz.column_with_label(name).type == "I":
            frame[name] = frame[name].astype(int)
    crystal = {"cell": model.cell, "spacegroup": model.spacegroup}
    for source in (mtz, frame, frame.reset_index()):
        found = read_reflections(source, **crystal)
        assert np.array_equal(found.hkl, from_file.hkl)
        assert np.array_equal(found.f_obs, from_file.f_obs)
        assert np.array_equal(found.sigma, from_file.sigma)
        assert np.array_equal(found.free, from_file.free)
    again = refine(Model(demo / "start.pdb"), mtz)
    assert np.allclose(again.occupancy, solution.occupancy, atol=1e-9)


def test_a_wrong_thing_is_one_error_that_says_what_to_pass(demo):
    with pytest.raises(MulticopyError, match=r"gemmi\.Structure, not int"):
        Model(3)
    with pytest.raises(MulticopyError, match=r"gemmi\.Mtz.*not list"):
        refine(demo / "start.pdb", [1, 2])
    with pytest.raises(MulticopyError, match="no H, K, L"):
        refine(demo / "start.pdb", pd.DataFrame({"F": [1.0]}))
    with pytest.raises(MulticopyError, match="cell="):
        read_reflections(pd.DataFrame({"H": [1], "K": [0], "L": [0], "F": [1.0]}))


def test_results_by_name_and_as_a_table(solution):
    found = solution["A/201/GOL"]
    assert found.occupancy == solution.ligands[0].occupancy
    assert str(found).startswith("A/201/GOL  0.")
    name = solution.groups.names[int(np.flatnonzero(solution.groups.refined)[0])]
    table = solution.to_dataframe()
    assert table.index.name == "group"
    assert table.loc[name, "occupancy"] == solution[name].occupancy
    assert len(table) == solution.groups.refined.sum()
    with pytest.raises(UnknownNameError, match=r"like it: .*A/201/GOL") as fault:
        solution["A/201/GLO"]
    assert isinstance(fault.value, KeyError)
