"""Products of tall matrices in single precision with vectors in double, without a copy of either.

A matrix is given as what its memory holds from its first element on, and the length of a row in
that memory: rows of a slice are not next to each other.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Elements of a row treated together: their sums stay in the first-level cache.
_BLOCK = 1024
_FAST = {"contract", "nsz", "reassoc"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_weighted_rows(
    first: int, last: int, total: np.ndarray, memory: np.ndarray, stride: int, weights: np.ndarray
) -> None:
    """Add sum_g w_g M_gi to ``total[i]`` for i from ``first`` to ``last``."""
    for start in range(first, last, _BLOCK):
        stop = min(last, start + _BLOCK)
        for g in range(weights.shape[0]):
            weight = weights[g]
            if weight != 0.0:
                for i in range(start, stop):
                    total[i] += weight * memory[g * stride + i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def row_sums(
    first: int, last: int, found: np.ndarray, memory: np.ndarray, stride: int, vector: np.ndarray
) -> None:
    """Put sum_i M_gi v_i into ``found[g]`` for g from ``first`` to ``last``."""
    for g in range(first, last):
        total = 0.0
        for i in range(vector.shape[0]):
            total += memory[g * stride + i] * vector[i]
        found[g] = total
