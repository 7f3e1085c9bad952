"""Structure factors by compiled loops and FFT, with their gradients: the route of CPU tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor
from torch.autograd import Function

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.errors import GradientError
from multicopy_refinement.parallel import in_threads, thread_count
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.scattering.kernels.density import (
    Gaussians,
    gather_atoms,
    margin,
    splat_slab,
)
from multicopy_refinement.scattering.kernels.transform import (
    Symmetry,
    gather_reflections,
    scatter_reflections,
)
from multicopy_refinement.scattering.plan import SplatPlan, levels_of_gaussians
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Grids of fewer points are transformed by one thread: more are not faster.
_SMALL = 250_000
#: About as many points of a grid are transformed along rows at a time: they stay in the cache.
_PLANES = 65_536
#: A thread has at least so many atoms to splat, or to collect gradients of: for less it is not
#: worth waking. Atoms between two slabs are splatted by both, so that threads gain less there.
_SPLAT_A_THREAD, _GATHER_A_THREAD = 300, 100


def compiled_structure_factors(atoms: ScatteringAtoms, hkl: IntArray, plan: SplatPlan) -> Tensor:
    """Return F by `kernels`, complex ``[n]``, once differentiable.

    Everything is computed in float64 but for the grid, which has the type of the plan.
    """
    factors: Tensor = _Splat.apply(
        atoms.xyz, atoms.occupancy, atoms.u, atoms.b_iso, atoms, np.ascontiguousarray(hkl), plan
    )
    return factors


def compiled_density(atoms: ScatteringAtoms, plan: SplatPlan) -> Tensor:
    """Return the blurred density of the asymmetric unit's atoms, of the plan's size."""
    gaussians = _gaussians(atoms, plan)
    with _splatted(gaussians, plan) as grid:
        return torch.from_numpy(grid.copy())


class _Splat(Function):
    """xyz, occupancy, U and B of the atoms to F."""

    @staticmethod
    def forward(
        ctx: Any, xyz: Tensor, occupancy: Tensor, u: Tensor, b_iso: Tensor,
        atoms: ScatteringAtoms, hkl: IntArray, plan: SplatPlan,
    ) -> Tensor:  # fmt: skip
        gaussians = _gaussians(atoms, plan)
        cell = _symmetry(atoms, plan)
        factors = _factors(gaussians, plan, cell, hkl)
        ctx.save_for_backward(xyz, occupancy, u, b_iso)
        ctx.rest = (gaussians, atoms.anisotropic, cell, hkl, plan)
        kind = torch.complex128 if xyz.dtype == torch.float64 else torch.complex64
        return torch.from_numpy(factors).to(kind)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # inputs that somebody changed in place since are found here
        xyz, occupancy, u, b_iso = ctx.saved_tensors
        gaussians, anisotropic, cell, hkl, plan = ctx.rest
        with torch.no_grad():
            gradient = gradients[0].resolve_conj().to(torch.complex128).numpy()
            only_occupancy = not any(ctx.needs_input_grad[i] for i in (0, 2, 3))
            d_weight, d_position, d_u = _slopes(
                gaussians, plan, cell, hkl, gradient, only_weight=only_occupancy
            )
            d_b = d_u[:, :3].sum(axis=1) / EIGHT_PI_SQUARED
            tensor = torch.from_numpy
            results = [
                tensor(np.einsum("ij,jk->ik", d_position, gaussians.inverse_step)).to(xyz),
                tensor(d_weight).to(occupancy),
                torch.where(anisotropic[:, None], tensor(d_u), 0.0).to(u),
                torch.where(anisotropic, 0.0, tensor(d_b)).to(b_iso),
            ]
        if torch.is_grad_enabled():
            results = list(_OnceOnly.apply(gradients[0], *results))
        needed = ctx.needs_input_grad
        return (*(r if needed[i] else None for i, r in enumerate(results)), None, None, None)


#: No change of the atoms: their density itself.
_NONE = np.zeros((0, 10))


def _factors(
    gaussians: Gaussians, plan: SplatPlan, cell: Symmetry, hkl: IntArray,
    change: FloatArray = _NONE,
) -> ComplexArray:  # fmt: skip
    """Return F, or its derivative along a change of the atoms, complex128 ``[n]``."""
    factors = np.empty(len(hkl), dtype=np.complex128)
    with _splatted(gaussians, plan, change) as grid:
        transform = _transformed(grid)
        in_threads(lambda i, j: gather_reflections(i, j, transform, hkl, cell, factors), len(hkl))
    return factors


def _slopes(
    gaussians: Gaussians, plan: SplatPlan, cell: Symmetry, hkl: IntArray, gradient: ComplexArray,
    *, only_weight: bool = False,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """Return Re sum conj(dF) c by weight, position in steps of the grid, and elements of U."""
    n, side = len(gaussians.weight), _side(gaussians.reach)
    out = np.zeros(n), np.zeros((n, 3)), np.zeros((n, 6))
    nw = plan.size[2]
    with _gradient_map(gradient, cell, hkl, plan, side) as grid:
        in_threads(
            lambda i, j: gather_atoms(i, j, grid, nw, gaussians, side, only_weight, *out),
            n,
            most=n // _GATHER_A_THREAD,
        )
    return out


class SplatJacobian:
    """J = dF/d(occupancy, xyz, U) of atoms as they are: products with it and with its adjoint.

    U is that of every atom, isotropic ones included, ``[n, 6]`` in A^2 by the elements
    11 22 33 12 13 23. Both products cost about as much as F. They are of one sum, so that
    Re(c* J v) and v' Re(J* c) agree to the rounding of the grid.

    Parameters
    ----------
    atoms
        Tensors of the CPU; those whose occupancy is 0 have slopes of their occupancy alone.
    hkl
        Miller indices, ``[n, 3]``.
    plan
        Grid, blur and reach.
    """

    def __init__(self, atoms: ScatteringAtoms, hkl: IntArray, plan: SplatPlan) -> None:
        self._gaussians = _gaussians(atoms, plan)
        self._rest = plan, _symmetry(atoms, plan), np.ascontiguousarray(hkl)

    def factors(self) -> ComplexArray:
        """Return F, complex ``[n]``."""
        return _factors(self._gaussians, *self._rest)

    def times(self, occupancy: FloatArray, xyz: FloatArray, u: FloatArray) -> ComplexArray:
        """Return J v of changes of all atoms, complex ``[n]``."""
        position = np.einsum("ij,kj->ik", xyz, self._gaussians.inverse_step)
        change = np.concatenate([occupancy[:, None], position, u], axis=1)
        return _factors(self._gaussians, *self._rest, change)

    def adjoint(self, c: ComplexArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return Re(J* c) by occupancy ``[n]``, xyz ``[n, 3]`` and U ``[n, 6]``."""
        by_weight, by_position, by_u = _slopes(self._gaussians, *self._rest, c)
        by_xyz = np.einsum("ij,jk->ik", by_position, self._gaussians.inverse_step)
        return by_weight, by_xyz, by_u


