"""Points that solvent may take back where groups are away, and who decides it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, Int32Array, IntArray, UInt8Array
from multicopy_refinement.scaling.kernels import points as kernels
from multicopy_refinement.scaling.points import GridPoints

#: In the place of a family where several meet; larger than any.
SEVERAL = 2**40


class Edge:
    """Points that solvent may take back, and which point of the union decides each of them.

    Parameters
    ----------
    solvent
        Where it is with all atoms there, flat.
    place
        Of each point that groups keep solvent from, and nothing else does, among those: the union;
        -1 elsewhere.
    points
        The grid.
    steps
        Those that solvent takes.
    """

    def __init__(
        self, solvent: UInt8Array, place: Int32Array, points: GridPoints, steps: IntArray
    ) -> None:
        self._place, self._shape, self._steps = place, points.shape, steps
        of_groups = (place >= 0).view(np.uint8)
        self.points = np.flatnonzero(points.grown(of_groups, steps) > solvent)

    @property
    def n_grid(self) -> int:
        """Points of the grid."""
        return len(self._place)

    def of(self, chosen: BoolArray) -> Edge:
        """Return the edge of some points."""
        part = copy(self)
        part.points = self.points[chosen]
        return part

    def single(self, family: IntArray) -> IntArray:
        """Return the family that alone decides each point, or -1 where several meet.

        ``family`` is that of each point of the union.
        """
        found = kernels.single(self.points, self._steps, self._shape, self._place, family)
        return np.where(found < SEVERAL, found, -1)

    def reach(self, points: IntArray, stamp: Int32Array, value: int) -> None:
        """Stamp the points of the grid that some points let solvent take back, in place."""
        kernels.reach(points, self._steps, self._shape, stamp, value)

    def nearest(self, left: FloatArray) -> IntArray:
        """Return, for each point, the point of the union within reach that has most solvent."""
        found = kernels.nearest(self.points, self._steps, self._shape, self._place, left)
        return np.asarray(found)


class Alone:
    """Points that only members of one family can keep solvent from.

    Parameters
    ----------
    edge, family
        The points, and the family that decides each.
    opened
        Points of the family of each group where the probe fits when that group is there.
    of_group
        Family of each group.
    """

    def __init__(
        self, edge: Edge, family: IntArray, opened: Sequence[IntArray], of_group: IntArray
    ) -> None:
        self.points = edge.points
        order, start = _by_number(family, int(max(of_group, default=-1)))
        stamp, blocked = np.zeros(edge.n_grid, dtype=np.int32), []
        for g, number in enumerate(of_group.tolist()):
            mine = order[start[number] : start[number + 1]]
            edge.reach(opened[g], stamp, g + 1)
            blocked.append(mine[stamp[edge.points[mine]] != g + 1])
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
    """What is a way out for the solvent of a pocket.

    Parameters
    ----------
    around
        Where the probe fits or may fit, on the flat grid.
    points
        The grid.
    most
        Fewer points than this that hang together with nothing else are an island.
    """

    def __init__(self, around: BoolArray, points: GridPoints, most: float) -> None:
        self._around, self._points, self._most = around, points, most
        steps = np.stack(np.meshgrid(*3 * [np.arange(-1, 2)], indexing="ij"), axis=-1)
        self._steps = steps.reshape(-1, 3)[steps.reshape(-1, 3).any(axis=1)]

    def opened(
        self, union: IntArray, of_union: IntArray, covered: Sequence[IntArray], of_group: IntArray
    ) -> list[IntArray]:
        """Return where the probe fits and is not shut off in the family of each group there.

        Parameters
        ----------
        union, of_union
            Points that groups keep the probe from, and the family of each, -1 for several.
        covered
            Points that each group covers, as places in the union.
        of_group
            Family of each group.
        """
        of_family, begin = _by_number(of_union, int(max(of_group, default=-1)))
        covers, found = np.zeros(len(union), dtype=bool), []
        for g, number in enumerate(of_group.tolist()):
            own = of_family[begin[number] : begin[number + 1]]
            covers[covered[g]] = True
            free = own[~covers[own]]
            covers[covered[g]] = False
            found.append(union[free][~self.islands(union[free], union[own])])
        return found

    def islands(self, free: IntArray, own: IntArray) -> BoolArray:
        """Return at which points of the flat grid the probe is shut off.

        ``free`` are, in ascending order, those of ``own`` where it fits: the points of one family
        in one of its states. What others cover counts as a way out.
        """
        if len(free) == 0:
            return np.zeros(0, dtype=bool)
        self._around[own] = False
        index = np.stack(np.unravel_index(free, tuple(self._points.shape.tolist())), axis=1)
        beside = np.stack([self._points.flat(index + step) for step in self._steps])
        place = np.searchsorted(free, beside).clip(max=len(free) - 1)
        inside = free[place] == beside
        touches = self._around[beside].any(axis=0)
        self._around[own] = True
        if touches.all():
            return np.zeros(len(free), dtype=bool)
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        one = np.broadcast_to(np.arange(len(free)), beside.shape)[inside]
        graph = coo_matrix(
            (np.ones(len(one), dtype=bool), (one, place[inside])), shape=2 * (len(free),)
        )
        label = connected_components(graph, directed=False)[1]
        large = np.bincount(label) >= self._most
        large[label[touches]] = True
        return np.asarray(~large[label])


def _by_number(numbers: IntArray, last: int) -> tuple[IntArray, IntArray]:
    """Return places in the order of their numbers, and where each of 0 to ``last`` begins."""
    order = np.argsort(numbers, kind="stable")
    return order, np.searchsorted(numbers[order], np.arange(last + 2))
