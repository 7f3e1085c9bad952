"""Products of tall matrices in single precision with vectors in double, without a copy of either.

A matrix is given as what its memory holds from its first element on, and where in that memory rows
begin: rows of a slice are not next to each other, and rows that are chosen are not copied.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Elements of a row treated together: their sums stay in the first-level cache.
_BLOCK = 1024
_FAST = {"contract", "nsz", "reassoc"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_weighted_rows(
    first: int, last: int, total: np.ndarray, memory: np.ndarray, begin: np.ndarray,
    weights: np.ndarray,
) -> None:  # fmt: skip
    """Add sum_g w_g M_gi to ``total[i]`` for i from ``first`` to ``last``; row g begins at begin_g.

    Loops over slices, whose indices begin at 0, become vector instructions; four rows together,
    so that the totals are read and written once for them.
    """
    n = weights.shape[0]
    for start in range(first, last, _BLOCK):
        stop = min(last, start + _BLOCK)
        part = total[start:stop]
        size = stop - start
        for g in range(0, n - 3, 4):
            w0, w1, w2, w3 = weights[g], weights[g + 1], weights[g + 2], weights[g + 3]
            if w0 == 0.0 and w1 == 0.0 and w2 == 0.0 and w3 == 0.0:
                continue
            b0, b1, b2, b3 = begin[g], begin[g + 1], begin[g + 2], begin[g + 3]
            m0, m1 = memory[b0 + start : b0 + stop], memory[b1 + start : b1 + stop]
            m2, m3 = memory[b2 + start : b2 + stop], memory[b3 + start : b3 + stop]
            for i in range(size):
                part[i] += w0 * m0[i] + w1 * m1[i] + w2 * m2[i] + w3 * m3[i]
        for g in range(n - n % 4, n):
            weight = weights[g]
            row = memory[begin[g] + start : begin[g] + stop]
            for i in range(size):
                part[i] += weight * row[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def row_sums(
    first: int, last: int, found: np.ndarray, memory: np.ndarray, stride: int, vector: np.ndarray
) -> None:
    """Put sum_i M_gi v_i into ``found[g]`` for g from ``first`` to ``last``."""
    n = vector.shape[0]
    for g in range(first, last):
        row = memory[g * stride : g * stride + n]
        total = 0.0
        for i in range(n):
            total += row[i] * vector[i]
        found[g] = total


@njit(nogil=True, cache=True, fastmath=_FAST)
def project_rows(
    first: int, last: int, found: np.ndarray, real: np.ndarray, imaginary: np.ndarray, stride: int,
    u_real: np.ndarray, u_imaginary: np.ndarray,
) -> None:  # fmt: skip
    """Put Re(conj(u_i) M_gi) into ``found[g, i]`` for g from ``first`` to ``last``."""
    n = u_real.shape[0]
    for g in range(first, last):
        own = found[g]
        re, im = real[g * stride : g * stride + n], imaginary[g * stride : g * stride + n]
        for i in range(n):
            own[i] = re[i] * u_real[i] + im[i] * u_imaginary[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def subtract_projected(
    first: int, last: int, found: np.ndarray, places: np.ndarray, memory: np.ndarray, stride: int,
    u_real: np.ndarray, u_imaginary: np.ndarray,
) -> None:  # fmt: skip
    """Subtract Re(conj(u_i) M_gi) from ``found[g, places[i]]`` for g from ``first`` to ``last``.

    In memory real and imaginary parts of M follow each other.
    """
    n = u_real.shape[0]
    for g in range(first, last):
        own, row = found[g], memory[g * stride : g * stride + 2 * n]
        for i in range(n):
            own[places[i]] -= row[2 * i] * u_real[i] + row[2 * i + 1] * u_imaginary[i]
