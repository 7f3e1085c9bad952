"""Points that solvent may take back where groups are away, and who decides it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, Int32Array, IntArray, UInt8Array
from multicopy_refinement.scaling.kernels import points as kernels
from multicopy_refinement.scaling.pockets import SEVERAL, Reached, by_number
from multicopy_refinement.scaling.points import GridPoints

#: Occupancies below this are none.
_NOTHING = 1e-9


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

    def families(self, family: IntArray) -> tuple[IntArray, IntArray]:
        """Return the families within reach of each point, and where those of each begin.

        ``family`` is that of each point of the union; points of several do not count.
        """
        first, found = np.zeros(len(self.points) + 1, np.int64), np.zeros(0, np.int64)
        if len(self.points) == 0:
            return found, first
        of_grid = np.full(self.n_grid, -1, dtype=np.int32)
        of_grid[self._place >= 0] = family  # the union is in the order of the grid
        n = 2 * len(self.points)
        while n > len(found):
            found = np.empty(n, dtype=np.int64)
            n = kernels.families_near(
                self.points, self._steps, self._shape, of_grid, SEVERAL, first, found
            )
        return found[:n], first

    def reach(self, points: IntArray, stamp: Int32Array, value: int) -> None:
        """Stamp the points of the grid that some points let solvent take back, in place."""
        kernels.reach(points, self._steps, self._shape, stamp, value)

    def reached(self, points: IntArray) -> BoolArray:
        """Return which points of the edge some points of the grid let solvent take back."""
        if len(points) == 0:
            return np.zeros(len(self.points), dtype=bool)
        stamp = np.zeros(self.n_grid, dtype=np.int32)
        self.reach(points, stamp, 1)
        return np.asarray(stamp[self.points] == 1)

    def nearest(self, left: FloatArray) -> IntArray:
        """Return, for each point, the point of the union within reach that has most solvent."""
        found = kernels.nearest(self.points, self._steps, self._shape, self._place, left)
        return np.asarray(found)


class Independent:
    """Points that solvent takes back where any of the families within reach of them lets it.

    Families are there or not independently, so that a point holds 1 - prod_f b_f, with b_f how
    often f lets no solvent get within reach: its groups exclude each other, and
    b_f = (1 - o_0) + sum_g q_g (o_0 - o_g) where solvent gets there with the chance o_g if g is
    there, and o_0 if all of them are away.

    Parameters
    ----------
    edge
        The points.
    family, first
        The families of point i are ``family[first[i]:first[i + 1]]``, one at least.
    opened
        Points of the family of each group to which solvent gets when that group is there.
    away
        Points to which it gets where a family is away, for each; None for all of them.
    of_group
        Family of each group.
    """

    def __init__(
        self, edge: Edge, family: IntArray, first: IntArray, opened: Sequence[Reached],
        away: Sequence[Reached | None], of_group: IntArray,
    ) -> None:  # fmt: skip
        self.points, self._first = edge.points, first[:-1]
        self._point = np.repeat(np.arange(len(edge.points)), np.diff(first))
        order, start = by_number(family, int(max(of_group, default=-1)))
        within = _Within(edge, self._point)
        open_ = np.ones(len(self._point))
        for number, reached in enumerate(away):
            if reached is not None:
                mine = order[start[number] : start[number + 1]]
                open_[mine] = within.chance(reached, mine)
        pairs, losses = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        for g, number in enumerate(of_group.tolist()):
            mine = order[start[number] : start[number + 1]]
            loss = open_[mine] - within.chance(opened[g], mine)
            some = loss > _NOTHING
            pairs.append(mine[some])
            losses.append(loss[some])
        self._shut = 1 - open_
        self._n_of_group = np.array([len(own) for own in pairs[1:]], dtype=np.int64)
        self._group = np.repeat(np.arange(len(opened)), self._n_of_group)
        self._pair, self._loss = np.concatenate(pairs), np.concatenate(losses)

    def at(self, occupancy: FloatArray) -> Held:
        """Return what the points hold at some occupancies."""
        q = occupancy[self._group] * self._loss
        b = self._shut + np.bincount(self._pair, q, minlength=len(self._point))
        b = np.clip(b, 0.0, 1.0)
        b[b < _NOTHING] = 0.0
        if len(b) == 0:
            return Held(np.zeros(0), np.zeros(0))
        zeros = np.add.reduceat(b == 0, self._first, dtype=np.int64)
        product = np.multiply.reduceat(np.where(b == 0, 1.0, b), self._first)
        others = product[self._point] / np.where(b == 0, 1.0, b)
        others[zeros[self._point] > (b == 0)] = 0.0
        return Held(1 - np.where(zeros > 0, 0.0, product), others)

    def regions(self, held: Held) -> tuple[IntArray, FloatArray, IntArray]:
        """Return the points that groups keep free of solvent, by how much for q = 1, how many each.

        Group by group.
        """
        points, values = self.points[self._point[self._pair]], held.others[self._pair] * self._loss
        return points, values, self._n_of_group


class _Within:
    """How often solvent gets within reach of points of an edge.

    Parameters
    ----------
    edge
        The points.
    point
        Of each pair of a point and a family, its point.
    """

    def __init__(self, edge: Edge, point: IntArray) -> None:
        self._edge, self._at = edge, edge.points[point]
        self._stamp, self._last = np.zeros(edge.n_grid, dtype=np.int32), 0

    def chance(self, reached: Reached, pairs: IntArray) -> FloatArray:
        """Return how often what solvent reaches is within reach of the points of some pairs."""
        values, number = np.unique(reached.chance, return_inverse=True)
        for k in range(len(values)):  # the largest last
            self._edge.reach(reached.points[number == k], self._stamp, self._last + k + 1)
        own = self._stamp[self._at[pairs]] - self._last
        self._last += len(values)
        return np.asarray(np.append(values, 0.0)[np.maximum(own, 0) - 1])


@dataclass(frozen=True, eq=False)
class Held:
    """Solvent that points hold: how much, and by each pair of a point and a family what others do.

    Attributes
    ----------
    left
        Part of solvent at each point.
    others
        The product of b of the other families, of each pair.
    """

    left: FloatArray
    others: FloatArray
