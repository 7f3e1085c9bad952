"""What "before" is where the file's occupancies cannot stay, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crystals import CRYST1
from demo_data import DEMO, load_demo, observe
from helpers import atom_line, write_text
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.refinement.before import as_written, rise_of_r_free
from multicopy_refinement.scattering import structure_factors

LINES = [
    atom_line("CB", "SER", 1, 0.8, altloc="A", xyz=(5.0, 5.0, 5.0)),
    atom_line("OG", "SER", 1, 0.6, altloc="A", xyz=(6.2, 5.3, 5.4)),
    atom_line("CB", "SER", 1, 0.5, altloc="B", xyz=(5.2, 5.8, 5.5)),
    atom_line("OG", "SER", 1, 0.5, altloc="B", xyz=(6.5, 6.3, 5.0)),
    atom_line("O", "HOH", 2, 1.3, xyz=(9.0, 3.0, 7.0), record="HETATM"),
    atom_line("O", "HOH", 3, 0.4, xyz=(3.0, 9.0, 2.0), record="HETATM"),
]


def loaded(tmp_path) -> Model:
    text = "\n".join([CRYST1.rstrip(), *LINES, "END", ""])
    return Model(dtype_float=torch.float64).load(write_text(tmp_path / "m.pdb", text))


def test_structure_factors_of_the_file_are_those_of_its_own_occupancies(tmp_path):
    model = loaded(tmp_path)
    hkl = np.array([[1, 2, 3], [4, 0, 1], [0, 5, 2], [3, 3, 3], [7, 1, 0]])
    written = torch.as_tensor(model.table.occupancy)

    class File:
        """The model with the occupancies of its file."""

        def __getattr__(self, name):
            return getattr(model, name)

        def occupancy(self):
            return written

    occupancy, change = as_written(model, hkl)
    with torch.no_grad():
        wanted = structure_factors(File(), hkl, method="direct").numpy()
        now = structure_factors(model, hkl, method="direct").numpy()
    assert np.abs(now + change - wanted).max() < 2e-3 * np.abs(wanted).max()
    assert np.abs(now - wanted).max() > 0.02 * np.abs(wanted).max()
    assert occupancy == pytest.approx([0.7, 0.5, 1.0, 0.4])


def test_what_was_assigned_since_is_what_before_is(tmp_path):
    model = loaded(tmp_path)
    values = np.array([0.3, 0.7, 0.9, 0.2])
    model.assign_group_occupancies(values)
    occupancy, change = as_written(model, np.array([[1, 2, 3]]))
    assert change is None
    assert occupancy == pytest.approx(values)


def test_a_file_that_was_better_is_said(tmp_path):
    """The truth has two values in one conformer, as the file has; the group has their mean."""
    text = (DEMO / "truth.pdb").read_text()
    lines = [
        f"{line[:54]}{0.30 if line[12:16].strip() == 'CZ' else 0.70:6.2f}{line[60:]}"
        if line[16:20] == "AARG" and line[22:26].strip() == "27" else line
        for line in text.splitlines()
    ]  # fmt: skip
    path = write_text(tmp_path / "uneven.pdb", "\n".join(lines) + "\n")
    model = Model(dtype_float=torch.float64).load(path)
    data = observe(load_demo("truth.pdb"), 2.0)
    f, scale = structure_factors_as_written(model, data.hkl)
    data = replace(data, f_obs=data.f_obs * scale(f))
    solution = refine(model, data, RefineOptions(decoys=0))
    assert "uneven_part" in {notice.code for notice in model.notices}
    assert solution.initial.log_likelihood > solution.final.log_likelihood
    assert "worse_than_file" in {notice.code for notice in solution.notices}


def structure_factors_as_written(model: Model, hkl):
    """Return |F| of the file over that of the model, as a function for amplitudes."""
    _, change = as_written(model, hkl)
    with torch.no_grad():
        now = structure_factors(model, hkl).numpy()
    return now, lambda f: np.abs(f + change) / np.maximum(np.abs(f), 1e-6)


def test_a_rise_of_r_free_is_said_beyond_its_error():
    assert rise_of_r_free(None) == ()
    assert rise_of_r_free((0.001, 0.002)) == ()
    assert rise_of_r_free((-0.01, 0.002)) == ()
    assert rise_of_r_free((2e-5, 1e-6)) == ()  # nobody would see it
    (notice,) = rise_of_r_free((0.004, 0.002))
    assert notice.code == "r_free_rises"
    assert "0.0040" in notice.message
    assert "0.0020" in notice.message
