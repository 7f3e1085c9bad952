"""Places in arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multicopy_refinement._typing import IntArray


def in_runs(start: IntArray, count: IntArray) -> IntArray:
    """Return start, start + 1, ... of each of some runs, so many of each, one after the other.

    >>> in_runs(np.array([5, 1]), np.array([2, 3])).tolist()
    [5, 6, 1, 2, 3]
    """
    first = np.cumsum(count) - count
    return np.asarray(np.arange(int(count.sum())) + np.repeat(start - first, count))


def ranges(n: int, size: int) -> Iterator[slice]:
    """Yield slices of at most a size that make up 0..n."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def within(places: IntArray, rows: slice) -> slice:
    """Return which of some places, in ascending order, are in a range.

    >>> within(np.array([1, 4, 5, 9]), slice(4, 9))
    slice(1, 3, None)
    """
    first, last = np.searchsorted(places, (rows.start, rows.stop)).tolist()
    return slice(first, last)
