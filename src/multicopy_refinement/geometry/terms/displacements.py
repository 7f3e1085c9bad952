"""U of anisotropic atoms and of isotropic ones beside them, as tensors with their columns."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal.symmetry import VOIGT
from multicopy_refinement.geometry.terms.base import Columns, State
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: dU/d(U11 U22 U33 U12 U13 U23), ``[6, 3, 3]``.
BASIS = np.zeros((6, 3, 3))
for _number, (_i, _j) in enumerate(VOIGT):
    BASIS[_number, _i, _j] = BASIS[_number, _j, _i] = 1.0


def tensors(at: State, atoms: IntArray, anisotropic: BoolArray) -> FloatArray:
    """Return U of atoms ``[m]`` in A^2, ``[m, 3, 3]``: B/(8 pi^2) times 1 where isotropic."""
    full = np.einsum("ms,sij->mij", at.u_aniso[atoms], BASIS)
    round_ = (at.b_iso[atoms] / EIGHT_PI_SQUARED)[:, None, None] * np.eye(3)
    return np.asarray(np.where(anisotropic[atoms][:, None, None], full, round_))


def columns_of(
    atoms: IntArray, anisotropic: BoolArray, slopes: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Return columns ``[m, 6]`` and derivatives ``[m, ..., 6]`` of what is given by U.

    Isotropic atoms have one column, B: the sum over U11, U22, U33 and 1/(8 pi^2); its other five
    entries are zeros.
    """
    columns = Columns(len(anisotropic))
    own = anisotropic[atoms]
    where = np.where(own[:, None], columns.u_aniso(atoms), columns.b_iso(atoms)[:, None])
    by_b = np.zeros_like(slopes)
    by_b[..., 0] = slopes[..., :3].sum(axis=-1) / EIGHT_PI_SQUARED
    shape = (len(atoms),) + (1,) * (slopes.ndim - 1)
    return where, np.where(own.reshape(shape), slopes, by_b)