class _OnceOnly(Function):
    """The gradients, refusing to be differentiated again."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(g.clone() for g in gradients)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        raise GradientError(
            "second derivatives of structure factors by FFT are not available; "
            'use method="direct", or the basis of the occupancy groups, which is linear'
        )


def _gaussians(atoms: ScatteringAtoms, plan: SplatPlan) -> Gaussians:
    """Return the atoms as the compiled loops take them."""
    with torch.no_grad():
        anisotropic = atoms.anisotropic.numpy()
        u = np.zeros((len(atoms), 6))
        u[:, :3] = atoms.b_iso.double().numpy()[:, None] / EIGHT_PI_SQUARED
        u[anisotropic] = atoms.u.double().numpy()[anisotropic]
        u[:, :3] += plan.blur / EIGHT_PI_SQUARED
        a, b = atoms.factors.fewer_gaussians(plan.d_min, plan.tolerance)
        element = atoms.element.numpy()
        level = levels_of_gaussians(a, plan.level)[element]
        a, b = a[element], b[element] / EIGHT_PI_SQUARED
        inverse_step = atoms.cell.fractionalization * np.array(plan.size)[:, None]
        return Gaussians(
            np.einsum("ij,kj->ik", atoms.xyz.double().numpy(), inverse_step),
            atoms.occupancy.double().numpy(),
            u, a, b, level,
            _half_widths(u, a, b, level, inverse_step),
            _widest(u, np.where(a == 0.0, -np.inf, b), level),
            np.ascontiguousarray(atoms.cell.orthogonalization / np.array(plan.size)),
            np.ascontiguousarray(inverse_step),
        )  # fmt: skip


def _half_widths(
    u: FloatArray, a: FloatArray, b: FloatArray, level: FloatArray, inverse_step: FloatArray
) -> FloatArray:
    """Return how far any Gaussian of each atom reaches along the axes of the grid, ``[n, 3]``."""
    x, y, z = inverse_step.T
    along = np.stack((x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z))
    variance = np.einsum("ij,jk->ik", u, along)
    isotropic = along[:3].sum(axis=0)
    reach = np.zeros((len(u), 3))
    for i in range(a.shape[1]):  # a few, and then no array of n x m x 3
        squared = 2.0 * level[:, i, None] * (variance + b[:, i, None] * isotropic)
        squared[a[:, i] == 0.0] = 0.0
        np.maximum(reach, squared, out=reach)
    # a hair more than the loops compute again, so that no Gaussian sticks out of its box
    return np.asarray(np.sqrt(reach) * (1 + 1e-12) + 1e-12)


def _widest(u: FloatArray, b: FloatArray, level: FloatArray) -> IntArray:
    """Return the Gaussian of each isotropic atom that reaches farthest, -1 for other atoms."""
    found = (level * (u[:, :1] + b)).argmax(axis=1)
    isotropic = (u[:, 0] == u[:, 1]) & (u[:, 0] == u[:, 2]) & (u[:, 3:] == 0.0).all(axis=1)
    return np.where(isotropic, found, -1)


def _side(half_widths: FloatArray) -> int:
    """Return the longest edge of the atoms' boxes in v and w, in points."""
    return int(2 * half_widths[:, 1:].max(initial=0.0)) + 3


