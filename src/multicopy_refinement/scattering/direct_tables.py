"""Tables of phases and form factors, from which compiled loops sum over atoms directly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell
from multicopy_refinement.places import in_runs
from multicopy_refinement.scattering.atoms import ScatteringAtoms, symmetric_matrices

#: Steps in s^2 of the tables of f exp(-B s^2/4); quadratic interpolation errs by less than 1e-6.
_STEPS = 768
#: U in A^2 -> exponent in the basis of the Miller indices.
_TWO_PI_SQUARED = 2 * np.pi**2
#: Reflections of a run: the rounding of what each has from the one before stays below 1e-13.
_RUN = 32
#: So many more runs are as quick where sums go to places that are not side by side.
_SCATTERED = 2
#: Reflections treated together: their sums stay in the first-level cache.
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Runs:
    """Reflections in an order in which one index goes on by one and the two others stay.

    Attributes
    ----------
    order
        The reflections, ``[n]``.
    axes
        The two axes along which a run has one index, and that along which it goes, ``[3]``.
    begin
        Where each run begins in that order, and the end of all, ``[n_runs + 1]``.
    blocks
        Where blocks of runs begin, and the end of all, ``[n_blocks + 1]``.
    """

    order: IntArray
    axes: IntArray
    begin: IntArray
    blocks: IntArray

    @classmethod
    def of(cls, hkl: IntArray) -> Runs:
        """Return those along the axis with the fewest, one that keeps the given order first."""
        choices = []
        for w in range(3):
            axes = np.array([(w + 1) % 3, (w + 2) % 3, w])
            order = np.lexsort(hkl.T[axes[::-1]])
            u, v, along = (np.diff(hkl[order, axis]) for axis in axes.tolist())
            breaks = np.flatnonzero((u != 0) | (v != 0) | (along != 1)) + 1
            scattered = 2 * int((np.diff(order) == 1).sum()) < len(order) - 1
            choices.append((len(breaks) * (_SCATTERED if scattered else 1), w, order, axes, breaks))
        _, _, order, axes, breaks = min(choices, key=lambda one: one[:2])
        edges = np.concatenate([[0], breaks, [len(hkl)]])
        pieces = -(-np.diff(edges) // _RUN)
        nth = in_runs(np.zeros_like(pieces), pieces)
        begin = np.append(np.repeat(edges[:-1], pieces) + _RUN * nth, len(hkl))
        starts = np.arange(0, len(hkl), _BLOCK)
        blocks = np.unique(np.append(np.searchsorted(begin, starts), len(begin) - 1))
        return cls(order, axes, begin, blocks)


@dataclass(frozen=True, eq=False)
class DirectTables:
    """What the tables of any atoms have in common at some reflections.

    Attributes
    ----------
    lowest, highest
        Least and greatest index along each axis, ``[3]``.
    bin_index, bin_part
        Place of each reflection in the tables of form factors, and the part of a step beyond it,
        ``[n]``.
    steps
        s^2 of these tables in 1/A^2.
    """

    lowest: IntArray
    highest: IntArray
    bin_index: IntArray
    bin_part: FloatArray
    steps: Tensor

    @classmethod
    def of(cls, cell: Cell, hkl: IntArray) -> DirectTables:
        """Return those of reflections, ``[n, 3]``."""
        s_squared = cell.inverse_d_squared(hkl)
        top = float(s_squared.max()) * (1 + 1e-9)
        position = s_squared / top * _STEPS
        bin_index = np.minimum(position.astype(np.int64), _STEPS - 1)
        steps = torch.arange(_STEPS + 2, dtype=torch.float64) * (top / _STEPS)
        return cls(hkl.min(axis=0), hkl.max(axis=0), bin_index, position - bin_index, steps)

    def of_atoms(self, atoms: ScatteringAtoms) -> tuple[np.ndarray, ...]:
        """Return lowest index, phases, places, form factors and U* as the loops take them."""
        return (
            self.lowest, _phase_tables(atoms, self.lowest, self.highest), self.bin_index,
            self.bin_part, _amplitude_tables(atoms, self.steps), _u_star(atoms),
        )  # fmt: skip


def _phase_tables(atoms: ScatteringAtoms, lowest: IntArray, highest: IntArray) -> ComplexArray:
    """Return exp(2 pi i h x) for x of each atom under each operation, along each axis."""
    group = atoms.spacegroup
    fractional = atoms.xyz.numpy() @ atoms.cell.fractionalization.T
    images = np.einsum("oij,aj->aoi", group.rotations, fractional) + group.translations
    length = int((highest - lowest).max()) + 1
    turn = 2j * np.pi * images[..., None]
    few = _few(length)
    many = lowest[:, None] + few * np.arange(-(-length // few))
    found = np.exp(turn * many)[..., :, None] * np.exp(turn * np.arange(few))[..., None, :]
    return np.asarray(found.reshape(*images.shape, -1))  # a few more than are needed


def _amplitude_tables(atoms: ScatteringAtoms, s_squared: Tensor) -> FloatArray:
    """Return f exp(-B s^2/4) of each atom on a grid in s^2; anisotropic atoms have B apart."""
    b_iso = torch.where(atoms.anisotropic, 0.0, atoms.b_iso)
    fall = (-(atoms.b + b_iso[:, None]) / 4).numpy()[:, None, :]
    steps = s_squared.numpy()[:, None]
    few = _few(len(steps))
    each = atoms.a.numpy()[:, None, :] * np.exp(fall * steps[::few])
    found = each @ np.exp(fall * steps[:few]).transpose(0, 2, 1)
    return np.asarray(found.reshape(len(fall), -1))  # a few more than are needed


def _few(n: int) -> int:
    """Return of how many steps exponentials are made, of n: the others are their products."""
    return int(np.ceil(np.sqrt(n)))


def _u_star(atoms: ScatteringAtoms) -> FloatArray:
    f = atoms.cell.fractionalization
    u = symmetric_matrices(atoms.u).numpy()
    star = _TWO_PI_SQUARED * np.einsum("ij,ajk,lk->ail", f, u, f)
    return np.ascontiguousarray(star[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]])
