"""Compiled inner loops (numba), cached on disk; they release the interpreter's lock.

Each call works on a part that it owns (a range of reflections, a slab of a grid), so that threads
share nothing that is written and results do not depend on their number or timing.
"""

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


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def splat_slab(
    first: int, last: int, grid: np.ndarray, fractional: np.ndarray, occupancy: np.ndarray,
    radius: np.ndarray, reach: np.ndarray, orthogonalization: np.ndarray, tables: np.ndarray,
    heights: np.ndarray, inverses: np.ndarray, anisotropic: np.ndarray,
) -> None:  # fmt: skip
    """Add the density of atoms to the rows first..last of the first axis of a grid.

    Parameters
    ----------
    first, last
        Slab of rows that this call owns.
    grid
        ``[nu, nv, nw]``, added to.
    fractional, occupancy, radius
        ``[n, 3]``, ``[n]``, and where each atom is cut off in A ``[n]``.
    reach
        Half-widths of each atom's box along the axes, in fractions of the cell, ``[n, 3]``.
    orthogonalization
        ``[3, 3]``, upper triangular.
    tables
        Density of isotropic atoms and its change per step, on a grid in r^2 from 0 to radius^2 and
        one step beyond, for cubic interpolation, ``[n, steps + 2, 2]``.
    heights, inverses
        Of the Gaussians of anisotropic atoms: a exp(-x'Mx/2), ``[n, 5]`` and M as elements
        11 22 33 12 13 23, ``[n, 5, 6]``.
    anisotropic
        Bool ``[n]``.
    """
    nu, nv, nw = grid.shape
    o = orthogonalization
    along = o[0, 2] * o[0, 2] + o[1, 2] * o[1, 2] + o[2, 2] * o[2, 2]  # |c|^2
    steps = tables.shape[1] - 2  # one to spare, for r^2 at the very limit
    for atom in range(len(occupancy)):
        limit = radius[atom] * radius[atom]
        scale = steps / limit
        q = occupancy[atom]
        fu, fv, fw = fractional[atom, 0], fractional[atom, 1], fractional[atom, 2]
        for u in range(
            int(np.ceil((fu - reach[atom, 0]) * nu)), int(np.floor((fu + reach[atom, 0]) * nu)) + 1
        ):
            row = u % nu
            if row < first or row >= last:
                continue
            du = u / nu - fu
            for v in range(
                int(np.ceil((fv - reach[atom, 1]) * nv)),
                int(np.floor((fv + reach[atom, 1]) * nv)) + 1,
            ):
                dv = v / nv - fv
                x0, y0 = o[0, 0] * du + o[0, 1] * dv, o[1, 1] * dv
                # |x|^2 = along dw^2 + 2 middle dw + rest: the stretch of the row inside the sphere
                middle = o[0, 2] * x0 + o[1, 2] * y0
                rest = x0 * x0 + y0 * y0
                root = middle * middle - along * (rest - limit)
                if root <= 0.0:
                    continue
                root = np.sqrt(root)
                low = int(np.ceil((fw + (-middle - root) / along) * nw))
                high = int(np.floor((fw + (-middle + root) / along) * nw))
                column = v % nv
                for w in range(low, high + 1):
                    dw = w / nw - fw
                    r_squared = (along * dw + 2.0 * middle) * dw + rest
                    if r_squared >= limit:
                        continue
                    if anisotropic[atom]:
                        x, y, z = x0 + o[0, 2] * dw, y0 + o[1, 2] * dw, o[2, 2] * dw
                        value = 0.0
                        for i in range(heights.shape[1]):
                            m = inverses[atom, i]
                            value += heights[atom, i] * np.exp(
                                -0.5 * (m[0] * x * x + m[1] * y * y + m[2] * z * z)
                                - (m[3] * x * y + m[4] * x * z + m[5] * y * z)
                            )
                    else:
                        place = r_squared * scale
                        at = int(place)
                        t = place - at
                        p, m = tables[atom, at, 0], tables[atom, at, 1]
                        m1 = tables[atom, at + 1, 1]
                        c = tables[atom, at + 1, 0] - p
                        value = p + t * (m + t * (3 * c - 2 * m - m1 + t * (m + m1 - 2 * c)))
                    grid[row, column, w % nw] += q * value
