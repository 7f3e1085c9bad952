"""Structure factors of groups of atoms: stored, or made block by block when they are asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.places import ranges, within
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.scattering.direct_tables import DirectTables, Runs
from multicopy_refinement.scattering.rows import (
    complex_row_products,
    real_parts,
    row_products,
    subtract_real_parts,
    weighted_complex_rows,
    weighted_rows,
)
from multicopy_refinement.scattering.splat import splat_structure_factors

#: Elements of the float64 sums of the groups that are made at once.
_SUMS = 8_000_000
#: Reflections of a block of stored columns.
_STORED_BLOCK = 8192
#: Free disk that a file of columns needs, as a multiple of its size.
_DISK_LEFT = 1.5
#: Atoms whose tables are made at once.
_ATOMS = 256
#: Seconds of direct summation for an atom, an operation and a reflection; and of the grid for an
#: atom and for a grid point. Only their ratio matters: it chooses the route of a group.
_DIRECT, _SPLAT, _POINT = 4e-9, 1e-4, 4e-8

#: Real and imaginary parts, apart: what is done with them needs no copy then.
Parts = tuple[NDArray[np.float32], NDArray[np.float32]]


class GroupColumns(Protocol):
    """G of all groups at all reflections, in single precision, however it is kept."""

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        ...

    @property
    def block_size(self) -> int:
        """Number of reflections that are best asked for at once."""
        ...

    def parts(self, rows: slice) -> Parts:
        """Return G of all groups at some reflections, ``[n_groups, n_rows]``."""
        ...

    def members(self, groups: IntArray) -> Parts:
        """Return G of some groups at all reflections, ``[n_chosen, n]``."""
        ...

    def sum_of(self, groups: IntArray, weights: FloatArray) -> ComplexArray:
        """Return sum_g w_g G_g over some groups at all reflections, complex ``[n]``."""
        ...


def faded_parts(
    columns: GroupColumns, rows: slice, dtype: type[np.floating], s_squared: FloatArray,
    b_shift: FloatArray | None,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:  # fmt: skip
    """Return exp(-b_g s^2/4) G_g at some reflections; ``s_squared`` is that of all of them."""
    real, imaginary = columns.parts(rows)
    real, imaginary = real.astype(dtype, copy=False), imaginary.astype(dtype, copy=False)
    if b_shift is None:
        return real, imaginary
    fall = np.exp(-b_shift[:, None] * s_squared[rows] / 4).astype(dtype)
    return real * fall, imaginary * fall


def weighted_sum(
    columns: GroupColumns, weights: FloatArray, s_squared: FloatArray,
    b_shift: FloatArray | None = None,
) -> ComplexArray:  # fmt: skip
    """Return sum_g w_g exp(-b_g s^2/4) G_g in double precision, complex ``[n]``."""
    f = np.empty(len(s_squared), dtype=np.complex128)
    for rows in ranges(len(f), columns.block_size):
        if b_shift is None:
            real, imaginary = columns.parts(rows)
            f.real[rows] = weighted_rows(real, weights)
            f.imag[rows] = weighted_rows(imaginary, weights)
        else:
            faded = faded_parts(columns, rows, np.float64, s_squared, b_shift)
            f.real[rows], f.imag[rows] = weights @ faded[0], weights @ faded[1]
    return f


def products(
    columns: GroupColumns, c: ComplexArray, s_squared: FloatArray,
    b_shift: FloatArray | None = None,
) -> FloatArray:  # fmt: skip
    """Return Re sum_h conj(G_g) exp(-b_g s^2/4) c in double precision, ``[n_groups]``."""
    total = np.zeros(columns.n_groups)
    for rows in ranges(len(c), columns.block_size):
        if b_shift is None:
            real, imaginary = columns.parts(rows)
            total += row_products(real, c.real[rows]) + row_products(imaginary, c.imag[rows])
        else:
            faded = faded_parts(columns, rows, np.float64, s_squared, b_shift)
            total += faded[0] @ c.real[rows] + faded[1] @ c.imag[rows]
    return total


@dataclass(frozen=True, eq=False)
class StoredColumns:
    """G in memory, or mapped into it from a file, real and imaginary parts ``[n_groups, n]``."""

    real: NDArray[np.float32]
    imaginary: NDArray[np.float32]
    block_size: int = _STORED_BLOCK

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.real)

    def parts(self, rows: slice) -> Parts:
        """Return G of all groups at some reflections."""
        return self.real[:, rows], self.imaginary[:, rows]

    @property
    def filed(self) -> bool:
        """Whether they are in a file, since they are too large to be copied."""
        return isinstance(self.real, np.memmap)

    def members(self, groups: IntArray) -> Parts:
        """Return G of some groups at all reflections."""
        return np.asarray(self.real[groups]), np.asarray(self.imaginary[groups])

    def sum_of(self, groups: IntArray, weights: FloatArray) -> ComplexArray:
        """Return sum_g w_g G_g over some groups at all reflections, complex ``[n]``."""
        f = np.empty(self.real.shape[1], dtype=np.complex128)
        f.real = weighted_rows(self.real, weights, groups)
        f.imag = weighted_rows(self.imaginary, weights, groups)
        return f


@dataclass(frozen=True, eq=False)
class LowColumns:
    """Columns f(h) M_g(h) that are something else than 0 at some reflections only.

    f is applied where they are used: M may be large, and f changes more often.

    Attributes
    ----------
    low
        Those reflections, in ascending order, ``[n_low]``.
    columns
        M, complex64 ``[n_groups, n_low]``.
    fall
        f, ``[n_low]``.
    """

    low: IntArray
    columns: NDArray[np.complex64]
    fall: FloatArray

    @property
    def places(self) -> IntArray | slice:
        """The reflections as an index of arrays ``[..., n]``; a slice where they are the first."""
        n = len(self.low)
        return slice(0, n) if n == 0 or self.low[-1] == n - 1 else self.low

    def subtract_along(self, found: NDArray[np.floating], rows: slice, along: ComplexArray) -> None:
        """Subtract Re(conj(along) f M) of a range of reflections, ``[n_groups, n_rows]``."""
        some = within(self.low, rows)
        places = self.low[some] - rows.start
        u = along[places] * self.fall[some]
        subtract_real_parts(found, places, self.columns[:, some], u)

    def along(
        self, columns: slice | IntArray, u: ComplexArray, dtype: type[np.floating]
    ) -> NDArray[np.floating]:
        """Return Re(conj(u) f M) of some of the columns, ``[n_groups, n_chosen]``."""
        some = self.columns[:, columns]
        return real_parts(some.real, some.imag, u * self.fall[columns], dtype)

    def weighted_sum(self, weights: FloatArray, groups: IntArray | None = None) -> ComplexArray:
        """Return sum_g w_g f M_g over all groups or some, complex ``[n_low]``."""
        return weighted_complex_rows(self.columns, weights, groups) * self.fall

    def products(self, c: ComplexArray) -> FloatArray:
        """Return Re sum_h conj(f M_g) c of all reflections ``[n]``, ``[n_groups]``."""
        return complex_row_products(self.columns, c[self.places] * self.fall)


@dataclass(frozen=True, eq=False)
class StreamedColumns:
    """G made anew for each block that is asked for: slower, in bounded memory."""

    atoms: ScatteringAtoms
    group: IntArray
    n_groups: int
    hkl: IntArray
    block_size: int

    def parts(self, rows: slice) -> Parts:
        """Return G of all groups at some reflections."""
        return direct_columns(self.atoms, self.group, self.n_groups, self.hkl[rows])

    def members(self, groups: IntArray) -> Parts:
        """Return G of some groups at all reflections."""
        place = np.full(self.n_groups, -1)
        place[groups] = np.arange(len(groups))
        chosen = np.flatnonzero(place[self.group] >= 0)
        part = self.atoms.select(torch.as_tensor(chosen))
        return direct_columns(part, place[self.group[chosen]], len(groups), self.hkl)

    def sum_of(self, groups: IntArray, weights: FloatArray) -> ComplexArray:
        """Return sum_g w_g G_g over some groups at all reflections, complex ``[n]``."""
        real, imaginary = self.members(groups)
        return StoredColumns(real, imaginary).sum_of(np.arange(len(groups)), weights)


def make_columns(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray, memory_limit: int
) -> StoredColumns | StreamedColumns:
    """Return G of the groups of atoms (at occupancy 1).

    In memory if it fits into the limit in bytes, otherwise in a temporary file, which goes when it
    is used no more; made anew at each use where there is no room for that either. Groups of very
    many atoms go through the grid where that is cheaper.
    """
    size = n_groups * len(hkl) * np.dtype(np.complex64).itemsize
    room, block = None, _STORED_BLOCK
    if size > memory_limit:
        # float64 sums and a copy
        block = max(256, min(block, memory_limit // (4 * 16 * max(n_groups, 1))))
        room = _filed(n_groups, len(hkl))
        if room is None:
            return StreamedColumns(atoms, group, n_groups, hkl, block)
    large = _cheaper_on_grid(atoms, group, n_groups, hkl)
    chosen = np.flatnonzero(~large[group])
    real, imaginary = direct_columns(
        atoms.select(torch.as_tensor(chosen)), group[chosen], n_groups, hkl, room
    )
    for number in np.flatnonzero(large).tolist():
        column = grid_column(atoms.select(torch.as_tensor(group == number)), hkl)
        real[number], imaginary[number] = column.real, column.imag
    return StoredColumns(real, imaginary, block)


def _filed(n_groups: int, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return room for real and imaginary parts in temporary files, or None where there is none."""
    folder = tempfile.gettempdir()
    size = 2 * n_groups * n * np.dtype(np.float32).itemsize
    try:
        if shutil.disk_usage(folder).free < _DISK_LEFT * size:
            return None
        parts = []
        for _ in range(2):
            with tempfile.TemporaryFile(dir=folder) as file:  # mapped until the array goes
                parts.append(np.memmap(file, np.float32, "w+", shape=(n_groups, n)))
    except OSError:
        return None
    return parts[0], parts[1]


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
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray,
    room: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> Parts:  # fmt: skip
    """Return sums over the atoms of each group at occupancy 1, ``[n_groups, n]``.

    Summed in float64, a range of groups at a time; put into ``room``, of zeros, where there is one.
    """
    parts = room or tuple(np.zeros((n_groups, len(hkl)), dtype=np.float32) for _ in range(2))
    if len(hkl) == 0:
        return parts[0], parts[1]
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(n_groups + 1))
    together = max(1, _SUMS // len(hkl))
    runs = Runs.of(hkl)
    centring = atoms.spacegroup.centring_factor(hkl)
    for first in range(0, n_groups, together):
        last = min(first + together, n_groups)
        rows = order[edges[first] : edges[last]]
        if len(rows) == 0:
            continue
        sums = _sums(
            atoms.select(torch.as_tensor(rows)), group[rows] - first, last - first, hkl, runs
        )
        places = [part[first:last] for part in parts]
        in_threads(partial(_round_into, places, sums, centring), last - first)
    return parts[0], parts[1]


def _round_into(
    places: Sequence[NDArray[np.float32]], sums: Sequence[FloatArray], factor: FloatArray,
    first: int, last: int,
) -> None:  # fmt: skip
    """Put sums times a factor into their places in single precision, some rows of them."""
    for place, own in zip(places, sums, strict=True):
        np.multiply(own[first:last], factor, out=place[first:last], casting="same_kind")


def _sums(
    atoms: ScatteringAtoms, group: IntArray, n_groups: int, hkl: IntArray, runs: Runs
) -> tuple[FloatArray, FloatArray]:
    """Return real and imaginary parts of the sums over the atoms of groups."""
    from multicopy_refinement.scattering.kernels.group_sums import add_group_sums

    hkl = hkl[runs.order]
    tables = DirectTables.of(atoms.cell, hkl)
    index = hkl[runs.begin[:-1]] - tables.lowest
    real = np.zeros((n_groups, len(hkl)))
    imaginary = np.zeros_like(real)
    for rows in torch.arange(len(atoms)).split(_ATOMS):
        part = atoms.select(rows)
        lowest, phases, *others, u_star = tables.of_atoms(part)
        arguments = (
            real, imaginary, group[rows.numpy()], runs.order, runs.blocks, runs.begin, index,
            runs.axes, np.ascontiguousarray(phases.real), np.ascontiguousarray(phases.imag),
            *others, lowest, u_star, part.anisotropic.numpy(), atoms.spacegroup.rotations,
        )  # fmt: skip
        in_threads(partial(_add_group_sums, add_group_sums, arguments), len(runs.blocks) - 1)
    return real, imaginary


def _add_group_sums(
    kernel: Callable[..., None], arguments: tuple[np.ndarray, ...], first: int, last: int
) -> None:
    kernel(first, last, *arguments)
