"""One truth a quantity: model, solution and files of a run all have the same structure factors."""

import gemmi
import numpy as np
import pytest
import torch

from demo_data import DEMO, simulate_demo
from multicopy_refinement import Model, RefineOptions, read_reflections, refine, structure_factors
from multicopy_refinement.results.files import write_model_and_maps

#: What rounding in the files may cost: B to 0.01 A^2, occupancies to 0.0001 and to 0.01.
ENGINE, MMCIF, PDB = 1e-4, 3e-4, 4e-3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "data.mtz"
    simulate_demo(path, 2.5, seed=1)
    return read_reflections(path)


def start_file(folder, displacement: str, suffix: str):
    """Write the demo's starting model, isotropic or with every second atom anisotropic."""
    structure = gemmi.read_pdb(str(DEMO / "start.pdb"))
    if displacement == "anisotropic":
        for number, site in enumerate(structure[0].all()):
            u = site.atom.b_iso / (8 * np.pi**2)
            if number % 2:
                site.atom.aniso = gemmi.SMat33f(0.7 * u, 1.1 * u, 1.2 * u, 0.1 * u, 0, -0.1 * u)
    path = folder / f"start{suffix}"
    if suffix == ".pdb":
        structure.write_pdb(str(path))
    else:
        structure.make_mmcif_document().write_file(str(path))
    return path


def f_calc(model: Model, hkl) -> np.ndarray:
    with torch.no_grad():
        return structure_factors(model, hkl, accuracy=1e-5).numpy()


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def check(model: Model, solution, folder) -> None:
    """Check that F of the model, of the solution and of the files agree."""
    data = solution.experiment.data
    hkl, n = data.listed_hkl, len(data)
    truth = f_calc(model, hkl)
    assert difference(solution.listed_f_calc, truth) < ENGINE
    assert np.allclose(model.group_occupancies(), solution.occupancy, atol=2e-6)
    folder.mkdir()
    write_model_and_maps(model, solution, folder)
    for name, rounding in (("refined.cif", MMCIF), ("refined.pdb", PDB)):
        again = Model(dtype_float=torch.float64).load(folder / name)
        assert difference(f_calc(again, hkl), truth) < rounding, name
        for quantity, digit in (("b_iso", 0.006), ("u_aniso", 6e-5)):
            mine, theirs = (getattr(m, quantity)().detach().numpy() for m in (model, again))
            compared = ~model.table.anisotropic if quantity == "b_iso" else slice(None)
            assert np.abs(mine - theirs)[compared].max() < digit, (name, quantity)
        u = again.table.u_aniso[again.table.anisotropic]
        b = again.table.b_iso[again.table.anisotropic]
        assert np.abs(b - 8 * np.pi**2 * u[:, :3].mean(axis=1)).max(initial=0.0) < 0.02
    mtz = gemmi.read_mtz_file(str(folder / "refined.mtz"))
    size, phase = (np.array(mtz.column_with_label(c)) for c in ("FC_ALL", "PHIC_ALL"))
    at = {tuple(h): i for i, h in enumerate(mtz.make_miller_array().tolist())}
    rows = [at[tuple(h)] for h in hkl[:n].tolist()]
    written = (size * np.exp(1j * np.radians(phase)))[rows]
    with torch.no_grad():
        expected = solution.experiment(torch.as_tensor(truth[:n])).numpy()
    assert difference(written, expected) < ENGINE


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
@pytest.mark.parametrize("parameters", ["occupancy", "occupancy,b_group"])
@pytest.mark.parametrize("displacement", ["isotropic", "anisotropic"])
def test_model_solution_and_files_agree(data, tmp_path, displacement, parameters, suffix):
    model = Model(dtype_float=torch.float64).load(start_file(tmp_path, displacement, suffix))
    assert model.table.anisotropic.any() == (displacement == "anisotropic")
    options = RefineOptions(parameters=parameters, b_prior=5.0)
    for number in ("first", "second"):
        before = model.b_iso().detach().numpy(), model.u_aniso().detach().numpy()
        solution = refine(model, data, options)
        check(model, solution, tmp_path / number)
        after = model.b_iso().detach().numpy(), model.u_aniso().detach().numpy()
        moved = max(np.abs(a - b).max() for a, b in zip(after, before, strict=True))
        if parameters == "occupancy":
            assert moved == 0
        elif number == "first":
            first_shift = np.nanmax(np.abs(solution.results.delta_b))
            assert moved > 1
        else:  # the second begins where the first has ended
            assert np.nanmax(np.abs(solution.results.delta_b)) < 0.5 * first_shift


def test_b_factors_that_were_changed_in_torch_are_the_start(data, tmp_path):
    """As after a refinement of B with a loss of one's own: the file's B are the past."""
    for parameters in ("occupancy", "occupancy,b_group"):
        path = start_file(tmp_path, "anisotropic", ".cif")
        model = Model(dtype_float=torch.float64).load(path)
        isotropic = torch.as_tensor(~model.table.anisotropic)
        b = model.b_iso().detach()
        model.b_iso.set_values(torch.where(isotropic, b + 7.0, b))
        model.u_aniso.set_values(1.3 * model.u_aniso().detach())
        held = ~model.occupancy_groups.refined[model.occupancy_groups.index]
        expected = model.b_iso().detach().numpy()[held], model.u_aniso().detach().numpy()[held]
        solution = refine(model, data, RefineOptions(parameters=parameters))
        check(model, solution, tmp_path / parameters)
        found = model.b_iso().detach().numpy()[held], model.u_aniso().detach().numpy()[held]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
