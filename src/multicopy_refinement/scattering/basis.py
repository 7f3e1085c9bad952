"""Structure factors of occupancy groups: with coordinates held, F_calc is linear in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.errors import StaleBasisError
from multicopy_refinement.scattering.atoms import AtomicModel, ScatteringAtoms, atoms_of
from multicopy_refinement.scattering.splat import plan_splat, splat_structure_factors

#: Steps in s^2 of the tables of f exp(-B s^2/4); quadratic interpolation errs by less than 1e-6.
_STEPS = 768
#: Atoms whose tables are made at once.
_ATOMS = 256
#: U in A^2 -> exponent in the basis of the Miller indices.
_TWO_PI_SQUARED = 2 * np.pi**2


@dataclass(frozen=True, eq=False)
class GroupBasis:
    """F_calc(h) = F_fixed(h) + sum_g q_g G_g(h).

    Attributes
    ----------
    groups
        Collapsed indices of the groups, ``[n_groups]``.
    hkl
        ``[n, 3]``.
    fixed
        F of all other atoms, complex ``[n]``.
    matrix
        G, complex64 ``[n_groups, n]``.
    fingerprint
        Of what it was made from.
    """

    groups: IntArray
    hkl: IntArray
    fixed: ComplexArray
    matrix: NDArray[np.complex64]
    fingerprint: str

    def f_calc(self, occupancy: FloatArray) -> ComplexArray:
        """Return F_calc for occupancies of the groups, ``[n_groups]``."""
        return self.fixed + (occupancy @ self.matrix.real + 1j * (occupancy @ self.matrix.imag))

    def check(self, model: AtomicModel) -> None:
        """Refuse a model that is no longer the one of the basis.

        Raises
        ------
        StaleBasisError
            Coordinates, displacements, scatterers or held occupancies have changed.
        """
        if fingerprint(model, self.groups, self.hkl) != self.fingerprint:
            raise StaleBasisError(
                "coordinates, displacements or held occupancies have changed "
                "since the basis was made: make a new one"
            )


def group_basis(model: AtomicModel, hkl: IntArray, groups: IntArray | None = None) -> GroupBasis:
    """Return the basis of groups (by default the refinable ones) of a model.

    G by direct summation, F_fixed by density and FFT.
    """
    table_groups = model.occupancy_groups
    if groups is None:
        groups = np.flatnonzero(table_groups.refined)
    place = np.full(len(table_groups), -1)
    place[groups] = np.arange(len(groups))
    group_of_atom = place[table_groups.index]
    with torch.no_grad():
        atoms = _double(atoms_of(model))
        held = torch.as_tensor(group_of_atom < 0)
        fixed = _fixed_part(atoms, held, hkl)
        matrix = _direct_groups(
            atoms.select(~held), group_of_atom[group_of_atom >= 0], len(groups), hkl
        )
    return GroupBasis(np.asarray(groups), hkl, fixed, matrix, fingerprint(model, groups, hkl))


def fingerprint(model: AtomicModel, groups: IntArray, hkl: IntArray) -> str:
    """Return a digest of all that a basis depends on."""
    digest = hashlib.blake2b(digest_size=16)
    with torch.no_grad():
        moving = np.isin(model.occupancy_groups.index, groups)
        held = model.occupancy().detach().cpu().numpy()[~moving]
        parts = [t().detach().cpu().numpy() for t in (model.xyz, model.b_iso, model.u_aniso)]
    for part in [*parts, held, groups, hkl, model.occupancy_groups.index]:
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(model.table.element.tobytes())
    digest.update(repr((model.cell.parameters, model.spacegroup.name)).encode())
    return digest.hexdigest()


def _double(atoms: ScatteringAtoms) -> ScatteringAtoms:
    def double(tensor: Tensor) -> Tensor:
        return tensor.detach().double().cpu()

    return replace(
        atoms, xyz=double(atoms.xyz), occupancy=double(atoms.occupancy), u=double(atoms.u),
        b_iso=double(atoms.b_iso), anisotropic=atoms.anisotropic.cpu(), a=double(atoms.a),
        b=double(atoms.b),
    )  # fmt: skip


def _fixed_part(atoms: ScatteringAtoms, held: Tensor, hkl: IntArray) -> ComplexArray:
    if not bool(held.any()):
        return np.zeros(len(hkl), dtype=np.complex128)
    part = atoms.select(held)
    d_min = float(1 / np.sqrt(atoms.cell.inverse_d_squared(hkl).max()))
    return np.asarray(splat_structure_factors(part, hkl, plan_splat(part, d_min)).numpy())


def _direct_groups(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray
) -> NDArray[np.complex64]:
    """Return sums over the atoms of each group at occupancy 1, complex64 ``[n_groups, n]``."""
    from multicopy_refinement.scattering.kernels import add_group_sums, in_threads

    s_squared = atoms.cell.inverse_d_squared(hkl)
    top = float(s_squared.max()) * (1 + 1e-9)
    position = s_squared / top * _STEPS
    bin_index = np.minimum(position.astype(np.int64), _STEPS - 1)
    grid = torch.arange(_STEPS + 2, dtype=torch.float64) * (top / _STEPS)
    lowest, highest = hkl.min(axis=0), hkl.max(axis=0)
    real = np.zeros((n_groups, len(hkl)))
    imaginary = np.zeros_like(real)
    for rows in torch.arange(len(atoms)).split(_ATOMS):
        part = atoms.select(rows)
        arguments = (
            real, imaginary, group[rows.numpy()], hkl, lowest, _phase_tables(part, lowest, highest),
            bin_index, position - bin_index, _amplitude_tables(part, grid), _u_star(part),
            part.anisotropic.numpy(), atoms.spacegroup.rotations,
        )  # fmt: skip
        in_threads(partial(_add_group_sums, add_group_sums, arguments), len(hkl))
    centring = atoms.spacegroup.centring_factor(hkl)
    matrix = np.empty((n_groups, len(hkl)), dtype=np.complex64)
    matrix.real, matrix.imag = real * centring, imaginary * centring
    return matrix


def _add_group_sums(
    kernel: Callable[..., None], arguments: tuple[np.ndarray, ...], first: int, last: int
) -> None:
    kernel(first, last, *arguments)


def _phase_tables(atoms: ScatteringAtoms, lowest: IntArray, highest: IntArray) -> ComplexArray:
    """Return exp(2 pi i h x) for x of each atom under each operation, along each axis."""
    group = atoms.spacegroup
    fractional = atoms.xyz.numpy() @ atoms.cell.fractionalization.T
    images = np.einsum("oij,aj->aoi", group.rotations, fractional) + group.translations
    length = int((highest - lowest).max()) + 1
    index = lowest[:, None] + np.arange(length)
    return np.asarray(np.exp(2j * np.pi * images[..., None] * index))


def _amplitude_tables(atoms: ScatteringAtoms, s_squared: Tensor) -> FloatArray:
    """Return f exp(-B s^2/4) of each atom on a grid in s^2; anisotropic atoms have B apart."""
    b_iso = torch.where(atoms.anisotropic, 0.0, atoms.b_iso)
    total = (atoms.b + b_iso[:, None])[:, :, None]
    return np.asarray((atoms.a[:, :, None] * torch.exp(-total * s_squared / 4)).sum(1).numpy())


def _u_star(atoms: ScatteringAtoms) -> FloatArray:
    f = atoms.cell.fractionalization
    u = atoms.u.numpy()[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    star = _TWO_PI_SQUARED * np.einsum("ij,ajk,lk->ail", f, u, f)
    return np.ascontiguousarray(star[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]])
