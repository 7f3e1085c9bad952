"""Products of blocks of slopes with themselves: tile by tile, in threads, summed in doubles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.places import ranges, within

#: Rows that are multiplied at once, and of matrices of few rows.
TILE, _SMALL_TILE = 256, 64
#: What is above the diagonal of a tile.
_ABOVE = np.triu(np.ones((TILE, TILE), dtype=bool), 1)


def add_product(total: FloatArray, slopes: NDArray[np.floating]) -> None:
    """Add J J' to the lower triangle of a matrix, for J ``[n, n_rows]`` in any precision.

    Each tile is a product of one thread, so that its rounding depends on no number of threads.
    """

    def work(tile: slice) -> None:
        total[tile, : tile.stop] += slopes[tile] @ slopes[: tile.stop].T

    n = len(slopes)
    by_tiles(work, n, growing=True, tile=TILE if n > 2 * TILE else _SMALL_TILE)


def by_tiles(
    work: Callable[[slice], None], n: int, *, growing: bool = False, tile: int = TILE
) -> None:
    """Call ``work`` for each tile of n rows, in threads; the same tiles whatever their number.

    ``growing`` where it takes more the further on a tile is, as of a triangle.
    """
    tiles = list(ranges(n, tile))

    def some(first: int, last: int) -> None:
        for rows in tiles[first:last]:
            work(rows)

    in_threads(some, len(tiles), np.arange(1.0, len(tiles) + 1) if growing else None)


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
            picked = some[within(some, rows)] - rows.start
            jacobian, root = jacobian[:, picked], root[picked]
        jacobian *= root.astype(jacobian.dtype)
        found = np.zeros((len(jacobian),) * 2) if found is None else found
        add_product(found, jacobian)
    assert found is not None  # there are reflections
    mirror(found)
    return found


def mirror(total: NDArray[np.floating]) -> None:
    """Put the lower triangle of a matrix into the upper one."""
    for tile in ranges(len(total), TILE):
        own = total[tile, tile]
        np.copyto(own, own.T, where=_ABOVE[: len(own), : len(own)])
        total[tile, tile.stop :] = total[tile.stop :, tile].T
