"""Sums over the atoms of groups, reflection by reflection."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _add_isotropic(
    re: np.ndarray, im: np.ndarray, a: float, b: float, along_re: np.ndarray, along_im: np.ndarray
) -> None:
    """Add (a + ib) * along."""
    for i in range(re.shape[0]):
        re[i] += a * along_re[i] - b * along_im[i]
        im[i] += a * along_im[i] + b * along_re[i]


@njit(nogil=True, cache=True)
def _add_anisotropic(
    re: np.ndarray, im: np.ndarray, a: float, b: float, along_re: np.ndarray, along_im: np.ndarray,
    u_star: np.ndarray, place: np.ndarray, step: np.ndarray,
) -> None:  # fmt: skip
    """Add (a + ib) * along * T to reflections that go on from one by one step.

    The logarithm of T is a parabola along them, so that T and the ratio of two that follow each
    other come from those before. ``place`` is that of the first reflection in the basis of U*.
    """
    quadratic, linear, constant = 0.0, 0.0, 0.0
    for i in range(3):
        for j in range(3):
            k = i if i == j else i + j + 2  # 11 22 33 12 13 23
            u = u_star[k]
            constant -= u * place[i] * place[j]
            linear -= 2 * u * place[i] * step[j]
            quadratic -= u * step[i] * step[j]
    t, ratio = np.exp(constant), np.exp(linear + quadratic)
    bend = np.exp(2 * quadratic)
    for i in range(re.shape[0]):
        re[i] += t * (a * along_re[i] - b * along_im[i])
        im[i] += t * (a * along_im[i] + b * along_re[i])
        t *= ratio
        ratio *= bend


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def add_group_sums(
    first: int,
    last: int,
    total_re: np.ndarray, total_im: np.ndarray, group: np.ndarray, order: np.ndarray,
    blocks: np.ndarray, begin: np.ndarray, index: np.ndarray, axes: np.ndarray,
    tables_re: np.ndarray, tables_im: np.ndarray, bin_index: np.ndarray, bin_part: np.ndarray,
    amplitude: np.ndarray, lowest: np.ndarray, u_star: np.ndarray, anisotropic: np.ndarray,
    rotations: np.ndarray,
) -> None:  # fmt: skip
    """Add, for each group, sum_j f_j T_j(R'h) exp(2 pi i h.(R x_j + t)) to ``total[group]``.

    Phases come from tables of exp(2 pi i h x) along each axis, one for each atom and operation,
    form factors times isotropic displacement from a table in s^2 that is interpolated. Reflections
    are in runs along one axis: what depends on the two others is made once for a run.

    Parameters
    ----------
    first, last
        Range of blocks.
    total_re, total_im
        ``[n_groups, n]``, added to.
    group
        Group of each atom, ``[n_atoms]``.
    order
        Place of each reflection of the runs among the columns of the sums, ``[n]``.
    blocks, begin
        The first run of each block, and the first reflection of each run, with the end of all,
        ``[n_blocks + 1]`` and ``[n_runs + 1]``.
    index
        Place of the first reflection of each run in the tables of the axes, ``[n_runs, 3]``.
    axes
        The axes: the two that a run has one index of, and that along which it goes.
    tables_re, tables_im
        ``[n_atoms, n_operations, 3, length]``.
    bin_index, bin_part
        Place of each reflection in ``amplitude`` and the part of a step beyond it, ``[n]``.
    amplitude
        ``[n_atoms, n_steps]``.
    lowest
        The index that the tables of each axis start with, ``[3]``.
    u_star
        2 pi^2 U in the basis of the Miller indices, elements 11 22 33 12 13 23, ``[n_atoms, 6]``.
    anisotropic
        Bool ``[n_atoms]``.
    rotations
        ``[n_operations, 3, 3]``.
    """
    longest = 0
    for block in range(first, last):
        longest = max(longest, begin[blocks[block + 1]] - begin[blocks[block]])
    re, im = np.empty(longest), np.empty(longest)
    place, step = np.empty(3), np.empty(3)
    u, v, w = axes[0], axes[1], axes[2]
    for block in range(first, last):
        start, stop = begin[blocks[block]], begin[blocks[block + 1]]
        for atom in range(group.shape[0]):
            re[:] = 0.0
            im[:] = 0.0
            for op in range(tables_re.shape[1]):
                table_re, table_im = tables_re[atom, op], tables_im[atom, op]
                for run in range(blocks[block], blocks[block + 1]):
                    i, j, k = index[run, u], index[run, v], index[run, w]
                    a = table_re[u, i] * table_re[v, j] - table_im[u, i] * table_im[v, j]
                    b = table_re[u, i] * table_im[v, j] + table_im[u, i] * table_re[v, j]
                    n, at = begin[run + 1] - begin[run], begin[run] - start
                    along_re, along_im = table_re[w, k : k + n], table_im[w, k : k + n]
                    own_re, own_im = re[at : at + n], im[at : at + n]
                    if anisotropic[atom]:
                        for c in range(3):
                            place[c] = 0.0
                            for d in range(3):
                                place[c] += (index[run, d] + lowest[d]) * rotations[op, d, c]
                            step[c] = rotations[op, w, c]
                        _add_anisotropic(
                            own_re, own_im, a, b, along_re, along_im, u_star[atom], place, step
                        )
                    else:
                        _add_isotropic(own_re, own_im, a, b, along_re, along_im)
            row, g = amplitude[atom], group[atom]
            for m in range(start, stop):
                at = bin_index[m]
                t = bin_part[m]
                f = row[at] + t * (
                    row[at + 1]
                    - row[at]
                    + 0.5 * (t - 1) * (row[at + 2] - 2 * row[at + 1] + row[at])
                )
                total_re[g, order[m]] += f * re[m - start]
                total_im[g, order[m]] += f * im[m - start]
