"""The basis of groups: F_calc linear in occupancies, against direct summation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crystals import CRYSTALS, load_crystal, random_atoms
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.errors import StaleBasisError
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.scattering.columns import (
    StoredColumns,
    StreamedColumns,
)


@pytest.mark.parametrize("group", list(CRYSTALS))
def test_f_calc_is_that_of_direct_summation(group, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", group, random_atoms(12, 7, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    basis = group_basis(model, hkl)
    occupancy = np.random.default_rng(1).uniform(0, 1, len(basis.groups))
    per_group = model.group_occupancies()
    per_group[basis.groups] = occupancy
    model.occupancy.set_values(torch.as_tensor(per_group[model.occupancy_groups.index]))
    with torch.no_grad():
        reference = structure_factors(model, hkl, method="direct").numpy()
    error = np.abs(basis.f_calc(occupancy) - reference).sum() / np.abs(reference).sum()
    assert error < 5e-4  # the held atoms go through the grid
    everything = group_basis(model, hkl, np.arange(len(per_group)))
    error = np.abs(everything.f_calc(model.group_occupancies()) - reference).sum()
    assert error / np.abs(reference).sum() < 1e-6  # nothing is held: direct summation alone


def test_a_changed_model_makes_it_stale(tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1 21 1", random_atoms(6, 7))
    hkl = unique_reflections(model.cell, model.spacegroup, 2.5)
    basis = group_basis(model, hkl)
    basis.check(model)
    model.occupancy.set_group_occupancy(int(basis.groups[0]), 0.1234)
    basis.check(model)  # what the basis is linear in may move
    with torch.no_grad():
        model.xyz.refinable_params[0] += 0.01
    with pytest.raises(StaleBasisError, match="coordinates"):
        basis.check(model)


@pytest.mark.parametrize("disk", [True, False], ids=["filed", "streamed"])
def test_past_the_memory_limit_it_is_the_same(tmp_path, monkeypatch, disk):
    if not disk:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = load_crystal(tmp_path / "c.pdb", "P 31 2 1", random_atoms(12, 7, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    stored, other = group_basis(model, hkl), group_basis(model, hkl, memory_limit=1)
    assert isinstance(stored.columns, StoredColumns)
    assert isinstance(other.columns, StoredColumns if disk else StreamedColumns)
    assert not stored.columns.filed
    assert not disk or other.columns.filed
    assert other.columns.block_size < stored.columns.block_size
    q = np.linspace(0.2, 0.8, stored.columns.n_groups)
    for b in (None, np.linspace(-2, 3, len(q))):
        assert np.allclose(other.f_calc(q, b), stored.f_calc(q, b), rtol=1e-5)
    assert np.allclose(
        other.columns.members(np.array([2, 0])), stored.columns.members(np.array([2, 0])), atol=1e-4
    )
    some, weights = np.array([2, 0]), np.array([0.3, -0.6])
    wanted = complex_columns(stored)[some].T @ weights
    for columns in (stored.columns, other.columns):
        assert np.allclose(columns.sum_of(some, weights), wanted, atol=1e-4)
    for rows in (slice(0, 256), slice(256, 300)):
        for mine, theirs in zip(other.columns.parts(rows), stored.columns.parts(rows), strict=True):
            assert np.allclose(mine, theirs, atol=1e-5)
    assert not list(tmp_path.glob("tmp*"))  # the file has no name, and goes with the array


def complex_columns(basis):
    real, imaginary = basis.columns.members(np.arange(len(basis.groups)))
    return real + 1j * imaginary


def test_large_groups_go_through_the_grid(tmp_path, monkeypatch):
    model = load_crystal(tmp_path / "c.pdb", "C 1 2 1", random_atoms(12, 7, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    direct = complex_columns(group_basis(model, hkl))
    monkeypatch.setattr("multicopy_refinement.scattering.columns._DIRECT", 1e3)
    grid = complex_columns(group_basis(model, hkl))
    assert not np.array_equal(grid, direct)
    assert np.abs(grid - direct).sum() / np.abs(direct).sum() < 1e-3


def test_torch_route_is_structure_factors_and_its_gradient(tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1 21 1", random_atoms(8, 7))
    hkl = unique_reflections(model.cell, model.spacegroup, 2.0)
    basis = group_basis(model, hkl)
    raw = model.occupancy.refinable_params
    results = []
    for f in (
        basis.structure_factors(model.occupancy()),
        structure_factors(model, hkl, method="direct"),
    ):
        (gradient,) = torch.autograd.grad((f.abs() ** 2).sum(), raw)
        results.append((f.detach(), gradient))
    (f_basis, g_basis), (f_direct, g_direct) = results
    assert float((f_basis - f_direct).abs().sum() / f_direct.abs().sum()) < 5e-4
    assert float((g_basis - g_direct).norm() / g_direct.norm()) < 1e-3