@contextmanager
def _splatted(
    atoms: Gaussians, plan: SplatPlan, change: FloatArray = _NONE
) -> Iterator[np.ndarray]:
    """Give the density, or its derivative along a change, while the block runs."""
    (nu, _, nw), side = plan.size, _side(atoms.reach)
    with _grid_with_margin(plan, side) as grid:
        cost = _boxes_across(atoms.position[:, 0], atoms.reach[:, 0], nu)
        most = len(atoms.weight) // _SPLAT_A_THREAD
        in_threads(
            lambda i, j: splat_slab(i, j, grid, nw, atoms, side, change), nu, cost, most=most
        )
        for at in range(nw, grid.shape[2], nw):
            part = grid[:, :, at : at + nw]
            grid[:, :, : part.shape[2]] += part
        yield grid[:, :, :nw]


#: The memory of the last grid, at most one: the next has it without asking the system for it.
_SPARE: list[np.ndarray] = []


@contextmanager
def _grid_with_margin(plan: SplatPlan, side: int) -> Iterator[np.ndarray]:
    """Give a grid whose rows go on beyond the cell for as far as boxes reach, not filled."""
    nu, nv, nw = plan.size
    row = nw + margin(side)
    row += row % 2  # rows of whole complex numbers
    shape, dtype = (nu, nv, row), np.dtype(np.float32 if plan.single else np.float64)
    needed = math.prod(shape) * dtype.itemsize
    try:
        memory = _SPARE.pop()
    except IndexError:  # the first, or another thread has it
        memory = np.empty(0, np.uint8)
    if not needed <= memory.nbytes <= 4 * needed:
        memory = np.empty(needed, np.uint8)
    try:
        yield memory[:needed].view(dtype).reshape(shape)
    finally:
        if not _SPARE:
            _SPARE.append(memory)


