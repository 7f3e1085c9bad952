"""J v and J' c of structure factors by the grid: one sum, and that of direct summation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crystals import load_crystal, random_atoms
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scattering.atom_slopes import atom_slopes, unknowns_of_atoms
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.compiled import SplatJacobian
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.plan import plan_splat
from multicopy_refinement.units import EIGHT_PI_SQUARED

GROUPS = ("P 1", "P 21 21 21", "P 31 2 1", "C 1 2 1")


def setting(tmp_path, group, accuracy):
    model = load_crystal(tmp_path / "m.pdb", group, random_atoms(40, 3, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    atoms = atoms_of(model).double()
    return atoms, hkl, SplatJacobian(atoms, hkl, plan_splat(atoms, 1.8, accuracy=accuracy))


def change_of(atoms, seed=5):
    random = np.random.default_rng(seed)
    n = len(atoms)
    u = random.normal(size=(n, 6))
    isotropic = ~atoms.anisotropic.numpy()
    u[isotropic, :3], u[isotropic, 3:] = random.normal(size=(int(isotropic.sum()), 1)), 0.0
    return random.normal(size=n), random.normal(size=(n, 3)), u


@pytest.mark.parametrize("group", GROUPS)
def test_j_and_its_adjoint_are_of_one_sum(tmp_path, group):
    atoms, hkl, jacobian = setting(tmp_path, group, 1e-6)
    random = np.random.default_rng(1)
    v = change_of(atoms)
    c = random.normal(size=len(hkl)) + 1j * random.normal(size=len(hkl))
    forward = (c.conj() * jacobian.times(*v)).sum().real
    back = sum((a * b).sum() for a, b in zip(v, jacobian.adjoint(c), strict=True))
    assert forward == pytest.approx(back, rel=1e-10)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("part", ["occupancy", "xyz", "u"])
def test_j_v_is_the_finite_difference_of_direct_summation(tmp_path, group, part):
    atoms, hkl, jacobian = setting(tmp_path, group, 1e-7)
    occupancy, xyz, u = change_of(atoms)
    zero = np.zeros_like
    v = {
        "occupancy": (occupancy, zero(xyz), zero(u)),
        "xyz": (zero(occupancy), xyz, zero(u)),
        "u": (zero(occupancy), zero(xyz), u),
    }[part]
    step = 1e-5

    def moved(sign):
        d_q, d_xyz, d_u = (torch.as_tensor(sign * step * x) for x in v)
        b = atoms.b_iso + EIGHT_PI_SQUARED * d_u[:, 0]
        moved = direct_sum(
            replace(atoms, occupancy=atoms.occupancy + d_q, xyz=atoms.xyz + d_xyz,
                    u=atoms.u + d_u, b_iso=b), hkl,
        )  # fmt: skip
        return moved.numpy()

    expected = (moved(1) - moved(-1)) / (2 * step)
    found = jacobian.times(*v)
    assert np.linalg.norm(found - expected) < 3e-6 * np.linalg.norm(expected)


def test_at_the_accuracy_of_everyday_the_adjoint_agrees_to_single_precision(tmp_path):
    atoms, _, jacobian = setting(tmp_path, "P 21 21 21", 1e-4)
    v = change_of(atoms)
    f = jacobian.times(*v)
    back = sum((a * b).sum() for a, b in zip(v, jacobian.adjoint(f), strict=True))
    assert (np.abs(f) ** 2).sum() == pytest.approx(back, rel=1e-5)


def test_atoms_that_do_not_change_cost_nothing_and_add_nothing(tmp_path):
    atoms, hkl, jacobian = setting(tmp_path, "P 1", 1e-6)
    zeros = np.zeros(len(atoms)), np.zeros((len(atoms), 3)), np.zeros((len(atoms), 6))
    assert not jacobian.times(*zeros).any()
    assert np.allclose(jacobian.factors(), direct_sum(atoms, hkl).numpy(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("tensors", [False, True])
def test_slopes_are_the_columns_of_the_jacobian(tmp_path, group, tensors):
    atoms, hkl, jacobian = setting(tmp_path, group, 1e-7)
    random = np.random.default_rng(2)
    along = random.normal(size=len(hkl)) + 1j * random.normal(size=len(hkl))
    tensor = atoms.anisotropic.numpy() & tensors
    found = atom_slopes(atoms, hkl, along, tensor)
    offset = unknowns_of_atoms(tensor)
    assert len(found) == offset[-1]
    for atom in (0, 1, 17):
        for k in range(offset[atom + 1] - offset[atom]):
            occupancy, xyz = np.zeros(len(atoms)), np.zeros((len(atoms), 3))
            u = np.zeros((len(atoms), 6))
            if k < 3:
                xyz[atom, k] = 1.0
            elif tensor[atom]:
                u[atom, k - 3] = 1.0
            else:
                u[atom, :3] = 1 / EIGHT_PI_SQUARED
            expected = (along.conj() * jacobian.times(occupancy, xyz, u)).real
            error = np.linalg.norm(found[offset[atom] + k] - expected)
            assert error < 2e-5 * np.linalg.norm(expected)


def test_atoms_without_occupancy_have_no_slopes(tmp_path):
    atoms, hkl, _ = setting(tmp_path, "P 1", 1e-4)
    none = torch.zeros(len(atoms), dtype=torch.bool)
    assert atom_slopes(
        atoms.select(none), hkl, np.ones(len(hkl), complex), np.zeros(0, bool)
    ).shape == (0, len(hkl))
