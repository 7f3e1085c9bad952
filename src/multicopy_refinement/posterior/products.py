"""Products of blocks of slopes with themselves: tile by tile, in threads, summed in doubles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.parallel import in_threads

#: Rows that are multiplied at once.
_TILE = 256
#: What is above the diagonal of a tile.
_ABOVE = np.triu(np.ones((_TILE, _TILE), dtype=bool), 1)


def add_product(total: FloatArray, slopes: NDArray[np.floating]) -> None:
    """Add J J' to the lower triangle of a matrix, for J ``[n, n_rows]`` in any precision.

    Each tile is a product of one thread, so that its rounding depends on no number of threads.
    """
    n = len(slopes)

    def work(first: int, last: int) -> None:
        for start in range(first * _TILE, min(last * _TILE, n), _TILE):
            stop = min(start + _TILE, n)
            total[start:stop, :stop] += slopes[start:stop] @ slopes[:stop].T

    tiles = -(-n // _TILE)
    in_threads(work, tiles, np.arange(1.0, tiles + 1))


def weighted_products(
    blocks: Iterable[slice], slopes: Callable[[slice], NDArray[np.floating]], weight: FloatArray,
    some: IntArray | None = None,
) -> FloatArray:  # fmt: skip
    """Return J W J' over all reflections, or some of them, ``[n, n]``.

    Parameters
    ----------
    blocks
        Ranges of reflections, at least one.
    slopes
        J of a range, ``[n, n_rows]``, to be overwritten.
    weight
        W of all reflections; 0 of those that do not count, as leaving them out would copy J.
    some
        Those that count, in ascending order, if they are few.
    """
    found: FloatArray | None = None
    for rows in blocks:
        jacobian, root = slopes(rows), np.sqrt(weight[rows])
        if some is not None:
            first, last = np.searchsorted(some, (rows.start, rows.stop)).tolist()
            picked = some[first:last] - rows.start
            jacobian, root = jacobian[:, picked], root[picked]
        jacobian *= root.astype(jacobian.dtype)
        found = np.zeros((len(jacobian),) * 2) if found is None else found
        add_product(found, jacobian)
    assert found is not None  # there are reflections
    mirror(found)
    return found


def mirror(total: NDArray[np.floating]) -> None:
    """Put the lower triangle of a matrix into the upper one."""
    n = len(total)
    for start in range(0, n, _TILE):
        stop = min(start + _TILE, n)
        own = total[start:stop, start:stop]
        np.copyto(own, own.T, where=_ABOVE[: stop - start, : stop - start])
        total[start:stop, stop:] = total[stop:, start:stop].T
