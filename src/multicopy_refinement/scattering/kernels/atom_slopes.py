"""Derivatives of structure factors by the coordinates and displacements of single atoms."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Reflections treated together: their sums stay in the first-level cache.
_BLOCK = 256
#: Sums over the operations: 1, the scattering vector, and its products 11 22 33 12 13 23.
_SUMS = 10


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"})
def fill_atom_slopes(
    first: int, last: int, out: np.ndarray, offset: np.ndarray, tensor: np.ndarray,
    weight: np.ndarray, along: np.ndarray, s_squared: np.ndarray, fractionalization: np.ndarray,
    hkl: np.ndarray, lowest: np.ndarray, tables: np.ndarray, bin_index: np.ndarray,
    bin_part: np.ndarray, amplitude: np.ndarray, u_star: np.ndarray, anisotropic: np.ndarray,
    rotations: np.ndarray,
) -> None:  # fmt: skip
    """Fill Re(conj(along) dF/dp) for the unknowns p of the atoms first..last.

    Parameters
    ----------
    first, last
        Range of atoms.
    out, offset
        ``[n_unknowns, n]``, and the row at which each atom begins: x, y, z, and then B or, where
        ``tensor`` is true, the elements 11 22 33 12 13 23 of U.
    weight
        Occupancies, ``[n_atoms]``.
    along
        Complex ``[n]``, centring factors among it.
    s_squared, fractionalization
        ``[n]``, and the matrix that makes fractional of Cartesian coordinates, ``[3, 3]``.
    hkl, lowest, tables, bin_index, bin_part, amplitude, u_star, anisotropic, rotations
        As in `group_sums`.
    """
    re, im = np.empty((_SUMS, _BLOCK)), np.empty((_SUMS, _BLOCK))
    f = np.empty((3, 3))
    n_reflections = hkl.shape[0]
    two_pi, two_pi_squared = 2.0 * np.pi, 2.0 * np.pi**2
    for atom in range(first, last):
        n_sums = 10 if tensor[atom] else 4
        u, table, at = u_star[atom], amplitude[atom], offset[atom]
        for start in range(0, n_reflections, _BLOCK):
            stop = min(n_reflections, start + _BLOCK)
            re[:n_sums] = 0.0
            im[:n_sums] = 0.0
            for op in range(tables.shape[1]):
                r = rotations[op]
                for a in range(3):  # the scattering vector is h R F
                    for c in range(3):
                        f[a, c] = (
                            r[a, 0] * fractionalization[0, c] + r[a, 1] * fractionalization[1, c]
                            + r[a, 2] * fractionalization[2, c]
                        )  # fmt: skip
                phase = tables[atom, op]
                for i in range(start, stop):
                    h, k, m = hkl[i, 0], hkl[i, 1], hkl[i, 2]
                    factor = (
                        phase[0, h - lowest[0]] * phase[1, k - lowest[1]] * phase[2, m - lowest[2]]
                    )
                    if anisotropic[atom]:
                        h1 = h * r[0, 0] + k * r[1, 0] + m * r[2, 0]
                        h2 = h * r[0, 1] + k * r[1, 1] + m * r[2, 1]
                        h3 = h * r[0, 2] + k * r[1, 2] + m * r[2, 2]
                        factor *= np.exp(
                            -(u[0] * h1 * h1 + u[1] * h2 * h2 + u[2] * h3 * h3)
                            - 2.0 * (u[3] * h1 * h2 + u[4] * h1 * h3 + u[5] * h2 * h3)
                        )
                    s1 = h * f[0, 0] + k * f[1, 0] + m * f[2, 0]
                    s2 = h * f[0, 1] + k * f[1, 1] + m * f[2, 1]
                    s3 = h * f[0, 2] + k * f[1, 2] + m * f[2, 2]
                    x, y, j = factor.real, factor.imag, i - start
                    re[0, j] += x
                    im[0, j] += y
                    re[1, j] += x * s1
                    im[1, j] += y * s1
                    re[2, j] += x * s2
                    im[2, j] += y * s2
                    re[3, j] += x * s3
                    im[3, j] += y * s3
                    if n_sums == 10:
                        re[4, j] += x * s1 * s1
                        im[4, j] += y * s1 * s1
                        re[5, j] += x * s2 * s2
                        im[5, j] += y * s2 * s2
                        re[6, j] += x * s3 * s3
                        im[6, j] += y * s3 * s3
                        re[7, j] += x * s1 * s2
                        im[7, j] += y * s1 * s2
                        re[8, j] += x * s1 * s3
                        im[8, j] += y * s1 * s3
                        re[9, j] += x * s2 * s3
                        im[9, j] += y * s2 * s3
            for i in range(start, stop):
                b, t, j = bin_index[i], bin_part[i], i - start
                height = weight[atom] * (
                    table[b] + t * (
                        table[b + 1] - table[b]
                        + 0.5 * (t - 1) * (table[b + 2] - 2 * table[b + 1] + table[b])
                    )
                )  # fmt: skip
                ar, ai = height * along[i].real, height * along[i].imag
                for c in range(3):  # by x: 2 pi i s
                    out[at + c, i] = two_pi * (ai * re[1 + c, j] - ar * im[1 + c, j])
                if n_sums == 4:
                    out[at + 3, i] = -0.25 * s_squared[i] * (ar * re[0, j] + ai * im[0, j])
                    continue
                for e in range(6):  # by U: -2 pi^2 s s', off-diagonal elements at both places
                    places = two_pi_squared if e < 3 else 2.0 * two_pi_squared
                    out[at + 3 + e, i] = -places * (ar * re[4 + e, j] + ai * im[4 + e, j])
