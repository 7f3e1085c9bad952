"""Whether solvent gets to where groups leave room for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, Int32Array, IntArray
from multicopy_refinement.scaling.kernels.pockets import (
    NONE,
    SEVERAL,
    gets_there,
    may_get_there,
    take_family_of_neighbours,
)


class Pockets:
    """Points that groups alone keep the probe from, in molecules of different states.

    Such a point holds solvent where what covers it is away and a way leads out, or to as much room
    as is no island. That is judged in the molecule that is most frequent, but for the groups in
    question.

    Parameters
    ----------
    shape
        Points along the axes of the grid.
    status
        int32 of each point of it, flat: a number for each of ``points``,
        `kernels.pockets.WAY_OUT` where there is a way out in any case, or -1 where none is.
    points
        Those points.
    covered
        Which of them each group covers, as places among them, in ascending order.
    family, whole, parent, frequent, occupancy
        As in `PartialGroups`.
    most
        Fewer points than this that hang together with nothing else are an island.

    Attributes
    ----------
    family
        The one that alone covers each point, or touches it where nothing covers it; or
        `kernels.pockets.SEVERAL`.
    """

    def __init__(
        self, shape: IntArray, status: Int32Array, points: IntArray, covered: Sequence[IntArray],
        family: IntArray, whole: BoolArray, parent: IntArray, frequent: BoolArray,
        occupancy: FloatArray, most: int,
    ) -> None:  # fmt: skip
        n = len(points)
        of = np.repeat(np.arange(len(covered)), [len(c) for c in covered])
        point = np.concatenate([np.zeros(0, dtype=np.int64), *covered])
        order = np.argsort(point, kind="stable")
        self._groups = of[order]
        self._first = np.searchsorted(point[order], np.arange(n + 1))
        self._covered, self._of_group, self._whole = covered, family, whole
        self._frequent, self._occupancy = frequent, occupancy
        self._where = (np.asarray(shape), status, points, self._first, self._groups)
        self._parent, self._most, self._tag = parent, most, 0
        self._members = by_number(family, int(max(family, default=-1)))
        self.family = np.full(n, NONE, dtype=np.int64)
        self.family[point] = family[of]
        self.family[point[self.family[point] != family[of]]] = SEVERAL
        take_family_of_neighbours(self.family, *self._where[:3])
        # a way out of the most frequent molecule is one of those that differ from it by little
        self._known = np.zeros(n, dtype=bool)
        there = frequent & ((parent < 0) | frequent[parent])
        uncovered = np.ones(n, dtype=bool)
        uncovered[point[there[of]]] = False
        free = np.flatnonzero(uncovered)
        found = self._reached(free, frequent)
        self._known[free] = found

    def may_hold_solvent(self) -> BoolArray:
        """Return which points may hold solvent: it gets there where what covers them is away."""
        n, count = len(self._first) - 1, np.diff(self._first)
        # the groups that cover a point as one number: another set has the same one in 2^64
        number = np.random.default_rng(1).integers(1, 2**63, len(self._covered), dtype=np.uint64)
        sums, some = np.zeros(n, dtype=np.uint64), np.flatnonzero(count)
        if len(some):
            sums[some] = np.add.reduceat(number[self._groups], self._first[some])
        order = some[np.argsort(sums[some], kind="stable")]
        begin = np.flatnonzero(np.diff(sums[order], prepend=np.uint64(0)))
        members, first_member = self._members
        may: BoolArray = may_get_there(
            order, np.append(begin, len(order)), *self._where, self._frequent, self._parent,
            self._most, self._known, self._of_group, self._whole, self._occupancy, first_member,
            members,
        )  # fmt: skip
        may[count == 0] = self._known[count == 0]
        return may

    def opened(self, may: BoolArray) -> tuple[list[IntArray], BoolArray]:
        """Return to which points of its family solvent gets where each group is there.

        And which points may hold solvent, ``may`` and those that nothing covers.
        """
        n, there = len(self.family), self._frequent.copy()
        members, first_member = self._members
        last = len(first_member) - 2
        alone = np.diff(self._first) == 0
        asked = (may | alone) & (self.family <= last)
        order, begin = by_number(np.where(asked, self.family, NONE), last)
        covers, found = np.zeros(n, dtype=bool), []
        may = may & (~alone | (self.family > last))
        for g, number in enumerate(self._of_group.tolist()):
            own = order[begin[number] : begin[number + 1]]
            mates = members[first_member[number] : first_member[number + 1]]
            if g == mates[0]:  # with all of them away
                there[mates] = False
                single = own[alone[own]]
                away = self._reached(single, there) | self._whole[g]
                may[single[away]] = True
            covers[self._covered[g]] = True
            free = own[~covers[own]]
            covers[self._covered[g]] = False
            there[mates], there[g] = False, True
            found.append(free[self._reached(free, there)])
            there[mates] = self._frequent[mates]
        return found, may

    def _reached(self, nodes: IntArray, there: BoolArray) -> BoolArray:
        """Return to which points solvent gets in one state of the molecule."""
        if len(nodes) == 0:
            return np.zeros(0, dtype=bool)
        self._tag += 1
        found = gets_there(
            nodes, self._tag, *self._where, there, self._parent, self._most, self._known,
            *self._memory,
        )  # fmt: skip
        return np.asarray(found)

    @cached_property
    def _memory(self) -> tuple[IntArray, BoolArray, IntArray]:
        n = len(self.family)
        return np.zeros(n, np.int64), np.zeros(n, bool), np.empty(n, np.int64)


def by_number(numbers: IntArray, last: int) -> tuple[IntArray, IntArray]:
    """Return places in the order of their numbers, and where each of 0 to ``last`` begins."""
    order = np.argsort(numbers, kind="stable")
    return order, np.searchsorted(numbers[order], np.arange(last + 2))
