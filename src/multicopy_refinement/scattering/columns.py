"""Structure factors of groups of atoms: stored, or made block by block when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.scattering.atoms import ScatteringAtoms, symmetric_matrices
from multicopy_refinement.scattering.splat import splat_structure_factors

#: Steps in s^2 of the tables of f exp(-B s^2/4); quadratic interpolation errs by less than 1e-6.
_STEPS = 768
#: Elements of the float64 sums of the groups that are made at once.
_SUMS = 8_000_000
#: U in A^2 -> exponent in the basis of the Miller indices.
_TWO_PI_SQUARED = 2 * np.pi**2
#: Reflections of a block of stored columns.
_STORED_BLOCK = 8192
#: Atoms whose tables are made at once.
_ATOMS = 256
#: Seconds of direct summation for an atom, an operation and a reflection; and of the grid for an
#: atom and for a grid point. Only their ratio matters: it chooses the route of a group.
_DIRECT, _SPLAT, _POINT = 4e-9, 1e-4, 4e-8

Columns = NDArray[np.complex64]


class GroupColumns(Protocol):
    """G of all groups at all reflections, complex64, however it is kept."""

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        ...

    @property
    def block_size(self) -> int:
        """Number of reflections that are best asked for at once."""
        ...

    def block(self, rows: slice) -> Columns:
        """Return G of all groups at some reflections, ``[n_groups, n_rows]``."""
        ...

    def members(self, groups: IntArray) -> Columns:
        """Return G of some groups at all reflections, ``[n_chosen, n]``."""
        ...


@dataclass(frozen=True, eq=False)
class StoredColumns:
    """G in memory."""

    matrix: Columns
    block_size: int = _STORED_BLOCK

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.matrix)

    def block(self, rows: slice) -> Columns:
        """Return G of all groups at some reflections."""
        return self.matrix[:, rows]

    def members(self, groups: IntArray) -> Columns:
        """Return G of some groups at all reflections."""
        return self.matrix[groups]


@dataclass(frozen=True, eq=False)
class StreamedColumns:
    """G made anew for each block that is asked for: slower, in bounded memory."""

    atoms: ScatteringAtoms
    group: IntArray
    n_groups: int
    hkl: IntArray
    block_size: int

    def block(self, rows: slice) -> Columns:
        """Return G of all groups at some reflections."""
        return direct_columns(self.atoms, self.group, self.n_groups, self.hkl[rows])

    def members(self, groups: IntArray) -> Columns:
        """Return G of some groups at all reflections."""
        place = np.full(self.n_groups, -1)
        place[groups] = np.arange(len(groups))
        chosen = np.flatnonzero(place[self.group] >= 0)
        part = self.atoms.select(torch.as_tensor(chosen))
        return direct_columns(part, place[self.group[chosen]], len(groups), self.hkl)


def make_columns(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray, memory_limit: int
) -> StoredColumns | StreamedColumns:
    """Return G of the groups of atoms (at occupancy 1): stored if it fits into the limit in bytes.

    Groups of very many atoms go through the grid where that is cheaper.
    """
    size = n_groups * len(hkl) * np.dtype(np.complex64).itemsize
    if size > memory_limit:
        rows = max(256, memory_limit // (4 * 16 * max(n_groups, 1)))  # float64 sums and a copy
        return StreamedColumns(atoms, group, n_groups, hkl, rows)
    large = _cheaper_on_grid(atoms, group, n_groups, hkl)
    chosen = np.flatnonzero(~large[group])
    matrix = direct_columns(atoms.select(torch.as_tensor(chosen)), group[chosen], n_groups, hkl)
    for number in np.flatnonzero(large).tolist():
        matrix[number] = grid_column(atoms.select(torch.as_tensor(group == number)), hkl)
    return StoredColumns(matrix)


def _cheaper_on_grid(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray
) -> NDArray[np.bool_]:
    count = np.bincount(group, minlength=n_groups)
    d_min = float(1 / np.sqrt(atoms.cell.inverse_d_squared(hkl).max()))
    points = atoms.cell.volume / (d_min / 3) ** 3
    direct = _DIRECT * count * len(atoms.spacegroup.rotations) * len(hkl)
    return np.asarray(direct > _SPLAT * count + _POINT * points)


def grid_column(atoms: ScatteringAtoms, hkl: IntArray) -> ComplexArray:
    """Return the structure factors of atoms at occupancy 1 by density and FFT, complex ``[n]``."""
    whole = replace(atoms, occupancy=torch.ones_like(atoms.occupancy))
    with torch.no_grad():
        return np.asarray(splat_structure_factors(whole, hkl).numpy())


def direct_columns(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray
) -> Columns:
    """Return sums over the atoms of each group at occupancy 1, complex64 ``[n_groups, n]``.

    Summed in float64, a range of groups at a time.
    """
    matrix = np.zeros((n_groups, len(hkl)), dtype=np.complex64)
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(n_groups + 1))
    together = max(1, _SUMS // max(1, len(hkl)))
    centring = atoms.spacegroup.centring_factor(hkl)
    for first in range(0, n_groups, together):
        last = min(first + together, n_groups)
        rows = order[edges[first] : edges[last]]
        if len(rows) == 0:
            continue
        real, imaginary = _sums(
            atoms.select(torch.as_tensor(rows)), group[rows] - first, last - first, hkl
        )
        matrix.real[first:last], matrix.imag[first:last] = real * centring, imaginary * centring
    return matrix


def _sums(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray
) -> tuple[FloatArray, FloatArray]:
    from multicopy_refinement.scattering.kernels.group_sums import add_group_sums

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
    return real, imaginary


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
    u = symmetric_matrices(atoms.u).numpy()
    star = _TWO_PI_SQUARED * np.einsum("ij,ajk,lk->ail", f, u, f)
    return np.ascontiguousarray(star[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]])
