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
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.places import ranges

#: Arguments of dpotrf and dpotri: uplo, n, a, lda, info.
_SIGNATURE = rb"void \(char \*, int \*, \w+ \*, int \*, int \*\)"
#: Rows of a tile, and from how many rows on a matrix is taken apart.
_TILE, _LARGE = 256, 1024


def factorise(matrix: FloatArray) -> bool:
    """Put L of A = L L' into the lower triangle of A, and return whether A is positive.

    ``matrix`` is A, C-ordered; what is above the tiles of its diagonal is not read.
    """
    n = len(matrix)
    if n < _LARGE:
        return _in_place("dpotrf", matrix)
    for rows in ranges(n, _TILE):
        own = matrix[rows, rows].copy()
        if not _in_place("dpotrf", own):
            return False
        matrix[rows, rows] = own
        below = matrix[rows.stop :, rows]
        back = scipy.linalg.solve_triangular(np.tril(own), np.eye(len(own)), lower=True).T

        def scale(tile: slice, below: FloatArray = below, back: FloatArray = back) -> None:
            below[tile] = below[tile] @ back

        def lessen(tile: slice, below: FloatArray = below, at: int = rows.stop) -> None:
            left = matrix[at + tile.start : at + tile.stop, at : at + tile.stop]
            left -= below[tile] @ below[: tile.stop].T

        _by_tiles(scale, len(below))
        _by_tiles(lessen, len(below), growing=True)
    return True


def invert(factor: FloatArray) -> bool:
    """Put the lower triangle of (L L')^-1 into that of L, and return whether there is one."""
    n = len(factor)
    if n < _LARGE:
        return _in_place("dpotri", factor)
    for rows in reversed(list(ranges(n, _TILE))):  # L^-1 first, from its last columns on
        own = np.tril(factor[rows, rows])
        if not (np.diag(own) > 0).all():
            return False
        own = scipy.linalg.solve_triangular(own, np.eye(len(own)), lower=True)
        turned = -factor[rows.stop :, rows] @ own

        def follow(tile: slice, turned: FloatArray = turned, rows: slice = rows) -> None:
            some = slice(rows.stop + tile.start, rows.stop + tile.stop)
            factor[some, rows] = factor[some, rows.stop : some.stop] @ turned[: tile.stop]

        _by_tiles(follow, len(turned), growing=True)
        factor[rows, rows] = own  # with zeros above its diagonal
    for rows in ranges(n, _TILE):  # then its transpose times itself, from its first rows on
        left = factor[rows.start :, rows].T.copy()

        def sum_up(tile: slice, left: FloatArray = left, at: int = rows.start) -> None:
            factor[at : at + len(left), tile] = left @ factor[at:, tile]

        _by_tiles(sum_up, rows.stop)
    return True


def positive_without(matrix: FloatArray, less: FloatArray | float) -> bool:
    """Return whether a symmetric matrix is positive when its diagonal is less by something."""
    lowered = np.array(matrix, dtype=np.float64, order="C")
    lowered.flat[:: len(lowered) + 1] -= less
    return factorise(lowered)


def _by_tiles(work: Callable[[slice], None], n: int, *, growing: bool = False) -> None:
    """Call ``work`` for each tile of n rows; ``growing`` where it takes more the further on."""
    tiles = list(ranges(n, _TILE))

    def some(first: int, last: int) -> None:
        for tile in tiles[first:last]:
            work(tile)

    in_threads(some, len(tiles), np.arange(1.0, len(tiles) + 1) if growing else None)


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
