"""Points that solvent may take back where groups are away, and who decides it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.scaling.mask import ISLAND, SHRINK
from multicopy_refinement.scaling.points import GridPoints, among

#: In the place of a family where several meet; larger than any.
SEVERAL = 2**40


class Edge:
    """Points that solvent may take back, and which point of the union decides each of them."""

    def __init__(
        self, base: FloatArray, union: IntArray, open_: BoolArray, points: GridPoints
    ) -> None:
        shape = points.shape
        place = np.full(int(np.prod(shape)), -1, dtype=np.int64)
        place[union[open_]] = np.flatnonzero(open_)
        steps = points.offsets(SHRINK)
        index = np.stack(np.unravel_index(union[open_], shape), axis=1)
        reached = [points.flat(index + step) for step in steps]
        candidates = among(base.size, reached)
        self.points = candidates[base.reshape(-1)[candidates] == 0]
        index = np.stack(np.unravel_index(self.points, shape), axis=1)
        self.neighbours = np.stack([place[points.flat(index + step)] for step in steps])

    def of(self, chosen: BoolArray) -> Edge:
        """Return the edge of some points."""
        part = copy(self)
        part.points, part.neighbours = self.points[chosen], self.neighbours[:, chosen]
        return part

    def single(self, family: IntArray) -> IntArray:
        """Return the family that alone decides each point, or -1 where several meet.

        ``family`` is that of each point of the union, and -1 at its end.
        """
        here = family[self.neighbours]
        most = here.max(axis=0, initial=-1)
        least = np.where(here == -1, most, here).min(axis=0, initial=SEVERAL)
        return np.where((most == least) & (most < SEVERAL), most, -1)

    def nearest(self, left: FloatArray) -> IntArray:
        """Return, for each point, the point of the union within reach that has most solvent."""
        values = np.append(left, -1.0)[self.neighbours]  # -1: not of the union
        best = values.argmax(axis=0)
        return np.asarray(self.neighbours[best, np.arange(values.shape[1])])


class Alone:
    """Points that only members of one family can keep solvent from.

    Parameters
    ----------
    edge, family
        The points, and the family that decides each.
    around
        Where there is or may be solvent, on the flat grid.
    grid
        The grid.
    covered
        Points of the union that each group covers, as places in it.
    of_group
        Family of each group.
    """

    def __init__(
        self, edge: Edge, family: IntArray, around: BoolArray, grid: GridPoints,
        covered: Sequence[IntArray], of_group: IntArray,
    ) -> None:  # fmt: skip
        self.points = edge.points
        order = np.argsort(family, kind="stable")
        start = np.searchsorted(family[order], np.arange(int(family.max(initial=-1)) + 2))
        n_open = (edge.neighbours >= 0).sum(axis=0)
        most = max((int(c.max(initial=-1)) for c in covered), default=-1)
        covers = np.zeros(max(most, int(edge.neighbours.max(initial=-1))) + 2, dtype=bool)
        blocked = [np.zeros(0, dtype=np.int64)] * len(covered)
        for number in np.unique(of_group).tolist():
            if number + 1 >= len(start):
                continue
            mine = order[start[number] : start[number + 1]]
            place = Surroundings(self.points[mine], around, grid)
            for g in np.flatnonzero(of_group == number).tolist():
                covers[covered[g]] = True
                count = covers[edge.neighbours[:, mine]].sum(axis=0)
                covers[covered[g]] = False
                shut = count == n_open[mine]
                blocked[g] = mine[shut | place.islands(~shut)]
        self._blocked = blocked
        self._group = np.repeat(np.arange(len(blocked)), [len(b) for b in blocked])
        self._point = np.concatenate([np.zeros(0, dtype=np.int64), *blocked])

    def left(self, occupancy: FloatArray) -> FloatArray:
        """Return the part of solvent at each point."""
        covered = np.bincount(self._point, occupancy[self._group], minlength=len(self.points))
        return np.clip(1 - covered, 0.0, 1.0)

    def region(self, group: int) -> IntArray:
        """Return the points that a group keeps free of solvent."""
        return np.asarray(self.points[self._blocked[group]])


class Surroundings:
    """Points around one family, and how they hang together."""

    def __init__(self, nodes: IntArray, around: BoolArray, grid: GridPoints) -> None:
        index = np.stack(np.unravel_index(nodes, grid.shape), axis=1)
        steps = np.concatenate([np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64)])
        beside = np.stack([grid.flat(index + step) for step in steps])
        place = np.searchsorted(nodes, beside).clip(max=max(len(nodes) - 1, 0))
        inside = nodes[place] == beside if len(nodes) else np.zeros(beside.shape, dtype=bool)
        self.touches = (around[beside] & ~inside).any(axis=0)
        self.one = np.broadcast_to(np.arange(len(nodes)), beside.shape)[inside]
        self.other = place[inside]
        self.most = ISLAND * float(np.prod(grid.shape)) / grid.cell.volume

    def islands(self, open_: BoolArray) -> BoolArray:
        """Return which points are shut off from the solvent in one of the family's states.

        ``open_`` says where solvent would be; what other families share counts as open.
        """
        n = len(open_)
        if not open_.any() or bool(self.touches[open_].all()):
            return np.zeros(n, dtype=bool)
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        kept = open_[self.one] & open_[self.other]
        graph = coo_matrix(
            (np.ones(int(kept.sum()), dtype=bool), (self.one[kept], self.other[kept])), shape=(n, n)
        )
        label = connected_components(graph, directed=False)[1]
        large = np.bincount(label[open_], minlength=n + 1) >= self.most
        large[label[self.touches & open_]] = True
        return np.asarray(open_ & ~large[label])
