"""Reflections of the whole cell from the half transform of the asymmetric unit, and back.

    F(h) = k(h) sum_(R,t) T(R'h) exp(2 pi i h.t),   k(h) = n_c V/N exp(blur s^2/4)

n_c is the number of centrings, or 0 where they extinguish a reflection. The transform T is stored
for l >= 0 as FFTs of real maps leave it, with their sign exp(-2 pi i): the conjugate of ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

_FAST = {"contract", "nsz", "reassoc"}


class Symmetry(NamedTuple):
    """Operations in reciprocal space, in whole numbers.

    Attributes
    ----------
    rotations
        ``[n_operations, 3, 3]``.
    translations, centrings
        In 24ths of the cell, ``[n_operations, 3]`` and ``[n_centrings, 3]``.
    phases
        exp(2 pi i k/24), ``[24]``.
    metric
        Reciprocal metric tensor in 1/A^2, ``[3, 3]``.
    volume_per_point
        A^3.
    blur
        B in A^2 that is divided out.
    """

    rotations: np.ndarray
    translations: np.ndarray
    centrings: np.ndarray
    phases: np.ndarray
    metric: np.ndarray
    volume_per_point: float
    blur: float


@njit(nogil=True, cache=True, fastmath=_FAST)
def _scale(h: int, k: int, m: int, cell: Symmetry) -> float:
    """Return k(h)."""
    centring = 0.0
    for c in cell.centrings:
        centring += cell.phases[(h * c[0] + k * c[1] + m * c[2]) % 24].real
    g = cell.metric
    s_squared = (
        g[0, 0] * h * h + g[1, 1] * k * k + g[2, 2] * m * m
        + 2.0 * (g[0, 1] * h * k + g[0, 2] * h * m + g[1, 2] * k * m)
    )  # fmt: skip
    unblurred = np.exp(0.25 * cell.blur * s_squared)
    return float(np.rint(centring) * cell.volume_per_point * unblurred)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _image(
    index: np.ndarray, operation: int, cell: Symmetry, nu: int, nv: int
) -> tuple[int, int, int, bool]:
    """Return where T(R'h) is stored, and whether as its conjugate T(-R'h)."""
    r = cell.rotations[operation]
    h = index[0] * r[0, 0] + index[1] * r[1, 0] + index[2] * r[2, 0]
    k = index[0] * r[0, 1] + index[1] * r[1, 1] + index[2] * r[2, 1]
    m = index[0] * r[0, 2] + index[1] * r[1, 2] + index[2] * r[2, 2]
    friedel = m < 0
    if friedel:
        h, k, m = -h, -k, -m
    if h < 0:
        h += nu
    if k < 0:
        k += nv
    return h, k, m, friedel


@njit(nogil=True, cache=True, fastmath=_FAST)
def gather_reflections(
    first: int, last: int, transform: np.ndarray, hkl: np.ndarray, cell: Symmetry, out: np.ndarray
) -> None:
    """Fill F of the reflections first..last.

    Parameters
    ----------
    transform
        ``[nu, nv, nw // 2 + 1]`` complex.
    hkl
        ``[n, 3]``, within the transform.
    out
        Complex ``[n]``.
    """
    nu, nv, _ = transform.shape
    for i in range(first, last):
        total = 0.0 + 0.0j
        for op in range(len(cell.rotations)):
            h, k, m, friedel = _image(hkl[i], op, cell, nu, nv)
            value = transform[h, k, m]
            t = cell.translations[op]
            phase = cell.phases[(hkl[i, 0] * t[0] + hkl[i, 1] * t[1] + hkl[i, 2] * t[2]) % 24]
            total += phase * (value if friedel else np.conj(value))
        out[i] = total * _scale(hkl[i, 0], hkl[i, 1], hkl[i, 2], cell)


@njit(nogil=True, cache=True, fastmath=_FAST)
def scatter_reflections(
    first: int, last: int, transform: np.ndarray, hkl: np.ndarray, cell: Symmetry,
    gradient: np.ndarray, even: bool,
) -> None:  # fmt: skip
    """Add to the rows first..last of the transform what the inverse FFT turns into dL/d(map).

    Parameters
    ----------
    transform
        As in `gather_reflections`, added to.
    gradient
        dL/d(Re F) + i dL/d(Im F), complex ``[n]``.
    even
        Whether nw is even: its last column then stands for itself alone.
    """
    nu, nv, columns = transform.shape
    for i in range(len(hkl)):
        scale = 0.0
        for op in range(len(cell.rotations)):
            h, k, m, friedel = _image(hkl[i], op, cell, nu, nv)
            if h < first or h >= last:
                continue
            if scale == 0.0:
                scale = _scale(hkl[i, 0], hkl[i, 1], hkl[i, 2], cell)
            t = cell.translations[op]
            phase = cell.phases[(hkl[i, 0] * t[0] + hkl[i, 1] * t[1] + hkl[i, 2] * t[2]) % 24]
            # the inverse transform of real maps counts the columns between the ends twice
            alone = m == 0 or (even and m == columns - 1)
            weight = scale if alone else 0.5 * scale
            if friedel:
                transform[h, k, m] += weight * np.conj(phase) * gradient[i]
            else:
                transform[h, k, m] += weight * phase * np.conj(gradient[i])
