"""Sums over the atoms of groups, reflection by reflection."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Reflections treated together: their sums stay in the first-level cache.
_BLOCK = 512


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def add_group_sums(
    first: int,
    last: int,
    total_re: np.ndarray, total_im: np.ndarray, group: np.ndarray, hkl: np.ndarray,
    lowest: np.ndarray, tables: np.ndarray, bin_index: np.ndarray, bin_part: np.ndarray,
    amplitude: np.ndarray, u_star: np.ndarray, anisotropic: np.ndarray, rotations: np.ndarray,
) -> None:  # fmt: skip
    """Add, for each group, sum_j f_j T_j(R'h) exp(2 pi i h.(R x_j + t)) to ``total[group]``.

    Phases come from tables of exp(2 pi i h x) along each axis, one for each atom and operation,
    form factors times isotropic displacement from a table in s^2 that is interpolated linearly.

    Parameters
    ----------
    first, last
        Range of reflections.
    total_re, total_im
        ``[n_groups, n]``, added to.
    group
        Group of each atom, ``[n_atoms]``.
    hkl, lowest
        Miller indices ``[n, 3]``, and the index that the tables of each axis start with ``[3]``.
    tables
        ``[n_atoms, n_operations, 3, length]`` complex.
    bin_index, bin_part
        Place of each reflection in ``amplitude`` and the part of a step beyond it, ``[n]``.
    amplitude
        ``[n_atoms, n_steps]``.
    u_star
        2 pi^2 U in the basis of the Miller indices, elements 11 22 33 12 13 23, ``[n_atoms, 6]``.
    anisotropic
        Bool ``[n_atoms]``.
    rotations
        ``[n_operations, 3, 3]``.
    """
    re = np.empty(_BLOCK)
    im = np.empty(_BLOCK)
    for start in range(first, last, _BLOCK):
        stop = min(last, start + _BLOCK)
        for atom in range(group.shape[0]):
            re[:] = 0.0
            im[:] = 0.0
            for op in range(tables.shape[1]):
                along_a = tables[atom, op, 0]
                along_b = tables[atom, op, 1]
                along_c = tables[atom, op, 2]
                for i in range(start, stop):
                    factor = (
                        along_a[hkl[i, 0] - lowest[0]]
                        * along_b[hkl[i, 1] - lowest[1]]
                        * along_c[hkl[i, 2] - lowest[2]]
                    )
                    if anisotropic[atom]:
                        r = rotations[op]
                        h = hkl[i, 0] * r[0, 0] + hkl[i, 1] * r[1, 0] + hkl[i, 2] * r[2, 0]
                        k = hkl[i, 0] * r[0, 1] + hkl[i, 1] * r[1, 1] + hkl[i, 2] * r[2, 1]
                        m = hkl[i, 0] * r[0, 2] + hkl[i, 1] * r[1, 2] + hkl[i, 2] * r[2, 2]
                        u = u_star[atom]
                        factor *= np.exp(
                            -(u[0] * h * h + u[1] * k * k + u[2] * m * m)
                            - 2.0 * (u[3] * h * k + u[4] * h * m + u[5] * k * m)
                        )
                    re[i - start] += factor.real
                    im[i - start] += factor.imag
            row = amplitude[atom]
            g = group[atom]
            for i in range(start, stop):
                at = bin_index[i]
                t = bin_part[i]
                f = row[at] + t * (
                    row[at + 1]
                    - row[at]
                    + 0.5 * (t - 1) * (row[at + 2] - 2 * row[at + 1] + row[at])
                )
                total_re[g, i] += f * re[i - start]
                total_im[g, i] += f * im[i - start]