def _boxes_across(centre: FloatArray, reach: FloatArray, n: int) -> FloatArray:
    """Return how many boxes of atoms each plane of the grid crosses, ``[n]``."""
    first = np.floor(centre - reach).astype(np.int64)
    last = np.ceil(centre + reach).astype(np.int64)
    turns = np.minimum((last - first) // n, 1)
    change = np.bincount(first % n, minlength=n) - np.bincount(last % n, minlength=n)
    starts_before = (first % n > last % n).sum() + turns.sum()
    return np.asarray(np.maximum(change.cumsum() + starts_before, 0) + 1.0, dtype=np.float64)


def _symmetry(atoms: ScatteringAtoms, plan: SplatPlan) -> Symmetry:
    group, f = atoms.spacegroup, atoms.cell.fractionalization
    return Symmetry(
        np.ascontiguousarray(group.rotations),
        np.rint(24 * group.translations).astype(np.int64),
        np.rint(24 * group.centrings).astype(np.int64),
        np.exp(2j * np.pi * np.arange(24) / 24),
        np.ascontiguousarray(f @ f.T),
        atoms.cell.volume / math.prod(plan.size),
        plan.blur,
    )


def _half_complex(grid: np.ndarray) -> np.ndarray:
    """Return the memory of a grid with margin as its transform, ``[nu, nv, nw // 2 + 1]``.

    The margin has room for the one or two numbers more that a row of the transform needs.
    """
    nu, nv, nw = grid.shape
    rows = np.lib.stride_tricks.as_strided(grid, (nu, nv, grid.strides[1] // grid.itemsize))
    complexes = rows.view(np.complex64 if grid.itemsize == 4 else np.complex128)
    return complexes[:, :, : nw // 2 + 1]


def _transformed(grid: np.ndarray) -> np.ndarray:
    """Return the transform of a grid with margin, in the grid's own memory."""
    nu, nv, nw = grid.shape
    transform, planes = _half_complex(grid), max(1, _PLANES // (nv * nw))

    def rows(first: int, last: int) -> None:
        for u in range(first, last, planes):
            some = slice(u, min(u + planes, last))
            transform[some] = scipy.fft.rfft(grid[some], axis=2)

    workers = _workers(grid.size)
    in_threads(rows, nu, most=workers)
    done = scipy.fft.fftn(transform, axes=(0, 1), overwrite_x=True, workers=workers)
    return np.asarray(done)


@contextmanager
def _gradient_map(
    gradient: np.ndarray, cell: Symmetry, hkl: IntArray, plan: SplatPlan, side: int
) -> Iterator[np.ndarray]:
    """Give dL/d(density at each grid point), the margin repeating the beginning of each row."""
    nw = plan.size[2]
    with _grid_with_margin(plan, side) as grid:
        transform = _half_complex(grid[:, :, :nw])

        def scatter(first: int, last: int) -> None:
            transform[first:last] = 0.0
            scatter_reflections(first, last, transform, hkl, cell, gradient, nw % 2 == 0)

        in_threads(scatter, len(transform))
        # "forward" keeps the inverse free of 1/N; two steps, since irfftn would copy the transform
        half = scipy.fft.ifftn(
            transform, axes=(0, 1), norm="forward", overwrite_x=True, workers=_workers(grid.size)
        )

        def fill(first: int, last: int) -> None:
            for u in range(first, last):
                plane = scipy.fft.irfft(half[u], n=nw, axis=1, norm="forward")
                for at in range(0, grid.shape[2], nw):
                    part = grid[u, :, at : at + nw]
                    part[:] = plane[:, : part.shape[1]]

        in_threads(fill, len(half))
        yield grid


def _workers(points: int) -> int:
    """Return the threads of an FFT.

    scipy's threads sleep when they are done. Those of torch (OpenMP) and of matrix products
    (OpenBLAS) go on waiting busily for up to many milliseconds, and keep the threads of the
    compiled loops from the processors: this file has none of either.
    """
    return thread_count() if points >= _SMALL else 1
