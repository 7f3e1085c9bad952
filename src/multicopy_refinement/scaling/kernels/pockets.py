"""Loops that find out whether solvent gets to where groups leave room for it."""

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


@njit(nogil=True, cache=True)
def _covered(
    cell: int, first: np.ndarray, groups: np.ndarray, there: np.ndarray, parent: np.ndarray
) -> bool:
    """Return whether a group that is there, with what it is nested in, covers a cell."""
    for k in range(first[cell], first[cell + 1]):
        g = groups[k]
        if there[g] and (parent[g] < 0 or there[parent[g]]):
            return True
    return False


@njit(nogil=True, cache=True)
def _flood(
    start: int, tag: int, touched: np.ndarray, first_touched: np.ndarray, size: np.ndarray,
    first: np.ndarray, groups: np.ndarray, there: np.ndarray, parent: np.ndarray, most: int,
    known: np.ndarray, seen: np.ndarray, verdict: np.ndarray, queue: np.ndarray,
) -> None:  # fmt: skip
    """Give a cell, and what hangs together with it, a verdict: whether solvent gets there."""
    queue[0], seen[start], verdict[start] = start, tag, False
    n, at, room = 1, 0, size[start]
    out = room >= most or known[start]
    while at < n and not out:
        here = queue[at]
        at += 1
        for k in range(first_touched[here], first_touched[here + 1]):
            cell = touched[k]
            if cell == WAY_OUT:
                out = True
                break
            if seen[cell] == tag:
                if verdict[cell]:
                    out = True
                    break
                continue
            if _covered(cell, first, groups, there, parent):
                continue
            if known[cell]:
                out = True
                break
            seen[cell], verdict[cell] = tag, False
            queue[n] = cell
            n += 1
            room += size[cell]
        out = out or room >= most
    for k in range(n):
        verdict[queue[k]] = out


@njit(nogil=True, cache=True)
def gets_there(
    cells: np.ndarray, tag: int, touched: np.ndarray, first_touched: np.ndarray,
    size: np.ndarray, first: np.ndarray, groups: np.ndarray, there: np.ndarray,
    parent: np.ndarray, most: int, known: np.ndarray, seen: np.ndarray, verdict: np.ndarray,
    queue: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return to which cells solvent gets in one state of the molecule.

    Parameters
    ----------
    cells
        Those that are asked about, none of which is covered.
    tag
        Of this state, another each time.
    touched, first_touched
        Cell i touches ``touched[first_touched[i]:first_touched[i + 1]]``, `WAY_OUT` among them
        where there is a way out.
    size
        Points of each cell.
    first, groups
        The groups that cover cell i are ``groups[first[i]:first[i + 1]]``.
    there, parent
        Whether each group is there, and the group in which it is nested or -1.
    most
        Fewer points than this that hang together with nothing else are an island.
    known
        Cells that there is a way out from where nothing covers them, as is known before.
    seen, verdict, queue
        For each cell: the last tag, whether solvent got there, and room.
    """
    found = np.zeros(cells.shape[0], dtype=np.bool_)
    for i in range(cells.shape[0]):
        cell = cells[i]
        if seen[cell] != tag:
            _flood(
                cell, tag, touched, first_touched, size, first, groups, there, parent, most,
                known, seen, verdict, queue,
            )  # fmt: skip
        found[i] = verdict[cell]
    return found


@njit(nogil=True, cache=True)
def may_get_there(
    order: np.ndarray, begin: np.ndarray, touched: np.ndarray, first_touched: np.ndarray,
    size: np.ndarray, first: np.ndarray, groups: np.ndarray, there: np.ndarray,
    parent: np.ndarray, most: int, known: np.ndarray, family: np.ndarray, whole: np.ndarray,
    occupancy: np.ndarray, first_member: np.ndarray, members: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return to which cells solvent gets where what covers them is away.

    Each set of groups that covers the same cells is away at once: of a set that is never away as a
    whole the most frequent of the other members is there, all else as in ``there``.

    Parameters
    ----------
    order, begin
        Cells, those that the same groups cover beside one another, and where each of these begins.
    family, whole, occupancy
        Of each group: a number, whether the groups with this are never all away, q.
    first_member, members
        The groups of family f are ``members[first_member[f]:first_member[f + 1]]``.
    touched, first_touched, size, first, groups, there, parent, most, known
        As in `gets_there`.
    """
    n = size.shape[0]
    seen, queue = np.zeros(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    verdict, found = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    covers = np.zeros(there.shape[0], dtype=np.int64)
    state = there.copy()
    for run in range(begin.shape[0] - 1):
        tag, cell = run + 1, order[begin[run]]
        for k in range(first[cell], first[cell + 1]):
            covers[groups[k]] = tag
        possible = True
        for k in range(first[cell], first[cell + 1]):
            own, best = family[groups[k]], -1
            for j in range(first_member[own], first_member[own + 1]):
                g = members[j]
                state[g] = False
                if whole[g] and covers[g] != tag and (best < 0 or occupancy[g] > occupancy[best]):
                    best = g
            if best >= 0:
                state[best] = True
            elif whole[groups[k]]:
                possible = False
        if possible:
            for i in range(begin[run], begin[run + 1]):
                if seen[order[i]] != tag:
                    _flood(
                        order[i], tag, touched, first_touched, size, first, groups, state, parent,
                        most, known, seen, verdict, queue,
                    )  # fmt: skip
                found[order[i]] = verdict[order[i]]
        for k in range(first[cell], first[cell + 1]):
            own = family[groups[k]]
            for j in range(first_member[own], first_member[own + 1]):
                state[members[j]] = there[members[j]]
    return found
