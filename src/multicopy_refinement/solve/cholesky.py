"""Cholesky factors and inverses from them, in the memory of a matrix, by all threads.

The wrappers of `scipy.linalg` hold the interpreter's lock while LAPACK works: threads that each
have a matrix of their own would wait for one another. `scipy.linalg.cython_lapack` has the same
routines as addresses; ctypes calls them without the lock. Large matrices are worked on tile by
tile, by as many threads as there are, and the same tiles whatever their number.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.places import ranges
from multicopy_refinement.posterior.products import TILE, by_tiles

#: Arguments of dpotrf and dpotri: uplo, n, a, lda, info.
_SIGNATURE = rb"void \(char \*, int \*, \w+ \*, int \*, int \*\)"
#: From so many rows on a matrix is taken apart.
_LARGE = 1024


def factorise(matrix: FloatArray) -> bool:
    """Put L of A = L L' into the lower triangle of A, and return whether A is positive.

    ``matrix`` is A, C-ordered; what is above the tiles of its diagonal is not read.
    """
    n = len(matrix)
    if n < _LARGE:
        return _in_place("dpotrf", matrix)
    for rows in ranges(n, TILE):
        own = matrix[rows, rows].copy()
        if not _in_place("dpotrf", own):
            return False
        matrix[rows, rows] = own
        below = matrix[rows.stop :, rows]
        back = _inverse_of_triangle(own).T

        def scale(tile: slice, below: FloatArray = below, back: FloatArray = back) -> None:
            below[tile] = below[tile] @ back

        def lessen(tile: slice, below: FloatArray = below, at: int = rows.stop) -> None:
            left = matrix[at + tile.start : at + tile.stop, at : at + tile.stop]
            left -= below[tile] @ below[: tile.stop].T

        by_tiles(scale, len(below))
        by_tiles(lessen, len(below), growing=True)
    return True


def invert(factor: FloatArray) -> bool:
    """Put the lower triangle of (L L')^-1 into that of L, and return whether there is one."""
    n = len(factor)
    if n < _LARGE:
        return _in_place("dpotri", factor)
    for rows in reversed(list(ranges(n, TILE))):  # L^-1 first, from its last columns on
        if not (np.diag(factor[rows, rows]) > 0).all():
            return False
        own = _inverse_of_triangle(factor[rows, rows])
        turned = -factor[rows.stop :, rows] @ own

        def follow(tile: slice, turned: FloatArray = turned, rows: slice = rows) -> None:
            some = slice(rows.stop + tile.start, rows.stop + tile.stop)
            factor[some, rows] = factor[some, rows.stop : some.stop] @ turned[: tile.stop]

        by_tiles(follow, len(turned), growing=True)
        factor[rows, rows] = own  # with zeros above its diagonal
    for rows in ranges(n, TILE):  # then its transpose times itself, from its first rows on
        left = factor[rows.start :, rows].T.copy()

        def sum_up(tile: slice, left: FloatArray = left, at: int = rows.start) -> None:
            factor[at : at + len(left), tile] = left @ factor[at:, tile]

        by_tiles(sum_up, rows.stop)
    return True


def positive_without(matrix: FloatArray, less: FloatArray | float) -> bool:
    """Return whether a symmetric matrix is positive when its diagonal is less by something."""
    lowered = np.array(matrix, dtype=np.float64, order="C")
    lowered.flat[:: len(lowered) + 1] -= less
    return factorise(lowered)


def _inverse_of_triangle(factor: FloatArray) -> FloatArray:
    """Return the inverse of the lower triangle of a tile, zeros above its diagonal."""
    unit = np.eye(len(factor))
    return np.asarray(scipy.linalg.solve_triangular(np.tril(factor), unit, lower=True))


# ---------------------------------------------------------------------- LAPACK


def _in_place(name: str, matrix: FloatArray) -> bool:
    n = len(matrix)
    if matrix.shape != (n, n) or matrix.dtype != np.float64 or not matrix.flags.c_contiguous:
        raise ValueError("a square matrix of doubles, in the order of C, is needed")
    # the lower triangle of rows is the upper one of columns
    call = _routine(name)
    if call is None:
        found, fault = getattr(scipy.linalg.lapack, name)(matrix.T, lower=0)
        matrix[:] = np.tril(found.T) + np.triu(matrix, 1)
        return bool(fault == 0)
    size, length, info = ctypes.c_int(n), ctypes.c_int(max(n, 1)), ctypes.c_int()
    by = ctypes.byref
    call(b"U", by(size), matrix.ctypes.data, by(length), by(info))
    return info.value == 0


@lru_cache
def _routine(name: str) -> Callable[..., None] | None:
    """Return a routine of LAPACK; None where its arguments are others than they are known to be."""
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__[name]
    signature = _of_capsules("PyCapsule_GetName", ctypes.c_char_p, ctypes.py_object)(capsule)
    if not re.fullmatch(_SIGNATURE, signature):
        return None
    address = _of_capsules(
        "PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p
    )(capsule, signature)
    found: Callable[..., None] = ctypes.CFUNCTYPE(None, ctypes.c_char_p, *[ctypes.c_void_p] * 4)(
        address
    )
    return found  # it lets the lock go


def _of_capsules(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))
    return made
