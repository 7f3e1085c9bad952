"""Inputs made from the package's own demonstration crystal."""

from importlib.resources import files

import gemmi
import numpy as np
import pytest
import torch

from multicopy_refinement.model import Model
from multicopy_refinement.simulate import simulate, write_simulated


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A folder with start.pdb, truth.pdb, and data of the truth to 2.5 and 1.8 A."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("start.pdb", "truth.pdb"):
        source = files("multicopy_refinement") / "demo" / name
        (folder / name).write_bytes(source.read_bytes())
    truth = Model(dtype_float=torch.float64).load(folder / "truth.pdb")
    for d_min in (2.5, 1.8):
        write_simulated(simulate(truth, d_min, seed=1), truth, folder / f"{d_min}.mtz")
    return folder


@pytest.fixture
def own_files(demo, tmp_path, monkeypatch):
    """A folder with model.pdb and data.mtz, as a user has them, to run in."""
    for name, source in (("model.pdb", "start.pdb"), ("data.mtz", "2.5.mtz")):
        (tmp_path / name).write_bytes((demo / source).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start_cif(demo):
    """The starting model as an mmCIF block."""
    return gemmi.read_pdb(str(demo / "start.pdb")).make_mmcif_document()


@pytest.fixture
def edited_mtz(demo, tmp_path):
    """A function that writes the 2.5 A data with columns, cell or space group changed.

    ``columns`` maps labels to (MTZ type, values); None drops the column.
    """

    def write(name="data.mtz", *, columns=None, cell=None, spacegroup=None, source="2.5.mtz"):
        old = gemmi.read_mtz_file(str(demo / source))
        table = {c.label: (c.type, np.array(c)) for c in old.columns}
        table.update(columns or {})
        table = {label: value for label, value in table.items() if value is not None}
        new = gemmi.Mtz(with_base=True)
        new.spacegroup = gemmi.SpaceGroup(spacegroup) if spacegroup else old.spacegroup
        new.set_cell_for_all(gemmi.UnitCell(*cell) if cell else old.cell)
        new.add_dataset("edited")
        for label, (kind, _) in table.items():
            if label not in "HKL":
                new.add_column(label, kind)
        rows = np.column_stack([values for _, values in table.values()])
        new.set_data(np.ascontiguousarray(rows, dtype=np.float32))
        new.write_to_file(str(tmp_path / name))
        return tmp_path / name

    return write
