"""Loops that find out whether solvent gets to where groups leave room for it."""

from __future__ import annotations

import numpy as np
from numba import njit

#: In the place of a node: points from which there is a way out, whatever groups are there.
WAY_OUT = -2
#: In the place of a family where several meet, and where none is; larger than any, and less.
SEVERAL, NONE = 2**30, -1


@njit(nogil=True, cache=True)
def _covered(
    node: int, first: np.ndarray, groups: np.ndarray, there: np.ndarray, parent: np.ndarray
) -> bool:
    """Return whether a group that is there, with what it is nested in, covers a node."""
    for k in range(first[node], first[node + 1]):
        g = groups[k]
        if there[g] and (parent[g] < 0 or there[parent[g]]):
            return True
    return False


@njit(nogil=True, cache=True)
def _flood(
    start: int, tag: int, shape: np.ndarray, status: np.ndarray, points: np.ndarray,
    first: np.ndarray, groups: np.ndarray, there: np.ndarray, parent: np.ndarray, most: int,
    known: np.ndarray, seen: np.ndarray, verdict: np.ndarray, queue: np.ndarray,
) -> None:  # fmt: skip
    """Give a node, and what hangs together with it, a verdict: whether solvent gets there."""
    nu, nv, nw = shape[0], shape[1], shape[2]
    queue[0], seen[start], verdict[start] = start, tag, False
    n, at, out = 1, 0, False
    while at < n and not out:
        point = points[queue[at]]
        at += 1
        line, w = point // nw, point % nw
        u, v = line // nv, line % nv
        for k in range(27):
            row = ((u + k // 9 - 1) % nu) * nv + (v + (k // 3) % 3 - 1) % nv
            node = status[row * nw + (w + k % 3 - 1) % nw]
            if node == WAY_OUT:
                out = True
                break
            if node < 0:
                continue
            if seen[node] == tag:
                if verdict[node]:
                    out = True
                    break
                continue
            if _covered(node, first, groups, there, parent):
                continue
            if known[node]:
                out = True
                break
            seen[node], verdict[node] = tag, False
            queue[n] = node
            n += 1
        out = out or n >= most
    for k in range(n):
        verdict[queue[k]] = out


@njit(nogil=True, cache=True)
def gets_there(
    nodes: np.ndarray, tag: int, shape: np.ndarray, status: np.ndarray, points: np.ndarray,
    first: np.ndarray, groups: np.ndarray, there: np.ndarray, parent: np.ndarray, most: int,
    known: np.ndarray, seen: np.ndarray, verdict: np.ndarray, queue: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return to which nodes solvent gets in one state of the molecule.

    Parameters
    ----------
    nodes
        Places among ``points`` of those that are asked about, none of which is covered.
    tag
        Of this state, another each time.
    shape
        Points along the axes of the grid.
    status
        Of each point of it, flat: its node, `WAY_OUT`, or -1 where something is in any case.
    points
        Of the nodes: points that groups alone keep the probe from.
    first, groups
        The groups that cover node i are ``groups[first[i]:first[i + 1]]``.
    there, parent
        Whether each group is there, and the group in which it is nested or -1.
    most
        Fewer nodes than this that hang together with nothing else are an island.
    known
        Nodes that there is a way out from where nothing covers them, as is known before.
    seen, verdict, queue
        For each node: the last tag, whether solvent got there, and room.
    """
    found = np.zeros(nodes.shape[0], dtype=np.bool_)
    for i in range(nodes.shape[0]):
        node = nodes[i]
        if seen[node] != tag:
            _flood(
                node, tag, shape, status, points, first, groups, there, parent, most, known,
                seen, verdict, queue,
            )  # fmt: skip
        found[i] = verdict[node]
    return found


@njit(nogil=True, cache=True)
def may_get_there(
    order: np.ndarray, begin: np.ndarray, shape: np.ndarray, status: np.ndarray,
    points: np.ndarray, first: np.ndarray, groups: np.ndarray, there: np.ndarray,
    parent: np.ndarray, most: int, known: np.ndarray, family: np.ndarray, whole: np.ndarray,
    occupancy: np.ndarray, first_member: np.ndarray, members: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return to which nodes solvent gets where what covers them is away.

    Each set of groups that covers the same nodes is away at once: of a set that is never away as a
    whole the most frequent of the other members is there, all else as in ``there``.

    Parameters
    ----------
    order, begin
        Nodes, those that the same groups cover beside one another, and where each of these begins.
    family, whole, occupancy
        Of each group: a number, whether the groups with this are never all away, q.
    first_member, members
        The groups of family f are ``members[first_member[f]:first_member[f + 1]]``.
    shape, status, points, first, groups, there, parent, most, known
        As in `gets_there`.
    """
    n_nodes = points.shape[0]
    seen, queue = np.zeros(n_nodes, dtype=np.int64), np.empty(n_nodes, dtype=np.int64)
    verdict, found = np.zeros(n_nodes, dtype=np.bool_), np.zeros(n_nodes, dtype=np.bool_)
    covers = np.zeros(there.shape[0], dtype=np.int64)
    state = there.copy()
    for run in range(begin.shape[0] - 1):
        tag, node = run + 1, order[begin[run]]
        for k in range(first[node], first[node + 1]):
            covers[groups[k]] = tag
        possible = True
        for k in range(first[node], first[node + 1]):
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
                        order[i], tag, shape, status, points, first, groups, state, parent, most,
                        known, seen, verdict, queue,
                    )  # fmt: skip
                found[order[i]] = verdict[order[i]]
        for k in range(first[node], first[node + 1]):
            own = family[groups[k]]
            for j in range(first_member[own], first_member[own + 1]):
                state[members[j]] = there[members[j]]
    return found


@njit(nogil=True, cache=True)
def take_family_of_neighbours(
    family: np.ndarray, shape: np.ndarray, status: np.ndarray, points: np.ndarray
) -> None:
    """Give nodes without a family that of what they touch, in place.

    They take it together with those that they hang together with: `SEVERAL` where these touch
    several families, and `NONE` where they touch none. ``shape``, ``status`` and ``points`` are as
    in `gets_there`.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    queue, done = np.empty(points.shape[0], dtype=np.int64), family != NONE
    for start in range(points.shape[0]):
        if done[start]:
            continue
        queue[0], done[start] = start, True
        n, at, found = 1, 0, NONE
        while at < n:
            point = points[queue[at]]
            at += 1
            line, w = point // nw, point % nw
            u, v = line // nv, line % nv
            for k in range(27):
                row = ((u + k // 9 - 1) % nu) * nv + (v + (k // 3) % 3 - 1) % nv
                node = status[row * nw + (w + k % 3 - 1) % nw]
                if node < 0:
                    continue
                if not done[node]:
                    done[node] = True
                    queue[n] = node
                    n += 1
                elif family[node] != NONE:
                    found = family[node] if found in (NONE, family[node]) else SEVERAL
        for k in range(n):
            family[queue[k]] = found
