"""Cells: points that the same groups keep solvent from, and that hang together."""

from __future__ import annotations

import numpy as np
from numba import njit

#: In the place of a node: points from which there is a way out, whatever groups are there.
WAY_OUT = -2


@njit(nogil=True, cache=True)
def cells_of(
    shape: np.ndarray, status: np.ndarray, points: np.ndarray, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells of nodes: those with one number that hang together.

    A point hangs together with the 26 around it.

    Parameters
    ----------
    shape
        Points along the axes of the grid.
    status
        Of each point of it, flat: its node, `WAY_OUT`, or -1 where something is in any case.
    points
        Of the nodes, ``[n]``.
    number
        Of the nodes, alike where the same groups cover them, ``[n]``.

    Returns
    -------
    ndarray, ndarray
        The nodes by their cells, and where those of each cell begin.
    ndarray, ndarray
        The cells that touch each cell, one after the other, and where those of each begin. A cell
        beside a way out touches `WAY_OUT`.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    n = points.shape[0]
    cell, order = np.full(n, -1), np.empty(n, dtype=np.int64)
    begin, first = np.empty(n + 1, dtype=np.int64), np.empty(n + 1, dtype=np.int64)
    # nodes beside each cell, each of them once; cells when all have one
    beside, noted = np.empty(max(n, 16), dtype=np.int64), np.full(n, -1)
    count, filled, n_beside = 0, 0, 0
    for start in range(n):
        if cell[start] >= 0:
            continue
        begin[count], first[count] = filled, n_beside
        at, own, out = filled, number[start], False
        order[filled], cell[start] = start, count
        filled += 1
        while at < filled:
            point = points[order[at]]
            at += 1
            line, w = point // nw, point % nw
            u, v = line // nv, line % nv
            for du in range(-1, 2):
                sheet = (u + du) % nu * nv
                for dv in range(-1, 2):
                    row = (sheet + (v + dv) % nv) * nw
                    for dw in range(-1, 2):
                        along = w + dw
                        if along < 0:
                            along = nw - 1
                        elif along == nw:
                            along = 0
                        node = status[row + along]
                        if node >= 0:
                            if cell[node] == count or noted[node] == count:
                                continue
                            if number[node] == own:
                                order[filled], cell[node] = node, count
                                filled += 1
                                continue
                            noted[node] = count
                        elif node != WAY_OUT or out:
                            continue
                        else:
                            out = True
                        if n_beside == beside.shape[0]:
                            beside = np.append(beside, np.empty_like(beside))
                        beside[n_beside] = node
                        n_beside += 1
        count += 1
    begin[count], first[count] = n, n_beside
    noted[:], n_beside, start = -1, 0, 0
    for own in range(count):
        stop = first[own + 1]
        first[own] = n_beside
        for k in range(start, stop):
            other = cell[beside[k]] if beside[k] >= 0 else beside[k]
            if other >= 0:
                if noted[other] == own:
                    continue
                noted[other] = own
            beside[n_beside] = other
            n_beside += 1
        start = stop
    first[count] = n_beside
    return order, begin[: count + 1], beside[:n_beside], first[: count + 1]
