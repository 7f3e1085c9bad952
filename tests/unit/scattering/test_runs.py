"""Runs of reflections, along which sums over the atoms of groups go."""

import numpy as np
import pytest
import torch

from crystals import load_crystal, random_atoms
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.columns import direct_columns
from multicopy_refinement.scattering.direct_tables import Runs


def some_reflections(model, d_min=1.8, part=0.8):
    hkl = unique_reflections(model.cell, model.spacegroup, d_min)
    random = np.random.default_rng(3)
    return random.permutation(hkl)[: int(part * len(hkl))]


@pytest.mark.parametrize("part", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("group", ["P 1", "P 65 2 2"])
def test_runs_go_on_by_one_along_one_axis(tmp_path, group, part):
    hkl = some_reflections(load_crystal(tmp_path / "c.pdb", group, random_atoms(1, 1)), part=part)
    runs = Runs.of(hkl)
    assert (np.sort(runs.order) == np.arange(len(hkl))).all()
    assert runs.begin[0] == 0
    assert runs.begin[-1] == len(hkl)
    u, v, w = runs.axes.tolist()
    for first, last in zip(runs.begin[:-1], runs.begin[1:], strict=True):
        own = hkl[runs.order[first:last]]
        assert 0 < len(own) <= 32
        assert np.ptp(own[:, u]) == np.ptp(own[:, v]) == 0
        assert (np.diff(own[:, w]) == 1).all()
    assert runs.blocks[0] == 0
    assert runs.blocks[-1] == len(runs.begin) - 1
    assert (np.diff(runs.begin[runs.blocks]) > 0).all()
    assert (np.diff(runs.begin[runs.blocks]) < 512 + 32).all()


def test_an_order_is_kept_that_gives_like_runs(tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1", random_atoms(1, 1))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    for axis in range(3):
        own = hkl[np.lexsort(np.roll(hkl, -axis - 1, axis=1).T[::-1])]
        runs = Runs.of(own)
        assert runs.axes[2] == axis
        assert (runs.order == np.arange(len(own))).all()


def test_one_reflection_is_a_run():
    runs = Runs.of(np.array([[1, 2, 3]]))
    assert runs.begin.tolist() == [0, 1]
    assert runs.blocks.tolist() == [0, 1]


@pytest.mark.parametrize("anisotropic", [True, False])
@pytest.mark.parametrize("factor", [1.0, 60.0])
def test_sums_are_those_of_single_reflections(tmp_path, monkeypatch, anisotropic, factor):
    """Also where a displacement is so large that what is far from the middle of a run is 0."""
    model = load_crystal(
        tmp_path / "c.pdb", "P 1 21 1", random_atoms(6, 7, anisotropic=anisotropic)
    )
    with torch.no_grad():
        moved = model.u_aniso if anisotropic else model.b_iso
        moved.refinable_params.mul_(factor)
        atoms = atoms_of(model).double()
    hkl, group = some_reflections(model, 1.2), np.zeros(6, np.int64)
    real, imaginary = direct_columns(atoms, group, 1, hkl)
    found = (real + 1j * imaginary)[0]
    monkeypatch.setattr("multicopy_refinement.scattering.direct_tables._RUN", 1)
    assert len(Runs.of(hkl).begin) == len(hkl) + 1
    single = direct_columns(atoms, group, 1, hkl)
    assert np.allclose(found, (single[0] + 1j * single[1])[0], rtol=3e-7, atol=1e-30)
    if factor == 1:  # the table of form factors is for B of some 100 A^2
        with torch.no_grad():
            model.occupancy.set_values(torch.ones(len(model.table), dtype=torch.float64))
            reference = structure_factors(model, hkl, method="direct").numpy()
        assert np.abs(found - reference).max() < 3e-6 * np.abs(reference).max()
